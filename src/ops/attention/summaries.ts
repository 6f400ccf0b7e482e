// What the weights say, without holding them: received weight of each key, entropy of each row, top keys of each row.
// Memory is that of the answer, at any length.

import type { RegionParameters } from '../../../build/kernels.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import { checkInteger } from '../../runtime/checks.js';
import type { NamesOf } from '../../runtime/checks.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import type { Tensor } from '../../runtime/tensor.js';
import type { AttentionOptions } from './options.js';
import type { Sizes } from './plan.js';
import { runOverRegion } from './run.js';
import { AttentionRecord } from './record.js';
import { checkRegion, lookedAt, planLookedAt, runtimeOfAttention, STATISTICS_NAMES } from './weights.js';
import type { LookedAt, Range } from './weights.js';

/** Options of what sums up weights: those that the attention had, and of which rows. */
export interface SummaryOptions extends AttentionOptions {
  /** What the fused pass returned for `returnStatistics`, with the same options. Computed anew if absent. */
  readonly statistics?: Tensor | undefined;
  /** Query heads. Default all. */
  readonly heads?: Range | undefined;
  /** Only these queries. Default all. */
  readonly queries?: Range | undefined;
}

/** Options of what sums up the weights of a record. */
export type RecordSummaryOptions = Pick<SummaryOptions, 'heads' | 'queries'>;

const SUMMARY_NAMES = /* @__PURE__ */ Object.assign(
  { heads: 1, queries: 1 } satisfies NamesOf<RecordSummaryOptions>,
  STATISTICS_NAMES,
);

const summary = (prepare: Prepare): Operation<LookedAt, SummaryOptions, Tensor<'float32'>> => ({
  inputs: ['query', 'key'],
  options: SUMMARY_NAMES,
  runtime: runtimeOfAttention,
  run: (scope, inputs, options) => summarize(scope, inputs, options, prepare),
});

export const receivedWeightOperation = /* @__PURE__ */ summary(columnSums);
export const entropyOperation = /* @__PURE__ */ summary(entropies);
export const topKeysOperation: Operation<readonly [...LookedAt, count: number], SummaryOptions, TopKeys> = {
  inputs: ['query', 'key', 'count'],
  options: SUMMARY_NAMES,
  runtime: ([query, key], options) => runtimeOfAttention([query, key], options),
  run: findTopKeys,
};

/** More than any row can have. */
const MOST_KEYS = 2 ** 31 - 1;

/**
 * How much weight each key receives: the sum over queries.
 *
 * @param query   as given to `scaledDotProductAttention`
 * @param key     as given to `scaledDotProductAttention`
 * @param options the same options as there, `statistics`, `queries`
 * @returns [batch, heads, keys]
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * receivedWeight(q, k, { causal: true }).shape; // [1, 2, 5]
 * ```
 */
export function receivedWeight(
  query: TensorLike,
  key: TensorLike,
  options?: SummaryOptions,
): Tensor<'float32'>;
/** The same of a record, which knows q, k and the options. */
export function receivedWeight(record: AttentionRecord, options?: RecordSummaryOptions): Tensor<'float32'>;
export function receivedWeight(...given: readonly unknown[]): Tensor<'float32'> {
  return callNow(receivedWeightOperation, ...lookedAt(given));
}

/**
 * {@link receivedWeight} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const received = await receivedWeightAsync(q, k, { queries: [3, 5] });
 * received.shape; // [1, 2, 5]
 * ```
 */
export function receivedWeightAsync(
  query: TensorLike,
  key: TensorLike,
  options?: SummaryOptions & AsyncOptions,
): Promise<Tensor<'float32'>>;
/** The same of a record, which knows q, k and the options. */
export function receivedWeightAsync(
  record: AttentionRecord,
  options?: RecordSummaryOptions & AsyncOptions,
): Promise<Tensor<'float32'>>;
export function receivedWeightAsync(...given: readonly unknown[]): Promise<Tensor<'float32'>> {
  return callAsync(receivedWeightOperation, ...lookedAt(given));
}

/**
 * Entropy of each row of weights: 0 looks at one key, ln(keys) at all alike.
 *
 * @param query   as given to `scaledDotProductAttention`
 * @param key     as given to `scaledDotProductAttention`
 * @param options the same options as there, `statistics`
 * @returns nats, [batch, heads, queries]
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * attentionEntropy(q, k).shape; // [1, 2, 5]
 * ```
 */
export function attentionEntropy(
  query: TensorLike,
  key: TensorLike,
  options?: SummaryOptions,
): Tensor<'float32'>;
/** The same of a record, which knows q, k and the options. */
export function attentionEntropy(record: AttentionRecord, options?: RecordSummaryOptions): Tensor<'float32'>;
export function attentionEntropy(...given: readonly unknown[]): Tensor<'float32'> {
  return callNow(entropyOperation, ...lookedAt(given));
}

/**
 * {@link attentionEntropy} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const entropy = await attentionEntropyAsync(q, k, { signal: AbortSignal.timeout(5000) });
 * entropy.shape; // [1, 2, 5]
 * ```
 */
export function attentionEntropyAsync(
  query: TensorLike,
  key: TensorLike,
  options?: SummaryOptions & AsyncOptions,
): Promise<Tensor<'float32'>>;
/** The same of a record, which knows q, k and the options. */
export function attentionEntropyAsync(
  record: AttentionRecord,
  options?: RecordSummaryOptions & AsyncOptions,
): Promise<Tensor<'float32'>>;
export function attentionEntropyAsync(...given: readonly unknown[]): Promise<Tensor<'float32'>> {
  return callAsync(entropyOperation, ...lookedAt(given));
}

/**
 * The largest weights of each row and the keys they belong to.
 *
 * @example
 * ```js
 * const { weights, keys } = topKeys(q, k, 2);
 * keys.length; // 20
 * ```
 */
export class TopKeys {
  /** [batch, heads, queries, count], falling; 0 where a row has fewer keys. */
  readonly weights: Float32Array;
  /**
   * [batch, heads, queries, count]; -1 where a row has fewer keys whose weight is above 0. Weights below 2^-99 of the row's
   * largest, scores 69 below its highest, are 0. Of equal weights the lower key comes first.
   */
  readonly keys: Int32Array;

  /** @internal */
  constructor(weights: Float32Array, keys: Int32Array) {
    this.weights = weights;
    this.keys = keys;
  }
}

/**
 * The keys with the largest weights of each row; -1 in place of keys whose weight is 0, removed or too small for float32.
 *
 * @param query   as given to `scaledDotProductAttention`
 * @param key     as given to `scaledDotProductAttention`
 * @param count   keys per row
 * @param options the same options as there, `statistics`
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * const { weights, keys } = topKeys(q, k, 3); // of each row: three weights, falling, and their keys
 * keys.length; // 30
 * ```
 */
export function topKeys(query: TensorLike, key: TensorLike, count: number, options?: SummaryOptions): TopKeys;
/** The same of a record, which knows q, k and the options. */
export function topKeys(record: AttentionRecord, count: number, options?: RecordSummaryOptions): TopKeys;
export function topKeys(...given: readonly unknown[]): TopKeys {
  return callNow(topKeysOperation, ...lookedAtWithCount(given));
}

/**
 * {@link topKeys} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const { weights, keys } = await topKeysAsync(q, k, 3, { causal: true });
 * ```
 */
export function topKeysAsync(
  query: TensorLike,
  key: TensorLike,
  count: number,
  options?: SummaryOptions & AsyncOptions,
): Promise<TopKeys>;
/** The same of a record, which knows q, k and the options. */
export function topKeysAsync(
  record: AttentionRecord,
  count: number,
  options?: RecordSummaryOptions & AsyncOptions,
): Promise<TopKeys>;
export function topKeysAsync(...given: readonly unknown[]): Promise<TopKeys> {
  return callAsync(topKeysOperation, ...lookedAtWithCount(given));
}

function lookedAtWithCount(
  given: readonly unknown[],
): [readonly [...LookedAt, count: number], AttentionOptions & AsyncOptions] {
  const isRecord = given[0] instanceof AttentionRecord;
  const [query, key, count, options = {}] = isRecord ? [given[0], undefined, ...given.slice(1)] : given;
  return [[query as TensorLike, key as TensorLike, count as number], options as AttentionOptions];
}

/** Where a summary goes, and by which kernel. */
interface Run {
  readonly output: Tensor<'float32'>;
  readonly parameters: RegionParameters;
  readonly kernel: 'columnSums' | 'entropies' | 'topKeys';
}

type Region = ReturnType<typeof checkRegion>;
type Prepare = (scope: CallScope, sizes: Sizes, region: Region) => Run;

function columnSums(scope: CallScope, { batch, keys }: Sizes, region: Region): Run {
  const heads = region.headTo - region.headFrom;
  const output = scope.make([batch, heads, keys]);
  if (region.queryTo === region.queryFrom) output.data.fill(0);
  const parameters = {
    output: output.address,
    outputBatchStride: heads * keys * 4,
    outputHeadStride: keys * 4,
  };
  return { output, parameters, kernel: 'columnSums' };
}

function entropies(scope: CallScope, sizes: Sizes, region: Region): Run {
  const output = scope.make(rowsShape(sizes, region));
  return { output, parameters: placeRows(output, 1), kernel: 'entropies' };
}

/** Batch rows, and heads and queries of a region. */
function rowsShape({ batch }: Sizes, { headFrom, headTo, queryFrom, queryTo }: Region): number[] {
  return [batch, headTo - headFrom, queryTo - queryFrom];
}

/** The output as rows of some words per query. */
function placeRows(output: Tensor, words: number): RegionParameters {
  const [, heads, queries] = output.shape as [number, number, number];
  const rowBytes = words * 4;
  return {
    output: output.address,
    outputBatchStride: heads * queries * rowBytes,
    outputHeadStride: queries * rowBytes,
    outputRowStride: rowBytes,
  };
}

function summarize(
  scope: CallScope,
  inputs: LookedAt,
  options: SummaryOptions,
  prepare: Prepare,
): Tensor<'float32'> {
  const { plan, statistics } = planLookedAt(scope, inputs, options);
  const region = checkRegion({ heads: options.heads, queries: options.queries }, plan.sizes, '');
  const { output, parameters, kernel } = prepare(scope, plan.sizes, region);
  if (output.size > 0 && region.queryTo > region.queryFrom) {
    runOverRegion(scope, kernel, plan.parameters, { statistics: statistics() }, region, parameters);
  }
  return output;
}

function findTopKeys(
  scope: CallScope,
  [query, key, count]: readonly [...LookedAt, count: number],
  options: SummaryOptions,
): TopKeys {
  checkInteger('count', count, 1, MOST_KEYS);
  let found = new TopKeys(new Float32Array(0), new Int32Array(0));
  const packed = summarize(scope, [query, key], options, (scope, sizes, region) => {
    const shape = rowsShape(sizes, region);
    const output = scope.temporary([...shape, 2 * count]);
    const length = output.size / 2;
    found = new TopKeys(new Float32Array(length), new Int32Array(length));
    return { output, parameters: { ...placeRows(output, 2 * count), count }, kernel: 'topKeys' };
  });
  const { length } = found.keys;
  const apart = scope.temporary([2, length]);
  scope.copy(packed.withLayout([2, length / count, count], [count, 2 * count, 1]), apart);
  scope.then(() => {
    const { buffer } = apart.data;
    found.weights.set(apart.data.subarray(0, length));
    found.keys.set(new Int32Array(buffer, apart.address + 4 * length, length));
  });
  return found;
}
