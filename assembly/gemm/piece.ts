// One piece of a product, C = A B with at most PIECE steps of k: any number of rows, some panels side by side.
//
//   rows by the dozen     four tiles one below the other for each panel: 10 kB of A stay in the first-level cache
//   fewer                 tiles of even size, each over two panels side by side
//   1 or 2 rows           kernels of their own (row.ts) over several panels at once
//
// Every element is the same chain whichever of these makes it.

import { rowOverFourPanels, twoRowsOverTwoPanels } from './row';
import { fourTiles, PANEL_BYTES, ROW_BYTES, Rows5, Rows6, tileOf, tileRows, twoPanelsOf } from './tile';

/** Rows that go through four tiles in one call. */
// @ts-ignore: decorator
@inline
export function rowsTogether(): i32 {
  return 4 * tileRows();
}

/**
 * @param a     rows of `depth` floats, ROW_BYTES apart
 * @param panel `panels` panels, `panelStride` bytes apart, of which the first `depth` rows are at hand
 * @param c     rows of `panels` times 8 floats, ROW_BYTES apart
 * @param adding C += A B
 */
export function multiplyPiece(
  rows: i32, a: usize, panel: usize, panelStride: usize, panels: i32, c: usize, depth: i32, adding: bool,
): void {
  const together = rowsTogether();
  for (; rows >= together; rows -= together) {
    for (let p = 0, b = panel, out = c; p < panels; p++, b += panelStride, out += PANEL_BYTES) {
      if (ASC_FEATURE_RELAXED_SIMD) fourTiles<Rows6>(a, b, out, depth, adding);
      else fourTiles<Rows5>(a, b, out, depth, adding);
    }
    a += <usize>together * ROW_BYTES;
    c += <usize>together * ROW_BYTES;
  }
  for (let count = (rows + tileRows() - 1) / tileRows(); count > 0; count--) {
    const size = (rows + count - 1) / count;
    rowTile(size, a, panel, panelStride, c, c + <usize>panels * PANEL_BYTES, depth, adding);
    a += <usize>size * ROW_BYTES;
    c += <usize>size * ROW_BYTES;
    rows -= size;
  }
}

/** At most `tileRows` rows: columns from `c` to `end`. */
function rowTile(rows: i32, a: usize, panel: usize, panelStride: usize, c: usize, end: usize, depth: i32, adding: bool): void {
  if (rows == 1) {
    for (; c + 4 * PANEL_BYTES <= end; c += 4 * PANEL_BYTES, panel += 4 * panelStride) {
      rowOverFourPanels(a, panel, panelStride, c, depth, adding);
    }
  } else if (rows != 3) {
    for (; c + 2 * PANEL_BYTES <= end; c += 2 * PANEL_BYTES, panel += 2 * panelStride) {
      if (rows == 2) twoRowsOverTwoPanels(a, panel, panelStride, c, depth, adding);
      else twoPanelsOf(rows, a, panel, panelStride, c, depth, adding);
    }
  }
  for (; c < end; c += PANEL_BYTES, panel += panelStride) tileOf(rows, a, panel, c, depth, adding);
}

/** sums += piece, `bytes` of each, a multiple of 4. */
export function addPiece(sums: usize, piece: usize, bytes: usize): void {
  const end = sums + bytes;
  for (const whole = sums + (bytes & ~15); sums < whole; sums += 16, piece += 16) {
    v128.store(sums, f32x4.add(v128.load(sums), v128.load(piece)));
  }
  for (; sums < end; sums += 4, piece += 4) store<f32>(sums, load<f32>(sums) + load<f32>(piece));
}
