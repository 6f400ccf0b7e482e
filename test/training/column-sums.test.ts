// Sums of columns over rows, and of products.

import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { runInScope } from '../../src/runtime/call.js';
import { runColumnSums } from '../../src/training/ops/column-sums.js';
import { Random } from '../reference/random.js';
import { everyWay } from '../support/every-way.js';
import { eachInternalBuild } from '../support/internals.js';
import { builds } from '../support/runtimes.js';

await eachInternalBuild('sums of columns', (runtime) => {
  const cases = fc.record({
    rows: fc.integer({ min: 0, max: 300 }),
    columns: fc.integer({ min: 0, max: 40 }),
    gap: fc.integer({ min: 0, max: 3 }),
    multiplied: fc.boolean(),
    seed: fc.integer(),
  });

  it('are added to what is there, for any shape and stride', () => {
    fc.assert(
      fc.property(cases, ({ rows, columns, gap, multiplied, seed }) => {
        const { used } = runtime.memory;
        const stride = columns + gap;
        const random = new Random(seed);
        const [x, y] = [1, 2].map(() => random.array(rows * stride)) as [Float32Array, Float32Array];
        const before = random.array(columns);
        const sums = runInScope(runtime, (scope) => {
          const place = (data: Float32Array) => ({ address: scope.floats(data), rowBytes: stride * 4, rows });
          const sums = scope.make([columns]).set(before);
          runColumnSums(scope, place(x), columns, sums.address, multiplied ? place(y) : undefined);
          return sums;
        });
        before.forEach((start, column) => {
          let [sum, size] = [start, 1];
          for (let at = column; at < x.length; at += stride) {
            const term = x[at]! * (multiplied ? y[at]! : 1);
            sum += term;
            size += Math.abs(term);
          }
          // Terms may cancel: what they err by is a part of their sizes.
          expect(Math.abs(sums.data[column]! - sum) / size).toBeLessThan(5e-7);
        });
        sums.dispose();
        expect(runtime.memory.used).toBe(used);
      }),
    );
  });
});

describe.each(builds)('sums of columns in every way (%s)', async (build) => {
  const ways = await everyWay(build);
  afterAll(() => {
    ways.dispose();
  });

  it('have the same bits', async () => {
    const [rows, columns] = [1000, 300];
    const x = new Random(1).array(rows * columns);
    await ways.same((scope) => {
      const sums = scope.make([columns]);
      sums.data.fill(1);
      const place = { address: scope.floats(x), rowBytes: columns * 4, rows };
      runColumnSums(scope, place, columns, sums.address);
      runColumnSums(scope, place, columns, sums.address, place);
      return [sums];
    });
  });
});
