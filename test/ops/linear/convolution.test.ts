// Convolutions against sums in float64, and their bits.

import fc from 'fast-check';
import { beforeAll, expect, it } from 'vitest';
import { createRuntime, LinearWeights } from 'wasm-attention';
import { convolution, convolutionAsync, model } from 'wasm-attention/model';
import { Random } from '../../reference/random.js';
import { eachBuild } from '../../support/runtimes.js';

type Pair = readonly [number, number];

interface Case {
  readonly batch: number;
  readonly channels: number;
  readonly size: Pair;
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly padding: Pair;
  readonly out: number;
  readonly seed: number;
}

const pair = (min: number, max: number) => fc.tuple(fc.integer({ min, max }), fc.integer({ min, max }));
const cases = fc.record<Case>({
  batch: fc.integer({ min: 1, max: 3 }),
  channels: fc.integer({ min: 1, max: 9 }),
  size: pair(5, 17),
  kernel: pair(1, 5),
  stride: pair(1, 4),
  padding: pair(0, 3),
  out: fc.integer({ min: 1, max: 19 }),
  seed: fc.integer(),
});

/** [batch, down, across, out] of [batch, channels, height, width] and [out, channels, kernel]. */
function reference(
  x: Float32Array,
  weight: Float32Array,
  bias: Float32Array,
  given: Omit<Case, 'seed'>,
): number[] {
  const { batch, channels, size, kernel, stride, padding, out } = given;
  const along = (axis: 0 | 1) =>
    Math.floor((size[axis] + 2 * padding[axis] - kernel[axis]) / stride[axis]) + 1;
  const result: number[] = [];
  for (let b = 0; b < batch; b++)
    for (let down = 0; down < along(0); down++)
      for (let across = 0; across < along(1); across++)
        for (let o = 0; o < out; o++) {
          let sum = bias[o]!;
          for (let c = 0; c < channels; c++)
            for (let i = 0; i < kernel[0]; i++)
              for (let j = 0; j < kernel[1]; j++) {
                const row = down * stride[0] + i - padding[0];
                const column = across * stride[1] + j - padding[1];
                if (row < 0 || row >= size[0] || column < 0 || column >= size[1]) continue;
                const value = x[((b * channels + c) * size[0] + row) * size[1] + column]!;
                sum += value * weight[((o * channels + c) * kernel[0] + i) * kernel[1] + j]!;
              }
          result.push(sum);
        }
  return result;
}

await eachBuild('convolution', (runtime) => {
  beforeAll(() => runtime.load(model));

  const weightsOf = (weight: Float32Array, bias: Float32Array) =>
    new LinearWeights(
      runtime,
      { data: weight, shape: [bias.length, weight.length / bias.length] },
      { data: bias, shape: [bias.length] },
    );

  it('equals the reference, of pictures and of sound, whatever the strides of the input', () => {
    fc.assert(
      fc.property(cases, fc.boolean(), fc.boolean(), ({ seed, ...given }, isSound, across) => {
        const random = new Random(seed);
        const one = isSound
          ? { size: [1, given.size[1]] as const, kernel: [1, given.kernel[1]] as const, stride: [1, given.stride[1]] as const, padding: [0, given.padding[1]] as const } // prettier-ignore
          : {};
        const sizes = { ...given, ...one };
        const { batch, channels, size, kernel, stride, padding, out } = sizes;
        const x = random.array(batch * channels * size[0] * size[1], 'normal');
        const weight = random.array(out * channels * kernel[0] * kernel[1], 'normal');
        const bias = random.array(out, 'normal');
        const expected = reference(x, weight, bias, sizes);
        const shape = isSound ? [batch, channels, size[1]] : [batch, channels, ...size];
        let input = runtime.tensor(x, shape);
        // Channels that follow each other, as rows of an earlier convolution have them.
        if (across) input = input.transpose(1, -1).toContiguous().transpose(1, -1);
        const weights = weightsOf(weight, bias);
        const options = isSound
          ? { kernel: kernel[1], stride: stride[1], padding: padding[1] }
          : { kernel, stride, padding };
        const y = convolution(input, weights, { ...options, activation: 'relu' });
        const down = Math.floor((size[0] + 2 * padding[0] - kernel[0]) / stride[0]) + 1;
        expect(y.shape).toEqual([
          batch,
          ...(isSound ? [] : [down]),
          expected.length / batch / down / out,
          out,
        ]);
        let worst = 0;
        y.data.forEach((value, i) => (worst = Math.max(worst, Math.abs(value - Math.max(0, expected[i]!)))));
        expect(worst).toBeLessThan(1e-4);
        for (const made of [input, weights, y]) made.dispose();
      }),
      { numRuns: 60 },
    );
  });

  it('has the same bits one picture at a time, in slices and on threads, with more patches than are unfolded at once', async () => {
    const random = new Random(6);
    const [batch, channels, frames, out] = [2, 80, 1501, 24];
    const x = random.array(batch * channels * frames, 'normal');
    const weight = random.array(out * channels * 3, 'normal');
    const bias = random.array(out, 'normal');
    const input = runtime.tensor(x, [batch, channels, frames]);
    const weights = weightsOf(weight, bias);
    const options = { kernel: 3, stride: 2, padding: 1, activation: 'gelu' } as const;
    const whole = convolution(input, weights, options);
    expect(whole.shape).toEqual([batch, 751, out]);
    const same = (given: Float32Array, expected = whole.toFloat32Array()) => {
      expect(Buffer.from(given.slice().buffer).equals(Buffer.from(expected.buffer))).toBe(true);
    };
    same(convolution(input.slice(0, 1, 2), weights, options).data, whole.slice(0, 1, 2).toFloat32Array());
    same((await convolutionAsync(input, weights, options)).toFloat32Array());
    // The last frames alone: their patches are rows of other blocks.
    const end = convolution(input.slice(2, 1400, 1501), weights, options);
    same(end.slice(1, 1, 51).toFloat32Array(), whole.slice(1, 701, 751).toFloat32Array());
    const threaded = await createRuntime({ build: runtime.info.build, threads: 2, packs: [model] });
    try {
      const own = new LinearWeights(
        threaded,
        { data: weight, shape: [out, channels * 3] },
        { data: bias, shape: [out] },
      );
      same(convolution({ data: x, shape: [batch, channels, frames] }, own, options).toFloat32Array());
    } finally {
      threaded.dispose();
    }
  });

  it('names what is wrong, before anything is written', () => {
    const weights = weightsOf(new Float32Array(24), new Float32Array(2));
    const { used } = runtime.memory;
    const wrong = (argument: string, call: () => unknown) => {
      expect(call).toThrow(expect.objectContaining({ name: 'AttentionError', argument }) as Error);
      expect(runtime.memory.used).toBe(used);
    };
    const picture = { data: new Float32Array(48), shape: [1, 3, 4, 4] };
    const options = { kernel: 2 };
    wrong('input', () => convolution({ data: new Float32Array(48), shape: [3, 16] }, weights, options));
    wrong('input', () => convolution({ data: new Float32Array(48), shape: [1, 4, 3, 4] }, weights, options));
    wrong('input', () => convolution({ data: new Float32Array(3), shape: [1, 3, 1, 1] }, weights, options));
    wrong('input', () => convolution({ data: new Int32Array(48), shape: [1, 3, 4, 4] }, weights, options));
    wrong('kernel', () => convolution(picture, weights, {} as never));
    wrong('kernel', () => convolution(picture, weights, { kernel: [2] }));
    wrong('kernel', () => convolution(picture, weights, { kernel: 0 }));
    wrong('stride', () => convolution(picture, weights, { kernel: 2, stride: [1, 0] }));
    wrong('padding', () => convolution(picture, weights, { kernel: 2, padding: -1 }));
    wrong('activation', () => convolution(picture, weights, { kernel: 2, activation: 'none' as never }));
    wrong('weights', () => convolution(picture, {} as never, options));
    expect(convolution(picture, weights, options).shape).toEqual([1, 3, 3, 2]);
  });
});
