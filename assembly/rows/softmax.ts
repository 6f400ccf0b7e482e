// Softmax of rows: 2^((x - max) * log2(e)) / sum. A row that holds only -infinity gives zeros; NaN makes its row NaN.

import { ROW_BYTES } from '../gemm/tile';
import { exp2Row, LOG2_E, maximumOfRow, writeConstants } from '../math/exp2';
import { horizontalMaximum } from '../math/vector';

/** Bytes of scratch for rows of `columns` floats: constants, and one row filled up to a multiple of 8. */
export function softmaxScratchBytes(columns: i32): usize {
  return 64 + ((<usize>columns + 7) & ~7) * 4;
}

/** Rows [rowFrom, rowTo) of `columns` floats, contiguous; y may be x. */
export function softmaxRows(x: usize, y: usize, columns: i32, scratch: usize, rowFrom: i32, rowTo: i32): void {
  writeConstants(scratch);
  const row = scratch + 64;
  const bytes = <usize>columns << 2;
  const end = row + (((<usize>columns + 7) & ~7) << 2);
  for (let r = rowFrom; r < rowTo; r++) {
    memory.copy(row, x + <usize>r * bytes, bytes);
    for (let at = row + bytes; at < end; at += 4) store<f32>(at, -Infinity);
    const maximum = horizontalMaximum(maximumOfRow(row, end));
    subtractAndScale(row, end, maximum == -Infinity ? 0 : maximum);
    // In pieces, as everywhere: the error of one long chain would grow with its length.
    let sum: f32 = 0;
    for (let at = row; at < end; at += ROW_BYTES) sum += exp2Row(at, min(end, at + ROW_BYTES), 0, scratch);
    const factor = f32x4.splat(sum == 0 ? 0 : 1 / sum);
    for (let at = row; at < end; at += 16) v128.store(at, f32x4.mul(v128.load(at), factor));
    memory.copy(y + <usize>r * bytes, row, bytes);
  }
}

/** The maximum goes first: x * log2(e) of a large x would lose the digits that tell it from the maximum. */
function subtractAndScale(from: usize, to: usize, maximum: f32): void {
  const shift = f32x4.splat(maximum);
  const scale = f32x4.splat(LOG2_E);
  while (from < to) {
    v128.store(from, f32x4.mul(f32x4.sub(v128.load(from), shift), scale));
    from += 16;
  }
}
