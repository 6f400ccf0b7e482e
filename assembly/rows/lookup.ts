// Embedding lookup: rows of a table by their numbers, the table as it is or packed for a product, whose matrix it also is.

import { PANEL, PANEL_BYTES } from '../gemm/tile';

/**
 * Rows [rowFrom, rowTo) of y = factor * table[ids[row]], or y += that.
 *
 * @param ids    i32
 * @param factor a pointer; 0: one
 * @param table  rows of `channels` floats, or panels of that depth, of which each has 8 rows as lanes
 * @param scratch not needed
 */
export function lookupRows(
  ids: usize, table: usize, packed: bool, channels: i32, factor: usize, adds: bool, y: usize, yStride: usize, scratch: usize,
  rowFrom: i32, rowTo: i32,
): void {
  const rowBytes = <usize>channels << 2;
  const own: f32 = factor ? load<f32>(factor) : 1;
  const factors = f32x4.splat(own);
  for (let row = rowFrom; row < rowTo; row++) {
    const id = load<i32>(ids + (<usize>row << 2));
    let at = y + <usize>row * yStride;
    const end = at + rowBytes;
    let source = table + <usize>id * rowBytes;
    let step: usize = 4;
    if (packed) {
      source = table + <usize>(id / PANEL) * PANEL_BYTES * <usize>channels + (<usize>(id & (PANEL - 1)) << 2);
      step = PANEL_BYTES;
    } else {
      for (const whole = end - 16; at <= whole; at += 16, source += 16) {
        const values = f32x4.mul(factors, v128.load(source));
        v128.store(at, adds ? f32x4.add(v128.load(at), values) : values);
      }
    }
    for (; at < end; at += 4, source += step) {
      const value = own * load<f32>(source);
      store<f32>(at, adds ? load<f32>(at) + value : value);
    }
  }
}
