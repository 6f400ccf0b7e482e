// Attention over sequences packed one after the other, each on its own: no padding is computed or stored.

import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import { checkCumulative } from '../../runtime/checks.js';
import type { IntegerList, NamesOf } from '../../runtime/checks.js';
import { invalidArgument, shapeError } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import type { Tensor } from '../../runtime/tensor.js';
import { SCORE_NAMES } from './options.js';
import type { AttentionOptions, ScoreOptions } from './options.js';
import { planAttention } from './plan.js';
import { runPlan } from './scaled-dot-product-attention.js';

/** Options of `variableLengthAttention`: where the sequences begin, and those of attention that make sense of each. */
export interface VariableLengthOptions extends ScoreOptions, Pick<AttentionOptions, 'runtime'> {
  /** [0, end of the first sequence, ..., total queries]. */
  readonly cumulativeQueries: IntegerList;
  /** The same for keys. Default cumulativeQueries. */
  readonly cumulativeKeys?: IntegerList | undefined;
}

export const variableLengthOperation: Operation<
  [query: TensorLike, key: TensorLike, value: TensorLike],
  VariableLengthOptions,
  Tensor<'float32'>
> = {
  inputs: ['query', 'key', 'value'],
  options: /* @__PURE__ */ Object.assign(
    { runtime: 1, cumulativeQueries: 1, cumulativeKeys: 1 } satisfies NamesOf<
      Omit<VariableLengthOptions, keyof ScoreOptions>
    >,
    SCORE_NAMES,
  ),
  run: attendSequences,
};

/**
 * Attention of packed sequences, each aligned on its own (FlashAttention's varlen).
 *
 * @param query [total queries, heads, headDim]
 * @param key   [total keys, keyValueHeads, headDim]
 * @param value [total keys, keyValueHeads, valueHeadDim]
 * @returns [total queries, heads, valueHeadDim]
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * // Two sequences, of two and of three tokens: [total, heads, headDim].
 * const [query, key, value] = [q, k, v].map((t) => t.reshape([2, 5, 4]).transpose(0, 1));
 * variableLengthAttention(query, key, value, { cumulativeQueries: [0, 2, 5], causal: true }).shape; // [5, 2, 4]
 * ```
 */
export function variableLengthAttention(
  query: TensorLike,
  key: TensorLike,
  value: TensorLike,
  options: VariableLengthOptions,
): Tensor<'float32'> {
  return callNow(variableLengthOperation, [query, key, value], options);
}

/**
 * {@link variableLengthAttention} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const [query, key, value] = [q, k, v].map((t) => t.reshape([2, 5, 4]).transpose(0, 1));
 * const output = await variableLengthAttentionAsync(query, key, value, { cumulativeQueries: [0, 2, 5] });
 * ```
 */
export function variableLengthAttentionAsync(
  query: TensorLike,
  key: TensorLike,
  value: TensorLike,
  options: VariableLengthOptions & AsyncOptions,
): Promise<Tensor<'float32'>> {
  return callAsync(variableLengthOperation, [query, key, value], options);
}

function attendSequences(
  scope: CallScope,
  [query, key, value]: readonly [TensorLike, TensorLike, TensorLike],
  options: VariableLengthOptions,
): Tensor<'float32'> {
  const q = packed(scope, 'query', query);
  const k = packed(scope, 'key', key);
  const v = packed(scope, 'value', value);
  const { cumulativeQueries, cumulativeKeys, ...rest } = options;
  const queryBounds = bounds('cumulativeQueries', cumulativeQueries, q);
  const keyBounds = bounds('cumulativeKeys', cumulativeKeys ?? cumulativeQueries, k);
  if (queryBounds.length !== keyBounds.length) {
    throw shapeError('cumulativeKeys', `${queryBounds.length} bounds like cumulativeQueries`, [
      keyBounds.length,
    ]);
  }
  if (v.shape[0] !== k.shape[0] || v.shape[1] !== k.shape[1]) {
    throw shapeError('value', `[${k.shape[0]}, ${k.shape[1]}, valueHeadDim]`, v.shape);
  }
  const output = scope.make([q.shape[0]!, q.shape[1]!, v.shape[2]!]);
  for (let i = 1; i < queryBounds.length; i++) {
    const queries = sequence(q, queryBounds[i - 1]!, queryBounds[i]!);
    const keys = sequence(k, keyBounds[i - 1]!, keyBounds[i]!);
    const values = sequence(v, keyBounds[i - 1]!, keyBounds[i]!);
    const place = sequence(output, queryBounds[i - 1]!, queryBounds[i]!);
    if (place.size === 0) continue;
    runPlan(scope, planAttention(scope, queries, keys, rest, 4), values, { output: place });
  }
  return output;
}

function packed(scope: CallScope, argument: string, input: TensorLike): Tensor<'float32'> {
  const tensor = scope.tensor(argument, input);
  checkDataType(argument, tensor, 'float32');
  if (tensor.shape.length !== 3) throw shapeError(argument, '[total, heads, dim]', tensor.shape);
  return tensor;
}

function bounds(argument: string, cumulative: IntegerList, tensor: Tensor): Int32Array {
  const checked = checkCumulative(argument, cumulative);
  const total = tensor.shape[0]!;
  if (checked.at(-1) === total) return checked;
  throw invalidArgument(argument, `a last bound of ${total}, the packed length`, checked.at(-1));
}

/** Tokens [from, to) as [1, heads, length, dim]. */
function sequence(tensor: Tensor<'float32'>, from: number, to: number): Tensor<'float32'> {
  const part = tensor.slice(0, from, to).transpose(0, 1);
  return part.withRank(4);
}
