// One line of speed: fused attention against the engine's peak measured just before, and against plain loops.

import { measurePeak, scaledDotProductAttention } from 'wasm-attention';

const HEADS = 12;
const LENGTH = 512;
const DIM = 64;
/** Plain loops are slow: they get this many heads, and their time is multiplied. */
const PLAIN_HEADS = 1;

/** softmax(Q K^T / sqrt(dim)) V of one head with careful loops over typed arrays. */
function plainAttention(query, key, value, output) {
  const scores = new Float64Array(LENGTH);
  const scale = 1 / Math.sqrt(DIM);
  for (let i = 0; i < LENGTH; i++) {
    let maximum = -Infinity;
    for (let j = 0; j < LENGTH; j++) {
      let score = 0;
      for (let c = 0; c < DIM; c++) score += query[i * DIM + c] * key[j * DIM + c];
      scores[j] = score * scale;
      maximum = Math.max(maximum, scores[j]);
    }
    let sum = 0;
    for (let j = 0; j < LENGTH; j++) sum += scores[j] = Math.exp(scores[j] - maximum);
    output.fill(0, i * DIM, (i + 1) * DIM);
    for (let j = 0; j < LENGTH; j++) {
      const weight = scores[j] / sum;
      for (let c = 0; c < DIM; c++) output[i * DIM + c] += weight * value[j * DIM + c];
    }
  }
}

function time(work) {
  const start = performance.now();
  work();
  return performance.now() - start;
}

const median = (times) => [...times].sort((a, b) => a - b)[times.length >> 1];

/** Measures for about a third of a second. */
export function measureSpeed(runtime) {
  const size = HEADS * LENGTH * DIM;
  const random = (phase) =>
    Float32Array.from({ length: size }, (_, i) => Math.sin(i * 12.9898 + phase) * 1.5);
  const [q, k, v] = [random(1), random(2), random(3)];
  const shape = [1, HEADS, LENGTH, DIM];
  const [query, key, value, output] = [
    runtime.tensor(q, shape),
    runtime.tensor(k, shape),
    runtime.tensor(v, shape),
    runtime.empty(shape),
  ];
  const attend = () => scaledDotProductAttention(query, key, value, { output });
  for (let i = 0; i < 3; i++) attend();
  const peak = measurePeak(runtime, 15);
  const milliseconds = median(Array.from({ length: 7 }, () => time(attend)));
  const plainOutput = new Float32Array(LENGTH * DIM);
  const plain = () => plainAttention(q, k, v, plainOutput);
  plain();
  const plainMilliseconds = (Math.min(time(plain), time(plain)) * HEADS) / PLAIN_HEADS;
  for (const tensor of [query, key, value, output]) tensor.dispose();
  const gflops = (4 * HEADS * LENGTH * LENGTH * DIM) / milliseconds / 1e6;
  return {
    shape: `${HEADS} x ${LENGTH} x ${DIM}`,
    milliseconds,
    gflops,
    share: gflops / peak,
    factor: plainMilliseconds / milliseconds,
  };
}
