// Gradients of softmax, rotary embedding and pooling against differences of what is differentiated, and bit for bit.

import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { poolingBackward, poolingBackwardOperation } from '../../src/training/ops/pooling.js';
import { rotaryEmbeddingBackward, rotaryEmbeddingBackwardOperation } from '../../src/training/ops/rotary.js';
import { softmaxBackward, softmaxBackwardOperation } from '../../src/training/ops/softmax.js';
import { rotaryEmbedding } from '../../src/ops/rotary/rotary.js';
import type { RotaryEmbeddingOptions } from '../../src/ops/rotary/rotary.js';
import { firstToken, lastToken, meanPooling } from '../../src/ops/rows/pooling.js';
import { softmax } from '../../src/ops/rows/softmax.js';
import type { Tensor } from '../../src/slim.js';
import { gradientByDifferences, relativeError } from '../reference/differences.js';
import { Random } from '../reference/random.js';
import { everyWay } from '../support/every-way.js';
import { eachInternalBuild } from '../support/internals.js';
import { builds } from '../support/runtimes.js';

/** The sum of x * y. */
const inner = (x: ArrayLike<number>, y: ArrayLike<number>) =>
  Array.from(x).reduce((sum, value, i) => sum + value * y[i]!, 0);

await eachInternalBuild('gradients of softmax, rotary embedding and pooling', (runtime) => {
  it('softmax: along any axis, of any strides', () => {
    const shapes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(shapes, fc.nat(2), fc.boolean(), fc.integer(), (shape, place, across, seed) => {
        const { used } = runtime.memory;
        const axis = place % shape.length;
        const random = new Random(seed);
        const size = shape.reduce((product, length) => product * length, 1);
        const last = shape.length - 1;
        const made: Tensor[] = [];
        const tensor = (values: Float32Array) => {
          const plain = runtime.tensor(values, shape);
          made.push(plain);
          if (!across) return plain;
          // The same elements, which lie the other way round.
          const moved = plain.transpose(0, last).toContiguous();
          made.push(moved);
          return moved.transpose(0, last);
        };
        const [x, dy] = [tensor(random.array(size)), tensor(random.array(size))];
        const y = softmax(x, { axis });
        const dx = softmaxBackward(y, dy, { axis });
        made.push(y, dx);
        // In double precision, line by line.
        const stride = shape.slice(axis + 1).reduce((product, length) => product * length, 1);
        const upstream = dy.toFloat32Array();
        const loss = (values: readonly number[]) =>
          values.reduce((sum, value, i) => {
            const first = i - (Math.floor(i / stride) % shape[axis]!) * stride;
            let total = 0;
            for (let k = 0; k < shape[axis]!; k++) total += Math.exp(values[first + k * stride]!);
            return sum + (upstream[i]! * Math.exp(value)) / total;
          }, 0);
        const expected = gradientByDifferences(loss, x.toFloat32Array());
        dx.toFloat32Array().forEach((value, i) => expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-6));
        for (const tensor of made) tensor.dispose();
        expect(runtime.memory.used).toBe(used);
      }),
    );
  });

  it.each<[string, RotaryEmbeddingOptions]>([
    ['half-split', {}],
    ['interleaved', { interleaved: true }],
    ['part of the channels', { rotaryDim: 6, offset: 5 }],
    [
      'part of the channels, interleaved',
      {
        rotaryDim: 10,
        interleaved: true,
        positions: [
          [3, 1, 4, 1, 5],
          [9, 2, 6, 5, 3],
        ],
      },
    ],
    [
      'scaled, with a factor',
      {
        scaling: {
          ...{ type: 'yarn', factor: 4, originalLength: 8, attentionFactor: 1.3 },
        },
        offset: 30,
      },
    ],
  ])('rotary embedding: <back(g), x> = <g, forward(x)> (%s)', (_, options) => {
    const random = new Random(1);
    const shape = [2, 3, 5, 14];
    const [x, g] = [1, 2].map(() => runtime.tensor(random.array(420), shape)) as [Tensor, Tensor];
    const [turned, back] = [rotaryEmbedding(x, options), rotaryEmbeddingBackward(g, options)];
    const expected = inner(turned.data, g.data);
    expect(Math.abs(inner(x.data as Float32Array, back.data) - expected)).toBeLessThan(2e-5);
    // The length of each pair is kept but for the factor: the gradient of the rotated is the input times its square.
    const there = rotaryEmbeddingBackward(turned, options);
    const factor = options.scaling ? 1.3 ** 2 : 1;
    expect(
      relativeError(
        there.data,
        (x.data as Float32Array).map((value) => value * factor),
      ),
    ).toBeLessThan(1e-6);
  });

  it('rotary embedding: in place, and refused as the forward is', () => {
    const g = runtime.tensor(new Random(1).array(24), [4, 6]);
    const expected = rotaryEmbeddingBackward(g, { offset: 3 }).toFloat32Array();
    expect(rotaryEmbeddingBackward(g, { offset: 3, inPlace: true })).toBe(g);
    expect(g.toFloat32Array()).toEqual(expected);
    expect(() => rotaryEmbeddingBackward(g, { rotaryDim: 7 })).toThrow(/rotaryDim: expected/);
    expect(() => rotaryEmbeddingBackward(g, { offsets: 1 } as never)).toThrow(/offsets: unknown option/);
  });

  it('pooling: <back(g), x> = <g, pooled x>, with lengths, masks and weights', () => {
    const random = new Random(2);
    const [batch, length, channels] = [3, 5, 7];
    const x = runtime.tensor(random.array(batch * length * channels), [batch, length, channels]);
    const g = runtime.tensor(random.array(batch * channels), [batch, channels]);
    const mask = { data: [1, 1, 0, 0, 0, 0.5, 2, 0, 1, 0, 1, 1, 1, 1, 1], shape: [batch, length] };
    const cases = [
      [meanPooling(x), {}],
      [meanPooling(x, { lengths: [2, 0, 5] }), { lengths: [2, 0, 5] }],
      [meanPooling(x, { mask }), { mask }],
      [firstToken(x), { pooling: 'first' }],
      [lastToken(x), { pooling: 'last' }],
      [lastToken(x, { lengths: [2, 1, 5] }), { pooling: 'last', lengths: [2, 1, 5] }],
      [lastToken(x, { mask }), { pooling: 'last', mask }],
    ] as const;
    for (const [pooled, options] of cases) {
      const gradient = poolingBackward(g, length, options);
      expect(gradient.shape).toEqual([batch, length, channels]);
      const expected = inner(pooled.data, g.data);
      expect(Math.abs(inner(gradient.data, x.data) - expected)).toBeLessThan(1e-5);
    }
    // What flows into an empty mean leaves no trace.
    const nan = poolingBackward({ data: [NaN, 1], shape: [2, 1] }, 2, { lengths: [0, 1], runtime });
    expect(Array.from(nan.data)).toEqual([0, 0, 1, 0]);
    expect(poolingBackward(runtime.empty([0, 3]), 4).shape).toEqual([0, 4, 3]);
  });

  it('refuse what does not fit, before anything is written', () => {
    const [two, three] = [runtime.tensor([1, 2], [1, 2]), runtime.tensor([1, 2, 3], [1, 3])];
    const { used } = runtime.memory;
    expect(() => softmaxBackward(two, three)).toThrow(/upstream: expected \[1, 2\], got \[1, 3\]/);
    expect(() => softmaxBackward(two, two, { axis: 2 })).toThrow(/axis: expected/);
    expect(() => poolingBackward(two, -1)).toThrow(/length: expected/);
    expect(() => poolingBackward(two, 0, { pooling: 'first' })).toThrow(/length: expected/);
    expect(() => poolingBackward(two, 2, { pooling: 'max' } as never)).toThrow(/pooling: expected/);
    expect(() => poolingBackward(two, 2, { pooling: 'first', lengths: [1] })).toThrow(/pooling: expected/);
    expect(() => poolingBackward(two, 2, { pooling: 'last', lengths: [0] })).toThrow(/lengths: expected/);
    expect(() => poolingBackward(two, 2, { lengths: [3] })).toThrow(/lengths\[0\]: expected/);
    expect(() => poolingBackward({ data: [1], shape: [1] }, 2, { runtime })).toThrow(/upstream: expected/);
    expect(runtime.memory.used).toBe(used);
  });
});

describe.each(builds)(
  'gradients of softmax, rotary embedding and pooling in every way (%s)',
  async (build) => {
    const ways = await everyWay(build);
    afterAll(() => {
      ways.dispose();
    });

    it('have the same bits', async () => {
      const data = new Random(1).array(2 * 3 * 40 * 22);
      await ways.same((scope) => {
        const x = { data, shape: [2, 3, 40, 22] };
        const one = { data: data.subarray(0, 6 * 22), shape: [6, 22] };
        return [
          softmaxBackwardOperation.run(scope, [x, x], { axis: -1 }),
          softmaxBackwardOperation.run(scope, [x, x], { axis: 1 }),
          rotaryEmbeddingBackwardOperation.run(scope, [x], { rotaryDim: 18 }),
          rotaryEmbeddingBackwardOperation.run(scope, [x], { interleaved: true }),
          poolingBackwardOperation.run(scope, [one, 40], { lengths: [1, 2, 3, 0, 40, 39] }),
        ];
      });
    });
  },
);
