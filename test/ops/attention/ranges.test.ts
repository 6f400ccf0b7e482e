// Numbers at the ends of float32: what is finite stays so, and only -Infinity removes a key.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  attentionEntropy,
  attentionWeights,
  KeyValueCache,
  mergeAttention,
  receivedWeight,
  scaledDotProductAttention,
  topKeys,
} from 'wasm-attention';
import type { AttentionOptions, CacheStorage } from 'wasm-attention';
import { referenceAttention } from '../../reference/attention.js';
import { Random } from '../../reference/random.js';
import { eachBuild } from '../../support/runtimes.js';

const LARGEST = (2 - 2 ** -23) * 2 ** 127;
/** The natural score that is the largest float in base 2. */
const LARGEST_SCORE = LARGEST * Math.LN2;
/** torch.finfo(torch.float32).min */
const LOWEST = -LARGEST;

function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, relative = 1e-5): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    const [a, e] = [actual[i]!, expected[i]!];
    if (Object.is(a, e) || a === e) continue;
    const error = Math.abs(a - e) / Math.max(1, Math.abs(e));
    if (!(error <= relative)) throw new Error(`at ${i}: ${a} instead of ${e}`);
  }
}

await eachBuild('numbers at the ends of float32', (runtime) => {
  const zeros = (...shape: number[]) =>
    runtime.tensor(new Float32Array(shape.reduce((a, b) => a * b)), shape);
  const values = (numbers: readonly number[]) => runtime.tensor(numbers, [1, 1, numbers.length, 1]);
  const mask = (numbers: readonly number[], ...shape: number[]) => ({
    data: Float32Array.from(numbers),
    shape: shape.length > 0 ? shape : [numbers.length],
  });
  const q = zeros(1, 1, 1, 1);
  const k = zeros(1, 1, 4, 1);
  const v = values([1, 2, 3, 6]);
  const attend = (options: AttentionOptions) => {
    const result = scaledDotProductAttention(q, k, v, {
      ...options,
      returnWeights: true,
      returnLogSumExp: true,
      returnStatistics: true,
    });
    const { statistics } = result;
    const summary = {
      output: result.output.data[0]!,
      weights: Array.from(result.weights.data),
      logSumExp: result.logSumExp.data[0]!,
      entropy: attentionEntropy(q, k, { ...options, statistics }).data[0]!,
      received: Array.from(receivedWeight(q, k, { ...options, statistics }).data),
      again: Array.from(attentionWeights(q, k, { ...options, statistics }).data),
      alone: Array.from(attentionWeights(q, k, options).data),
      top: Array.from(topKeys(q, k, 4, { ...options, statistics }).keys),
    };
    result.dispose();
    expect(summary.received).toEqual(summary.weights);
    expect(summary.again).toEqual(summary.weights);
    expect(summary.alone).toEqual(summary.weights);
    return summary;
  };

  it.each([LOWEST, -3e38, -2.4e38, -2.36e38])(
    'a row whose keys all have a bias of %f is their mean',
    (bias) => {
      for (const options of [
        { mask: mask([bias, bias, bias, bias]) },
        { bias: mask([bias, bias, bias, bias]) },
        { mask: [mask([bias]), mask([bias, bias, 0, 0])], bias: mask([0, 0, bias, bias]) },
        { mask: mask([bias, bias, bias, bias]), alibi: [1], queryOffset: 0 },
      ] satisfies AttentionOptions[]) {
        const { output, weights, logSumExp, entropy, top } = attend(options);
        expect(output).toBe(3);
        expect(weights).toEqual([0.25, 0.25, 0.25, 0.25]);
        expect(logSumExp / Math.max(bias, -LARGEST_SCORE)).toBeCloseTo(1, 5);
        expect(entropy).toBeCloseTo(Math.log(4), 6);
        expect(top).toEqual([0, 1, 2, 3]);
      }
    },
  );

  it('the lowest float counts for nothing beside a key that is kept, and -Infinity for less', () => {
    expect(attend({ mask: mask([LOWEST, 0, LOWEST, LOWEST]) }).weights).toEqual([0, 1, 0, 0]);
    expect(attend({ mask: mask([LOWEST, -Infinity, LOWEST, -Infinity]) }).weights).toEqual([0.5, 0, 0.5, 0]);
    expect(attend({ mask: mask([-1e38, LOWEST, -2e38, -1e38]) }).weights).toEqual([0.5, 0, 0, 0.5]);
    const removed = attend({ mask: mask([-Infinity, -Infinity, -Infinity, -Infinity]) });
    expect(removed).toMatchObject({ output: 0, weights: [0, 0, 0, 0], logSumExp: -Infinity, entropy: 0 });
    expect(removed.top).toEqual([-1, -1, -1, -1]);
  });

  it('biases of 3e38 attend', () => {
    const one = attend({ mask: mask([0, 3e38, -Infinity, 5]) });
    expect(one).toMatchObject({ output: 2, weights: [0, 1, 0, 0], entropy: 0 });
    expect(one.logSumExp / LARGEST_SCORE).toBeCloseTo(1, 5);
    const two = attend({ mask: mask([LARGEST, LOWEST, 3e38, LOWEST]) });
    expect(two).toMatchObject({ output: 2, weights: [0.5, 0, 0.5, 0] });
    expect(two.entropy).toBeCloseTo(Math.LN2, 6);
    expect(attend({ mask: mask([LARGEST, 3e38, LARGEST, 3e38]), alibi: [1], queryOffset: 0 }).output).toBe(3);
    expect(attend({ mask: [mask([3e38, 0, 0, 0]), mask([LARGEST, 0, 0, 0])] }).weights).toEqual([1, 0, 0, 0]);
    expect(attend({ mask: [mask([LARGEST, 0, 0, 0]), mask([LOWEST, 0, 0, 0])] }).output).toBe(3);
    const both = [mask([3e38, 0, 0, 0]), mask([-Infinity, 0, 0, 0])];
    expect(attend({ mask: both }).weights[0]).toBe(0);
  });

  it('infinities and NaN are what they were', () => {
    const finite = { returnLogSumExp: true, runtime } as const;
    for (const bias of [Infinity, NaN]) {
      const { output, logSumExp } = scaledDotProductAttention(q, k, v, {
        mask: mask([0, bias, 3e38, 0]),
        ...finite,
      });
      expect([output.data[0], logSumExp.data[0]]).toEqual([NaN, NaN]);
    }
    const infinite = values([Infinity, 1, 1, -Infinity]);
    const one = values([1]);
    expect(
      scaledDotProductAttention(one, infinite, v, { mask: mask([0, 0, 0, 0]) }).output.data[0],
    ).toBeNaN();
    // A score that is -Infinity by itself stays removed, whatever is added.
    const low = values([-Infinity, -Infinity, -Infinity, -Infinity]);
    expect(scaledDotProductAttention(one, low, v, { mask: mask([1, 2, LOWEST, 3e38]) }).output.data[0]).toBe(
      0,
    );
    const nan = values([NaN, 0, 0, 0]);
    const removed = { mask: mask([-Infinity, LOWEST, LOWEST, LOWEST]) };
    expect(scaledDotProductAttention(one, nan, v, removed).output.data[0]).toBeCloseTo(11 / 3, 5);
  });

  it('a row of the lowest float keeps its neighbours as they are, in any block', () => {
    const [queries, keys, dim] = [70, 300, 8];
    const random = new Random(3);
    const tensor = (length: number) =>
      runtime.tensor(random.array(length * dim, 'normal'), [1, 1, length, dim]);
    const [query, key, value] = [tensor(queries), tensor(keys), tensor(keys)];
    const added = random.array(queries * keys, 'normal');
    const plain = scaledDotProductAttention(query, key, value, { mask: mask([...added], queries, keys) });
    const changed = added.slice();
    for (const row of [0, 33]) changed.fill(LOWEST, row * keys, (row + 1) * keys);
    changed.fill(LOWEST, 50 * keys, 50 * keys + 200);
    const { output } = scaledDotProductAttention(query, key, value, {
      mask: mask([...changed], queries, keys),
    });
    for (let row = 0; row < queries; row++) {
      const actual = output.data.slice(row * dim, (row + 1) * dim);
      if (row === 0 || row === 33) {
        const mean = new Float64Array(dim);
        value.data.forEach((x, at) => (mean[at % dim]! += x / keys));
        expectClose(actual, mean);
      } else if (row !== 50) expect(actual).toEqual(plain.output.data.slice(row * dim, (row + 1) * dim));
    }
  });

  const large = [1e33, 2e38, 2.5e38, 3.2e38, LARGEST];
  const extremes = [0, 1, -3, -Infinity, LOWEST, LOWEST, ...large, ...large.map((bias) => -bias)];
  const extreme = fc.constantFrom(...extremes);
  const shapes = fc.record({
    batch: fc.integer({ min: 1, max: 2 }),
    keyHeads: fc.integer({ min: 1, max: 2 }),
    group: fc.integer({ min: 1, max: 3 }),
    queries: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom(33)),
    keys: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom(129, 260)),
    headDim: fc.integer({ min: 1, max: 20 }),
    valueHeadDim: fc.integer({ min: 1, max: 20 }),
    seed: fc.integer(),
  });

  it('equal the reference in any combination of biases, sinks and masks', () => {
    fc.assert(
      fc.property(
        shapes,
        fc.array(extreme, { minLength: 1, maxLength: 3 }),
        fc.subarray(['mask', 'bias', 'sinks', 'alibi', 'causal', 'keyLengths', 'softcap'] as const),
        (shape, biases, chosen) => {
          const { batch, keyHeads, group, queries, keys, headDim, valueHeadDim, seed } = shape;
          const random = new Random(seed);
          const heads = keyHeads * group;
          const inputs = {
            query: random.array(batch * heads * queries * headDim, 'normal'),
            key: random.array(batch * keyHeads * keys * headDim, 'normal'),
            value: random.array(batch * keyHeads * keys * valueHeadDim, 'normal'),
            ...{ batch, queryHeads: heads, keyHeads, queries, keys, headDim, valueHeadDim },
          };
          const pick = (size: number) =>
            Float32Array.from({ length: size }, () => biases[random.integer(0, biases.length - 1)]!);
          const has = (name: (typeof chosen)[number]) => chosen.includes(name);
          const added = { mask: pick(queries * keys), bias: pick(heads * keys) };
          const sinks = Float32Array.from(pick(heads), (sink) => (sink === -Infinity ? 3e38 : sink));
          const lengths = Array.from({ length: batch }, () => random.integer(0, keys));
          const alibi = Array.from({ length: heads }, (_, h) => h);
          const options: AttentionOptions = {
            queryOffset: 2,
            ...(has('mask') && { mask: { data: added.mask, shape: [queries, keys] } }),
            ...(has('bias') && { bias: { data: added.bias, shape: [heads, 1, keys] } }),
            ...(has('sinks') && { sinks }),
            ...(has('alibi') && { alibi }),
            ...(has('causal') && { causal: true }),
            ...(has('keyLengths') && { keyLengths: lengths }),
            ...(has('softcap') && { softcap: 3 }),
          };
          const clamp = (x: number) => (Math.abs(x) < Infinity ? Math.max(LOWEST, Math.min(x, LARGEST)) : x);
          const expected = referenceAttention(inputs, {
            bias: (_b, h, i, j) => (has('alibi') ? -alibi[h]! * Math.abs(j - i - 2) : 0),
            floatMask: (_b, h, i, j) => {
              const mask = has('mask') ? added.mask[i * keys + j]! : 0;
              const bias = has('bias') ? added.bias[h * keys + j]! : 0;
              return mask === -Infinity || bias === -Infinity ? -Infinity : clamp(mask + bias);
            },
            sinks: has('sinks') ? sinks : undefined,
            causalOffset: has('causal') ? 2 : undefined,
            keyLengths: has('keyLengths') ? lengths : undefined,
            softcap: has('softcap') ? 3 : undefined,
          });
          const before = runtime.memory.used;
          const [query, key, value] = [
            runtime.tensor(inputs.query, [batch, heads, queries, headDim]),
            runtime.tensor(inputs.key, [batch, keyHeads, keys, headDim]),
            runtime.tensor(inputs.value, [batch, keyHeads, keys, valueHeadDim]),
          ];
          const result = scaledDotProductAttention(query, key, value, {
            ...options,
            returnWeights: true,
            returnLogSumExp: true,
            returnStatistics: true,
          });
          expectClose(result.output.data, expected.output, 3e-5);
          expectClose(result.weights.data, expected.weights, 3e-5);
          expectClose(result.logSumExp.data, expected.logSumExp, 3e-5);
          const { statistics } = result;
          const summed = { ...options, statistics };
          const entropy = attentionEntropy(query, key, summed);
          expectClose(
            entropy.data,
            Array.from(result.logSumExp.data, (_, row) => {
              const weights = expected.weights.subarray(row * keys, (row + 1) * keys);
              return weights.reduce((sum, weight) => sum - (weight > 0 ? weight * Math.log(weight) : 0), 0);
            }),
            2e-4,
          );
          const received = receivedWeight(query, key, summed);
          expectClose(
            received.data,
            Array.from({ length: batch * heads * keys }, (_, at) => {
              const [row, j] = [Math.floor(at / keys), at % keys];
              let sum = 0;
              for (let i = 0; i < queries; i++) sum += expected.weights[(row * queries + i) * keys + j]!;
              return sum;
            }),
            1e-4,
          );
          const again = attentionWeights(query, key, summed);
          expect(again.data).toEqual(result.weights.data);
          const top = topKeys(query, key, 1, summed);
          top.keys.forEach((best, row) => {
            const weights = result.weights.data.subarray(row * keys, (row + 1) * keys);
            expect(best).toBe(weights.every((w) => w === 0) ? -1 : weights.indexOf(Math.max(...weights)));
          });
          for (const tensor of [query, key, value, result, entropy, received, again]) tensor.dispose();
          expect(runtime.memory.used).toBe(before);
        },
      ),
      { numRuns: 60 },
    );
  });

  it.each(['float32', 'float16', 'int8'] satisfies CacheStorage[])(
    'a cache of %s minds them, too',
    (storage) => {
      for (const queries of [1, 100]) {
        const cache = new KeyValueCache(runtime, { numKeyValueHeads: 1, headDim: 4, capacity: 200, storage });
        const rows = runtime.tensor(new Float32Array(150 * 4).fill(1), [1, 1, 150, 4]);
        cache.append(0, rows, rows);
        const query = runtime.tensor(new Float32Array(queries * 4).fill(1), [1, 1, queries, 4]);
        for (const bias of [LOWEST, 3e38]) {
          const { output } = cache.attend(0, query, { mask: mask(new Array<number>(150).fill(bias)) });
          output.data.forEach((y) => expect(y).toBeCloseTo(1, 5));
        }
        for (const tensor of [rows, query, cache]) tensor.dispose();
      }
    },
  );

  it('values close to the largest float have a mean', () => {
    for (const length of [2, 5, 127, 300, 1000]) {
      const keys = zeros(1, 1, length, 1);
      const random = new Random(length);
      const large = Float32Array.from({ length: length * 3 }, (_, at) =>
        at % 3 === 0
          ? LARGEST
          : at % 3 === 1
            ? random.integer(0, 1)
              ? 3e38
              : -1e38
            : random.integer(-9, 9) / 9,
      );
      const value = runtime.tensor(large, [1, 1, length, 3]);
      for (const queries of [1, 2, 7]) {
        const query = zeros(1, 1, queries, 1);
        const { output } = scaledDotProductAttention(query, keys, value);
        const mean = [0, 0, 0];
        large.forEach((x, at) => (mean[at % 3]! += x / length));
        for (let i = 0; i < queries; i++) expectClose(output.data.slice(3 * i, 3 * i + 3), mean, 1e-5);
        output.dispose();
        query.dispose();
      }
      for (const tensor of [keys, value]) tensor.dispose();
    }
  });

  it('values close to the largest float in a later block, beside infinite and removed ones', () => {
    const length = 400;
    const numbers = Float32Array.from({ length: length * 2 }, (_, at) =>
      at % 2 ? 1 : at < 600 ? 0.5 : 3e38,
    );
    const value = runtime.tensor(numbers, [1, 1, length, 2]);
    const keys = zeros(1, 1, length, 1);
    const { output } = scaledDotProductAttention(keys, keys, value, { causal: true });
    for (let i = 0; i < length; i++) {
      const seen = i + 1;
      const expected = i < 300 ? 0.5 : (0.5 * 300 + 3e38 * (seen - 300)) / seen;
      expectClose(output.data.slice(2 * i, 2 * i + 2), [expected, 1], 1e-5);
    }
    value.data[2 * 350] = Infinity;
    value.data[2 * 351] = NaN;
    const marred = scaledDotProductAttention(keys, keys, value, { causal: true }).output;
    expect(marred.data.slice(0, 700)).toEqual(output.data.slice(0, 700));
    expect(marred.data[700]).toBe(Infinity);
    expect(marred.data[2 * 351]).toBeNaN();
    expect(marred.data[701]).toBeCloseTo(1, 5);
    const kept = Array.from({ length }, (_, j) => j < 350 || j > 351);
    const without = scaledDotProductAttention(keys, keys, value, {
      mask: { data: kept, shape: [length] },
    }).output;
    expectClose([without.data[0]!], [(0.5 * 300 + 3e38 * 98) / 398], 1e-5);
  });

  it('results close to the largest float are merged', () => {
    const part = (y: number, logSumExp: number) => ({
      output: values([y]),
      logSumExp: runtime.tensor([logSumExp], [1, 1, 1]),
    });
    const merged = (...parts: ReturnType<typeof part>[]) => mergeAttention(parts).output.data[0];
    expect(merged(part(LARGEST, 0), part(LARGEST, 0), part(LARGEST, 0))).toBe(LARGEST);
    expect(merged(part(3e38, 1), part(-3e38, 1))).toBe(0);
    expect(merged(part(3e38, 0), part(1e38, 0))! / 2e38).toBeCloseTo(1, 5);
    expect(merged(part(Infinity, 0), part(1e38, 0))).toBe(Infinity);
    expect(merged(part(3e38, -LARGEST_SCORE), part(3e38, -LARGEST_SCORE))! / 3e38).toBeCloseTo(1, 5);
  });

  it('sinks of 3e38 take all, and of -3e38 nothing but from keys as low', () => {
    expect(attend({ sinks: [3e38] })).toMatchObject({ output: 0, weights: [0, 0, 0, 0], entropy: 0 });
    expect(attend({ sinks: [-3e38] })).toMatchObject({ output: 3, weights: [0.25, 0.25, 0.25, 0.25] });
    const low = attend({ sinks: [LOWEST], mask: mask([LOWEST, LOWEST, LOWEST, -Infinity]) });
    expect(low.weights).toEqual([0.25, 0.25, 0.25, 0]);
    const high = attend({ sinks: [3e38], mask: mask([LARGEST, LARGEST, 3e38, 0]) });
    expect(high.weights).toEqual([0.25, 0.25, 0.25, 0]);
  });

  it('scales, temperatures and softcaps are right within the range that errors state', () => {
    const one = values([1e-19]);
    const keys = values([0, 1e-19, 2e-19, -1e-19]);
    const near = (options: AttentionOptions, scores: readonly number[]) => {
      const { weights } = scaledDotProductAttention(one, keys, v, { ...options, returnWeights: true });
      const sum = scores.reduce((total, score) => total + Math.exp(score), 0);
      expectClose(
        weights.data,
        scores.map((score) => Math.exp(score) / sum),
      );
    };
    near({ scale: 2 ** 127 }, [0, 1.7014, 3.4028, -1.7014]);
    near({ scale: -(2 ** 127) }, [0, -1.7014, -3.4028, 1.7014]);
    near({ scale: 1, temperature: 2 ** -127 }, [0, 1.7014, 3.4028, -1.7014]);
    near({ scale: 1e38, softcap: 2 ** 100 }, [0, 1, 2, -1]);
    near({ scale: 1e38, softcap: 2 }, [0, 2 * Math.tanh(0.5), 2 * Math.tanh(1), -2 * Math.tanh(0.5)]);
    near({ scale: 1e-320, temperature: 1e-300 }, [0, 0, 0, 0]);
    near({ scale: 1, softcap: 2 ** -100 }, [0, 0, 0, 0]);
    near({ scale: 0, temperature: 1e-300 }, [0, 0, 0, 0]);
    const { used } = runtime.memory;
    const refused = (options: AttentionOptions, message: RegExp) =>
      expect(() => scaledDotProductAttention(q, k, v, options)).toThrow(message);
    for (const scale of [1.8e38, -3e38, 1e300, Infinity])
      refused({ scale }, /^scale: expected a number from -1\.7/);
    for (const temperature of [1e-39, 1e-300, 5e-324])
      refused({ temperature }, /^temperature: expected a number from 5\.8/);
    for (const softcap of [2.4e38, 1e31, 1e-31, 1e-300])
      refused({ softcap }, /^softcap: expected a number from/);
    refused({ scale: 1e38, softcap: 1e-3 }, /^softcap: expected a number from 0\.5/);
    refused({ scale: 1e38, temperature: 0.1 }, /^temperature: expected a number from 0\.5/);
    refused({ alibi: [1e21], queryOffset: 0 }, /^alibi: expected .*2\^64/);
    const table = new Float32Array(32).fill(1e31);
    refused({ relativePositionBias: { table }, queryOffset: 0 }, /relativePositionBias.table: .*2\^100/);
    expect(runtime.memory.used).toBe(used);
    near({ alibi: [2 ** 64], queryOffset: 0 }, [0, -Infinity, -Infinity, -Infinity]);
  });
});
