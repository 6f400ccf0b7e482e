// The micro-kernel of products whose left operand is transposed: gradients of weights (X^T dY), of keys (dS^T Q) and of values
// (P^T dO). Nothing is transposed for it: the factors that are broadcast lie side by side in a row of A.
//
//   C[k][0..8) = sum over r of A[r][k] * B[r][0..8)          k < rows of C, r ascending from 0
//
//         k ->                       8 columns
//       +-------------+            +-----------+
//   r   | a0 a1 a2 .. |       r    | b0   | b1 |          two vectors of B per step of r,
//   |   |             |       |    |      |    |          2 * rows accumulators in registers
//   v   |             |       v    |      |    |
//       +-------------+            +-----------+
//
//   A  rows `aStride` bytes apart     B  rows `bStride` bytes apart, 32 in a panel     C  rows `cStride` bytes apart
//
// Each element is one chain of multiply-adds in ascending r, whatever the number of rows in its tile. Chains have at most PIECE
// steps, as in tile.ts: `outerProduct` cuts a longer product at multiples of PIECE, and adds the sums of its pieces in order.
// Row counts are types, and as many rows are best, as there.

import { multiplyAdd } from '../math/vector';
import { PIECE, Rows1, Rows2, Rows3, Rows4, Rows5, Rows6, tileRows } from './tile';

/** C = the chains; with `adding` C += the chains. `end` is where the row after the last of B would be. */
// @ts-ignore: decorator
@inline
function chains<Rows>(
  a: usize, aStride: usize, b: usize, bStride: usize, end: usize, c: usize, cStride: usize, adding: bool,
): void {
  const zero = f32x4.splat(0);
  let c00 = zero, c01 = zero, c10 = zero, c11 = zero, c20 = zero, c21 = zero;
  let c30 = zero, c31 = zero, c40 = zero, c41 = zero, c50 = zero, c51 = zero;

  // The test stands at the top, as in tile.ts.
  while (b < end) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    b += bStride;
    const x0 = v128.load32_splat(a);
    c00 = multiplyAdd(x0, b0, c00);
    c01 = multiplyAdd(x0, b1, c01);
    if (offsetof<Rows>() > 1) {
      const x1 = v128.load32_splat(a, 4);
      c10 = multiplyAdd(x1, b0, c10);
      c11 = multiplyAdd(x1, b1, c11);
    }
    if (offsetof<Rows>() > 2) {
      const x2 = v128.load32_splat(a, 8);
      c20 = multiplyAdd(x2, b0, c20);
      c21 = multiplyAdd(x2, b1, c21);
    }
    if (offsetof<Rows>() > 3) {
      const x3 = v128.load32_splat(a, 12);
      c30 = multiplyAdd(x3, b0, c30);
      c31 = multiplyAdd(x3, b1, c31);
    }
    if (offsetof<Rows>() > 4) {
      const x4 = v128.load32_splat(a, 16);
      c40 = multiplyAdd(x4, b0, c40);
      c41 = multiplyAdd(x4, b1, c41);
    }
    if (offsetof<Rows>() > 5) {
      const x5 = v128.load32_splat(a, 20);
      c50 = multiplyAdd(x5, b0, c50);
      c51 = multiplyAdd(x5, b1, c51);
    }
    a += aStride;
  }

  place(c, c00, c01, adding);
  if (offsetof<Rows>() > 1) {
    c += cStride;
    place(c, c10, c11, adding);
  }
  if (offsetof<Rows>() > 2) {
    c += cStride;
    place(c, c20, c21, adding);
  }
  if (offsetof<Rows>() > 3) {
    c += cStride;
    place(c, c30, c31, adding);
  }
  if (offsetof<Rows>() > 4) {
    c += cStride;
    place(c, c40, c41, adding);
  }
  if (offsetof<Rows>() > 5) {
    c += cStride;
    place(c, c50, c51, adding);
  }
}

// @ts-ignore: decorator
@inline
function place(c: usize, left: v128, right: v128, adding: bool): void {
  if (adding) {
    left = f32x4.add(v128.load(c), left);
    right = f32x4.add(v128.load(c, 16), right);
  }
  v128.store(c, left);
  v128.store(c, right, 16);
}

// The micro-kernel for each number of rows of C, for entries to export, so that the optimiser keeps each of them a function of
// its own: inlined into their caller they spill.

export function outer1(
  a: usize, aStride: usize, b: usize, bStride: usize, end: usize, c: usize, cStride: usize, adding: bool,
): void {
  chains<Rows1>(a, aStride, b, bStride, end, c, cStride, adding);
}
export function outer2(
  a: usize, aStride: usize, b: usize, bStride: usize, end: usize, c: usize, cStride: usize, adding: bool,
): void {
  chains<Rows2>(a, aStride, b, bStride, end, c, cStride, adding);
}
export function outer3(
  a: usize, aStride: usize, b: usize, bStride: usize, end: usize, c: usize, cStride: usize, adding: bool,
): void {
  chains<Rows3>(a, aStride, b, bStride, end, c, cStride, adding);
}
export function outer4(
  a: usize, aStride: usize, b: usize, bStride: usize, end: usize, c: usize, cStride: usize, adding: bool,
): void {
  chains<Rows4>(a, aStride, b, bStride, end, c, cStride, adding);
}
export function outer5(
  a: usize, aStride: usize, b: usize, bStride: usize, end: usize, c: usize, cStride: usize, adding: bool,
): void {
  chains<Rows5>(a, aStride, b, bStride, end, c, cStride, adding);
}
export function outer6(
  a: usize, aStride: usize, b: usize, bStride: usize, end: usize, c: usize, cStride: usize, adding: bool,
): void {
  if (ASC_FEATURE_RELAXED_SIMD) chains<Rows6>(a, aStride, b, bStride, end, c, cStride, adding);
}

/** One tile of 1 to `tileRows` rows of C. */
function outerOf(
  rows: i32, a: usize, aStride: usize, b: usize, bStride: usize, end: usize, c: usize, cStride: usize, adding: bool,
): void {
  if (ASC_FEATURE_RELAXED_SIMD && rows == 6) outer6(a, aStride, b, bStride, end, c, cStride, adding);
  else if (rows == 5) outer5(a, aStride, b, bStride, end, c, cStride, adding);
  else if (rows == 4) outer4(a, aStride, b, bStride, end, c, cStride, adding);
  else if (rows == 3) outer3(a, aStride, b, bStride, end, c, cStride, adding);
  else if (rows == 2) outer2(a, aStride, b, bStride, end, c, cStride, adding);
  else outer1(a, aStride, b, bStride, end, c, cStride, adding);
}

/**
 * C = A^T B, any number of rows and panels of eight columns.
 *
 * @param rows   of C: columns of A that count
 * @param depth  rows of A and B
 * @param bPanel bytes from one panel of B to the next
 * @param cPanel the same of C
 * @param adding C += A^T B
 */
export function outerProduct(
  rows: i32, depth: i32, panels: i32, a: usize, aStride: usize, b: usize, bStride: usize, bPanel: usize,
  c: usize, cStride: usize, cPanel: usize, adding: bool,
): void {
  for (; depth > 0; depth -= PIECE) {
    const steps = <usize>min(PIECE, depth);
    for (let panel: usize = 0; panel < <usize>panels; panel++) {
      const from = b + panel * bPanel;
      const end = from + steps * bStride;
      let factors = a;
      let target = c + panel * cPanel;
      let rest = rows;
      for (let tiles = (rows + tileRows() - 1) / tileRows(); tiles > 0; tiles--) {
        const some = (rest + tiles - 1) / tiles;
        outerOf(some, factors, aStride, from, bStride, end, target, cStride, adding);
        factors += <usize>some << 2;
        target += <usize>some * cStride;
        rest -= some;
      }
    }
    a += steps * aStride;
    b += steps * bStride;
    adding = true;
  }
}
