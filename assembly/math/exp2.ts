// exp2 over vectors: the only transcendental on the hot path. exp(x) is exp2(x * log2(e)), with log2(e) folded into
// the scale of the scores, because multiplying later would cost accuracy for large |x|.
//
//   x = n + f,  n = round(x),  f in [-1/2, 1/2]         2^x = 2^n * p(f)
//
// Range      -99.5 < x <= 127. Below (and for -infinity) the result is +0: products with smaller numbers would be
//            denormal and nearly twice as slow. NaN gives NaN.
// Error      below 2.3 ulp of the exact result in both builds (1.9e-7 relative) over the whole range,
//            measured against float64 at 4 million points; exp2(0) is exactly 1. A polynomial of degree 6 errs by 1.25 ulp
//            and makes attention 1 % more exact, for the errors of scores are larger, and 1.3 % slower.
// Method     p is a degree 5 polynomial with p(0) = 1. Adding MAGIC rounds x to an integer in the low bits of the float;
//            because MAGIC holds an exponent bias too, shifting those bits left by 23 gives a power of two.
//            The bias is 100 instead of 127, so that the clamp at -100 gives the bits of 0 without another instruction;
//            the polynomial is larger by 2^27 to make up for it, which rounds nothing.
//
// The constants are loaded from memory (`writeConstants` puts them into scratch), because V8 makes a constant vector
// anew at each use in a loop.

import { horizontalSum, multiplyAdd } from './vector';

/** Bytes of the table that `writeConstants` fills, and of a word behind it for `exp2Row`. */
export const CONSTANTS_BYTES: usize = 64;
const STATE: usize = 60;

/** 1.5 * 2^23 + 100. */
const MAGIC: f32 = 12583012.0;
/** Arguments are not taken below this. */
const LOWEST: f32 = -100.0;
/** 2^27, on every coefficient. */
const SCALE: f32 = 134217728.0;
export const LOG2_E: f32 = 1.4426950408889634;

/** Writes the constants of exp2 to `table`, 64 bytes. */
export function writeConstants(table: usize): void {
  store<f32>(table, MAGIC);
  store<f32>(table, <f32>0.001326474222 * SCALE, 4);
  store<f32>(table, <f32>0.009671517975 * SCALE, 8);
  store<f32>(table, <f32>0.05550733757 * SCALE, 12);
  store<f32>(table, <f32>0.24022242 * SCALE, 16);
  store<f32>(table, <f32>0.6931469776 * SCALE, 20);
  store<f32>(table, SCALE, 24);
  store<f32>(table, LOWEST, 28);
}

/** 2^x of four lanes, for loops that hold the constants. */
// @ts-ignore: decorator
@inline
export function exp2WithConstants(
  x: v128, magic: v128, c5: v128, c4: v128, c3: v128, c2: v128, c1: v128, one: v128, lowest: v128,
): v128 {
  // As (x < lowest ? lowest : x): a NaN stays.
  const bounded = f32x4.pmax(x, lowest);
  const shifted = f32x4.add(bounded, magic);
  const f = f32x4.sub(bounded, f32x4.sub(shifted, magic));
  let p = multiplyAdd(c5, f, c4);
  p = multiplyAdd(p, f, c3);
  p = multiplyAdd(p, f, c2);
  p = multiplyAdd(p, f, c1);
  p = multiplyAdd(p, f, one);
  // A product, not an integer addition to the exponent: so a NaN of any payload stays NaN.
  return f32x4.mul(p, i32x4.shl(shifted, 23));
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
 * row[i] = 2^(row[i] - maximum) in place, and the sum of the results in the one order of this project. `from` and `to`
 * are addresses, a multiple of 32 bytes apart.
 */
export function exp2Row(from: usize, to: usize, maximum: f32, table: usize): f32 {
  const state = table + STATE;
  store<f32>(state, maximum);
  exp2Rows(from, to, 0, 1, state, state, table);
  return load<f32>(state);
}

/**
 * `exp2Row` of `rows` rows, `stride` bytes apart: maxima[r] is taken away, sums[r] becomes the sum. The constants are loaded
 * once, and a row's first steps run beside the last ones of the row before. Exported by the module, which keeps it a function
 * of its own: inlined among other values its constants would not all stay in registers.
 */
export function exp2Rows(from: usize, to: usize, stride: usize, rows: i32, maxima: usize, sums: usize, table: usize): void {
  const magic = v128.load32_splat(table);
  const c5 = v128.load32_splat(table, 4);
  const c4 = v128.load32_splat(table, 8);
  const c3 = v128.load32_splat(table, 12);
  const c2 = v128.load32_splat(table, 16);
  const c1 = v128.load32_splat(table, 20);
  const one = v128.load32_splat(table, 24);
  const lowest = v128.load32_splat(table, 28);
  for (const last = maxima + (<usize>rows << 2); maxima < last; maxima += 4, sums += 4, from += stride, to += stride) {
    const shift = v128.load32_splat(maxima);
    let sum = f32x4.splat(0);
    let at = from;
    while (at < to) {
      const value = exp2WithConstants(f32x4.sub(v128.load(at), shift), magic, c5, c4, c3, c2, c1, one, lowest);
      v128.store(at, value);
      sum = f32x4.add(sum, value);
      const next = exp2WithConstants(f32x4.sub(v128.load(at, 16), shift), magic, c5, c4, c3, c2, c1, one, lowest);
      v128.store(at, next, 16);
      sum = f32x4.add(sum, next);
      at += 32;
    }
    store<f32>(sums, horizontalSum(sum));
  }
}

/**
 * Largest of the floats in [from, to), a multiple of 32 bytes apart, as four partial maxima; NaN is passed over;
 * -infinity if there is none. Two chains, because the latency of one would be half of a softmax's first pass.
 */
// @ts-ignore: decorator
@inline
export function maximumOfRow(from: usize, to: usize): v128 {
  let even = f32x4.splat(-Infinity);
  let odd = even;
  while (from < to) {
    even = f32x4.pmax(even, v128.load(from));
    odd = f32x4.pmax(odd, v128.load(from, 16));
    from += 32;
  }
  return f32x4.pmax(even, odd);
}
