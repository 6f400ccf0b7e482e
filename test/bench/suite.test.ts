// The suite's own arithmetic: counts of flop and bytes, inputs, the float64 check.

import { expect, test } from 'vitest';
import { makeInputs } from '../../bench/suite/inputs.mjs';
import { measureErrors, referenceRows } from '../../bench/suite/reference.mjs';
import { timing } from '../../bench/suite/run.mjs';
import { countBytes, countFlop, livePairs, workloads } from '../../bench/suite/workloads.mjs';
import type { Workload } from '../../bench/suite/workloads.mjs';
import { referenceAttention } from '../reference/attention.js';

const find = (id: string): Workload => workloads.find((workload) => workload.id === id)!;

test('ids are unique and neighbours exist, with less and more work', () => {
  expect(new Set(workloads.map(({ id }) => id)).size).toBe(workloads.length);
  const odd = workloads.filter(({ neighbours }) => neighbours);
  expect(odd.length).toBeGreaterThan(8);
  for (const { flop, neighbours } of odd) {
    const [below, above] = neighbours!.map((id) => find(id).flop.live);
    expect(below).toBeLessThan(flop.live);
    expect(above).toBeGreaterThan(flop.live);
  }
});

test('live pairs are those that the mask leaves, counted one by one', () => {
  for (const [queries, window] of [
    [1, 0],
    [7, 0],
    [7, 3],
    [7, 1],
    [5, 9],
  ] as const) {
    let count = 0;
    for (let i = 0; i < queries; i++)
      for (let j = 0; j <= i; j++) if (window === 0 || j > i - window) count++;
    expect(
      livePairs({ ...find('layer-d64-h4-n16').shapes, queries, keys: queries, causal: true, window }),
    ).toBe(count);
  }
});

test('flop and bytes of known shapes', () => {
  expect(find('product-128x768x768').flop).toEqual({ live: 2 * 128 * 768 * 768, dense: 2 * 128 * 768 * 768 });
  expect(find('product-1x768x768').bytes).toEqual({ read: 4 * (768 + 768 * 768), written: 4 * 768 });
  // Q K^T and P V, 12 heads of 64, 512 by 512.
  expect(find('attention-h12-dh64-n512').flop.live).toBe(12 * 512 * 512 * 64 * 2 * 2);
  expect(find('attention-h12-dh64-n512-causal').flop).toEqual({
    live: 12 * ((512 * 513) / 2) * 64 * 2 * 2,
    dense: 12 * 512 * 512 * 64 * 2 * 2,
  });
  // Three projections in, one out, and attention.
  const { shapes } = find('layer-d64-h4-n16');
  expect(countFlop('layer', shapes).live).toBe(16 * 64 * 64 * 2 * 4 + 4 * 16 * 16 * 16 * 2 * 2);
  expect(countBytes('layer', shapes)).toEqual({
    read: 4 * (16 * 64 + 3 * 64 * 64 + 3 * 64 + 64 * 64 + 64),
    written: 4 * 16 * 64,
  });
  // 32 query heads read 8 heads of keys and of values.
  expect(find('decode-h32/8-dh128-keys2048').bytes.read).toBe(4 * (32 * 128 + 2 * 8 * 2048 * 128));
});

test('rates and shares of rounds', () => {
  const workload = {
    flop: { live: 4e6, dense: 8e6 },
    bytes: { read: 3e6, written: 1e6 },
    limit: 'arithmetic' as const,
  };
  const rounds = [
    { milliseconds: 1, limit: 8 },
    { milliseconds: 2, limit: 4 },
    { milliseconds: 4, limit: 2 },
  ];
  expect(timing(rounds, 9, workload, 1)).toMatchObject({
    time: { median: 2, p25: 1.5, p75: 3, spread: 0.75, samples: 9 },
    gflops: 2,
    share: { median: 0.5, spread: 0 },
  });
  // Two threads have twice the arithmetic, but one memory.
  expect(timing(rounds, 9, workload, 2).share!.median).toBe(0.25);
  const memory = timing(rounds, 9, { ...workload, limit: 'memory' }, 2);
  expect(memory).toMatchObject({ gigabytes: 2, share: { median: 0.5 } });
  expect(timing([{ milliseconds: 1, limit: null }], 1, workload, 1)).not.toHaveProperty('share');
});

test('inputs depend on the workload alone', () => {
  const workload = find('attention-h12-dh64-n128');
  const [first, second] = [makeInputs(workload), makeInputs(workload)];
  expect(second).toEqual(first);
  expect(makeInputs(find('attention-h8-dh128-n1024')).query!.slice(0, 8)).not.toEqual(
    first.query!.slice(0, 8),
  );
  const { query } = first;
  const mean = query!.reduce((a, b) => a + b, 0) / query!.length;
  const variance = query!.reduce((a, b) => a + (b - mean) ** 2, 0) / query!.length;
  expect(Math.abs(mean)).toBeLessThan(0.02);
  expect(Math.abs(variance - 1)).toBeLessThan(0.02);
});

test.each([
  ['grouped, causal', { keyValueHeads: 2, causal: true, window: 0 }],
  ['window', { keyValueHeads: 4, causal: true, window: 3 }],
  ['full', { keyValueHeads: 4, causal: false, window: 0 }],
])('the float64 check agrees with the reference of the tests: %s', (_, mask) => {
  const template = find('attention-h12-dh64-n128');
  const shapes = { ...template.shapes, heads: 4, queries: 9, keys: 9, headDim: 5, valueHeadDim: 5, ...mask };
  const workload = { ...template, shapes, outputLength: 4 * 9 * 5 };
  const inputs = makeInputs(workload);
  const [query, key, value] = [inputs.query!, inputs.key!, inputs.value!];
  const sizes = { batch: 1, queryHeads: 4, keyHeads: mask.keyValueHeads, queries: 9, keys: 9, headDim: 5 };
  const { output } = referenceAttention(
    { query, key, value, ...sizes, valueHeadDim: 5 },
    {
      causalOffset: mask.causal ? 0 : undefined,
      window: mask.window > 0 ? { left: mask.window - 1, right: 0 } : undefined,
    },
  );
  const rows = referenceRows(workload, inputs);
  const exact = Float32Array.from(output);
  const errors = (output: Float32Array) => measureErrors(output, rows, exact.length);
  expect(errors(exact).error).toBeLessThan(1e-6);
  expect(errors(exact).rootMeanSquareError).toBeLessThan(errors(exact).error);
  exact[exact.length - 1]! += 0.01;
  expect(errors(exact).error).toBeGreaterThan(0.009);
  const sampled = rows.reduce((count, { values }) => count + values.length, 0);
  expect(errors(exact).rootMeanSquareError).toBeCloseTo(0.01 / Math.sqrt(sampled), 6);
  const wrong = { error: Infinity, rootMeanSquareError: Infinity };
  expect(errors(exact.subarray(1))).toEqual(wrong);
  exact[0] = NaN;
  expect(errors(exact)).toEqual(wrong);
});
