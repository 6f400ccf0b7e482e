// Clipping by the norm of all gradients, against float64, and its bits.

import fc from 'fast-check';
import { beforeAll, expect, it } from 'vitest';
import { createRuntime } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { clipGradients, clipGradientsAsync, training, trainableTensors } from 'wasm-attention/training';
import { Random } from '../reference/random.js';
import { bits } from '../support/operations.js';
import { eachBuild } from '../support/runtimes.js';

function gradients(runtime: Runtime, arrays: readonly Float32Array[]) {
  const tensors = arrays.map((array) => ({
    value: runtime.empty([array.length]),
    gradient: runtime.tensor(array),
  }));
  const named = Object.fromEntries(tensors.map((tensor, i) => [`array ${i}`, tensor]));
  return {
    trainable: trainableTensors(runtime, named),
    data: () => tensors.map(({ gradient }) => gradient.data.slice()),
    dispose: () =>
      tensors.forEach(({ value, gradient }) => [value, gradient].forEach((made) => made.dispose())),
  };
}

await eachBuild('clipGradients', (runtime) => {
  beforeAll(() => runtime.load(training));

  it('equals the reference, of any sizes, clipped or not', () => {
    const count = fc.oneof(fc.integer({ min: 0, max: 70 }), fc.constantFrom(4096, 4097, 8195));
    const most = fc.constantFrom(1e-3, 1, 7.5, 1e4, Infinity);
    fc.assert(
      fc.property(fc.array(count, { maxLength: 4 }), most, fc.integer(), (counts, most, seed) => {
        const random = new Random(seed);
        const arrays = counts.map((count) => random.array(count, 'normal'));
        const given = gradients(runtime, arrays);
        let squares = 0;
        for (const array of arrays) for (const value of array) squares += value * value;
        const norm = Math.sqrt(squares);
        expect(clipGradients(given.trainable, most)).toBeCloseTo(norm, 9);
        const factor = Math.min(1, most / (norm + 1e-6));
        given.data().forEach((data, i) =>
          data.forEach((value, k) => {
            const expected = arrays[i]![k]! * factor;
            expect(Math.abs(value - expected)).toBeLessThanOrEqual(2e-7 * Math.abs(expected));
          }),
        );
        given.dispose();
      }),
      { numRuns: 40 },
    );
  });

  it('does not overflow where squares would in single precision', () => {
    const given = gradients(runtime, [Float32Array.of(3e30, 4e30), Float32Array.of(0)]);
    expect(clipGradients(given.trainable, 1) / 5e30).toBeCloseTo(1, 6);
    expect(given.data()[0]![0]).toBeCloseTo(0.6, 6);
    given.dispose();
  });

  it('leaves gradients alone that are not finite, and says so', () => {
    const arrays = [Float32Array.of(1, Infinity), Float32Array.of(2)];
    const given = gradients(runtime, arrays);
    expect(clipGradients(given.trainable, 1)).toBe(Infinity);
    expect(given.data()).toEqual(arrays);
    const nan = gradients(runtime, [Float32Array.of(NaN, 1)]);
    expect(clipGradients(nan.trainable, 1)).toBeNaN();
    expect(nan.data()).toEqual([Float32Array.of(NaN, 1)]);
    given.dispose();
    nan.dispose();
  });

  it('has the same bits in slices and on threads', async () => {
    const random = new Random(1);
    const arrays = [300_001, 5].map((count) => random.array(count, 'uniform'));
    const clipped = async (runtime: Runtime, clip: typeof clipGradients | typeof clipGradientsAsync) => {
      const given = gradients(runtime, arrays);
      const norm = await clip(given.trainable, 3);
      const result = [norm, bits(given.data())];
      given.dispose();
      return result;
    };
    const expected = await clipped(runtime, clipGradients);
    expect(await clipped(runtime, clipGradientsAsync)).toEqual(expected);
    const threaded = await createRuntime({ build: runtime.info.build, threads: 2, packs: [training] });
    try {
      expect(await clipped(threaded, clipGradients)).toEqual(expected);
    } finally {
      threaded.dispose();
    }
  });

  it('names what is wrong, and an aborted signal ends it before it begins', async () => {
    const given = gradients(runtime, [Float32Array.of(3, 4)]);
    const { used } = runtime.memory;
    const wrong = (argument: string, call: () => unknown) => {
      expect(call).toThrow(expect.objectContaining({ name: 'AttentionError', argument }) as Error);
      expect(runtime.memory.used).toBe(used);
    };
    wrong('maxNorm', () => clipGradients(given.trainable, 0));
    wrong('maxNorm', () => clipGradients(given.trainable, NaN));
    wrong('trainable', () => clipGradients(undefined as never, 1));
    const signal = AbortSignal.abort();
    await expect(clipGradientsAsync(given.trainable, 1, { signal })).rejects.toThrow();
    await expect(clipGradientsAsync(given.trainable, 1, { signal: 1 as never })).rejects.toThrow(
      expect.objectContaining({ argument: 'signal' }) as Error,
    );
    expect(given.data()).toEqual([Float32Array.of(3, 4)]);
    given.dispose();
  });
});
