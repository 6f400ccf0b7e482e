// Activations of feed-forward layers, four at a time, over rows in place.

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

/** `bytes` of floats in place, a multiple of 16. `parameter` is that of SOFTCAP. */
export function activateRow(row: usize, bytes: usize, activation: i32, parameter: f32): void {
  const end = row + bytes;
  switch (activation) {
    case GELU:
      for (; row < end; row += 16) v128.store(row, geluByError(v128.load(row)));
      break;
    case GELU_TANH:
      for (; row < end; row += 16) v128.store(row, geluByTanh(v128.load(row)));
      break;
    case QUICK_GELU:
      for (; row < end; row += 16) {
        const x = v128.load(row);
        v128.store(row, gated(x, f32x4.mul(x, f32x4.splat(1.702))));
      }
      break;
    case SILU:
      for (; row < end; row += 16) {
        const x = v128.load(row);
        v128.store(row, gated(x, x));
      }
      break;
    case RELU:
      for (; row < end; row += 16) v128.store(row, f32x4.pmax(v128.load(row), f32x4.splat(0)));
      break;
    case TANH:
      for (; row < end; row += 16) v128.store(row, tanh(v128.load(row)));
      break;
    case SOFTCAP: {
      const cap = f32x4.splat(parameter);
      for (; row < end; row += 16) v128.store(row, f32x4.mul(cap, tanh(f32x4.div(v128.load(row), cap))));
      break;
    }
  }
}

/** 1.5 * 2^23 + 127: what is added to it is rounded, and the exponent of a power of two then. */
const MAGIC: f32 = 12583039.0;

/** e^x for 0 <= x, infinite from 88.4 on; NaN stays. */
// @ts-ignore: decorator
@inline
function exponential(x: v128): v128 {
  const bounded = f32x4.pmin(x, f32x4.splat(88.7));
  const shifted = f32x4.add(f32x4.mul(bounded, f32x4.splat(1.44269504)), f32x4.splat(MAGIC));
  const n = f32x4.sub(shifted, f32x4.splat(MAGIC));
  // ln 2 in two parts, the first of which has few digits: the product is exact.
  let r = f32x4.sub(bounded, f32x4.mul(n, f32x4.splat(0.693359375)));
  r = f32x4.sub(r, f32x4.mul(n, f32x4.splat(-2.12194440e-4)));
  let p = f32x4.splat(1.0 / 720.0);
  p = multiplyAdd(p, r, f32x4.splat(1.0 / 120.0));
  p = multiplyAdd(p, r, f32x4.splat(1.0 / 24.0));
  p = multiplyAdd(p, r, f32x4.splat(1.0 / 6.0));
  p = multiplyAdd(p, r, f32x4.splat(0.5));
  p = multiplyAdd(p, r, f32x4.splat(1));
  p = multiplyAdd(p, r, f32x4.splat(1));
  return f32x4.mul(p, i32x4.shl(shifted, 23));
}

/** x / (1 + e^-g), where g has the sign of x. */
// @ts-ignore: decorator
@inline
function gated(x: v128, g: v128): v128 {
  const rest = f32x4.div(f32x4.abs(x), f32x4.add(f32x4.splat(1), exponential(f32x4.abs(g))));
  return f32x4.sub(f32x4.pmax(x, f32x4.splat(0)), v128.bitselect(rest, f32x4.splat(0), f32x4.ne(f32x4.abs(x), f32x4.splat(Infinity))));
}

// @ts-ignore: decorator
@inline
function geluByTanh(x: v128): v128 {
  const square = f32x4.mul(x, x);
  const factor = multiplyAdd(square, f32x4.splat(0.071354816), f32x4.splat(1.59576912));
  return gated(x, f32x4.mul(x, factor));
}

/** max(x, 0) - |x| (1 - erf(|x| / sqrt 2)) / 2. */
// @ts-ignore: decorator
@inline
function geluByError(x: v128): v128 {
  const a = f32x4.pmin(f32x4.abs(x), f32x4.splat(12));
  const t = f32x4.div(f32x4.splat(1), multiplyAdd(a, f32x4.splat(0.2316419), f32x4.splat(1)));
  let p = f32x4.splat(0.53070271);
  p = multiplyAdd(p, t, f32x4.splat(-0.72657601));
  p = multiplyAdd(p, t, f32x4.splat(0.71070688));
  p = multiplyAdd(p, t, f32x4.splat(-0.142248368));
  p = multiplyAdd(p, t, f32x4.splat(0.1274148));
  const power = exponential(f32x4.mul(f32x4.mul(a, a), f32x4.splat(0.5)));
  return f32x4.sub(f32x4.pmax(x, f32x4.splat(0)), f32x4.div(f32x4.mul(f32x4.mul(a, p), t), power));
}

// @ts-ignore: decorator
@inline
function tanh(x: v128): v128 {
  const square = f32x4.mul(x, x);
  let q = f32x4.splat(-5.70498872745e-3);
  q = multiplyAdd(q, square, f32x4.splat(2.06390887954e-2));
  q = multiplyAdd(q, square, f32x4.splat(-5.37397155531e-2));
  q = multiplyAdd(q, square, f32x4.splat(1.33314422036e-1));
  q = multiplyAdd(q, square, f32x4.splat(-3.33332819422e-1));
  const small = multiplyAdd(f32x4.mul(q, square), x, x);
  const one = f32x4.splat(1);
  const power = exponential(f32x4.mul(f32x4.abs(x), f32x4.splat(2)));
  const large = f32x4.sub(one, f32x4.div(f32x4.splat(2), f32x4.add(power, one)));
  return v128.bitselect(small, v128.or(large, v128.and(x, f32x4.splat(-0.0))), f32x4.lt(f32x4.abs(x), f32x4.splat(0.625)));
}
