import { describe, expect, it } from 'vitest';
import { documents } from 'wasm-attention';
import { pictureOf } from '../support/masks.js';

describe('documents', () => {
  it('keep to themselves, whether their ids come back or not', () => {
    const two = ['xx..', 'xx..', '..xx', '..xx'];
    expect(pictureOf(documents({ ids: [5, 5, -1, -1] }))).toEqual(two);
    expect(pictureOf(documents({ cumulativeLengths: [0, 2, 4] }))).toEqual(two);
    expect(pictureOf(documents({ ids: [0, 1, 0, 1] }))).toEqual(['x.x.', '.x.x', 'x.x.', '.x.x']);
  });

  it('may be empty, and differ between batch rows', () => {
    expect(pictureOf(documents({ cumulativeLengths: [0, 0, 1, 4] }))).toEqual([
      'x...',
      '.xxx',
      '.xxx',
      '.xxx',
    ]);
    const mask = documents({
      ids: [
        [0, 0, 0, 0],
        [0, 1, 1, 1],
      ],
    });
    expect(pictureOf(mask, { batch: 1 })).toEqual(['x...', '.xxx', '.xxx', '.xxx']);
  });

  it('go by the positions of the call; a query beyond them keeps nothing', () => {
    expect(pictureOf(documents({ ids: [0, 0, 1, 1] }), { queries: 3, offset: 2 })).toEqual([
      '..xx',
      '..xx',
      '....',
    ]);
  });

  it('name what makes no sense, and what does not fit the call', () => {
    expect(() => documents({ cumulativeLengths: [0, 5, 3] })).toThrow(/cumulativeLengths: expected/);
    expect(() => pictureOf(documents({ ids: [1, 2] }))).toThrow(/documents: expected/);
  });
});
