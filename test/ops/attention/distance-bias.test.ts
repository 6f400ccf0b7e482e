import { describe, expect, it } from 'vitest';
import { alibiSlopes, relativeBucket } from 'wasm-attention';

describe('distance biases', () => {
  it('slopes of ALiBi and buckets of T5', () => {
    expect(Array.from(alibiSlopes(8))).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((h) => 2 ** -h));
    expect(Array.from(alibiSlopes(3), (s) => Math.fround(s))).toEqual([2 ** -4, 2 ** -8, 2 ** -2]);
    const buckets = [0, -1, -7, -8, -16, -127, -1000, 1, 7, 8, 127].map((d) =>
      relativeBucket(d, 32, 128, true),
    );
    expect(buckets).toEqual([0, 1, 7, 8, 10, 15, 15, 17, 23, 24, 31]);
    expect([0, 5, -5, -15, -16, -127].map((d) => relativeBucket(d, 32, 128, false))).toEqual([
      0, 0, 5, 15, 16, 31,
    ]);
  });
});
