// Dropout of weights of attention: which are left out is a function of seed, site, head, query and key alone, so that the way back
// leaves out the same, and threads change nothing.

import { philox4 } from '../math/philox';
import { AttentionParameters } from './parameters';
import { Workspace } from './workspace';

@unmanaged
export class WeightDropoutParameters {
  /** Tells apart the places of a model that leave out weights. */
  site: u32;
  seedLow: u32;
  seedHigh: u32;
  /** Weights whose word is below it are left out. */
  threshold: u32;
  /** What the others are multiplied by. */
  factor: f32;
}

/**
 * `row` points to floats of the block of keys, those of a row of the workspace: of [from, to), and what is beside them in whole 16s,
 * they are multiplied by the factor, or zero. Words are those of counter (key, query, 1 + batch row and head, site), 16 keys to four.
 *
 * @param words 64 bytes of scratch
 */
export function dropWeights(
  p: AttentionParameters, w: Workspace, d: WeightDropoutParameters, row: i32, floats: usize, from: i32, to: i32, words: usize,
): void {
  const state = <usize>row << 2;
  const head = w.batch * p.queryHeads + load<i32>(w.rowHead + state);
  const query = load<i32>(w.rowQuery + state);
  const threshold = i32x4.splat(d.threshold);
  const factor = f32x4.splat(d.factor);
  for (let j = from & ~15; j < to; j += 16) {
    philox4(words, <u32>((w.keyFrom + j) >> 2), query, 1 + head, d.site, d.seedLow, d.seedHigh);
    for (let at: usize = 0; at < 64; at += 16) {
      const place = floats + (<usize>j << 2) + at;
      const kept = i32x4.ge_u(v128.load(words + at), threshold);
      v128.store(place, v128.and(f32x4.mul(v128.load(place), factor), kept));
    }
  }
}
