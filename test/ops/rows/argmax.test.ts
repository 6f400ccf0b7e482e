// The place of the largest number: the first of equal ones, NaN above all, for any number of columns.

import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { createRuntime } from 'wasm-attention';
import { argmax, argmaxAsync, model } from 'wasm-attention/model';
import { Random } from '../../reference/random.js';
import { builds, eachBuild } from '../../support/runtimes.js';

function placeOfLargest(row: readonly number[]): number {
  const nan = row.findIndex(Number.isNaN);
  return nan >= 0 ? nan : row.indexOf(Math.max(...row));
}

await eachBuild('argmax', (runtime) => {
  beforeAll(() => runtime.load(model));

  it('is the first largest, or the first NaN', () => {
    const values = fc.constantFrom(NaN, -Infinity, Infinity, -0, 0, 1, 2, -3);
    const rows = fc
      .record({ rows: fc.integer({ min: 1, max: 4 }), columns: fc.integer({ min: 1, max: 40 }) })
      .chain(({ rows, columns }) =>
        fc.array(
          fc.array(fc.oneof({ weight: 9, arbitrary: fc.integer({ min: -4, max: 4 }) }, values), {
            minLength: columns,
            maxLength: columns,
          }),
          {
            minLength: rows,
            maxLength: rows,
          },
        ),
      );
    fc.assert(
      fc.property(rows, (given) => {
        const columns = given[0]!.length;
        const input = runtime.tensor(given.flat(), [given.length, columns]);
        const turned = input.transpose(0, 1).toContiguous().transpose(0, 1);
        for (const x of [input, turned]) {
          const y = argmax(x);
          expect(y.dtype).toBe('int32');
          expect(y.shape).toEqual([given.length]);
          expect(Array.from(y.data)).toEqual(given.map(placeOfLargest));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('refuses what has no largest', () => {
    expect(() => argmax(runtime.empty([2, 0]))).toThrow(/input: expected \[..., columns\], at least one/);
    expect(() => argmax(runtime.tensor([1], []))).toThrow(/input: expected/);
    expect(() => argmax(runtime.tensor(Int32Array.of(1)))).toThrow(
      /input: expected elements of type float32/,
    );
    expect(argmax(runtime.tensor([1, 2])).shape).toEqual([]);
    expect(argmax(runtime.empty([0, 3])).shape).toEqual([0]);
  });
});

describe.each(builds)('argmax in %s', async (build) => {
  const threaded = await createRuntime({ build, packs: [model], threads: { count: 3, required: true } });
  threaded.threads!.leastCost = 0;

  it('is the same on threads and in slices', async () => {
    const data = new Random(2).array(70 * 999, 'normal');
    const expected = Array.from({ length: 70 }, (_, row) =>
      placeOfLargest([...data.subarray(row * 999, (row + 1) * 999)]),
    );
    const input = threaded.tensor(data, [70, 999]);
    expect(Array.from(argmax(input).data)).toEqual(expected);
    expect(Array.from((await argmaxAsync(input)).data)).toEqual(expected);
  });
});
