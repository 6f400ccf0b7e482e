// Medians, ratios, exponents, cliffs, and what counts as a difference.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  cliffRatio,
  fitPower,
  changeOf,
  quantile,
  summarize,
  summarizeRatios,
} from '../../bench/suite/statistics.mjs';

test('quantiles lie between order statistics', () => {
  expect([0, 0.25, 0.5, 1].map((share) => quantile([1, 2, 4], share))).toEqual([1, 1.5, 2, 4]);
  expect(summarize([4, 1, 2])).toEqual({ median: 2, p25: 1.5, p75: 3, spread: 0.75, samples: 3 });
  expect(summarize([7])).toEqual({ median: 7, p25: 7, p75: 7, spread: 0, samples: 1 });
});

test('ratios are taken within rounds: a machine that slows down meanwhile does not show', () => {
  expect(summarizeRatios([2, 20, 200], [1, 10, 100])).toMatchObject({ median: 2, spread: 0 });
  expect(summarizeRatios([2, 20, 9], [1, 10])).toMatchObject({ median: 2, samples: 2 });
  expect(summarizeRatios([], [1])).toBeNull();
});

test('a power law is found again', () => {
  const positive = fc.double({ min: 0.1, max: 3, noNaN: true });
  fc.assert(
    fc.property(positive, positive, (factor, exponent) => {
      const fit = fitPower([64, 128, 512, 4096].map((x) => ({ x, y: factor * x ** exponent })));
      expect(fit.exponent).toBeCloseTo(exponent, 9);
      expect(fit.factor / factor).toBeCloseTo(1, 8);
      expect(fit.residual).toBeLessThan(1e-9);
    }),
  );
});

test('a step away from the power law shows in the residual', () => {
  const points = [1, 2, 4, 8].map((x) => ({ x, y: x === 8 ? 20 : x }));
  expect(fitPower(points).residual).toBeGreaterThan(0.1);
});

test('a cliff is measured against the line between the neighbours', () => {
  const [below, above] = [
    { work: 4, time: 10 },
    { work: 8, time: 18 },
  ];
  expect(cliffRatio({ work: 5, time: 12 }, below, above)).toBe(1);
  expect(cliffRatio({ work: 6, time: 28 }, below, above)).toBe(2);
});

test('a change counts when no rounds overlap and the median moved enough', () => {
  const before = [1, 1.01, 1.02];
  expect(changeOf(before, [1.2, 1.21, 1.3])).toBe('larger');
  expect(changeOf([1.2, 1.21, 1.3], before)).toBe('smaller');
  expect(changeOf(before, [1.015, 1.3, 1.4])).toBe('same');
  expect(changeOf(before, [1.03, 1.04, 1.05])).toBe('same');
  expect(changeOf(before, before)).toBe('same');
});
