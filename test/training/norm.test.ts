// Gradients of norms against differences in double precision, in corners, and bit for bit.

import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { runInScope } from '../../src/runtime/call.js';
import { runNormBackward } from '../../src/training/ops/norm.js';
import { gradientByDifferences, relativeError } from '../reference/differences.js';
import { Random } from '../reference/random.js';
import { everyWay } from '../support/every-way.js';
import { eachInternalBuild } from '../support/internals.js';
import { builds } from '../support/runtimes.js';

type Kind = 'layer' | 'rms' | 'l2';
const sum = (values: readonly number[]) => values.reduce((all, value) => all + value, 0);

/** What a norm takes away and divides by, in double precision. */
function placeOf(kind: Kind, x: readonly number[], epsilon: number) {
  const mean = kind === 'layer' ? sum(x) / x.length : 0;
  const squares = sum(x.map((value) => (value - mean) ** 2));
  const length =
    kind === 'l2' ? Math.max(Math.sqrt(squares), epsilon) : Math.sqrt(squares / x.length + epsilon);
  return { mean, length };
}

function normed(kind: Kind, x: readonly number[], epsilon: number): number[] {
  const { mean, length } = placeOf(kind, x, epsilon);
  return x.map((value) => (value - mean) / length);
}

await eachInternalBuild('gradients of norms', (runtime) => {
  const cases = fc.record({
    kind: fc.constantFrom<Kind>('layer', 'rms', 'l2'),
    rows: fc.integer({ min: 0, max: 5 }),
    groups: fc.integer({ min: 1, max: 3 }),
    channels: fc.integer({ min: 1, max: 37 }),
    gap: fc.integer({ min: 0, max: 3 }),
    weighted: fc.boolean(),
    unitOffset: fc.boolean(),
    adding: fc.boolean(),
    inPlace: fc.boolean(),
    epsilon: fc.constantFrom(1e-5, 0.1, 3),
    mean: fc.constantFrom(0, 2),
    seed: fc.integer(),
  });

  it('are those of the norm, for any shape, stride and number of groups', () => {
    fc.assert(
      fc.property(cases, (one) => {
        const { kind, rows, groups, channels, gap, weighted, unitOffset, adding, seed } = one;
        const { used } = runtime.memory;
        const width = groups * channels;
        const stride = width + gap;
        const random = new Random(seed);
        const [x, dy, before] = [1, 2, 3].map(() => random.array(rows * stride, 'normal')) as [
          Float32Array,
          Float32Array,
          Float32Array,
        ];
        for (let i = 0; i < x.length; i++) x[i]! += one.mean;
        const weight = weighted ? random.array(channels) : undefined;
        const [weightBefore, biasBefore] = [random.array(channels), random.array(channels)];
        const epsilon = Math.fround(one.epsilon);
        const inPlace = one.inPlace && !adding;
        // Where a length meets the least one that is divided by there is a kink, which differences look across.
        const lengths = Array.from({ length: rows * groups }, (_, run) => {
          const start = Math.floor(run / groups) * stride + (run % groups) * channels;
          return placeOf('l2', Array.from(x.subarray(start, start + channels)), 0).length;
        });
        fc.pre(kind !== 'l2' || lengths.every((length) => Math.abs(length - epsilon) > 1e-3));
        const made = runInScope(runtime, (scope) => {
          const [given, upstream, dx] = [x, dy, before].map((data) => scope.make([data.length]).set(data));
          const [dWeight, dBias] = [weightBefore, biasBefore].map((data) => scope.make([channels]).set(data));
          const place = (address: number) => ({ address, rowBytes: stride * 4, rows });
          runNormBackward(
            scope,
            kind,
            { ...place(given!.address), groups },
            place(upstream!.address),
            { channels, epsilon, weight: weight && scope.floats(weight), unitOffset },
            {
              dx: place((inPlace ? upstream : dx)!.address),
              adding,
              weightGradient: dWeight!.address,
              biasGradient: dBias!.address,
            },
          );
          return { given, upstream, dx, dWeight, dBias };
        });
        const loss = (values: readonly number[], weights: readonly number[], biases: readonly number[]) => {
          let total = 0;
          for (let run = 0; run < rows * groups; run++) {
            const start = Math.floor(run / groups) * stride + (run % groups) * channels;
            const y = normed(kind, values.slice(start, start + channels), epsilon);
            y.forEach((value, i) => (total += dy[start + i]! * (value * weights[i]! + biases[i]!)));
          }
          return total;
        };
        const ones = Array.from({ length: channels }, (_, i) =>
          weight ? weight[i]! + (unitOffset ? 1 : 0) : 1,
        );
        const zeros = ones.map(() => 0);
        const plain = Array.from(x);
        const expected = gradientByDifferences((values) => loss(values, ones, zeros), x, 1e-5);
        const dx = Array.from((inPlace ? made.upstream : made.dx)!.data, (value, i) => {
          if (i % stride < width) return adding ? value - before[i]! : value;
          expect(value).toBe((inPlace ? dy : before)[i]);
          return 0;
        });
        // Terms may cancel, all of them with a single channel: what they err by is a part of their sizes.
        let size = 1;
        for (let run = 0; run < rows * groups; run++) {
          const start = Math.floor(run / groups) * stride + (run % groups) * channels;
          const { length } = placeOf(kind, plain.slice(start, start + channels), epsilon);
          ones.forEach((own, i) => (size = Math.max(size, Math.abs(dy[start + i]! * own) / length)));
        }
        expect(Math.max(0, ...dx.map((value, i) => Math.abs(value - expected[i]!))) / size).toBeLessThan(
          2e-6,
        );
        const sums = [
          [made.dWeight!.data, weightBefore, gradientByDifferences((w) => loss(plain, w, zeros), ones)],
          [made.dBias!.data, biasBefore, gradientByDifferences((b) => loss(plain, ones, b), zeros)],
        ] as const;
        for (const [after, start, gradient] of sums)
          expect(
            relativeError(
              after,
              gradient.map((value, i) => value + start[i]!),
            ),
          ).toBeLessThan(3e-6);
        for (const tensor of Object.values(made)) tensor!.dispose();
        expect(runtime.memory.used).toBe(used);
      }),
      { numRuns: 150 },
    );
  });

  it('hold where a row is zeros, equal numbers or NaN, and for rows apart from each other', () => {
    const gradient = (kind: Kind, x: number[], dy: number[], epsilon: number) =>
      runInScope(runtime, (scope) => {
        const place = (address: number) => ({ address, rowBytes: 8, rows: x.length / 2 });
        const [given, upstream] = [place(scope.floats(x)), place(scope.floats(dy))];
        const dx = scope.temporary([x.length]);
        runNormBackward(scope, kind, given, upstream, { channels: 2, epsilon }, { dx: place(dx.address) });
        return Array.from(dx.toFloat32Array());
      });
    // Where the length is clipped nothing but 1 / epsilon is left.
    expect(gradient('l2', [0, 0], [1, 2], 0.5)).toEqual([2, 4]);
    expect(gradient('layer', [5, 5, NaN, 1], [1, 3, 1, 1], 1)).toEqual([-1, 1, NaN, NaN]);
    expect(gradient('rms', [0, 0], [1, 2], 0.25)).toEqual([2, 4]);
  });
});

describe.each(builds)('gradients of norms in every way (%s)', async (build) => {
  const ways = await everyWay(build);
  afterAll(() => {
    ways.dispose();
  });

  it.each(['layer', 'rms', 'l2'] as const)('%s: have the same bits', async (kind) => {
    const [rows, groups, channels] = [301, 3, 45];
    const random = new Random(3);
    const [x, dy] = [1, 2].map(() => random.array(rows * groups * channels)) as [Float32Array, Float32Array];
    const weight = random.array(channels);
    await ways.same((scope) => {
      const place = (address: number) => ({ address, rowBytes: groups * channels * 4, rows });
      const dx = scope.make([rows, groups, channels]);
      const [dWeight, dBias] = [1, 2].map(() => scope.make([channels]));
      for (const tensor of [dWeight!, dBias!]) tensor.data.fill(0);
      runNormBackward(
        scope,
        kind,
        { ...place(scope.floats(x)), groups },
        place(scope.floats(dy)),
        { channels, epsilon: 1e-5, weight: scope.floats(weight) },
        { dx: place(dx.address), weightGradient: dWeight!.address, biasGradient: dBias!.address },
      );
      return [dx, dWeight!, dBias!];
    });
  });
});
