import { describe, expect, it } from 'vitest';
import { causal, keyLengths, prefix, scaledDotProductAttention, slidingWindow } from 'wasm-attention';
import { pictureOf } from '../support/masks.js';
import { eachBuild } from '../support/runtimes.js';

describe('causal', () => {
  it('keeps the keys up to the position of the query', () => {
    expect(pictureOf(causal())).toEqual(['x...', 'xx..', 'xxx.', 'xxxx']);
    expect(pictureOf(causal(), { queries: 2, offset: 1 })).toEqual(['xx..', 'xxx.']);
  });

  it('aligns the first query to the first key, or the last query to the last key that is no padding', () => {
    expect(pictureOf(causal('upper-left'), { queries: 2, offset: 1 })).toEqual(['x...', 'xx..']);
    expect(pictureOf(causal('lower-right'), { queries: 2 })).toEqual(['xxx.', 'xxxx']);
    expect(pictureOf(causal('lower-right'), { queries: 2, length: 3 })).toEqual(['xx..', 'xxx.']);
  });

  it('names an alignment that there is not', () => {
    expect(() => causal('left' as 'upper-left')).toThrow(/alignment: expected/);
  });
});

describe('slidingWindow', () => {
  it("keeps as many keys as given on each side of the query's own, all where none is given", () => {
    expect(pictureOf(slidingWindow({ left: 1, right: 0 }))).toEqual(['x...', 'xx..', '.xx.', '..xx']);
    expect(pictureOf(slidingWindow({ right: 1 }))).toEqual(['xx..', 'xxx.', 'xxxx', 'xxxx']);
    expect(pictureOf(slidingWindow({ left: 0, right: 1 }), { queries: 2, offset: 2 })).toEqual([
      '..xx',
      '...x',
    ]);
  });

  it('names a side that makes no sense', () => {
    expect(() => slidingWindow({ left: -1 })).toThrow(/window.left: expected/);
  });
});

describe('keyLengths and prefix', () => {
  it('keep the first keys, of each batch row', () => {
    for (const first of [keyLengths, prefix]) {
      expect(pictureOf(first([3]), { queries: 2 })).toEqual(['xxx.', 'xxx.']);
      expect(pictureOf(first([3, 1]), { queries: 1, batch: 1 })).toEqual(['x...']);
    }
  });

  it('differ in what they say of padding', () => {
    expect(keyLengths([3, 1]).length(1)).toBe(1);
    expect(prefix([3, 1]).length(1)).toBe(Infinity);
  });

  it('name what is no list of lengths', () => {
    expect(() => keyLengths([1.5])).toThrow(/keyLengths\[0\]: expected/);
    expect(() => prefix('x' as never)).toThrow(/prefix: expected/);
  });
});

await eachBuild('lengths of a call', (runtime) => {
  it('must be one, or one per batch row, within the keys', () => {
    const x = runtime.tensor(new Float32Array(12), [1, 1, 3, 4]);
    const { used } = runtime.memory;
    expect(() => scaledDotProductAttention(x, x, x, { keyLengths: [4] })).toThrow(
      /keyLengths\[0\]: expected/,
    );
    expect(() => scaledDotProductAttention(x, x, x, { mask: keyLengths([1, 2]) })).toThrow(
      /keyLengths: expected/,
    );
    expect(runtime.memory.used).toBe(used);
    x.dispose();
  });
});
