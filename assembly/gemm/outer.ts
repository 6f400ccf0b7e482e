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
//
// V8 11 spills three accumulators where the rows of C are not added to from the last to the first. V8 13 adds the constants to the
// address of A at every other step unless they have been used before the loop: hence `nothing`, 3 % faster.

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
  if (offsetof<Rows>() > 1) c10 = c11 = nothing(v128.load32_splat(a, 4));
  if (offsetof<Rows>() > 2) c20 = c21 = nothing(v128.load32_splat(a, 8));
  if (offsetof<Rows>() > 3) c30 = c31 = nothing(v128.load32_splat(a, 12));
  if (offsetof<Rows>() > 4) c40 = c41 = nothing(v128.load32_splat(a, 16));
  if (offsetof<Rows>() > 5) c50 = c51 = nothing(v128.load32_splat(a, 20));

  // The test stands at the top for V8 11, as in tile.ts.
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

  if (adding) {
    c += <usize>(offsetof<Rows>() - 1) * cStride;
    if (offsetof<Rows>() > 5) {
      v128.store(c, f32x4.add(v128.load(c, 16), c51), 16);
      v128.store(c, f32x4.add(v128.load(c), c50));
      c -= cStride;
    }
    if (offsetof<Rows>() > 4) {
      v128.store(c, f32x4.add(v128.load(c, 16), c41), 16);
      v128.store(c, f32x4.add(v128.load(c), c40));
      c -= cStride;
    }
    if (offsetof<Rows>() > 3) {
      v128.store(c, f32x4.add(v128.load(c, 16), c31), 16);
      v128.store(c, f32x4.add(v128.load(c), c30));
      c -= cStride;
    }
    if (offsetof<Rows>() > 2) {
      v128.store(c, f32x4.add(v128.load(c, 16), c21), 16);
      v128.store(c, f32x4.add(v128.load(c), c20));
      c -= cStride;
    }
    if (offsetof<Rows>() > 1) {
      v128.store(c, f32x4.add(v128.load(c, 16), c11), 16);
      v128.store(c, f32x4.add(v128.load(c), c10));
      c -= cStride;
    }
    v128.store(c, f32x4.add(v128.load(c, 16), c01), 16);
    v128.store(c, f32x4.add(v128.load(c), c00));
  } else {
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
}

/** Zero, which no compiler knows. */
// @ts-ignore: decorator
@inline
function nothing(x: v128): v128 {
  return i32x4.ne(x, x);
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

/** Four tiles one below the other, written out: see `fourTiles` of tile.ts. */
export function fourOuters(
  a: usize, aStride: usize, b: usize, bStride: usize, end: usize, c: usize, cStride: usize, adding: bool,
): void {
  if (ASC_FEATURE_RELAXED_SIMD) four<Rows6>(a, aStride, b, bStride, end, c, cStride, adding);
  else four<Rows5>(a, aStride, b, bStride, end, c, cStride, adding);
}

// @ts-ignore: decorator
@inline
function four<Rows>(
  a: usize, aStride: usize, b: usize, bStride: usize, end: usize, c: usize, cStride: usize, adding: bool,
): void {
  const across = <usize>offsetof<Rows>() << 2;
  const down = <usize>offsetof<Rows>() * cStride;
  chains<Rows>(a, aStride, b, bStride, end, c, cStride, adding);
  a += across;
  c += down;
  chains<Rows>(a, aStride, b, bStride, end, c, cStride, adding);
  a += across;
  c += down;
  chains<Rows>(a, aStride, b, bStride, end, c, cStride, adding);
  chains<Rows>(a + across, aStride, b, bStride, end, c + down, cStride, adding);
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
      for (; rest >= 4 * tileRows(); rest -= 4 * tileRows()) {
        fourOuters(factors, aStride, from, bStride, end, target, cStride, adding);
        factors += <usize>tileRows() << 4;
        target += <usize>(4 * tileRows()) * cStride;
      }
      for (let tiles = (rest + tileRows() - 1) / tileRows(); tiles > 0; tiles--) {
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
