// Gradients of attention against their formulas in float64: random shapes and combinations of options, on every build; what removed
// keys hold; places with strides; bits; errors.

import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import {
  alibiSlopes,
  AttentionError,
  createRuntime,
  customMask,
  relativeBucket,
  scaledDotProductAttention,
  slidingWindow,
} from 'wasm-attention';
import type { Runtime, ScaledDotProductAttentionOptions, Tensor } from 'wasm-attention';
import {
  droppedAttention,
  scaledDotProductAttentionBackward,
  scaledDotProductAttentionBackwardAsync,
  training,
} from 'wasm-attention/training';
import type { AttentionInputName } from 'wasm-attention/training';
import { philox } from '../../src/math/philox.js';
import { attentionInput, planAttention } from '../../src/ops/attention/plan.js';
import { runPlan } from '../../src/ops/attention/scaled-dot-product-attention.js';
import { runInScope } from '../../src/runtime/call.js';
import { runAttentionBackward } from '../../src/training/ops/attention-backward.js';
import { referenceAttentionGradients } from '../reference/attention-backward.js';
import type { AttentionOptions as ReferenceOptions } from '../reference/attention.js';
import { Random } from '../reference/random.js';
import { eachInternalBuild } from '../support/internals.js';
import { builds, eachBuild } from '../support/runtimes.js';

const size = (most: number) => fc.integer({ min: 1, max: most });

const shapes = fc.record({
  batch: size(3),
  keyHeads: size(3),
  group: size(3),
  queries: fc.oneof(size(9), size(70), fc.constantFrom(127, 129, 250)),
  keys: fc.oneof(size(9), size(70), fc.constantFrom(127, 128, 129, 300)),
  headDim: fc.oneof(size(70), fc.constantFrom(128, 136, 200)),
  valueHeadDim: fc.oneof(size(70), fc.constantFrom(128, 136, 200)),
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
    'mask',
    'bias',
    'alibi',
    'relativePositionBias',
    'sinks',
    'custom',
    'logSumExp',
  ] as const,
  { maxLength: 4 },
);

type Sum = (visit: (b: number, h: number, i: number, j: number) => number, length: number) => Float64Array;

/** The same call for the package and for the reference, and what its gradients are of those of the scores. */
function build(shape: Shapes, chosen: readonly string[]) {
  const { batch, keyHeads, group, queries, keys, headDim, valueHeadDim, seed } = shape;
  const random = new Random(seed);
  const heads = keyHeads * group;
  const inputs = {
    query: random.array(batch * heads * queries * headDim, 'normal'),
    key: random.array(batch * keyHeads * keys * headDim, 'normal'),
    value: random.array(batch * keyHeads * keys * valueHeadDim, 'normal'),
    ...{ batch, queryHeads: heads, keyHeads, queries, keys, headDim, valueHeadDim },
  };
  const dOutput = random.array(batch * heads * queries * valueHeadDim, 'normal');
  const has = (name: string) => chosen.includes(name);
  const dLogSumExp = has('logSumExp') ? random.array(batch * heads * queries, 'normal') : undefined;
  const options: Record<string, unknown> = {};
  const masks: unknown[] = [];
  const reference: ReferenceOptions = {};
  const predicates: ((b: number, h: number, i: number, j: number) => boolean)[] = [];
  const biases: ((b: number, h: number, i: number, j: number) => number)[] = [];
  const sums: Partial<Record<AttentionInputName, (sum: Sum) => Float64Array>> = {};
  const offsets = Array.from({ length: batch }, () => random.integer(-3, keys));
  if (['causal', 'window', 'alibi', 'relativePositionBias'].some(has)) options['queryOffset'] = offsets;
  if (has('scale')) {
    options['scale'] = random.integer(-2, 2) / 4;
    options['temperature'] = 1.5;
    reference.scale = (options['scale'] as number) / 1.5;
  }
  if (has('softcap')) options['softcap'] = reference.softcap = 1 + random.integer(0, 5);
  if (has('causal')) {
    options['causal'] = true;
    reference.causalOffset = offsets;
  }
  if (has('window')) {
    options['window'] = reference.window = { left: random.integer(0, 40), right: random.integer(0, 40) };
    reference.windowOffset = offsets;
  }
  if (has('keyLengths')) {
    const lengths = Array.from({ length: batch }, () => random.integer(0, keys));
    options['keyLengths'] = reference.keyLengths = lengths;
  }
  if (has('boolean')) {
    const kept = Uint8Array.from({ length: heads * queries * keys }, () =>
      random.integer(0, 3) > 0 ? 1 : 0,
    );
    masks.push({ data: kept, shape: [heads, queries, keys] });
    predicates.push((_b, h, i, j) => kept[(h * queries + i) * keys + j] === 1);
  }
  if (has('custom')) {
    masks.push(customMask({ keeps: (_b, h, i, j) => (i + 3 * j + h) % 5 !== 0, perHead: true }));
    predicates.push((_b, h, i, j) => (i + 3 * j + h) % 5 !== 0);
  }
  if (has('mask')) {
    const added = Float32Array.from({ length: batch * keys }, () =>
      random.integer(0, 3) === 0 ? -Infinity : random.integer(-9, 9) / 3,
    );
    masks.push({ data: added, dims: [batch, 1, 1, keys] });
    reference.floatMask = (b, _h, _i, j) => added[b * keys + j]!;
    sums.mask = (sum) => sum((b, _h, _i, j) => b * keys + j, batch * keys);
  }
  if (has('bias')) {
    const [dims, at] = random.boolean()
      ? [[heads, queries, 1], (_b: number, h: number, i: number) => h * queries + i]
      : [[queries, keys], (_b: number, _h: number, i: number, j: number) => i * keys + j];
    const bias = random.array(
      dims.reduce((a, b) => a * b),
      'normal',
    );
    options['bias'] = { data: bias, dims };
    biases.push((...place) => bias[at(...place)]!);
    sums.bias = (sum) => sum(at, bias.length);
  }
  if (has('alibi')) {
    const perBatch = random.boolean();
    const slopes = perBatch ? random.array(batch * heads) : alibiSlopes(heads);
    options['alibi'] = perBatch
      ? Array.from({ length: batch }, (_, b) => Array.from(slopes.subarray(b * heads, (b + 1) * heads)))
      : true;
    const at = (b: number, h: number) => (perBatch ? b * heads + h : h);
    const far = (b: number, i: number, j: number) => -Math.abs(j - i - offsets[b]!);
    biases.push((b, h, i, j) => slopes[at(b, h)]! * far(b, i, j));
    sums.alibi = (sum) => {
      const total = new Float64Array(slopes.length);
      sum(
        (b, h, i, j) => (b * heads + h) * queries * keys + i * keys + j,
        batch * heads * queries * keys,
      ).forEach((gradient, place) => {
        const [j, i] = [place % keys, Math.floor(place / keys) % queries];
        const row = Math.floor(place / (keys * queries));
        const b = Math.floor(row / heads);
        total[at(b, row % heads)]! += gradient * far(b, i, j);
      });
      return total;
    };
  }
  if (has('relativePositionBias')) {
    const table = random.array(8 * heads, 'normal');
    options['relativePositionBias'] = { table, buckets: 8, maxDistance: 20 };
    const at = (b: number, h: number, i: number, j: number) =>
      relativeBucket(j - i - offsets[b]!, 8, 20, true) * heads + h;
    biases.push((...place) => table[at(...place)]!);
    sums.relativePositionBias = (sum) => sum(at, table.length);
  }
  if (has('sinks')) options['sinks'] = reference.sinks = random.array(heads, 'normal');
  if (masks.length > 0) options['mask'] = masks;
  if (biases.length > 0) {
    reference.bias = (...place) => biases.reduce((total, bias) => total + bias(...place), 0);
  }
  if (predicates.length > 0) reference.predicate = (...pair) => predicates.every((keeps) => keeps(...pair));
  return {
    inputs,
    dOutput,
    dLogSumExp,
    options: options as ScaledDotProductAttentionOptions,
    reference,
    sums,
  };
}

type Call = ReturnType<typeof build>;

function tensors(runtime: Runtime, { inputs }: Call): [Tensor, Tensor, Tensor] {
  const { batch, queryHeads, keyHeads, queries, keys, headDim, valueHeadDim } = inputs;
  return [
    runtime.tensor(inputs.query, [batch, queryHeads, queries, headDim]),
    runtime.tensor(inputs.key, [batch, keyHeads, keys, headDim]),
    runtime.tensor(inputs.value, [batch, keyHeads, keys, valueHeadDim]),
  ];
}

/** Gradients that are sums over all scores. */
const summed = new Set<string>(['scale', 'temperature', 'bias', 'relativePositionBias', 'sinks', 'mask']);

/** What is expected, by name. */
function expectedGradients(call: Call) {
  const { inputs, options, reference, dOutput, dLogSumExp, sums } = call;
  const { batch, queryHeads: heads, queries, keys } = inputs;
  const gradients = referenceAttentionGradients(inputs, reference, dOutput, dLogSumExp);
  const expected: Partial<Record<AttentionInputName, ArrayLike<number>>> = {
    query: gradients.query,
    key: gradients.key,
    value: gradients.value,
  };
  const sum: Sum = (place, length) => {
    const total = new Float64Array(length);
    for (let at = 0; at < batch * heads * queries * keys; at++) {
      const row = Math.floor(at / (keys * queries));
      const target = place(Math.floor(row / heads), row % heads, Math.floor(at / keys) % queries, at % keys);
      total[target]! += gradients.scores[at]!;
    }
    return total;
  };
  for (const [name, of] of Object.entries(sums)) expected[name as AttentionInputName] = of(sum);
  if (options.sinks) expected.sinks = gradients.sinks;
  const { scale = 1, temperature } = options;
  if (temperature !== undefined) {
    expected.scale = [gradients.scale / temperature];
    expected.temperature = [(-gradients.scale * scale) / temperature ** 2];
  }
  return expected;
}

/** Differences in parts of the largest number, at least 1. */
function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  name: string,
) {
  expect(actual.length, name).toBe(expected.length);
  let [worst, largest] = [0, 1];
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(expected[i]!));
    const difference = Math.abs(actual[i]! - expected[i]!);
    if (!(difference <= worst)) worst = Number.isNaN(difference) ? Infinity : difference;
  }
  expect(worst / largest, name).toBeLessThanOrEqual(tolerance);
}

function upstreamOf({ inputs, dOutput, dLogSumExp }: Call) {
  const rows = [inputs.batch, inputs.queryHeads, inputs.queries];
  return {
    output: { data: dOutput, shape: [...rows, inputs.valueHeadDim] },
    logSumExp: dLogSumExp && { data: dLogSumExp, shape: rows },
  };
}

await eachBuild('gradients of attention', (runtime) => {
  beforeAll(() => runtime.load(training));

  it('equal the reference in any shape and combination of up to four features', () => {
    fc.assert(
      fc.property(shapes, features, (shape, chosen) => {
        const call = build(shape, chosen);
        const before = runtime.memory.used;
        const given = tensors(runtime, call);
        const { output, record } = scaledDotProductAttention(...given, {
          ...call.options,
          returnRecord: true,
        });
        const expected = expectedGradients(call);
        const names = Object.keys(expected) as AttentionInputName[];
        const gradients = scaledDotProductAttentionBackward(record, upstreamOf(call), { gradients: names });
        for (const name of names) {
          // What flows into a score is a difference of sums over the channels of values, and can be far smaller than they are.
          const tolerance =
            4e-4 * (name === 'alibi' ? shape.queries + shape.keys : summed.has(name) ? 10 : 1);
          expectClose(gradients[name]!.data, expected[name]!, tolerance, name);
        }
        for (const made of [...given, output, record, gradients]) made.dispose();
        expect(runtime.memory.used).toBe(before);
      }),
      { numRuns: 100 },
    );
  });

  it('are computed one by one as together', () => {
    const call = build(
      { batch: 2, keyHeads: 2, group: 2, queries: 40, keys: 150, headDim: 9, valueHeadDim: 5, seed: 8 },
      ['causal', 'bias', 'sinks', 'scale'],
    );
    const { record } = scaledDotProductAttention(...tensors(runtime, call), {
      ...call.options,
      returnRecord: true,
    });
    const names = Object.keys(expectedGradients(call)) as AttentionInputName[];
    const all = scaledDotProductAttentionBackward(record, upstreamOf(call), { gradients: names });
    for (const name of names) {
      const one = scaledDotProductAttentionBackward(record, upstreamOf(call), { gradients: [name] });
      expect(one[name]!.data).toEqual(all[name]!.data);
      expect(names.filter((other) => one[other])).toEqual([name]);
    }
  });

  it('have no trace of removed keys, whatever they hold', () => {
    const removals: [string, ScaledDotProductAttentionOptions][] = [
      ['lengths', { keyLengths: [90] }],
      [
        'a boolean mask',
        { mask: { data: Uint8Array.from({ length: 200 }, (_, j) => (j < 90 ? 1 : 0)), shape: [200] } },
      ],
      [
        'a float mask',
        {
          mask: {
            data: Float32Array.from({ length: 200 }, (_, j) => (j < 90 ? 0 : -Infinity)),
            shape: [200],
          },
        },
      ],
      ['a causal mask', { causal: 'upper-left' }],
      ['a window', { mask: slidingWindow({ left: 50, right: 10 }), queryOffset: 0 }],
      ['a custom mask', { mask: customMask({ keeps: (_b, _h, _i, j) => j < 90 }) }],
    ];
    const shape = { batch: 1, keyHeads: 1, group: 2, queries: 80, keys: 200, headDim: 12, valueHeadDim: 20 };
    for (const [name, options] of removals) {
      for (const poison of [NaN, Infinity, -Infinity, 1e30]) {
        const grade = (filling: number) => {
          const call = build({ ...shape, seed: 5 }, []);
          call.inputs.key.fill(filling, 90 * 12);
          call.inputs.value.fill(filling, 90 * 20);
          const { record } = scaledDotProductAttention(...tensors(runtime, call), {
            ...options,
            returnRecord: true,
          });
          const { query, key, value } = scaledDotProductAttentionBackward(record, upstreamOf(call));
          return [query, key, value].map((tensor) => tensor!.toFloat32Array());
        };
        const clean = grade(0);
        expect(
          clean.every((data) => data.every(Number.isFinite)),
          name,
        ).toBe(true);
        expect(grade(poison), `${name} over ${poison}`).toEqual(clean);
      }
    }
  });

  it('leave out the weights that dropout left out', () => {
    const rates = fc.constantFrom(0, 0.1, 0.5, 0.9);
    fc.assert(
      fc.property(shapes, features, rates, fc.maxSafeNat(), (shape, chosen, dropout, seed) => {
        const call = build(shape, chosen);
        const { inputs, options, reference, dOutput, dLogSumExp } = call;
        const before = runtime.memory.used;
        const given = tensors(runtime, call);
        const { output, record } = droppedAttention(...given, {
          ...options,
          dropout,
          seed,
          returnRecord: true,
        });
        const gradients = scaledDotProductAttentionBackward(record, upstreamOf(call));
        const key = [seed | 0, Math.floor(seed / 2 ** 32)];
        const dropped = (row: number, j: number) => {
          const counter = [
            Math.floor(j / 16) * 4 + (j % 4),
            row % inputs.queries,
            1 + Math.floor(row / inputs.queries),
            0,
          ];
          const word = philox(counter, key)[Math.floor(j / 4) % 4]!;
          return word < Math.floor(dropout * 2 ** 32) ? 0 : 1 / (1 - dropout);
        };
        const expected = referenceAttentionGradients(inputs, reference, dOutput, dLogSumExp, dropped);
        expectClose(output.data, expected.output, 1e-4, 'output');
        for (const name of ['query', 'key', 'value'] as const) {
          expectClose(gradients[name]!.data, expected[name], 4e-4, name);
        }
        for (const made of [...given, output, record, gradients]) made.dispose();
        expect(runtime.memory.used).toBe(before);
      }),
      { numRuns: 40 },
    );
    for (const wrong of [
      { dropout: 1, seed: 0 },
      { dropout: -0.1, seed: 0 },
      { dropout: 0.1, seed: 0.5 },
    ]) {
      const call = build(
        { batch: 1, keyHeads: 1, group: 1, queries: 3, keys: 3, headDim: 4, valueHeadDim: 4, seed: 1 },
        [],
      );
      expect(() => droppedAttention(...tensors(runtime, call), wrong)).toThrow(AttentionError);
    }
  });

  it('are zero for rows without keys, whatever flows into them', () => {
    const call = build(
      { batch: 2, keyHeads: 1, group: 1, queries: 6, keys: 9, headDim: 8, valueHeadDim: 8, seed: 2 },
      [],
    );
    call.dOutput.fill(NaN, 6 * 8);
    const { record } = scaledDotProductAttention(...tensors(runtime, call), {
      keyLengths: [9, 0],
      returnRecord: true,
    });
    const { query, key, value } = scaledDotProductAttentionBackward(record, upstreamOf(call));
    for (const [tensor, length] of [
      [query, 6],
      [key, 9],
      [value, 9],
    ] as const) {
      const data = tensor!.toFloat32Array();
      expect(data.subarray(length * 8)).toEqual(new Float32Array(length * 8));
      expect(data.subarray(0, length * 8).every((one) => Number.isFinite(one) && one !== 0)).toBe(true);
    }
  });

  it('exist where an axis has no length', () => {
    for (const [batch, queries, keys] of [
      [0, 3, 4],
      [1, 0, 4],
      [1, 3, 0],
    ] as const) {
      const call = build(
        { batch, keyHeads: 1, group: 1, queries, keys, headDim: 4, valueHeadDim: 4, seed: 1 },
        [],
      );
      const { record } = scaledDotProductAttention(...tensors(runtime, call), {
        queryOffset: 0,
        returnRecord: true,
      });
      const gradients = scaledDotProductAttentionBackward(record, upstreamOf(call));
      for (const name of ['query', 'key', 'value'] as const) {
        expect(gradients[name]!.data).toEqual(new Float32Array(gradients[name]!.size));
      }
    }
  });

  it('refuse what makes no sense, before anything is made', () => {
    const call = build(
      { batch: 1, keyHeads: 1, group: 1, queries: 3, keys: 4, headDim: 4, valueHeadDim: 4, seed: 1 },
      [],
    );
    const { record } = scaledDotProductAttention(...tensors(runtime, call), { returnRecord: true });
    const { output } = upstreamOf(call);
    const before = runtime.memory.used;
    const grade = scaledDotProductAttentionBackward as (...given: unknown[]) => unknown;
    for (const [argument, ...given] of [
      ['record', {}, { output }],
      ['upstream', record, undefined],
      ['upstream.other', record, { output, other: 1 }],
      ['upstream.output', record, { output: { data: new Float32Array(12), shape: [1, 1, 3, 4, 1] } }],
      ['upstream.output', record, { output: { data: new Float32Array(9), shape: [1, 1, 3, 3] } }],
      ['upstream.logSumExp', record, { output, logSumExp: { data: new Float32Array(4), shape: [1, 1, 4] } }],
      ['gradients', record, { output }, { gradients: ['keys'] }],
      ['gradients', record, { output }, { gradients: ['sinks'] }],
      ['gradients', record, { output }, { gradients: ['bias'] }],
      ['gradients', record, { output }, { gradients: ['alibi'] }],
      ['gradients', record, { output }, { gradients: 'query' }],
      ['gradient', record, { output }, { gradient: ['query'] }],
    ] as [string, ...unknown[]][]) {
      let error: unknown;
      try {
        grade(...given);
      } catch (caught) {
        error = caught;
      }
      expect(error, argument).toBeInstanceOf(AttentionError);
      expect((error as AttentionError).argument).toBe(argument);
      expect(runtime.memory.used).toBe(before);
    }
    record.dispose();
    expect(() => grade(record, { output })).toThrow('disposed');
  });
});

await eachInternalBuild('gradients of attention in place', (runtime) => {
  it('lie in heads of packed rows, written or added to, without a copy', () => {
    const [batch, length, heads, keyHeads, dim] = [2, 150, 4, 2, 16];
    const width = (heads + 2 * keyHeads) * dim;
    const random = new Random(4);
    const data = random.array(batch * length * width, 'normal');
    const upstream = random.array(batch * length * heads * dim, 'normal');
    const grade = (adding: boolean, start: number) =>
      runInScope(runtime, (scope) => {
        const packed = scope.make([batch, length, width]).set(data);
        const rows = scope.make([batch, length, heads * dim]).set(upstream);
        const gradient = scope.make([batch, length, width]);
        gradient.set(new Float32Array(gradient.size).fill(start));
        const view = (tensor: typeof packed, from: number, count: number) =>
          tensor
            .slice(2, from * dim, (from + count) * dim)
            .reshape([batch, length, count, dim])
            .transpose(1, 2);
        const [q, k, v] = [
          view(packed, 0, heads),
          view(packed, heads, keyHeads),
          view(packed, heads + keyHeads, keyHeads),
        ];
        const plan = planAttention(scope, attentionInput(scope, 'query', q), k, { causal: true }, 4);
        const result = runPlan(scope, plan, v, { returnStatistics: true });
        const flow = {
          output: result.output,
          dOutput: view(rows, 0, heads),
          statistics: result.statistics!.address,
        };
        runAttentionBackward(scope, plan, v, flow, {
          query: { tensor: view(gradient, 0, heads), adding },
          key: { tensor: view(gradient, heads, keyHeads), adding },
          value: { tensor: view(gradient, heads + keyHeads, keyHeads), adding },
        });
        return gradient.toFloat32Array();
      });
    const written = grade(false, 7);
    const inputs = {
      batch,
      queryHeads: heads,
      keyHeads,
      queries: length,
      keys: length,
      headDim: dim,
      valueHeadDim: dim,
    };
    const head = (source: Float32Array, columns: number, from: number, count: number) => {
      const out = new Float32Array(batch * count * length * dim);
      let at = 0;
      for (let b = 0; b < batch; b++)
        for (let h = from; h < from + count; h++)
          for (let i = 0; i < length; i++)
            for (let c = 0; c < dim; c++) out[at++] = source[(b * length + i) * columns + h * dim + c]!;
      return out;
    };
    const parts = (source: Float32Array) =>
      [
        [0, heads],
        [heads, keyHeads],
        [heads + keyHeads, keyHeads],
      ].map(([from, count]) => head(source, width, from!, count!));
    const [query, key, value] = parts(data) as [Float32Array, Float32Array, Float32Array];
    const expected = referenceAttentionGradients(
      { ...inputs, query, key, value },
      { causalOffset: 0 },
      head(upstream, heads * dim, 0, heads),
    );
    parts(written).forEach((actual, i) => {
      expectClose(
        actual,
        [expected.query, expected.key, expected.value][i]!,
        1e-5,
        ['query', 'key', 'value'][i]!,
      );
    });
    const added = grade(true, 0.5);
    expectClose(
      added,
      written.map((one) => one + 0.5),
      1e-6,
      'added',
    );
  });
});

describe.each(builds)('bits of gradients of attention (%s)', (build_) => {
  it('are the same for any number of threads and in slices', async () => {
    const shape = {
      batch: 2,
      keyHeads: 2,
      group: 2,
      queries: 700,
      keys: 300,
      headDim: 20,
      valueHeadDim: 12,
      seed: 3,
    };
    const call = build(shape, ['causal', 'bias', 'alibi', 'sinks']);
    const hashes = new Set<string>();
    const names: AttentionInputName[] = ['query', 'key', 'value', 'bias', 'alibi', 'sinks'];
    for (const count of [1, 2, 3]) {
      const runtime = await createRuntime({
        build: build_,
        packs: [training],
        ...(count > 1 && { threads: { count, required: true } }),
      });
      if (count > 1) runtime.threads!.leastCost = 0;
      const { output, record } = droppedAttention(...tensors(runtime, call), {
        ...call.options,
        ...{ dropout: 0.2, seed: 9, returnRecord: true },
      });
      const note = (gradients: ReturnType<typeof scaledDotProductAttentionBackward>) => {
        const hash = createHash('sha256').update(new Uint8Array(output.toFloat32Array().buffer));
        for (const name of names) hash.update(new Uint8Array(gradients[name]!.toFloat32Array().buffer));
        hashes.add(hash.digest('hex'));
      };
      note(scaledDotProductAttentionBackward(record, upstreamOf(call), { gradients: names }));
      // On a clock on which everything takes far longer than a slice, each tile has one of its own.
      let time = performance.now();
      const clock = vi.spyOn(performance, 'now').mockImplementation(() => (time += 1e6));
      let reports = 0;
      try {
        const options = { gradients: names, onProgress: () => void reports++ };
        note(await scaledDotProductAttentionBackwardAsync(record, upstreamOf(call), options));
      } finally {
        clock.mockRestore();
      }
      expect(reports).toBeGreaterThan(8);
      runtime.dispose();
    }
    expect(hashes.size).toBe(1);
  });

  it('have nothing left behind by a call that was ended', async () => {
    const runtime = await createRuntime({ build: build_, packs: [training] });
    const shape = {
      batch: 1,
      keyHeads: 1,
      group: 1,
      queries: 600,
      keys: 600,
      headDim: 64,
      valueHeadDim: 64,
      seed: 3,
    };
    const call = build(shape, []);
    const { record } = scaledDotProductAttention(...tensors(runtime, call), { returnRecord: true });
    const before = runtime.memory.used;
    const controller = new AbortController();
    const reason = new Error('enough');
    // A clock on which everything takes far longer than a slice: else a quick machine is done before the abort.
    let time = performance.now();
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => (time += 1e6));
    try {
      const ended = scaledDotProductAttentionBackwardAsync(record, upstreamOf(call), {
        signal: controller.signal,
      });
      controller.abort(reason);
      await expect(ended).rejects.toBe(reason);
    } finally {
      clock.mockRestore();
    }
    expect(runtime.memory.used).toBe(before);
    runtime.dispose();
  });
});
