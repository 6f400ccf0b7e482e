// Rows added to rows.

import { afterAll, describe, expect, it } from 'vitest';
import { runAdd } from '../../src/training/ops/add.js';
import { Random } from '../reference/random.js';
import { everyWay } from '../support/every-way.js';
import { builds } from '../support/runtimes.js';

describe.each(builds)('rows added to rows (%s)', async (build) => {
  const ways = await everyWay(build);
  afterAll(() => {
    ways.dispose();
  });

  it.each([1, 0.25, -3])('times %d, in every way', async (factor) => {
    const [rows, channels, stride] = [9, 7, 10];
    const [x, y] = [1, 2].map((seed) => new Random(seed).array(rows * stride)) as [
      Float32Array,
      Float32Array,
    ];
    const [bytes] = await ways.same((scope) => {
      const target = scope.make([rows * stride]);
      target.data.set(y);
      const place = (address: number) => ({ address, rowBytes: stride * 4, rows });
      const source = place(scope.floats(x));
      runAdd(scope, source, place(target.address), channels, factor);
      return [target];
    });
    const sums = new Float32Array(bytes!.buffer);
    sums.forEach((sum, i) => {
      const expected = i % stride < channels ? y[i]! + factor * x[i]! : y[i]!;
      expect(Math.abs(sum - expected)).toBeLessThan(1e-6);
    });
  });
});
