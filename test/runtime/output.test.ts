// Where results may be written: never over what is still to be read, but between it.

import { expect, it } from 'vitest';
import {
  KeyValueCache,
  linear,
  linearAsync,
  LinearWeights,
  scaledDotProductAttention,
  scaledDotProductAttentionAsync,
} from 'wasm-attention';
import type { Tensor } from 'wasm-attention';
import { Random } from '../reference/random.js';
import { eachBuild } from '../support/runtimes.js';

const OVERLAP = /^output: expected memory that no input lies in/;

await eachBuild('an output', (runtime) => {
  const random = new Random(1);
  const tensor = (...shape: number[]) =>
    runtime.tensor(
      random.array(
        shape.reduce((a, b) => a * b),
        'normal',
      ),
      shape,
    );
  const copy = (one: Tensor) => runtime.tensor(one.toFloat32Array(), one.shape);

  it('is refused if it is an input, or overlaps one, and nothing is written', async () => {
    const both = tensor(2, 2, 9, 8);
    const [q, k] = [both.slice(0, 0, 1), tensor(1, 2, 9, 8)];
    const before = both.data.slice();
    const bias = tensor(1, 2, 9, 9);
    for (const [inputs, output] of [
      [[q, k, k], q],
      [[k, q, k], q],
      [[k, k, q], q],
      [[q, k, k], q.transpose(1, 1)],
      [[both.slice(0, 1, 2), k, k], both.slice(0, 1, 2).reshape([1, 2, 9, 8])],
    ] as const) {
      expect(() => scaledDotProductAttention(...inputs, { output })).toThrow(OVERLAP);
      await expect(scaledDotProductAttentionAsync(...inputs, { output })).rejects.toThrow(OVERLAP);
    }
    expect(() => scaledDotProductAttention(k, k, k, { bias, output: bias.slice(3, 0, 8) })).toThrow(OVERLAP);
    expect(() => scaledDotProductAttention(k, k, k, { mask: bias, output: bias.slice(3, 1, 9) })).toThrow(
      OVERLAP,
    );
    bias.dispose();
    const weights = new LinearWeights(runtime, tensor(8, 8));
    const x = both.reshape([36, 8]);
    expect(() => linear(x, weights, { output: x })).toThrow(OVERLAP);
    expect(() => linear(x.slice(0, 0, 20), weights, { output: x.slice(0, 16, 36) })).toThrow(OVERLAP);
    await expect(linearAsync(x.slice(0, 0, 20), weights, { output: x.slice(0, 16, 36) })).rejects.toThrow(
      OVERLAP,
    );
    linear(x.slice(0, 0, 18), weights, { output: tensor(36, 8).slice(0, 18, 36) });
    weights.dispose();
    const cache = new KeyValueCache(runtime, { numKeyValueHeads: 2, headDim: 8, capacity: 9 });
    cache.append(0, k, k);
    expect(() => cache.attend(0, q, { output: q })).toThrow(OVERLAP);
    cache.dispose();
    expect(both.data).toEqual(before);
  });

  it('is refused if it is no such tensor', () => {
    const q = tensor(1, 1, 3, 4);
    const call = (output: unknown) => () => scaledDotProductAttention(q, q, q, { output: output as Tensor });
    for (const output of [null, 0, false, '', {}, [1]])
      expect(call(output)).toThrow(/^output: expected a Tensor/);
    expect(call(tensor(1, 1, 4, 3).transpose(2, 3))).toThrow(/^output: expected a contiguous last axis/);
    expect(call(tensor(3, 4))).toThrow(/^output: expected \[1, 1, 3, 4\]/);
    const weights = new LinearWeights(runtime, tensor(4, 4));
    expect(() => linear(q, weights, { output: 0 as never })).toThrow(/^output: expected a Tensor/);
  });

  it('may lie between the inputs: heads of a packed tensor', () => {
    const [length, heads, dim] = [40, 3, 8];
    const rows = tensor(2, length, 4 * heads * dim);
    const view = (i: number) =>
      rows
        .slice(2, i * heads * dim, (i + 1) * heads * dim)
        .reshape([2, length, heads, dim])
        .transpose(1, 2);
    const [q, k, v, output] = [view(0), view(1), view(2), view(3)];
    const expected = scaledDotProductAttention(copy(q), copy(k), copy(v)).output;
    const inputs = [q, k, v].map((one) => one.toFloat32Array());
    scaledDotProductAttention(q, k, v, { output });
    expect(output.toFloat32Array()).toEqual(expected.toFloat32Array());
    expect([q, k, v].map((one) => one.toFloat32Array())).toEqual(inputs);
    // Head by head in place of another head of the same rows.
    const [first, second] = [q.slice(1, 0, 1), q.slice(1, 1, 2)];
    const alone = scaledDotProductAttention(copy(first), copy(first), copy(first)).output;
    scaledDotProductAttention(first, first, first, { output: second });
    expect(second.toFloat32Array()).toEqual(alone.toFloat32Array());
    expect(() => scaledDotProductAttention(q, q, q, { output: view(0) })).toThrow(OVERLAP);
  });
});
