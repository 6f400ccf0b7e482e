// How induction is learned: the model and its settings, from which its bits follow. Imports nothing of the package, so that whoever has
// loaded it, however, can train with them.

import { batchOf, LENGTH, sequencesWithRepeats, VOCABULARY } from './data.mjs';

/** @typedef {import('wasm-attention/training').Trainable} Trainable @typedef {import('wasm-attention/training').Random} Random */

export const SEED = 1;
export const STEPS = 600;
const WARMUP = 20;
const BATCH = 32;

/** Wide enough at first that layers do something: with the 0.02 that is usual the loss stands still for thousands of steps. */
const INITIAL_RANGE = 0.1;

export const config = {
  ...{ model_type: 'attention_only', vocab_size: VOCABULARY, n_embd: 64, n_head: 4, n_layer: 2 },
  ...{ position_embedding: 'rotary', n_positions: LENGTH, layer_norm_epsilon: 1e-5 },
  initializer_range: INITIAL_RANGE,
};

/**
 * AdamW, with a learning rate that grows and then falls along a cosine.
 *
 * @param {Pick<typeof import('wasm-attention/training'), 'AdamW' | 'cosine' | 'linearWarmup'>} training
 */
export const optimizerOf =
  ({ AdamW, cosine, linearWarmup }) =>
  /** @param {Trainable} learner */
  (learner) =>
    new AdamW(learner, {
      learningRate: linearWarmup(cosine(5e-3, { steps: STEPS - WARMUP, least: 5e-4 }), { steps: WARMUP }),
      betas: [0.9, 0.98],
    });

/** The batch of a step. @param {number} _step @param {Random} random */
export const data = (_step, random) => batchOf(sequencesWithRepeats(random, BATCH));
