// Errors of long sums: chains of multiply-adds are cut at fixed places, so the error of a result hardly grows with the depth
// of a product, the number of keys or the length of a row. Bounds are between what cut chains give and what uncut ones would.

import { expect, it } from 'vitest';
import {
  KeyValueCache,
  linear,
  LinearWeights,
  scaledDotProductAttention,
  softmax,
  type ScaledDotProductAttentionOptions,
  type Tensor,
} from 'wasm-attention';
import { referenceLinear } from '../reference/attention.js';
import { Random } from '../reference/random.js';
import { eachBuild } from '../support/runtimes.js';

function rootMeanSquare(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let squares = 0;
  for (let i = 0; i < actual.length; i++) squares += (actual[i]! - expected[i]!) ** 2;
  return Math.sqrt(squares / actual.length);
}

type Options = Pick<ScaledDotProductAttentionOptions, 'causal' | 'window'>;

const scaled = (values: Float32Array, factor: number) => values.map((value) => value * factor);

await eachBuild('sums', (runtime) => {
  // One chain gave 5.0e-7, 9.2e-7 with the bias first, and 1.1e-6 at depth 4096.
  it.each([
    [768, false],
    [768, true],
    [4096, false],
    [4096, true],
  ])('of a product of depth %i, bias %s', (depth, biased) => {
    const columns = 61;
    const random = new Random(depth);
    const weight = scaled(random.array(columns * depth, 'normal'), 1 / Math.sqrt(depth));
    const bias = biased ? random.array(columns, 'normal').map(Math.sign) : new Float32Array(columns);
    const weights = new LinearWeights(
      runtime,
      { data: weight, shape: [columns, depth] },
      { data: bias, shape: [columns] },
    );
    for (const rows of [1, 2, 8, 47]) {
      const x = random.array(rows * depth, 'normal');
      const output = linear({ data: x, shape: [rows, depth] }, weights);
      const sizes = { rows, inFeatures: depth, outFeatures: columns };
      const error = rootMeanSquare(output.data, referenceLinear(x, { weight, bias }, sizes));
      expect(error).toBeLessThan(3.2e-7);
      output.dispose();
    }
    weights.dispose();
  });

  // One chain gave 2.1e-6.
  it('of values of mean one over 20,000 keys, as tensors and from a cache', () => {
    const [keys, dim, heads] = [20_000, 16, 1];
    const random = new Random(20_000);
    const key = random.array(keys * dim, 'normal');
    const value = random.array(keys * dim, 'normal').map((x) => 1 + x);
    const cache = new KeyValueCache(runtime, { numKeyValueHeads: heads, headDim: dim, capacity: keys });
    const asTensor = (data: Float32Array, rows: number) => ({ data, shape: [1, heads, rows, dim] });
    cache.append(0, asTensor(key, keys), asTensor(value, keys));
    for (const queries of [1, 2, 13]) {
      const query = scaled(random.array(queries * dim, 'normal'), 0.2);
      const expected = exactAttention(query, key, value, dim);
      const check = (output: Tensor) => {
        expect(rootMeanSquare(output.data, expected)).toBeLessThan(6e-7);
        output.dispose();
      };
      const options = { runtime };
      check(
        scaledDotProductAttention(
          asTensor(query, queries),
          asTensor(key, keys),
          asTensor(value, keys),
          options,
        ).output,
      );
      check(cache.attend(0, asTensor(query, queries), { causal: false }).output);
    }
    cache.dispose();
  });

  // A score is cut at 32 channels, for its error is a whole error of the weight it becomes. Cut at 64 the root mean squares were
  // 5.0e-8, 2.7e-8, 4.5e-8 and 4.4e-8, the largest errors 3.3e-7 to 7.6e-7.
  it.each([
    [128, {}, 4.3e-8, 4.7e-7],
    [512, {}, 2.4e-8, 3.2e-7],
    [512, { causal: true }, 3.8e-8, 5.2e-7],
    [600, { causal: true, window: { left: 255, right: 0 } }, 3.8e-8, 5.2e-7],
  ])('of scores of heads of 64, %i tokens, %j', (length, options: Options, most, largest) => {
    const dim = 64;
    const random = new Random(65);
    const [query, key, value] = [1, 2, 3].map(() => random.array(length * dim, 'normal')) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const [q, k, v] = [query, key, value].map((data) => ({ data, shape: [1, 1, length, dim] }));
    const { output } = scaledDotProductAttention(q!, k!, v!, { ...options, runtime });
    const reach = options.window ? 255 : length;
    const expected = exactAttention(query, key, value, dim, (row) =>
      options.causal ? [Math.max(0, row - reach), row + 1] : [0, length],
    );
    expect(rootMeanSquare(output.data, expected)).toBeLessThan(most);
    expect(output.data.reduce((worst, x, i) => Math.max(worst, Math.abs(x - expected[i]!)), 0)).toBeLessThan(
      largest,
    );
    output.dispose();
  });

  // Of themselves: what exp2's polynomial and the rounding of log2(e) times the difference from the maximum come to.
  it('of the elements of a softmax', () => {
    const [rows, columns] = [500, 128];
    const x = new Random(7).array(rows * columns, 'normal');
    const output = softmax({ data: x, shape: [rows, columns] }, { runtime });
    const errors = Float64Array.from(output.data);
    for (let from = 0; from < x.length; from += columns) {
      let sum = 0;
      for (let i = from; i < from + columns; i++) sum += Math.exp(x[i]!);
      for (let i = from; i < from + columns; i++) errors[i] = errors[i]! / (Math.exp(x[i]!) / sum) - 1;
    }
    expect(rootMeanSquare(errors, new Float64Array(errors.length))).toBeLessThan(1.5e-7);
    expect(errors.reduce((worst, error) => Math.max(worst, Math.abs(error)), 0)).toBeLessThan(7e-7);
    output.dispose();
  });

  // One sum a lane was off by 4e-5 of itself.
  it('of a softmax over a million columns', () => {
    const x = scaled(new Random(5).array(1_000_000, 'uniform'), 0.3);
    const output = softmax({ data: x, shape: [1, x.length] }, { runtime });
    let sum = 0;
    for (const value of x) sum += Math.exp(value);
    let deviation = 0;
    output.data.forEach((y, i) => (deviation += (y * sum) / Math.exp(x[i]!) - 1));
    expect(Math.abs(deviation / x.length)).toBeLessThan(2e-6);
    output.dispose();
  });

  it('cut at the same places for any company: heads larger than a piece', () => {
    const [queries, keys, dim, valueDim] = [47, 300, 300, 260];
    const random = new Random(6);
    const tensor = (rows: number, columns: number) =>
      runtime.tensor(random.array(rows * columns, 'normal'), [1, 1, rows, columns]);
    const [q, k, v] = [tensor(queries, dim), tensor(keys, dim), tensor(keys, valueDim)];
    const whole = scaledDotProductAttention(q, k, v).output;
    for (const [from, to] of [
      [0, 1],
      [1, 3],
      [5, 12],
      [20, 46],
    ] as const) {
      const some = scaledDotProductAttention(q.slice(2, from, to), k, v).output;
      expect(some.data).toEqual(whole.slice(2, from, to).toFloat32Array());
    }
    for (const each of [q, k, v, whole]) each.dispose();
  });
});

/** Attention of one head in float64: softmax(q k^T / sqrt(dim)) v, of the keys [from, to) that a row sees. */
function exactAttention(
  query: Float32Array,
  key: Float32Array,
  value: Float32Array,
  dim: number,
  seen: (row: number) => readonly [from: number, to: number] = () => [0, key.length / dim],
): Float64Array {
  const output = new Float64Array(query.length);
  for (let row = 0; row < query.length; row += dim) {
    let total = 0;
    const sums = new Float64Array(dim);
    const [from, to] = seen(row / dim);
    for (let at = from * dim; at < to * dim; at += dim) {
      let score = 0;
      for (let d = 0; d < dim; d++) score += query[row + d]! * key[at + d]!;
      const power = Math.exp(score / Math.sqrt(dim));
      total += power;
      for (let d = 0; d < dim; d++) sums[d]! += power * value[at + d]!;
    }
    sums.forEach((sum, d) => (output[row + d] = sum / total));
  }
  return output;
}
