// The micro-kernel: every product of this project (projections, Q K^T, P V) runs through `tile`.
//
//   C[r][0..8) = start[r][0..8) + sum over k of A[r][k] * panel[k][0..8)          r < rows, k ascending
//
//   A      rows of `depth` floats, `aStride` bytes apart      panel   depth x 8 floats, contiguous
//   C      rows of 8 floats, `cStride` bytes apart
//
//          k ->                      8 columns
//        +-----------+            +-----------+
//   rows | a0        |       k    | b0   | b1 |          two vectors a step of k,
//        | a1        |       |    |      |    |          2 * rows accumulators in registers
//        | ...       |       v    |      |    |
//        +-----------+            +-----------+
//
// Each element is one chain of multiply-adds in ascending k, so its bits do not depend on the number
// of rows in its tile, nor on where a caller cuts k (a later piece continues from C).
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

/** Most rows in a tile of this build. Measured on Zen 5, V8 11 to 13: see docs/kernels.md. */
// @ts-ignore: decorator
@inline
export function tileRows(): i32 {
  return ASC_FEATURE_RELAXED_SIMD ? 6 : 5;
}

/**
 * @param depth  number of k steps, at least 1
 * @param bias   8 floats every row starts from; used when `scales` is 0
 * @param scales one float a row, or 0: the row starts from its present C times that float
 */
export function tile<Rows>(
  a: usize, aStride: usize, panel: usize, c: usize, cStride: usize, depth: i32, bias: usize, scales: usize,
): void {
  let a0 = a;
  let a1 = a0 + aStride;
  let a2 = a1 + aStride;
  let a3 = a2 + aStride;
  let a4 = a3 + aStride;
  let a5 = a4 + aStride;
  const end = panel + <usize>depth * PANEL_BYTES;

  let c00 = v128.load(bias);
  let c01 = v128.load(bias, 16);
  let c10 = c00, c11 = c01, c20 = c00, c21 = c01, c30 = c00, c31 = c01, c40 = c00, c41 = c01, c50 = c00, c51 = c01;
  if (scales) {
    let row = c;
    let scale = v128.load32_splat(scales);
    c00 = f32x4.mul(v128.load(row), scale);
    c01 = f32x4.mul(v128.load(row, 16), scale);
    if (offsetof<Rows>() > 1) {
      row += cStride;
      scale = v128.load32_splat(scales, 4);
      c10 = f32x4.mul(v128.load(row), scale);
      c11 = f32x4.mul(v128.load(row, 16), scale);
    }
    if (offsetof<Rows>() > 2) {
      row += cStride;
      scale = v128.load32_splat(scales, 8);
      c20 = f32x4.mul(v128.load(row), scale);
      c21 = f32x4.mul(v128.load(row, 16), scale);
    }
    if (offsetof<Rows>() > 3) {
      row += cStride;
      scale = v128.load32_splat(scales, 12);
      c30 = f32x4.mul(v128.load(row), scale);
      c31 = f32x4.mul(v128.load(row, 16), scale);
    }
    if (offsetof<Rows>() > 4) {
      row += cStride;
      scale = v128.load32_splat(scales, 16);
      c40 = f32x4.mul(v128.load(row), scale);
      c41 = f32x4.mul(v128.load(row, 16), scale);
    }
    if (offsetof<Rows>() > 5) {
      row += cStride;
      scale = v128.load32_splat(scales, 20);
      c50 = f32x4.mul(v128.load(row), scale);
      c51 = f32x4.mul(v128.load(row, 16), scale);
    }
  }

  // The test stands at the top: with it at the bottom V8 11 hoists every load of A and spills three accumulators (40 % of peak instead of 90 %).
  while (panel < end) {
    const b0 = v128.load(panel);
    const b1 = v128.load(panel, 16);
    panel += PANEL_BYTES;
    const x0 = v128.load32_splat(a0);
    a0 += 4;
    c00 = multiplyAdd(x0, b0, c00);
    c01 = multiplyAdd(x0, b1, c01);
    if (offsetof<Rows>() > 1) {
      const x1 = v128.load32_splat(a1);
      a1 += 4;
      c10 = multiplyAdd(x1, b0, c10);
      c11 = multiplyAdd(x1, b1, c11);
    }
    if (offsetof<Rows>() > 2) {
      const x2 = v128.load32_splat(a2);
      a2 += 4;
      c20 = multiplyAdd(x2, b0, c20);
      c21 = multiplyAdd(x2, b1, c21);
    }
    if (offsetof<Rows>() > 3) {
      const x3 = v128.load32_splat(a3);
      a3 += 4;
      c30 = multiplyAdd(x3, b0, c30);
      c31 = multiplyAdd(x3, b1, c31);
    }
    if (offsetof<Rows>() > 4) {
      const x4 = v128.load32_splat(a4);
      a4 += 4;
      c40 = multiplyAdd(x4, b0, c40);
      c41 = multiplyAdd(x4, b1, c41);
    }
    if (offsetof<Rows>() > 5) {
      const x5 = v128.load32_splat(a5);
      a5 += 4;
      c50 = multiplyAdd(x5, b0, c50);
      c51 = multiplyAdd(x5, b1, c51);
    }
  }

  v128.store(c, c00);
  v128.store(c, c01, 16);
  if (offsetof<Rows>() > 1) {
    c += cStride;
    v128.store(c, c10);
    v128.store(c, c11, 16);
  }
  if (offsetof<Rows>() > 2) {
    c += cStride;
    v128.store(c, c20);
    v128.store(c, c21, 16);
  }
  if (offsetof<Rows>() > 3) {
    c += cStride;
    v128.store(c, c30);
    v128.store(c, c31, 16);
  }
  if (offsetof<Rows>() > 4) {
    c += cStride;
    v128.store(c, c40);
    v128.store(c, c41, 16);
  }
  if (offsetof<Rows>() > 5) {
    c += cStride;
    v128.store(c, c50);
    v128.store(c, c51, 16);
  }
}

/** `tile` for a row count known at run time, 1 to 6. */
export function tileOf(
  rows: i32, a: usize, aStride: usize, panel: usize, c: usize, cStride: usize, depth: i32, bias: usize, scales: usize,
): void {
  if (ASC_FEATURE_RELAXED_SIMD && rows == 6) tile<Rows6>(a, aStride, panel, c, cStride, depth, bias, scales);
  else if (rows == 5) tile<Rows5>(a, aStride, panel, c, cStride, depth, bias, scales);
  else if (rows == 4) tile<Rows4>(a, aStride, panel, c, cStride, depth, bias, scales);
  else if (rows == 3) tile<Rows3>(a, aStride, panel, c, cStride, depth, bias, scales);
  else if (rows == 2) tile<Rows2>(a, aStride, panel, c, cStride, depth, bias, scales);
  else tile<Rows1>(a, aStride, panel, c, cStride, depth, bias, scales);
}
