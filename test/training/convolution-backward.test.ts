// Gradients of convolutions against sums in float64, and their bits.

import fc from 'fast-check';
import { beforeAll, expect, it } from 'vitest';
import { createRuntime, LinearWeights } from 'wasm-attention';
import { convolution, model } from 'wasm-attention/model';
import { convolutionBackward, convolutionBackwardAsync, training } from 'wasm-attention/training';
import { Random } from '../reference/random.js';
import { bits } from '../support/operations.js';
import { eachBuild } from '../support/runtimes.js';

const pair = (min: number, max: number) => fc.tuple(fc.integer({ min, max }), fc.integer({ min, max }));
const cases = fc.record({
  batch: fc.integer({ min: 1, max: 3 }),
  channels: fc.integer({ min: 1, max: 9 }),
  size: pair(5, 17),
  kernel: pair(1, 5),
  stride: pair(1, 4),
  padding: pair(0, 3),
  out: fc.integer({ min: 1, max: 19 }),
  seed: fc.integer(),
});

await eachBuild('convolutionBackward', (runtime) => {
  beforeAll(() => Promise.all([runtime.load(model), runtime.load(training)]));

  it('equals the reference, of pictures and of sound, whatever the strides of the input', () => {
    fc.assert(
      fc.property(cases, fc.boolean(), fc.boolean(), (given, isSound, across) => {
        const { batch, channels, out, seed } = given;
        const along = (lengths: readonly [number, number], alone: number) =>
          isSound ? ([alone, lengths[1]] as const) : lengths;
        const size = along(given.size, 1);
        const kernel = along(given.kernel, 1);
        const stride = along(given.stride, 1);
        const padding = along(given.padding, 0);
        const patches = [0, 1].map((axis) =>
          Math.floor((size[axis]! + 2 * padding[axis]! - kernel[axis]!) / stride[axis]! + 1),
        ) as [number, number];
        const random = new Random(seed);
        const x = random.array(batch * channels * size[0] * size[1], 'normal');
        const weight = random.array(out * channels * kernel[0] * kernel[1], 'normal');
        const dy = random.array(batch * patches[0] * patches[1] * out, 'normal');
        const expected = {
          input: new Float64Array(x.length),
          weight: new Float64Array(weight.length),
          bias: new Float64Array(out),
        };
        dy.forEach((upstream, i) => {
          const o = i % out;
          const rest = Math.floor(i / out);
          const [right, down] = [rest % patches[1], Math.floor(rest / patches[1]) % patches[0]];
          const b = Math.floor(rest / patches[1] / patches[0]);
          expected.bias[o]! += upstream;
          for (let c = 0; c < channels; c++)
            for (let j = 0; j < kernel[0]; j++)
              for (let k = 0; k < kernel[1]; k++) {
                const row = down * stride[0] + j - padding[0];
                const column = right * stride[1] + k - padding[1];
                if (row < 0 || row >= size[0] || column < 0 || column >= size[1]) continue;
                const place = ((b * channels + c) * size[0] + row) * size[1] + column;
                const factor = ((o * channels + c) * kernel[0] + j) * kernel[1] + k;
                expected.input[place]! += upstream * weight[factor]!;
                expected.weight[factor]! += upstream * x[place]!;
              }
        });
        let input = runtime.tensor(x, [batch, channels, ...(isSound ? [] : [size[0]]), size[1]]);
        if (across) input = input.transpose(1, -1).toContiguous().transpose(1, -1);
        const weights = new LinearWeights(runtime, {
          data: weight,
          shape: [out, channels * kernel[0] * kernel[1]],
        });
        const options = isSound
          ? { kernel: kernel[1], stride: stride[1], padding: padding[1] }
          : { kernel, stride, padding };
        const y = convolution(input, weights, options);
        const gradients = convolutionBackward(input, weights, { data: dy, shape: y.shape }, options);
        expect(gradients.input.shape).toEqual(input.shape);
        for (const name of ['input', 'weight', 'bias'] as const) {
          let worst = 0;
          gradients[name].data.forEach(
            (value, i) => (worst = Math.max(worst, Math.abs(value - expected[name][i]!))),
          );
          expect(worst, name).toBeLessThan(2e-4);
        }
        for (const made of [input.owner, y, weights, ...Object.values(gradients)]) made.dispose();
      }),
      { numRuns: 50 },
    );
  });

  it('has the same bits in slices and on threads, with more patches than are unfolded at once', async () => {
    const random = new Random(6);
    const [batch, channels, frames, out] = [2, 80, 1501, 24];
    const given = [
      { data: random.array(batch * channels * frames, 'uniform'), shape: [batch, channels, frames] },
      { data: random.array(out * channels * 3, 'uniform'), shape: [out, channels * 3] },
      { data: random.array(batch * 751 * out, 'uniform'), shape: [batch, 751, out] },
    ] as const;
    const [x, weight, dy] = given;
    const options = { kernel: 3, stride: 2, padding: 1 } as const;
    const weights = new LinearWeights(runtime, weight);
    const expected = bits(convolutionBackward(x, weights, dy, options));
    expect(bits(await convolutionBackwardAsync(x, weights, dy, options))).toEqual(expected);
    const threaded = await createRuntime({ build: runtime.info.build, threads: 2, packs: [model, training] });
    try {
      const own = new LinearWeights(threaded, weight);
      expect(bits(convolutionBackward(x, own, dy, options))).toEqual(expected);
    } finally {
      threaded.dispose();
    }
  });

  it('names what is wrong, before anything is written', () => {
    const weights = new LinearWeights(runtime, { data: new Float32Array(24), shape: [2, 12] });
    const x = { data: new Float32Array(75), shape: [1, 3, 5, 5] };
    const dy = { data: new Float32Array(32), shape: [1, 4, 4, 2] };
    const { used } = runtime.memory;
    const wrong = (argument: string, call: () => unknown) => {
      expect(call).toThrow(expect.objectContaining({ name: 'AttentionError', argument }) as Error);
      expect(runtime.memory.used).toBe(used);
    };
    wrong('kernel', () => convolutionBackward(x, weights, dy, { kernel: 0 }));
    wrong('input', () => convolutionBackward(x, weights, dy, { kernel: 3 }));
    wrong('gradient', () => convolutionBackward(x, weights, dy, { kernel: 2, stride: 2 }));
    wrong('wanted', () => convolutionBackward(x, weights, dy, { kernel: 2, wanted: 'input' as never }));
    wrong('activation', () =>
      convolutionBackward(x, weights, dy, { kernel: 2, activation: 'relu' } as never),
    );
  });
});
