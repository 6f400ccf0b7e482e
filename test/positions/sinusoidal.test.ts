import { describe, expect, it } from 'vitest';
import { addPositions, sinusoidalEncoding } from 'wasm-attention';

describe('sinusoidal encoding', () => {
  it('is sines and cosines of falling frequencies, from an offset', () => {
    const table = sinusoidalEncoding(50, 7, { offset: 3 });
    for (let i = 0; i < 50; i++) {
      for (let c = 0; c < 7; c++) {
        const angle = (i + 3) / 10000 ** ((c - (c % 2)) / 7);
        expect(table[i * 7 + c]).toBeCloseTo(c % 2 ? Math.cos(angle) : Math.sin(angle), 6);
      }
    }
  });
});

describe('addPositions', () => {
  it('adds the row of each token to all batch rows, and names a row that is not there', () => {
    const x = addPositions(
      new Float32Array(8),
      Float32Array.of(1, 2, 3, 4),
      { batch: 2, length: 2, dim: 2 },
      [1, 0],
    );
    expect(Array.from(x)).toEqual([3, 4, 1, 2, 3, 4, 1, 2]);
    expect(() => addPositions(x, x, { batch: 2, length: 2, dim: 2 }, [9, 0])).toThrow(
      /positions\[0\]: expected/,
    );
  });
});
