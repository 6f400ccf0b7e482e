// Norms over the last axis: layer norm, RMS norm and the unit length of vectors.

import { L2_NORM, LAYER_NORM, NORM_SCRATCH_BYTES, normParameters, RMS_NORM } from '../../../build/kernels.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { NamesOf } from '../../runtime/checks.js';
import { invalidArgument, shapeError } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import { givenOutput } from '../../runtime/output.js';
import { ParameterBlock } from '../../runtime/parameters.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Tensor } from '../../runtime/tensor.js';
import { rowsOf } from '../linear/linear.js';

export const NORM_KINDS = { layer: LAYER_NORM, rms: RMS_NORM, l2: L2_NORM };
const normBlock = /* @__PURE__ */ new ParameterBlock(normParameters);

/**
 * @internal Rows of x, or `groups` runs of channels in each, to rows of y, which may be those of x. Weight and bias are
 * addresses of `channels` floats; 0 stands for ones and zeros.
 */
export function runNorm(
  scope: CallScope,
  kind: keyof typeof NORM_KINDS,
  x: { address: number; rowBytes: number; rows: number; groups?: number },
  y: { address: number; rowBytes: number },
  norm: {
    channels: number;
    epsilon: number;
    weight?: number | undefined;
    bias?: number | undefined;
    unitOffset?: boolean | undefined;
    /** Added to the result; may be y. */
    residual?: { address: number; rowBytes: number } | undefined;
  },
): void {
  const { rows, groups = 1 } = x;
  const { channels, epsilon, weight = 0, bias = 0 } = norm;
  const parameters = scope.allocate(normBlock.bytes);
  normBlock.write(scope.runtime.linearMemory, parameters, [
    {
      x: x.address,
      xStride: x.rowBytes,
      y: y.address,
      yStride: y.rowBytes,
      residual: norm.residual?.address ?? 0,
      residualStride: norm.residual?.rowBytes ?? 0,
      kind: NORM_KINDS[kind],
      weightOffset: norm.unitOffset ? 1 : 0,
      ...{ groups, channels, epsilon, weight, bias },
    },
  ]);
  scope.run({
    pack: 'model',
    kernel: 'normRows',
    args: [parameters],
    tiles: rows,
    scratchBytes: NORM_SCRATCH_BYTES,
    cost: 25 * rows * groups * channels,
  });
}

interface CommonOptions {
  /** A contiguous float32 tensor of the input's shape to write to. It must not share an element with an input. */
  readonly output?: Tensor | undefined;
  /** Needed only if the input is not a Tensor. */
  readonly runtime?: Runtime | undefined;
}

/** Options of `layerNorm`. */
export interface LayerNormOptions extends CommonOptions {
  /** [channels]; default ones. */
  readonly weight?: TensorLike | undefined;
  /** [channels]; default zeros. */
  readonly bias?: TensorLike | undefined;
  /** Added to the variance; default 1e-5. */
  readonly epsilon?: number | undefined;
}

/** Options of `rmsNorm`. */
export interface RmsNormOptions extends CommonOptions {
  /** [channels]; default ones. */
  readonly weight?: TensorLike | undefined;
  /** Added to the mean of squares; default 1e-6. */
  readonly epsilon?: number | undefined;
  /** True multiplies by 1 + weight, as Gemma does. Default false. */
  readonly unitOffset?: boolean | undefined;
}

/** Options of `normalize`. */
export interface NormalizeOptions extends CommonOptions {
  /** The least length that is divided by; default 1e-12. */
  readonly epsilon?: number | undefined;
}

export const layerNormOperation: Operation<[input: TensorLike], LayerNormOptions, Tensor<'float32'>> = {
  inputs: ['input'],
  options: { weight: 1, bias: 1, epsilon: 1, output: 1, runtime: 1 } satisfies NamesOf<LayerNormOptions>,
  run: (scope, [input], options) => normOf(scope, 'layer', input, { epsilon: 1e-5, ...options }),
};

export const rmsNormOperation: Operation<[input: TensorLike], RmsNormOptions, Tensor<'float32'>> = {
  inputs: ['input'],
  options: { weight: 1, epsilon: 1, unitOffset: 1, output: 1, runtime: 1 } satisfies NamesOf<RmsNormOptions>,
  run: (scope, [input], options) => normOf(scope, 'rms', input, { epsilon: 1e-6, ...options }),
};

export const normalizeOperation: Operation<[input: TensorLike], NormalizeOptions, Tensor<'float32'>> = {
  inputs: ['input'],
  options: { epsilon: 1, output: 1, runtime: 1 } satisfies NamesOf<NormalizeOptions>,
  run: (scope, [input], options) => normOf(scope, 'l2', input, { epsilon: 1e-12, ...options }),
};

function normOf(
  scope: CallScope,
  kind: keyof typeof NORM_KINDS,
  input: TensorLike,
  options: LayerNormOptions & RmsNormOptions,
): Tensor<'float32'> {
  const given = scope.tensor('input', input);
  checkDataType('input', given, 'float32');
  if (given.shape.length < 1) throw shapeError('input', '[..., channels]', given.shape);
  const channels = given.shape.at(-1)!;
  const weight = vectorOf(scope, 'weight', options.weight, channels);
  const bias = vectorOf(scope, 'bias', options.bias, channels);
  const { epsilon = 0, unitOffset, output } = options;
  checkEpsilon(epsilon);
  const y = output === undefined ? scope.make(given.shape) : givenOutput(scope, output, given.shape, true);
  if (given.size === 0) return y;
  const layout = rowsOf(given);
  const x = layout ? given : scope.contiguous(given);
  const rowBytes = channels * 4;
  runNorm(
    scope,
    kind,
    { address: x.address, rowBytes: layout ? layout.rowStride * 4 : rowBytes, rows: x.size / channels },
    { address: y.address, rowBytes },
    { channels, epsilon, weight, bias, unitOffset },
  );
  return y;
}

/** @internal */
export function checkEpsilon(epsilon: number): void {
  if (Number.isFinite(epsilon) && epsilon >= 0) return;
  throw invalidArgument('epsilon', 'a finite number, at least 0', epsilon);
}

/** @internal Address of [channels]. */
export function vectorOf(
  scope: CallScope,
  argument: string,
  given: TensorLike | undefined,
  channels: number,
): number | undefined {
  if (given === undefined) return undefined;
  const vector = scope.tensor(argument, given);
  checkDataType(argument, vector, 'float32');
  if (vector.shape.length !== 1 || vector.shape[0] !== channels) {
    throw shapeError(argument, `[${channels}]`, vector.shape);
  }
  return scope.contiguous(vector).address;
}

/**
 * (x - mean) / sqrt(variance + epsilon) * weight + bias over the last axis; the variance is that of all channels (divided by
 * their number). A row that holds NaN or infinity gives NaN. The runtime needs the pack `model`.
 *
 * @param input [..., channels], float32
 * @returns a tensor of the input's shape
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * layerNorm(runtime.tensor([1, 3, 5, 5], [2, 2]), { epsilon: 0 }).shape; // [2, 2]
 * layerNorm({ data: [1, 3], shape: [2] }, { epsilon: 0, runtime }).data; // [-1, 1]
 * ```
 */
export function layerNorm(input: TensorLike, options: LayerNormOptions = {}): Tensor<'float32'> {
  return callNow(layerNormOperation, [input], options);
}

/**
 * {@link layerNorm} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const y = await layerNormAsync(runtime.tensor([1, 3]), { epsilon: 0 });
 * y.data; // [-1, 1]
 * ```
 */
export function layerNormAsync(
  input: TensorLike,
  options: LayerNormOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(layerNormOperation, [input], options);
}

/**
 * x / sqrt(mean of x^2 + epsilon) * weight over the last axis. A row that holds NaN or infinity gives NaN. The runtime needs the
 * pack `model`.
 *
 * @param input [..., channels], float32
 * @returns a tensor of the input's shape
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * const weight = { data: [1, 0], shape: [2] };
 * rmsNorm(runtime.tensor([3, -3]), { epsilon: 0, weight }).data; // [1, 0]
 * rmsNorm(runtime.tensor([3, -3]), { epsilon: 0, weight, unitOffset: true }).data; // [2, -1]
 * ```
 */
export function rmsNorm(input: TensorLike, options: RmsNormOptions = {}): Tensor<'float32'> {
  return callNow(rmsNormOperation, [input], options);
}

/**
 * {@link rmsNorm} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const y = await rmsNormAsync(runtime.tensor([3, -3]), { epsilon: 0 });
 * y.data; // [1, -1]
 * ```
 */
export function rmsNormAsync(
  input: TensorLike,
  options: RmsNormOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(rmsNormOperation, [input], options);
}

/**
 * x / max(|x|, epsilon) over the last axis, where |x| is the Euclidean length: embeddings whose dot products are cosines. The
 * runtime needs the pack `model`.
 *
 * @param input [..., channels], float32
 * @returns a tensor of the input's shape
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * normalize(runtime.tensor([0, 8, 0, 0], [2, 2])).data; // [0, 1, 0, 0]
 * ```
 */
export function normalize(input: TensorLike, options: NormalizeOptions = {}): Tensor<'float32'> {
  return callNow(normalizeOperation, [input], options);
}

/**
 * {@link normalize} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const y = await normalizeAsync(runtime.tensor([0, 8]));
 * y.data; // [0, 1]
 * ```
 */
export function normalizeAsync(
  input: TensorLike,
  options: NormalizeOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(normalizeOperation, [input], options);
}
