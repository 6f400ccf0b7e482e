// Embedding lookup: rows of a table by their numbers.

import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import { integers } from '../../runtime/checks.js';
import type { IntegerList, NamesOf } from '../../runtime/checks.js';
import { invalidArgument, shapeError } from '../../runtime/errors.js';
import { checkDataType, dataAndShape } from '../../runtime/inputs.js';
import type { TensorLike } from '../../runtime/inputs.js';
import { sizeOf } from '../../runtime/layout.js';
import { runtimeAmong } from '../../runtime/operation.js';
import type { Operation } from '../../runtime/operation.js';
import type { Runtime } from '../../runtime/runtime.js';
import { isTensor } from '../../runtime/tensor.js';
import type { Tensor } from '../../runtime/tensor.js';
import { LinearWeights, placesOf } from '../linear/linear.js';
import type { Rows } from '../linear/linear.js';

/** @internal Where rows are looked up: rows of floats, or panels of packed weights whose rows they are. */
export interface Table {
  readonly address: number;
  readonly channels: number;
  readonly packed: boolean;
}

/** @internal y[row] = factor * table[ids[row]], or with `add` y[row] += that. `ids` is the address of int32 that were checked. */
export function runEmbedding(
  scope: CallScope,
  ids: number,
  rows: number,
  table: Table,
  y: Rows,
  {
    factor = 1,
    add = false,
  }: { readonly factor?: number | undefined; readonly add?: boolean | undefined } = {},
): void {
  const { address, channels, packed } = table;
  scope.run({
    pack: 'model',
    kernel: 'lookupRows',
    args: [
      ...([ids, address, packed ? 1 : 0, channels] as const),
      factor === 1 ? 0 : scope.floats([factor]),
      ...([add ? 1 : 0, y.address, y.rowBytes] as const),
    ],
    tiles: rows,
    scratchBytes: 0,
    cost: (packed ? 50 : 10) * rows * channels,
  });
}

/** Numbers of rows: a list, or one with a shape (a tensor of 'int32', one of another library). */
export type Indices =
  | IntegerList
  | Tensor
  | { readonly data: IntegerList; readonly shape: readonly number[] }
  | { readonly data: IntegerList; readonly dims: readonly number[] };

/** Options of `embedding`. */
export interface EmbeddingOptions {
  /** Factor on the rows. Default 1. */
  readonly factor?: number | undefined;
  /** Where neither `ids` nor `table` knows its runtime. */
  readonly runtime?: Runtime | undefined;
}

export const embeddingOperation: Operation<
  [ids: Indices, table: TensorLike | LinearWeights],
  EmbeddingOptions,
  Tensor<'float32'>
> = {
  inputs: ['ids', 'table'],
  options: { factor: 1, runtime: 1 } satisfies NamesOf<EmbeddingOptions>,
  runtime: ([ids, table], options) =>
    table instanceof LinearWeights ? table.runtime : runtimeAmong([table, ids], options),
  run: lookUp,
};

/**
 * Rows of a table by their numbers. Of packed weights it is those of the matrix: a model whose output matrix is its table holds it
 * once. Needs the kernels of `wasm-attention/model`.
 *
 * @param ids   [...], from 0 to rows - 1
 * @param table [rows, channels], or weights with outFeatures rows of inFeatures channels
 * @returns [..., channels]
 * @throws AttentionError INVALID_ARGUMENT (which names the place of a number that is no row), INVALID_SHAPE, INVALID_DTYPE,
 *   OUT_OF_MEMORY, INVALID_STATE (kernels not loaded), before anything is written
 *
 * @example
 * ```js
 * await runtime.load(model);
 * const table = runtime.tensor([0, 1, 10, 11, 20, 21], [3, 2]);
 * embedding([2, 0], table).data; // [20, 21, 0, 1]
 * ```
 */
export function embedding(
  ids: Indices,
  table: TensorLike | LinearWeights,
  options: EmbeddingOptions = {},
): Tensor<'float32'> {
  return callNow(embeddingOperation, [ids, table], options);
}

/**
 * {@link embedding} in slices of some milliseconds between turns of the event loop.
 *
 * @example
 * ```js
 * await runtime.load(model);
 * const table = runtime.tensor([0, 1, 10, 11, 20, 21], [3, 2]);
 * const rows = await embeddingAsync([2, 0], table);
 * rows.data; // [20, 21, 0, 1]
 * ```
 */
export function embeddingAsync(
  ids: Indices,
  table: TensorLike | LinearWeights,
  options: EmbeddingOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(embeddingOperation, [ids, table], options);
}

function lookUp(
  scope: CallScope,
  [ids, given]: readonly [Indices, TensorLike | LinearWeights],
  { factor = 1 }: EmbeddingOptions,
): Tensor<'float32'> {
  if (typeof factor !== 'number' || !Number.isFinite(factor)) {
    throw invalidArgument('factor', 'a finite number', factor);
  }
  const { count, ...table } =
    given instanceof LinearWeights ? ofWeights(scope, given) : ofTensor(scope, given);
  const { list, shape } = listed(scope, 'ids', ids);
  const rows = integers('ids', list, 0, count - 1);
  const y = scope.make([...shape, table.channels]);
  runEmbedding(
    scope,
    scope.integers(rows),
    rows.length,
    table,
    { address: y.address, rowBytes: table.channels * 4 },
    { factor },
  );
  return y;
}

function ofWeights(scope: CallScope, weights: LinearWeights): Table & { count: number } {
  const { panels } = placesOf(scope, weights);
  return { address: panels, channels: weights.inFeatures, packed: true, count: weights.outFeatures };
}

function ofTensor(scope: CallScope, given: TensorLike): Table & { count: number } {
  const table = scope.tensor('table', given);
  checkDataType('table', table, 'float32');
  if (table.shape.length !== 2) throw shapeError('table', '[rows, channels]', table.shape);
  const [count, channels] = table.shape as [number, number];
  return { address: scope.contiguous(table).address, channels, packed: false, count };
}

/** @internal Numbers and their shape. They are not checked: `integers` does that. */
export function listed(
  scope: CallScope,
  argument: string,
  ids: Indices,
): { list: IntegerList; shape: readonly number[] } {
  if (isTensor(ids)) {
    const tensor = scope.tensor(argument, ids);
    checkDataType(argument, tensor, 'int32');
    // Beyond 2^24 no table has rows.
    const list = tensor.contiguous ? tensor.data : tensor.toFloat32Array();
    return { list: list as Int32Array, shape: tensor.shape };
  }
  if (ids && typeof ids === 'object' && 'data' in ids) {
    const { data, shape } = dataAndShape(argument, ids);
    const list = data as IntegerList;
    const length = (list as IntegerList | null)?.length;
    if (!Array.isArray(shape) || sizeOf(shape) !== length)
      throw shapeError(`${argument}.shape`, `${length} elements`, shape);
    return { list, shape };
  }
  return { list: ids, shape: [(ids as IntegerList | undefined)?.length ?? 0] };
}
