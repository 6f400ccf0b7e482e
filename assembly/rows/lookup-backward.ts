// The way back of a lookup: gradients of rows are added to the rows of the table that they were read from. Ids may repeat, so a tile
// is some channels of all rows, and an element of the table gets what belongs to it in the order of the rows.

import { PANEL, PANEL_BYTES } from '../gemm/tile';
import { multiplyAdd, multiplyAddScalar } from '../math/vector';

/** Channels of a tile. */
export const LOOKED_UP_TOGETHER: i32 = 32;

/**
 * table[ids[row]] += factor * dy[row] for all rows, in channels of tiles [tileFrom, tileTo).
 *
 * @param ids     i32
 * @param factor  a pointer; 0: one
 * @param table   rows of `channels` floats, or panels of that depth, of which each has 8 rows as lanes
 * @param scratch not needed
 */
export function addLookedUp(
  ids: usize, rows: i32, table: usize, packed: bool, channels: i32, factor: usize, dy: usize, dyStride: usize, scratch: usize,
  tileFrom: i32, tileTo: i32,
): void {
  const first = <usize>(tileFrom * LOOKED_UP_TOGETHER) << 2;
  const end = <usize>min(channels, tileTo * LOOKED_UP_TOGETHER) << 2;
  const whole = packed ? first : first + ((end - first) & ~15);
  const rowBytes = <usize>channels << 2;
  const own: f32 = factor ? load<f32>(factor) : 1;
  const factors = f32x4.splat(own);
  for (const idsEnd = ids + (<usize>rows << 2); ids < idsEnd; ids += 4, dy += dyStride) {
    const id = load<i32>(ids);
    let target = table + <usize>id * rowBytes + first;
    let step: usize = 4;
    if (packed) {
      target = table + (<usize>(id / PANEL) * <usize>channels + (first >> 2)) * PANEL_BYTES + (<usize>(id & (PANEL - 1)) << 2);
      step = PANEL_BYTES;
    }
    let at = first;
    for (; at < whole; at += 16, target += 16) {
      v128.store(target, multiplyAdd(factors, v128.load(dy + at), v128.load(target)));
    }
    for (; at < end; at += 4, target += step) {
      store<f32>(target, multiplyAddScalar(own, load<f32>(dy + at), load<f32>(target)));
    }
  }
}
