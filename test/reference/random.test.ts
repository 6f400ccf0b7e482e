// The generators: repeatable, and spread as they say.

import { describe, expect, it } from 'vitest';
import { Random, seededArray } from './random.js';

function moments(values: readonly number[]): { mean: number; variance: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return { mean, variance: values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length };
}

describe('seeded random numbers', () => {
  it('repeat for a seed, differ between seeds, and extend', () => {
    expect(seededArray(7, 100)).toEqual(seededArray(7, 100));
    expect(seededArray(7, 100)).toEqual(seededArray(7, 200).slice(0, 100));
    expect(seededArray(7, 100)).not.toEqual(seededArray(8, 100));
  });

  it('are uniform', () => {
    const random = new Random(1);
    const values = Array.from({ length: 20000 }, () => random.uniform());
    expect(Math.min(...values)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...values)).toBeLessThan(1);
    expect(moments(values).mean).toBeCloseTo(1 / 2, 2);
    expect(moments(values).variance).toBeCloseTo(1 / 12, 2);
  });

  it('are standard normal', () => {
    const { mean, variance } = moments(Array.from(seededArray(2, 20000)));
    expect(mean).toBeCloseTo(0, 1);
    expect(variance).toBeCloseTo(1, 1);
  });

  it('are heavy-tailed: far more of them beyond 6 than a normal has', () => {
    const far = (values: Float32Array): number => values.filter((value) => Math.abs(value) > 6).length;
    expect(far(seededArray(3, 20000))).toBe(0);
    expect(far(seededArray(3, 20000, 'heavy-tailed'))).toBeGreaterThan(50);
  });

  it('reach both ends of an integer range and nothing else', () => {
    const random = new Random(4);
    const values = new Set(Array.from({ length: 1000 }, () => random.integer(-1, 2)));
    expect([...values].sort((a, b) => a - b)).toEqual([-1, 0, 1, 2]);
  });
});
