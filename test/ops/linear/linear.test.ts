// Products against float64, over odd sizes, and their bits.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { linear, LinearWeights } from 'wasm-attention';
import { referenceLinear } from '../../reference/attention.js';
import { Random } from '../../reference/random.js';
import { eachBuild } from '../../support/runtimes.js';

const size = (most: number) => fc.integer({ min: 1, max: most });

await eachBuild('linear', (runtime, build) => {
  it('equals the reference at any size', () => {
    const rows = fc.oneof(size(70), fc.constantFrom(481, 500));
    const inFeatures = fc.oneof(size(70), fc.constantFrom(1024, 1025, 2100));
    fc.assert(
      fc.property(rows, inFeatures, size(70), fc.integer(), fc.boolean(), (m, k, n, seed, biased) => {
        const random = new Random(seed);
        const x = random.array(m * k, 'normal');
        const weight = random.array(n * k, 'normal');
        const bias = biased ? random.array(n, 'normal') : undefined;
        const weights = new LinearWeights(
          runtime,
          { data: weight, shape: [n, k] },
          bias && { data: bias, shape: [n] },
        );
        // A row of guard after the output must stay as it is.
        const guarded = runtime.empty([m + 1, n]);
        guarded.data.fill(7);
        const output = linear({ data: x, shape: [m, k] }, weights, { output: guarded.slice(0, 0, m) });
        const expected = referenceLinear(
          x,
          { weight, ...(bias && { bias }) },
          { rows: m, inFeatures: k, outFeatures: n },
        );
        let worst = 0;
        output.data.forEach((y, i) => (worst = Math.max(worst, Math.abs(y - expected[i]!))));
        expect(worst).toBeLessThan(3e-6 * Math.max(8, k));
        expect(guarded.data.slice(m * n).every((y) => y === 7)).toBe(true);
        guarded.dispose();
        weights.dispose();
      }),
      { numRuns: 60 },
    );
  });

  it('gives a row the same bits alone and in company, from strided rows too', () => {
    const random = new Random(3);
    const [m, k, n] = [53, 1100, 37];
    const weights = new LinearWeights(runtime, { data: random.array(n * k, 'normal'), shape: [n, k] });
    const x = runtime.tensor(random.array(m * 2 * k, 'normal'), [m, 2 * k]).slice(1, 0, k);
    const whole = linear(x, weights);
    for (const [from, to] of [
      [0, 1],
      [7, 9],
      [10, 13],
      [20, 24],
      [30, 35],
      [40, 46],
      [46, 53],
    ] as const) {
      const some = linear(x.slice(0, from, to), weights);
      expect(some.data).toEqual(whole.slice(0, from, to).toFloat32Array());
    }
    expect(build).toBe(runtime.info.build);
  });

  it('names the argument that is wrong', () => {
    const weights = new LinearWeights(runtime, { data: new Float32Array(6), shape: [2, 3] });
    const { used } = runtime.memory;
    const wrong = (argument: string, call: () => unknown) => {
      expect(call).toThrow(expect.objectContaining({ name: 'AttentionError', argument }) as Error);
      expect(runtime.memory.used).toBe(used);
    };
    wrong('input', () => linear({ data: new Float32Array(4), shape: [1, 4] }, weights));
    wrong('input', () => linear({ data: new Uint8Array(3), shape: [1, 3] }, weights));
    wrong('input.shape', () => linear({ data: new Float32Array(4), shape: [1, 3] }, weights));
    wrong('weights', () => linear({ data: new Float32Array(3), shape: [1, 3] }, {} as never));
    wrong('weight', () => new LinearWeights(runtime, { data: new Float32Array(6), shape: [6] }));
    wrong(
      'bias',
      () =>
        new LinearWeights(runtime, { data: new Float32Array(6), shape: [2, 3] }, { data: [1], shape: [1] }),
    );
    const output = runtime.empty([3]);
    expect(() => linear({ data: new Float32Array(3), shape: [1, 3] }, weights, { output })).toThrow(
      /output: expected/,
    );
    output.dispose();
    weights.dispose();
  });
});
