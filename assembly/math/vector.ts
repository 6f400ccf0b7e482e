// Small inline helpers over 128-bit vectors. Everything here folds into its caller.
// A build differs from another only through `multiplyAdd`.

/** a * b + c: one rounding (fused) in the `relaxed` build, two in the `simd` build. */
// @ts-ignore: decorator
@inline
export function multiplyAdd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(c, f32x4.mul(a, b));
}

/** The scalar twin of `multiplyAdd`, lane for lane the same bits. */
// @ts-ignore: decorator
@inline
export function multiplyAddScalar(a: f32, b: f32, c: f32): f32 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    return f32x4.extract_lane(f32x4.relaxed_madd(f32x4.splat(a), f32x4.splat(b), f32x4.splat(c)), 0);
  }
  return c + a * b;
}

/** Largest lane. Lanes are compared as `a < b ? b : a`, so a NaN lane may or may not win: callers do not rely on it. */
// @ts-ignore: decorator
@inline
export function horizontalMaximum(v: v128): f32 {
  const pairs = f32x4.pmax(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  return f32x4.extract_lane(f32x4.pmax(pairs, v128.shuffle<f32>(pairs, pairs, 1, 0, 3, 2)), 0);
}

/** (v0 + v2) + (v1 + v3): the one order of a horizontal sum in this project. */
// @ts-ignore: decorator
@inline
export function horizontalSum(v: v128): f32 {
  const pairs = f32x4.add(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  return f32x4.extract_lane(pairs, 0) + f32x4.extract_lane(pairs, 1);
}
