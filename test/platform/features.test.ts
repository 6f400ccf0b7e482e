import { expect, it } from 'vitest';
import { probeFeatures } from '../../src/platform/features.js';

it('are found once, and fit together', () => {
  const features = probeFeatures();
  expect(probeFeatures()).toBe(features);
  expect(features).toMatchObject({ webAssembly: true, compiles: true, simd: true });
  // V8 has both families of relaxed instructions from the same version on, on by default in Node 22.
  const relaxed = Number(process.versions.node.split('.')[0]) >= 22;
  expect(features).toMatchObject({ relaxedMultiplyAdd: relaxed, relaxedDot: relaxed });
  if (!relaxed) expect(features.fusedMultiplyAdd).toBe(false);
});
