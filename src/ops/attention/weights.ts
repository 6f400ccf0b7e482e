// Attention weights and scores on demand: any block of the matrix, exactly as the fused pass uses it, without the rest.

import { SCORES, WEIGHTS } from '../../../build/kernels.js';
import type { AttentionParameters } from '../../../build/kernels.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import { checkObject } from '../../runtime/checks.js';
import type { Names, NamesOf } from '../../runtime/checks.js';
import { describe, invalidArgument, shapeError } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { TensorLike } from '../../runtime/inputs.js';
import { runtimeAmong } from '../../runtime/operation.js';
import type { Operation } from '../../runtime/operation.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Tensor } from '../../runtime/tensor.js';
import { SCALED_DOT_PRODUCT_ATTENTION_NAMES } from './options.js';
import type { AttentionOptions } from './options.js';
import { attentionInput, placeTensor, planAttention } from './plan.js';
import type { Plan, Sizes } from './plan.js';
import { AttentionRecord, refuseScores } from './record.js';
import { runForward, runOverRegion } from './run.js';

/**
 * How far a score has come: the plain product q . k; times the scale; after the softcap; with biases and masks
 * (-Infinity where removed); the softmax's weight.
 */
export type AttentionStage = 'raw' | 'scaled' | 'capped' | 'masked' | 'weights';

/** [from, to) of an axis. */
export type Range = readonly [from: number, to: number];

/** Part of the heads x queries x keys of every batch row. Default: all. */
export interface AttentionRegion {
  /** Query heads. Default all. */
  readonly heads?: Range | undefined;
  /** Default all. */
  readonly queries?: Range | undefined;
  /** Default all. */
  readonly keys?: Range | undefined;
}

/** Options of `attentionWeights`: those that the attention had, and what of it is wanted. */
export interface AttentionWeightsOptions extends AttentionOptions {
  /** What the fused pass returned for `returnStatistics`, with the same options. Computed anew if absent. */
  readonly statistics?: Tensor | undefined;
  /** Which part. Default all. */
  readonly region?: AttentionRegion | undefined;
  /** How far scores have come. Default 'weights'. */
  readonly stage?: AttentionStage | undefined;
}

/** What scores depend on, and their statistics. */
export const STATISTICS_NAMES = /* @__PURE__ */ Object.assign(
  { statistics: 1 } satisfies Names,
  SCALED_DOT_PRODUCT_ATTENTION_NAMES,
);

const REGION_NAMES = { heads: 1, queries: 1, keys: 1 } satisfies NamesOf<AttentionRegion>;

/** Options of `attentionWeights` of a record. */
export type RecordWeightsOptions = Pick<AttentionWeightsOptions, 'region' | 'stage'>;

export const weightsOperation: Operation<LookedAt, AttentionWeightsOptions, Tensor<'float32'>> = {
  inputs: ['query', 'key'],
  options: /* @__PURE__ */ Object.assign(
    { region: REGION_NAMES, stage: 1 } satisfies NamesOf<RecordWeightsOptions>,
    STATISTICS_NAMES,
  ),
  runtime: runtimeOfAttention,
  run: planAndWrite,
};

/**
 * Attention weights, or the scores at an earlier stage, of a region: [batch, heads, queries, keys] of the region.
 * Memory is that of the region alone. The same elements have the same bits whatever the region.
 *
 * @param query   as given to `scaledDotProductAttention`; or alone, a record
 * @param key     as given to `scaledDotProductAttention`
 * @param options the same options as there (they change the scores; a record knows them), `statistics`, `region`, `stage`
 * @returns [batch, heads, queries, keys] of the region
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * const { output, record } = scaledDotProductAttention(q, k, v, { causal: true, returnRecord: true });
 * const lastQuery = attentionWeights(record, { region: { queries: [4, 5] } });
 * lastQuery.shape; // [1, 2, 1, 5]
 * ```
 */
export function attentionWeights(
  query: TensorLike,
  key: TensorLike,
  options?: AttentionWeightsOptions,
): Tensor<'float32'>;
/** The same of a record, which knows q, k and the options. */
export function attentionWeights(record: AttentionRecord, options?: RecordWeightsOptions): Tensor<'float32'>;
export function attentionWeights(...given: readonly unknown[]): Tensor<'float32'> {
  return callNow(weightsOperation, ...lookedAt(given));
}

/**
 * {@link attentionWeights} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const scores = await attentionWeightsAsync(q, k, { stage: 'scaled', region: { heads: [0, 1] } });
 * scores.shape; // [1, 1, 5, 5]
 * ```
 */
export function attentionWeightsAsync(
  query: TensorLike,
  key: TensorLike,
  options?: AttentionWeightsOptions & AsyncOptions,
): Promise<Tensor<'float32'>>;
/** The same of a record, which knows q, k and the options. */
export function attentionWeightsAsync(
  record: AttentionRecord,
  options?: RecordWeightsOptions & AsyncOptions,
): Promise<Tensor<'float32'>>;
export function attentionWeightsAsync(...given: readonly unknown[]): Promise<Tensor<'float32'>> {
  return callAsync(weightsOperation, ...lookedAt(given));
}

/** What is looked at: q and k, or a record alone. */
export type LookedAt = readonly [query: TensorLike | AttentionRecord, key: TensorLike | undefined];

/** @internal Inputs and options, with nothing in place of the key of a record. */
export function lookedAt([first, ...rest]: readonly unknown[]): [LookedAt, AttentionOptions & AsyncOptions] {
  const [key, options = {}] = first instanceof AttentionRecord ? [undefined, ...rest] : rest;
  return [[first as TensorLike, key as TensorLike], options as AttentionOptions];
}

/** @internal */
export function runtimeOfAttention([query, key]: LookedAt, options: object): Runtime {
  return runtimeAmong([query instanceof AttentionRecord ? query.queries : query, key], options);
}

/** @internal The attention that is looked at, up to its values, and the statistics of its rows. */
export function planLookedAt(
  scope: CallScope,
  [query, key]: LookedAt,
  options: AttentionOptions & { readonly statistics?: Tensor | undefined },
): { plan: Plan; statistics: () => number } {
  if (query instanceof AttentionRecord) {
    refuseScores(options, STATISTICS_NAMES);
    const plan = query.plan(scope);
    return { plan, statistics: () => query.statistics.address };
  }
  const q = attentionInput(scope, 'query', query);
  const k = attentionInput(scope, 'key', key as TensorLike);
  const plan = planAttention(scope, q, k, options, 4);
  return { plan, statistics: () => statisticsAddress(scope, plan, options.statistics) };
}

function planAndWrite(
  scope: CallScope,
  inputs: LookedAt,
  options: AttentionWeightsOptions,
): Tensor<'float32'> {
  const stage = checkStage(options.stage ?? 'weights');
  const { plan, statistics } = planLookedAt(scope, inputs, options);
  const region = checkRegion(options.region, plan.sizes);
  const { headFrom, headTo, queryFrom, queryTo, keyFrom, keyTo } = region;
  const output = scope.make([plan.sizes.batch, headTo - headFrom, queryTo - queryFrom, keyTo - keyFrom]);
  if (output.size > 0) {
    const words =
      stage === 'weights' ? { mode: WEIGHTS, statistics: statistics() } : { mode: SCORES, statistics: 0 };
    const parameters = atStage(plan, stage);
    runOverRegion(scope, 'attentionWeights', parameters, region, placeTensor('output', output), words);
  }
  return output;
}

/** @internal All weights of a plan into a tensor with four axes. */
export function writeWeights(scope: CallScope, plan: Plan, statistics: number, output: Tensor): void {
  if (output.size === 0) return;
  const region = checkRegion(undefined, plan.sizes);
  const words = { mode: WEIGHTS, statistics };
  runOverRegion(scope, 'attentionWeights', plan.parameters, region, placeTensor('output', output), words);
}

/** Address of the statistics: the caller's, or computed by a pass without values. */
function statisticsAddress(scope: CallScope, plan: Plan, given: Tensor | undefined): number {
  const { batch, heads, queries } = plan.sizes;
  if (given !== undefined) {
    const tensor = scope.tensor('statistics', given);
    checkDataType('statistics', tensor, 'float32');
    const expected = [batch, heads, queries, 2];
    if (
      !tensor.contiguous ||
      tensor.shape.length !== 4 ||
      expected.some((length, axis) => length !== tensor.shape[axis])
    ) {
      throw shapeError(
        'statistics',
        `contiguous ${describe(expected)}, as returned with returnStatistics`,
        tensor.shape,
      );
    }
    return tensor.address;
  }
  const address = scope.allocate(batch * heads * queries * 8);
  runForward(scope, plan.parameters, { statistics: address });
  return address;
}

function checkStage(stage: AttentionStage): AttentionStage {
  if (['raw', 'scaled', 'capped', 'masked', 'weights'].includes(stage)) return stage;
  throw invalidArgument('stage', "'raw', 'scaled', 'capped', 'masked' or 'weights'", stage);
}

/** @internal The region as the kernels' bounds. */
export function checkRegion(region: AttentionRegion | undefined, sizes: Sizes, argument = 'region.') {
  if (region !== undefined) checkObject('region', region);
  const [headFrom, headTo] = checkRange(`${argument}heads`, region?.heads, sizes.heads);
  const [queryFrom, queryTo] = checkRange(`${argument}queries`, region?.queries, sizes.queries);
  const [keyFrom, keyTo] = checkRange(`${argument}keys`, region?.keys, sizes.keys);
  return { headFrom, headTo, queryFrom, queryTo, keyFrom, keyTo };
}

function checkRange(argument: string, range: Range | undefined, length: number): Range {
  if (range === undefined) return [0, length];
  const [from, to] = (Array.isArray(range) && range.length === 2 ? range : [NaN, NaN]) as Range;
  if (Number.isInteger(from) && Number.isInteger(to) && 0 <= from && from <= to && to <= length) {
    return [from, to];
  }
  throw invalidArgument(argument, `[from, to] with 0 <= from <= to <= ${length}`, range);
}

/** Parameters in natural units with only what the stage includes. */
function atStage(plan: Plan, stage: AttentionStage): AttentionParameters {
  if (stage === 'weights') return plan.parameters;
  const { softcap } = plan.source.options;
  const parameters: AttentionParameters = {
    ...plan.parameters,
    biasScale: 1,
    softcap: 0,
    scoreScale: plan.scale,
  };
  if (stage === 'raw') parameters.scoreScale = 1;
  if (softcap !== undefined && (stage === 'capped' || stage === 'masked')) {
    parameters.scoreScale = plan.scale / softcap;
    parameters.softcap = softcap;
  }
  if (stage !== 'masked') {
    for (const name of ['rowBegin', 'rowEnd', 'booleanMask', 'bias', 'secondBias', 'blocks'] as const)
      parameters[name] = 0;
  }
  return parameters;
}
