// Strided copies and joined masks: against plain loops over every element, for any strides; in tiles, on threads.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createRuntime,
  linearAsync,
  LinearWeights,
  mergeAttentionAsync,
  scaledDotProductAttention,
  scaledDotProductAttentionAsync,
  softmaxAsync,
} from 'wasm-attention';
import type { Runtime, Tensor } from 'wasm-attention';
import { Random } from '../../reference/random.js';
import { builds } from '../../support/runtimes.js';
import { kernelCalls } from '../../support/slices.js';

/** A view with its axes in another order, some of them cut, and its elements by plain arithmetic. */
function view(
  runtime: Runtime,
  kind: 'float32' | 'int32' | 'bool',
  lengths: readonly number[],
  swaps: readonly number[],
  cuts: readonly number[],
): { base: Tensor; tensor: Tensor; expected: number[] } {
  const base = runtime.empty(lengths, kind);
  base.data.forEach((_, i) => (base.data[i] = kind === 'bool' ? i % 251 : i * 3 - 50));
  let tensor: Tensor = base;
  swaps.forEach((swap, i) => (tensor = tensor.transpose(i % lengths.length, swap % lengths.length)));
  cuts.forEach((cut, axis) => {
    if (axis >= lengths.length) return;
    const length = tensor.shape[axis]!;
    const from = cut % (length + 1);
    tensor = tensor.slice(axis, from, Math.max(from, length - (cut >> 3)));
  });
  const { shape, strides } = tensor;
  const first = (tensor.address - base.address) / (kind === 'bool' ? 1 : 4);
  const expected = Array.from({ length: tensor.size }, (_, place) => {
    let at = first;
    for (let axis = shape.length - 1, rest = place; axis >= 0; axis--) {
      at += (rest % shape[axis]!) * strides[axis]!;
      rest = Math.floor(rest / shape[axis]!);
    }
    return base.data[at]!;
  });
  return { base, tensor, expected };
}

/** What joining floats means: -Infinity removes, and the sum of two finite values is finite. */
function sumOf(a: number, b: number): number {
  const largest = (2 - 2 ** -23) * 2 ** 127;
  if (a === -Infinity || b === -Infinity) return -Infinity;
  if (a === Infinity || b === Infinity) return a + b;
  return Math.max(-largest, Math.min(a + b, largest));
}

const SPECIAL = [-Infinity, Infinity, NaN, 0, -0, 3.4028234663852886e38, -3.4028234663852886e38, 1e-40, 2e38];

describe.each(builds)('%s', async (build) => {
  const alone = await createRuntime({ build });
  const threaded = await createRuntime({ build, threads: { count: 3, required: true } });
  threaded.threads!.leastCost = 0;

  it('copies any view of any kind', () => {
    const kinds = fc.constantFrom('float32', 'int32', 'bool' as const);
    const shapes = fc.oneof(
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 }),
      fc.tuple(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: 70 })),
      fc.constantFrom([3, 4200], [4200, 3], [2, 37, 2100], [5000]),
    );
    const numbers = fc.array(fc.nat(40), { maxLength: 6 });
    fc.assert(
      fc.property(kinds, shapes, numbers, numbers, (kind, lengths, swaps, cuts) => {
        const { base, tensor, expected } = view(alone, kind, lengths, swaps, cuts);
        const { used } = alone.memory;
        const copy = tensor.toContiguous();
        expect(copy.contiguous && copy.dtype === kind).toBe(true);
        expect(Array.from(copy.data)).toEqual(expected);
        expect(Array.from(tensor.toFloat32Array())).toEqual(expected);
        copy.dispose();
        expect(alone.memory.used).toBe(used);
        base.dispose();
      }),
      { numRuns: 150 },
    );
  });

  it('joins masks as their elements say, for any shapes that broadcast, forms and threads', async () => {
    const axis = (most: number) => fc.integer({ min: 1, max: most });
    const shapes = fc.tuple(axis(2), axis(3), axis(20), axis(40));
    const whole = fc.array(fc.nat(15), { minLength: 2, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(shapes, whole, fc.boolean(), fc.integer(), async (sizes, axes, floats, seed) => {
        const random = new Random(seed);
        const [batch, heads, queries, keys] = sizes;
        const inputs = [
          [batch, heads, queries, 4],
          [batch, heads, keys, 4],
          [batch, heads, keys, 4],
        ].map((shape) => ({
          data: random.array(
            shape.reduce((size, length) => size * length, 1),
            'normal',
          ),
          shape,
        })) as { data: Float32Array; shape: number[] }[];
        // Which axes each of the masks has.
        const masks = axes.map((which) => {
          const shape = sizes.map((length, i) => ((which >> i) & 1 ? length : 1));
          const size = shape.reduce((product, length) => product * length, 1);
          const data = Array.from({ length: size }, () =>
            floats
              ? random.integer(0, 9) === 0
                ? SPECIAL[random.integer(0, SPECIAL.length - 1)]!
                : random.integer(-9, 9)
              : [0, 1, 1, 2, 128, 255][random.integer(0, 5)]!,
          );
          return { data: floats ? Float32Array.from(data) : Uint8Array.from(data), shape };
        });
        const joined = Array.from({ length: batch * heads * queries * keys }, (_, place) =>
          masks
            .map(({ data, shape }) => {
              let at = 0;
              let stride = 1;
              for (let i = 3, rest = place; i >= 0; i--) {
                at += shape[i] === 1 ? 0 : (rest % sizes[i]!) * stride;
                stride *= shape[i]!;
                rest = Math.floor(rest / sizes[i]!);
              }
              return data[at]!;
            })
            .reduce((a, b) => (floats ? Math.fround(sumOf(a, b)) : Number(a > 0 && b > 0))),
        );
        const one = { data: floats ? Float32Array.from(joined) : Uint8Array.from(joined), shape: sizes };
        const of = (runtime: Runtime, mask: object) => {
          const [q, k, v] = inputs.map(({ data, shape }) => runtime.tensor(data, shape)) as Tensor[];
          return [q!, k!, v!, { mask: mask as never, returnWeights: true }] as const;
        };
        // By value: NaN has several bits.
        const values = ({ output, weights }: { output: Tensor; weights: Tensor }) =>
          [output, weights].map((tensor) => Array.from(tensor.data));
        const expected = values(scaledDotProductAttention(...of(alone, one)));
        for (const runtime of [alone, threaded]) {
          const args = of(runtime, masks);
          expect(values(scaledDotProductAttention(...args))).toEqual(expected);
          expect(values(await scaledDotProductAttentionAsync(...args))).toEqual(expected);
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe('in asynchronous calls, every copy is work in tiles', async () => {
  const runtime = await createRuntime();
  const random = new Random(2);
  const tensor = (...shape: number[]): Tensor =>
    runtime.tensor(
      random.array(
        shape.reduce((size, length) => size * length, 1),
        'normal',
      ),
      shape,
    );

  it('softmax along another axis', async () => {
    const x = tensor(300, 40);
    const calls = await kernelCalls(runtime, (options) => softmaxAsync(x, { axis: 0, ...options }));
    expect(calls['copyElements']).toBe(5 + 38); // blocks of 8 rows, there and back
  });

  it('inputs, and masks that are joined', async () => {
    const across = tensor(8, 200)
      .transpose(0, 1)
      .reshape([200, 8])
      .withLayout([1, 1, 200, 8], [0, 0, 1, 200]);
    const kept = (...shape: number[]) => runtime.tensor(new Uint8Array(shape[0]! * shape[1]!).fill(1), shape);
    const mask = [kept(200, 200), kept(200, 200).transpose(0, 1)];
    const calls = await kernelCalls(runtime, (options) =>
      scaledDotProductAttentionAsync(across, across, across, { mask, ...options }),
    );
    expect(calls['copyElements']).toBe(3 * 25 + 20 + 25); // a mask of one piece is one row
  });

  it('rows of a product, and parts that are merged', async () => {
    const weights = new LinearWeights(runtime, tensor(8, 40));
    const x = tensor(40, 100).transpose(0, 1);
    const linear = await kernelCalls(runtime, (options) => linearAsync(x, weights, options));
    expect(linear['copyElements']).toBe(13);
    const parts = [0, 1].map(() => ({
      output: tensor(1, 1, 8, 100).transpose(2, 3),
      logSumExp: tensor(1, 1, 100),
    }));
    const merged = await kernelCalls(runtime, (options) => mergeAttentionAsync(parts, options));
    expect(merged['copyElements']).toBe(2 * 13);
  });
});
