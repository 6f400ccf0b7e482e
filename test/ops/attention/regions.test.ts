// Summaries of some heads and queries: the bits of those of the whole.

import { expect, it } from 'vitest';
import { attentionEntropy, attentionWeights, receivedWeight, topKeys } from 'wasm-attention';
import { Random } from '../../reference/random.js';
import { eachBuild } from '../../support/runtimes.js';

const random = new Random(15);
const floats = (...shape: number[]) => ({
  data: random.array(
    shape.reduce((size, n) => size * n, 1),
    'normal',
  ),
  shape,
});

await eachBuild('ranges of heads and queries', (runtime) => {
  const heads = 4;
  const queries = 530; // several query blocks
  const keys = 150;
  const q = floats(2, heads, queries, 8);
  const k = floats(2, 2, keys, 8);
  const ranges = [
    [
      [0, 4],
      [0, 530],
    ],
    [
      [1, 4],
      [3, 500],
    ],
    [
      [2, 3],
      [250, 251],
    ],
    [
      [0, 1],
      [529, 530],
    ],
    [
      [1, 1],
      [7, 9],
    ],
    [
      [1, 3],
      [5, 5],
    ],
  ] as const;
  it.each(ranges)('heads %o, queries %o: the bits of the whole', (headRange, queryRange) => {
    const options = { causal: 'upper-left', alibi: true, runtime } as const;
    const [headFrom, headTo] = headRange;
    const [queryFrom, queryTo] = queryRange;
    const part = { ...options, heads: headRange, queries: queryRange };
    const region = { heads: headRange, queries: queryRange };
    const shape = [2, headTo - headFrom, queryTo - queryFrom];

    const entropy = attentionEntropy(q, k, part);
    expect(entropy.shape).toEqual(shape);
    const whole = attentionEntropy(q, k, options).slice(1, headFrom, headTo).slice(2, queryFrom, queryTo);
    expect(entropy.data).toEqual(whole.toFloat32Array());

    const count = 3;
    const top = topKeys(q, k, count, part);
    const all = topKeys(q, k, count, options);
    const rowsOf = (values: Float32Array | Int32Array) => {
      const picked: number[] = [];
      for (let b = 0; b < 2; b++)
        for (let h = headFrom; h < headTo; h++)
          for (let i = queryFrom; i < queryTo; i++) {
            const at = ((b * heads + h) * queries + i) * count;
            picked.push(...values.subarray(at, at + count));
          }
      return picked;
    };
    expect([...top.keys]).toEqual(rowsOf(all.keys));
    expect([...top.weights]).toEqual(rowsOf(all.weights));

    const received = receivedWeight(q, k, part);
    expect(received.shape).toEqual([2, headTo - headFrom, keys]);
    const weights = attentionWeights(q, k, { ...options, region });
    const sums = new Float64Array(received.size);
    const perHead = (queryTo - queryFrom) * keys;
    weights.data.forEach((weight, at) => {
      sums[Math.floor(at / Math.max(1, perHead)) * keys + (at % keys)]! += weight;
    });
    received.data.forEach((sum, at) => expect(Math.abs(sum - sums[at]!)).toBeLessThan(2e-4));
    for (const tensor of [entropy, received, weights]) tensor.dispose();
  });

  it('are refused beyond the sizes', () => {
    for (const [argument, options] of [
      ['heads', { heads: [0, 5] }],
      ['queries', { queries: [4, 3] }],
      ['heads', { heads: 1 }],
    ] as const) {
      expect(() => attentionEntropy(q, k, { runtime, ...(options as object) })).toThrow(
        expect.objectContaining({ code: 'INVALID_ARGUMENT', argument }),
      );
    }
  });
});
