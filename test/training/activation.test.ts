// Gradients of activations, alone and gated: the errors of slopes that assembly/math/activations.ts states, their limits, and their bits.

import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { runInScope } from '../../src/runtime/call.js';
import type { CallScope } from '../../src/runtime/call-scope.js';
import {
  runActivationBackward,
  runGatedBackward,
  runGatedForward,
} from '../../src/training/ops/activation.js';
import type { Activation } from '../../src/training/ops/activation.js';
import { relativeError } from '../reference/differences.js';
import { Random } from '../reference/random.js';
import { everyWay } from '../support/every-way.js';
import { eachInternalBuild } from '../support/internals.js';
import { builds } from '../support/runtimes.js';

const density = (x: number) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
const logistic = (x: number) => 1 / (1 + Math.exp(-x));
/** P(X <= x) of a standard normal X. */
function normal(x: number): number {
  if (x < -6) return 0;
  if (x > 6) return 1;
  let [term, sum] = [x, x];
  for (let n = 1; n < 400; n++) sum += term *= (x * x) / (2 * n + 1);
  return 0.5 + density(x) * sum;
}

const TANH = 2 * Math.sqrt(2 / Math.PI);
/** Each function and its slope in double precision. */
const EXACT: Record<string, [Activation, (x: number) => number, (x: number) => number]> = {
  gelu: ['gelu', (x) => x * normal(x), (x) => normal(x) + x * density(x)],
  geluTanh: [
    'geluTanh',
    (x) => x * logistic(TANH * (x + 0.044715 * x ** 3)),
    (x) => {
      const s = logistic(TANH * (x + 0.044715 * x ** 3));
      return s + x * s * (1 - s) * TANH * (1 + 3 * 0.044715 * x * x);
    },
  ],
  quickGelu: [
    'quickGelu',
    (x) => x * logistic(1.702 * x),
    (x) => logistic(1.702 * x) * (1 + 1.702 * x * logistic(-1.702 * x)),
  ],
  silu: ['silu', (x) => x * logistic(x), (x) => logistic(x) * (1 + x * logistic(-x))],
  relu: ['relu', (x) => Math.max(x, 0), (x) => (x > 0 ? 1 : 0)],
  tanh: ['tanh', Math.tanh, (x) => 1 / Math.cosh(x) ** 2],
  softcap: [{ softcap: 5 }, (x) => 5 * Math.tanh(x / 5), (x) => 1 / Math.cosh(x / 5) ** 2],
};
const names = Object.keys(EXACT);

const place = (address: number, rows: number, stride: number) => ({ address, rowBytes: stride * 4, rows });
type Place = ReturnType<typeof place>;

await eachInternalBuild('gradients of activations', (runtime) => {
  /** Slopes at numbers. */
  const slopes = (activation: Activation, x: ArrayLike<number>) =>
    runInScope(runtime, (scope) => {
      const dx = scope.temporary([x.length]);
      const rows = place(scope.floats(x), 1, x.length);
      const ones = place(scope.floats(new Float32Array(x.length).fill(1)), 1, x.length);
      runActivationBackward(scope, activation, rows, ones, x.length, { dx: place(dx.address, 1, x.length) });
      return dx.toFloat32Array();
    });

  it.each(names)('%s: slopes are as exact as is stated', (name) => {
    const [activation, , slope] = EXACT[name]!;
    const points = Float32Array.from({ length: 400_000 }, (_, i) =>
      i % 4 === 0 ? (i & 4 ? 1 : -1) * 2 ** ((-30 * i) / 400_000) : (28 * i) / 400_000 - 14,
    );
    const actual = slopes(activation, points);
    let largest = 0;
    points.forEach((x, i) => (largest = Math.max(largest, Math.abs(actual[i]! - slope(x)))));
    const stated: Readonly<Record<string, number>> = { gelu: 2e-7, silu: 1.5e-7, quickGelu: 1.5e-7 };
    expect(largest).toBeLessThan(stated[name] ?? 4e-7);
  });

  it.each(names)('%s: slopes keep their limits and NaN', (name) => {
    const [activation] = EXACT[name]!;
    const high = name === 'tanh' || name === 'softcap' ? 0 : 1;
    const large = [300, 1e6, 3e38, Infinity];
    expect(Array.from(slopes(activation, large))).toEqual(large.map(() => high));
    const low = slopes(
      activation,
      large.map((x) => -x),
    );
    expect(Array.from(low, (slope) => slope + 0)).toEqual(large.map(() => 0));
    expect(Array.from(slopes(activation, [NaN, 1])).map(Number.isNaN)).toEqual([true, false]);
  });

  const cases = fc.record({
    name: fc.constantFrom(...names),
    rows: fc.integer({ min: 0, max: 4 }),
    channels: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.constantFrom(1023, 1025, 2051)),
    gap: fc.integer({ min: 0, max: 3 }),
    adding: fc.boolean(),
    inPlace: fc.boolean(),
    seed: fc.integer(),
  });
  const random4 = (seed: number, length: number) => {
    const random = new Random(seed);
    return [1, 2, 3, 4].map(() => random.array(length, 'normal')) as [
      Float32Array,
      Float32Array,
      Float32Array,
      Float32Array,
    ];
  };

  it('are the slope times the upstream, in rows of any size and stride', () => {
    fc.assert(
      fc.property(cases, ({ name, rows, channels, gap, adding, inPlace, seed }) => {
        const { used } = runtime.memory;
        const stride = channels + gap;
        const [activation, , slope] = EXACT[name]!;
        const [x, dy, before] = random4(seed, rows * stride);
        const dx = runInScope(runtime, (scope) => {
          const given = place(scope.floats(x), rows, stride);
          const dx = scope.make([x.length]).set(inPlace ? dy : before);
          const upstream = inPlace ? dx.address : scope.floats(dy);
          const target = place(dx.address, rows, stride);
          runActivationBackward(scope, activation, given, place(upstream, rows, stride), channels, {
            dx: target,
            adding,
          });
          return dx;
        });
        const start = inPlace ? dy : before;
        const expected = Array.from(x, (value, i) =>
          i % stride < channels ? slope(value) * dy[i]! + (adding ? start[i]! : 0) : start[i]!,
        );
        expect(relativeError(dx.data, expected)).toBeLessThan(1e-6);
        dx.dispose();
        expect(runtime.memory.used).toBe(used);
      }),
    );
  });

  it('of gated products are those of both factors, and the product is that of the forward pass', () => {
    fc.assert(
      fc.property(cases, ({ name, rows, channels, gap, inPlace, seed }) => {
        const { used } = runtime.memory;
        const stride = channels + gap;
        const [activation, value, slope] = EXACT[name]!;
        const [gate, up, dy] = random4(seed, rows * stride);
        const [forward, dGate, dUp, y] = runInScope(runtime, (scope) => {
          const copies = [gate, up, dy].map((data) => scope.floats(data));
          // All three where what is read lies, or apart.
          const results = inPlace ? copies : copies.map(() => scope.floats(gate));
          const [g, u, upstream] = copies.map((address) => place(address, rows, stride)) as [
            Place,
            Place,
            Place,
          ];
          const [dGate, dUp, y] = results.map((address) => place(address, rows, stride)) as [
            Place,
            Place,
            Place,
          ];
          const forward = place(scope.floats(gate), rows, stride);
          runGatedForward(scope, activation, g, u, forward, channels);
          runGatedBackward(scope, activation, g, u, upstream, channels, { dGate, dUp, y });
          return [forward, dGate, dUp, y].map(({ address }) =>
            new Float32Array(runtime.linearMemory.buffer, address, gate.length).slice(),
          ) as [Float32Array, Float32Array, Float32Array, Float32Array];
        });
        const within = (data: ArrayLike<number>) => Array.from(data).filter((_, i) => i % stride < channels);
        const expected = (of: (i: number) => number) => within(Array.from(gate, (_, i) => of(i)));
        expect(within(y)).toEqual(within(forward));
        const checks = [
          [forward, (i: number) => value(gate[i]!) * up[i]!],
          [dGate, (i: number) => dy[i]! * up[i]! * slope(gate[i]!)],
          [dUp, (i: number) => dy[i]! * value(gate[i]!)],
        ] as const;
        for (const [data, of] of checks) expect(relativeError(within(data), expected(of))).toBeLessThan(2e-6);
        expect(runtime.memory.used).toBe(used);
      }),
      { numRuns: 60 },
    );
  });
});

describe.each(builds)('gradients of activations in every way (%s)', async (build) => {
  const ways = await everyWay(build);
  afterAll(() => {
    ways.dispose();
  });

  it.each(names)('%s: have the same bits, alone and gated', async (name) => {
    const [rows, channels] = [37, 75];
    const [x, up, dy] = [1, 2, 3].map((seed) => new Random(seed).array(rows * channels)) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    await ways.same((scope: CallScope) => {
      const given = (data: Float32Array) => place(scope.floats(data), rows, channels);
      const made = [1, 2, 3, 4].map(() => scope.make([rows, channels]));
      const [dx, dGate, dUp, y] = made.map(({ address }) => place(address, rows, channels));
      const [activation] = EXACT[name]!;
      runActivationBackward(scope, activation, given(x), given(dy), channels, { dx: dx! });
      runGatedBackward(scope, activation, given(x), given(up), given(dy), channels, {
        ...{ dGate: dGate!, dUp: dUp!, y: y! },
      });
      return made;
    });
  });
});
