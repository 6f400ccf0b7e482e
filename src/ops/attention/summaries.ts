// What the weights say, without holding them: received weight of each key, entropy of each row, top keys of each row.
// Memory is that of the answer, at any length.

import { ASYNC_NAMES, callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { Names, NamesOf } from '../../runtime/checks.js';
import { invalidArgument } from '../../runtime/errors.js';
import { findRuntime } from '../../runtime/inputs.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Tensor } from '../../runtime/tensor.js';
import { SCALED_DOT_PRODUCT_ATTENTION_NAMES } from './options.js';
import type { AttentionOptions } from './options.js';
import type { Parameters } from './parameters.js';
import { attentionInput, planAttention } from './plan.js';
import type { Sizes } from './plan.js';
import { runAttention } from './run.js';
import { checkRegion, statisticsAddress } from './weights.js';
import type { Range } from './weights.js';

/** Options of what sums up weights: those that the attention had. */
export interface SummaryOptions extends AttentionOptions {
  /** What the fused pass returned for `returnStatistics`, with the same options. Computed anew if absent. */
  readonly statistics?: Tensor | undefined;
}

/** Options of `receivedWeight`. */
export interface ReceivedWeightOptions extends SummaryOptions {
  /** Only these queries count. Default all. */
  readonly queries?: Range | undefined;
}

export const SUMMARY_NAMES = /* @__PURE__ */ Object.assign(
  { statistics: 1 } satisfies NamesOf<Omit<SummaryOptions, keyof AttentionOptions>>,
  SCALED_DOT_PRODUCT_ATTENTION_NAMES,
);

export const RECEIVED_WEIGHT_NAMES = /* @__PURE__ */ Object.assign(
  { queries: 1 } satisfies NamesOf<Omit<ReceivedWeightOptions, keyof SummaryOptions>>,
  SUMMARY_NAMES,
);

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
  options: ReceivedWeightOptions = {},
): Tensor<'float32'> {
  return summarizeNow(query, key, options, columnSums, RECEIVED_WEIGHT_NAMES);
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
export async function receivedWeightAsync(
  query: TensorLike,
  key: TensorLike,
  options: ReceivedWeightOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return summarizeAsync(query, key, options, columnSums, RECEIVED_WEIGHT_NAMES);
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
  options: SummaryOptions = {},
): Tensor<'float32'> {
  return summarizeNow(query, key, options, entropies);
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
export async function attentionEntropyAsync(
  query: TensorLike,
  key: TensorLike,
  options: SummaryOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return summarizeAsync(query, key, options, entropies);
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
 * @param count   keys a row
 * @param options the same options as there, `statistics`
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * const { weights, keys } = topKeys(q, k, 3); // of each row: three weights, falling, and their keys
 * keys.length; // 30
 * ```
 */
export function topKeys(
  query: TensorLike,
  key: TensorLike,
  count: number,
  options: SummaryOptions = {},
): TopKeys {
  return unpackTop(summarizeNow(query, key, options, largest(count)), count);
}

/**
 * {@link topKeys} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const { weights, keys } = await topKeysAsync(q, k, 3, { causal: true });
 * ```
 */
export async function topKeysAsync(
  query: TensorLike,
  key: TensorLike,
  count: number,
  options: SummaryOptions & AsyncOptions = {},
): Promise<TopKeys> {
  return unpackTop(await summarizeAsync(query, key, options, largest(count)), count);
}

function unpackTop(packed: Tensor<'float32'>, count: number): TopKeys {
  const { data } = packed;
  const words = new Int32Array(data.buffer, data.byteOffset, data.length);
  const weights = new Float32Array(data.length / 2);
  const keys = new Int32Array(data.length / 2);
  for (let row = 0; row * count < weights.length; row++) {
    weights.set(data.subarray(2 * row * count, (2 * row + 1) * count), row * count);
    keys.set(words.subarray((2 * row + 1) * count, (2 * row + 2) * count), row * count);
  }
  packed.dispose();
  return new TopKeys(weights, keys);
}

/** Where a summary goes, and by which kernel. */
interface Run {
  readonly output: Tensor<'float32'>;
  readonly parameters: Parameters;
  readonly kernel: 'columnSums' | 'entropies' | 'topKeys';
}

type Prepare<Options> = (scope: CallScope, sizes: Sizes, options: Options) => Run;

const columnSums: Prepare<ReceivedWeightOptions> = (scope, sizes, options) => {
  const region = checkRegion({ queries: options.queries }, sizes);
  const output = scope.make([sizes.batch, sizes.heads, sizes.keys]);
  if (output.size > 0 && sizes.queries === 0) output.data.fill(0);
  const parameters = {
    ...region,
    output: output.address,
    outputBatchStride: sizes.heads * sizes.keys * 4,
    outputHeadStride: sizes.keys * 4,
  };
  return { output, parameters, kernel: 'columnSums' };
};

const entropies: Prepare<SummaryOptions> = (scope, sizes) => {
  const output = scope.make([sizes.batch, sizes.heads, sizes.queries]);
  return { output, parameters: rowsOf(output, sizes, 1), kernel: 'entropies' };
};

function largest(count: number): Prepare<SummaryOptions> {
  if (!Number.isInteger(count) || count < 1) {
    throw invalidArgument('count', 'an integer >= 1', count);
  }
  return (scope, sizes) => {
    const output = scope.make([sizes.batch, sizes.heads, sizes.queries, 2 * count]);
    return { output, parameters: { ...rowsOf(output, sizes, 2 * count), count }, kernel: 'topKeys' };
  };
}

/** The output as rows of some words a query. */
function rowsOf(output: Tensor, sizes: Sizes, words: number): Parameters {
  const rowBytes = words * 4;
  return {
    output: output.address,
    outputBatchStride: sizes.heads * sizes.queries * rowBytes,
    outputHeadStride: sizes.queries * rowBytes,
    outputRowStride: rowBytes,
  };
}

function summarizeNow<Options extends SummaryOptions>(
  query: TensorLike,
  key: TensorLike,
  options: Options,
  prepare: Prepare<Options>,
  names: Names = SUMMARY_NAMES,
): Tensor<'float32'> {
  const runtime = findRuntime(options, [query, key], names);
  return callNow(runtime, (scope) => summarize(scope, query, key, options, prepare), [query, key, options]);
}

function summarizeAsync<Options extends SummaryOptions & AsyncOptions>(
  query: TensorLike,
  key: TensorLike,
  options: Options,
  prepare: Prepare<Options>,
  names: Names = SUMMARY_NAMES,
): Promise<Tensor<'float32'>> {
  const runtime = findRuntime(options, [query, key], names, ASYNC_NAMES);
  return callAsync(runtime, options, (scope) => summarize(scope, query, key, options, prepare), [
    query,
    key,
    options,
  ]);
}

function summarize<Options extends SummaryOptions>(
  scope: CallScope,
  query: TensorLike,
  key: TensorLike,
  options: Options,
  prepare: Prepare<Options>,
): Tensor<'float32'> {
  const q = attentionInput(scope, 'query', query);
  const k = attentionInput(scope, 'key', key);
  const plan = planAttention(scope, q, k, options, 4);
  const statistics = statisticsAddress(scope, plan, options.statistics);
  const { output, parameters, kernel } = prepare(scope, plan.sizes, options);
  if (output.size > 0 && plan.sizes.queries > 0) {
    runAttention(scope, kernel, plan.parameters, { statistics }, parameters);
  }
  return output;
}
