// Gradients of norms over the last axis.

import { NORM_BACKWARD_SCRATCH_BYTES, normBackwardParameters } from '../../../build/kernels.js';
import type { Rows } from '../../model/pass.js';
import { rowsOf } from '../../ops/linear/linear.js';
import { checkEpsilon, NORM_KINDS, vectorOf } from '../../ops/norms/norm.js';
import type { LayerNormOptions, NormalizeOptions, RmsNormOptions } from '../../ops/norms/norm.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { NamesOf } from '../../runtime/checks.js';
import { shapeError } from '../../runtime/errors.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import { ParameterBlock } from '../../runtime/parameters.js';
import type { Tensor } from '../../runtime/tensor.js';
import { runAddPartials } from './column-sums.js';
import { matching } from './matching.js';

const normBackwardBlock = /* @__PURE__ */ new ParameterBlock(normBackwardParameters);
/** Runs of channels whose sums for weights are one chain. */
const RUNS_IN_TILE = 32;

/**
 * @internal Gradients of `runNorm`, for rows of x and of dy that hold `groups` runs of channels each. Weight is the address of
 * `channels` floats; without it they count as ones.
 */
export function runNormBackward(
  scope: CallScope,
  kind: keyof typeof NORM_KINDS,
  x: Rows & { readonly groups?: number },
  dy: Omit<Rows, 'rows'>,
  norm: {
    readonly channels: number;
    readonly epsilon: number;
    readonly weight?: number | undefined;
    readonly unitOffset?: boolean | undefined;
  },
  wanted: {
    /** May be dy, unless it is added to. */
    readonly dx?: Omit<Rows, 'rows'> | undefined;
    /** Whether dx is added to; default false: it is written. */
    readonly adding?: boolean | undefined;
    /** Addresses of `channels` floats each, which are added to. */
    readonly weightGradient?: number | undefined;
    readonly biasGradient?: number | undefined;
  },
): void {
  const { rows, groups = 1 } = x;
  const { channels, epsilon, weight = 0 } = norm;
  const { dx, weightGradient, biasGradient } = wanted;
  if (rows === 0 || groups === 0 || channels === 0) return;
  const rowsInTile = Math.max(1, Math.floor(RUNS_IN_TILE / groups));
  const tiles = Math.ceil(rows / rowsInTile);
  const summing = weightGradient !== undefined || biasGradient !== undefined;
  const biased = biasGradient !== undefined;
  const rowBytes = channels * (biased ? 8 : 4);
  const partials = summing ? scope.allocate(tiles * rowBytes) : 0;
  const parameters = scope.allocate(normBackwardBlock.bytes);
  normBackwardBlock.write(scope.runtime.linearMemory, parameters, [
    {
      ...{ x: x.address, xStride: x.rowBytes, dy: dy.address, dyStride: dy.rowBytes },
      ...{ dx: dx?.address ?? 0, dxStride: dx?.rowBytes ?? 0, adding: wanted.adding ? 1 : 0 },
      ...{ rows, rowsInTile, groups, channels, epsilon, weight, partials },
      weightOffset: norm.unitOffset ? 1 : 0,
      kind: NORM_KINDS[kind],
      biased: biased ? 1 : 0,
    },
  ]);
  scope.run({
    pack: 'training',
    kernel: 'normBackward',
    args: [parameters],
    tiles,
    scratchBytes: NORM_BACKWARD_SCRATCH_BYTES,
    cost: 50 * rows * groups * channels,
  });
  const sums = (place: number) => ({ address: partials + place, rowBytes, rows: tiles });
  if (weightGradient !== undefined) runAddPartials(scope, sums(0), channels, weightGradient);
  if (biasGradient !== undefined) runAddPartials(scope, sums(channels * 4), channels, biasGradient);
}

/** Options of `layerNormBackward`: those of the forward pass. */
export type LayerNormBackwardOptions = Omit<LayerNormOptions, 'output' | 'bias'>;
/** Options of `rmsNormBackward`: those of the forward pass. */
export type RmsNormBackwardOptions = Omit<RmsNormOptions, 'output'>;
/** Options of `normalizeBackward`: those of the forward pass. */
export type NormalizeBackwardOptions = Omit<NormalizeOptions, 'output'>;

/** Gradients of a norm. */
export interface RmsNormGradients {
  /** In the shape of the input. */
  readonly input: Tensor<'float32'>;
  /** [channels] */
  readonly weight: Tensor<'float32'>;
}

/** Gradients of a layer norm. */
export interface LayerNormGradients extends RmsNormGradients {
  /** [channels] */
  readonly bias: Tensor<'float32'>;
}

type NormBackwardOperation<Options extends object, Result> = Operation<
  [input: TensorLike, upstream: TensorLike],
  Options,
  Result
>;

const layerNormBackwardOperation: NormBackwardOperation<LayerNormBackwardOptions, LayerNormGradients> = {
  inputs: ['input', 'upstream'],
  options: { weight: 1, epsilon: 1, runtime: 1 } satisfies NamesOf<LayerNormBackwardOptions>,
  run: (scope, inputs, options) => gradientsOf(scope, 'layer', inputs, { epsilon: 1e-5, ...options }),
};

const rmsNormBackwardOperation: NormBackwardOperation<RmsNormBackwardOptions, RmsNormGradients> = {
  inputs: ['input', 'upstream'],
  options: { weight: 1, epsilon: 1, unitOffset: 1, runtime: 1 } satisfies NamesOf<RmsNormBackwardOptions>,
  run(scope, inputs, options) {
    const { input, weight } = gradientsOf(scope, 'rms', inputs, { epsilon: 1e-6, ...options });
    return { input, weight };
  },
};

const normalizeBackwardOperation: NormBackwardOperation<NormalizeBackwardOptions, Tensor<'float32'>> = {
  inputs: ['input', 'upstream'],
  options: { epsilon: 1, runtime: 1 } satisfies NamesOf<NormalizeBackwardOptions>,
  run: (scope, inputs, options) => gradientsOf(scope, 'l2', inputs, { epsilon: 1e-12, ...options }).input,
};

/** Those of weight and bias are temporary where the kind of norm has none. */
function gradientsOf(
  scope: CallScope,
  kind: keyof typeof NORM_KINDS,
  [input, upstream]: readonly [TensorLike, TensorLike],
  options: RmsNormBackwardOptions,
): LayerNormGradients {
  const [given, dy] = matching(scope, 'input', input, upstream);
  if (given.shape.length < 1) throw shapeError('input', '[..., channels]', given.shape);
  const channels = given.shape.at(-1)!;
  const weight = vectorOf(scope, 'weight', options.weight, channels);
  const { epsilon = 0, unitOffset } = options;
  checkEpsilon(epsilon);
  const dx = scope.make(given.shape);
  const sums = (wanted: boolean) => (wanted ? scope.make([channels]) : scope.temporary([channels]));
  const gradients = { input: dx, weight: sums(kind !== 'l2'), bias: sums(kind === 'layer') };
  for (const tensor of [gradients.weight, gradients.bias]) tensor.data.fill(0);
  if (given.size === 0) return gradients;
  const place = (tensor: Tensor) => {
    const layout = rowsOf(tensor);
    const { address } = layout ? tensor : scope.contiguous(tensor);
    return { address, rowBytes: (layout?.rowStride ?? channels) * 4, rows: tensor.size / channels };
  };
  runNormBackward(
    ...([scope, kind, place(given), place(dy), { channels, epsilon, weight, unitOffset }] as const),
    {
      dx: place(dx),
      ...(kind !== 'l2' && { weightGradient: gradients.weight.address }),
      ...(kind === 'layer' && { biasGradient: gradients.bias.address }),
    },
  );
  return gradients;
}

/**
 * Gradients of `layerNorm` with the same options: of input, weight and bias. The runtime needs the pack `training`.
 *
 * @param input    what was normalised, [..., channels], float32
 * @param upstream what flows into the result, in its shape
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const { input, bias } = layerNormBackward(runtime.tensor([1, 3]), runtime.tensor([1, 1]), { epsilon: 0 });
 * input.data; // [0, 0]
 * bias.data; // [1, 1]
 * ```
 */
export function layerNormBackward(
  input: TensorLike,
  upstream: TensorLike,
  options: LayerNormBackwardOptions = {},
): LayerNormGradients {
  return callNow(layerNormBackwardOperation, [input, upstream], options);
}

/**
 * {@link layerNormBackward} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const { bias } = await layerNormBackwardAsync(runtime.tensor([1, 3]), runtime.tensor([1, 2]));
 * bias.data; // [1, 2]
 * ```
 */
export function layerNormBackwardAsync(
  input: TensorLike,
  upstream: TensorLike,
  options: LayerNormBackwardOptions & AsyncOptions = {},
): Promise<LayerNormGradients> {
  return callAsync(layerNormBackwardOperation, [input, upstream], options);
}

/**
 * Gradients of `rmsNorm` with the same options: of input and weight. The runtime needs the pack `training`.
 *
 * @param input    what was normalised, [..., channels], float32
 * @param upstream what flows into the result, in its shape
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const { weight } = rmsNormBackward(runtime.tensor([3, -3]), runtime.tensor([1, 2]), { epsilon: 0 });
 * weight.data; // [1, -2]
 * ```
 */
export function rmsNormBackward(
  input: TensorLike,
  upstream: TensorLike,
  options: RmsNormBackwardOptions = {},
): RmsNormGradients {
  return callNow(rmsNormBackwardOperation, [input, upstream], options);
}

/**
 * {@link rmsNormBackward} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const { weight } = await rmsNormBackwardAsync(runtime.tensor([3, -3]), runtime.tensor([1, 2]), { epsilon: 0 });
 * weight.data; // [1, -2]
 * ```
 */
export function rmsNormBackwardAsync(
  input: TensorLike,
  upstream: TensorLike,
  options: RmsNormBackwardOptions & AsyncOptions = {},
): Promise<RmsNormGradients> {
  return callAsync(rmsNormBackwardOperation, [input, upstream], options);
}

/**
 * Gradients of `normalize` with the same options: of input. The runtime needs the pack `training`.
 *
 * @param input    what was normalised, [..., channels], float32
 * @param upstream what flows into the result, in its shape
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * await runtime.load(training);
 * normalizeBackward(runtime.tensor([0, 8]), runtime.tensor([8, 8])).data; // [1, 0]
 * ```
 */
export function normalizeBackward(
  input: TensorLike,
  upstream: TensorLike,
  options: NormalizeBackwardOptions = {},
): Tensor<'float32'> {
  return callNow(normalizeBackwardOperation, [input, upstream], options);
}

/**
 * {@link normalizeBackward} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const gradient = await normalizeBackwardAsync(runtime.tensor([0, 8]), runtime.tensor([8, 8]));
 * gradient.data; // [1, 0]
 * ```
 */
export function normalizeBackwardAsync(
  input: TensorLike,
  upstream: TensorLike,
  options: NormalizeBackwardOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(normalizeBackwardOperation, [input, upstream], options);
}
