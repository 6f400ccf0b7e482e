// The models through this library, and what they are held against: their products and attention alone, and reading what a step reads.

import { createRuntime, linear, LinearWeights, scaledDotProductAttention } from '../../dist/index.mjs';
import { benchmark, readPages, readTensor, runPeak } from '../../dist/benchmark.mjs';
import { loadModel, model as kernels } from '../../dist/model.mjs';
import { linearOf, Random } from './checkpoint.mjs';

/** Tokens around a length that count as that length. */
const NEARBY = 64;

/** The best of so many short runs counts: interference only ever adds time. */
const PEAK_RUNS = 4;

/** @param {string} build */
export const openRuntime = (build) => createRuntime({ build, packs: [kernels, benchmark] });

/** GFLOP/s of the engine at this moment. @param {any} runtime */
export function peakOf(runtime) {
  let best = 0;
  for (let run = 0; run < PEAK_RUNS; run++) {
    const start = performance.now();
    const flop = runPeak(runtime);
    best = Math.max(best, flop / (performance.now() - start) / 1e6);
  }
  return best;
}

/** @param {any} runtime @param {import('./checkpoint.mjs').ModelFiles} files */
export const load = (runtime, { config, file }) => loadModel({ config, weights: file, runtime });

/**
 * @param {any} model
 * @param {import('./workloads.mjs').ModelWorkload} workload
 * @param {Int32Array} ids
 * @param {any} cache
 * @returns {() => Float32Array} ids in, a fresh array out
 */
export function callOf(model, { kind, tokens, past }, ids, cache) {
  const inputs = { inputIds: { data: ids, shape: [1, tokens] } };
  if (kind === 'encode') {
    return () => {
      const output = model.forward(inputs);
      const values = output.lastHiddenState.toFloat32Array();
      output.dispose();
      return values;
    };
  }
  const begin = kind === 'prefill' ? 0 : past;
  const end = kind === 'prefill' ? 0 : past + NEARBY;
  return () => {
    if (cache.lengths()[0] > end) cache.crop(begin);
    const output = model.forward(inputs, { cache, logits: 'last' });
    const values = output.logits.toFloat32Array();
    output.dispose();
    return values;
  };
}

/** @param {any} runtime @param {any} cache @param {import('./checkpoint.mjs').Size} size @param {import('./float64.mjs').Past[]} past */
export function fillCache(runtime, cache, { heads, width }, past) {
  past.forEach(({ length, key, value }, layer) => {
    const shape = [1, heads, length, width / heads];
    cache.append(layer, { data: key, shape }, { data: value, shape });
  });
}

/**
 * The products and attentions of an encoder with nothing between them, each by its public function, from tensor to tensor.
 *
 * @param {any} runtime
 * @param {import('./checkpoint.mjs').ModelFiles} files
 * @param {number} tokens
 */
export function openParts(runtime, files, tokens) {
  const { layers, width, heads, inner } = files.size;
  const random = new Random();
  const tensor = (/** @type {number[]} */ shape) =>
    runtime.tensor(random.fill(new Float32Array(shape.reduce((a, b) => a * b)), 1), shape);
  const names = /** @type {const} */ (['projection', 'output', 'up', 'down']);
  const weights = Array.from({ length: layers }, (_, layer) =>
    names.map((name) => {
      const { inputs, out, weight, bias } = linearOf(files, layer, name);
      const stored = runtime.tensor(weight, [inputs, out]);
      const packed = new LinearWeights(runtime, stored.transpose(0, 1), { data: bias, shape: [out] });
      stored.dispose();
      return packed;
    }),
  );
  const x = tensor([tokens, width]);
  const y = tensor([tokens, width]);
  const projected = tensor([tokens, 3 * width]);
  const hidden = tensor([tokens, inner]);
  const merged = tensor([1, heads, tokens, width / heads]);
  const rows = merged.reshape([tokens, width]);
  const apart = projected.reshape([1, tokens, 3 * heads, width / heads]).transpose(1, 2);
  const [query, key, value] = [0, 1, 2].map((part) => apart.slice(1, part * heads, (part + 1) * heads));
  return {
    run() {
      for (const [projection, output, up, down] of weights) {
        linear(x, projection, { output: projected });
        scaledDotProductAttention(query, key, value, { output: merged });
        linear(rows, output, { output: y });
        linear(x, up, { output: hidden });
        linear(hidden, down, { output: y });
      }
    },
    dispose() {
      for (const one of [...weights.flat(), x, y, projected, hidden, merged]) one.dispose();
    },
  };
}

/**
 * Reads as many bytes as a step does: the matrices, and the cache.
 *
 * @param {any} runtime
 * @param {import('./checkpoint.mjs').Size} size
 * @param {any} cache
 */
export function openReading(runtime, { layers, width, inner, vocabulary }, cache) {
  const floats = layers * (4 * width * width + 2 * width * inner) + vocabulary * width;
  const buffer = runtime.empty([floats]);
  // Pages that were never written would all be one page of zeros.
  buffer.data.fill(1);
  return {
    run() {
      let bytes = readTensor(buffer);
      for (let layer = 0; layer < layers; layer++) bytes += readPages(cache, layer);
      return bytes;
    },
    dispose: () => buffer.dispose(),
  };
}
