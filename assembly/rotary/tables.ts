// Tables of rotary embedding: cosines and sines of positions times frequencies, computed in double precision as
// src/math/elementary.ts does, operation by operation, two at a time.

/** pi / 2 in three parts; the first two have 33 bits, so that small multiples of them are exact. */
const HALF_PI_1: f64 = 1.5707963267341256;
const HALF_PI_2: f64 = 6.077100506303966e-11;
const HALF_PI_3: f64 = 2.0222662487959506e-21;
const TWO_OVER_PI: f64 = 0.6366197723675814;

/**
 * Rows [rowFrom, rowTo) of both tables, `pairs` floats each.
 *
 * @param positions   i32, one per row; 0 where rows are positions
 * @param frequencies `pairs` doubles, then the factor of all entries
 */
export function rotaryTables(
  cos: usize, sin: usize, positions: usize, frequencies: usize, pairs: i32, scratch: usize, rowFrom: i32, rowTo: i32,
): void {
  const end = frequencies + (<usize>pairs << 3);
  const factor = v128.load64_splat(end);
  let at = <usize>rowFrom * (<usize>pairs << 2);
  for (let row = rowFrom; row < rowTo; row++) {
    const position = f64x2.splat(<f64>(positions ? load<i32>(positions + (<usize>row << 2)) : row));
    for (let frequency = frequencies; frequency < end; frequency += 16) {
      const x = f64x2.mul(position, v128.load(frequency));
      const quarter = rounded(f64x2.mul(x, f64x2.splat(TWO_OVER_PI)));
      let rest = f64x2.sub(x, f64x2.mul(quarter, f64x2.splat(HALF_PI_1)));
      rest = f64x2.sub(rest, f64x2.mul(quarter, f64x2.splat(HALF_PI_2)));
      rest = f64x2.sub(rest, f64x2.mul(quarter, f64x2.splat(HALF_PI_3)));
      const square = f64x2.mul(rest, rest);
      let cosine = f64x2.splat(1);
      let sine = cosine;
      for (let n = 16; n > 0; n -= 2) {
        cosine = term(square, (n + 1) * (n + 2), cosine);
        sine = term(square, n * (n + 1), sine);
      }
      cosine = term(square, 2, cosine);
      sine = f64x2.mul(rest, sine);
      // Of the four quarters of a turn the odd ones exchange the two; the sign of sines is that of the half.
      const turn = f64x2.mul(quarter, f64x2.splat(0.25));
      const half = f64x2.mul(f64x2.sub(turn, f64x2.floor(turn)), f64x2.splat(2));
      const odd = f64x2.ne(half, f64x2.floor(half));
      const sineSign = v128.and(f64x2.ge(half, f64x2.splat(1)), f64x2.splat(-0.0));
      const cosineSign = v128.xor(sineSign, v128.and(odd, f64x2.splat(-0.0)));
      const sines = f64x2.mul(v128.xor(v128.bitselect(cosine, sine, odd), sineSign), factor);
      const cosines = f64x2.mul(v128.xor(v128.bitselect(sine, cosine, odd), cosineSign), factor);
      if (frequency + 8 < end) {
        v128.store64_lane(cos + at, f32x4.demote_f64x2_zero(cosines), 0);
        v128.store64_lane(sin + at, f32x4.demote_f64x2_zero(sines), 0);
        at += 8;
      } else {
        v128.store32_lane(cos + at, f32x4.demote_f64x2_zero(cosines), 0);
        v128.store32_lane(sin + at, f32x4.demote_f64x2_zero(sines), 0);
        at += 4;
      }
    }
  }
}

/** The nearest integers; halves go up. */
// @ts-ignore: decorator
@inline
function rounded(x: v128): v128 {
  const above = f64x2.ceil(x);
  const far = f64x2.gt(f64x2.sub(above, f64x2.splat(0.5)), x);
  return f64x2.sub(above, v128.and(far, f64x2.splat(1)));
}

/** 1 - (square / divisor) * series */
// @ts-ignore: decorator
@inline
function term(square: v128, divisor: i32, series: v128): v128 {
  return f64x2.sub(f64x2.splat(1), f64x2.mul(f64x2.div(square, f64x2.splat(<f64>divisor)), series));
}
