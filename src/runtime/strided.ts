// Copies of strided tensors, as work of the kernel that makes them.

import { COPY_COLUMNS, COPY_ROWS } from '../../build/kernels.js';
import type { Tensor } from './tensor.js';
import type { Work } from './tiles.js';

/** An axis, with strides in bytes: of the source, and of the contiguous target. */
interface Axis {
  length: number;
  readonly from: number;
  readonly to: number;
}

/**
 * The elements of a tensor, in order of its shape, to an address.
 *
 * @param bytes of an element
 * @param joins false copies; true joins masks with those that lie there: see assembly/rows/copy.ts
 * @param place puts words into memory that lasts as long as the work
 */
export function copyWork(
  { address, shape, strides }: Pick<Tensor, 'address' | 'shape' | 'strides'>,
  bytes: number,
  target: number,
  joins: boolean,
  place: (words: readonly number[]) => number,
) {
  // The fastest first; axes that continue each other are one.
  const axes: Axis[] = [];
  let size = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    const length = shape[i]!;
    const from = strides[i]! * bytes;
    const inner = axes.at(-1);
    if (inner && inner.from * inner.length === from) inner.length *= length;
    else if (length !== 1) axes.push({ length, from, to: size * bytes });
    size *= length;
  }
  const columns = axes.shift() ?? { length: 1, from: bytes };
  // Rows are the axis whose neighbours lie beside each other in the source, or the longest one.
  let which = 0;
  axes.forEach(({ length, from }, i) => {
    const best = axes[which]!;
    if (from === bytes || (best.from !== bytes && length > best.length)) which = i;
  });
  const rows = axes.splice(which, 1)[0] ?? { length: 1, from: 0, to: 0 };
  let tiles = Math.ceil(columns.length / COPY_COLUMNS) * Math.ceil(rows.length / COPY_ROWS);
  for (const { length } of axes) tiles *= length;
  return {
    kernel: 'copyElements',
    args: [
      address,
      columns.from,
      rows.from,
      target,
      rows.to,
      rows.length,
      columns.length,
      axes.length && place(axes.flatMap(({ length, from, to }) => [length, from, to])),
      axes.length,
      bytes,
      joins ? 1 : 0,
    ],
    tiles,
    scratchBytes: joins ? COPY_COLUMNS * 4 : 0,
    cost: 20 * size,
  } satisfies Work;
}
