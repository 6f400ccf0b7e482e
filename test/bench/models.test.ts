// The benchmark of whole models: its float64 reference, its ONNX graphs and what the library makes of its files are the same models.

import { createRuntime } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { loadModel, model as kernels } from 'wasm-attention/model';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeModelFiles, Random } from '../../bench/models/checkpoint.mjs';
import type { Size } from '../../bench/models/checkpoint.mjs';
import { decoderReference, encoderReference } from '../../bench/models/float64.mjs';
import { MODEL_WORKLOADS } from '../../bench/models/workloads.mjs';
import type { ModelWorkload } from '../../bench/models/workloads.mjs';
import { needs } from '../support/needs.js';

const form = { layers: 2, width: 32, heads: 4, inner: 64, vocabulary: 50, positions: 24 };
const encoder = makeModelFiles({ family: 'bert', ...form } satisfies Size);
const decoder = makeModelFiles({ family: 'gpt2', ...form } satisfies Size);
const random = new Random();
const ids = random.integers(7, form.vocabulary);
const PAST = 6;
const past = Array.from({ length: form.layers }, () => ({
  length: PAST,
  key: random.fill(new Float32Array(PAST * form.width), 1),
  value: random.fill(new Float32Array(PAST * form.width), 1),
}));
/** What the reference says, by kind of workload. */
const exact = {
  encode: encoderReference(encoder, ids),
  prefill: decoderReference(decoder, ids),
  step: decoderReference(decoder, ids.subarray(0, 1), past),
};

const difference = (values: ArrayLike<number>, kind: keyof typeof exact) => {
  expect(values.length).toBe(exact[kind].length);
  return Math.max(...Array.from(exact[kind], (value, i) => Math.abs(values[i]! - value)));
};

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createRuntime({ packs: [kernels] });
});
afterAll(() => runtime.dispose());

test('what counts is products and attention, of a causal one what it keeps', () => {
  expect(MODEL_WORKLOADS.map(({ flop }) => (flop / 1e9).toFixed(2))).toEqual([
    '2.87',
    '22.35',
    '96.64',
    '44.78',
    '0.27',
  ]);
});

test('the library runs the files of the encoder', async () => {
  const model = await loadModel({ config: encoder.config, weights: encoder.file, runtime });
  const { lastHiddenState } = model.forward({ inputIds: [[...ids]] });
  expect(difference(lastHiddenState!.toFloat32Array(), 'encode')).toBeLessThan(1e-5);
  model.dispose();
});

test('the library runs the files of the decoder, from the start and after keys and values of a past', async () => {
  const model = await loadModel({ config: decoder.config, weights: decoder.file, runtime });
  const whole = model.forward({ inputIds: [[...ids]] }, { logits: 'last' });
  expect(difference(whole.logits!.toFloat32Array(), 'prefill')).toBeLessThan(1e-5);
  const cache = model.createCache();
  past.forEach(({ key, value }, layer) => {
    const shape = [1, form.heads, PAST, form.width / form.heads];
    cache.append(layer, { data: key, shape }, { data: value, shape });
  });
  const step = model.forward({ inputIds: [[ids[0]!]] }, { cache, logits: 'last' });
  expect(difference(step.logits!.toFloat32Array(), 'step')).toBeLessThan(1e-5);
  cache.dispose();
  model.dispose();
});

test('a loaded model takes the memory of its weights, and hardly grows when it runs', async () => {
  const files = makeModelFiles({ ...encoder.size, width: 128, inner: 512, vocabulary: 40000 });
  const own = await createRuntime({ packs: [kernels] });
  const before = own.memory;
  const model = await loadModel({ config: files.config, weights: files.file, runtime: own });
  const weights = 4 * model.parameterCount;
  expect(weights).toBeGreaterThan(2e7);
  const { used, capacity } = own.memory;
  expect((used - before.used) / weights).toBeLessThan(1.01);
  expect(capacity / (weights + before.capacity)).toBeLessThan(1.05);
  model.forward({ inputIds: [[...ids]] }).dispose();
  expect(own.memory.capacity / (weights + before.capacity)).toBeLessThan(1.05);
  own.dispose();
});

needs('bench').it('onnxruntime-web computes the same by every graph', async () => {
  const { graphOf, importRuntime, openSession, variantsOf } = await import('../../bench/models/theirs.mjs');
  const library: unknown = await importRuntime();
  for (const [kind, files, count] of [
    ['encode', encoder, ids.length],
    ['prefill', decoder, ids.length],
    ['step', decoder, 1],
  ] as const) {
    const workload = { kind, tokens: count, past: kind === 'step' ? PAST : 0 } as ModelWorkload;
    for (const variant of variantsOf(workload)) {
      const graph = graphOf(files, workload, variant);
      const given = ids.subarray(0, count);
      const session = await openSession(library, graph, files, workload, variant, given, past);
      const values = (await session.run()) as Float32Array;
      expect(difference(values, kind), `${kind}, ${variant}`).toBeLessThan(1e-5);
      await session.dispose();
    }
  }
});
