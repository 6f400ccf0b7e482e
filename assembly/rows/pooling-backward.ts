// The gradient of means over tokens (pooling.ts): each token has its part of its sequence's.

import { scaleInto } from '../math/dot';

/**
 * Rows [rowFrom, rowTo) of batch x length: dx = part * dy of the row's sequence, or that added to dx.
 *
 * @param dy    rows of `channels` floats, one a sequence
 * @param parts one float a row; where it is 0 the token has no gradient, whatever dy holds
 */
export function poolingBackward(
  dy: usize, dyStride: usize, parts: usize, length: i32, channels: i32, dx: usize, dxStride: usize, adding: i32,
  scratch: usize, rowFrom: i32, rowTo: i32,
): void {
  const bytes = <usize>channels << 2;
  for (let row = rowFrom; row < rowTo; row++) {
    const part = load<f32>(parts + (<usize>row << 2));
    const target = dx + <usize>row * dxStride;
    if (part != 0) scaleInto(dy + <usize>(row / length) * dyStride, part, target, bytes, adding);
    else if (!adding) memory.fill(target, 0, bytes);
  }
}
