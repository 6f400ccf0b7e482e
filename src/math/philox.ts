// Philox4x32-10, a generator of random numbers without a state: what it gives is a function of a key and a counter.
// Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".

const ROUNDS = 10;

/** Four random words of four words of a counter and two of a key. */
export function philox(counter: readonly number[], key: readonly number[]): number[] {
  let [a, b, c, d] = counter as [number, number, number, number];
  let [low, high] = key as [number, number];
  for (let round = 0; round < ROUNDS; round++) {
    const first = highWord(a, 0xd2511f53);
    const second = highWord(c, 0xcd9e8d57);
    [a, b, c, d] = [second ^ b ^ low, Math.imul(c, 0xcd9e8d57), first ^ d ^ high, Math.imul(a, 0xd2511f53)];
    low = (low + 0x9e3779b9) | 0;
    high = (high + 0xbb67ae85) | 0;
  }
  return [a, b, c, d].map((word) => word >>> 0);
}

/** A number of [0, 1) with 53 random bits. */
export function uniform(counter: readonly number[], key: readonly number[]): number {
  const [high, low] = philox(counter, key) as [number, number];
  return ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;
}

/** The upper 32 bits of a product of two words. */
function highWord(x: number, y: number): number {
  const [xHigh, xLow, yHigh, yLow] = [x >>> 16, x & 0xffff, y >>> 16, y & 0xffff];
  const middle = xHigh * yLow + ((xLow * yLow) >>> 16);
  const carried = xLow * yHigh + (middle & 0xffff);
  return (xHigh * yHigh + Math.floor(middle / 65536) + Math.floor(carried / 65536)) | 0;
}
