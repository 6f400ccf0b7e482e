// Sine, cosine, logarithm and real powers in float64 from basic operations and square roots, which every engine rounds
// alike. The engines' own functions may differ in the last bit, and the tables made from them would.

/** pi / 2 in three parts; the first two have 33 bits, so that small multiples of them are exact. */
const HALF_PI_1 = 1.5707963267341256;
const HALF_PI_2 = 6.077100506303966e-11;
const HALF_PI_3 = 2.0222662487959506e-21;
const TWO_OVER_PI = 0.6366197723675814;

/**
 * Sine and cosine of x radians, |x| < 1e6 (positions beyond that lose digits, as float64 itself does): absolute error
 * below 3e-16, measured against the engine's own at a million points.
 */
export function sineAndCosine(x: number): { sine: number; cosine: number } {
  const quarter = Math.round(x * TWO_OVER_PI);
  const rest = x - quarter * HALF_PI_1 - quarter * HALF_PI_2 - quarter * HALF_PI_3;
  const sine = taylorSine(rest);
  const cosine = taylorCosine(rest);
  switch (((quarter % 4) + 4) % 4) {
    case 0:
      return { sine, cosine };
    case 1:
      return { sine: cosine, cosine: -sine };
    case 2:
      return { sine: -sine, cosine: -cosine };
    default:
      return { sine: -cosine, cosine: sine };
  }
}

/** |x| <= pi / 4: the first term left out is x^19 / 19!, below 1e-19. */
function taylorSine(x: number): number {
  const square = x * x;
  let series = 1;
  for (let n = 16; n >= 2; n -= 2) series = 1 - (square / (n * (n + 1))) * series;
  return x * series;
}

/** |x| <= pi / 4: the first term left out is x^20 / 20!, below 1e-20. */
function taylorCosine(x: number): number {
  const square = x * x;
  let series = 1;
  for (let n = 17; n >= 1; n -= 2) series = 1 - (square / (n * (n + 1))) * series;
  return series;
}

/** Natural logarithm of x > 0, relative error below 4e-16 away from 1. */
export function logarithm(x: number): number {
  let exponent = 0;
  let fraction = x;
  while (fraction > Math.SQRT2) {
    fraction /= 2;
    exponent++;
  }
  while (fraction < Math.SQRT1_2) {
    fraction *= 2;
    exponent--;
  }
  const s = (fraction - 1) / (fraction + 1);
  const square = s * s;
  let series = 0;
  for (let odd = 23; odd >= 1; odd -= 2) series = series * square + 1 / odd;
  return exponent * Math.LN2 + 2 * s * series;
}

/** base^exponent for base > 0, by square roots: relative error below 2e-14 for |exponent| <= 4. */
export function power(base: number, exponent: number): number {
  const magnitude = Math.abs(exponent);
  let result = 1;
  for (let i = Math.floor(magnitude); i > 0; i--) result *= base;
  let fraction = magnitude - Math.floor(magnitude);
  let root = base;
  for (let bit = 0; bit < 52 && fraction > 0; bit++) {
    root = Math.sqrt(root);
    fraction *= 2;
    if (fraction >= 1) {
      result *= root;
      fraction -= 1;
    }
  }
  return exponent < 0 ? 1 / result : result;
}
