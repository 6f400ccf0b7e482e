// Rows added to rows: where two gradients of one thing meet.

import { scaleInto } from '../math/dot';

/**
 * Rows [tileFrom, tileTo) of y += factor * x.
 *
 * @param x rows of `channels` floats, `xStride` bytes apart
 * @param y the same, `yStride` bytes apart; may be x
 * @param factor a pointer, as arguments of kernels are integers on threads; 0: one
 */
export function addRows(
  x: usize, xStride: usize, y: usize, yStride: usize, channels: i32, factor: usize, scratch: usize, tileFrom: i32, tileTo: i32,
): void {
  const own: f32 = factor ? load<f32>(factor) : 1;
  for (let row = <usize>tileFrom; row < <usize>tileTo; row++) {
    scaleInto(x + row * xStride, own, y + row * yStride, <usize>channels << 2, 1);
  }
}
