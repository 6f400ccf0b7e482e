// y = x W^T + b over packed weights, and the packing.
//
//   packed   [panels of 8 output features][inFeatures][8], then the bias, filled up to whole panels with zeros

import { PANEL } from '../../../build/kernels.js';
import { callAsync, callNow, runInScope } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import { Disposable } from '../../runtime/disposable.js';
import type { NamesOf } from '../../runtime/checks.js';
import { invalidArgument, shapeError } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { TensorLike } from '../../runtime/inputs.js';
import { givenOutput } from '../../runtime/output.js';
import type { Operation } from '../../runtime/operation.js';
import type { Runtime } from '../../runtime/runtime.js';
import { Tensor } from '../../runtime/tensor.js';

/**
 * Weights of a linear layer, packed once for the kernels.
 *
 * @example
 * ```js
 * const weights = new LinearWeights(runtime, { data: [1, 0, 0, 1, 1, 1], shape: [3, 2] });
 * weights.outFeatures; // 3
 * ```
 */
export class LinearWeights extends Disposable {
  /** Channels of the input. */
  readonly inFeatures: number;
  /** Channels of the output. */
  readonly outFeatures: number;
  /** @internal */
  readonly runtime: Runtime;
  readonly #packed: Tensor<'float32'>;

  /**
   * @param weight [outFeatures, inFeatures], as PyTorch stores it; of [inFeatures, outFeatures] its transpose(0, 1)
   * @param bias   [outFeatures]; default zeros
   * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, OUT_OF_MEMORY
   */
  constructor(runtime: Runtime, weight: TensorLike, bias?: TensorLike) {
    super();
    const { packed, inFeatures, outFeatures } = runInScope(
      runtime,
      (scope) => (weight instanceof Room ? reserve(scope, weight) : pack(scope, weight, bias)),
      [weight, bias],
    );
    this.runtime = runtime;
    this.inFeatures = inFeatures;
    this.outFeatures = outFeatures;
    this.#packed = packed;
  }

  /** @internal Weights whose biases are zero, and whose matrix is whatever the memory held until it is placed (packing.ts). */
  static reserve(runtime: Runtime, outFeatures: number, inFeatures: number): LinearWeights {
    return new LinearWeights(runtime, new Room(outFeatures, inFeatures) as never);
  }

  /** @internal The panels, then the bias. */
  get packed(): Tensor<'float32'> {
    return this.#packed;
  }

  /** Frees the packed weights. Safe to repeat. */
  dispose(): void {
    this.#packed.dispose();
  }
}

/** Stands for a matrix that comes later. */
class Room {
  constructor(
    readonly outFeatures: number,
    readonly inFeatures: number,
  ) {}
}

function reserve(scope: CallScope, { outFeatures, inFeatures }: Room) {
  const columns = Math.ceil(outFeatures / PANEL) * PANEL;
  const packed = scope.makeApart([columns * inFeatures + columns]);
  packed.data.fill(0, (columns - PANEL) * inFeatures);
  return { packed, inFeatures, outFeatures };
}

function pack(scope: CallScope, weight: TensorLike, bias: TensorLike | undefined) {
  const given = scope.tensor('weight', weight);
  checkDataType('weight', given, 'float32');
  if (given.shape.length !== 2 || given.size === 0) {
    throw shapeError('weight', '[outFeatures, inFeatures], both at least 1', given.shape);
  }
  const matrix = scope.contiguous(given);
  const [outFeatures, inFeatures] = matrix.shape as [number, number];
  const vector = bias === undefined ? undefined : scope.tensor('bias', bias);
  if (vector) {
    checkDataType('bias', vector, 'float32');
    if (vector.shape.length !== 1 || vector.shape[0] !== outFeatures) {
      throw shapeError('bias', `[${outFeatures}]`, vector.shape);
    }
  }
  const reserved = reserve(scope, { outFeatures, inFeatures });
  const { packed } = reserved;
  const { kernels } = scope.runtime;
  kernels.packColumns(matrix.address, inFeatures * 4, outFeatures, inFeatures, packed.address);
  if (vector) packed.data.set(vector.toFloat32Array(), packed.size - Math.ceil(outFeatures / PANEL) * PANEL);
  return reserved;
}

/** Most rows of a tile of a product: 768 steps of them, 393 kB, stay in a second-level cache. 120 to 480 measured within 3 % on Zen 4. */
const ROWS_IN_BLOCK = 128;
/** Tiles that narrow products are cut into at least, and the fewest rows per tile that this may lead to. */
const LEAST_TILES = 64;
const LEAST_ROWS = 60;

/** Columns [from, to) of a product: multiples of 8, or the end. */
export interface Columns {
  readonly from: number;
  readonly to: number;
}

/** Rows of floats. */
export interface Rows {
  readonly address: number;
  readonly rowBytes: number;
}

/** @internal Packed weights, or what lies as they do for as long as a call. */
export type PackedMatrix = Pick<LinearWeights, 'inFeatures' | 'outFeatures' | 'packed'>;

/** @internal What kernels of products have in common: rows of x times some columns of the weights, into rows of y that begin with column `from`. */
export function planProduct(
  scope: CallScope,
  x: Rows & { readonly rows: number },
  weights: PackedMatrix,
  columns: Columns,
  y: Rows,
) {
  const depth = weights.inFeatures;
  const { panels, bias } = placesOf(scope, weights);
  const first = columns.from / PANEL;
  const end = Math.ceil(columns.to / PANEL);
  const rowsInBlock = rowsOfTile(x.rows, end - first);
  return {
    args: [
      x.address,
      x.rowBytes,
      x.rows,
      depth,
      panels,
      Math.min(columns.to, weights.outFeatures),
      first,
      end,
      bias,
      y.address - columns.from * 4,
      y.rowBytes,
      rowsInBlock,
    ] as const,
    rowsInBlock,
    tiles: Math.ceil(x.rows / rowsInBlock) * (end - first),
    // A single row meets four panels at once.
    grain: x.rows === 1 ? 4 : 1,
    // A few rows take as long as reading the weights does.
    cost: 2 * Math.max(x.rows, 2) * depth * (end - first) * PANEL,
  };
}

/** @internal Where kernels find weights, which are held until the call is over. */
export function placesOf(scope: CallScope, weights: PackedMatrix): { panels: number; bias: number } {
  const panels = scope.use(weights.packed).address;
  return { panels, bias: panels + Math.ceil(weights.outFeatures / PANEL) * PANEL * weights.inFeatures * 4 };
}

/** @internal Rows of x times some columns of the weights, into rows of y that begin with column `from`. */
export function runProduct(
  scope: CallScope,
  x: Rows & { readonly rows: number },
  weights: PackedMatrix,
  columns: Columns,
  y: Rows,
): void {
  const { args, tiles, grain, cost, rowsInBlock } = planProduct(scope, x, weights, columns, y);
  const scratchBytes = scope.runtime.kernels.productScratchBytes(rowsInBlock, weights.inFeatures);
  scope.run({ kernel: 'product', args, tiles, grain, scratchBytes, cost });
}

/** Blocks of even size. */
function rowsOfTile(rows: number, panels: number): number {
  if (rows <= LEAST_ROWS) return rows;
  const wanted = Math.min(Math.ceil(rows / LEAST_ROWS), Math.ceil(LEAST_TILES / panels));
  return Math.ceil(rows / Math.max(wanted, Math.ceil(rows / ROWS_IN_BLOCK)));
}

/** Options of `linear`. */
export interface LinearOptions {
  /** A contiguous float32 tensor of the output's shape to write to. It must not share an element with the input. */
  readonly output?: Tensor | undefined;
}

export const linearOperation: Operation<
  [input: TensorLike, weights: LinearWeights],
  LinearOptions,
  Tensor<'float32'>
> = {
  inputs: ['input', 'weights'],
  options: { output: 1 } satisfies NamesOf<LinearOptions>,
  runtime: ([, weights]) => runtimeOfWeights(weights),
  run: project,
};

/**
 * x W^T + b.
 *
 * @param input   [..., inFeatures]
 * @param weights made once by `new LinearWeights(runtime, weight, bias)`
 * @returns [..., outFeatures]
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * const weights = new LinearWeights(runtime, { data: [1, 0, 0, 1, 1, 1], shape: [3, 2] });
 * linear({ data: [2, 5], shape: [1, 2] }, weights).data; // [2, 5, 7]
 * ```
 */
export function linear(
  input: TensorLike,
  weights: LinearWeights,
  options: LinearOptions = {},
): Tensor<'float32'> {
  return callNow(linearOperation, [input, weights], options);
}

/**
 * {@link linear} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const weights = new LinearWeights(runtime, { data: [1, 0, 0, 1, 1, 1], shape: [3, 2] });
 * const y = await linearAsync({ data: [2, 5], shape: [1, 2] }, weights);
 * y.data; // [2, 5, 7]
 * ```
 */
export function linearAsync(
  input: TensorLike,
  weights: LinearWeights,
  options: LinearOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(linearOperation, [input, weights], options);
}

export function runtimeOfWeights(weights: LinearWeights): Runtime {
  if (!(weights instanceof LinearWeights)) {
    throw invalidArgument('weights', 'LinearWeights (new LinearWeights(runtime, weight, bias))', weights);
  }
  return weights.runtime;
}

function project(
  scope: CallScope,
  [input, weights]: readonly [TensorLike, LinearWeights],
  options: LinearOptions,
): Tensor<'float32'> {
  let x = scope.tensor('input', input);
  checkDataType('input', x, 'float32');
  const { inFeatures, outFeatures } = weights;
  if (x.shape.length < 1 || x.shape.at(-1) !== inFeatures)
    throw shapeError('input', `[..., ${inFeatures}]`, x.shape);
  const shape = [...x.shape.slice(0, -1), outFeatures];
  const y =
    options.output === undefined ? scope.make(shape) : givenOutput(scope, options.output, shape, true);
  const layout = rowsOf(x);
  if (!layout) x = scope.contiguous(x);
  const rows = x.size / inFeatures;
  const rowBytes = (layout?.rowStride ?? inFeatures) * 4;
  if (rows > 0) {
    const columns = { from: 0, to: outFeatures };
    runProduct(scope, { address: x.address, rowBytes, rows }, weights, columns, {
      address: y.address,
      rowBytes: outFeatures * 4,
    });
  }
  return y;
}

/** The one stride between rows of the last axis, or undefined if there is none: then a copy is needed. */
export function rowsOf(tensor: Tensor): { rowStride: number } | undefined {
  const last = tensor.shape.length - 1;
  if (tensor.shape[last]! > 1 && tensor.strides[last] !== 1) return undefined;
  let rowStride: number | undefined;
  let expected: number | undefined;
  for (let axis = last - 1; axis >= 0; axis--) {
    const length = tensor.shape[axis]!;
    if (length === 1) continue;
    const stride = tensor.strides[axis]!;
    if (expected !== undefined && stride !== expected) return undefined;
    rowStride ??= stride;
    expected = stride * length;
  }
  return { rowStride: rowStride ?? tensor.shape[last]! };
}
