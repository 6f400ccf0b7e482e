import { describe, expect, it } from 'vitest';
import {
  createRuntime,
  customMask,
  scaledDotProductAttention,
  scaledDotProductAttentionAsync,
} from 'wasm-attention';
import type { Tensor } from 'wasm-attention';
import { Random } from '../reference/random.js';
import { pictureOf } from '../support/masks.js';
import { eachBuild } from '../support/runtimes.js';

describe('customMask', () => {
  it('keeps what its function keeps', () => {
    const mask = customMask({
      keeps: (batch, head, i, j) => (i + j + batch + head) % 2 === 0,
      perHead: true,
    });
    expect(pictureOf(mask, { queries: 2 })).toEqual(['x.x.', '.x.x']);
    expect(pictureOf(mask, { queries: 2, head: 1 })).toEqual(['.x.x', 'x.x.']);
  });

  it('names what is no function', () => {
    expect(() => customMask({} as never)).toThrow(/customMask.keeps: expected/);
    expect(() => customMask({ keeps: () => true, block: 'full' as never })).toThrow(
      /customMask.block: expected/,
    );
  });
});

await eachBuild('a custom mask', (runtime, name) => {
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
});
