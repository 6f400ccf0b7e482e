// The way back of a convolution: patches are unfolded once more for the gradient of the weights, and the gradients of patches are
// folded back into the gradient of the picture, some patches at a time.

import type { Rows } from '../../model/pass.js';
import { planPatches, readConvolution, runUnfold } from '../../ops/linear/convolution.js';
import type { ConvolutionOptions, Geometry } from '../../ops/linear/convolution.js';
import { runtimeOfWeights } from '../../ops/linear/linear.js';
import type { LinearWeights } from '../../ops/linear/linear.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { NamesOf } from '../../runtime/checks.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import { contiguousStrides } from '../../runtime/layout.js';
import { roomFor } from '../../runtime/rooms.js';
import type { Tensor } from '../../runtime/tensor.js';
import {
  gradientRows,
  runLinearBackward,
  unpackGradients,
  wantedAmong,
  zeroGradient,
} from './linear-backward.js';
import type { LinearGradientName } from './linear-backward.js';

/** @internal What a convolution was given, and where its gradients go. What is not named is not computed. */
export interface ConvolutionGradients {
  /** One picture [1, channels, height, width], with any strides. */
  readonly picture: Tensor;
  readonly weights: LinearWeights;
  readonly geometry: Geometry;
  /** A row of outFeatures floats for each patch. */
  readonly dy: Rows;
  /** Of the picture's shape, with any strides, written or added to. */
  readonly dx?: { readonly picture: Tensor; readonly adding?: boolean | undefined } | undefined;
  /** Address of floats laid out as `weights.packed`, to which gradients of matrix and bias are added. */
  readonly gradient?: number | undefined;
}

/** @internal The gradients of `runConvolution`. */
export function runConvolutionBackward(
  scope: CallScope,
  { picture, weights, geometry, dy, dx, gradient }: ConvolutionGradients,
): void {
  const plan = planPatches(scope, picture, geometry);
  const { patches, depth, step } = plan;
  const target = dx && planPatches(scope, dx.picture, geometry);
  for (let first = 0; first < patches; first += step) {
    const rows = Math.min(step, patches - first);
    const upstream = { address: dy.address + first * dy.rowBytes, rowBytes: dy.rowBytes, rows };
    if (gradient) {
      runLinearBackward(scope, { x: runUnfold(scope, plan, first, rows), weights, dy: upstream, gradient });
    }
    if (!target) continue;
    // Where patches were unfolded their gradients may be now.
    const { address } = roomFor(scope, 'patches', step * depth);
    const given = { address, rowBytes: depth * 4, rows };
    runLinearBackward(scope, { x: given, weights, dy: upstream, dx: given });
    scope.run({
      pack: 'training',
      kernel: 'fold',
      args: [target.parameters, first, rows, address, first === 0 && !dx.adding ? 1 : 0],
      tiles: picture.shape[1]!,
      scratchBytes: 0,
      cost: 50 * rows * depth,
    });
  }
}

/** Options of `convolutionBackward`: kernel, stride and padding as they were given to `convolution`. */
export interface ConvolutionBackwardOptions<
  Name extends LinearGradientName = LinearGradientName,
> extends Pick<ConvolutionOptions, 'kernel' | 'stride' | 'padding'> {
  /** What is computed, the gradients of weight and bias together. Default: all. */
  readonly wanted?: readonly Name[] | undefined;
}

const NAMES = ['input', 'weight', 'bias'] as const;

const convolutionBackwardOperation: Operation<
  [input: TensorLike, weights: LinearWeights, gradient: TensorLike],
  ConvolutionBackwardOptions,
  Record<LinearGradientName, Tensor<'float32'>>
> = {
  inputs: ['input', 'weights', 'gradient'],
  options: { kernel: 1, stride: 1, padding: 1, wanted: 1 } satisfies NamesOf<ConvolutionBackwardOptions>,
  runtime: ([, weights]) => runtimeOfWeights(weights),
  run: backward,
};

/**
 * Gradients of `convolution` without an activation. Needs the kernels of `wasm-attention/model` and of `wasm-attention/training`.
 *
 * @param input    [batch, channels, height, width] or [batch, channels, length], as it was given to `convolution`
 * @param gradient of the shape of the result of `convolution`: what flows into that
 * @returns the gradients by name: `input` of the input's shape, `weight` [outFeatures, inFeatures], `bias` [outFeatures]
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY, INVALID_STATE (kernels not loaded), before
 *   anything is written
 *
 * @example
 * ```js
 * await runtime.load(model);
 * await runtime.load(training);
 * const weights = new LinearWeights(runtime, { data: [1, 2, 3], shape: [1, 3] });
 * const sound = { data: [1, 2, 3, 4], shape: [1, 1, 4] };
 * const gradient = { data: [1, 1], shape: [1, 2, 1] };
 * const { input, weight } = convolutionBackward(sound, weights, gradient, { kernel: 3 });
 * input.data; // [1, 3, 5, 3]
 * weight.data; // [3, 5, 7]
 * ```
 */
export function convolutionBackward<Name extends LinearGradientName = LinearGradientName>(
  input: TensorLike,
  weights: LinearWeights,
  gradient: TensorLike,
  options: ConvolutionBackwardOptions<Name>,
): Readonly<Record<Name, Tensor<'float32'>>> {
  return callNow(convolutionBackwardOperation, [input, weights, gradient], options);
}

/**
 * {@link convolutionBackward} in slices of some milliseconds between turns of the event loop.
 *
 * @example
 * ```js
 * await runtime.load(model);
 * await runtime.load(training);
 * const weights = new LinearWeights(runtime, { data: [1, 2, 3], shape: [1, 3] });
 * const sound = { data: [1, 2, 3, 4], shape: [1, 1, 4] };
 * const gradient = { data: [1, 1], shape: [1, 2, 1] };
 * const { bias } = await convolutionBackwardAsync(sound, weights, gradient, { kernel: 3, wanted: ['bias'] });
 * bias.data; // [2]
 * ```
 */
export function convolutionBackwardAsync<Name extends LinearGradientName = LinearGradientName>(
  input: TensorLike,
  weights: LinearWeights,
  gradient: TensorLike,
  options: ConvolutionBackwardOptions<Name> & AsyncOptions,
): Promise<Readonly<Record<Name, Tensor<'float32'>>>> {
  return callAsync(convolutionBackwardOperation, [input, weights, gradient], options);
}

function backward(
  scope: CallScope,
  [input, weights, upstream]: readonly [TensorLike, LinearWeights, TensorLike],
  { wanted = NAMES, ...options }: ConvolutionBackwardOptions,
): Record<LinearGradientName, Tensor<'float32'>> {
  const wants = wantedAmong(NAMES, wanted);
  const given = scope.tensor('input', input);
  const { pictures, geometry, shape } = readConvolution(given, weights, options);
  const dy = gradientRows(scope, upstream, shape);
  const dx = wants('input') ? scope.make(given.shape) : undefined;
  const packed = wants('weight') || wants('bias') ? zeroGradient(scope, weights) : undefined;
  const [batch, ...sizes] = pictures.shape as [number, number, number, number];
  const ofPicture = contiguousStrides([1, ...sizes]);
  const rows = dy.rows / Math.max(1, batch);
  for (let one = 0; one < batch; one++) {
    runConvolutionBackward(scope, {
      picture: pictures.slice(0, one, one + 1),
      ...{ weights, geometry },
      dy: { address: dy.address + one * rows * dy.rowBytes, rowBytes: dy.rowBytes, rows },
      dx: dx && { picture: dx.slice(0, one, one + 1).withLayout([1, ...sizes], ofPicture) },
      gradient: packed?.address,
    });
  }
  return {
    ...(dx && { input: dx }),
    ...(packed && unpackGradients(scope, weights, packed, wants)),
  } as Record<LinearGradientName, Tensor<'float32'>>;
}
