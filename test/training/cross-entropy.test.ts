// Cross entropy against double precision, for huge, missing and ignored values, and bit for bit.

import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { crossEntropy, crossEntropyAsync, runCrossEntropy } from '../../src/training/losses/cross-entropy.js';
import type { CrossEntropyOptions } from '../../src/training/losses/cross-entropy.js';
import { runInScope } from '../../src/runtime/call.js';
import { gradientByDifferences, relativeError } from '../reference/differences.js';
import { Random } from '../reference/random.js';
import { everyWay } from '../support/every-way.js';
import { eachInternalBuild } from '../support/internals.js';
import { builds } from '../support/runtimes.js';

/** The loss of a row in double precision. */
function lossOf(row: readonly number[], label: number, smoothing: number): number {
  const most = Math.max(...row);
  const sum = (values: readonly number[]) => values.reduce((all, value) => all + value, 0);
  const total = most + Math.log(sum(row.map((x) => Math.exp(x - most))));
  const even = smoothing && sum(row.map((x) => x - most)) / row.length + most;
  return (1 - smoothing) * (total - row[label]!) + (smoothing && smoothing * (total - even));
}

await eachInternalBuild('cross entropy', (runtime) => {
  const cases = fc.record({
    rows: fc.integer({ min: 0, max: 5 }),
    classes: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 600 })),
    gap: fc.integer({ min: 0, max: 3 }),
    labelSmoothing: fc.constantFrom(0, 0.1, 1),
    reduction: fc.constantFrom('mean', 'sum', 'none' as const),
    factor: fc.constantFrom(1, -3),
    scale: fc.constantFrom(0.1, 1, 20),
    ignoreIndex: fc.constantFrom(-100, 0, 3),
    seed: fc.integer(),
  });

  it('and its gradient equal the reference, for any shape, stride and option', () => {
    fc.assert(
      fc.property(cases, ({ rows, classes, gap, scale, seed, ...options }) => {
        const { used } = runtime.memory;
        const random = new Random(seed);
        const stride = classes + gap;
        const wide = runtime.tensor(random.array(rows * stride), [rows, stride]);
        for (let i = 0; i < wide.size; i++) wide.data[i]! *= scale;
        const logits = wide.slice(1, 0, classes);
        const values = Array.from(logits.toFloat32Array());
        const labels = Array.from({ length: rows }, () =>
          random.boolean(0.3) ? options.ignoreIndex : random.integer(0, classes - 1),
        );
        const counted = labels.filter((label) => label !== options.ignoreIndex).length;
        const { factor, labelSmoothing, reduction } = options;
        const factors = Array.from(random.array(rows));
        const perToken = (at: readonly number[]) =>
          labels.map((label, row) =>
            label === options.ignoreIndex
              ? 0
              : lossOf(at.slice(row * classes, (row + 1) * classes), label, labelSmoothing),
          );
        const divisor = reduction === 'mean' ? Math.max(1, counted) : 1;
        const own = (row: number) => (reduction === 'none' ? factors[row]! : 1) / divisor;
        const result = crossEntropy(logits, labels, {
          ...options,
          returnPerToken: true,
          ...(reduction === 'none' && { tokenFactors: { data: factors, shape: [rows] } }),
        });
        const expected = perToken(values);
        expect(result.count).toBe(counted);
        expect(relativeError(result.perToken!.data, expected)).toBeLessThan(1e-6);
        expect(Math.abs(result.loss - expected.reduce((all, one) => all + one, 0) / divisor)).toBeLessThan(
          1e-6 * (1 + Math.abs(result.loss)),
        );
        // Classes are few enough for differences, or the formula of the softmax stands for them.
        const gradient =
          classes <= 20
            ? gradientByDifferences(
                (at) => factor * perToken(at).reduce((all, one, row) => all + one * own(row), 0),
                values,
              )
            : values.map((_, i) => {
                const row = Math.floor(i / classes);
                if (labels[row] === options.ignoreIndex) return 0;
                const x = values.slice(row * classes, (row + 1) * classes);
                const p = Math.exp(-lossOf(x, i % classes, 0));
                const target =
                  (1 - labelSmoothing) * +(i % classes === labels[row]) + labelSmoothing / classes;
                return factor * own(row) * (p - target);
              });
        const size = (Math.max(1, ...factors.map(Math.abs)) * Math.abs(factor)) / divisor;
        result.gradient!.data.forEach((value, i) =>
          expect(Math.abs(value - gradient[i]!) / size).toBeLessThan(1e-6),
        );
        for (const tensor of [wide, result.gradient!, result.perToken!]) tensor.dispose();
        expect(runtime.memory.used).toBe(used);
      }),
      { numRuns: 150 },
    );
  });

  const losses = (logits: number[][], labels: number[], options: CrossEntropyOptions = {}) => {
    const tensor = runtime.tensor(logits.flat(), [logits.length, logits[0]!.length]);
    const { loss, perToken, gradient } = crossEntropy(tensor, labels, { ...options, reduction: 'none' });
    return { loss, each: Array.from(perToken!.data), gradient: Array.from(gradient!.data) };
  };

  it('is right for huge logits and for those of -Infinity', () => {
    expect(losses([[3e38, -3e38, 0]], [0])).toEqual({ loss: 0, each: [0], gradient: [0, 0, 0] });
    expect(losses([[1e30, 0]], [1]).each).toEqual([Math.fround(1e30)]);
    expect(losses([[1e30, 0]], [1]).gradient).toEqual([1, -1]);
    const half = losses([[0, -Infinity, 0]], [2]);
    expect(half.loss).toBeCloseTo(Math.LN2, 6);
    expect(half.gradient).toEqual([0.5, 0, -0.5]);
    expect(losses([[0, -Infinity]], [1])).toEqual({ loss: Infinity, each: [Infinity], gradient: [1, -1] });
    expect(losses([[0, -Infinity, 1]], [0], { labelSmoothing: 0.1 }).loss).toBe(Infinity);
  });

  it('is NaN for rows of NaN, Infinity or -Infinity alone, and those alone', () => {
    const rows = [
      [NaN, 0],
      [Infinity, 0],
      [-Infinity, -Infinity],
      [0, 0],
    ];
    const { each, gradient } = losses(rows, [1, 1, 1, 1]);
    expect(each.map(Number.isNaN)).toEqual([true, true, true, false]);
    expect(gradient.slice(0, 6).every(Number.isNaN)).toBe(true);
    expect(gradient.slice(6)).toEqual([0.5, -0.5]);
    // What does not count is not read.
    expect(losses(rows, [-100, -100, -100, 1]).gradient).toEqual([0, 0, 0, 0, 0, 0, 0.5, -0.5]);
  });

  it('is 0 where no label counts', () => {
    const { loss, count, gradient } = crossEntropy(runtime.tensor([1, 2], [1, 2]), [-100]);
    expect([loss, count, ...gradient!.data]).toEqual([0, 0, 0, 0]);
    expect(crossEntropy(runtime.empty([0, 3]), []).loss).toBe(0);
  });

  it('may write its gradient over the logits', () => {
    const data = new Random(1).array(5 * 70);
    const expected = crossEntropy(runtime.tensor(data, [5, 70]), [1, 2, 69, -100, 0], { reduction: 'sum' });
    const actual = runInScope(runtime, (scope) => {
      const x = scope.make([5, 70]).set(data);
      const place = { address: x.address, rowBytes: 280, rows: 5 };
      const losses = scope.temporary([5]);
      runCrossEntropy(...([scope, place, 70, Int32Array.of(1, 2, 69, -1, 0), {}] as const), {
        gradient: place,
        losses: losses.address,
      });
      return x;
    });
    expect(actual.toFloat32Array()).toEqual(expected.gradient!.toFloat32Array());
  });

  it('refuses what does not fit, before anything is written', () => {
    const logits = runtime.tensor([1, 2, 3, 4], [2, 2]);
    const [integer, empty] = [runtime.tensor(Int32Array.of(1)), runtime.empty([2, 0])];
    const { used } = runtime.memory;
    const call =
      (labels: unknown, options: object = {}) =>
      () =>
        crossEntropy(logits, labels as number[], options);
    expect(call([0])).toThrow(/labels: expected 2 labels/);
    expect(call([0, 2])).toThrow(/labels\[1\]: expected a class from 0 to 1, or -100, got 2/);
    expect(call([0, -1])).toThrow(/labels\[1\]/);
    expect(call([0, 0.5])).toThrow(/labels\[1\]/);
    expect(call(7)).toThrow(/labels: expected/);
    expect(call([0, 1], { labelSmoothing: 1.1 })).toThrow(/labelSmoothing: expected/);
    expect(call([0, 1], { labelSmoothing: NaN })).toThrow(/labelSmoothing: expected/);
    expect(call([0, 1], { reduction: 'average' })).toThrow(/reduction: expected/);
    expect(call([0, 1], { factor: NaN })).toThrow(/factor: expected/);
    expect(call([0, 1], { ignoreIndex: 0.5 })).toThrow(/ignoreIndex: expected/);
    expect(call([0, 1], { tokenFactors: [1, 2] })).toThrow(/tokenFactors: expected nothing/);
    const one = { data: [1], shape: [1] };
    expect(call([0, 1], { reduction: 'none', tokenFactors: one })).toThrow(
      /tokenFactors: expected 2 factors/,
    );
    expect(() => crossEntropy(integer, [0])).toThrow(/logits: expected/);
    expect(() => crossEntropy(empty, [0, 0])).toThrow(/logits: expected/);
    expect(runtime.memory.used).toBe(used);
  });

  it('gives the same asynchronously', async () => {
    const logits = runtime.tensor(new Random(2).array(300), [3, 100]);
    const now = crossEntropy(logits, [1, 2, 3]);
    const later = await crossEntropyAsync(logits, [1, 2, 3]);
    expect([later.loss, later.count]).toEqual([now.loss, now.count]);
    expect(later.gradient!.toFloat32Array()).toEqual(now.gradient!.toFloat32Array());
  });
});

describe.each(builds)('cross entropy in every way (%s)', async (build) => {
  const ways = await everyWay(build);
  afterAll(() => {
    ways.dispose();
  });

  it('has the same bits', async () => {
    const [rows, classes] = [33, 501];
    const data = new Random(1).array(rows * classes);
    await ways.same((scope) => {
      const [gradient, losses] = [scope.make([rows, classes]), scope.make([rows])];
      const place = (address: number) => ({ address, rowBytes: classes * 4, rows });
      const labels = Int32Array.from({ length: rows }, (_, row) => (row % 5 ? row * 7 : -1));
      runCrossEntropy(
        ...([
          scope,
          place(scope.floats(data)),
          classes,
          labels,
          { labelSmoothing: 0.1, factor: 0.25 },
        ] as const),
        { gradient: place(gradient.address), losses: losses.address },
      );
      return [gradient, losses];
    });
  });
});
