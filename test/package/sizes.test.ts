// The sizes that the README states are those of the built package.

import { expect, it } from 'vitest';
import { measureSizes, sizeAtTop, statedSizes } from '../../scripts/sizes.mjs';

it('are right to a twentieth: `npm run sizes` writes them anew', async () => {
  const measured = (await measureSizes()) as Record<string, number>;
  const stated = statedSizes() as Record<string, number>;
  expect(Object.keys(stated)).toEqual(Object.keys(measured));
  expect(sizeAtTop()).toBe(Object.values(stated)[0]);
  for (const [name, size] of Object.entries(measured)) {
    expect(Math.abs(stated[name]! / size - 1), `${name}: ${size.toFixed(1)} kB`).toBeLessThan(0.05);
  }
});
