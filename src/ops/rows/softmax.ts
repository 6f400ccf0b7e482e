// Softmax along an axis.

import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { NamesOf } from '../../runtime/checks.js';
import { invalidArgument } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Tensor } from '../../runtime/tensor.js';

/** Options of `softmax`. */
export interface SoftmaxOptions {
  /** Axis along which the results sum to 1; negative counts from the end. Default -1. */
  readonly axis?: number | undefined;
  /** Needed only if the input is not a Tensor. */
  readonly runtime?: Runtime | undefined;
}

export const softmaxOperation: Operation<[input: TensorLike], SoftmaxOptions, Tensor<'float32'>> = {
  inputs: ['input'],
  options: { axis: 1, runtime: 1 } satisfies NamesOf<SoftmaxOptions>,
  run: (scope, [input], { axis }) => softmaxAlong(scope, input, axis),
};

/**
 * exp(x - max) / sum along an axis; the result has the input's shape. A line of -Infinity alone gives zeros; a line that
 * holds NaN or +Infinity gives NaN.
 *
 * @param input any shape of at least one axis, float32
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * softmax(runtime.tensor([0, 0, -Infinity, 0])).shape; // [4]
 * softmax({ data: [0, 0], shape: [1, 2] }, { runtime }).data; // [0.5, 0.5]
 * ```
 */
export function softmax(input: TensorLike, options: SoftmaxOptions = {}): Tensor<'float32'> {
  return callNow(softmaxOperation, [input], options);
}

/**
 * {@link softmax} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const y = await softmaxAsync(runtime.tensor([0, 0]), { signal: AbortSignal.timeout(5000) });
 * y.data; // [0.5, 0.5]
 * ```
 */
export function softmaxAsync(
  input: TensorLike,
  options: SoftmaxOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(softmaxOperation, [input], options);
}

function softmaxAlong(scope: CallScope, input: TensorLike, givenAxis = -1): Tensor<'float32'> {
  const x = scope.tensor('input', input);
  checkDataType('input', x, 'float32');
  const last = x.shape.length - 1;
  const axis = checkAxis(givenAxis, last);
  const result = scope.make(x.shape);
  if (x.size === 0) return result;
  if (axis === last && x.contiguous) {
    runSoftmax(scope, x, result);
    return result;
  }
  const lines = x.transpose(axis, last);
  const moved = scope.copyOf(lines);
  runSoftmax(scope, moved, moved);
  scope.copy(moved.transpose(axis, last), result);
  return result;
}

function runSoftmax(scope: CallScope, x: Tensor, y: Tensor): void {
  const columns = x.shape.at(-1)!;
  scope.run({
    kernel: 'softmaxRows',
    args: [x.address, y.address, columns],
    tiles: x.size / columns,
    scratchBytes: scope.runtime.kernels.softmaxScratchBytes(columns),
    cost: 40 * x.size,
  });
}

/** @internal */
export function checkAxis(axis: number, last: number): number {
  const positive = Number.isInteger(axis) && axis < 0 ? axis + last + 1 : axis;
  if (Number.isInteger(positive) && positive >= 0 && positive <= last) return positive;
  throw invalidArgument('axis', `an axis of a tensor of rank ${last + 1}`, axis);
}
