// exp2 over vectors: the only transcendental on the hot path. exp(x) is exp2(x * log2(e)), with log2(e) folded into
// the scale of the scores, because multiplying later would cost accuracy for large |x|. `expRow` does not lose it.
//
//   x = n + f,  n = round(x),  f in [-1/2, 1/2]         2^x = 2^n * p(f)
//
// Range      -99.5 < x <= 127, of exp -68.9 < x <= 88. Below (and for -infinity) the result is +0: products with smaller
//            numbers would be denormal and nearly twice as slow. NaN gives NaN.
// Error      exp2 is within 1.25 ulp of the exact result and exp within 1.5 (root mean square 0.33 and 0.35), in both builds
//            over the whole range, measured against float64 at 4 million points; exp2(0) and exp(0) are exactly 1.
// Method     p is a degree 6 polynomial with p(0) = 1, within 2e-9 of 2^f. Adding MAGIC rounds x to an integer in the low bits
//            of the float; because MAGIC holds an exponent bias too, shifting those bits left by 23 gives a power of two.
//            The bias is 100 instead of 127, so that the clamp at -100 gives the bits of 0 without another instruction;
//            the polynomial is larger by 2^27 to make up for it, which rounds nothing.
//            exp: f = (x - n ln 2) log2(e), with ln 2 in two parts, of which n times the first is exact.
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
const LN_2: f32 = 0.6931471805599453;
/** ln 2 in ten bits, and the rest. */
const LN_2_HIGH: f32 = 0.693359375;
const LN_2_LOW: f32 = -2.12194440e-4;

/** Writes the constants of exp2 to `table`, 64 bytes. */
export function writeConstants(table: usize): void {
  store<f32>(table, MAGIC);
  store<f32>(table, <f32>1.5353362e-4 * SCALE, 4);
  store<f32>(table, <f32>1.3398874e-3 * SCALE, 8);
  store<f32>(table, <f32>9.6184373e-3 * SCALE, 12);
  store<f32>(table, <f32>5.5503325e-2 * SCALE, 16);
  store<f32>(table, <f32>0.24022648 * SCALE, 20);
  store<f32>(table, <f32>0.69314720 * SCALE, 24);
  store<f32>(table, SCALE, 28);
  store<f32>(table, LOWEST, 32);
  // Of exp alone.
  store<f32>(table, LOWEST * LN_2, 36);
  store<f32>(table, LOG2_E, 40);
  store<f32>(table, LN_2_HIGH, 44);
  store<f32>(table, LN_2_LOW, 48);
}

// @ts-ignore: decorator
@inline
function exp2WithConstants(
  x: v128, magic: v128, c6: v128, c5: v128, c4: v128, c3: v128, c2: v128, c1: v128, one: v128, lowest: v128,
): v128 {
  // As (x < lowest ? lowest : x): a NaN stays.
  const bounded = f32x4.pmax(x, lowest);
  const shifted = f32x4.add(bounded, magic);
  return scaledPolynomial(f32x4.sub(bounded, f32x4.sub(shifted, magic)), shifted, c6, c5, c4, c3, c2, c1, one);
}

/** 2^(n + f), of f and n + MAGIC. */
// @ts-ignore: decorator
@inline
function scaledPolynomial(
  f: v128, shifted: v128, c6: v128, c5: v128, c4: v128, c3: v128, c2: v128, c1: v128, one: v128,
): v128 {
  let p = multiplyAdd(c6, f, c5);
  p = multiplyAdd(p, f, c4);
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
    v128.load32_splat(table, 32),
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
  const c6 = v128.load32_splat(table, 4);
  const c5 = v128.load32_splat(table, 8);
  const c4 = v128.load32_splat(table, 12);
  const c3 = v128.load32_splat(table, 16);
  const c2 = v128.load32_splat(table, 20);
  const c1 = v128.load32_splat(table, 24);
  const one = v128.load32_splat(table, 28);
  const lowest = v128.load32_splat(table, 32);
  for (const last = maxima + (<usize>rows << 2); maxima < last; maxima += 4, sums += 4, from += stride, to += stride) {
    const shift = v128.load32_splat(maxima);
    let sum = f32x4.splat(0);
    let at = from;
    while (at < to) {
      const value = exp2WithConstants(f32x4.sub(v128.load(at), shift), magic, c6, c5, c4, c3, c2, c1, one, lowest);
      v128.store(at, value);
      sum = f32x4.add(sum, value);
      const next = exp2WithConstants(f32x4.sub(v128.load(at, 16), shift), magic, c6, c5, c4, c3, c2, c1, one, lowest);
      v128.store(at, next, 16);
      sum = f32x4.add(sum, next);
      at += 32;
    }
    store<f32>(sums, horizontalSum(sum));
  }
}

/** row[i] = e^(row[i] - maximum) in place, and the sum, in the order of `exp2Row`. Exported for the same reason as `exp2Rows`. */
export function expRow(from: usize, to: usize, maximum: f32, table: usize): f32 {
  const magic = v128.load32_splat(table);
  const c6 = v128.load32_splat(table, 4);
  const c5 = v128.load32_splat(table, 8);
  const c4 = v128.load32_splat(table, 12);
  const c3 = v128.load32_splat(table, 16);
  const c2 = v128.load32_splat(table, 20);
  const c1 = v128.load32_splat(table, 24);
  const one = v128.load32_splat(table, 28);
  const shift = f32x4.splat(maximum);
  let sum = f32x4.splat(0);
  for (; from < to; from += 16) {
    // These constants come from memory at each step: for all of them there are not registers enough.
    const x = f32x4.pmax(f32x4.sub(v128.load(from), shift), v128.load32_splat(table, 36));
    const log2e = v128.load32_splat(table, 40);
    const shifted = f32x4.add(f32x4.mul(x, log2e), magic);
    const n = f32x4.sub(shifted, magic);
    const high = f32x4.sub(x, f32x4.mul(n, v128.load32_splat(table, 44)));
    const rest = f32x4.sub(high, f32x4.mul(n, v128.load32_splat(table, 48)));
    const value = scaledPolynomial(f32x4.mul(rest, log2e), shifted, c6, c5, c4, c3, c2, c1, one);
    v128.store(from, value);
    sum = f32x4.add(sum, value);
  }
  return horizontalSum(sum);
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
