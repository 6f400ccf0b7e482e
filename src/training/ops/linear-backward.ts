// The way back of a product: gradients of its input, dX = dY W, and of its weights, dW = dY^T X, where they lie packed.

import { PANEL, weightGradientParameters } from '../../../build/kernels.js';
import type { Rows } from '../../model/pass.js';
import { runFusedLinear } from '../../ops/linear/fused-linear.js';
import { placesOf, rowsOf, runtimeOfWeights } from '../../ops/linear/linear.js';
import type { LinearWeights, PackedMatrix } from '../../ops/linear/linear.js';
import { unpackPiece } from '../../ops/linear/packing.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { NamesOf } from '../../runtime/checks.js';
import { describe, invalidArgument, shapeError } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { TensorLike } from '../../runtime/inputs.js';
import { sameShape } from '../../runtime/layout.js';
import type { Operation } from '../../runtime/operation.js';
import { ParameterBlock } from '../../runtime/parameters.js';
import { roomFor } from '../../runtime/rooms.js';
import type { Tensor } from '../../runtime/tensor.js';

/** Floats of transposed weights at most, but for 8 panels of a higher matrix. */
const TRANSPOSED_FLOATS = 1 << 20;
const LEAST_PANELS = 8;

/** Panels and strips of a tile of dW at most: what it packs of dY and dW itself stay in a second-level cache. */
const PANELS_IN_TILE = 16;
const STRIPS_IN_TILE = 8;
/** Arithmetic of a tile: some milliseconds, so that slices can end between tiles. And tiles for each thread at least. */
const TILE_COST = 1e8;
const TILES_OF_THREAD = 4;

const weightGradientBlock = /* @__PURE__ */ new ParameterBlock(weightGradientParameters);

/** Rows that gradients are written to, or added to. */
export interface GradientRows {
  readonly address: number;
  readonly rowBytes: number;
  /** Added to what is there. Default: written. */
  readonly adding?: boolean | undefined;
  /** On what is written or added. Default 1. */
  readonly factor?: number | undefined;
}

/** @internal What a product was given, and where its gradients go. What is not named is not computed. */
export interface LinearGradients {
  /** Rows of inFeatures floats. */
  readonly x: Rows;
  readonly weights: PackedMatrix;
  /** As many rows of outFeatures floats. */
  readonly dy: Rows;
  /** As many rows of inFeatures floats, which must not overlap those of dy. */
  readonly dx?: GradientRows | undefined;
  /** Address of floats laid out as `weights.packed`, to which gradients of matrix and bias are added. */
  readonly gradient?: number | undefined;
}

/** @internal The gradients of y = x W^T + b. */
export function runLinearBackward(scope: CallScope, { x, weights, dy, dx, gradient }: LinearGradients): void {
  if (dy.rows === 0) return;
  if (dx) runInputGradient(scope, weights, dy, dx);
  if (gradient) runWeightGradient(scope, x, weights, dy, gradient);
}

/** dX = dY W: a product with the transpose, some panels of which are made at a time. */
function runInputGradient(scope: CallScope, weights: PackedMatrix, dy: Rows, dx: GradientRows): void {
  const { inFeatures, outFeatures } = weights;
  const { panels } = placesOf(scope, weights);
  const all = Math.ceil(inFeatures / PANEL);
  const panelFloats = (outFeatures + 1) * PANEL;
  const step = Math.min(all, Math.max(LEAST_PANELS, Math.floor(TRANSPOSED_FLOATS / panelFloats)));
  const packed = roomFor(scope, 'transposed', step * panelFloats);
  for (let first = 0; first < all; first += step) {
    const count = Math.min(step, all - first);
    scope.run({
      pack: 'training',
      kernel: 'transposePanels',
      args: [
        panels,
        inFeatures,
        outFeatures,
        first,
        packed.address,
        packed.address + count * PANEL * outFeatures * 4,
      ],
      tiles: count,
      scratchBytes: 0,
      cost: 20 * count * PANEL * outFeatures,
    });
    const width = Math.min(count * PANEL, inFeatures - first * PANEL);
    const transposed = { inFeatures: outFeatures, outFeatures: width, packed };
    const columns = { address: dx.address + first * PANEL * 4, rowBytes: dx.rowBytes };
    runFusedLinear(scope, dy, transposed, { from: 0, to: width }, columns, {
      factor: dx.factor,
      residual: dx.adding ? columns : undefined,
    });
  }
}

/** dW += X^T dY, db += sums of dY. */
function runWeightGradient(
  scope: CallScope,
  x: Rows,
  { inFeatures, outFeatures }: PackedMatrix,
  dy: Rows,
  gradient: number,
): void {
  const { linearMemory } = scope.runtime;
  const kernels = scope.runtime.kernelsOf('training');
  const cost = 2 * dy.rows * inFeatures * outFeatures;
  const threads = scope.runtime.threads?.count ?? 1;
  const { panels, strips, tiles } = tilesOf(
    Math.ceil(outFeatures / PANEL),
    kernels.stripsOf(inFeatures),
    Math.max(cost / TILE_COST, threads > 1 ? TILES_OF_THREAD * threads : 1),
  );
  const parameters = scope.allocate(weightGradientBlock.bytes);
  weightGradientBlock.write(linearMemory, parameters, [
    {
      x: x.address,
      xStride: x.rowBytes,
      dy: dy.address,
      dyStride: dy.rowBytes,
      rows: dy.rows,
      ins: inFeatures,
      outs: outFeatures,
      gradient,
      panels,
      strips,
    },
  ]);
  scope.run({
    pack: 'training',
    kernel: 'addWeightGradient',
    args: [parameters],
    tiles,
    scratchBytes: kernels.weightGradientScratchBytes(panels, strips),
    cost,
  });
}

/** Tiles of even size, as few as there may be, because what a tile packs serves all of it. */
function tilesOf(allPanels: number, allStrips: number, wanted: number) {
  let down = Math.ceil(allPanels / PANELS_IN_TILE);
  let across = Math.ceil(allStrips / STRIPS_IN_TILE);
  while (down * across < wanted && allPanels / down > LEAST_PANELS) down++;
  while (down * across < wanted && across < allStrips) across++;
  const panels = Math.ceil(allPanels / down);
  const strips = Math.ceil(allStrips / across);
  return { panels, strips, tiles: Math.ceil(allPanels / panels) * Math.ceil(allStrips / strips) };
}

/** Gradients that {@link linearBackward} computes. */
export type LinearGradientName = 'input' | 'weight' | 'bias';

/** Options of `linearBackward`. */
export interface LinearBackwardOptions<Name extends LinearGradientName = LinearGradientName> {
  /** What is computed, the gradients of weight and bias together. Default: all. */
  readonly wanted?: readonly Name[] | undefined;
}

const NAMES = ['input', 'weight', 'bias'] as const;

const linearBackwardOperation: Operation<
  [input: TensorLike, weights: LinearWeights, gradient: TensorLike],
  LinearBackwardOptions,
  Record<LinearGradientName, Tensor<'float32'>>
> = {
  inputs: ['input', 'weights', 'gradient'],
  options: { wanted: 1 } satisfies NamesOf<LinearBackwardOptions>,
  runtime: ([, weights]) => runtimeOfWeights(weights),
  run: backward,
};

/**
 * Gradients of `linear`, y = x W^T + b: dx = dy W, dW = dy^T x, db = the sum of the rows of dy. Needs the kernels of
 * `wasm-attention/model` and of `wasm-attention/training`.
 *
 * @param input    [..., inFeatures], as it was given to `linear`
 * @param gradient [..., outFeatures], what flows into y
 * @returns the gradients by name: `input` of the input's shape, `weight` [outFeatures, inFeatures], `bias` [outFeatures]
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY, INVALID_STATE (kernels not loaded), before
 *   anything is written
 *
 * @example
 * ```js
 * await runtime.load(model);
 * await runtime.load(training);
 * const weights = new LinearWeights(runtime, { data: [1, 0, 0, 1, 1, 1], shape: [3, 2] });
 * const gradient = { data: [1, 1, 2], shape: [1, 3] };
 * const { input, weight } = linearBackward({ data: [2, 5], shape: [1, 2] }, weights, gradient);
 * input.data; // [3, 3]
 * weight.data; // [2, 5, 2, 5, 4, 10]
 * ```
 */
export function linearBackward<Name extends LinearGradientName = LinearGradientName>(
  input: TensorLike,
  weights: LinearWeights,
  gradient: TensorLike,
  options: LinearBackwardOptions<Name> = {},
): Readonly<Record<Name, Tensor<'float32'>>> {
  return callNow(linearBackwardOperation, [input, weights, gradient], options);
}

/**
 * {@link linearBackward} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * await runtime.load(model);
 * await runtime.load(training);
 * const weights = new LinearWeights(runtime, { data: [1, 0, 0, 1, 1, 1], shape: [3, 2] });
 * const gradient = { data: [1, 1, 2], shape: [1, 3] };
 * const wanted = ['input'];
 * const { input } = await linearBackwardAsync({ data: [2, 5], shape: [1, 2] }, weights, gradient, { wanted });
 * input.data; // [3, 3]
 * ```
 */
export function linearBackwardAsync<Name extends LinearGradientName = LinearGradientName>(
  input: TensorLike,
  weights: LinearWeights,
  gradient: TensorLike,
  options: LinearBackwardOptions<Name> & AsyncOptions = {},
): Promise<Readonly<Record<Name, Tensor<'float32'>>>> {
  return callAsync(linearBackwardOperation, [input, weights, gradient], options);
}

function backward(
  scope: CallScope,
  [input, weights, upstream]: readonly [TensorLike, LinearWeights, TensorLike],
  { wanted = NAMES }: LinearBackwardOptions,
): Record<LinearGradientName, Tensor<'float32'>> {
  const wants = wantedAmong(NAMES, wanted);
  const { inFeatures, outFeatures } = weights;
  const given = scope.tensor('input', input);
  checkDataType('input', given, 'float32');
  if (given.shape.at(-1) !== inFeatures) throw shapeError('input', `[..., ${inFeatures}]`, given.shape);
  const dy = gradientRows(scope, upstream, [...given.shape.slice(0, -1), outFeatures]);
  const x = rowsIn(scope, given);
  const dx = wants('input') ? scope.make(given.shape) : undefined;
  const packed = wants('weight') || wants('bias') ? zeroGradient(scope, weights) : undefined;
  runLinearBackward(scope, {
    ...{ x, weights, dy },
    dx: dx && { address: dx.address, rowBytes: inFeatures * 4 },
    gradient: packed?.address,
  });
  return {
    ...(dx && { input: dx }),
    ...(packed && unpackGradients(scope, weights, packed, wants)),
  } as Record<LinearGradientName, Tensor<'float32'>>;
}

/** @internal Whether a name is among those that the caller wants. */
export function wantedAmong<Name extends string>(
  names: readonly Name[],
  wanted: readonly Name[],
): (name: Name) => boolean {
  if (!Array.isArray(wanted) || !wanted.every((name: Name) => names.includes(name))) {
    throw invalidArgument('wanted', `a list of ${names.join(', ')}`, wanted);
  }
  return (name) => wanted.includes(name);
}

/** The rows of a tensor, copied if they do not lie at one distance. */
function rowsIn(scope: CallScope, given: Tensor): Rows {
  const layout = rowsOf(given);
  const { address, size } = layout ? given : scope.contiguous(given);
  const channels = given.shape.at(-1)!;
  return { address, rowBytes: (layout?.rowStride ?? channels) * 4, rows: channels ? size / channels : 0 };
}

/** @internal The rows of what flows into a result of this shape. */
export function gradientRows(scope: CallScope, gradient: TensorLike, shape: readonly number[]): Rows {
  const given = scope.tensor('gradient', gradient);
  checkDataType('gradient', given, 'float32');
  if (!sameShape(given.shape, shape)) throw shapeError('gradient', describe(shape), given.shape);
  return rowsIn(scope, given);
}

/** @internal Zeros laid out as the weights, for as long as the call. */
export function zeroGradient(scope: CallScope, { packed: { shape } }: LinearWeights): Tensor<'float32'> {
  const packed = scope.temporary(shape);
  packed.data.fill(0);
  return packed;
}

/** @internal Gradients of packed weights as tensors for the caller: [outFeatures, inFeatures] and [outFeatures]. */
export function unpackGradients(
  scope: CallScope,
  { inFeatures, outFeatures }: LinearWeights,
  packed: Tensor<'float32'>,
  wants: (name: 'weight' | 'bias') => boolean,
): { weight?: Tensor<'float32'>; bias?: Tensor<'float32'> } {
  const weight = wants('weight') ? scope.make([outFeatures, inFeatures]) : undefined;
  const bias = wants('bias') ? scope.make([outFeatures]) : undefined;
  if (weight) {
    unpackPiece(scope, { inFeatures, outFeatures, packed }, { address: weight.address, dtype: 'F32' });
  }
  if (bias) {
    const first = Math.ceil(outFeatures / PANEL) * PANEL * inFeatures;
    scope.then(() => bias.data.set(packed.data.subarray(first, first + outFeatures)));
  }
  return { ...(weight && { weight }), ...(bias && { bias }) };
}
