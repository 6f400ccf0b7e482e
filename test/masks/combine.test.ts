import { describe, expect, it } from 'vitest';
import { and, causal, globalTokens, keyLengths, or, prefix, slidingWindow } from 'wasm-attention';
import { pictureOf } from '../support/masks.js';

describe('and, or', () => {
  it('keep what all keep, or any', () => {
    expect(pictureOf(and(causal(), slidingWindow({ left: 1 })))).toEqual(['x...', 'xx..', '.xx.', '..xx']);
    expect(pictureOf(or(causal(), prefix([2])))).toEqual(['xx..', 'xx..', 'xxx.', 'xxxx']);
    expect(pictureOf(and(causal(), or(prefix([1]), slidingWindow({ left: 0, right: 0 }))))).toEqual([
      'x...',
      'xx..',
      'x.x.',
      'x..x',
    ]);
  });

  it('know padding only where all parts must hold', () => {
    expect(and(causal(), keyLengths([3]), keyLengths([2])).length(0)).toBe(2);
    expect(or(keyLengths([3]), globalTokens([0])).length(0)).toBe(Infinity);
  });

  it('name what is no mask', () => {
    expect(() => and()).toThrow(/and: expected/);
    expect(() => or([1] as never)).toThrow(/or: expected/);
  });
});
