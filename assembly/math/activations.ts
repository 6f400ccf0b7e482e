// Activations of feed-forward layers, four at a time, over rows in place.
//
//   gelu        x P(X <= x), X standard normal          silu        x s(x), s(x) = 1 / (1 + e^-x)
//   geluTanh    x s(1.5957691 (x + 0.044715 x^3))       quickGelu   x s(1.702 x)
//
// All four are max(x, 0) - a / Q(a), a = |x|, where Q(a) grows from 2 to infinity: so a negative x keeps its digits, large x gives
// x, -infinity gives 0, NaN stays, and there is no branch.
//
// Range    all floats.
// Error    measured against float64 at 4 million points, largest of both builds:
//
//            |result| > 1e-3 and         x > -1    x > -2    everywhere    smaller results, absolute
//            gelu, geluTanh              5 ulp     11 ulp    16 ulp        3e-8
//            silu, quickGelu             2         2         2             2e-10
//            tanh                        1.4       1.4       1.4           1e-10
//            softcap                     2.4       2.4       2.4           1e-10
//
// Method   gelu: Q(a) = 2 (1 + a q(a))^8, q of degree 9: the eighth root of Q is so smooth that a polynomial meets it. The power
//          multiplies its rounding errors, but only far out, where results are small.
//          silu: Q(a) = 1 + 2^n p(r), a = n ln 2 + r, with ln 2 in two parts, so that r keeps its digits. quickGelu is
//          the same, in units of 1 / 1.702.
//          Coefficients are minimax fits of our own, rounded one by one, the rest fitted anew each time.
//
// Slopes of all four are s + x s', where s = P(X <= x) or the logistic function is 1 / Q(a), or 1 minus that:
//
//   gelu        x e^(-x^2 / 2) / sqrt(2 pi)             silu        x s (1 - s)
//   geluTanh    x s (1 - s) 1.5957691 (1 + 0.134145 x^2)    quickGelu   1.702 x s (1 - s)
//
// tanh and softcap have 4 s (1 - s) of 2 x, relu has 1 above 0 and 0 elsewhere. Infinities give the limits, NaN stays. Slopes are at
// most 1.13; largest absolute error, measured at 400,000 points: 4e-7 in both builds, gelu 2e-7, silu and quickGelu 1.5e-7.
//
// Constants are made from numbers that the compiler does not know (`constant`), because V8 makes a constant vector anew at each use
// in a loop: that takes twice as long.

import { tanhOf } from './tanh';
import { multiplyAdd } from './vector';

/** Codes by which callers name them. 0 is none. */
export const GELU: i32 = 1;
export const GELU_TANH: i32 = 2;
export const QUICK_GELU: i32 = 3;
export const SILU: i32 = 4;
export const RELU: i32 = 5;
export const TANH: i32 = 6;
/** parameter * tanh(x / parameter). */
export const SOFTCAP: i32 = 7;

/** 1.5 * 2^23 + 127: a number added to it is rounded to an integer, and stands there as the exponent of its power of two. */
const MAGIC: f32 = 12583039.0;

/** `bytes` of floats in place, a multiple of 16. `parameter` is that of SOFTCAP. */
export function activateRow(row: usize, bytes: usize, activation: i32, parameter: f32): void {
  const end = row + bytes;
  if (activation == GELU || activation == GELU_TANH) geluRow<Values>(row, end, activation == GELU);
  else if (activation == SILU || activation == QUICK_GELU) sigmoidRow<Values>(row, end, activation == SILU);
  else if (activation == RELU) reluRow<Values>(row, end);
  else tanhRow<Values>(row, end, activation == SOFTCAP ? parameter : 1);
}

/** A number in all lanes. `nil` is 0, which the compiler does not know. */
// @ts-ignore: decorator
@inline
function constant(number: f32, nil: i32): v128 {
  return i32x4.splat(reinterpret<i32>(number) + nil);
}

/** One of two numbers in all lanes. */
// @ts-ignore: decorator
@inline
function either(isFirst: bool, first: f32, second: f32): v128 {
  return i32x4.splat(select<i32>(reinterpret<i32>(first), reinterpret<i32>(second), isFirst));
}

/** What rows become: values of the function, or its slopes. Conditions on the size of these classes are static. */
class Values {}
class Slopes { slope: u8; }

/** The slopes of an activation at `bytes` of floats, in their place: see `activateRow`. */
export function differentiateRow(row: usize, bytes: usize, activation: i32, parameter: f32): void {
  const end = row + bytes;
  if (activation == GELU || activation == GELU_TANH) geluRow<Slopes>(row, end, activation == GELU);
  else if (activation == SILU || activation == QUICK_GELU) sigmoidRow<Slopes>(row, end, activation == SILU);
  else if (activation == RELU) reluRow<Slopes>(row, end);
  else tanhRow<Slopes>(row, end, activation == SOFTCAP ? parameter : 1);
}

/** s of x, of which s(-|x|) is given, is that or 1 minus it. */
// @ts-ignore: decorator
@inline
function shareOf(x: v128, lower: v128, one: v128): v128 {
  return v128.bitselect(lower, f32x4.sub(one, lower), f32x4.lt(x, f32x4.splat(0)));
}

/** x where |x| is a. */
// @ts-ignore: decorator
@inline
function signed(a: v128, x: v128): v128 {
  return v128.or(a, v128.and(x, f32x4.splat(-0.0)));
}

function geluRow<Wanted>(row: usize, end: usize, byError: bool): void {
  const c1 = either(byError, 0.09973550588, 0.09973519295);
  const c2 = either(byError, 0.04476325214, 0.04476651922);
  const c3 = either(byError, 0.008671062998, 0.008578473702);
  const c4 = either(byError, 0.0008600594592, 0.0007967234123);
  const c5 = either(byError, 0.0002088463807, 0.0002096882672);
  const c6 = either(byError, 5.684845382e-5, 4.545769116e-5);
  const c7 = either(byError, -1.047842125e-5, 1.58351686e-5);
  const c8 = either(byError, 4.084668035e-6, 3.317717528e-6);
  const c9 = either(byError, -5.350699439e-7, -1.613000904e-6);
  const c10 = either(byError, 5.271609638e-8, 2.678539772e-7);
  const nil = <i32>(end - row) & 15;
  const magnitude = i32x4.splat(0x7fffffff + nil);
  const one = constant(1, nil);
  const two = constant(2, nil);
  // The power is infinite there, so that a / Q is 0.
  const limit = constant(1e4, nil);
  for (; row < end; row += 16) {
    const x = v128.load(row);
    const a = f32x4.pmin(v128.and(x, magnitude), limit);
    const square = f32x4.mul(a, a);
    const fourth = f32x4.mul(square, square);
    let q = multiplyAdd(multiplyAdd(c8, a, c7), square, multiplyAdd(c6, a, c5));
    q = multiplyAdd(multiplyAdd(c10, a, c9), fourth, q);
    q = multiplyAdd(q, fourth, multiplyAdd(multiplyAdd(c4, a, c3), square, multiplyAdd(c2, a, c1)));
    q = f32x4.mul(q, a);
    // (1 + q)^2 - 1 = q (q + 2), which keeps the digits of a small q.
    q = f32x4.mul(q, f32x4.add(q, two));
    q = f32x4.mul(q, f32x4.add(q, two));
    q = f32x4.add(q, one);
    q = f32x4.mul(q, f32x4.add(q, q));
    if (offsetof<Wanted>() == 0) {
      v128.store(row, f32x4.sub(f32x4.pmax(x, f32x4.splat(0)), f32x4.div(a, q)));
    } else {
      const lower = f32x4.div(one, q);
      const bounded = signed(a, x);
      v128.store(row, f32x4.add(shareOf(x, lower, one), f32x4.mul(bounded, geluSlope(a, square, lower, byError, nil))));
    }
  }
}

/** s' at |x| = a: the normal density, or that of the logistic function times the slope of its argument. */
// @ts-ignore: decorator
@inline
function geluSlope(a: v128, square: v128, lower: v128, byError: bool, nil: i32): v128 {
  const one = constant(1, nil);
  if (!byError) {
    const inner = multiplyAdd(square, constant(0.21406529, nil), constant(1.5957691, nil));
    return f32x4.mul(f32x4.mul(lower, f32x4.sub(one, lower)), inner);
  }
  const power = exponential(
    f32x4.pmin(f32x4.mul(square, constant(0.5, nil)), constant(88.72284, nil)),
    constant(1.44269504, nil),
    constant(MAGIC, nil),
    constant(-0.693359375, nil),
    constant(2.12194440e-4, nil),
    constant(0.00138207758, nil),
    constant(0.00836924929, nil),
    constant(0.0416682810, nil),
    constant(0.166665167, nil),
    constant(0.49999994, nil),
    one,
    one,
  );
  return f32x4.div(constant(0.39894228, nil), power);
}

function sigmoidRow<Wanted>(row: usize, end: usize, isSilu: bool): void {
  // Powers of the unit, 1 or 1.702, are in the coefficients.
  const steps = either(isSilu, 1.44269504, 2.45546696);
  const high = either(isSilu, -0.693359375, -0.4072265625);
  const low = either(isSilu, 2.12194440e-4, -2.79501674e-5);
  const c1 = either(isSilu, 1, 1.702);
  const c2 = either(isSilu, 0.49999994, 0.49999994 * 1.702 ** 2);
  const c3 = either(isSilu, 0.166665167, 0.166665167 * 1.702 ** 3);
  const c4 = either(isSilu, 0.0416682810, 0.0416682810 * 1.702 ** 4);
  const c5 = either(isSilu, 0.00836924929, 0.00836924929 * 1.702 ** 5);
  const c6 = either(isSilu, 0.00138207758, 0.00138207758 * 1.702 ** 6);
  // 2^128, which is infinite, so that a / Q is 0.
  const limit = either(isSilu, 88.72284, 52.12858);
  const nil = <i32>(end - row) & 15;
  const magnitude = i32x4.splat(0x7fffffff + nil);
  const one = constant(1, nil);
  const magic = constant(MAGIC, nil);
  for (; row < end; row += 16) {
    const x = v128.load(row);
    const a = f32x4.pmin(v128.and(x, magnitude), limit);
    const power = exponential(a, steps, magic, high, low, c6, c5, c4, c3, c2, c1, one);
    if (offsetof<Wanted>() == 0) {
      v128.store(row, f32x4.sub(f32x4.pmax(x, f32x4.splat(0)), f32x4.div(a, f32x4.add(one, power))));
    } else {
      const lower = f32x4.div(one, f32x4.add(one, power));
      const slope = f32x4.mul(f32x4.mul(lower, f32x4.sub(one, lower)), c1);
      v128.store(row, f32x4.add(shareOf(x, lower, one), f32x4.mul(signed(a, x), slope)));
    }
  }
}

/** e^a in units of which `steps` double it; a is at least 0. */
// @ts-ignore: decorator
@inline
function exponential(
  a: v128, steps: v128, magic: v128, high: v128, low: v128, c6: v128, c5: v128, c4: v128, c3: v128, c2: v128, c1: v128,
  one: v128,
): v128 {
  const shifted = f32x4.add(f32x4.mul(a, steps), magic);
  const n = f32x4.sub(shifted, magic);
  // The product with `high` is exact: 10 bits by 8.
  const r = multiplyAdd(n, low, f32x4.add(a, f32x4.mul(n, high)));
  let p = multiplyAdd(c6, r, c5);
  p = multiplyAdd(p, r, c4);
  p = multiplyAdd(p, r, c3);
  p = multiplyAdd(p, r, c2);
  p = multiplyAdd(p, r, c1);
  p = multiplyAdd(p, r, one);
  return f32x4.mul(p, i32x4.shl(shifted, 23));
}

function reluRow<Wanted>(row: usize, end: usize): void {
  for (; row < end; row += 16) {
    const positive = f32x4.pmax(v128.load(row), f32x4.splat(0));
    if (offsetof<Wanted>() == 0) v128.store(row, positive);
    // As a NaN is not equal to 0, and nothing else: it stays.
    else v128.store(row, v128.bitselect(f32x4.splat(1), positive, f32x4.gt(positive, f32x4.splat(0))));
  }
}

/** cap * tanh(x / cap). */
function tanhRow<Wanted>(row: usize, end: usize, cap: f32): void {
  const caps = f32x4.splat(cap);
  const nil = <i32>(end - row) & 15;
  const steps = constant(1.44269504, nil);
  const high = constant(-0.693359375, nil);
  const low = constant(2.12194440e-4, nil);
  const c2 = constant(0.49999994, nil);
  const c3 = constant(0.166665167, nil);
  const c4 = constant(0.0416682810, nil);
  const c5 = constant(0.00836924929, nil);
  const c6 = constant(0.00138207758, nil);
  const one = constant(1, nil);
  const magic = constant(MAGIC, nil);
  for (; row < end; row += 16) {
    const x = f32x4.div(v128.load(row), caps);
    // min as (b < a ? b : a): a NaN stays NaN. Beyond 10 the result is 1, slopes end where the power is infinite.
    const limit = offsetof<Wanted>() == 0 ? f32x4.splat(20) : constant(88.72284, nil);
    const double = f32x4.pmin(f32x4.add(f32x4.abs(x), f32x4.abs(x)), limit);
    const power = exponential(double, steps, magic, high, low, c6, c5, c4, c3, c2, one, one);
    if (offsetof<Wanted>() == 0) {
      v128.store(row, f32x4.mul(caps, tanhOf(x, power)));
    } else {
      const inverse = f32x4.div(one, f32x4.add(one, power));
      v128.store(row, f32x4.mul(f32x4.mul(inverse, f32x4.sub(one, inverse)), constant(4, nil)));
    }
  }
}
