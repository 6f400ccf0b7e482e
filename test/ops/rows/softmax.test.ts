// Softmax along every axis, and at its edges.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { softmax } from 'wasm-attention';
import { referenceSoftmax } from '../../reference/attention.js';
import { Random } from '../../reference/random.js';
import { eachBuild } from '../../support/runtimes.js';

await eachBuild('softmax', (runtime) => {
  it('equals the reference along any axis', () => {
    const shapes = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(shapes, fc.nat(3), fc.integer(), (shape, pick, seed) => {
        const axis = pick % shape.length;
        const size = shape.reduce((product, length) => product * length, 1);
        const data = new Random(seed).array(size, 'heavy-tailed');
        const result = softmax({ data, shape }, { axis, runtime });
        const expected = referenceSoftmax(data, shape, axis);
        result.data.forEach((y, i) => {
          expect(Math.abs(y - expected[i]!)).toBeLessThan(1e-6);
        });
        result.dispose();
      }),
      { numRuns: 60 },
    );
  });

  it('holds at -Infinity, NaN, huge and equal values', () => {
    const rows = [-Infinity, -Infinity, -Infinity, NaN, 0, 1, 3e38, 3e38, -3e38, 5, -Infinity, 5];
    const result = Array.from(softmax({ data: rows, shape: [4, 3] }, { runtime }).data);
    expect(result).toEqual([0, 0, 0, NaN, NaN, NaN, 0.5, 0.5, 0, 0.5, 0, 0.5]);
  });

  it('refuses an axis that is not there', () => {
    expect(() => softmax({ data: [1], shape: [1] }, { axis: 1, runtime })).toThrow(/axis: expected/);
    expect(() => softmax({ data: [1], shape: [1] })).toThrow(/runtime: expected/);
  });
});
