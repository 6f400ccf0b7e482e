// Attention's way back alone: its five products against the engine's own rate, its time over the forward's, and the memory it needs
// besides inputs, outputs and gradients.

import { scaledDotProductAttention } from '../../dist/index.mjs';
import { scaledDotProductAttentionBackward } from '../../dist/training.mjs';
import { Random } from '../models/checkpoint.mjs';

/** @typedef {{ heads: number, dim: number, length: number, causal: boolean }} AttentionShape */

const FORMS = [
  { heads: 12, dim: 64 },
  { heads: 8, dim: 128 },
];

/** @type {AttentionShape[]} */
export const ATTENTIONS = FORMS.flatMap((form) =>
  [512, 1024, 2048, 4096].flatMap((length) => [false, true].map((causal) => ({ ...form, length, causal }))),
);

/** @type {AttentionShape} */
export const LONG_ATTENTION = { heads: 12, dim: 64, length: 16384, causal: true };

/** @param {AttentionShape} shape */
export const labelOf = ({ heads, dim, length, causal }) =>
  `h=${heads} dh=${dim}, n=${length}, ${causal ? 'causal' : 'full'}`;

/** Of one product over the pairs that the mask leaves. @param {AttentionShape} shape */
function productFlop({ heads, dim, length, causal }) {
  return 2 * heads * dim * (causal ? (length * (length + 1)) / 2 : length * length);
}

/** @param {AttentionShape} shape */
export const forwardFlop = (shape) => 2 * productFlop(shape);
/** @param {AttentionShape} shape */
export const backwardFlop = (shape) => 5 * productFlop(shape);

/**
 * @param {any} runtime
 * @param {AttentionShape} shape
 */
export function openAttention(runtime, { heads, dim, length, causal }) {
  const random = new Random();
  const dims = [1, heads, length, dim];
  const make = () => {
    const tensor = runtime.empty(dims);
    random.fill(tensor.data, 1);
    return tensor;
  };
  const [query, key, value, upstream] = [make(), make(), make(), make()];
  const attend = () => scaledDotProductAttention(query, key, value, { causal, returnRecord: true });
  const kept = attend();
  return {
    forward: () => attend().dispose(),
    backward: () => scaledDotProductAttentionBackward(kept.record, { output: upstream }).dispose(),
    dispose() {
      for (const one of [kept, query, key, value, upstream]) one.dispose();
    },
  };
}

/**
 * Bytes that the way back takes besides what is there before it and its three gradients.
 *
 * @param {any} runtime a fresh one
 * @param {AttentionShape} shape
 */
export function scratchOf(runtime, shape) {
  const opened = openAttention(runtime, shape);
  const { used } = runtime.memory;
  opened.backward();
  const gradients = 3 * 4 * shape.heads * shape.length * shape.dim;
  const scratch = runtime.memory.peak - used - gradients;
  opened.dispose();
  return scratch;
}
