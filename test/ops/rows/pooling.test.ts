// Pooling of tokens against double precision: any shapes, lengths and masks, strides, both forms, threads.

import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { createRuntime } from 'wasm-attention';
import {
  firstToken,
  firstTokenAsync,
  lastToken,
  lastTokenAsync,
  meanPooling,
  meanPoolingAsync,
  model,
} from 'wasm-attention/model';
import { Random } from '../../reference/random.js';
import { builds, eachBuild } from '../../support/runtimes.js';

interface Shape {
  batch: number;
  length: number;
  channels: number;
}

const shapes = fc.record({
  batch: fc.integer({ min: 1, max: 4 }),
  length: fc.integer({ min: 1, max: 30 }),
  channels: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 100, max: 300 })),
});

/** sum of weight * x / sum of weights, rounded once. */
function means(
  x: Float32Array,
  weights: ArrayLike<number>,
  { batch, length, channels }: Shape,
): Float32Array {
  return Float32Array.from({ length: batch * channels }, (_, at) => {
    const [b, channel] = [Math.floor(at / channels), at % channels];
    let [sum, total] = [0, 0];
    for (let t = 0; t < length; t++) {
      const weight = weights[b * length + t]!;
      if (weight === 0) continue;
      sum += x[(b * length + t) * channels + channel]! * weight;
      total += weight;
    }
    return total === 0 ? 0 : sum / total;
  });
}

await eachBuild('pooling', (runtime) => {
  beforeAll(() => runtime.load(model));

  it('is the mean in double precision, by lengths, by masks of any kind, and of all tokens', () => {
    fc.assert(
      fc.property(shapes, fc.integer(), (shape, seed) => {
        const { used } = runtime.memory;
        const { batch, length, channels } = shape;
        const random = new Random(seed);
        const data = random.array(batch * length * channels, 'normal');
        const x = runtime.tensor(data, [batch, length, channels]);
        const lengths = Array.from({ length: batch }, () => random.integer(0, length));
        const kept = Uint8Array.from({ length: batch * length }, () => random.integer(0, 1));
        const weights = random.array(batch * length, 'uniform').map(Math.abs);
        const byLength = Array.from({ length: batch * length }, (_, i) =>
          Number(i % length < lengths[Math.floor(i / length)]!),
        );
        const mask = (given: Uint8Array | Float32Array | Int32Array) => ({
          mask: { data: given, shape: [batch, length] },
        });
        for (const [options, expected] of [
          [{}, new Float32Array(batch * length).fill(1)],
          [{ lengths }, byLength],
          [mask(kept), kept],
          [mask(Int32Array.from(kept)), kept],
          [mask(weights), weights],
        ] as const) {
          const y = meanPooling(x, options);
          expect(y.shape).toEqual([batch, channels]);
          expect(y.toFloat32Array()).toEqual(means(data, expected, shape));
          y.dispose();
        }
        x.dispose();
        expect(runtime.memory.used).toBe(used);
      }),
      { numRuns: 60 },
    );
  });

  it('does not read padding, and gives zeros where there is nothing else', () => {
    const x = runtime.tensor([1, 2, NaN, Infinity, NaN, NaN, 3, 4], [2, 2, 2]);
    expect(Array.from(meanPooling(x, { lengths: [1, 0] }).data)).toEqual([1, 2, 0, 0]);
    const mask = { data: [0, 0, 0, 1], shape: [2, 2] };
    expect(Array.from(meanPooling(x, { mask }).data)).toEqual([0, 0, 3, 4]);
  });

  it('takes the first and the last token, of any strides', () => {
    fc.assert(
      fc.property(shapes, fc.integer(), ({ batch, length, channels }, seed) => {
        const random = new Random(seed);
        const data = random.array(batch * length * channels, 'normal');
        const x = runtime.tensor(data, [batch, length, channels]);
        const turned = x.transpose(0, 2).toContiguous().transpose(0, 2);
        const lengths = Array.from({ length: batch }, () => random.integer(1, length));
        const mask = Uint8Array.from({ length: batch * length }, (_, i) =>
          Number(i % length < lengths[Math.floor(i / length)]! && (i % length === 0 || random.boolean())),
        );
        const lastOf = (b: number) => mask.subarray(b * length, (b + 1) * length).lastIndexOf(1);
        const rows = (place: (b: number) => number) =>
          Float32Array.from({ length: batch * channels }, (_, at) => {
            const b = Math.floor(at / channels);
            return data[(b * length + place(b)) * channels + (at % channels)]!;
          });
        for (const input of [x, turned]) {
          expect(firstToken(input).toFloat32Array()).toEqual(rows(() => 0));
          expect(lastToken(input).toFloat32Array()).toEqual(rows(() => length - 1));
          expect(lastToken(input, { lengths }).toFloat32Array()).toEqual(rows((b) => lengths[b]! - 1));
          expect(lastToken(input, { mask: { data: mask, shape: [batch, length] } }).toFloat32Array()).toEqual(
            rows(lastOf),
          );
        }
      }),
      { numRuns: 30 },
    );
  });

  it('refuses what does not fit, before anything is written', () => {
    const [x, flat, empty] = [
      runtime.tensor([1, 2, 3, 4], [2, 2, 1]),
      runtime.tensor([1]),
      runtime.empty([2, 0, 3]),
    ];
    const { used } = runtime.memory;
    const mask = { data: [0, 0, 1, 1], shape: [2, 2] };
    expect(() => meanPooling(flat)).toThrow(/input: expected \[batch, length, channels\], got \[1\]/);
    expect(() => meanPooling(x, { lengths: [1] })).toThrow(/lengths: expected 2 integers/);
    expect(() => meanPooling(x, { lengths: [1, 3] })).toThrow(
      /lengths\[1\]: expected an integer from 0 to 2/,
    );
    expect(() => meanPooling(x, { lengths: [1, 1], mask })).toThrow(
      /lengths: expected nothing beside a mask/,
    );
    expect(() => meanPooling(x, { mask: { data: [1, 1], shape: [2] } })).toThrow(/mask: expected \[2, 2\]/);
    expect(() => lastToken(x, { mask })).toThrow(
      /mask: expected a token of every sequence, got "none of sequence 0"/,
    );
    expect(() => lastToken(x, { lengths: [1, 0] })).toThrow(/lengths: expected a token of every sequence/);
    expect(() => firstToken(empty)).toThrow(/input: expected/);
    expect(() => lastToken(empty)).toThrow(/lengths: expected a token/);
    expect(runtime.memory.used).toBe(used);
    expect(meanPooling(empty).toFloat32Array()).toEqual(new Float32Array(6));
    expect(meanPooling(runtime.empty([0, 2, 3])).shape).toEqual([0, 3]);
  });
});

describe.each(builds)('pooling in %s', async (build) => {
  const alone = await createRuntime({ build, packs: [model] });
  const threaded = await createRuntime({ build, packs: [model], threads: { count: 3, required: true } });
  threaded.threads!.leastCost = 0;

  it('gives a sequence the same bits in any company, however far it is filled up, in both forms and on threads', async () => {
    const [batch, length, channels] = [5, 33, 200];
    const data = new Random(8).array(batch * length * channels, 'normal');
    const lengths = [33, 1, 7, 20, 32];
    const input = { data, shape: [batch, length, channels] };
    const means = meanPooling(input, { lengths, runtime: alone }).toFloat32Array();
    const [first, last] = [
      firstToken(input, { runtime: alone }).toFloat32Array(),
      lastToken(input, { lengths, runtime: alone }).toFloat32Array(),
    ];
    lengths.forEach((own, b) => {
      const tokens = data.slice(b * length * channels, (b * length + own) * channels);
      const single = meanPooling({ data: tokens, shape: [1, own, channels] }, { runtime: alone });
      expect(single.toFloat32Array()).toEqual(means.slice(b * channels, (b + 1) * channels));
    });
    for (const runtime of [alone, threaded]) {
      expect((await meanPoolingAsync(input, { lengths, runtime })).toFloat32Array()).toEqual(means);
      expect((await firstTokenAsync(input, { runtime })).toFloat32Array()).toEqual(first);
      expect((await lastTokenAsync(input, { lengths, runtime })).toFloat32Array()).toEqual(last);
    }
  });
});
