// exp2 over vectors: the only transcendental on the hot path. exp(x) is exp2(x * log2(e)), with log2(e) folded into
// the scale of the scores, because multiplying later would cost accuracy for large |x|.
//
//   x = n + f,  n = round(x),  f in [-1/2, 1/2]         2^x = 2^n * p(f)
//
// Range      -100 <= x <= 127. Below -100 (and for -infinity) the result is +0: products with smaller numbers would
//            be denormal and nearly twice as slow. NaN gives NaN.
// Error      at most 1.67 ulp in the simd build, 1.25 ulp in the relaxed build (2e-7 relative) over the whole range,
//            measured against float64 at 4 million points; exp2(0) is exactly 1.
// Method     p is a degree 5 polynomial with p(0) = 1. Adding MAGIC rounds x to an integer in the low bits of the
//            float; because MAGIC holds the exponent bias too, shifting those bits left by 23 gives 2^n.
//
// The constants are loaded from memory (`writeConstants` puts them into scratch), because V8 makes a constant vector
// anew at each use in a loop.

import { multiplyAdd } from './vector';

/** Bytes of the table that `writeConstants` fills. */
export const CONSTANTS_BYTES: usize = 64;

/** 1.5 * 2^23 + 127. */
const MAGIC: f32 = 12583039.0;
/** Arguments below this give zero. */
const LOWEST: f32 = -100.0;

/** Writes the constants of exp2 to `table`, 64 bytes. */
export function writeConstants(table: usize): void {
  store<f32>(table, MAGIC);
  store<f32>(table, 0.001326474222, 4);
  store<f32>(table, 0.009671517975, 8);
  store<f32>(table, 0.05550733757, 12);
  store<f32>(table, 0.24022242, 16);
  store<f32>(table, 0.6931469776, 20);
  store<f32>(table, 1.0, 24);
  store<f32>(table, LOWEST, 28);
}

// @ts-ignore: decorator
@inline
function exp2WithConstants(
  x: v128, magic: v128, c5: v128, c4: v128, c3: v128, c2: v128, c1: v128, one: v128, lowest: v128,
): v128 {
  const shifted = f32x4.add(x, magic);
  const f = f32x4.sub(x, f32x4.sub(shifted, magic));
  let p = multiplyAdd(c5, f, c4);
  p = multiplyAdd(p, f, c3);
  p = multiplyAdd(p, f, c2);
  p = multiplyAdd(p, f, c1);
  p = multiplyAdd(p, f, one);
  // A product, not an integer addition to the exponent: so a NaN of any payload stays NaN.
  return v128.andnot(f32x4.mul(p, i32x4.shl(shifted, 23)), f32x4.lt(x, lowest));
}

/** 2^x of four lanes. */
// @ts-ignore: decorator
@inline
export function exp2(x: v128, table: usize): v128 {
  return exp2WithConstants(
    x,
    v128.load32_splat(table),
    v128.load32_splat(table, 4),
    v128.load32_splat(table, 8),
    v128.load32_splat(table, 12),
    v128.load32_splat(table, 16),
    v128.load32_splat(table, 20),
    v128.load32_splat(table, 24),
    v128.load32_splat(table, 28),
  );
}

/** 2^x of one number, the same bits as a lane of `exp2`. */
export function exp2Scalar(x: f32, table: usize): f32 {
  return f32x4.extract_lane(exp2(f32x4.splat(x), table), 0);
}

/**
 * row[i] = 2^(row[i] - maximum) in place; returns the sum of the results as four partial sums.
 * `from` and `to` are addresses, a multiple of 16 bytes apart.
 */
// @ts-ignore: decorator
@inline
export function exp2Row(from: usize, to: usize, maximum: f32, table: usize): v128 {
  const magic = v128.load32_splat(table);
  const c5 = v128.load32_splat(table, 4);
  const c4 = v128.load32_splat(table, 8);
  const c3 = v128.load32_splat(table, 12);
  const c2 = v128.load32_splat(table, 16);
  const c1 = v128.load32_splat(table, 20);
  const one = v128.load32_splat(table, 24);
  const lowest = v128.load32_splat(table, 28);
  const shift = f32x4.splat(maximum);
  let sum = f32x4.splat(0);
  while (from < to) {
    const value = exp2WithConstants(f32x4.sub(v128.load(from), shift), magic, c5, c4, c3, c2, c1, one, lowest);
    v128.store(from, value);
    sum = f32x4.add(sum, value);
    from += 16;
  }
  return sum;
}

/** Largest of the floats in [from, to), a multiple of 16 bytes apart; NaN is passed over; -infinity if there is none. */
// @ts-ignore: decorator
@inline
export function maximumOfRow(from: usize, to: usize): v128 {
  let largest = f32x4.splat(-Infinity);
  while (from < to) {
    largest = f32x4.pmax(largest, v128.load(from));
    from += 16;
  }
  return largest;
}
