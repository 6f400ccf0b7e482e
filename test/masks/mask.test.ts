// What every mask promises: for a block and for a query it answers as it does pair by pair.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { MaskContext } from 'wasm-attention';
import { Random } from '../reference/random.js';
import { draws, maskOf } from '../support/masks.js';

describe('masks', () => {
  it('answer for blocks and intervals as for each pair', () => {
    fc.assert(
      fc.property(draws, fc.integer({ min: -3, max: 3 }), (draw, shift) => {
        const { n } = draw;
        const mask = maskOf(draw);
        const context: MaskContext = {
          batch: 2,
          heads: 2,
          queries: n,
          keys: n,
          offset: (batch) => batch * shift,
          length: () => n,
        };
        mask.check(context);
        const random = new Random(draw.seed + 1);
        for (let trial = 0; trial < 20; trial++) {
          const range = (): [number, number] => {
            const from = random.integer(0, n - 1);
            return [from, random.integer(from + 1, n)];
          };
          const [[queryFrom, queryTo], [keyFrom, keyTo]] = [range(), range()];
          const [batch, head] = [random.integer(0, 1), random.integer(0, 1)];
          const answer = mask.block(context, { batch, head, queryFrom, queryTo, keyFrom, keyTo });
          let count = 0;
          for (let i = queryFrom; i < queryTo; i++) {
            const interval = { begin: 0, end: 0 };
            const whole = mask.interval(context, batch, head, i, interval);
            for (let j = keyFrom; j < keyTo; j++) {
              const keeps = mask.keeps(context, batch, head, i, j);
              if (keeps) count++;
              if (whole) expect(interval.begin <= j && j < interval.end).toBe(keeps);
            }
          }
          if (answer === 'empty') expect(count).toBe(0);
          if (answer === 'full') expect(count).toBe((queryTo - queryFrom) * (keyTo - keyFrom));
        }
      }),
      { numRuns: 200 },
    );
  });
});
