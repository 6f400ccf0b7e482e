// tanh over vectors, for the softcap of scores.
//
// Range   all floats; beyond |x| = 9.011 the result is exactly 1 or -1. NaN gives NaN.
// Error   at most 1.96 ulp, measured against float64 at 4 million points of [-12, 12].
// Method  |x| < 0.625: x + x^3 * q(x^2), so that small arguments keep their relative accuracy;
//         else 1 - 2 / (2^(2 |x| log2 e) + 1). Both are computed and one is selected.
//         q is the classic degree 4 fit of the Cephes library (tanhf).

import { exp2 } from './exp2';
import { multiplyAdd } from './vector';

/** tanh of four lanes; `table` holds the constants of exp2. */
// @ts-ignore: decorator
@inline
export function tanh(x: v128, table: usize): v128 {
  // min as (b < a ? b : a): a NaN stays NaN.
  const bounded = f32x4.pmin(f32x4.abs(x), f32x4.splat(10));
  return tanhOf(x, exp2(f32x4.mul(bounded, f32x4.splat(2.8853900817779268)), table));
}

/** tanh of four lanes, of which e^(2 |x|) is given; x beyond 10 may be taken for 10 there. */
// @ts-ignore: decorator
@inline
export function tanhOf(x: v128, power: v128): v128 {
  const square = f32x4.mul(x, x);
  let q = f32x4.splat(-5.70498872745e-3);
  q = multiplyAdd(q, square, f32x4.splat(2.06390887954e-2));
  q = multiplyAdd(q, square, f32x4.splat(-5.37397155531e-2));
  q = multiplyAdd(q, square, f32x4.splat(1.33314422036e-1));
  q = multiplyAdd(q, square, f32x4.splat(-3.33332819422e-1));
  const small = multiplyAdd(f32x4.mul(q, square), x, x);
  const one = f32x4.splat(1);
  const large = f32x4.sub(one, f32x4.div(f32x4.splat(2), f32x4.add(power, one)));
  const signed = v128.or(large, v128.and(x, f32x4.splat(-0.0)));
  return v128.bitselect(small, signed, f32x4.lt(f32x4.abs(x), f32x4.splat(0.625)));
}
