import { describe, expect, it } from 'vitest';
import { denseMask } from 'wasm-attention';
import { pictureOf } from '../support/masks.js';

describe('denseMask', () => {
  it('broadcasts from the right', () => {
    expect(pictureOf(denseMask([true, false, true, true], [4]), { queries: 2 })).toEqual(['x.xx', 'x.xx']);
    const perHead = denseMask(Uint8Array.of(1, 0), [2, 1, 1]);
    expect(pictureOf(perHead, { queries: 1 })).toEqual(['xxxx']);
    expect(pictureOf(perHead, { queries: 1, head: 1 })).toEqual(['....']);
  });

  it('names a shape that does not fit its data, or the call', () => {
    expect(() => denseMask([true], [2])).toThrow(/denseMask.shape: expected/);
    expect(() => pictureOf(denseMask([true, true, true], [3]))).toThrow(/mask: expected/);
  });
});
