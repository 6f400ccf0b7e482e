// The gradient of a rotation (rotary.ts), in place: the rotation by the opposite angle, which has the opposite sines. A factor in the
// tables stays one.

import { turnHalves, turnInterleaved } from './rotary';

/** As `rotary`, the other way. `scratch` is a row of sines. */
export function rotaryBack(
  x: usize, batchStride: usize, headStride: usize, rowStride: usize, heads: i32, length: i32,
  positions: usize, positionsBatchStride: usize, cos: usize, sin: usize, half: i32, interleaved: bool,
  scratch: usize, rowFrom: i32, rowTo: i32,
): void {
  const tableRow = <usize>half << 2;
  for (let index = rowFrom; index < rowTo; index++) {
    const b = <usize>(index / length);
    const i = <usize>(index % length);
    const place = <usize>load<i32>(positions + b * positionsBatchStride + (i << 2)) * tableRow;
    for (let at: usize = 0; at < tableRow; at += 4) store<f32>(scratch + at, -load<f32>(sin + place + at));
    let row = x + b * batchStride + i * rowStride;
    for (let head = 0; head < heads; head++) {
      if (interleaved) turnInterleaved(row, cos + place, scratch, half);
      else turnHalves(row, cos + place, scratch, half);
      row += headStride;
    }
  }
}
