// Results of attention over disjoint sets of keys, combined into that over all of them.

import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import { checkObject } from '../../runtime/checks.js';
import type { NamesOf } from '../../runtime/checks.js';
import { describe, invalidArgument, shapeError } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { TensorLike } from '../../runtime/inputs.js';
import { runtimeAmong } from '../../runtime/operation.js';
import type { Operation } from '../../runtime/operation.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Tensor } from '../../runtime/tensor.js';
import { AttentionResult } from './scaled-dot-product-attention.js';

/** What a call with `returnLogSumExp` returned. */
export interface PartialAttention {
  /** [..., queries, valueHeadDim] */
  readonly output: TensorLike;
  /** [..., queries], natural */
  readonly logSumExp?: TensorLike | undefined;
}

/** Options of `mergeAttention`. */
export interface MergeOptions {
  /** Needed only if no part holds a Tensor. */
  readonly runtime?: Runtime | undefined;
}

export const mergeOperation: Operation<
  [parts: readonly PartialAttention[]],
  MergeOptions,
  AttentionResult<undefined, true, undefined>
> = {
  inputs: ['parts'],
  options: { runtime: 1 } satisfies NamesOf<MergeOptions>,
  runtime: runtimeOfParts,
  run: merge,
};

/**
 * Attention over the union of disjoint sets of keys, from the results over each: long contexts can be split over calls,
 * workers or machines. Sinks belong into one part only.
 *
 * @param parts at least one; all of one shape. A part without keys (log-sum-exp -Infinity) adds nothing.
 * @returns `output` and `logSumExp` of the whole
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * const parts = [
 *   [0, 3],
 *   [3, 5],
 * ].map(([from, to]) =>
 *   scaledDotProductAttention(q, k.slice(2, from, to), v.slice(2, from, to), { returnLogSumExp: true }),
 * );
 * mergeAttention(parts).output.shape; // [1, 2, 5, 4]
 * ```
 */
export function mergeAttention(
  parts: readonly PartialAttention[],
  options: MergeOptions = {},
): AttentionResult<undefined, true, undefined> {
  return callNow(mergeOperation, [parts], options);
}

/**
 * {@link mergeAttention} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const parts = [scaledDotProductAttention(q, k, v, { returnLogSumExp: true })];
 * const { output, logSumExp } = await mergeAttentionAsync(parts);
 * ```
 */
export function mergeAttentionAsync(
  parts: readonly PartialAttention[],
  options: MergeOptions & AsyncOptions = {},
): Promise<AttentionResult<undefined, true, undefined>> {
  return callAsync(mergeOperation, [parts], options);
}

export function runtimeOfParts(
  [parts]: readonly [readonly PartialAttention[]],
  options: MergeOptions,
): Runtime {
  const isList: boolean = Array.isArray(parts); // of any realm
  if (!isList || parts.length === 0) {
    throw invalidArgument('parts', 'at least one result', parts);
  }
  // By number, because a list may have holes.
  for (let i = 0; i < parts.length; i++) checkObject(`parts[${i}]`, parts[i]);
  return runtimeAmong(
    parts.flatMap((part) => [part.output, part.logSumExp]),
    options,
  );
}

function merge(
  scope: CallScope,
  [parts]: readonly [readonly PartialAttention[]],
): AttentionResult<undefined, true, undefined> {
  const outputs = parts.map((part, i) => mergeInput(scope, `parts[${i}].output`, part.output));
  const logSumExps = parts.map((part, i) => mergeInput(scope, `parts[${i}].logSumExp`, part.logSumExp));
  const shape = outputs[0]!.shape;
  const rowsShape = shape.slice(0, -1);
  outputs.forEach((output, i) => checkShape(`parts[${i}].output`, output, shape));
  logSumExps.forEach((values, i) => checkShape(`parts[${i}].logSumExp`, values, rowsShape));
  const output = scope.make(shape);
  const logSumExp = scope.make(rowsShape);
  const addresses = (tensors: readonly Tensor[]) =>
    scope.integers(Int32Array.from(tensors, ({ address }) => address));
  scope.run({
    kernel: 'mergeAttention',
    args: [
      addresses(outputs),
      addresses(logSumExps),
      parts.length,
      shape.at(-1)!,
      output.address,
      logSumExp.address,
    ],
    tiles: logSumExp.size,
    scratchBytes: 64 + 4 * parts.length,
    cost: 50 * parts.length * output.size,
  });
  return new AttentionResult({ output, logSumExp }, true);
}

export function mergeInput(
  scope: CallScope,
  argument: string,
  given: TensorLike | undefined,
): Tensor<'float32'> {
  const tensor = scope.tensor(argument, given as TensorLike);
  checkDataType(argument, tensor, 'float32');
  return scope.contiguous(tensor);
}

export function checkShape(argument: string, tensor: Tensor, shape: readonly number[]): void {
  const same =
    tensor.shape.length === shape.length && shape.every((length, axis) => length === tensor.shape[axis]);
  if (!same) throw shapeError(argument, describe(shape), tensor.shape);
}
