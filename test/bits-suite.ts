// What the matrix runs in every runtime and browser, and bits.test.ts in Node: a seeded suite of operations of the simd
// build, hashed. Inputs come from integers alone, the same in every engine. Only types are imported from the package: the
// caller brings it, however it was loaded.

import type { ScaledDotProductAttentionOptions, Tensor } from 'wasm-attention';
import { measuresBits } from './bits-measures.js';
import type { MeasuresLibrary } from './bits-measures.js';
import { modelBits } from './bits-models.js';
import { trainingBits } from './bits-training.js';
import type { TrainingLibrary } from './bits-training.js';
import { Random } from './reference/random.js';

/** FNV-1a over the bytes. */
export function hash(data: ArrayBufferView): string {
  let value = 0x811c9dc5;
  for (const byte of new Uint8Array(data.buffer, data.byteOffset, data.byteLength)) {
    value = Math.imul(value ^ byte, 0x01000193) >>> 0;
  }
  return value.toString(16).padStart(8, '0');
}

/** The hash of every result, by its name. */
export async function bits(library: TrainingLibrary & MeasuresLibrary): Promise<Record<string, string>> {
  const {
    attentionEntropy,
    attentionWeights,
    globalTokens,
    KeyValueCache,
    linear,
    linearAttention,
    LinearWeights,
    MultiHeadAttention,
    or,
    receivedWeight,
    rotaryEmbedding,
    scaledDotProductAttention,
    sinusoidalEncoding,
    slidingWindow,
    softmax,
  } = library;
  const runtime = await library.createRuntime({ build: 'simd' });
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
      record(`log-sum-exp ${name} ${dim}`, result.logSumExp);
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

  const layer = new MultiHeadAttention(runtime, { embedDim: 48, numHeads: 4, causal: true, rotary: {} });
  const projections = ['q_proj', 'k_proj', 'v_proj', 'o_proj'];
  layer.load(Object.fromEntries(projections.map((name) => [`${name}.weight`, tensor(48, 48)])));
  record('layer', layer.forward(tensor(2, 33, 48)).output);

  for (const storage of ['float32', 'float16', 'int8'] as const) {
    for (const ring of [undefined, { sinkTokens: 3, window: 90 }]) {
      const sizes = { numKeyValueHeads: 2, headDim: 20, valueHeadDim: 12, storage, rotary: {} };
      const cache = new KeyValueCache(runtime, ring ? { ...sizes, ring } : { ...sizes, capacity: 300 });
      const name = `cache ${storage}${ring ? ', ring' : ''}`;
      for (const length of [150, 1, 70]) {
        cache.append(0, tensor(1, 2, length, 20), tensor(1, 2, length, 12));
        record(`${name}, ${length}`, cache.attend(0, tensor(1, 6, length, 20)).output);
      }
      hashes[`${name}, snapshot`] = hash(cache.snapshot());
      cache.dispose();
    }
  }

  runtime.dispose();
  await modelBits(library, random, record);
  await trainingBits(library, record);
  await measuresBits(library, record);
  return hashes;
}

/** What a runtime did with the package. */
export interface Outcome {
  /** Of `createRuntime({ threads: 2 })`. */
  build: string;
  reason: string;
  threads: number;
  threadsReason: string;
  hashes: Record<string, string>;
  /** What was loaded in the end. */
  packs: readonly string[];
  /** Milliseconds from before the runtime was made until its first layer had answered. */
  time: number;
}

/**
 * A layer on a runtime with two threads if it can have them, which then load another pack and use it; then the suite.
 *
 * @param library the package, and its entries `model`, `training`, `measures` and `benchmark`
 */
export async function run(
  library: TrainingLibrary & MeasuresLibrary & typeof import('wasm-attention/benchmark'),
): Promise<Outcome> {
  const start = performance.now();
  const runtime = await library.createRuntime({ threads: 2 });
  const layer = new library.MultiHeadAttention(runtime, { embedDim: 64, numHeads: 4 });
  const data = Float32Array.from({ length: 64 * 64 }, (_, i) => ((i * 37) % 64) / 512);
  const projections = ['q_proj', 'k_proj', 'v_proj', 'o_proj'];
  layer.load(Object.fromEntries(projections.map((name) => [`${name}.weight`, { data, shape: [64, 64] }])));
  const { output } = layer.forward({ data, shape: [1, 64, 64] });
  if (!output.data.every(Number.isFinite)) throw new Error('a result is not finite');
  const time = Math.round(performance.now() - start);
  await runtime.load(library.benchmark);
  const bytes = library.readTensor(runtime.empty([1 << 20]));
  if (bytes !== 1 << 22) throw new Error(`the second pack read ${bytes} bytes`);
  const { build, reason, threads, threadsReason, packs } = runtime.info;
  runtime.dispose();
  return { build, reason, threads, threadsReason, packs, hashes: await bits(library), time };
}
