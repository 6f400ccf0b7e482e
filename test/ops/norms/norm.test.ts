// Norms against double precision, as properties over odd shapes, and bit for bit.

import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { createRuntime } from 'wasm-attention';
import type { Tensor } from 'wasm-attention';
import {
  layerNorm,
  layerNormAsync,
  model,
  normalize,
  normalizeAsync,
  rmsNorm,
  rmsNormAsync,
} from 'wasm-attention/model';
import { Random } from '../../reference/random.js';
import { builds, eachBuild } from '../../support/runtimes.js';

type Kind = 'layer' | 'rms' | 'l2';

interface Case {
  kind: Kind;
  epsilon: number;
  weight?: Float32Array;
  bias?: Float32Array;
  unitOffset?: boolean;
}

/** A row's norm in double precision. */
function reference(row: ArrayLike<number>, { kind, epsilon, weight, bias, unitOffset }: Case): number[] {
  const x = Array.from(row);
  const sum = (values: number[]) => values.reduce((all, value) => all + value, 0);
  const mean = kind === 'layer' ? sum(x) / x.length : 0;
  const squares = sum(x.map((value) => (value - mean) ** 2));
  const length =
    kind === 'l2' ? Math.max(Math.sqrt(squares), epsilon) : Math.sqrt(squares / x.length + epsilon);
  return x.map(
    (value, i) => ((value - mean) / length) * ((unitOffset ? 1 : 0) + (weight?.[i] ?? 1)) + (bias?.[i] ?? 0),
  );
}

function run(input: Tensor, { kind, ...options }: Case): Tensor<'float32'> {
  const { epsilon, unitOffset } = options;
  const vector = (data: Float32Array | undefined) => data && { data, shape: [data.length] };
  const weight = vector(options.weight);
  if (kind === 'layer') return layerNorm(input, { epsilon, weight, bias: vector(options.bias) });
  if (kind === 'rms') return rmsNorm(input, { epsilon, weight, unitOffset });
  return normalize(input, { epsilon });
}

/** Largest error of a row, in parts of its largest result. */
function errorOf(actual: ArrayLike<number>, expected: readonly number[]): number {
  const size = Math.max(...expected.map(Math.abs), 1e-30);
  return Math.max(...expected.map((value, i) => Math.abs(actual[i]! - value))) / size;
}

await eachBuild('norms', (runtime) => {
  beforeAll(() => runtime.load(model));

  const cases = fc.record({
    kind: fc.constantFrom<Kind>('layer', 'rms', 'l2'),
    rows: fc.integer({ min: 1, max: 5 }),
    channels: fc.oneof(fc.integer({ min: 2, max: 70 }), fc.integer({ min: 2, max: 3000 })),
    weighted: fc.boolean(),
    biased: fc.boolean(),
    unitOffset: fc.boolean(),
    epsilon: fc.constantFrom(1e-12, 1e-5, 0.1),
    scale: fc.constantFrom(1e-3, 1, 1e4),
    seed: fc.integer(),
  });

  it('equal the reference for any number of channels', () => {
    fc.assert(
      fc.property(cases, ({ kind, rows, channels, weighted, biased, unitOffset, epsilon, scale, seed }) => {
        const { used } = runtime.memory;
        const random = new Random(seed);
        const data = random.array(rows * channels, 'heavy-tailed').map((x) => x * scale);
        const one: Case = {
          kind,
          epsilon: Math.fround(epsilon),
          unitOffset: kind === 'rms' && weighted && unitOffset,
        };
        if (weighted && kind !== 'l2') one.weight = random.array(channels);
        if (biased && kind === 'layer') one.bias = random.array(channels);
        const input = runtime.tensor(data, [rows, channels]);
        const output = run(input, one);
        for (let row = 0; row < rows; row++) {
          const part = [row * channels, (row + 1) * channels] as const;
          const expected = reference(data.subarray(...part), one);
          expect(errorOf(output.data.subarray(...part), expected)).toBeLessThan(4e-7);
        }
        input.dispose();
        output.dispose();
        expect(runtime.memory.used).toBe(used);
      }),
      { numRuns: 200 },
    );
  });

  it('are within 2e-7 up to 8192 channels, however far the mean is from 0', () => {
    for (const channels of [64, 384, 768, 1000, 4096, 8191, 8192]) {
      for (const mean of [0, 3, 100, -1000]) {
        for (const kind of ['layer', 'rms'] as const) {
          const data = new Random(channels).array(channels, 'normal').map((x) => x + mean);
          const one: Case = { kind, epsilon: 0 };
          const output = run(runtime.tensor(data), one);
          expect(errorOf(output.data, reference(data, one)), `${kind} ${channels} ${mean}`).toBeLessThan(
            2e-7,
          );
        }
      }
    }
  });

  it('hold for rows of equal numbers, of zeros, with NaN and with infinity', () => {
    const rows = (kind: Kind, ...data: number[]) =>
      Array.from(run(runtime.tensor(data, [data.length / 2, 2]), { kind, epsilon: 1e-5 }).data);
    expect(rows('layer', 7.3, 7.3, 0, 0)).toEqual([0, 0, 0, 0]);
    expect(rows('rms', 0, 0, NaN, 1, Infinity, 1)).toEqual([0, 0, NaN, NaN, NaN, 0]);
    expect(rows('layer', NaN, 1, Infinity, 1)).toEqual([NaN, NaN, NaN, NaN]);
    expect(rows('l2', 0, 0, 0, -3, 1e-6, 0)).toEqual([0, 0, 0, -1, Math.fround(Math.fround(1e-6) * 1e5), 0]);
    const single = layerNorm({ data: [5, -5], shape: [2, 1] }, { runtime });
    expect(Array.from(single.data)).toEqual([0, 0]);
  });

  it('take any strides and shapes, and write where they are told', () => {
    const data = new Random(1).array(4 * 3 * 5, 'normal');
    const input = runtime.tensor(data, [4, 3, 5]);
    const plain = rmsNorm(input).toFloat32Array();
    const output = runtime.empty([4, 3, 5]);
    expect(rmsNorm(input, { output })).toBe(output);
    expect(output.toFloat32Array()).toEqual(plain);
    // Rows apart from each other, and channels apart from each other.
    const wide = runtime
      .tensor(new Float32Array(4 * 3 * 9), [4, 3, 9])
      .slice(2, 2, 7)
      .set(data);
    expect(rmsNorm(wide).toFloat32Array()).toEqual(plain);
    const moved = input.transpose(0, 2).toContiguous().transpose(0, 2);
    expect(rmsNorm(moved).toFloat32Array()).toEqual(plain);
    expect(rmsNorm(runtime.empty([0, 3])).shape).toEqual([0, 3]);
    expect(layerNorm(runtime.empty([3, 0])).shape).toEqual([3, 0]);
  });

  it('refuse what does not fit, before anything is written', () => {
    const input = runtime.tensor([1, 2, 3, 4], [2, 2]);
    const [scalar, integer] = [runtime.tensor([1], []), runtime.tensor(Int32Array.of(1))];
    const { used } = runtime.memory;
    const three = { data: [1, 2, 3], shape: [3] };
    expect(() => layerNorm(input, { weight: three })).toThrow(/weight: expected \[2\], got \[3\]/);
    expect(() => layerNorm(input, { bias: three })).toThrow(/bias: expected \[2\], got \[3\]/);
    expect(() => layerNorm(input, { epsilon: -1 })).toThrow(/epsilon: expected/);
    expect(() => rmsNorm(input, { epsilon: NaN })).toThrow(/epsilon: expected/);
    expect(() => rmsNorm(input, { bias: three } as never)).toThrow(/bias: unknown option/);
    expect(() => layerNorm(input, { output: input })).toThrow(/output: expected/);
    expect(() => normalize(scalar)).toThrow(/input: expected/);
    expect(() => layerNorm(integer as never)).toThrow(/input: expected/);
    expect(runtime.memory.used).toBe(used);
  });
});

describe.each(builds)('norms in %s', async (build) => {
  const alone = await createRuntime({ build, packs: [model] });
  const threaded = await createRuntime({ build, packs: [model], threads: { count: 3, required: true } });
  threaded.threads!.leastCost = 0;

  it('give a row the same bits in any company, in both forms and on threads', async () => {
    const sizes = fc.record({
      rows: fc.integer({ min: 2, max: 40 }),
      channels: fc.integer({ min: 1, max: 300 }),
    });
    await fc.assert(
      fc.asyncProperty(sizes, fc.integer(), async ({ rows, channels }, seed) => {
        const random = new Random(seed);
        const data = random.array(rows * channels, 'normal');
        const [weight, bias] = [1, 2].map(() => ({ data: random.array(channels), shape: [channels] }));
        const row = random.integer(0, rows - 1);
        const part = data.slice(row * channels, (row + 1) * channels);
        const forms = [
          [layerNorm, layerNormAsync, { weight, bias }],
          [rmsNorm, rmsNormAsync, { weight }],
          [normalize, normalizeAsync, {}],
        ] as const;
        for (const [now, later, options] of forms) {
          const whole = now({ data, shape: [rows, channels] }, { ...options, runtime: alone });
          const bits = whole.toFloat32Array();
          whole.dispose();
          const single = now({ data: part, shape: [channels] }, { ...options, runtime: alone });
          expect(single.toFloat32Array()).toEqual(bits.slice(row * channels, (row + 1) * channels));
          single.dispose();
          for (const runtime of [alone, threaded]) {
            const input = runtime.tensor(data, [rows, channels]);
            const output = await later(input, options);
            expect(output.toFloat32Array()).toEqual(bits);
            input.dispose();
            output.dispose();
          }
        }
      }),
      { numRuns: 30 },
    );
  });
});
