// Rotary position embedding: the operation, and the tables of cos and sin that it and the layers use.

import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import { integers } from '../../runtime/checks.js';
import type { IntegerList, NamesOf } from '../../runtime/checks.js';
import { AttentionError, describe, invalidArgument, shapeError } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import { shareElements } from '../../runtime/overlap.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Tensor } from '../../runtime/tensor.js';
import { computeFrequencies } from './frequencies.js';
import { ROTARY_NAMES } from './options.js';
import type { RotaryOptions } from './options.js';

/** Position of each token, for all batch rows or each. */
export type Positions = IntegerList | readonly IntegerList[];

export interface RotaryEmbeddingOptions extends RotaryOptions {
  /** Position of each token: [length], or [batch][length]; `offset` does not move these. Default offset, offset + 1, ... */
  readonly positions?: Positions | undefined;
  /** Position of the first token, where `positions` are not given: beside them it counts for nothing. Default 0. */
  readonly offset?: number | undefined;
  /** Your own tables, [positions, rotaryDim / 2] each, in place of base and scaling. */
  readonly tables?:
    | {
        /** Cosines, [positions, rotaryDim / 2]. */
        readonly cos: TensorLike;
        /** Sines, [positions, rotaryDim / 2]. */
        readonly sin: TensorLike;
      }
    | undefined;
  /** Rotate the tensor itself and return it, instead of a copy. */
  readonly inPlace?: boolean | undefined;
  /** Needed only if the input is not a Tensor. */
  readonly runtime?: Runtime | undefined;
}

export const rotaryEmbeddingOperation: Operation<
  [input: TensorLike],
  RotaryEmbeddingOptions,
  Tensor<'float32'>
> = {
  inputs: ['input'],
  options: /* @__PURE__ */ Object.assign(
    { positions: 1, offset: 1, tables: { cos: 1, sin: 1 }, inPlace: 1, runtime: 1 } satisfies NamesOf<
      Omit<RotaryEmbeddingOptions, keyof RotaryOptions>
    >,
    ROTARY_NAMES,
  ),
  run: rotate,
};

/**
 * Rotates queries or keys by their positions.
 *
 * @param input [batch, heads, length, headDim] (or without the leading axes), any strides with a contiguous last axis
 * @returns a tensor of the input's shape
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY, before anything is written
 * @see Su et al. 2021
 *
 * @example
 * ```js
 * const rotated = rotaryEmbedding(q, { base: 500_000, positions: [7, 8, 9, 10, 11] });
 * rotated.shape; // [1, 2, 5, 4]
 * ```
 */
export function rotaryEmbedding(input: TensorLike, options: RotaryEmbeddingOptions = {}): Tensor<'float32'> {
  return callNow(rotaryEmbeddingOperation, [input], options);
}

/**
 * {@link rotaryEmbedding} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const rotated = await rotaryEmbeddingAsync(q, { offset: 7 });
 * rotated.shape; // [1, 2, 5, 4]
 * ```
 */
export function rotaryEmbeddingAsync(
  input: TensorLike,
  options: RotaryEmbeddingOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(rotaryEmbeddingOperation, [input], options);
}

/** @internal `turn` is what turns the rows, this way or back. */
export function rotate(
  scope: CallScope,
  [input]: readonly [TensorLike],
  options: RotaryEmbeddingOptions,
  turn = rotateInPlace,
): Tensor<'float32'> {
  const x = scope.tensor('input', input);
  checkDataType('input', x, 'float32');
  const rank = x.shape.length;
  if (rank < 2 || rank > 4) throw shapeError('input', '[batch, heads, length, headDim]', x.shape);
  const rotaryDim = checkRotaryDim(options.rotaryDim, x.shape[rank - 1]!);
  const [batch, , length] = [1, 1, ...x.shape].slice(-4) as [number, number, number, number];
  const given = readPositions(options, batch, length);
  const inPlace = options.inPlace && x === input;
  const placed = options.tables
    ? {
        positions: scope.integers(given.all),
        ...givenTables(scope, options.tables, rotaryDim / 2, given.highest, inPlace ? x : undefined),
      }
    : placeRows(scope, { ...options, rotaryDim }, given);
  const positionsBatchStride = given.perRow ? length * 4 : 0;
  if (inPlace && x.shape[rank - 1]! > 1 && x.strides[rank - 1] !== 1) {
    throw new AttentionError({
      code: 'INVALID_SHAPE',
      argument: 'input',
      expected: 'a contiguous last axis to rotate in place',
      received: `strides ${describe(x.strides)}`,
    });
  }
  const target = inPlace ? x : scope.make(x.shape);
  if (!inPlace) scope.copy(x, target);
  if (target.size > 0)
    turn(scope, target, { ...placed, positionsBatchStride }, rotaryDim, options.interleaved ?? false);
  return target;
}

/** Addresses of what a rotation reads. */
export interface PlacedRotary {
  readonly positions: number;
  readonly positionsBatchStride: number;
  readonly cos: number;
  readonly sin: number;
}

/** @internal Rotates a tensor of up to four axes where it lies. */
export function rotateInPlace(
  scope: CallScope,
  x: Tensor,
  placed: PlacedRotary,
  rotaryDim: number,
  interleaved: boolean,
): void {
  scope.run({ kernel: 'rotary', scratchBytes: 0, ...rotationOf(x, placed, rotaryDim, interleaved) });
}

/** @internal A rotation of a tensor of up to four axes where it lies, as kernels take it. */
export function rotationOf(x: Tensor, placed: PlacedRotary, rotaryDim: number, interleaved: boolean) {
  const [batch, heads, length] = [1, 1, ...x.shape].slice(-4) as [number, number, number, number];
  const [batchStride, headStride, rowStride] = [0, 0, ...x.strides].slice(-4).map((stride) => stride * 4) as [
    number,
    number,
    number,
    number,
  ];
  const { positions, positionsBatchStride, cos, sin } = placed;
  return {
    args: [
      x.address,
      batchStride,
      headStride,
      rowStride,
      heads,
      length,
      positions,
      positionsBatchStride,
      cos,
      sin,
      rotaryDim / 2,
      interleaved ? 1 : 0,
    ] as const,
    tiles: batch * length,
    cost: 20 * batch * length * heads * rotaryDim,
  };
}

/** @internal */
export function checkRotaryDim(rotaryDim: number | undefined, headDim: number): number {
  const dim = rotaryDim ?? headDim;
  if (Number.isInteger(dim) && dim >= 2 && dim % 2 === 0 && dim <= headDim) return dim;
  throw invalidArgument('rotaryDim', `an even integer from 2 to the head size (${headDim})`, dim);
}

/** Position of each token, [length] or [batch][length], checked. */
export interface CheckedPositions {
  readonly all: Int32Array;
  /** Whether each batch row has positions of its own. */
  readonly perRow: boolean;
  readonly highest: number;
}

/** @internal */
export function readPositions(
  { positions, offset = 0 }: { positions?: Positions | undefined; offset?: number | undefined },
  batch: number,
  length: number,
): CheckedPositions {
  if (!Number.isInteger(offset) || offset < 0) {
    throw invalidArgument('offset', 'an integer >= 0', offset);
  }
  const nested = Array.isArray(positions) && positions.length > 0 && typeof positions[0] === 'object';
  const rows = (
    nested ? positions : [positions ?? Int32Array.from({ length }, (_, i) => offset + i)]
  ) as IntegerList[];
  const checked = rows.map((row) => integers('positions', row, 0, 2 ** 31 - 2));
  if ((nested && rows.length !== batch) || checked.some((row) => row.length !== length)) {
    throw shapeError('positions', `[${length}] or [${batch}][${length}]`, [
      rows.length,
      checked[0]?.length ?? 0,
    ]);
  }
  const all = new Int32Array(rows.length * length);
  checked.forEach((row, b) => all.set(row, b * length));
  const highest = all.reduce((most, position) => Math.max(most, position), 0);
  return { all, perRow: nested, highest };
}

function givenTables(
  scope: CallScope,
  tables: NonNullable<RotaryEmbeddingOptions['tables']>,
  pairs: number,
  highest: number,
  written: Tensor | undefined,
): { cos: number; sin: number } {
  const place = (argument: string, table: TensorLike): number => {
    const tensor = scope.tensor(argument, table);
    checkDataType(argument, tensor, 'float32');
    if (
      tensor.shape.length !== 2 ||
      tensor.shape[1] !== pairs ||
      tensor.shape[0]! <= highest ||
      !tensor.contiguous
    ) {
      throw shapeError(argument, `contiguous [more than ${highest} positions, ${pairs}]`, tensor.shape);
    }
    if (written?.sharesBlock(tensor) && shareElements(written, tensor)) {
      throw new AttentionError({
        code: 'INVALID_ARGUMENT',
        argument,
        expected: 'memory that the input, which is rotated in place, does not lie in',
        received: 'a part of the input, or what overlaps one',
      });
    }
    return tensor.address;
  };
  return { cos: place('tables.cos', tables.cos), sin: place('tables.sin', tables.sin) };
}

/** @internal A row of cos and sin for each given position, in its order. */
export function placeRows(
  scope: CallScope,
  options: RotaryOptions & { rotaryDim: number },
  { all, highest }: CheckedPositions,
): { positions: number; cos: number; sin: number } {
  const distinct = [...new Set(all)];
  const rowOf = new Map(distinct.map((position, row) => [position, row]));
  const rows = all.map((position) => rowOf.get(position)!);
  const tableBytes = distinct.length * options.rotaryDim * 2;
  const cos = scope.allocate(2 * tableBytes);
  runTables(scope, options, highest + 1, scope.integers(distinct), distinct.length, cos);
  return { positions: scope.integers(rows), cos, sin: cos + tableBytes };
}

/**
 * @internal Computes tables at an address, [cos and sin, rows, rotaryDim / 2] of float32 from float64 angles, in a text of
 * `length` tokens.
 *
 * @param positions address of i32 positions of the rows; 0 where they count from 0
 */
export function runTables(
  scope: CallScope,
  options: RotaryOptions & { rotaryDim: number },
  length: number,
  positions: number,
  rows: number,
  cos: number,
): void {
  const { frequencies, attentionFactor } = computeFrequencies({ ...options, length });
  const pairs = frequencies.length;
  const address = scope.allocate(8 * (pairs + 1));
  const doubles = new Float64Array(scope.runtime.linearMemory.buffer, address, pairs + 1);
  doubles.set(frequencies);
  doubles[pairs] = attentionFactor;
  scope.run({
    kernel: 'rotaryTables',
    args: [cos, cos + rows * pairs * 4, positions, address, pairs],
    tiles: rows,
    scratchBytes: 0,
    cost: 1000 * rows * pairs,
  });
}
