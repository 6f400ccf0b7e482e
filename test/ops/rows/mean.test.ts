// Means of weights over heads: exactly those of double precision, for any sizes, in tiles.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRuntime, MultiHeadAttention } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { Random } from '../../reference/random.js';
import { builds } from '../../support/runtimes.js';
import { kernelCalls } from '../../support/slices.js';

function layerOf(runtime: Runtime, random: Random, heads: number): MultiHeadAttention {
  const width = 4 * heads;
  const matrix = () => ({ data: random.array(width * width, 'normal'), shape: [width, width] });
  return new MultiHeadAttention(runtime, { embedDim: width, numHeads: heads, bias: false }).load({
    'q_proj.weight': matrix(),
    'k_proj.weight': matrix(),
    'v_proj.weight': matrix(),
    'o_proj.weight': matrix(),
  });
}

const tokens = (random: Random, batch: number, length: number, width: number) => ({
  data: random.array(batch * length * width, 'normal'),
  shape: [batch, length, width],
});

describe.each(builds)('%s', async (build) => {
  const alone = await createRuntime({ build });
  const threaded = await createRuntime({ build, threads: { count: 3, required: true } });
  threaded.threads!.leastCost = 0;

  it('are sums in double precision, rounded once, in every form and on threads', async () => {
    const sizes = fc.record({
      batch: fc.integer({ min: 1, max: 3 }),
      heads: fc.integer({ min: 1, max: 9 }),
      queries: fc.integer({ min: 1, max: 60 }),
      keys: fc.integer({ min: 1, max: 60 }),
    });
    await fc.assert(
      fc.asyncProperty(sizes, fc.integer(), async ({ batch, heads, queries, keys }, seed) => {
        for (const runtime of [alone, threaded]) {
          const random = new Random(seed);
          const layer = layerOf(runtime, random, heads);
          const x = tokens(random, batch, queries, 4 * heads);
          const context = tokens(random, batch, keys, 4 * heads);
          const { used } = runtime.memory;
          const all = layer.forward(x, { context, returnWeights: true });
          const expected = new Float32Array(batch * queries * keys);
          const size = queries * keys;
          for (let b = 0; b < batch; b++) {
            for (let i = 0; i < size; i++) {
              let sum = 0;
              for (let h = 0; h < heads; h++) sum += all.weights.data[(b * heads + h) * size + i]!;
              expected[b * size + i] = sum / heads;
            }
          }
          const now = layer.forward(x, { context, averageWeights: true });
          const later = await layer.forwardAsync(x, { context, averageWeights: true });
          for (const { weights } of [now, later]) {
            expect(weights.shape).toEqual([batch, queries, keys]);
            expect(weights.toFloat32Array()).toEqual(expected);
          }
          for (const result of [all, now, later]) result.dispose();
          expect(runtime.memory.used).toBe(used);
          layer.dispose();
        }
      }),
      { numRuns: 30 },
    );
  });

  it('are work in tiles', async () => {
    const random = new Random(6);
    const layer = layerOf(alone, random, 2);
    const x = tokens(random, 2, 90, 8);
    const calls = await kernelCalls(alone, async (options) =>
      (await layer.forwardAsync(x, { averageWeights: true, ...options })).dispose(),
    );
    expect(calls['meansOverHeads']).toBe(2 * 8); // 8100 elements, by 1024
    layer.dispose();
  });
});
