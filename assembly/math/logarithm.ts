// Natural logarithm of one float in float64, from basic operations only: engines' own logarithms differ in the last bit.
//
// Range  positive normal numbers. Error at most 2e-15 relative before the caller rounds to f32.
// Method x = 2^e * f, f in [sqrt(1/2), sqrt(2)); ln f = 2 atanh(s), s = (f - 1) / (f + 1), |s| <= 0.1716, odd series to s^17.

export const LN_2: f64 = 0.6931471805599453;

export function naturalLogarithm(x: f64): f64 {
  const bits = reinterpret<u64>(x);
  let exponent = <i32>(bits >> 52) - 1023;
  let fraction = reinterpret<f64>((bits & 0x000fffffffffffff) | 0x3ff0000000000000);
  if (fraction > 1.4142135623730951) {
    fraction *= 0.5;
    exponent++;
  }
  const s = (fraction - 1) / (fraction + 1);
  const square = s * s;
  let series: f64 = 1.0 / 17.0;
  for (let odd = 15; odd >= 1; odd -= 2) series = series * square + 1.0 / <f64>odd;
  return <f64>exponent * LN_2 + 2 * s * series;
}
