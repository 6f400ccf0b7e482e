// Convolutions through the product: patches are unfolded to rows, some at a time, and multiplied.

import { unfoldParameters } from '../../../build/kernels.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import { checkInteger } from '../../runtime/checks.js';
import type { NamesOf } from '../../runtime/checks.js';
import { invalidArgument, shapeError } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import { ParameterBlock } from '../../runtime/parameters.js';
import { roomFor } from '../../runtime/rooms.js';
import type { Tensor } from '../../runtime/tensor.js';
import type { ActivationName } from '../activations/names.js';
import { checkActivation, runFusedLinear } from './fused-linear.js';
import type { Epilogue } from './fused-linear.js';
import { runtimeOfWeights } from './linear.js';
import type { LinearWeights, Rows } from './linear.js';

type Pair = readonly [down: number, right: number];

/** Where patches lie. */
export interface Geometry {
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly padding: Pair;
}

/** Bytes of unfolded patches at most, but for a patch that is larger: they stay in a second-level cache. */
const UNFOLDED_BYTES = 512 * 1024;

const unfoldBlock = /* @__PURE__ */ new ParameterBlock(unfoldParameters);

/** Patches down and right of a picture. */
function patchesOf([height, width]: Pair, { kernel, stride, padding }: Geometry): Pair {
  const along = (length: number, axis: 0 | 1) =>
    Math.floor((length + 2 * padding[axis] - kernel[axis]) / stride[axis]) + 1;
  return [along(height, 0), along(width, 1)];
}

/** @internal How the patches of one picture [1, channels, height, width] with any strides are unfolded, some at a time. */
export function planPatches(
  scope: CallScope,
  { address, shape, strides }: Tensor,
  geometry: Geometry,
): { parameters: number; patches: number; depth: number; step: number } {
  const [, channels, height, width] = shape as [number, number, number, number];
  const { kernel, stride, padding } = geometry;
  const [down, across] = patchesOf([height, width], geometry);
  const patches = down * across;
  const depth = channels * kernel[0] * kernel[1];
  const parameters = scope.allocate(unfoldBlock.bytes);
  unfoldBlock.write(scope.runtime.linearMemory, parameters, [
    {
      picture: address,
      channelStride: strides[1]! * 4,
      rowStride: strides[2]! * 4,
      columnStride: strides[3]! * 4,
      channels,
      height,
      width,
      kernelHeight: kernel[0],
      kernelWidth: kernel[1],
      strideDown: stride[0],
      strideRight: stride[1],
      paddingTop: padding[0],
      paddingLeft: padding[1],
      across,
    },
  ]);
  const step = Math.min(patches, Math.max(1, Math.floor(UNFOLDED_BYTES / (depth * 4))));
  return { parameters, patches, depth, step };
}

/** @internal Patches [first, first + count) as rows, which the next ones overwrite. */
export function runUnfold(
  scope: CallScope,
  { parameters, depth, step }: ReturnType<typeof planPatches>,
  first: number,
  count: number,
): Rows & { readonly rows: number } {
  const { address } = roomFor(scope, 'patches', step * depth);
  scope.run({
    pack: 'model',
    kernel: 'unfold',
    args: [parameters, first, address],
    tiles: count,
    scratchBytes: 0,
    cost: 50 * count * depth,
  });
  return { address, rowBytes: depth * 4, rows: count };
}

/**
 * @internal Patches of one picture [1, channels, height, width] with any strides times the weights, finished, into rows of y, and so
 * those of the residual.
 */
export function runConvolution(
  scope: CallScope,
  picture: Tensor,
  weights: LinearWeights,
  geometry: Geometry,
  y: Rows,
  { residual, ...epilogue }: Epilogue = {},
): void {
  const plan = planPatches(scope, picture, geometry);
  const columns = { from: 0, to: weights.outFeatures };
  for (let first = 0; first < plan.patches; first += plan.step) {
    const count = Math.min(plan.step, plan.patches - first);
    const from = ({ address, rowBytes }: Rows) => ({ address: address + first * rowBytes, rowBytes });
    runFusedLinear(scope, runUnfold(scope, plan, first, count), weights, columns, from(y), {
      ...epilogue,
      residual: residual && from(residual),
    });
  }
}

/** Options of `convolution`. A number stands for all axes; of sound there is one axis. */
export interface ConvolutionOptions {
  /** Length of a patch along height and width, or along the one axis of sound. */
  readonly kernel: number | readonly number[];
  /** From one patch to the next. Default 1. */
  readonly stride?: number | readonly number[] | undefined;
  /** Zeros on either side. Default 0. */
  readonly padding?: number | readonly number[] | undefined;
  /** On the result. Default: none. */
  readonly activation?: ActivationName | undefined;
}

export const convolutionOperation: Operation<
  [input: TensorLike, weights: LinearWeights],
  ConvolutionOptions,
  Tensor<'float32'>
> = {
  inputs: ['input', 'weights'],
  options: { kernel: 1, stride: 1, padding: 1, activation: 1 } satisfies NamesOf<ConvolutionOptions>,
  runtime: ([, weights]) => runtimeOfWeights(weights),
  run: convolve,
};

/**
 * A convolution as models begin with: of patches of a picture, or of frames of sound. Needs the kernels of `wasm-attention/model`.
 *
 * @param input   [batch, channels, height, width] or [batch, channels, length], with any strides
 * @param weights of a matrix [outFeatures, channels * kernel height * kernel width]: a convolution's weight, flattened from its
 *   second axis on
 * @returns [batch, patches down, patches across, outFeatures] or [batch, patches, outFeatures]: rows for the layers that follow
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY, INVALID_STATE (kernels not loaded), before
 *   anything is written
 *
 * @example
 * ```js
 * await runtime.load(model);
 * const weights = new LinearWeights(runtime, { data: [1, 1, 1], shape: [1, 3] });
 * const sums = convolution({ data: [1, 2, 3, 4], shape: [1, 1, 4] }, weights, { kernel: 3, padding: 1 });
 * sums.data; // [3, 6, 9, 7]
 * ```
 */
export function convolution(
  input: TensorLike,
  weights: LinearWeights,
  options: ConvolutionOptions,
): Tensor<'float32'> {
  return callNow(convolutionOperation, [input, weights], options);
}

/**
 * {@link convolution} in slices of some milliseconds between turns of the event loop.
 *
 * @example
 * ```js
 * await runtime.load(model);
 * const weights = new LinearWeights(runtime, { data: [1, 1, 1], shape: [1, 3] });
 * const sums = await convolutionAsync({ data: [1, 2, 3], shape: [1, 1, 3] }, weights, { kernel: 3 });
 * sums.data; // [6]
 * ```
 */
export function convolutionAsync(
  input: TensorLike,
  weights: LinearWeights,
  options: ConvolutionOptions & AsyncOptions,
): Promise<Tensor<'float32'>> {
  return callAsync(convolutionOperation, [input, weights], options);
}

function convolve(
  scope: CallScope,
  [input, weights]: readonly [TensorLike, LinearWeights],
  { activation, ...options }: ConvolutionOptions,
): Tensor<'float32'> {
  checkActivation(activation);
  const given = scope.tensor('input', input);
  const { pictures, geometry, shape } = readConvolution(given, weights, options);
  const y = scope.make(shape);
  const rowBytes = weights.outFeatures * 4;
  const pictureBytes = (y.size / Math.max(1, pictures.shape[0]!)) * 4;
  for (let one = 0; one < pictures.shape[0]!; one++) {
    const rows = { address: y.address + one * pictureBytes, rowBytes };
    runConvolution(scope, pictures.slice(0, one, one + 1), weights, geometry, rows, { activation });
  }
  return y;
}

/** @internal What a convolution is given, checked: sound as pictures of height 1, and the shape of its result. */
export function readConvolution(
  given: Tensor,
  { inFeatures, outFeatures }: LinearWeights,
  { kernel, stride = 1, padding = 0 }: Pick<ConvolutionOptions, 'kernel' | 'stride' | 'padding'>,
): { pictures: Tensor; geometry: Geometry; shape: readonly number[] } {
  checkDataType('input', given, 'float32');
  const rank = given.shape.length;
  if (rank !== 3 && rank !== 4) {
    throw shapeError('input', '[batch, channels, height, width] or [batch, channels, length]', given.shape);
  }
  const geometry = {
    kernel: pairOf('kernel', kernel, 1, rank),
    stride: pairOf('stride', stride, 1, rank),
    padding: pairOf('padding', padding, 0, rank, 0),
  };
  const pictures = rank === 4 ? given : flat(given);
  const [batch, channels, height, width] = pictures.shape as [number, number, number, number];
  const patchSize = geometry.kernel[0] * geometry.kernel[1];
  if (channels * patchSize !== inFeatures) {
    throw shapeError(
      'input',
      `${inFeatures / patchSize} channels for weights of ${inFeatures} inputs`,
      given.shape,
    );
  }
  const [down, across] = patchesOf([height, width], geometry);
  if (down < 1 || across < 1)
    throw shapeError('input', `at least one patch of ${geometry.kernel.join(' x ')}`, given.shape);
  return { pictures, geometry, shape: [batch, ...(rank === 4 ? [down] : []), across, outFeatures] };
}

/** Sound as pictures of height 1. */
function flat(sound: Tensor): Tensor {
  const [batch, channels, length] = sound.shape as [number, number, number];
  const [ofBatch, ofChannel, ofFrame] = sound.strides as [number, number, number];
  return sound.withLayout([batch, channels, 1, length], [ofBatch, ofChannel, 0, ofFrame]);
}

/** Down and right; along the one axis of sound right, with `alone` down. */
function pairOf(
  argument: string,
  given: number | readonly number[],
  least: number,
  rank: number,
  alone = 1,
): Pair {
  const axes = rank - 2;
  const list = typeof given === 'number' ? new Array<number>(axes).fill(given) : given;
  if (!Array.isArray(list) || list.length !== axes) {
    throw invalidArgument(
      argument,
      axes === 1 ? 'a number' : 'a number, or one for each of height and width',
      given,
    );
  }
  for (const length of list) checkInteger(argument, length, least, 2 ** 16);
  const [down, right] = list as [number, number];
  return axes === 1 ? [alone, down] : [down, right];
}
