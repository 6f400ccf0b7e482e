// Where queries stand among the keys: options and masks follow one rule.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  and,
  attentionWeights,
  blockSparse,
  causal,
  customMask,
  denseMask,
  documents,
  globalTokens,
  keyLengths,
  MultiHeadAttention,
  or,
  prefix,
  scaledDotProductAttention,
  slidingWindow,
  strided,
} from 'wasm-attention';
import type { AttentionOptions, Mask } from 'wasm-attention';
import { referenceAttention } from '../../reference/attention.js';
import { Random } from '../../reference/random.js';
import { eachBuild } from '../../support/runtimes.js';

/** Masks that ask where queries stand, for three keys. */
const POSITIONED: Readonly<Record<string, Mask>> = {
  causal: causal(),
  slidingWindow: slidingWindow({ left: 1 }),
  documents: documents({ ids: [0, 0, 1] }),
  'documents of each row': documents({ ids: [[0, 0, 1]] }),
  globalTokens: globalTokens([0]),
  strided: strided(2),
  and: and(prefix([2]), causal()),
  or: or(prefix([1]), and(keyLengths([3]), slidingWindow({ right: 0 }))),
};

/** Masks that do not, for one query and three keys. */
const INDEXED: Readonly<Record<string, Mask>> = {
  "causal('upper-left')": causal('upper-left'),
  "causal('lower-right')": causal('lower-right'),
  prefix: prefix([2]),
  keyLengths: keyLengths([2]),
  blockSparse: blockSparse([[true, false]], 2),
  denseMask: denseMask([true, false, true], [1, 3]),
  customMask: customMask({ keeps: (_b, _h, i, j) => i === 0 && j === 1 }),
  combined: and(or(causal('upper-left'), prefix([1])), keyLengths([3])),
};

await eachBuild('alignment', (runtime) => {
  const ones = (...shape: number[]) =>
    runtime.tensor(new Float32Array(shape.reduce((a, b) => a * b)).fill(1), shape);
  const query = ones(1, 1, 1, 4);
  const key = ones(1, 1, 3, 4);
  /** The keys that each query keeps. */
  const kept = (q: typeof query, options: AttentionOptions) => {
    const weights = attentionWeights(q, key, options);
    const rows = [];
    for (let i = 0; i < weights.size; i += 3)
      rows.push(Array.from(weights.data.subarray(i, i + 3), (weight) => (weight > 0 ? 1 : 0)).join(''));
    weights.dispose();
    return rows.join();
  };

  it.each(Object.entries(POSITIONED))('is asked for by %s, as by the options', (_name, mask) => {
    const { used } = runtime.memory;
    for (const given of [mask, [mask], [keyLengths([3]), mask]]) {
      expect(() => scaledDotProductAttention(query, key, key, { mask: given })).toThrow(
        /mask: expected queryOffset .*0: upper left, 2: lower right.*1 queries meet 3 keys/,
      );
    }
    expect(runtime.memory.used).toBe(used);
    for (const options of [{ queryOffset: 2 }, { causal: 'lower-right' }, { causal: 'upper-left' }] as const)
      scaledDotProductAttention(query, key, key, { mask, ...options }).dispose();
    scaledDotProductAttention(key, key, key, { mask }).dispose();
  });

  it.each(Object.entries(INDEXED))('is of no concern to %s', (_name, mask) => {
    scaledDotProductAttention(query, key, key, { mask }).dispose();
  });

  it('is asked for by every option that depends on it', () => {
    const relativePositionBias = { table: new Float32Array(32) };
    for (const options of [
      { causal: true },
      { window: { left: 1 } },
      { window: {} },
      { alibi: true },
      { relativePositionBias },
      { alibi: false, relativePositionBias },
    ]) {
      expect(() => scaledDotProductAttention(query, key, key, options)).toThrow(/1 queries meet 3 keys/);
      scaledDotProductAttention(query, key, key, { ...options, queryOffset: 2 }).dispose();
    }
  });

  it('is asked for in a layer that has a context', () => {
    const layer = new MultiHeadAttention(runtime, { embedDim: 4, numHeads: 1 });
    const weight = { data: new Float32Array(48), shape: [12, 4] };
    layer.load({
      in_proj_weight: weight,
      in_proj_bias: { data: new Float32Array(12), shape: [12] },
      'out_proj.weight': { data: new Float32Array(16), shape: [4, 4] },
      'out_proj.bias': { data: new Float32Array(4), shape: [4] },
    });
    const [x, context] = [ones(1, 1, 4), ones(1, 3, 4)];
    expect(() => layer.forward(x, { context, mask: causal() })).toThrow(/mask: expected queryOffset/);
    const { weights } = layer.forward(x, { context, mask: causal(), queryOffset: 1, returnWeights: true });
    expect(Array.from(weights.data)).toEqual([0.5, 0.5, 0]);
    layer.dispose();
  });

  it('of a mask follows that of the call', () => {
    const two = ones(1, 1, 2, 4);
    expect(kept(two, { mask: causal(), queryOffset: 1 })).toBe('110,111');
    expect(kept(two, { mask: slidingWindow({ left: 0, right: 0 }), causal: 'lower-right' })).toBe('010,001');
    expect(kept(two, { mask: slidingWindow({ left: 0, right: 0 }), causal: 'upper-left' })).toBe('100,010');
  });

  it("of a mask causal('lower-right') ends at keyLengths, as that of the option does", () => {
    const two = ones(1, 1, 2, 4);
    expect(kept(two, { causal: 'lower-right', keyLengths: [2] })).toBe('100,110');
    expect(kept(two, { mask: causal('lower-right'), keyLengths: [2] })).toBe('100,110');
    expect(kept(two, { mask: [causal('lower-right'), keyLengths([2])] })).toBe('100,110');
    expect(kept(two, { mask: and(keyLengths([2]), causal('lower-right')) })).toBe('100,110');
    expect(kept(two, { causal: 'lower-right', mask: keyLengths([2]) })).toBe('100,110');
    // Where the length need not hold, it says nothing.
    expect(kept(two, { mask: or(keyLengths([2]), causal('lower-right')) })).toBe('110,111');
    expect(kept(two, { mask: [prefix([2]), causal('lower-right')] })).toBe('110,110');
  });

  it("of option and mask 'lower-right' is the same, whatever the lengths", () => {
    fc.assert(
      fc.property(
        fc.record({ batch: fc.integer({ min: 1, max: 3 }), queries: fc.integer({ min: 1, max: 150 }) }),
        fc.integer({ min: 1, max: 200 }),
        fc.integer(),
        ({ batch, queries }, keys, seed) => {
          const random = new Random(seed);
          const lengths = Array.from({ length: batch }, () => random.integer(0, keys));
          const tensor = (length: number) => ({
            data: random.array(batch * length * 4, 'normal'),
            shape: [batch, 1, length, 4],
          });
          const [q, k] = [tensor(queries), tensor(keys)];
          const call = (options: AttentionOptions) => {
            const { output } = scaledDotProductAttention(q, k, k, { runtime, ...options });
            const data = output.toFloat32Array();
            output.dispose();
            return data;
          };
          const option = call({ causal: 'lower-right', keyLengths: lengths });
          expect(call({ mask: causal('lower-right'), keyLengths: lengths })).toEqual(option);
          // A mask that is no interval, so that the rule reaches the table of blocks, too.
          const all = customMask({ keeps: () => true });
          const none = and(causal('lower-right'), customMask({ keeps: () => false }));
          expect(call({ mask: and(or(causal('lower-right'), none), all), keyLengths: lengths })).toEqual(
            option,
          );
          const sizes = { batch, queryHeads: 1, keyHeads: 1, queries, keys, headDim: 4, valueHeadDim: 4 };
          const expected = referenceAttention(
            { ...sizes, query: q.data, key: k.data, value: k.data },
            { keyLengths: lengths, causalOffset: lengths.map((length) => length - queries) },
          );
          option.forEach((y, i) => expect(Math.abs(y - expected.output[i]!)).toBeLessThan(1e-5));
        },
      ),
      { numRuns: 30 },
    );
  });

  it('far away leaves an open window open', () => {
    for (const queryOffset of [2 ** 31 - 1, 2 ** 31 - 2, -(2 ** 31)]) {
      expect(kept(query, { queryOffset, window: {} })).toBe('111');
      expect(kept(query, { queryOffset, mask: slidingWindow({}) })).toBe('111');
    }
    expect(kept(query, { queryOffset: 2 ** 31 - 1, window: { left: 2 ** 31 - 3 } })).toBe('001');
    expect(kept(query, { queryOffset: 2 ** 31 - 1, window: { right: 0 } })).toBe('111');
    expect(kept(query, { queryOffset: -(2 ** 31), window: { left: 0, right: 2 ** 31 + 1 } })).toBe('110');
    expect(kept(query, { queryOffset: -(2 ** 31), window: { left: 0 } })).toBe('111');
    expect(kept(query, { queryOffset: 2 ** 31 - 1, causal: true })).toBe('111');
    expect(kept(query, { queryOffset: -(2 ** 31), causal: true })).toBe('000');
  });
});
