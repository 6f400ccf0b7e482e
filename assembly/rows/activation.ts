// Activations of floats that lie one after the other.

import { activateRow } from '../math/activations';

/** Elements of a tile: 16 kB, which stay in the first-level cache. */
export const ACTIVATION_BLOCK: i32 = 4096;

/** Blocks [blockFrom, blockTo) of `count` floats; y may be x. `parameter` points to that of SOFTCAP. `scratch` has 16 bytes. */
export function activationRows(
  x: usize, y: usize, count: i32, activation: i32, parameter: usize, scratch: usize, blockFrom: i32, blockTo: i32,
): void {
  const value = parameter ? load<f32>(parameter) : 0;
  for (let block = blockFrom; block < blockTo; block++) {
    const from = block * ACTIVATION_BLOCK;
    const bytes = <usize>min(ACTIVATION_BLOCK, count - from) << 2;
    const whole = bytes & ~15;
    const source = x + (<usize>from << 2);
    const target = y + (<usize>from << 2);
    if (source != target) memory.copy(target, source, bytes);
    activateRow(target, whole, activation, value);
    if (whole == bytes) continue;
    // What is left goes the way of all, so that a value's result does not depend on its place.
    memory.copy(scratch, target + whole, bytes - whole);
    activateRow(scratch, 16, activation, value);
    memory.copy(target + whole, scratch, bytes - whole);
  }
}
