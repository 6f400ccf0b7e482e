// What the engine can do at most, for benchmarks and the terminal program: multiply-adds without memory traffic, and
// reading without arithmetic. Nothing else belongs here.

import { multiplyAdd } from './math/vector';

/** Runs `iterations` steps of 12 vector multiply-adds (96 flop per step) and returns a value that depends on all of them. */
export function peakMultiplyAdd(iterations: i32, left: f32, right: f32): f32 {
  // Given at run time: engines would make a constant vector anew at each use.
  const x = f32x4.splat(left), y = f32x4.splat(right);
  let c0 = f32x4.splat(0), c1 = f32x4.splat(1), c2 = f32x4.splat(2), c3 = f32x4.splat(3), c4 = f32x4.splat(4), c5 = f32x4.splat(5);
  let c6 = f32x4.splat(6), c7 = f32x4.splat(7), c8 = f32x4.splat(8), c9 = f32x4.splat(9), c10 = f32x4.splat(10), c11 = f32x4.splat(11);
  for (let i = 0; i < iterations; i++) {
    c0 = multiplyAdd(x, y, c0);
    c1 = multiplyAdd(x, y, c1);
    c2 = multiplyAdd(x, y, c2);
    c3 = multiplyAdd(x, y, c3);
    c4 = multiplyAdd(x, y, c4);
    c5 = multiplyAdd(x, y, c5);
    c6 = multiplyAdd(x, y, c6);
    c7 = multiplyAdd(x, y, c7);
    c8 = multiplyAdd(x, y, c8);
    c9 = multiplyAdd(x, y, c9);
    c10 = multiplyAdd(x, y, c10);
    c11 = multiplyAdd(x, y, c11);
  }
  const sum = f32x4.add(
    f32x4.add(f32x4.add(c0, c1), f32x4.add(c2, c3)),
    f32x4.add(f32x4.add(f32x4.add(c4, c5), f32x4.add(c6, c7)), f32x4.add(f32x4.add(c8, c9), f32x4.add(c10, c11))),
  );
  return f32x4.extract_lane(sum, 0);
}

/** Bytes of a tile of `readMemory`. */
export const READ_TILE_BYTES: usize = 65536;

/**
 * Reads tiles [tileFrom, tileTo) of `bytes` bytes, a multiple of 128, from `from` on. Eight sums, so that their latency does
 * not bind; integers, so that no bit pattern is slow. `scratch`, 16 bytes, takes what depends on all of them.
 */
export function readMemory(from: usize, bytes: usize, scratch: usize, tileFrom: i32, tileTo: i32): void {
  let s0 = i32x4.splat(0), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
  const end = from + min(bytes, <usize>tileTo * READ_TILE_BYTES);
  for (let at = from + <usize>tileFrom * READ_TILE_BYTES; at < end; at += 128) {
    s0 = i32x4.add(s0, v128.load(at));
    s1 = i32x4.add(s1, v128.load(at, 16));
    s2 = i32x4.add(s2, v128.load(at, 32));
    s3 = i32x4.add(s3, v128.load(at, 48));
    s4 = i32x4.add(s4, v128.load(at, 64));
    s5 = i32x4.add(s5, v128.load(at, 80));
    s6 = i32x4.add(s6, v128.load(at, 96));
    s7 = i32x4.add(s7, v128.load(at, 112));
  }
  const low = i32x4.add(i32x4.add(s0, s1), i32x4.add(s2, s3));
  const high = i32x4.add(i32x4.add(s4, s5), i32x4.add(s6, s7));
  v128.store(scratch, i32x4.add(low, high));
}
