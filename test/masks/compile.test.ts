// What kernels read of a mask: attention under any mask against the reference, which asks the mask pair by pair.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { scaledDotProductAttention } from 'wasm-attention';
import { referenceAttention } from '../reference/attention.js';
import { Random } from '../reference/random.js';
import { draws, maskOf } from '../support/masks.js';
import { eachBuild } from '../support/runtimes.js';

await eachBuild('masked attention', (runtime) => {
  it('equals the reference for any mask, across the borders of blocks', () => {
    const sizes = fc.record({ draw: draws, large: fc.constantFrom(0, 0, 129, 300, 500) });
    fc.assert(
      fc.property(sizes, ({ draw, large }) => {
        const n = large || draw.n;
        const mask = maskOf({ ...draw, n });
        const random = new Random(draw.seed);
        const sizesOf = {
          batch: 2,
          queryHeads: 2,
          keyHeads: 1,
          queries: n,
          keys: n,
          headDim: 4,
          valueHeadDim: 4,
        };
        const query = random.array(2 * 2 * n * 4, 'normal');
        const key = random.array(2 * n * 4, 'normal');
        // 'lower-right' ends where the lengths of the same call do.
        const lengthOf = (batch: number) => Math.min(n, mask.length(batch));
        const context = { batch: 2, heads: 2, queries: n, keys: n, offset: () => 0, length: lengthOf };
        const result = scaledDotProductAttention(
          { data: query, shape: [2, 2, n, 4] },
          { data: key, shape: [2, 1, n, 4] },
          { data: key, shape: [2, 1, n, 4] },
          { mask, runtime },
        );
        const expected = referenceAttention(
          { ...sizesOf, query, key, value: key },
          { predicate: (b, h, i, j) => mask.keeps(context, b, h, i, j) },
        );
        let worst = 0;
        result.output.data.forEach((y, i) => (worst = Math.max(worst, Math.abs(y - expected.output[i]!))));
        expect(worst).toBeLessThan(1e-5);
        result.dispose();
      }),
      { numRuns: 40 },
    );
  });
});
