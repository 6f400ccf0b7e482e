// The sizes that the README states are those of the built package, and none is above its ceiling.

import { expect, it } from 'vitest';
import { aboveCeiling, measureSizes, sizeAtTop, statedSizes } from '../../scripts/sizes.mjs';

it('are right to a twentieth: `npm run sizes` writes them anew', async () => {
  const measured = (await measureSizes()) as Record<string, number>;
  const stated = statedSizes() as Record<string, number>;
  expect(Object.keys(stated)).toEqual(Object.keys(measured));
  expect(sizeAtTop()).toBe(Object.values(stated)[0]);
  for (const [name, size] of Object.entries(measured)) {
    expect(Math.abs(stated[name]! / size - 1), `${name}: ${size.toFixed(1)} kB`).toBeLessThan(0.05);
  }
});

it('are within their ceilings, and what is not is named', async () => {
  const sizes = (await measureSizes()) as Record<string, number>;
  expect(aboveCeiling(sizes)).toEqual([]);
  const [first] = Object.keys(sizes);
  expect(aboveCeiling({ ...sizes, [first!]: 99 })).toEqual([expect.stringMatching(/99\.00 kB, at most/)]);
});
