// The simd build's bits: a seeded suite of operations, hashed. The hashes are in bits.json, so that a change of bits is a
// decision: UPDATE_BITS=1 writes them anew. Inputs come from integers alone, the same in every engine.

import { readFileSync, writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import {
  attentionEntropy,
  attentionWeights,
  createRuntime,
  globalTokens,
  linear,
  linearAttention,
  LinearWeights,
  or,
  receivedWeight,
  rotaryEmbedding,
  scaledDotProductAttention,
  sinusoidalEncoding,
  slidingWindow,
  softmax,
} from 'wasm-attention';
import type { ScaledDotProductAttentionOptions, Tensor } from 'wasm-attention';
import { Random } from './reference/random.js';

const FILE = new URL('bits.json', import.meta.url);

/** FNV-1a over the bytes. */
function hash(data: ArrayBufferView): string {
  let value = 0x811c9dc5;
  for (const byte of new Uint8Array(data.buffer, data.byteOffset, data.byteLength)) {
    value = Math.imul(value ^ byte, 0x01000193) >>> 0;
  }
  return value.toString(16).padStart(8, '0');
}

it('are those on record', async () => {
  const runtime = await createRuntime({ build: 'simd' });
  const random = new Random(2026);
  const tensor = (...shape: number[]): Tensor =>
    runtime.tensor(
      random
        .array(
          shape.reduce((size, length) => size * length, 1),
          'uniform',
        )
        .map((x) => 4 * x - 2),
      shape,
    );
  const hashes: Record<string, string> = {};
  const record = (name: string, { data }: { data: ArrayBufferView }) => (hashes[name] = hash(data));

  for (const [m, k, n] of [
    [1, 7, 3],
    [9, 70, 33],
    [130, 1100, 50],
  ] as const) {
    const weights = new LinearWeights(runtime, tensor(n, k), tensor(n));
    record(`linear ${m} ${k} ${n}`, linear(tensor(m, k), weights));
  }
  record('softmax', softmax(tensor(20, 33)));
  const calls: Record<string, ScaledDotProductAttentionOptions> = {
    plain: {},
    causal: { causal: true },
    'softcap, alibi': { softcap: 3, alibi: true },
    'window, sinks': { window: { left: 20 }, sinks: [0.5, -0.5, 1, 0] },
    'sparse mask': { mask: or(slidingWindow({ left: 9, right: 0 }), globalTokens([2])) },
    'dense masks': {
      mask: [
        tensor(150, 150),
        { data: Uint8Array.from({ length: 150 }, (_, j) => (j % 3 ? 1 : 0)), shape: [150] },
      ],
    },
  };
  for (const [name, options] of Object.entries(calls)) {
    for (const dim of [16, 37]) {
      const [q, k, v] = [tensor(1, 4, 150, dim), tensor(1, 2, 150, dim), tensor(1, 2, 150, dim)];
      const result = scaledDotProductAttention(q, k, v, { ...options, returnLogSumExp: true });
      record(`attention ${name} ${dim}`, result.output);
      record(`log-sum-exp ${name} ${dim}`, result.logSumExp!);
      record(
        `weights ${name} ${dim}`,
        attentionWeights(q, k, { ...options, region: { queries: [100, 150] } }),
      );
      record(`received ${name} ${dim}`, receivedWeight(q, k, options));
      record(`entropy ${name} ${dim}`, attentionEntropy(q, k, options));
    }
  }
  record(
    'linear attention',
    linearAttention(tensor(1, 2, 40, 9), tensor(1, 1, 40, 9), tensor(1, 1, 40, 11), { causal: true }),
  );
  record(
    'rotary',
    rotaryEmbedding(tensor(1, 2, 100, 24), {
      offset: 4000,
      scaling: { type: 'yarn', factor: 4, originalLength: 1024 },
    }),
  );
  hashes['sinusoidal'] = hash(sinusoidalEncoding(100, 30));

  if (process.env['UPDATE_BITS']) writeFileSync(FILE, `${JSON.stringify(hashes, null, 2)}\n`);
  expect(hashes).toEqual(JSON.parse(readFileSync(FILE, 'utf8')));
});
