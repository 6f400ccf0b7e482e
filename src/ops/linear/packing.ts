// Pieces of checkpoints into packed weights and back (assembly/gemm/place.ts), so that a matrix never lies in memory twice.

import {
  BF16,
  F16,
  F32,
  HALF_CONSTANTS_BYTES,
  PANEL,
  PLACED_PANELS,
  WIDENED_TOGETHER,
} from '../../../build/kernels.js';
import type { CallScope } from '../../runtime/call-scope.js';
import { placesOf } from './linear.js';
import type { PackedMatrix } from './linear.js';

/** Kinds of elements, as safetensors calls them. */
export type ElementType = 'F32' | 'F16' | 'BF16';

const CODES: Readonly<Record<ElementType, number>> = { F32, F16, BF16 };

export const ELEMENT_BYTES: Readonly<Record<ElementType, number>> = { F32: 4, F16: 2, BF16: 2 };

/** A rectangle of a matrix, row-major in linear memory, at any address. */
export interface Piece {
  readonly address: number;
  readonly dtype: ElementType;
  /** Rows are input features. Default: rows are output features. */
  readonly transposed?: boolean | undefined;
  /** Bytes from one row to the next. Default: rows follow each other. */
  readonly rowBytes?: number | undefined;
  /** Output features [firstOut, firstOut + outs). Default: all. */
  readonly firstOut?: number | undefined;
  readonly outs?: number | undefined;
  /** Input features [firstIn, firstIn + ins). Default: all. */
  readonly firstIn?: number | undefined;
  readonly ins?: number | undefined;
}

/** @internal Places a piece. Pieces may come in any order; together they have the bits of weights that were packed at once. */
export function packPiece(scope: CallScope, weights: PackedMatrix, piece: Piece): void {
  runPiece(scope, 'placePiece', weights, piece);
}

/** @internal Writes a piece, its elements rounded to their kind. */
export function unpackPiece(scope: CallScope, weights: PackedMatrix, piece: Piece): void {
  runPiece(scope, 'readPiece', weights, piece);
}

function runPiece(
  scope: CallScope,
  kernel: 'placePiece' | 'readPiece',
  weights: PackedMatrix,
  { address, dtype, transposed = false, rowBytes, firstOut = 0, outs, firstIn = 0, ins }: Piece,
): void {
  const depth = weights.inFeatures;
  const height = outs ?? weights.outFeatures - firstOut;
  const width = ins ?? depth - firstIn;
  if (height < 1 || width < 1) return;
  const panels = Math.ceil((firstOut + height) / PANEL) - Math.floor(firstOut / PANEL);
  scope.run({
    pack: 'model',
    kernel,
    args: [
      address,
      rowBytes ?? (transposed ? height : width) * ELEMENT_BYTES[dtype],
      CODES[dtype],
      transposed ? 1 : 0,
      firstOut,
      height,
      firstIn,
      width,
      depth,
      placesOf(scope, weights).panels,
    ],
    tiles: Math.ceil(panels / PLACED_PANELS),
    scratchBytes: scope.runtime.kernelsOf('model').pieceScratchBytes(width),
    cost: 20 * height * width,
  });
}

/** @internal Elements as floats. */
export function widenElements(
  scope: CallScope,
  source: number,
  dtype: ElementType,
  count: number,
  target: number,
): void {
  runElements(scope, 'widen', source, dtype, count, target);
}

/** @internal Floats as elements, rounded to the nearest, ties to even. */
export function narrowElements(
  scope: CallScope,
  source: number,
  dtype: ElementType,
  count: number,
  target: number,
): void {
  runElements(scope, 'narrow', source, dtype, count, target);
}

function runElements(
  scope: CallScope,
  kernel: 'widen' | 'narrow',
  source: number,
  dtype: ElementType,
  count: number,
  target: number,
): void {
  scope.run({
    pack: 'model',
    kernel,
    args: [source, CODES[dtype], count, target],
    tiles: Math.ceil(count / WIDENED_TOGETHER),
    scratchBytes: HALF_CONSTANTS_BYTES,
    cost: 20 * count,
  });
}
