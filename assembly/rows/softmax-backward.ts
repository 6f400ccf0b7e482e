// The gradient of a softmax, from its results: dx = y (dy - sum of y dy).

import { dot } from '../math/dot';

/** Rows [rowFrom, rowTo) of `columns` floats; dx may be dy or y. */
export function softmaxBackward(
  y: usize, yStride: usize, dy: usize, dyStride: usize, dx: usize, dxStride: usize, columns: i32,
  scratch: usize, rowFrom: i32, rowTo: i32,
): void {
  const bytes = <usize>columns << 2;
  const whole = bytes & ~15;
  for (let row = <usize>rowFrom; row < <usize>rowTo; row++) {
    const result = y + row * yStride;
    const upstream = dy + row * dyStride;
    const target = dx + row * dxStride;
    const sum = <f32>dot(result, upstream, bytes);
    const sums = f32x4.splat(sum);
    let at: usize = 0;
    for (; at < whole; at += 16) {
      v128.store(target + at, f32x4.mul(v128.load(result + at), f32x4.sub(v128.load(upstream + at), sums)));
    }
    for (; at < bytes; at += 4) store<f32>(target + at, load<f32>(result + at) * (load<f32>(upstream + at) - sum));
  }
}
