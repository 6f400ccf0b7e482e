// Dropout: each element is left out, or scaled up, by a random word that is a function of the seed, the site and the element's place.

import { PHILOX_BYTES, philox4 } from '../math/philox';

/** What one call of `dropoutRows` does. */
@unmanaged
export class DropoutParameters {
  /** Rows of `channels` floats. */
  x: usize;
  xStride: usize;
  /** May be x. */
  y: usize;
  yStride: usize;
  channels: i32;
  /** The number that the first row counts as. */
  firstRow: u32;
  /** Tells apart the places of a model that leave out elements. */
  site: u32;
  seedLow: u32;
  seedHigh: u32;
  /** Elements whose word is below it are left out. */
  threshold: u32;
  /** What the others are multiplied by. */
  factor: f32;
}

/** Rows [rowFrom, rowTo) of y = x * factor, or 0: the words of element (row, channel) are those of counter (channel, row, 0, site). */
export function dropoutRows(parameters: usize, scratch: usize, rowFrom: i32, rowTo: i32): void {
  const p = changetype<DropoutParameters>(parameters);
  const threshold = i32x4.splat(p.threshold);
  const factor = f32x4.splat(p.factor);
  const bytes = <usize>p.channels << 2;
  for (let row = rowFrom; row < rowTo; row++) {
    const x = p.x + <usize>row * p.xStride;
    const y = p.y + <usize>row * p.yStride;
    for (let at: usize = 0; at < bytes; at += PHILOX_BYTES) {
      // A counter for 16 bytes, four at once.
      philox4(scratch, <u32>(at >> 4), p.firstRow + <u32>row, 0, p.site, p.seedLow, p.seedHigh);
      const end = min(PHILOX_BYTES, bytes - at);
      const whole = end & ~15;
      let word: usize = 0;
      for (; word < whole; word += 16) {
        const kept = i32x4.ge_u(v128.load(scratch + word), threshold);
        v128.store(y + at + word, v128.and(f32x4.mul(v128.load(x + at + word), factor), kept));
      }
      for (; word < end; word += 4) {
        const kept = load<u32>(scratch + word) >= p.threshold;
        store<f32>(y + at + word, kept ? load<f32>(x + at + word) * p.factor : 0);
      }
    }
  }
}
