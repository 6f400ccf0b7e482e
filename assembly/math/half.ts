// Half floats (IEEE 754 binary16) by integer operations on vectors, because WebAssembly has no instruction for them.
// Both ways are exact where they can be: to half rounds to the nearest, ties to even; beyond 65504 + 16 is infinite.

/** Four half floats, each in the low 16 bits of a lane (the rest zero), as floats. Subnormals, infinities and NaN stay what they are. */
// @ts-ignore: decorator
@inline
export function floatOfHalf(half: v128): v128 {
  const magnitude = i32x4.shl(v128.and(half, i32x4.splat(0x7fff)), 13);
  const sign = i32x4.shl(v128.and(half, i32x4.splat(0x8000)), 16);
  // The exponent moves from bias 15 to bias 127, which also makes subnormals normal.
  const value = f32x4.mul(magnitude, f32x4.splat(5.192296858534828e33));
  const special = v128.and(i32x4.gt_s(magnitude, i32x4.splat((0x7c00 << 13) - 1)), i32x4.splat(0x7f800000));
  return v128.or(v128.or(value, special), sign);
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
