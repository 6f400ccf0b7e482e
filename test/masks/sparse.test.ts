import { describe, expect, it } from 'vitest';
import { blockSparse, globalTokens, strided } from 'wasm-attention';
import { pictureOf } from '../support/masks.js';

describe('globalTokens', () => {
  it('see every key and are seen by every query', () => {
    expect(pictureOf(globalTokens([2]))).toEqual(['..x.', '..x.', 'xxxx', '..x.']);
    expect(pictureOf(globalTokens([2]), { queries: 2, offset: 1 })).toEqual(['..x.', 'xxxx']);
  });

  it('must be tokens of the call', () => {
    expect(() => pictureOf(globalTokens([4]))).toThrow(/globalTokens\[0\]: expected/);
  });
});

describe('strided', () => {
  it('keeps every key that is a multiple of the stride away', () => {
    expect(pictureOf(strided(3))).toEqual(['x..x', '.x..', '..x.', 'x..x']);
    expect(pictureOf(strided(3), { queries: 1, offset: 1 })).toEqual(['.x..']);
  });

  it('names a stride that makes no sense', () => {
    expect(() => strided(0)).toThrow(/stride: expected/);
  });
});

describe('blockSparse', () => {
  const lower = [
    [true, false],
    [1, 1],
  ];

  it('keeps the blocks of its layout, of each head if it has one for each', () => {
    expect(pictureOf(blockSparse(lower, 3))).toEqual(['xxx.', 'xxx.', 'xxx.', 'xxxx']);
    const upper = [
      [1, 1],
      [0, 1],
    ];
    expect(pictureOf(blockSparse([lower, upper], 2), { head: 1 })).toEqual(['xxxx', 'xxxx', '..xx', '..xx']);
  });

  it('names what is no layout, and what does not fit the call', () => {
    expect(() => blockSparse([[true]], 0)).toThrow(/blockSize: expected/);
    for (const layout of [new Array(2), [new Array(1)], [[[true], new Array(1)]], [['x']]]) {
      expect(() => blockSparse(layout as never, 2)).toThrow(/blockSparse.layout: expected/);
    }
    expect(() => pictureOf(blockSparse([[1]], 2))).toThrow(/blockSparse.layout: expected/);
    expect(() => pictureOf(blockSparse([lower], 2))).toThrow(/blockSparse.layout: expected/);
  });
});
