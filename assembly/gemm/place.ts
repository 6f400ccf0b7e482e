// Pieces of a matrix, as checkpoints have them, into panels and back: a rectangle of the matrix, row-major, either way round.
//
//   outs [firstOut, firstOut + outs), ins [firstIn, firstIn + ins) of a matrix of `depth` ins
//
//   rows are outs      piece[out][in]    a row becomes a lane of a panel
//   transposed         piece[in][out]    eight floats in a row are a row of a panel
//
// A tile is PLACED_PANELS panels, counted from the one that holds firstOut.

import { writeHalfConstants } from '../math/half';
import { elementBytesOf, F32, narrowRow, widenRow } from '../math/widen';
import { packHalfPanel } from './pack';
import { PANEL, PANEL_BYTES } from './tile';

/** Panels of a tile: what is read of a row of a transposed piece are whole cache lines. */
export const PLACED_PANELS: i32 = 4;
const TABLE_BYTES: usize = 64;

/** Bytes of scratch for `placePiece` and `readPiece`: constants, and the rows of a panel or a row of a tile as floats. */
export function pieceScratchBytes(ins: i32): usize {
  return TABLE_BYTES + (<usize>(PANEL * max(ins, PLACED_PANELS)) << 2);
}

/**
 * Tiles [tileFrom, tileTo) of a piece to their place in `panels`; what is beside it there stays as it is.
 *
 * @param source  rows of elements of kind `dtype` (math/widen.ts), `sourceStride` bytes apart
 * @param scratch pieceScratchBytes
 */
export function placePiece(
  source: usize, sourceStride: usize, dtype: i32, transposed: bool, firstOut: i32, outs: i32, firstIn: i32, ins: i32,
  depth: i32, panels: usize, scratch: usize, tileFrom: i32, tileTo: i32,
): void {
  writeHalfConstants(scratch);
  const step = transposed ? PLACED_PANELS : 1;
  const end = panelEnd(firstOut, outs, tileTo);
  for (let panel = firstOut / PANEL + tileFrom * PLACED_PANELS; panel < end; panel += step) {
    const from = max(firstOut, panel * PANEL);
    const to = min(firstOut + outs, min(end, panel + step) * PANEL);
    const target = panels + <usize>(panel * depth + firstIn) * PANEL_BYTES;
    if (transposed) placeAcross(source + <usize>(from - firstOut) * elementBytesOf(dtype), sourceStride, dtype, from, to, ins, target, depth, scratch);
    else placeLanes(source + <usize>(from - firstOut) * sourceStride, sourceStride, dtype, from & (PANEL - 1), to - from, ins, target, scratch);
  }
}

/** The way back: `target` gets rows of elements, `targetStride` bytes apart. */
export function readPiece(
  target: usize, targetStride: usize, dtype: i32, transposed: bool, firstOut: i32, outs: i32, firstIn: i32, ins: i32,
  depth: i32, panels: usize, scratch: usize, tileFrom: i32, tileTo: i32,
): void {
  const step = transposed ? PLACED_PANELS : 1;
  const end = panelEnd(firstOut, outs, tileTo);
  for (let panel = firstOut / PANEL + tileFrom * PLACED_PANELS; panel < end; panel += step) {
    const from = max(firstOut, panel * PANEL);
    const to = min(firstOut + outs, min(end, panel + step) * PANEL);
    const source = panels + <usize>(panel * depth + firstIn) * PANEL_BYTES;
    if (transposed) {
      let row = target + <usize>(from - firstOut) * elementBytesOf(dtype);
      for (let k = 0; k < ins; k++, row += targetStride) {
        for (let out = from; out < to; out++) {
          const there = source + <usize>((out / PANEL - panel) * depth + k) * PANEL_BYTES;
          store<f32>(scratch + (<usize>(out - from) << 2), load<f32>(there + (<usize>(out & (PANEL - 1)) << 2)));
        }
        narrowRow(scratch, dtype, to - from, row);
      }
    } else {
      let row = target + <usize>(from - firstOut) * targetStride;
      for (let out = from; out < to; out++, row += targetStride) {
        let there = source + (<usize>(out & (PANEL - 1)) << 2);
        for (let k: usize = 0; k < <usize>ins; k++, there += PANEL_BYTES) store<f32>(scratch + (k << 2), load<f32>(there));
        narrowRow(scratch, dtype, ins, row);
      }
    }
  }
}

function panelEnd(firstOut: i32, outs: i32, tileTo: i32): i32 {
  return min(firstOut / PANEL + tileTo * PLACED_PANELS, (firstOut + outs + PANEL - 1) / PANEL);
}

/** `count` rows of `ins` elements become lanes of one panel. */
function placeLanes(
  source: usize, sourceStride: usize, dtype: i32, lane: i32, count: i32, ins: i32, target: usize, scratch: usize,
): void {
  if (dtype != F32) {
    const rows = scratch + TABLE_BYTES;
    const stride = <usize>ins << 2;
    for (let row: usize = 0; row < <usize>count; row++) {
      widenRow(source + row * sourceStride, dtype, ins, rows + row * stride, scratch);
    }
    source = rows;
    sourceStride = stride;
  }
  for (const end = lane + count; lane < end;) {
    if (!(lane & 3) && lane + 4 <= end) {
      packHalfPanel(source, sourceStride, ins, target + (<usize>lane << 2));
      source += 4 * sourceStride;
      lane += 4;
    } else {
      let at = target + (<usize>lane << 2);
      for (let k: usize = 0; k < <usize>ins; k++, at += PANEL_BYTES) store<f32>(at, load<f32>(source + (k << 2)));
      source += sourceStride;
      lane++;
    }
  }
}

/** `ins` rows of the elements of outs [from, to), those of a tile, become rows of its panels. */
function placeAcross(
  source: usize, sourceStride: usize, dtype: i32, from: i32, to: i32, ins: i32, target: usize, depth: i32, scratch: usize,
): void {
  const panelStride = <usize>depth * PANEL_BYTES;
  for (; ins > 0; ins--, source += sourceStride, target += PANEL_BYTES) {
    let floats = source;
    if (dtype != F32) {
      floats = scratch + TABLE_BYTES;
      widenRow(source, dtype, to - from, floats, scratch);
    }
    let panel = target;
    for (let out = from; out < to; panel += panelStride) {
      const lane = out & (PANEL - 1);
      const count = min(PANEL - lane, to - out);
      if (count == PANEL) {
        v128.store(panel, v128.load(floats));
        v128.store(panel, v128.load(floats, 16), 16);
      } else {
        memory.copy(panel + (<usize>lane << 2), floats, <usize>count << 2);
      }
      floats += <usize>count << 2;
      out += count;
    }
  }
}
