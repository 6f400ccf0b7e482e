// A small decoder over bytes with random weights: enough to show how generation with a cache is written, not to make sense.

import { KeyValueCache, linear, LinearWeights, MultiHeadAttention } from 'wasm-attention';

export const VOCABULARY = 256;

/** Uniform in [-1, 1), the same for the same seed. */
export function randomNumbers(seed) {
  let state = seed >>> 0;
  return (length, scale) =>
    Float32Array.from({ length }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (state / 2 ** 31 - 1) * scale;
    });
}

/** @param {{ layers: number, width: number, heads: number, keyValueHeads: number, seed: number }} sizes */
export function randomWeights({ layers, width, heads, keyValueHeads, seed }) {
  const numbers = randomNumbers(seed);
  const inner = (width / heads) * keyValueHeads;
  const matrix = (rows, columns) => ({
    data: numbers(rows * columns, 2 / Math.sqrt(columns)),
    shape: [rows, columns],
  });
  return {
    embedding: numbers(VOCABULARY * width, 1),
    layers: Array.from({ length: layers }, () => ({
      'q_proj.weight': matrix(width, width),
      'k_proj.weight': matrix(inner, width),
      'v_proj.weight': matrix(inner, width),
      'o_proj.weight': matrix(width, width),
      up: matrix(4 * width, width),
      down: matrix(width, 4 * width),
    })),
    head: matrix(VOCABULARY, width),
  };
}

/** The model, and a cache for one text. */
export class Decoder {
  constructor(runtime, sizes, weights = randomWeights(sizes), storage = 'float32') {
    const { layers, width, heads: numHeads, keyValueHeads: numKeyValueHeads } = sizes;
    this.runtime = runtime;
    this.width = width;
    this.embedding = weights.embedding;
    this.layers = weights.layers.map(({ up, down, ...attention }) => {
      const layer = new MultiHeadAttention(runtime, {
        ...{ embedDim: width, numHeads, numKeyValueHeads, bias: false, rotary: {} },
      });
      layer.load(attention);
      return { attention: layer, up: new LinearWeights(runtime, up), down: new LinearWeights(runtime, down) };
    });
    this.head = new LinearWeights(runtime, weights.head);
    this.cache = new KeyValueCache(runtime, { layers, numKeyValueHeads, headDim: width / numHeads, storage });
  }

  /** The scores of the next byte, after these. Earlier bytes are in the cache. */
  next(bytes) {
    const { runtime, width } = this;
    const x = new Float32Array(bytes.length * width);
    bytes.forEach((byte, i) => x.set(this.embedding.subarray(byte * width, (byte + 1) * width), i * width));
    this.layers.forEach(({ attention, up, down }, cacheLayer) => {
      const input = { data: normalize(x, width), shape: [1, bytes.length, width] };
      const result = attention.forward(input, { cache: this.cache, cacheLayer });
      add(x, result.output.data);
      result.dispose();
      const hidden = linear({ data: normalize(x, width), shape: [bytes.length, width] }, up);
      hidden.data.forEach((value, i, all) => (all[i] = Math.max(0, value)));
      const out = linear(hidden, down);
      add(x, out.data);
      for (const tensor of [hidden, out]) tensor.dispose();
    });
    const last = { data: normalize(x.subarray(-width), width), shape: [1, width], runtime };
    const scores = linear(last, this.head);
    const copy = scores.toFloat32Array();
    scores.dispose();
    return copy;
  }

  dispose() {
    for (const { attention, up, down } of this.layers) {
      for (const part of [attention, up, down]) part.dispose();
    }
    this.head.dispose();
    this.cache.dispose();
  }
}

function add(target, values) {
  for (let i = 0; i < target.length; i++) target[i] += values[i];
}

/** Each row over its root mean square. */
function normalize(x, width) {
  const result = new Float32Array(x.length);
  for (let row = 0; row < x.length; row += width) {
    let sum = 0;
    for (let i = row; i < row + width; i++) sum += x[i] * x[i];
    const factor = 1 / Math.sqrt(sum / width + 1e-6);
    for (let i = row; i < row + width; i++) result[i] = x[i] * factor;
  }
  return result;
}

/** Draws from softmax(scores / temperature). `uniform` is in [0, 1). */
export function sample(scores, temperature, uniform) {
  const most = scores.reduce((largest, score) => Math.max(largest, score), -Infinity);
  const weights = scores.map((score) => Math.exp((score - most) / temperature));
  let left = uniform * weights.reduce((sum, weight) => sum + weight, 0);
  const found = weights.findIndex((weight) => (left -= weight) < 0);
  return found < 0 ? weights.length - 1 : found;
}
