// Dropout: its random words are those of the generator in JavaScript, and its mask is a function of seed, site and place.

import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { philox } from '../../src/math/philox.js';
import { runInScope } from '../../src/runtime/call.js';
import { runDropout } from '../../src/training/ops/dropout.js';
import { Random } from '../reference/random.js';
import { everyWay } from '../support/every-way.js';
import { eachInternalBuild } from '../support/internals.js';
import { builds } from '../support/runtimes.js';

interface Case {
  readonly rate: number;
  readonly seed: number;
  readonly site: number;
  readonly row0: number;
}

/** What stays of an element, by the generator in JavaScript. */
function expectedFactor({ rate, seed, site, row0 }: Case, row: number, channel: number): number {
  const counter = [Math.floor(channel / 16) * 4 + (channel % 4), row0 + row, 0, site];
  const key = [(seed % 2 ** 32) | 0, Math.floor(seed / 2 ** 32)];
  const word = philox(counter, key)[Math.floor(channel / 4) % 4]!;
  return word < Math.floor(rate * 2 ** 32) ? 0 : Math.fround(1 / (1 - rate));
}

await eachInternalBuild('dropout', (runtime) => {
  it('draws the words of the generator in JavaScript, for any rows and channels', () => {
    const cases = fc.record({
      rate: fc.constantFrom(0, 0.1, 0.5, 0.999),
      seed: fc.maxSafeNat(),
      site: fc.nat(),
      row0: fc.nat(2 ** 31),
      rows: fc.integer({ min: 0, max: 4 }),
      channels: fc.integer({ min: 0, max: 70 }),
      gap: fc.integer({ min: 0, max: 3 }),
    });
    fc.assert(
      fc.property(cases, ({ rows, channels, gap, ...one }) => {
        const data = new Random(1).array(rows * (channels + gap), 'normal');
        const rowBytes = (channels + gap) * 4;
        const y = runInScope(runtime, (scope) => {
          const x = scope.floats(data);
          const y = scope.make([data.length]);
          y.data.fill(7);
          runDropout(scope, { address: x, rowBytes, rows }, { address: y.address, rowBytes }, channels, one);
          return y;
        });
        const expected = data.map((value, i) => {
          const [row, channel] = [Math.floor(i / (channels + gap)), i % (channels + gap)];
          return channel < channels ? value * expectedFactor(one, row, channel) + 0 : 7;
        });
        expect(y.data.map((value) => value + 0)).toEqual(expected);
        y.dispose();
      }),
    );
  });

  it('leaves out the part that it is told to, and no trace of what it leaves out', () => {
    const y = runInScope(runtime, (scope) => {
      const y = scope.make([1000, 100]);
      y.data.fill(NaN);
      const rows = { address: y.address, rowBytes: 400, rows: 1000 };
      runDropout(scope, rows, rows, 100, { rate: 0.3, seed: 5, site: 1 });
      return y;
    });
    const zeros = y.data.filter((value) => value === 0).length;
    // 100,000 trials: the deviation is 145.
    expect(Math.abs(zeros - 30_000)).toBeLessThan(700);
    expect(y.data.filter((value) => Number.isNaN(value)).length).toBe(100_000 - zeros);
    y.dispose();
  });

  it('refuses what is no rate and no seed', () => {
    const call = (options: object) =>
      runInScope(runtime, (scope) => {
        const rows = { address: scope.allocate(16), rowBytes: 16, rows: 1 };
        runDropout(scope, rows, rows, 4, { rate: 0.5, seed: 1, site: 1, ...options });
      });
    const { used } = runtime.memory;
    for (const rate of [1, -0.1, NaN, '0.1']) expect(() => call({ rate })).toThrow(/rate: expected/);
    for (const seed of [-1, 0.5, 2 ** 53, NaN]) expect(() => call({ seed })).toThrow(/seed: expected/);
    expect(runtime.memory.used).toBe(used);
  });
});

describe.each(builds)('dropout in every way (%s)', async (build) => {
  const ways = await everyWay(build);
  afterAll(() => {
    ways.dispose();
  });

  it('has the same bits, and a row the same in any company', async () => {
    const channels = 77;
    const data = new Random(2).array(40 * channels, 'normal');
    const drop = (first: number, count: number) =>
      ways.same((scope) => {
        const x = scope.floats(data.subarray(first * channels, (first + count) * channels));
        const y = scope.make([count, channels]);
        const rowBytes = channels * 4;
        const options = { rate: 0.4, seed: 9, site: 3, row0: first };
        runDropout(
          scope,
          { address: x, rowBytes, rows: count },
          { address: y.address, rowBytes },
          channels,
          options,
        );
        return [y];
      });
    const [whole] = await drop(0, 40);
    const [part] = await drop(7, 5);
    expect(part).toEqual(whole!.slice(7 * channels * 4, 12 * channels * 4));
  });
});
