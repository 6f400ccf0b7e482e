// Fused attention against the float64 reference: random shapes and random combinations of options, on every build.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  alibiSlopes,
  attentionWeights,
  customMask,
  documents,
  scaledDotProductAttention,
  slidingWindow,
} from 'wasm-attention';
import type { Runtime, ScaledDotProductAttentionOptions, Tensor } from 'wasm-attention';
import { referenceAttention } from '../../reference/attention.js';
import type { AttentionOptions as ReferenceOptions } from '../../reference/attention.js';
import { Random } from '../../reference/random.js';
import { eachBuild } from '../../support/runtimes.js';

const size = (most: number) => fc.integer({ min: 1, max: most });

const shapes = fc.record({
  batch: size(3),
  keyHeads: size(3),
  group: size(4),
  queries: fc.oneof(size(9), size(70), fc.constantFrom(127, 128, 129, 250)),
  keys: fc.oneof(size(9), size(70), fc.constantFrom(127, 128, 129, 256, 300)),
  headDim: size(70),
  valueHeadDim: size(70),
  seed: fc.integer(),
});

type Shapes = typeof shapes extends fc.Arbitrary<infer Value> ? Value : never;

const features = fc.subarray(
  [
    'scale',
    'softcap',
    'causal',
    'window',
    'keyLengths',
    'boolean',
    'float',
    'bias',
    'alibi',
    'sinks',
    'custom',
    'documents',
  ] as const,
  { maxLength: 4 },
);

/** The same call for the package and for the reference. */
function build(shapes: Shapes, chosen: readonly string[]) {
  const { batch, keyHeads, group, queries, keys, headDim, valueHeadDim, seed } = shapes;
  const random = new Random(seed);
  const heads = keyHeads * group;
  const inputs = {
    query: random.array(batch * heads * queries * headDim, 'normal'),
    key: random.array(batch * keyHeads * keys * headDim, 'normal'),
    value: random.array(batch * keyHeads * keys * valueHeadDim, 'normal'),
    ...{ batch, queryHeads: heads, keyHeads, queries, keys, headDim, valueHeadDim },
  };
  const options: Record<string, unknown> = {};
  const masks: unknown[] = [];
  const predicates: ((b: number, h: number, i: number, j: number) => boolean)[] = [];
  const reference: ReferenceOptions = {};
  const offsets = Array.from({ length: batch }, () => random.integer(-3, keys));
  const has = (name: string) => chosen.includes(name);
  if (has('causal') || has('window') || has('alibi') || has('documents')) options['queryOffset'] = offsets;
  if (has('scale')) options['scale'] = reference.scale = random.integer(-2, 2) / 4;
  if (has('softcap')) options['softcap'] = reference.softcap = 1 + random.integer(0, 30);
  if (has('causal')) {
    options['causal'] = true;
    reference.causalOffset = offsets;
  }
  if (has('window')) {
    options['window'] = reference.window = { left: random.integer(0, 40), right: random.integer(0, 40) };
    reference.windowOffset = offsets;
  }
  if (has('keyLengths')) {
    options['keyLengths'] = reference.keyLengths = Array.from({ length: batch }, () =>
      random.integer(0, keys),
    );
  }
  if (has('boolean')) {
    const kept = Uint8Array.from({ length: heads * queries * keys }, () =>
      random.integer(0, 3) > 0 ? 1 : 0,
    );
    masks.push({ data: kept, shape: [heads, queries, keys] });
    predicates.push((_b, h, i, j) => kept[(h * queries + i) * keys + j] === 1);
  }
  if (has('float')) {
    const added = Float32Array.from({ length: batch * keys }, () =>
      random.integer(0, 3) === 0 ? -Infinity : random.integer(-9, 9) / 3,
    );
    masks.push({ data: added, dims: [batch, 1, 1, keys] });
    reference.floatMask = (b, _h, _i, j) => added[b * keys + j]!;
  }
  if (has('custom')) {
    masks.push(customMask({ keeps: (_b, h, i, j) => (i + 3 * j + h) % 5 !== 0, perHead: true }));
    predicates.push((_b, h, i, j) => (i + 3 * j + h) % 5 !== 0);
  }
  if (has('documents')) {
    const ids = Array.from({ length: keys }, (_, j) => Math.floor(j / 20));
    masks.push(documents({ ids }));
    predicates.push((b, _h, i, j) => {
      const position = i + offsets[b]!;
      return position >= 0 && position < keys && ids[position] === ids[j];
    });
  }
  if (has('bias')) {
    const bias = random.array(queries * keys, 'normal');
    options['bias'] = { data: bias, shape: [queries, keys] };
    reference.bias = (_b, _h, i, j) => bias[i * keys + j]!;
  }
  if (has('alibi')) {
    options['alibi'] = true;
    const slopes = alibiSlopes(heads);
    const before = reference.bias;
    reference.bias = (b, h, i, j) => (before?.(b, h, i, j) ?? 0) - slopes[h]! * Math.abs(j - i - offsets[b]!);
  }
  if (has('sinks')) options['sinks'] = reference.sinks = random.array(heads, 'normal');
  if (masks.length > 0) options['mask'] = masks;
  if (predicates.length > 0) reference.predicate = (...pair) => predicates.every((keeps) => keeps(...pair));
  return { inputs, options: options as ScaledDotProductAttentionOptions, reference };
}

function tensors(runtime: Runtime, inputs: ReturnType<typeof build>['inputs']): [Tensor, Tensor, Tensor] {
  const { batch, queryHeads, keyHeads, queries, keys, headDim, valueHeadDim } = inputs;
  return [
    runtime.tensor(inputs.query, [batch, queryHeads, queries, headDim]),
    runtime.tensor(inputs.key, [batch, keyHeads, keys, headDim]),
    runtime.tensor(inputs.value, [batch, keyHeads, keys, valueHeadDim]),
  ];
}

function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const [a, e] = [actual[i]!, expected[i]!];
    if (Object.is(a, e) || a === e) continue;
    worst = Math.max(worst, Number.isFinite(a - e) ? Math.abs(a - e) : Infinity);
  }
  expect(worst).toBeLessThanOrEqual(tolerance);
}

/** What float32 may lose: half a unit in the last place of the largest score, and of what is computed from it. */
function toleranceAt(scores: ArrayLike<number>): number {
  let largest = 16;
  for (let i = 0; i < scores.length; i++) {
    const size = Math.abs(scores[i]!);
    if (size > largest && size < Infinity) largest = size;
  }
  return (1e-5 * largest) / 16;
}

await eachBuild('attention', (runtime, name) => {
  it('equals the reference in any shape and combination of up to four features', () => {
    fc.assert(
      fc.property(shapes, features, (shape, chosen) => {
        const { inputs, options, reference } = build(shape, chosen);
        const before = runtime.memory.used;
        const [q, k, v] = tensors(runtime, inputs);
        const result = scaledDotProductAttention(q, k, v, {
          ...options,
          returnWeights: true,
          returnLogSumExp: true,
          returnStatistics: true,
        });
        const expected = referenceAttention(inputs, reference);
        const tolerance = toleranceAt(expected.scores.masked);
        expectClose(result.output.data, expected.output, tolerance);
        expectClose(result.weights.data, expected.weights, tolerance);
        expectClose(result.logSumExp.data, expected.logSumExp, 3 * tolerance);
        const { statistics } = result;
        const again = attentionWeights(q, k, { ...options, statistics });
        expect(again.data).toEqual(result.weights.data);
        for (const tensor of [q, k, v, again, result]) tensor.dispose();
        expect(runtime.memory.used).toBe(before);
      }),
      { numRuns: 80 },
    );
  });

  it('shows every stage as the reference does', () => {
    const { inputs, options, reference } = build(
      { batch: 2, keyHeads: 2, group: 2, queries: 11, keys: 140, headDim: 17, valueHeadDim: 5, seed: 3 },
      ['softcap', 'causal', 'bias', 'boolean'],
    );
    const [q, k] = tensors(runtime, inputs);
    const { scores, weights } = referenceAttention(inputs, reference);
    for (const [stage, expected] of Object.entries({ ...scores, weights })) {
      const actual = attentionWeights(q, k, { ...options, stage: stage as 'scaled' });
      expectClose(actual.data, expected, 3e-5);
    }
    const raw = attentionWeights(q, k, { ...options, stage: 'raw' });
    expectClose(
      Array.from(raw.data, (score) => score / Math.sqrt(17)),
      scores.scaled,
      1e-5,
    );
  });

  it('never lets a removed key leak, whatever it holds', () => {
    fc.assert(
      fc.property(shapes, fc.constantFrom(NaN, Infinity, -Infinity), (shape, poison) => {
        const { inputs, options, reference } = build(shape, ['keyLengths', 'custom', 'causal']);
        const removed = new Set<number>();
        const { scores } = referenceAttention(inputs, reference);
        const { batch, queryHeads, keyHeads, queries, keys, headDim, valueHeadDim } = inputs;
        for (let b = 0; b < batch; b++) {
          for (let head = 0; head < keyHeads; head++)
            for (let j = 0; j < keys; j++) removed.add((b * keyHeads + head) * keys + j);
        }
        scores.masked.forEach((score, at) => {
          const j = at % keys;
          const h = Math.floor(at / keys / queries) % queryHeads;
          const b = Math.floor(at / keys / queries / queryHeads);
          if (score > -Infinity)
            removed.delete((b * keyHeads + Math.floor((h * keyHeads) / queryHeads)) * keys + j);
        });
        for (const key of removed) {
          inputs.key.fill(poison, key * headDim, (key + 1) * headDim);
          inputs.value.fill(poison, key * valueHeadDim, (key + 1) * valueHeadDim);
        }
        const [q, k, v] = tensors(runtime, inputs);
        const result = scaledDotProductAttention(q, k, v, { ...options, returnWeights: true });
        const expected = referenceAttention(inputs, reference);
        const tolerance = toleranceAt(expected.scores.masked);
        expectClose(result.output.data, expected.output, tolerance);
        expectClose(result.weights.data, expected.weights, tolerance);
        for (const tensor of [q, k, v, result]) tensor.dispose();
      }),
      { numRuns: 60 },
    );
  });

  it('keeps an infinite value out of the rows that do not see it, key by key', () => {
    const n = 150;
    const random = new Random(5);
    const q = runtime.tensor(random.array(n * 8, 'normal'), [1, 1, n, 8]);
    const k = runtime.tensor(random.array(n * 8, 'normal'), [1, 1, n, 8]);
    const values = random.array(n * 8, 'normal');
    const clean = scaledDotProductAttention(q, k, { data: values, shape: [1, 1, n, 8] }, { causal: true });
    values[100 * 8] = NaN;
    values[101 * 8] = Infinity;
    const { output } = scaledDotProductAttention(
      q,
      k,
      { data: values, shape: [1, 1, n, 8] },
      { causal: true },
    );
    expect(output.data.slice(0, 100 * 8)).toEqual(clean.output.data.slice(0, 100 * 8));
    for (let i = 100; i < n; i++) expect(output.data[i * 8]).toBeNaN();
  });

  it('keeps a NaN score within its row, and holds at huge, tiny and equal scores', () => {
    const q = runtime.tensor([NaN, 1e4, 1e-30, 0], [1, 1, 4, 1]);
    const k = runtime.tensor([1, -1, 0.5], [1, 1, 3, 1]);
    const v = runtime.tensor([1, 2, 6], [1, 1, 3, 1]);
    const { output } = scaledDotProductAttention(q, k, v, {});
    expect(Array.from(output.data)).toEqual([NaN, 1, expect.closeTo(3, 5), expect.closeTo(3, 5)]);
  });

  it('reads strided inputs where they lie and writes strided outputs', () => {
    const [batch, length, heads, dim] = [2, 37, 3, 8];
    const width = 3 * heads * dim;
    const packed = runtime.tensor(new Random(1).array(batch * length * width, 'normal'), [
      batch,
      length,
      width,
    ]);
    const part = (index: number) =>
      packed
        .slice(2, index * heads * dim, (index + 1) * heads * dim)
        .reshape([batch, length, heads, dim])
        .transpose(1, 2);
    const copy = (tensor: Tensor) => runtime.tensor(tensor.toFloat32Array(), tensor.shape);
    const [q, k, v] = [part(0), part(1), part(2)];
    const merged = runtime.empty([batch, length, heads, dim]);
    const before = runtime.memory.used;
    scaledDotProductAttention(q, k, v, { causal: true, output: merged.transpose(1, 2) });
    expect(runtime.memory.used).toBe(before);
    const expected = scaledDotProductAttention(copy(q), copy(k), copy(v), { causal: true });
    expect(merged.transpose(1, 2).toFloat32Array()).toEqual(expected.output.toFloat32Array());
  });

  if (name === 'simd') {
    it('gives a row the same bits whatever else is computed with it', () => {
      const random = new Random(7);
      const [heads, n, dim] = [4, 300, 33];
      const q = runtime.tensor(random.array(heads * n * dim, 'normal'), [1, heads, n, dim]);
      const k = runtime.tensor(random.array(2 * n * dim, 'normal'), [1, 2, n, dim]);
      const v = runtime.tensor(random.array(2 * n * dim, 'normal'), [1, 2, n, dim]);
      const whole = scaledDotProductAttention(q, k, v, { causal: true }).output;
      for (const [from, to] of [
        [0, 1],
        [5, 12],
        [127, 129],
        [200, 300],
        [299, 300],
      ] as const) {
        const some = scaledDotProductAttention(q.slice(2, from, to), k, v, {
          causal: true,
          queryOffset: from,
        }).output;
        expect(some.data).toEqual(Float32Array.from(whole.slice(2, from, to).toFloat32Array()));
        // Keys that no row of the slice sees may be missing altogether.
        const seen = scaledDotProductAttention(q.slice(2, from, to), k.slice(2, 0, to), v.slice(2, 0, to), {
          causal: true,
          queryOffset: from,
        }).output;
        expect(seen.data).toEqual(some.data);
      }
      const oneGroup = scaledDotProductAttention(q.slice(1, 0, 2), k.slice(1, 0, 1), v.slice(1, 0, 1), {
        mask: slidingWindow({ right: 0 }),
      });
      expect(oneGroup.output.data).toEqual(whole.slice(1, 0, 2).toFloat32Array());
    });
  }
});
