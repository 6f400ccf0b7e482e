// Rotary embedding against float64, frequencies against their formulas.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  MultiHeadAttention,
  rotaryEmbedding,
  rotaryFrequencies,
  scaledDotProductAttention,
} from 'wasm-attention';
import { referenceMultiHead, referenceRotary } from '../../reference/attention.js';
import { Random } from '../../reference/random.js';
import { eachBuild } from '../../support/runtimes.js';
import { sineAndCosine } from '../../../src/math/elementary.js';

describe('frequencies', () => {
  const of = (scaling?: Parameters<typeof rotaryFrequencies>[0]['scaling'], length?: number) =>
    rotaryFrequencies({ rotaryDim: 64, base: 10000, scaling, length });
  const plain = Array.from({ length: 32 }, (_, i) => 10000 ** (-i / 32));
  const close = (actual: Float64Array, expected: number[]) => {
    expected.forEach((f, i) => {
      expect(Math.abs(actual[i]! / f - 1)).toBeLessThan(1e-12);
    });
  };

  it('plain, linear, NTK and dynamic', () => {
    close(of().frequencies, plain);
    close(
      of({ type: 'linear', factor: 4 }).frequencies,
      plain.map((f) => f / 4),
    );
    const base = (factor: number) =>
      Array.from({ length: 32 }, (_, i) => (10000 * factor ** (64 / 62)) ** (-i / 32));
    close(of({ type: 'ntk', factor: 4 }).frequencies, base(4));
    const dynamic = { type: 'dynamic', factor: 2, originalLength: 2048 } as const;
    close(of(dynamic, 1000).frequencies, plain);
    close(of(dynamic, 8192).frequencies, base((2 * 8192) / 2048 - 1));
  });

  it('YaRN keeps the fast, stretches the slow, and scales attention', () => {
    const { frequencies, attentionFactor } = of({ type: 'yarn', factor: 8, originalLength: 4096 });
    expect(attentionFactor).toBeCloseTo(0.1 * Math.log(8) + 1, 12);
    const pair = (turns: number) => (64 * Math.log(4096 / (turns * 2 * Math.PI))) / (2 * Math.log(10000));
    const [low, high] = [Math.floor(pair(32)), Math.ceil(pair(1))];
    close(
      frequencies,
      plain.map((f, i) => {
        const ramp = Math.min(Math.max((i - low) / (high - low), 0), 1);
        return (f / 8) * ramp + f * (1 - ramp);
      }),
    );
  });

  it('Llama 3 goes by wavelength', () => {
    const { frequencies } = of({ type: 'llama3', factor: 8, originalLength: 8192 });
    close(
      frequencies,
      plain.map((f) => {
        const wavelength = (2 * Math.PI) / f;
        if (wavelength < 8192 / 4) return f;
        if (wavelength > 8192) return f / 8;
        const smooth = (8192 / wavelength - 1) / 3;
        return ((1 - smooth) * f) / 8 + smooth * f;
      }),
    );
  });

  it('refuse what makes no sense', () => {
    expect(() => rotaryFrequencies({ rotaryDim: 3 })).toThrow(/rotaryDim: expected/);
    expect(() => of({ type: 'linear', factor: 0 })).toThrow(/scaling.factor: expected/);
    expect(() => of({ type: 'other' as 'ntk', factor: 1 })).toThrow(/scaling.type: expected/);
  });
});

await eachBuild('rotary embedding', (runtime) => {
  it('turns pairs as the reference does', () => {
    const cases = fc.record({
      heads: fc.integer({ min: 1, max: 3 }),
      length: fc.integer({ min: 1, max: 20 }),
      pairs: fc.integer({ min: 1, max: 20 }),
      rest: fc.integer({ min: 0, max: 9 }),
      interleaved: fc.boolean(),
      offset: fc.integer({ min: 0, max: 5000 }),
      seed: fc.integer(),
    });
    fc.assert(
      fc.property(cases, ({ heads, length, pairs, rest, interleaved, offset, seed }) => {
        const headDim = 2 * pairs + rest;
        const data = new Random(seed).array(2 * heads * length * headDim, 'normal');
        const rows = [0, 1].map((b) => Array.from({ length }, (_, i) => offset + 3 * i + b));
        const options = { rotaryDim: 2 * pairs, interleaved };
        const actual = rotaryEmbedding(
          { data, shape: [2, heads, length, headDim] },
          { ...options, positions: rows, runtime },
        );
        const expected = referenceRotary(
          data,
          { batch: 2, heads, length, headDim },
          {
            ...options,
            positions: (b: number, i: number) => rows[b]![i]!,
          },
        );
        actual.data.forEach((y, i) => {
          expect(Math.abs(y - expected[i]!)).toBeLessThan(2e-6);
        });
        actual.dispose();
      }),
      { numRuns: 50 },
    );
  });

  it('depends on distances alone, works in place and on views', () => {
    const x = runtime.tensor(new Random(2).array(2 * 5 * 16, 'normal'), [1, 2, 5, 16]);
    const weights = (offset: number) => {
      const q = rotaryEmbedding(x, { offset });
      return scaledDotProductAttention(q, q, x, { returnWeights: true }).weights.data;
    };
    weights(0).forEach((w, i) => {
      expect(Math.abs(w - weights(700)[i]!)).toBeLessThan(1e-5);
    });
    const rotated = rotaryEmbedding(x, { offset: 3 });
    const view = x.transpose(1, 2).transpose(1, 2);
    expect(rotaryEmbedding(view, { offset: 3, inPlace: true })).toBe(view);
    expect(x.data).toEqual(rotated.data);
    expect(() => rotaryEmbedding(x, { positions: [1] })).toThrow(/positions: expected/);
    expect(() => rotaryEmbedding(x, { rotaryDim: 5 })).toThrow(/rotaryDim: expected/);
    expect(() => rotaryEmbedding(x, { offset: -1 })).toThrow(/offset: expected/);
  });

  it('refuses tables that a rotation in place would write to', () => {
    const memory = runtime.tensor(new Random(4).array(64, 'normal'), [64]);
    const [x, table] = [memory.slice(0, 0, 32).reshape([4, 8]), memory.slice(0, 32, 48).reshape([4, 4])];
    const overlapping = memory.slice(0, 20, 36).reshape([4, 4]);
    const before = memory.toFloat32Array();
    for (const [tables, argument] of [
      [{ cos: overlapping, sin: table }, 'tables.cos'],
      [{ cos: table, sin: overlapping }, 'tables.sin'],
    ] as const) {
      const expected = expect.objectContaining({ code: 'INVALID_ARGUMENT', argument }) as Error;
      expect(() => rotaryEmbedding(x, { tables, inPlace: true })).toThrow(expected);
      expect(memory.data).toEqual(before);
      rotaryEmbedding(x, { tables }).dispose(); // a copy is another matter
    }
    const expected = rotaryEmbedding(x, { tables: { cos: table, sin: table } });
    rotaryEmbedding(x, { tables: { cos: table, sin: table }, inPlace: true });
    expect(x.data).toEqual(expected.data);
    for (const one of [memory, expected]) one.dispose();
  });

  it('has tables of the bits that float64 arithmetic in JavaScript gives, at any position', () => {
    const cases = fc.record({
      pairs: fc.integer({ min: 1, max: 9 }),
      base: fc.double({ min: 0.01, max: 1e6, noNaN: true }),
      positions: fc.array(fc.oneof(fc.nat(20), fc.nat(70_000), fc.nat(2 ** 31 - 2)), {
        minLength: 1,
        maxLength: 12,
      }),
      scaling: fc.option(fc.constantFrom({ type: 'yarn', factor: 4, originalLength: 4096 } as const)),
    });
    fc.assert(
      fc.property(cases, ({ pairs, base, positions, scaling }) => {
        const options = { rotaryDim: 2 * pairs, base, ...(scaling && { scaling }) };
        const { frequencies, attentionFactor } = rotaryFrequencies(options);
        // (1, 0) in all pairs: what comes out are the tables.
        const shape = [positions.length, 2 * pairs];
        const data = Float32Array.from({ length: 2 * pairs * positions.length }, (_, i) =>
          Number(i % 2 === 0),
        );
        const { data: rotated } = rotaryEmbedding(
          { data, shape },
          { ...options, positions, interleaved: true, runtime },
        );
        const expected = positions.flatMap((position) =>
          Array.from(frequencies, (frequency) => {
            const { sine, cosine } = sineAndCosine(position * frequency);
            return [Math.fround(cosine * attentionFactor), Math.fround(sine * attentionFactor)];
          }).flat(),
        );
        expect(Array.from(rotated)).toEqual(expected);
      }),
      { numRuns: 200 },
    );
  });

  it('is what a layer with rotary does', () => {
    const [embedDim, heads, length] = [24, 3, 9];
    const random = new Random(6);
    const matrix = () => random.array(embedDim * embedDim, 'normal').map((w) => w / 5);
    const weights = {
      query: { weight: matrix() },
      key: { weight: matrix() },
      value: { weight: matrix() },
      output: { weight: matrix() },
    };
    const layer = new MultiHeadAttention(runtime, {
      embedDim,
      numHeads: heads,
      bias: false,
      causal: true,
      rotary: { rotaryDim: 6, base: 500 },
    });
    const names = { query: 'q_proj', key: 'k_proj', value: 'v_proj', output: 'o_proj' } as const;
    layer.load(
      Object.fromEntries(
        Object.entries(names).map(([part, name]) => [
          `${name}.weight`,
          { data: weights[part as 'query'].weight, shape: [embedDim, embedDim] },
        ]),
      ),
    );
    const x = random.array(length * embedDim, 'normal');
    const positions = Array.from({ length }, (_, i) => 10 + 2 * i);
    const { output } = layer.forward({ data: x, shape: [1, length, embedDim] }, { positions });
    const rotary = { rotaryDim: 6, base: 500, positions: (_b: number, i: number) => positions[i]! };
    const expected = referenceMultiHead(
      { query: x },
      weights,
      { batch: 1, queries: length, embedDim, queryHeads: heads },
      {
        causalOffset: 0,
        queryRotary: rotary,
        keyRotary: rotary,
      },
    );
    output.data.forEach((y, i) => {
      expect(Math.abs(y - expected.output[i]!)).toBeLessThan(1e-5);
    });
    layer.dispose();
  });
});
