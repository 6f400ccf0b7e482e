// Products of rows, summed in short chains of single precision, which are added in double precision.

import { horizontalSum, multiplyAdd } from './vector';

/** Bytes whose products are summed in single precision: 16 additions in each lane of two chains. */
const CHAIN_BYTES: usize = 2 * 16 * 16;

/** The sum of x * y over `bytes` of floats. */
export function dot(x: usize, y: usize, bytes: usize): f64 {
  const end = x + bytes;
  const whole = x + (bytes & ~15);
  let sum: f64 = 0;
  while (x < whole) {
    let even = f32x4.splat(0);
    let odd = even;
    const last = min(whole, x + CHAIN_BYTES);
    for (; x + 32 <= last; x += 32, y += 32) {
      even = multiplyAdd(v128.load(x), v128.load(y), even);
      odd = multiplyAdd(v128.load(x, 16), v128.load(y, 16), odd);
    }
    for (; x < last; x += 16, y += 16) even = multiplyAdd(v128.load(x), v128.load(y), even);
    sum += <f64>horizontalSum(f32x4.add(even, odd));
  }
  for (; x < end; x += 4, y += 4) sum += <f64>load<f32>(x) * <f64>load<f32>(y);
  return sum;
}

/** y = factor * x, or that added to y, over `bytes` of floats. */
export function scaleInto(x: usize, factor: f32, y: usize, bytes: usize, adding: i32): void {
  const factors = f32x4.splat(factor);
  const kept = i32x4.splat(-adding);
  const end = y + bytes;
  for (const whole = y + (bytes & ~15); y < whole; x += 16, y += 16) {
    v128.store(y, multiplyAdd(v128.load(x), factors, v128.and(v128.load(y), kept)));
  }
  for (; y < end; x += 4, y += 4) {
    v128.store32_lane(y, multiplyAdd(v128.load32_splat(x), factors, v128.and(v128.load32_splat(y), kept)), 0);
  }
}
