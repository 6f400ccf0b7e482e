// Fused attention: the operation.

import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import { Disposable } from '../../runtime/disposable.js';
import { describe, shapeError } from '../../runtime/errors.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { TensorLike } from '../../runtime/inputs.js';
import { givenOutput } from '../../runtime/output.js';
import type { Operation } from '../../runtime/operation.js';
import { Tensor } from '../../runtime/tensor.js';
import { SCALED_DOT_PRODUCT_ATTENTION_NAMES } from './options.js';
import type { Asked, Returned, ScaledDotProductAttentionOptions } from './options.js';
import { attentionInput, placeTensor, planAttention } from './plan.js';
import type { PlacedTensor, Plan } from './plan.js';
import { AttentionRecord } from './record.js';
import type { ReturnedRecord } from './record.js';
import { runForward } from './run.js';
import { writeWeights } from './weights.js';

interface ResultTensors {
  readonly output: Tensor<'float32'>;
  weights?: Tensor<'float32'>;
  logSumExp?: Tensor<'float32'>;
  statistics?: Tensor<'float32'>;
  record?: AttentionRecord;
}

/**
 * What attention returns. Disposing it disposes all its tensors (but not an `output` that the caller gave).
 *
 * @example
 * ```js
 * const result = scaledDotProductAttention(q, k, v, { returnWeights: true });
 * result.weights.shape; // [1, 2, 5, 5]
 * result.dispose(); // output and weights
 * ```
 */
export class AttentionResult<
  Weights extends Asked = Asked,
  LogSumExp extends Asked = Asked,
  Statistics extends Asked = Asked,
  Recorded extends Asked = Asked,
> extends Disposable {
  /** [batch, heads, queries, valueHeadDim]; as many axes as the query had. */
  readonly output: Tensor<'float32'>;
  /** [batch, heads, queries, keys]; rows sum to 1, or are 0 where every key is removed. For `returnWeights`. */
  readonly weights: Returned<Weights>;
  /** [batch, heads, queries], natural logarithm, with sinks; -Infinity for a row without keys. For `returnLogSumExp`. */
  readonly logSumExp: Returned<LogSumExp>;
  /**
   * [batch, heads, queries, 2], maximum and sum of each row's softmax, base 2: what `attentionWeights`, `attentionEntropy`, ...
   * start from. For `returnStatistics`.
   */
  readonly statistics: Returned<Statistics>;
  /** The attention itself, to look into. For `returnRecord`. */
  readonly record: ReturnedRecord<Recorded>;
  readonly #ownsOutput: boolean;

  /** @internal */
  constructor(tensors: ResultTensors, ownsOutput: boolean) {
    super();
    this.output = tensors.output;
    this.weights = tensors.weights as Returned<Weights>;
    this.logSumExp = tensors.logSumExp as Returned<LogSumExp>;
    this.statistics = tensors.statistics as Returned<Statistics>;
    this.record = tensors.record as ReturnedRecord<Recorded>;
    this.#ownsOutput = ownsOutput;
  }

  /** Frees the tensors. Safe to repeat. */
  dispose(): void {
    if (this.#ownsOutput) this.output.dispose();
    this.weights?.dispose();
    this.logSumExp?.dispose();
    this.statistics?.dispose();
    this.record?.dispose();
  }
}

export const attentionOperation: Operation<
  [query: TensorLike, key: TensorLike, value: TensorLike],
  ScaledDotProductAttentionOptions,
  AttentionResult
> = {
  inputs: ['query', 'key', 'value'],
  options: SCALED_DOT_PRODUCT_ATTENTION_NAMES,
  run: planAndAttend,
};

/**
 * softmax(scale * Q K^T, modified and masked) V, fused: no n x n matrix is ever held.
 *
 * @param query [batch, heads, queries, headDim]; any strides with a contiguous last axis cost no copy
 * @param key   [batch, keyValueHeads, keys, headDim]; heads must be a multiple of keyValueHeads: query head h reads
 *   floor(h / (heads / keyValueHeads))
 * @param value [batch, keyValueHeads, keys, valueHeadDim]. NaN, infinities and sums beyond float32 make the tile that
 *   meets them, up to some 480 queries of a key/value head, take four to five times as long
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY, before anything is written
 * @see Vaswani et al. 2017; Dao et al. 2022 (FlashAttention); PyTorch's function of the same name
 *
 * @example
 * ```js
 * const { output } = scaledDotProductAttention(q, k, v, { causal: true }); // [batch, heads, length, headDim] each
 * output.shape; // [1, 2, 5, 4]
 * output.data; // Float32Array
 * ```
 */
export function scaledDotProductAttention<
  Weights extends Asked = undefined,
  LogSumExp extends Asked = undefined,
  Statistics extends Asked = undefined,
  Recorded extends Asked = undefined,
>(
  query: TensorLike,
  key: TensorLike,
  value: TensorLike,
  options: ScaledDotProductAttentionOptions<Weights, LogSumExp, Statistics, Recorded> = {},
): AttentionResult<Weights, LogSumExp, Statistics, Recorded> {
  return callNow(attentionOperation, [query, key, value], options);
}

/**
 * {@link scaledDotProductAttention} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const { output } = await scaledDotProductAttentionAsync(q, k, v, {
 *   causal: true,
 *   signal: AbortSignal.timeout(60_000),
 *   onProgress: ({ done, total }) => console.log(`${Math.round((100 * done) / total)} %`),
 * });
 * ```
 */
export function scaledDotProductAttentionAsync<
  Weights extends Asked = undefined,
  LogSumExp extends Asked = undefined,
  Statistics extends Asked = undefined,
  Recorded extends Asked = undefined,
>(
  query: TensorLike,
  key: TensorLike,
  value: TensorLike,
  options: ScaledDotProductAttentionOptions<Weights, LogSumExp, Statistics, Recorded> & AsyncOptions = {},
): Promise<AttentionResult<Weights, LogSumExp, Statistics, Recorded>> {
  return callAsync(attentionOperation, [query, key, value], options);
}

/** @internal */
export function planAndAttend(
  scope: CallScope,
  [query, key, value]: readonly [TensorLike, TensorLike, TensorLike],
  options: ScaledDotProductAttentionOptions,
  forward?: typeof runForward,
): AttentionResult {
  scope.lasting = options.returnRecord ?? false;
  const q = attentionInput(scope, 'query', query);
  const k = attentionInput(scope, 'key', key);
  const v = attentionInput(scope, 'value', value);
  checkValue(v, k);
  const plan = planAttention(scope, q, k, options, rankOf(query));
  if (options.output !== undefined) givenOutput(scope, options.output, outputShape(plan, v));
  return runPlan(scope, plan, v, options, forward);
}

/** @internal [batch, heads, queries, valueHeadDim], with as many axes as the caller's tensors. */
function outputShape({ sizes, rank }: Plan, value: PlacedTensor): number[] {
  return [sizes.batch, sizes.heads, sizes.queries, value.shape[3]!].slice(4 - rank);
}

function rankOf(input: TensorLike): number {
  if (input instanceof Tensor || 'shape' in input)
    return (input as { shape: readonly number[] }).shape.length;
  return input.dims.length;
}

/** @internal */
export function checkValue(value: Tensor, key: Tensor): void {
  const [batch, heads, keys] = key.shape as [number, number, number];
  if (value.shape[0] !== batch || value.shape[1] !== heads || value.shape[2] !== keys) {
    throw shapeError(
      'value',
      `[${batch}, ${heads}, ${keys}, valueHeadDim] like key ${describe(key.shape)}`,
      value.shape,
    );
  }
}

/** @internal Runs a plan. An `output` among the options has been checked. */
export function runPlan(
  scope: CallScope,
  plan: Plan,
  value: PlacedTensor,
  options: ScaledDotProductAttentionOptions,
  forward = runForward,
): AttentionResult {
  const { batch, heads, queries, keys } = plan.sizes;
  const rows = [batch, heads, queries].slice(4 - plan.rank);
  const { returnStatistics, returnRecord } = options;
  const output = (options.output as Tensor<'float32'> | undefined) ?? scope.make(outputShape(plan, value));
  const tensors: ResultTensors = { output };
  if (options.returnLogSumExp) tensors.logSumExp = scope.make(rows);
  if (options.returnWeights) tensors.weights = scope.make([...rows, keys]);
  let statistics: Tensor<'float32'> | undefined;
  if (returnStatistics || returnRecord || tensors.weights) {
    const shape = [batch, heads, queries, 2];
    statistics = returnStatistics ? scope.make(shape) : scope.temporary(shape);
    if (returnStatistics) tensors.statistics = statistics;
    if (returnRecord)
      tensors.record = scope.hand(new AttentionRecord(plan, value, output.withRank(4), statistics));
  }
  if (output.size === 0 && !tensors.logSumExp && !statistics)
    return new AttentionResult(tensors, !options.output);
  forward(scope, plan.parameters, placeTensor('value', value), placeTensor('output', output.withRank(4)), {
    valueHeadDim: value.shape[3]!,
    statistics: statistics?.address ?? 0,
    logSumExp: tensors.logSumExp?.address ?? 0,
  });
  if (tensors.weights) {
    writeWeights(scope, plan, statistics!.address, tensors.weights.withRank(4));
  }
  return new AttentionResult(tensors, !options.output);
}
