// What a step of training is: the model, its data, its optimiser, and the floating-point operations that count. All that is compared
// does this very step.

import { BATCH, config, LENGTH } from '../../learned/text/config.mjs';
import { makeModelFiles, Random } from '../models/checkpoint.mjs';

/**
 * @typedef {object} TrainingWorkload
 * @property {string} label
 * @property {import('../models/checkpoint.mjs').Size} size
 * @property {number} batch
 * @property {number} length tokens of a row
 */

/** A decoder like GPT-2, its logits by the table of its words. @type {TrainingWorkload} */
export const DECODER = {
  label: 'decoder like GPT-2 (tied), 4 layers, d=256, h=8, feed-forward 1024, vocabulary 512, n=256, batch 8',
  size: { family: 'gpt2', layers: 4, width: 256, heads: 8, inner: 1024, vocabulary: 512, positions: 256 },
  batch: 8,
  length: 256,
};

/** The model of `npm run train -- text`, and its batches. @type {TrainingWorkload} */
export const TEXT = {
  label: `the decoder of learned/text, ${config.n_layer} layers, d=${config.n_embd}, h=${config.n_head}, feed-forward ${config.n_inner}, vocabulary ${config.vocab_size}, n=${LENGTH}, batch ${BATCH}`,
  size: {
    family: 'gpt2',
    layers: config.n_layer,
    width: config.n_embd,
    heads: config.n_head,
    inner: config.n_inner,
    vocabulary: config.vocab_size,
    positions: LENGTH,
  },
  batch: BATCH,
  length: LENGTH,
};

/** Of AdamW, for all parameters, and of clipping by the norm of all gradients together. */
export const OPTIMIZER = /** @type {const} */ ({
  learningRate: 1e-3,
  betas: [0.9, 0.999],
  epsilon: 1e-8,
  weightDecay: 0.01,
  maxNorm: 1,
});

/**
 * Products and attention of one forward pass, of causal attention what it keeps, and twice that for the way back. What is computed
 * again does not count.
 *
 * @param {TrainingWorkload} workload
 */
export function flopOf({ size: { layers, width, inner, vocabulary }, batch, length }) {
  const rows = batch * length;
  const products = 2 * rows * (4 * width * width + 2 * width * inner);
  const attention = 4 * width * batch * ((length * (length + 1)) / 2);
  return 3 * (layers * (products + attention) + 2 * rows * width * vocabulary);
}

/**
 * The model's files, and one batch: each token is the label of the one before it.
 *
 * @param {TrainingWorkload} workload
 */
export function makeTask({ size, batch, length }) {
  const files = makeModelFiles(size);
  const tokens = new Random().integers(batch * (length + 1), size.vocabulary);
  const ids = new Int32Array(batch * length);
  const labels = new Int32Array(batch * length);
  for (let row = 0; row < batch; row++) {
    const own = tokens.subarray(row * (length + 1), (row + 1) * (length + 1));
    ids.set(own.subarray(0, length), row * length);
    labels.set(own.subarray(1), row * length);
  }
  return { files, ids, labels, batch, length };
}

/** @typedef {ReturnType<typeof makeTask>} Task */
/** @typedef {{ step: () => number | Promise<number>, dispose: () => void }} Training `step` gives the loss before it */

/** Names of all tensors of the model. @param {import('../models/checkpoint.mjs').Size} size */
export function namesOf({ layers }) {
  const both = (/** @type {string} */ name) => [`${name}.weight`, `${name}.bias`];
  const parts = ['ln_1', 'attn.c_attn', 'attn.c_proj', 'ln_2', 'mlp.c_fc', 'mlp.c_proj'];
  return [
    'wte.weight',
    'wpe.weight',
    ...Array.from({ length: layers }, (_, layer) =>
      parts.flatMap((part) => both(`h.${layer}.${part}`)),
    ).flat(),
    ...both('ln_f'),
  ];
}
