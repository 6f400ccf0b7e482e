// What weights say, against the dense weights; merging, linear attention and packed sequences against what they stand for.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  attentionEntropy,
  attentionWeights,
  createRuntime,
  linearAttention,
  mergeAttention,
  or,
  globalTokens,
  receivedWeight,
  scaledDotProductAttention,
  slidingWindow,
  topKeys,
  variableLengthAttention,
} from 'wasm-attention';
import type { AttentionOptions, Runtime } from 'wasm-attention';
import { Random } from '../../reference/random.js';
import { eachBuild } from '../../support/runtimes.js';

function inputs(runtime: Runtime, seed: number, [heads, keyHeads, queries, keys, dim]: number[]) {
  const random = new Random(seed);
  return [
    runtime.tensor(random.array(2 * heads! * queries! * dim!, 'normal'), [2, heads!, queries!, dim!]),
    runtime.tensor(random.array(2 * keyHeads! * keys! * dim!, 'normal'), [2, keyHeads!, keys!, dim!]),
    runtime.tensor(random.array(2 * keyHeads! * keys! * dim!, 'normal'), [2, keyHeads!, keys!, dim!]),
  ] as const;
}

const variants: [string, number[], AttentionOptions][] = [
  ['plain', [4, 2, 70, 300, 9], {}],
  ['causal, sharp', [2, 2, 260, 260, 8], { causal: true, scale: 3 }],
  [
    'window and global tokens',
    [3, 1, 150, 150, 8],
    { mask: or(slidingWindow({ left: 5, right: 2 }), globalTokens([0, 77])) },
  ],
  [
    'empty rows, sinks, softcap',
    [2, 1, 40, 200, 16],
    { causal: 'upper-left', keyLengths: [0, 31], sinks: [0.5, -1], softcap: 5 },
  ],
];

await eachBuild('summaries', (runtime) => {
  it.each(variants)('agree with the dense weights: %s', (_title, shape, options) => {
    const [q, k, v] = inputs(runtime, 1, shape);
    const [heads, , queries, keys] = shape as [number, number, number, number];
    const { statistics, weights } = scaledDotProductAttention(q, k, v, {
      ...options,
      returnStatistics: true,
      returnWeights: true,
    });
    const dense = weights.toFloat32Array();
    const given = { ...options, statistics };
    const received = receivedWeight(q, k, given).data;
    const part = receivedWeight(q, k, { ...given, queries: [3, 20] }).data;
    const entropy = attentionEntropy(q, k, given).data;
    const top = topKeys(q, k, 4, given);
    for (let head = 0; head < 2 * heads; head++) {
      for (let j = 0; j < keys; j++) {
        let [sum, partial] = [0, 0];
        for (let i = 0; i < queries; i++) {
          sum += dense[(head * queries + i) * keys + j]!;
          if (i >= 3 && i < 20) partial += dense[(head * queries + i) * keys + j]!;
        }
        expect(Math.abs(received[head * keys + j]! - sum)).toBeLessThan(1e-5 * Math.max(1, sum));
        expect(Math.abs(part[head * keys + j]! - partial)).toBeLessThan(1e-5 * Math.max(1, partial));
      }
      for (let i = 0; i < queries; i++) {
        const at = head * queries + i;
        const row = dense.slice(at * keys, (at + 1) * keys);
        const exact = row.reduce((sum, w) => (w > 0 ? sum - w * Math.log(w) : sum), 0);
        expect(Math.abs(entropy[at]! - exact)).toBeLessThan(2e-5);
        const order = Array.from(row.keys())
          .filter((j) => row[j]! > 0)
          .sort((a, b) => row[b]! - row[a]! || a - b)
          .slice(0, 4);
        expect(Array.from(top.keys.slice(4 * at, 4 * at + order.length))).toEqual(order);
        expect(Array.from(top.weights.slice(4 * at, 4 * at + 4))).toEqual(
          [0, 1, 2, 3].map((rank) => (rank < order.length ? row[order[rank]!] : 0)),
        );
      }
    }
    const region = { heads: [1, 2], queries: [7, 39], keys: [20, 141] } as const;
    const block = attentionWeights(q, k, { ...given, region }).data;
    const expected = weights.slice(1, 1, 2).slice(2, 7, 39).slice(3, 20, 141).toFloat32Array();
    expect(block).toEqual(expected);
  });

  it('merge any split of the keys into the whole', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 200 }), { minLength: 1, maxLength: 4 }),
        fc.integer(),
        fc.boolean(),
        (cuts, seed, causal) => {
          const [q, k, v] = inputs(runtime, seed, [2, 1, 50, 200, 12]);
          const bounds = [0, ...cuts.sort((a, b) => a - b), 200];
          const options = { ...(causal && { causal: true }), returnLogSumExp: true };
          const whole = scaledDotProductAttention(q, k, v, { ...options, queryOffset: 130 });
          const parts = bounds.slice(1).map((to, i) => {
            const from = bounds[i]!;
            return scaledDotProductAttention(q, k.slice(2, from, to), v.slice(2, from, to), {
              ...options,
              queryOffset: 130 - from,
            });
          });
          const merged = mergeAttention(parts);
          const scale = whole.output.toFloat32Array().reduce((most, y) => Math.max(most, Math.abs(y)), 0);
          merged.output.data.forEach((y, i) => {
            expect(Math.abs(y - whole.output.data[i]!)).toBeLessThanOrEqual(1e-6 * Math.max(1, scale));
          });
          merged.logSumExp.data.forEach((y, i) => {
            expect(Math.abs(y - whole.logSumExp!.data[i]!)).toBeLessThanOrEqual(
              2e-6 * Math.max(1, Math.abs(y)),
            );
          });
          for (const result of [whole, merged, ...parts]) result.dispose();
          for (const tensor of [q, k, v]) tensor.dispose();
        },
      ),
      { numRuns: 25 },
    );
  });

  it('merge nothing where every part is empty, and refuse what does not fit', () => {
    const [q, k, v] = inputs(runtime, 2, [1, 1, 3, 4, 5]);
    const empty = scaledDotProductAttention(q, k, v, { keyLengths: [0, 0], returnLogSumExp: true });
    const merged = mergeAttention([empty, empty]);
    expect(merged.output.data.every((y) => y === 0)).toBe(true);
    expect(merged.logSumExp.data.every((y) => y === -Infinity)).toBe(true);
    expect(() => mergeAttention([])).toThrow(/parts: expected/);
    expect(() => mergeAttention([{ output: empty.output }])).toThrow(/parts\[0\]\.logSumExp: expected/);
  });

  it.each(['elu', 'relu'] as const)('linear attention (%s) is its formula, causal and not', (featureMap) => {
    const phi = (x: number) => (featureMap === 'relu' ? Math.max(x, 0) : x > 0 ? x + 1 : Math.exp(x));
    const [heads, n, dim] = [2, 37, 7];
    const [q, k, v] = inputs(runtime, 3, [heads, 1, n, n, dim]);
    for (const causal of [false, true]) {
      const keyLengths = causal ? undefined : [n, 11];
      const actual = linearAttention(q, k, v, { featureMap, causal, keyLengths }).data;
      for (let row = 0; row < 2 * heads * n; row++) {
        const [b, i] = [Math.floor(row / heads / n), row % n];
        const sums = new Float64Array(dim);
        let denominator = 0;
        for (let j = 0; j < (causal ? i + 1 : keyLengths![b]!); j++) {
          let weight = 0;
          for (let c = 0; c < dim; c++)
            weight += phi(q.data[row * dim + c]!) * phi(k.data[(b * n + j) * dim + c]!);
          denominator += weight;
          for (let c = 0; c < dim; c++) sums[c]! += weight * v.data[(b * n + j) * dim + c]!;
        }
        for (let c = 0; c < dim; c++) {
          const expected = denominator === 0 ? 0 : sums[c]! / denominator;
          expect(Math.abs(actual[row * dim + c]! - expected)).toBeLessThan(2e-5);
        }
      }
    }
    expect(() => linearAttention(q, k, v, { featureMap: 'cos' as 'elu' })).toThrow(/featureMap: expected/);
  });

  it('packed sequences are what each sequence is alone, bit for bit', () => {
    const random = new Random(4);
    const bounds = [0, 5, 5, 140, 141, 300];
    const [heads, dim] = [2, 10];
    const tensor = () => runtime.tensor(random.array(300 * heads * dim, 'normal'), [300, heads, dim]);
    const [q, k, v] = [tensor(), tensor(), tensor()];
    const packed = variableLengthAttention(q, k, v, { cumulativeQueries: bounds, causal: true });
    for (let i = 1; i < bounds.length; i++) {
      const [from, to] = [bounds[i - 1]!, bounds[i]!];
      const alone = (t: typeof q) => t.slice(0, from, to).transpose(0, 1);
      const expected = scaledDotProductAttention(alone(q), alone(k), alone(v), { causal: true }).output;
      expect(packed.slice(0, from, to).transpose(0, 1).toFloat32Array()).toEqual(expected.toFloat32Array());
    }
    expect(() => variableLengthAttention(q, k, v, { cumulativeQueries: [0, 10] })).toThrow(
      /cumulativeQueries: expected/,
    );
  });
});

describe('memory', () => {
  it('stays far below length by length at 32768', async () => {
    const runtime = await createRuntime({ build: 'simd' });
    const n = 32768;
    const q = runtime.tensor(new Random(5).array(n * 8, 'uniform'), [1, 1, n, 8]);
    const options = { window: { left: 32, right: 0 } };
    const before = runtime.memory.used;
    const { statistics } = scaledDotProductAttention(q, q, q, { ...options, returnStatistics: true });
    const entropy = attentionEntropy(q, q, { ...options, statistics });
    const received = receivedWeight(q, q, { ...options, statistics });
    const block = attentionWeights(q, q, {
      ...options,
      statistics,
      region: { queries: [n - 2, n], keys: [n - 40, n] },
    });
    expect(runtime.memory.peak - before).toBeLessThan(8 << 20);
    expect(entropy.data[n - 1]).toBeGreaterThan(3);
    expect(received.toFloat32Array().reduce((sum, w) => sum + w, 0)).toBeCloseTo(n, -1);
    expect(
      block
        .toFloat32Array()
        .slice(40)
        .reduce((sum, w) => sum + w, 0),
    ).toBeCloseTo(1, 5);
  });
});
