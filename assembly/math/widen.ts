// Elements of checkpoints: floats, half floats and the upper halves of floats (bfloat16), and what they are as floats.
// Widening is exact; narrowing rounds to the nearest, ties to even.

import { floatOfHalf, halfOfFloat, HALF_CONSTANTS_BYTES, writeHalfConstants } from './half';

/** Kinds of elements. */
export const F32: i32 = 0;
export const F16: i32 = 1;
export const BF16: i32 = 2;

/** Elements of a tile of `widen` and `narrow`. */
export const WIDENED_TOGETHER: i32 = 16384;

export function elementBytesOf(dtype: i32): usize {
  return dtype == F32 ? 4 : 2;
}

/** Tiles [tileFrom, tileTo) of `count` elements of kind `dtype` as floats. `scratch` is HALF_CONSTANTS_BYTES. */
export function widen(source: usize, dtype: i32, count: i32, target: usize, scratch: usize, tileFrom: i32, tileTo: i32): void {
  writeHalfConstants(scratch);
  const from = tileFrom * WIDENED_TOGETHER;
  const to = min(count, tileTo * WIDENED_TOGETHER);
  widenRow(source + <usize>from * elementBytesOf(dtype), dtype, to - from, target + (<usize>from << 2), scratch);
}

/** The way back. `scratch` is not needed. */
export function narrow(source: usize, dtype: i32, count: i32, target: usize, scratch: usize, tileFrom: i32, tileTo: i32): void {
  const from = tileFrom * WIDENED_TOGETHER;
  const to = min(count, tileTo * WIDENED_TOGETHER);
  narrowRow(source + (<usize>from << 2), dtype, to - from, target + <usize>from * elementBytesOf(dtype));
}

/** `count` elements as floats. `table` is that of `writeHalfConstants`. */
export function widenRow(source: usize, dtype: i32, count: i32, target: usize, table: usize): void {
  const end = target + (<usize>count << 2);
  const whole = end - 16;
  if (dtype == F32) {
    memory.copy(target, source, end - target);
  } else if (dtype == F16) {
    const kept = v128.load32_splat(table);
    const special = v128.load32_splat(table, 4);
    const rebias = v128.load32_splat(table, 8);
    const exponent = v128.load32_splat(table, 12);
    for (; target <= whole; target += 16, source += 8) {
      v128.store(target, floatOfHalf(v128.load16x4_s(source), kept, special, rebias, exponent));
    }
    for (; target < end; target += 4, source += 2) {
      const half = i32x4.splat(load<i16>(source));
      v128.store32_lane(target, floatOfHalf(half, kept, special, rebias, exponent), 0);
    }
  } else {
    for (; target <= whole; target += 16, source += 8) v128.store(target, i32x4.shl(v128.load16x4_u(source), 16));
    for (; target < end; target += 4, source += 2) store<i32>(target, <i32>load<u16>(source) << 16);
  }
}

/** `count` floats as elements. */
export function narrowRow(source: usize, dtype: i32, count: i32, target: usize): void {
  if (dtype == F32) {
    memory.copy(target, source, <usize>count << 2);
    return;
  }
  const end = source + (<usize>count << 2);
  for (; source + 16 <= end; source += 16, target += 8) {
    const narrowed = narrowed4(v128.load(source), dtype);
    v128.store64_lane(target, i16x8.narrow_i32x4_u(narrowed, narrowed), 0);
  }
  for (; source < end; source += 4, target += 2) {
    store<u16>(target, <u16>i32x4.extract_lane(narrowed4(v128.load32_splat(source), dtype), 0));
  }
}

/** Four floats, each in the low 16 bits of a lane. */
// @ts-ignore: decorator
@inline
function narrowed4(x: v128, dtype: i32): v128 {
  return dtype == F16 ? halfOfFloat(x) : brainOfFloat(x);
}

/** Adding half a unit (less one if the last kept bit is 0) rounds to even. What rounding would make of a NaN may be none. */
// @ts-ignore: decorator
@inline
function brainOfFloat(x: v128): v128 {
  const odd = v128.and(i32x4.shr_u(x, 16), i32x4.splat(1));
  const rounded = i32x4.shr_u(i32x4.add(i32x4.add(x, i32x4.splat(0x7fff)), odd), 16);
  const quiet = v128.or(i32x4.shr_u(x, 16), i32x4.splat(0x40));
  return v128.bitselect(rounded, quiet, f32x4.eq(x, x));
}
