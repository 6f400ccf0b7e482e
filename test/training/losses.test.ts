// Losses over elements and pairs of rows: against differences in double precision, in corners, and bit for bit.

import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { contrastiveLoss, contrastiveLossOperation } from '../../src/training/losses/contrastive.js';
import { cosineLoss, cosineLossAsync, cosineLossOperation } from '../../src/training/losses/cosine.js';
import { meanSquaredError, meanSquaredErrorOperation } from '../../src/training/losses/squared-error.js';
import { gradientByDifferences } from '../reference/differences.js';
import { Random } from '../reference/random.js';
import { everyWay } from '../support/every-way.js';
import { eachInternalBuild } from '../support/internals.js';
import { builds } from '../support/runtimes.js';

const sum = (values: readonly number[]) => values.reduce((all, value) => all + value, 0);
const length = (x: readonly number[]) => Math.sqrt(sum(x.map((value) => value * value)));
const cosine = (x: readonly number[], y: readonly number[]) =>
  sum(x.map((value, i) => value * y[i]!)) / (length(x) * length(y));
const rowsOf = (values: readonly number[], channels: number) =>
  Array.from({ length: values.length / channels }, (_, row) =>
    values.slice(row * channels, (row + 1) * channels),
  );

/** Fails unless all numbers are near, in parts of the largest expected one. */
function near(actual: ArrayLike<number>, expected: readonly number[], limit = 3e-6): void {
  expect(actual.length).toBe(expected.length);
  const size = Math.max(1e-3, ...expected.map(Math.abs));
  expected.forEach((value, i) => expect(Math.abs(actual[i]! - value) / size).toBeLessThan(limit));
}

await eachInternalBuild('losses', (runtime) => {
  const shapes = fc.record({
    rows: fc.integer({ min: 1, max: 5 }),
    channels: fc.integer({ min: 1, max: 40 }),
    across: fc.boolean(),
    factor: fc.constantFrom(1, -2.5),
    seed: fc.integer(),
  });
  const place = (data: Float32Array, rows: number, channels: number, across: boolean) => {
    const plain = runtime.tensor(data, [rows, channels]);
    if (!across) return [plain, plain] as const;
    const turned = plain.transpose(0, 1).toContiguous();
    plain.dispose();
    return [turned.transpose(0, 1), turned] as const;
  };

  it('mean squared error: loss and gradient, for any shape and strides', () => {
    fc.assert(
      fc.property(shapes, ({ rows, channels, across, factor, seed }) => {
        const { used } = runtime.memory;
        const random = new Random(seed);
        const [x, y] = [1, 2].map(() => random.array(rows * channels)) as [Float32Array, Float32Array];
        const [[a, heldA], [b, heldB]] = [place(x, rows, channels, across), place(y, rows, channels, false)];
        const { loss, gradient } = meanSquaredError(a, b, { factor });
        const value = (at: readonly number[]) => sum(at.map((one, i) => (one - y[i]!) ** 2)) / at.length;
        near([loss], [value(Array.from(x))]);
        near(
          gradient.data,
          gradientByDifferences(value, x).map((one) => factor * one),
        );
        for (const tensor of [heldA, heldB, gradient]) tensor.dispose();
        expect(runtime.memory.used).toBe(used);
      }),
    );
  });

  it('mean squared error: over more than a block, and over nothing', () => {
    const [x, y] = [1, 2].map((seed) => new Random(seed).array(10_001)) as [Float32Array, Float32Array];
    const { loss } = meanSquaredError(runtime.tensor(x), runtime.tensor(y));
    near([loss], [sum(Array.from(x, (one, i) => (one - y[i]!) ** 2)) / 10_001], 1e-6);
    const empty = runtime.empty([0, 3]);
    expect(meanSquaredError(empty, empty).loss).toBe(0);
    expect(cosineLoss(empty, empty).loss).toBe(0);
    expect(contrastiveLoss(empty, empty).loss).toBe(0);
  });

  it('cosines: loss and gradients, for rows that are alike and rows that differ', () => {
    const cases = fc.tuple(shapes, fc.boolean(), fc.constantFrom(0, 0.3, -0.5));
    fc.assert(
      fc.property(cases, ([{ rows, channels, across, factor, seed }, labelled, margin]) => {
        const { used } = runtime.memory;
        const random = new Random(seed);
        const [x, y] = [1, 2].map(() => random.array(rows * channels)) as [Float32Array, Float32Array];
        const labels = Array.from({ length: rows }, () => (random.boolean() ? 1 : -1));
        // Too near to a bend for differences.
        fc.pre(
          rowsOf(Array.from(x), channels).every(
            (row, i) =>
              length(row) > 0.1 &&
              length(rowsOf(Array.from(y), channels)[i]!) > 0.1 &&
              Math.abs(cosine(row, rowsOf(Array.from(y), channels)[i]!) - margin) > 0.02,
          ),
        );
        const [[a, heldA], [b, heldB]] = [place(x, rows, channels, across), place(y, rows, channels, false)];
        const { loss, gradients } = cosineLoss(a, b, {
          factor,
          margin,
          labels: labelled ? labels : undefined,
        });
        const value = (first: readonly number[], second: readonly number[]) =>
          sum(
            rowsOf(first, channels).map((row, i) => {
              const own = cosine(row, rowsOf(second, channels)[i]!);
              return labelled && labels[i] === -1 ? Math.max(0, own - margin) : 1 - own;
            }),
          ) / rows;
        expect(Math.abs(loss - value(Array.from(x), Array.from(y)))).toBeLessThan(1e-6);
        const along = (which: 'input' | 'target') =>
          gradientByDifferences(
            (at) => factor * (which === 'input' ? value(at, Array.from(y)) : value(Array.from(x), at)),
            which === 'input' ? x : y,
            1e-4,
          );
        for (const which of ['input', 'target'] as const) {
          const expected = along(which);
          gradients[which].data.forEach((one, i) =>
            expect(Math.abs(one - expected[i]!)).toBeLessThan(2e-6 * (1 + Math.abs(one))),
          );
        }
        for (const tensor of [heldA, heldB, gradients.input, gradients.target]) tensor.dispose();
        expect(runtime.memory.used).toBe(used);
      }),
      { numRuns: 60 },
    );
  });

  it('cosines: a row of zeros gives no gradient, and lengths do not overflow', () => {
    const of = (a: number[], b: number[]) => cosineLoss(runtime.tensor(a, [1, 2]), runtime.tensor(b, [1, 2]));
    const zeros = of([0, 0], [1, 2]);
    expect([zeros.loss, ...zeros.gradients.input.data, ...zeros.gradients.target.data]).toEqual([
      1, 0, 0, 0, 0,
    ]);
    expect(of([1e15, 0], [1e-15, 0]).loss).toBe(0);
  });

  /** The contrastive loss in double precision. */
  const contrast = (
    x: readonly number[],
    y: readonly number[],
    channels: number,
    t: number,
    both: boolean,
  ) => {
    const way = (from: readonly number[][], to: readonly number[][]) =>
      sum(
        from.map((row, i) => {
          const scores = to.map((other) => cosine(row, other) / t);
          const most = Math.max(...scores);
          return most + Math.log(sum(scores.map((score) => Math.exp(score - most)))) - scores[i]!;
        }),
      ) / from.length;
    const [from, to] = [rowsOf(x, channels), rowsOf(y, channels)];
    return both ? (way(from, to) + way(to, from)) / 2 : way(from, to);
  };

  it('contrastive: loss and gradients, of the temperature too, one way and both', () => {
    const cases = fc.tuple(shapes, fc.boolean(), fc.constantFrom(0.3, 2), fc.integer({ min: 0, max: 3 }));
    fc.assert(
      fc.property(
        cases,
        ([{ rows, channels: width, across, factor, seed }, symmetric, temperature, more]) => {
          const { used } = runtime.memory;
          const channels = width + 2;
          const random = new Random(seed);
          const others = rows + (symmetric ? 0 : more);
          const [x, y] = [
            random.array(rows * channels, 'uniform'),
            random.array(others * channels, 'uniform'),
          ];
          fc.pre(
            [...rowsOf(Array.from(x), channels), ...rowsOf(Array.from(y), channels)].every(
              (row) => length(row) > 0.3,
            ),
          );
          const [[a, heldA], [b, heldB]] = [
            place(x, rows, channels, across),
            place(y, others, channels, across),
          ];
          const result = contrastiveLoss(a, b, { factor, symmetric, temperature });
          const [plainX, plainY] = [Array.from(x), Array.from(y)];
          const value = (p: readonly number[], q: readonly number[], t: number = temperature) =>
            contrast(p, q, channels, t, symmetric);
          expect(Math.abs(result.loss - value(plainX, plainY))).toBeLessThan(2e-6 * (1 + result.loss));
          const checks = [
            [result.gradients.input.data, gradientByDifferences((at) => factor * value(at, plainY), x, 1e-4)],
            [
              result.gradients.target.data,
              gradientByDifferences((at) => factor * value(plainX, at), y, 1e-4),
            ],
            [
              [result.temperatureGradient],
              gradientByDifferences(([t]) => factor * value(plainX, plainY, t), [temperature], 1e-4),
            ],
          ] as const;
          for (const [actual, expected] of checks)
            expected.forEach((one, i) =>
              expect(Math.abs(actual[i]! - one)).toBeLessThan(1e-5 * (1 + Math.abs(one))),
            );
          for (const tensor of [heldA, heldB, result.gradients.input, result.gradients.target])
            tensor.dispose();
          expect(runtime.memory.used).toBe(used);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('refuse what does not fit, before anything is written', () => {
    const [a, b, flat] = [
      runtime.tensor([1, 2], [1, 2]),
      runtime.tensor([1, 2, 3, 4], [2, 2]),
      runtime.tensor([1, 2]),
    ];
    const { used } = runtime.memory;
    expect(() => meanSquaredError(a, b)).toThrow(/target: expected \[1, 2\], got \[2, 2\]/);
    expect(() => meanSquaredError(a, a, { factor: Infinity })).toThrow(/factor: expected/);
    expect(() => meanSquaredError(a, a, { reduction: 'sum' } as never)).toThrow(/reduction: unknown option/);
    expect(() => cosineLoss(b, a)).toThrow(/target: expected/);
    expect(() => cosineLoss(b, b, { labels: [1] })).toThrow(/labels: expected 2 numbers/);
    expect(() => cosineLoss(b, b, { labels: [1, 0] })).toThrow(/labels\[1\]: expected 1 or -1/);
    expect(() => cosineLoss(b, b, { margin: 2 })).toThrow(/margin: expected/);
    expect(() => contrastiveLoss(b, a)).toThrow(/target: expected/);
    expect(() => contrastiveLoss(a, b, { symmetric: true })).toThrow(/target: expected/);
    expect(() => contrastiveLoss(a, b, { temperature: 0 })).toThrow(/temperature: expected/);
    expect(() => contrastiveLoss(flat, b)).toThrow(/input: expected/);
    expect(runtime.memory.used).toBe(used);
  });

  it('give the same asynchronously', async () => {
    const [a, b] = [1, 2].map((seed) => runtime.tensor(new Random(seed).array(70), [10, 7])) as [
      never,
      never,
    ];
    const [now, later] = [cosineLoss(a, b), await cosineLossAsync(a, b)];
    expect(later.loss).toBe(now.loss);
    expect(later.gradients.target.toFloat32Array()).toEqual(now.gradients.target.toFloat32Array());
  });
});

describe.each(builds)('losses in every way (%s)', async (build) => {
  const ways = await everyWay(build);
  afterAll(() => {
    ways.dispose();
  });

  it('have the same bits', async () => {
    const [x, y] = [1, 2].map((seed) => ({ data: new Random(seed).array(45 * 201), shape: [45, 201] })) as [
      { data: Float32Array; shape: number[] },
      { data: Float32Array; shape: number[] },
    ];
    const labels = Array.from({ length: 45 }, (_, i) => (i % 3 ? 1 : -1));
    await ways.same((scope) => {
      const cosines = cosineLossOperation.run(scope, [x, y], { labels }).gradients;
      const contrast = contrastiveLossOperation.run(scope, [x, y], { symmetric: true }).gradients;
      return [
        meanSquaredErrorOperation.run(scope, [x, y], {}).gradient,
        ...[cosines.input, cosines.target, contrast.input, contrast.target],
      ];
    });
  });
});
