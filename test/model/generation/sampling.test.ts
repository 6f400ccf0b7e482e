// A token chosen from logits: cuts and penalties by their definitions, the frequencies of draws, and the generator's own vectors.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sampleToken } from '../../../src/model/generation/sampling.js';
import type { SampleTokenOptions } from '../../../src/model/generation/sampling.js';
import { exponential } from '../../../src/math/exponential.js';
import { philox, uniform } from '../../../src/math/philox.js';
import { Random } from '../../reference/random.js';

/** Probabilities of the tokens that the cuts leave, by the letter of their definitions. */
function reference(logits: ArrayLike<number>, options: SampleTokenOptions): Map<number, number> {
  const { temperature = 1, topK = Infinity, topP = 1, minP = 0 } = options;
  const counts = new Map<number, number>();
  for (const token of options.tokens ?? []) counts.set(token, (counts.get(token) ?? 0) + 1);
  const penalized = Array.from(logits, (logit, token) => {
    const count = counts.get(token) ?? 0;
    const { repetitionPenalty = 1, presencePenalty = 0, frequencyPenalty = 0 } = options;
    if (count === 0) return logit;
    const repeated = logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty;
    return Math.fround(repeated - presencePenalty - frequencyPenalty * count);
  });
  const most = Math.max(...penalized);
  let ranked = penalized
    .map((logit, token) => ({ token, logit, weight: Math.exp((logit - most) / temperature) }))
    .sort((a, b) => b.logit - a.logit || a.token - b.token)
    .slice(0, topK);
  const mass = ranked.reduce((sum, { weight }) => sum + weight, 0);
  let sum = 0;
  const end = ranked.findIndex(({ weight }) => (sum += weight) >= topP * mass * (1 - 1e-12));
  if (topP < 1) ranked = ranked.slice(0, end + 1);
  ranked = ranked.filter(({ weight }) => weight >= minP && weight > 0);
  const total = ranked.reduce((all, { weight }) => all + weight, 0);
  return new Map(ranked.map(({ token, weight }) => [token, weight / total]));
}

describe('philox', () => {
  it.each([
    [[0, 0, 0, 0], [0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [[-1, -1, -1, -1], [-1, -1], '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      'd16cfe09 94fdcceb 5001e420 24126ea1',
    ],
  ])('gives the vectors that its authors publish', (counter, key, expected) => {
    const words = philox(counter, key).map((word) => word.toString(16).padStart(8, '0'));
    expect(words.join(' ')).toBe(expected);
  });

  it('is even over [0, 1), from step to step and from row to row', () => {
    for (const place of [0, 1]) {
      const bins = new Array<number>(16).fill(0);
      for (let i = 0; i < 16_000; i++) {
        const value = uniform(place === 0 ? [i, 0, 0, 0] : [0, i, 0, 0], [7, 0]);
        bins[Math.floor(value * 16)]!++;
      }
      // Chi squared with 15 degrees of freedom: above 45 in one of ten thousand seeds.
      expect(bins.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0)).toBeLessThan(45);
    }
  });
});

describe('exponential', () => {
  it('is within 1e-12 of the exact one, and 0 where that is no number worth having', () => {
    let worst = 0;
    for (let x = 0; x > -700; x -= 0.00371) {
      worst = Math.max(worst, Math.abs(exponential(x) / Math.exp(x) - 1));
    }
    expect(worst).toBeLessThan(1e-12);
    expect([0, -701, -1e300, -Infinity].map(exponential)).toEqual([1, 0, 0, 0]);
  });
});

describe('a token', () => {
  const vocabularies = fc.record({
    size: fc.integer({ min: 1, max: 60 }),
    ties: fc.boolean(),
    seed: fc.integer(),
  });
  const optionals = fc.record(
    {
      temperature: fc.constantFrom(0.3, 1, 2.5),
      topK: fc.integer({ min: 1, max: 70 }),
      topP: fc.constantFrom(0.05, 0.5, 0.9, 0.999),
      minP: fc.constantFrom(0.01, 0.2, 1),
      repetitionPenalty: fc.constantFrom(0.8, 1.3),
      presencePenalty: fc.constantFrom(-1, 0.5),
      frequencyPenalty: fc.constantFrom(-0.5, 0.7),
      tokens: fc.array(fc.nat(70)),
    },
    { requiredKeys: [] },
  );
  const logitsOf = (size: number, ties: boolean, seed: number) =>
    new Random(seed).array(size, 'normal').map((x) => (ties ? Math.round(x) : 3 * x));

  it('is one that the cuts leave, the same for the same seed, step and row', () => {
    fc.assert(
      fc.property(vocabularies, optionals, fc.nat(), ({ size, ties, seed }, options, step) => {
        const logits = logitsOf(size, ties, seed);
        const before = logits.slice();
        const left = reference(logits, options);
        for (let row = 0; row < 5; row++) {
          const all = { ...options, seed: 11, step, row };
          const { token, logProbability } = sampleToken(logits, all);
          expect([...left.keys()]).toContain(token);
          expect(sampleToken(logits, all)).toEqual({ token, logProbability });
          const most = Math.max(...logits);
          const sum = logits.reduce((partial, logit) => partial + Math.exp(logit - most), 0);
          expect(logProbability).toBeCloseTo(logits[token]! - most - Math.log(sum), 10);
        }
        expect(logits).toEqual(before);
      }),
      { numRuns: 500 },
    );
  });

  it('comes as often as it is probable', () => {
    const draws = 20_000;
    const cases: SampleTokenOptions[] = [
      {},
      { temperature: 0.5 },
      { topK: 4 },
      { topP: 0.8, temperature: 2 },
      { minP: 0.1 },
      { topK: 9, topP: 0.9, minP: 0.05, repetitionPenalty: 1.4, tokens: [0, 3, 3] },
    ];
    const logits = new Random(5).array(12, 'normal');
    cases.forEach((options, which) => {
      const expected = reference(logits, options);
      const counts = new Map<number, number>();
      for (let step = 0; step < draws; step++) {
        const { token } = sampleToken(logits, { ...options, seed: 2 ** 40 + which, step });
        counts.set(token, (counts.get(token) ?? 0) + 1);
      }
      expect(new Set(counts.keys())).toEqual(new Set(expected.keys()));
      for (const [token, probability] of expected) {
        const deviation = Math.sqrt(draws * probability * (1 - probability));
        expect(Math.abs(counts.get(token)! - draws * probability)).toBeLessThanOrEqual(5 * deviation + 1e-9);
      }
    });
  });

  it('is the most probable one without temperature, the first of equal ones', () => {
    expect(sampleToken([1, 5, 5, 2]).token).toBe(1);
    expect(sampleToken([1, 5, 5, 2], { temperature: 0, seed: 3, topK: 3 }).token).toBe(1);
    expect(sampleToken([1, 5, 4, 2], { repetitionPenalty: 2, tokens: [1] }).token).toBe(2);
    expect(sampleToken([1, 5, 4, 2], { tokens: [1] }).token).toBe(1);
    expect(sampleToken([-Infinity, 3, -Infinity], { seed: 1 })).toEqual({ token: 1, logProbability: 0 });
    expect(sampleToken([0, Infinity, 5], { seed: 1 })).toEqual({ token: 1, logProbability: 0 });
  });

  it('differs from step to step without a seed', () => {
    const logits = new Float32Array(1000);
    const tokens = new Set(Array.from({ length: 50 }, () => sampleToken(logits, { temperature: 1 }).token));
    expect(tokens.size).toBeGreaterThan(20);
  });

  it('comes out of large vocabularies too, flat ones and ones that end in cliffs', () => {
    const random = new Random(9);
    for (const logits of [
      new Float32Array(150_000),
      random.array(150_000, 'heavy-tailed').map((x) => 4 * x),
      Float32Array.from({ length: 50_257 }, (_, token) => (token % 1000 === 7 ? 10 : -1e30)),
    ]) {
      const ranked = Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]! || a - b);
      for (let step = 0; step < 5; step++) {
        const { token } = sampleToken(logits, { topK: 40, seed: 1, step });
        expect(ranked.slice(0, 40)).toContain(token);
      }
    }
  });

  it('refuses what makes no sense', () => {
    const bad = (options: object, message: RegExp) => {
      expect(() => sampleToken([1, 2], options)).toThrow(message);
    };
    bad({ temperature: -1 }, /temperature: expected/);
    bad({ temperature: NaN }, /temperature: expected/);
    bad({ topK: 0 }, /topK: expected/);
    bad({ topP: 0 }, /topP: expected/);
    bad({ topP: 1.1 }, /topP: expected/);
    bad({ minP: -0.1 }, /minP: expected/);
    bad({ seed: 0.5 }, /seed: expected/);
    bad({ seed: -1 }, /seed: expected/);
    bad({ repetitionPenalty: 0 }, /repetitionPenalty: expected/);
    bad({ presencePenalty: Infinity }, /presencePenalty: expected/);
    bad({ step: -1 }, /step: expected/);
    bad({ topk: 3 }, /topk: unknown option; did you mean topK/);
    expect(() => sampleToken([1, NaN])).toThrow(
      /logits: expected numbers, not all of them -Infinity, got NaN at 1/,
    );
    expect(() => sampleToken([-Infinity])).toThrow(/logits: expected/);
    expect(() => sampleToken([])).toThrow(/logits: expected/);
  });
});
