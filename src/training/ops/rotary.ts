// The gradient of rotary embedding: the rotation by the opposite angles.

import { rotaryEmbeddingOperation, rotate, rotationOf } from '../../ops/rotary/rotary.js';
import type { PlacedRotary, RotaryEmbeddingOptions } from '../../ops/rotary/rotary.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import type { Tensor } from '../../runtime/tensor.js';

/** @internal Rotates a tensor of up to four axes back where it lies: what `rotateInPlace` is given turns a gradient the other way. */
export function rotateBackInPlace(
  scope: CallScope,
  x: Tensor,
  placed: PlacedRotary,
  rotaryDim: number,
  interleaved: boolean,
): void {
  scope.run({
    pack: 'training',
    kernel: 'rotaryBack',
    scratchBytes: rotaryDim * 2,
    ...rotationOf(x, placed, rotaryDim, interleaved),
  });
}

export const rotaryEmbeddingBackwardOperation: Operation<
  [upstream: TensorLike],
  RotaryEmbeddingOptions,
  Tensor<'float32'>
> = {
  inputs: ['upstream'],
  options: rotaryEmbeddingOperation.options,
  run: (scope, inputs, options) => rotate(scope, inputs, options, rotateBackInPlace),
};

/**
 * The gradient of `rotaryEmbedding` with the same options: upstream gradients rotated by the opposite angles. The factor that some
 * scalings have stays one. The runtime needs the pack `training`.
 *
 * @param upstream what flows into the rotated tensor, [batch, heads, length, headDim] (or without the leading axes)
 * @returns the gradient of the input, in its shape
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * await runtime.load(training);
 * rotaryEmbeddingBackward(rotaryEmbedding(runtime.tensor([1, 2], [1, 2]))).data; // [1, 2]
 * ```
 */
export function rotaryEmbeddingBackward(
  upstream: TensorLike,
  options: RotaryEmbeddingOptions = {},
): Tensor<'float32'> {
  return callNow(rotaryEmbeddingBackwardOperation, [upstream], options);
}

/**
 * {@link rotaryEmbeddingBackward} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const gradient = await rotaryEmbeddingBackwardAsync(runtime.tensor([1, 2], [1, 2]));
 * gradient.data; // [1, 2]
 * ```
 */
export function rotaryEmbeddingBackwardAsync(
  upstream: TensorLike,
  options: RotaryEmbeddingOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(rotaryEmbeddingBackwardOperation, [upstream], options);
}
