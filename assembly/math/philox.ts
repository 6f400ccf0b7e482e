// Philox 4x32-10, a generator of random words without a state: what it gives is a function of a counter of four words and a key of two.
// Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". src/math/philox.ts gives the same words.
//
// Four counters at a time, which differ in their first word alone. Dropout counts places by it: of 16 neighbours, the first of which
// is a multiple of 16, place i has word i / 4 of counter i % 4, so that the words lie as the places do.
//
//   places        0   1   2   3 |  4   5   6   7 |  8   9  10  11 | 12  13  14  15
//   counter       0   1   2   3 |  0   1   2   3 |  0   1   2   3 |  0   1   2   3       + place / 16 * 4
//   word          0   0   0   0 |  1   1   1   1 |  2   2   2   2 |  3   3   3   3

/** Bytes that `philox4` writes. */
export const PHILOX_BYTES: usize = 64;

const ROUNDS: i32 = 10;

/**
 * Writes the words of counters (first + 0..3, second, third, fourth) under the key (low, high): four vectors, one for each word, in
 * which each counter has a lane.
 */
export function philox4(target: usize, first: u32, second: u32, third: u32, fourth: u32, low: u32, high: u32): void {
  const firstFactor = i32x4.splat(<i32>0xd2511f53);
  const secondFactor = i32x4.splat(<i32>0xcd9e8d57);
  let a = i32x4.add(i32x4.splat(first), i32x4(0, 1, 2, 3));
  let b = i32x4.splat(second);
  let c = i32x4.splat(third);
  let d = i32x4.splat(fourth);
  for (let round = 0; round < ROUNDS; round++) {
    const highOfA = highWords(a, firstFactor);
    const highOfC = highWords(c, secondFactor);
    const lowOfA = i32x4.mul(a, firstFactor);
    const lowOfC = i32x4.mul(c, secondFactor);
    a = v128.xor(v128.xor(highOfC, b), i32x4.splat(low));
    b = lowOfC;
    c = v128.xor(v128.xor(highOfA, d), i32x4.splat(high));
    d = lowOfA;
    low += 0x9e3779b9;
    high += 0xbb67ae85;
  }
  v128.store(target, a);
  v128.store(target, b, 16);
  v128.store(target, c, 32);
  v128.store(target, d, 48);
}

/** The upper words of products. */
// @ts-ignore: decorator
@inline
function highWords(x: v128, y: v128): v128 {
  return v128.shuffle<u32>(i64x2.extmul_low_i32x4_u(x, y), i64x2.extmul_high_i32x4_u(x, y), 1, 3, 5, 7);
}
