// Rows added to rows: where two gradients of one thing meet, and where a branch with a factor for each channel joins.

import { multiplyAdd } from '../math/vector';

/**
 * Rows [tileFrom, tileTo) of y += factor * x.
 *
 * @param x rows of `channels` floats, `xStride` bytes apart
 * @param y the same, `yStride` bytes apart; may be x
 * @param factor a pointer, as arguments of kernels are integers on threads; 0: one
 * @param perChannel 1: there is a factor for each channel
 */
export function addRows(
  x: usize, xStride: usize, y: usize, yStride: usize, channels: i32, factor: usize, perChannel: i32, scratch: usize,
  tileFrom: i32, tileTo: i32,
): void {
  let factors = f32x4.splat(factor ? load<f32>(factor) : 1);
  const whole = <usize>(channels & ~3) << 2;
  const bytes = <usize>channels << 2;
  for (let row = tileFrom; row < tileTo; row++) {
    const source = x + <usize>row * xStride;
    const target = y + <usize>row * yStride;
    for (let at: usize = 0; at < whole; at += 16) {
      if (perChannel) factors = v128.load(factor + at);
      v128.store(target + at, multiplyAdd(v128.load(source + at), factors, v128.load(target + at)));
    }
    for (let at = whole; at < bytes; at += 4) {
      if (perChannel) factors = v128.load32_splat(factor + at);
      const sum = multiplyAdd(v128.load32_splat(source + at), factors, v128.load32_splat(target + at));
      v128.store32_lane(target + at, sum, 0);
    }
  }
}
