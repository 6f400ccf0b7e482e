// How fast attention is here: against the engine's own peak and against plain loops.

import { scaledDotProductAttention } from 'wasm-attention';
import { measurePeak } from 'wasm-attention/benchmark';

import { plainAttention } from './plain-attention.mjs';

const HEADS = 12;
const LENGTH = 512;
const HEAD_DIM = 64;
const FLOP = 4 * HEADS * LENGTH * LENGTH * HEAD_DIM;
const WARM_UP = 3;
const RUNS = 5;

/**
 * @param {import('wasm-attention').Runtime} runtime with the pack `benchmark`
 * @param {import('./style.mjs').Style} style
 * @returns {string[]}
 */
export function measureSpeed(runtime, style) {
  const [query, key, value] = [1, 2, 3].map((seed) => uniform(HEADS * LENGTH * HEAD_DIM, seed));
  const peak = measurePeak(runtime);
  const milliseconds = timeLibrary(runtime, [query, key, value]);
  const plain = HEADS * timePlain(query, key, value);
  const rate = FLOP / milliseconds / 1e6;
  const figures = [
    `${milliseconds.toFixed(1)} ms`,
    `${rate.toFixed(1)} GFLOP/s`,
    `${((100 * rate) / peak).toFixed(0)} % of the peak`,
    `${(plain / milliseconds).toFixed(0)} x plain JavaScript`,
  ];
  return [
    style.bold(
      `Speed on one thread (peak: ${peak.toFixed(1)} GFLOP/s; JavaScript timed on 1 of ${HEADS} heads)`,
    ),
    `${HEADS} x ${LENGTH} x ${HEAD_DIM}: ${figures.join(', ')}`,
  ];
}

/** Median milliseconds of a call, inputs in place. */
function timeLibrary(runtime, arrays) {
  const tensors = arrays.map((data) => runtime.tensor(data, [1, HEADS, LENGTH, HEAD_DIM]));
  const [query, key, value] = tensors;
  const output = runtime.empty([1, HEADS, LENGTH, HEAD_DIM]);
  const call = () => scaledDotProductAttention(query, key, value, { output }).dispose();
  for (let i = 0; i < WARM_UP; i++) call();
  const times = Array.from({ length: RUNS }, () => time(call)).sort((a, b) => a - b);
  for (const tensor of [...tensors, output]) tensor.dispose();
  return times[RUNS >> 1];
}

/** Milliseconds of one head, the better of two: the first also lets the engine compile. */
function timePlain(query, key, value) {
  const [q, k, v] = [query, key, value].map((array) => array.subarray(0, LENGTH * HEAD_DIM));
  const call = () => plainAttention(q, k, v, LENGTH, HEAD_DIM);
  return Math.min(time(call), time(call));
}

function time(call) {
  const start = performance.now();
  call();
  return performance.now() - start;
}

/** Numbers in [-1, 1), the same each time (a linear congruential generator). */
function uniform(length, seed) {
  let state = seed;
  return new Float32Array(length).map(() => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}
