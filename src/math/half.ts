// Half floats (IEEE 754 binary16), given as their bits, as floats.

/** The bits of the float that a half float equals; a NaN keeps its payload. */
export function float16BitsToFloat32Bits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0x1f) return sign | 0x7f800000 | (fraction << 13);
  // 112 is the difference of the exponent biases, 127 - 15.
  if (exponent !== 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  if (fraction === 0) return sign;
  // Every subnormal half is a normal float: move the leading one to where it becomes implicit.
  const shift = Math.clz32(fraction) - 21;
  return sign | ((113 - shift) << 23) | (((fraction << shift) & 0x3ff) << 13);
}

/** Half floats, given as their bits, as floats. */
export function floatsOfHalves(halves: Uint16Array): Float32Array {
  return new Float32Array(Uint32Array.from(halves, float16BitsToFloat32Bits).buffer);
}
