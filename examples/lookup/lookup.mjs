// The lookup itself: one query attends to all lines, in every head.

import { scaledDotProductAttention } from 'wasm-attention';

import { HEAD_DIM } from './embedding.mjs';

/** Vectors are at most 1 long, so q . k lies within -1..1, where a softmax hardly chooses: this sharpens it. */
export const SCALE = 20;

/**
 * @typedef {object} Lookup
 * @property {Float32Array[]} weights  a head: the weight of each line
 * @property {Float32Array} mean       over the heads
 * @property {Float32Array} similarity of each line to the result: the cosine
 */

/**
 * @param {import('wasm-attention').Runtime} runtime
 * @param {import('./embedding.mjs').Embedded} embedded
 * @returns {Lookup}
 */
export function lookUp(runtime, { heads, count, keys, query }) {
  const q = runtime.tensor(query, [1, heads, 1, HEAD_DIM]);
  const k = runtime.tensor(keys, [1, heads, count, HEAD_DIM]);
  // Each line is its own value.
  const result = scaledDotProductAttention(q, k, k, { scale: SCALE, returnWeights: true });
  const all = result.weights.toFloat32Array();
  const output = result.output.toFloat32Array();
  for (const owner of [result, q, k]) owner.dispose();
  const weights = Array.from({ length: heads }, (_, head) => all.subarray(head * count, (head + 1) * count));
  const mean = new Float32Array(count).map((_, i) => weights.reduce((sum, row) => sum + row[i], 0) / heads);
  return { weights, mean, similarity: similarities(output, keys, heads, count) };
}

/** Cosine between the result and each line, all heads side by side. */
function similarities(output, keys, heads, count) {
  const outputLength = Math.hypot(...output) || 1;
  return new Float32Array(count).map((_, i) => {
    let dot = 0;
    let square = 0;
    for (let head = 0; head < heads; head++) {
      for (let c = 0; c < HEAD_DIM; c++) {
        const key = keys[(head * count + i) * HEAD_DIM + c];
        dot += output[head * HEAD_DIM + c] * key;
        square += key * key;
      }
    }
    return square > 0 ? dot / outputLength / Math.sqrt(square) : 0;
  });
}

/** Places of the largest values, falling; of equal ones the first comes first. */
export function largest(values, count) {
  return [...values.keys()].sort((a, b) => values[b] - values[a] || a - b).slice(0, count);
}
