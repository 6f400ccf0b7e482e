// The way back of an embedding: gradients of rows go to the rows of the table that they were looked up in.

import { LOOKED_UP_TOGETHER } from '../../../build/kernels.js';
import type { Rows } from '../../model/pass.js';
import { listed } from '../../ops/embedding/embedding.js';
import type { Indices, Table } from '../../ops/embedding/embedding.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import { checkInteger, integers } from '../../runtime/checks.js';
import type { NamesOf } from '../../runtime/checks.js';
import { invalidArgument } from '../../runtime/errors.js';
import type { TensorLike } from '../../runtime/inputs.js';
import { runtimeAmong } from '../../runtime/operation.js';
import type { Operation } from '../../runtime/operation.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Tensor } from '../../runtime/tensor.js';
import { gradientRows } from './linear-backward.js';

/**
 * @internal table[ids[row]] += factor * dy[row], where the table is the gradient of the one that was looked up in, laid out alike.
 * `ids` is the address of int32 that were checked.
 */
export function runEmbeddingBackward(
  scope: CallScope,
  ids: number,
  dy: Rows,
  { address, channels, packed }: Table,
  factor = 1,
): void {
  if (dy.rows === 0) return;
  scope.run({
    pack: 'training',
    kernel: 'addLookedUp',
    args: [
      ...([ids, dy.rows, address, packed ? 1 : 0, channels] as const),
      factor === 1 ? 0 : scope.floats([factor]),
      ...([dy.address, dy.rowBytes] as const),
    ],
    tiles: Math.ceil(channels / LOOKED_UP_TOGETHER),
    scratchBytes: 0,
    cost: (packed ? 50 : 20) * dy.rows * channels,
  });
}

/** Options of `embeddingBackward`. */
export interface EmbeddingBackwardOptions {
  /** The factor that `embedding` was given. Default 1. */
  readonly factor?: number | undefined;
  /** Where neither `ids` nor `gradient` knows its runtime. */
  readonly runtime?: Runtime | undefined;
}

const embeddingBackwardOperation: Operation<
  [ids: Indices, rows: number, gradient: TensorLike],
  EmbeddingBackwardOptions,
  Tensor<'float32'>
> = {
  inputs: ['ids', 'rows', 'gradient'],
  options: { factor: 1, runtime: 1 } satisfies NamesOf<EmbeddingBackwardOptions>,
  runtime: ([ids, , gradient], options) => runtimeAmong([gradient, ids], options),
  run: backward,
};

/**
 * The gradient of the table of `embedding`: each row is the sum of what flows into its copies, in their order. Needs the kernels of
 * `wasm-attention/training`.
 *
 * @param ids      [...], as they were given to `embedding`
 * @param rows     of the table
 * @param gradient [..., channels], what flows into the rows that were looked up
 * @returns [rows, channels]
 * @throws AttentionError INVALID_ARGUMENT (which names the place of a number that is no row), INVALID_SHAPE, INVALID_DTYPE,
 *   OUT_OF_MEMORY, INVALID_STATE (kernels not loaded), before anything is written
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const gradient = runtime.tensor([1, 2, 3, 4, 5, 6], [3, 2]);
 * embeddingBackward([2, 0, 2], 4, gradient).data; // [3, 4, 0, 0, 6, 8, 0, 0]
 * ```
 */
export function embeddingBackward(
  ids: Indices,
  rows: number,
  gradient: TensorLike,
  options: EmbeddingBackwardOptions = {},
): Tensor<'float32'> {
  return callNow(embeddingBackwardOperation, [ids, rows, gradient], options);
}

/**
 * {@link embeddingBackward} in slices of some milliseconds between turns of the event loop.
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const gradient = runtime.tensor([1, 2, 3, 4], [2, 2]);
 * const table = await embeddingBackwardAsync([1, 1], 2, gradient);
 * table.data; // [0, 0, 4, 6]
 * ```
 */
export function embeddingBackwardAsync(
  ids: Indices,
  rows: number,
  gradient: TensorLike,
  options: EmbeddingBackwardOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(embeddingBackwardOperation, [ids, rows, gradient], options);
}

function backward(
  scope: CallScope,
  [ids, count, gradient]: readonly [Indices, number, TensorLike],
  { factor = 1 }: EmbeddingBackwardOptions,
): Tensor<'float32'> {
  if (typeof factor !== 'number' || !Number.isFinite(factor)) {
    throw invalidArgument('factor', 'a finite number', factor);
  }
  checkInteger('rows', count, 0, 2 ** 31 - 1);
  const { list, shape } = listed(scope, 'ids', ids);
  const rows = integers('ids', list, 0, count - 1);
  const given = scope.tensor('gradient', gradient);
  const channels = given.shape.at(-1) ?? 0;
  const dy = gradientRows(scope, given, [...shape, channels]);
  const table = scope.make([count, channels]);
  table.data.fill(0);
  const target = { address: table.address, channels, packed: false };
  runEmbeddingBackward(scope, scope.integers(rows), dy, target, factor);
  return table;
}
