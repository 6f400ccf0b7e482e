// Softmax of rows: e^(x - max) / sum. A row that holds only -infinity gives zeros; NaN makes its row NaN.

import { ROW_BYTES } from '../gemm/tile';
import { expRow, maximumOfRow, writeConstants } from '../math/exp2';
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
    const shift = maximum == -Infinity ? <f32>0 : maximum;
    // In pieces, as everywhere: the error of one long chain would grow with its length.
    let sum: f32 = 0;
    for (let at = row; at < end; at += ROW_BYTES) sum += expRow(at, min(end, at + ROW_BYTES), shift, scratch);
    const factor = f32x4.splat(sum == 0 ? 0 : 1 / sum);
    for (let at = row; at < end; at += 16) v128.store(at, f32x4.mul(v128.load(at), factor));
    memory.copy(y + <usize>r * bytes, row, bytes);
  }
}
