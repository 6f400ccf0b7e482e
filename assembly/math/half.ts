// Half floats (IEEE 754 binary16) by integer operations on vectors, because WebAssembly has no instruction for them.
// Both ways are exact where they can be: to half rounds to the nearest, ties to even; beyond 65504 + 16 is infinite.

/** Bytes of the table `floatOfHalf` reads. */
export const HALF_CONSTANTS_BYTES: usize = 16;

/** Sign, exponent and fraction of a sign-extended half float, moved to their places in a float. */
const KEPT: i32 = <i32>0x8fffe000;
/** The exponent of infinities and NaN there. */
const SPECIAL: i32 = 0x0f800000;

/** Constants come from memory, because V8 makes a constant vector anew at each use in a loop. */
export function writeHalfConstants(table: usize): void {
  store<i32>(table, KEPT);
  store<i32>(table, SPECIAL, 4);
  store<f32>(table, 5.192296858534828e33, 8);
  store<i32>(table, 0x7f800000, 12);
}

/** `count` half floats, a multiple of 8, as floats. Subnormals, infinities and NaN stay what they are. */
export function expandHalves(source: usize, target: usize, count: usize, table: usize): void {
  const kept = v128.load32_splat(table);
  const special = v128.load32_splat(table, 4);
  const rebias = v128.load32_splat(table, 8);
  const exponent = v128.load32_splat(table, 12);
  for (const end = source + (count << 1); source < end; source += 16, target += 32) {
    const halves = v128.load(source);
    v128.store(target, floatOfHalf(i32x4.extend_low_i16x8_s(halves), kept, special, rebias, exponent));
    v128.store(target, floatOfHalf(i32x4.extend_high_i16x8_s(halves), kept, special, rebias, exponent), 16);
  }
}

/** Four sign-extended half floats. */
// @ts-ignore: decorator
@inline
export function floatOfHalf(half: v128, kept: v128, special: v128, rebias: v128, exponent: v128): v128 {
  const moved = v128.and(i32x4.shl(half, 13), kept);
  // 2^112 moves the exponent from bias 15 to bias 127, which also makes subnormals normal.
  const value = f32x4.mul(moved, rebias);
  return v128.or(value, v128.and(i32x4.eq(v128.and(moved, special), special), exponent));
}

/** Four floats as half floats, each in the low 16 bits of a lane. */
// @ts-ignore: decorator
@inline
export function halfOfFloat(x: v128): v128 {
  const sign = v128.and(x, i32x4.splat(<i32>0x80000000));
  const bits = v128.xor(x, sign);
  // Normal: the exponent is moved, and adding half a unit (less one if the last kept bit is 0) rounds to even.
  const odd = v128.and(i32x4.shr_u(bits, 13), i32x4.splat(1));
  const rounded = i32x4.add(i32x4.add(bits, i32x4.splat(0xfff - ((127 - 15) << 23))), odd);
  const normal = i32x4.shr_u(rounded, 13);
  // Subnormal: adding 1/2 lets the addition round to multiples of 2^-24.
  const small = i32x4.sub(f32x4.add(bits, f32x4.splat(0.5)), i32x4.splat(0x3f000000));
  const isSmall = i32x4.lt_s(bits, i32x4.splat((127 - 14) << 23));
  const isLarge = i32x4.ge_s(bits, i32x4.splat((127 + 16) << 23));
  const isNaN = i32x4.gt_s(bits, i32x4.splat(0x7f800000));
  const large = v128.or(i32x4.splat(0x7c00), v128.and(isNaN, i32x4.splat(0x0200)));
  const half = v128.bitselect(large, v128.bitselect(small, normal, isSmall), isLarge);
  return v128.or(half, i32x4.shr_u(sign, 16));
}
