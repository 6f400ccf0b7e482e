// The micro-kernel: every product of this project (projections, Q K^T, P V) runs through `tile`.
//
//   C[r][0..8) = sum over k of A[r][k] * panel[k][0..8)          r < rows, k ascending from 0
//
//   A      rows of `depth` floats, ROW_BYTES apart      panel   depth x 8 floats, contiguous
//   C      rows of 8 floats, ROW_BYTES apart
//
//          k ->                      8 columns
//        +-----------+            +-----------+
//   rows | a0        |       k    | b0   | b1 |          two vectors per step of k,
//        | a1        |       |    |      |    |          2 * rows accumulators in registers
//        | ...       |       v    |      |    |
//        +-----------+            +-----------+
//
// Each element is one chain of multiply-adds in ascending k, so its bits do not depend on the number of rows in its tile.
// Chains have at most PIECE steps, because their rounding errors grow with the length: a longer product is cut at
// multiples of PIECE, and the sums of its pieces are added one after the other: outside, or by a tile that adds to C.
//
// Rows lie at a constant distance, so that all of them are one pointer and the constants in the instructions: without
// fused multiply-add what binds is the number of instructions. A and C share that distance on purpose: V8 then computes
// the sums of base and constant once, before the loop, instead of at every step.
//
// Row counts are types: `tile<Rows5>` folds to code for five rows (static conditions on the size of the class).
// Five rows are best without fused multiply-add (a product needs a register), six with it; seven spill.

export class Rows1 { r0: u8; }
export class Rows2 { r0: u8; r1: u8; }
export class Rows3 { r0: u8; r1: u8; r2: u8; }
export class Rows4 { r0: u8; r1: u8; r2: u8; r3: u8; }
export class Rows5 { r0: u8; r1: u8; r2: u8; r3: u8; r4: u8; }
export class Rows6 { r0: u8; r1: u8; r2: u8; r3: u8; r4: u8; r5: u8; }

import { multiplyAdd } from '../math/vector';

/** Columns of a panel. */
export const PANEL: i32 = 8;
/** Bytes of one row of a panel. */
export const PANEL_BYTES: usize = 32;
/** Most steps of k in a chain of multiply-adds, and most columns of a piece of C. A change changes bits. */
export const PIECE: i32 = 128;
/** Bytes from one row of A or C to the next. */
export const ROW_BYTES: usize = <usize>PIECE << 2;

/** Most rows in a tile of this build. Measured on Zen 4 and 5, V8 11 to 13: see docs/kernels.md. */
// @ts-ignore: decorator
@inline
export function tileRows(): i32 {
  return ASC_FEATURE_RELAXED_SIMD ? 6 : 5;
}

/** C = the chains; with `adding` C += the chains. */
// @ts-ignore: decorator
@inline
function chains<Rows>(a: usize, panel: usize, end: usize, c: usize, adding: bool): void {
  const zero = f32x4.splat(0);
  let c00 = zero, c01 = zero, c10 = zero, c11 = zero, c20 = zero, c21 = zero;
  let c30 = zero, c31 = zero, c40 = zero, c41 = zero, c50 = zero, c51 = zero;

  // The test stands at the top: with it at the bottom V8 11 hoists every load of A and spills three accumulators (40 % of peak instead of 90 %).
  while (panel < end) {
    const b0 = v128.load(panel);
    const b1 = v128.load(panel, 16);
    panel += PANEL_BYTES;
    const x0 = v128.load32_splat(a);
    c00 = multiplyAdd(x0, b0, c00);
    c01 = multiplyAdd(x0, b1, c01);
    if (offsetof<Rows>() > 1) {
      const x1 = v128.load32_splat(a, ROW_BYTES);
      c10 = multiplyAdd(x1, b0, c10);
      c11 = multiplyAdd(x1, b1, c11);
    }
    if (offsetof<Rows>() > 2) {
      const x2 = v128.load32_splat(a, 2 * ROW_BYTES);
      c20 = multiplyAdd(x2, b0, c20);
      c21 = multiplyAdd(x2, b1, c21);
    }
    if (offsetof<Rows>() > 3) {
      const x3 = v128.load32_splat(a, 3 * ROW_BYTES);
      c30 = multiplyAdd(x3, b0, c30);
      c31 = multiplyAdd(x3, b1, c31);
    }
    if (offsetof<Rows>() > 4) {
      const x4 = v128.load32_splat(a, 4 * ROW_BYTES);
      c40 = multiplyAdd(x4, b0, c40);
      c41 = multiplyAdd(x4, b1, c41);
    }
    if (offsetof<Rows>() > 5) {
      const x5 = v128.load32_splat(a, 5 * ROW_BYTES);
      c50 = multiplyAdd(x5, b0, c50);
      c51 = multiplyAdd(x5, b1, c51);
    }
    a += 4;
  }

  if (adding) {
    // From the last row to the first: in the other order V8 11 turns the loop round too, and spills three accumulators.
    if (offsetof<Rows>() > 5) {
      v128.store(c, f32x4.add(v128.load(c, 5 * ROW_BYTES + 16), c51), 5 * ROW_BYTES + 16);
      v128.store(c, f32x4.add(v128.load(c, 5 * ROW_BYTES), c50), 5 * ROW_BYTES);
    }
    if (offsetof<Rows>() > 4) {
      v128.store(c, f32x4.add(v128.load(c, 4 * ROW_BYTES + 16), c41), 4 * ROW_BYTES + 16);
      v128.store(c, f32x4.add(v128.load(c, 4 * ROW_BYTES), c40), 4 * ROW_BYTES);
    }
    if (offsetof<Rows>() > 3) {
      v128.store(c, f32x4.add(v128.load(c, 3 * ROW_BYTES + 16), c31), 3 * ROW_BYTES + 16);
      v128.store(c, f32x4.add(v128.load(c, 3 * ROW_BYTES), c30), 3 * ROW_BYTES);
    }
    if (offsetof<Rows>() > 2) {
      v128.store(c, f32x4.add(v128.load(c, 2 * ROW_BYTES + 16), c21), 2 * ROW_BYTES + 16);
      v128.store(c, f32x4.add(v128.load(c, 2 * ROW_BYTES), c20), 2 * ROW_BYTES);
    }
    if (offsetof<Rows>() > 1) {
      v128.store(c, f32x4.add(v128.load(c, ROW_BYTES + 16), c11), ROW_BYTES + 16);
      v128.store(c, f32x4.add(v128.load(c, ROW_BYTES), c10), ROW_BYTES);
    }
    v128.store(c, f32x4.add(v128.load(c, 16), c01), 16);
    v128.store(c, f32x4.add(v128.load(c), c00));
  } else {
    v128.store(c, c00);
    v128.store(c, c01, 16);
    if (offsetof<Rows>() > 1) {
      v128.store(c, c10, ROW_BYTES);
      v128.store(c, c11, ROW_BYTES + 16);
    }
    if (offsetof<Rows>() > 2) {
      v128.store(c, c20, 2 * ROW_BYTES);
      v128.store(c, c21, 2 * ROW_BYTES + 16);
    }
    if (offsetof<Rows>() > 3) {
      v128.store(c, c30, 3 * ROW_BYTES);
      v128.store(c, c31, 3 * ROW_BYTES + 16);
    }
    if (offsetof<Rows>() > 4) {
      v128.store(c, c40, 4 * ROW_BYTES);
      v128.store(c, c41, 4 * ROW_BYTES + 16);
    }
    if (offsetof<Rows>() > 5) {
      v128.store(c, c50, 5 * ROW_BYTES);
      v128.store(c, c51, 5 * ROW_BYTES + 16);
    }
  }
}

/**
 * One tile.
 *
 * @param depth  steps of k, at least 1
 * @param adding C += A B
 */
export function tile<Rows>(a: usize, panel: usize, c: usize, depth: i32, adding: bool): void {
  chains<Rows>(a, panel, panel + <usize>depth * PANEL_BYTES, c, adding);
}

/**
 * Four tiles one below the other, written out: a call and the start of its chains cost as much as eight steps of k. A loop
 * over tiles would do in V8 13, but V8 11 unrolls loops inside of loops, and what it makes of this one spills.
 */
export function fourTiles<Rows>(a: usize, panel: usize, c: usize, depth: i32, adding: bool): void {
  const end = panel + <usize>depth * PANEL_BYTES;
  const step = <usize>offsetof<Rows>() * ROW_BYTES;
  chains<Rows>(a, panel, end, c, adding);
  a += step;
  c += step;
  chains<Rows>(a, panel, end, c, adding);
  a += step;
  c += step;
  chains<Rows>(a, panel, end, c, adding);
  chains<Rows>(a + step, panel, end, c + step, adding);
}

/** One tile's rows times two panels side by side, `panelStride` bytes apart. */
export function twoPanels<Rows>(a: usize, panel: usize, panelStride: usize, c: usize, depth: i32, adding: bool): void {
  const bytes = <usize>depth * PANEL_BYTES;
  chains<Rows>(a, panel, panel + bytes, c, adding);
  panel += panelStride;
  chains<Rows>(a, panel, panel + bytes, c + PANEL_BYTES, adding);
}

/** `tile` for a row count known at run time, 1 to 6. */
export function tileOf(rows: i32, a: usize, panel: usize, c: usize, depth: i32, adding: bool): void {
  if (ASC_FEATURE_RELAXED_SIMD && rows == 6) tile<Rows6>(a, panel, c, depth, adding);
  else if (rows == 5) tile<Rows5>(a, panel, c, depth, adding);
  else if (rows == 4) tile<Rows4>(a, panel, c, depth, adding);
  else if (rows == 3) tile<Rows3>(a, panel, c, depth, adding);
  else if (rows == 2) tile<Rows2>(a, panel, c, depth, adding);
  else tile<Rows1>(a, panel, c, depth, adding);
}

/** `twoPanels` for a row count known at run time, 4 to 6. */
export function twoPanelsOf(rows: i32, a: usize, panel: usize, panelStride: usize, c: usize, depth: i32, adding: bool): void {
  if (ASC_FEATURE_RELAXED_SIMD && rows == 6) twoPanels<Rows6>(a, panel, panelStride, c, depth, adding);
  else if (rows == 5) twoPanels<Rows5>(a, panel, panelStride, c, depth, adding);
  else twoPanels<Rows4>(a, panel, panelStride, c, depth, adding);
}
