// Masks as values: block answers against the predicate, intervals against it, and attention against the reference.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  and,
  attentionWeights,
  blockSparse,
  causal,
  createRuntime,
  customMask,
  denseMask,
  documents,
  globalTokens,
  keyLengths,
  linearAttention,
  or,
  prefix,
  receivedWeight,
  scaledDotProductAttention,
  scaledDotProductAttentionAsync,
  slidingWindow,
  strided,
} from 'wasm-attention';
import type { Mask, MaskContext, Tensor } from 'wasm-attention';
import { referenceAttention } from '../reference/attention.js';
import { Random } from '../reference/random.js';
import { eachBuild } from '../support/runtimes.js';

/** Masks that fit any batch of 2, 2 heads and n queries and keys. */
function leaves(n: number, seed: number): Mask[] {
  const random = new Random(seed);
  const size = random.integer(1, 9);
  const blocks = Math.ceil(n / size);
  const layout = () =>
    Array.from({ length: blocks }, () => Array.from({ length: blocks }, () => random.integer(0, 2) > 0));
  const kept = Uint8Array.from({ length: 2 * n * n }, () => random.integer(0, 1));
  const ids = Array.from({ length: n }, () => random.integer(0, 2));
  return [
    causal(),
    causal('upper-left'),
    causal('lower-right'),
    slidingWindow({ left: random.integer(0, n), right: random.integer(0, 3) }),
    slidingWindow({ right: 1 }),
    prefix([random.integer(0, n), random.integer(0, n)]),
    keyLengths([random.integer(0, n)]),
    documents({ cumulativeLengths: [0, Math.floor(n / 3), n] }),
    documents({ ids }),
    documents({ ids: [ids, [...ids].reverse()] }),
    globalTokens([0, 0, n - 1]),
    strided(size),
    blockSparse(layout(), size),
    blockSparse([layout(), layout()], size),
    denseMask(kept, [2, n, n]),
    customMask({ keeps: (b, h, i, j) => (i * 7 + j * 3 + b + h) % 4 > 0, perBatch: true, perHead: true }),
    customMask({
      keeps: (_b, _h, i, j) => i > j,
      block: (block) => (block.queryTo <= block.keyFrom ? 'empty' : 'mixed'),
    }),
  ];
}

const masks = fc.record({
  n: fc.integer({ min: 1, max: 40 }),
  seed: fc.integer(),
  picks: fc.array(fc.nat(16), { minLength: 1, maxLength: 4 }),
  nest: fc.constantFrom('and', 'or', 'both'),
});

function build({ n, seed, picks, nest }: { n: number; seed: number; picks: number[]; nest: string }): Mask {
  const chosen = picks.map((pick) => leaves(n, seed)[pick]!);
  if (nest === 'or') return or(...chosen);
  if (nest === 'both' && chosen.length > 2) return and(chosen[0]!, or(...chosen.slice(1)));
  return and(...chosen);
}

describe('masks', () => {
  it('answer for blocks and intervals as for each pair', () => {
    fc.assert(
      fc.property(masks, fc.integer({ min: -3, max: 3 }), (given, shift) => {
        const { n } = given;
        const mask = build(given);
        const context: MaskContext = {
          batch: 2,
          heads: 2,
          queries: n,
          keys: n,
          offset: (batch) => batch * shift,
          length: () => n,
        };
        mask.check(context);
        const random = new Random(given.seed + 1);
        for (let trial = 0; trial < 20; trial++) {
          const range = (): [number, number] => {
            const from = random.integer(0, n - 1);
            return [from, random.integer(from + 1, n)];
          };
          const [[queryFrom, queryTo], [keyFrom, keyTo]] = [range(), range()];
          const [batch, head] = [random.integer(0, 1), random.integer(0, 1)];
          const answer = mask.block(context, { batch, head, queryFrom, queryTo, keyFrom, keyTo });
          let count = 0;
          for (let i = queryFrom; i < queryTo; i++) {
            const interval = { begin: 0, end: 0 };
            const whole = mask.interval(context, batch, head, i, interval);
            for (let j = keyFrom; j < keyTo; j++) {
              const keeps = mask.keeps(context, batch, head, i, j);
              if (keeps) count++;
              if (whole) expect(interval.begin <= j && j < interval.end).toBe(keeps);
            }
          }
          if (answer === 'empty') expect(count).toBe(0);
          if (answer === 'full') expect(count).toBe((queryTo - queryFrom) * (keyTo - keyFrom));
        }
      }),
      { numRuns: 200 },
    );
  });

  it('name the argument that is wrong', () => {
    expect(() => causal('left' as 'upper-left')).toThrow(/alignment: expected/);
    expect(() => slidingWindow({ left: -1 })).toThrow(/window.left: expected/);
    expect(() => keyLengths([1.5])).toThrow(/keyLengths\[0\]: expected/);
    expect(() => prefix('x' as never)).toThrow(/prefix: expected/);
    expect(() => documents({ cumulativeLengths: [0, 5, 3] })).toThrow(/cumulativeLengths: expected/);
    expect(() => strided(0)).toThrow(/stride: expected/);
    expect(() => blockSparse([[true]], 0)).toThrow(/blockSize: expected/);
    for (const layout of [new Array(2), [new Array(1)], [[[true], new Array(1)]], [['x']]]) {
      expect(() => blockSparse(layout as never, 2)).toThrow(/blockSparse.layout: expected/);
    }
    expect(() => customMask({} as never)).toThrow(/customMask.keeps: expected/);
    expect(() => denseMask([true], [2])).toThrow(/denseMask.shape: expected/);
    expect(() => and()).toThrow(/and: expected/);
    expect(() => or([1] as never)).toThrow(/or: expected/);
  });
});

await eachBuild('masked attention', (runtime, name) => {
  it('equals the reference for any mask, across the borders of blocks', () => {
    const sizes = fc.record({ given: masks, large: fc.constantFrom(0, 0, 129, 300, 500) });
    fc.assert(
      fc.property(sizes, ({ given, large }) => {
        const n = large || given.n;
        const mask = build({ ...given, n });
        const random = new Random(given.seed);
        const sizesOf = {
          batch: 2,
          queryHeads: 2,
          keyHeads: 1,
          queries: n,
          keys: n,
          headDim: 4,
          valueHeadDim: 4,
        };
        const query = random.array(2 * 2 * n * 4, 'normal');
        const key = random.array(2 * n * 4, 'normal');
        // 'lower-right' ends where the lengths of the same call do.
        const lengthOf = (batch: number) => Math.min(n, mask.length(batch));
        const context = { batch: 2, heads: 2, queries: n, keys: n, offset: () => 0, length: lengthOf };
        const result = scaledDotProductAttention(
          { data: query, shape: [2, 2, n, 4] },
          { data: key, shape: [2, 1, n, 4] },
          { data: key, shape: [2, 1, n, 4] },
          { mask, runtime },
        );
        const expected = referenceAttention(
          { ...sizesOf, query, key, value: key },
          { predicate: (b, h, i, j) => mask.keeps(context, b, h, i, j) },
        );
        let worst = 0;
        result.output.data.forEach((y, i) => (worst = Math.max(worst, Math.abs(y - expected.output[i]!))));
        expect(worst).toBeLessThan(1e-5);
        result.dispose();
      }),
      { numRuns: 40 },
    );
  });

  it('holds what its predicate disposes until the call is over', async () => {
    const n = 20;
    const random = new Random(8);
    const tensor = () => runtime.tensor(random.array(n * 16, 'normal'), [1, 1, n, 16]);
    const [q, k, v] = [tensor(), tensor(), tensor()];
    const [queries, keys] = [q.toFloat32Array(), k.toFloat32Array()];
    const keeps = (_b: number, _h: number, i: number, j: number) => (i + j) % 3 > 0;
    const expected = scaledDotProductAttention(q, k, v, { mask: customMask({ keeps }) }).output;
    const { used } = runtime.memory;
    for (const attend of [scaledDotProductAttention, scaledDotProductAttentionAsync]) {
      const [query, key] = [queries, keys].map((data) => runtime.tensor(data, [1, 1, n, 16])) as [
        Tensor,
        Tensor,
      ];
      const written: Tensor[] = [];
      const mask = customMask({
        keeps: (b, h, i, j) => {
          if (written.length === 0) {
            query.dispose();
            key.dispose();
            // Whoever takes the freed memory writes to it.
            for (let t = 0; t < 4; t++)
              written.push(runtime.tensor(new Float32Array(n * 16).fill(NaN), [n * 16]));
          }
          return keeps(b, h, i, j);
        },
      });
      const { output } = await attend(query, key, v, { mask });
      expect(output.data).toEqual(expected.data);
      for (const one of [output, ...written]) one.dispose();
      expect(runtime.memory.used).toBe(used);
    }
    const value = runtime.tensor(queries, [1, 1, n, 16]);
    const ending = customMask({ keeps: () => (value.dispose(), true) });
    expect(() => scaledDotProductAttention(q, k, value, { mask: ending })).toThrow(/disposed/);
    expect(runtime.memory.used).toBe(used);
    const other = await createRuntime({ build: name });
    const x = other.tensor(queries, [1, 1, n, 16]);
    const last = customMask({ keeps: () => (other.dispose(), true) });
    expect(() => scaledDotProductAttention(x, x, x, { mask: last })).toThrow(/disposed/);
    for (const one of [q, k, v, expected]) one.dispose();
  });

  it('refuses masks and lengths that do not fit the call', () => {
    const x = runtime.tensor(new Float32Array(12), [1, 1, 3, 4]);
    const call = (options: object) => () => scaledDotProductAttention(x, x, x, options);
    const { used } = runtime.memory;
    expect(call({ keyLengths: [4] })).toThrow(/keyLengths\[0\]: expected/);
    for (const nothing of [0, null, '', false]) {
      expect(call({ keyLengths: nothing })).toThrow(/keyLengths: expected/);
      expect(call({ window: nothing })).toThrow(/window: expected/);
      expect(call({ relativePositionBias: nothing })).toThrow(/relativePositionBias: expected/);
      expect(() => linearAttention(x, x, x, { keyLengths: nothing as never })).toThrow(
        /keyLengths: expected/,
      );
    }
    for (const region of [5, null, 'all', false]) {
      expect(() => attentionWeights(x, x, { region: region as never })).toThrow(/^region: expected/);
    }
    for (const range of [null, 0, [1], [0, 1, 2], [2, 1], [0, NaN], '01', [0, 4]]) {
      const region = { keys: range } as never;
      expect(() => attentionWeights(x, x, { region })).toThrow(/^region.keys: expected \[from, to\]/);
      expect(() => receivedWeight(x, x, { queries: range as never })).toThrow(/queries: expected/);
    }
    expect(call({ mask: keyLengths([1, 2]) })).toThrow(/keyLengths: expected/);
    expect(call({ mask: documents({ ids: [1, 2] }) })).toThrow(/documents: expected/);
    expect(call({ mask: blockSparse([[1]], 2) })).toThrow(/blockSparse.layout: expected/);
    expect(call({ mask: { data: new Uint8Array(4), shape: [2, 2] } })).toThrow(/mask: expected/);
    expect(call({ mask: 5 })).toThrow(/mask: expected/);
    expect(call({ bias: { data: new Uint8Array(9), shape: [3, 3] } })).toThrow(/bias: expected/);
    expect(call({ causal: 'left' })).toThrow(/causal: expected/);
    expect(call({ scale: NaN })).toThrow(/scale: expected/);
    expect(call({ softcap: 0 })).toThrow(/softcap: expected/);
    expect(call({ temperature: -1 })).toThrow(/temperature: expected/);
    expect(call({ sinks: [1, 2] })).toThrow(/sinks: expected/);
    expect(call({ alibi: [1, 2] })).toThrow(/alibi: expected/);
    expect(call({ queryOffset: [1, 2] })).toThrow(/queryOffset: expected/);
    expect(() => scaledDotProductAttention(x.slice(2, 0, 2), x, x, { causal: true })).toThrow(
      /'upper-left', 'lower-right'/,
    );
    expect(() => scaledDotProductAttention(x, x.slice(3, 0, 2), x)).toThrow(/key: expected/);
    expect(() => scaledDotProductAttention(x, x, x.slice(2, 0, 2))).toThrow(/value: expected/);
    expect(runtime.memory.used).toBe(used);
  });
});
