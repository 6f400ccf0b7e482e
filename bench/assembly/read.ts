// The read bandwidth of linear memory: the limit of workloads that use each weight once. Eight independent
// sums, so that their latency does not bind; integers, so that no bit pattern is slow.

/** Reads `bytes`, a multiple of 128, from `from` on, and returns a value that depends on all of them. */
export function readMemory(from: usize, bytes: usize): i32 {
  let s0 = i32x4.splat(0), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
  const end = from + bytes;
  for (let at = from; at < end; at += 128) {
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
  return i32x4.extract_lane(i32x4.add(low, high), 0);
}
