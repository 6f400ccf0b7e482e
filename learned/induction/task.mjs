// Two layers of attention learn to copy: model, settings and measures. Runs in pages too.

import { llama } from 'wasm-attention/model';
import { AdamW, cosine, evaluate, linearWarmup, Random } from 'wasm-attention/training';

import { batchOf, LENGTH, sequencesWithRepeats, toldPlaces, VOCABULARY } from './data.mjs';

/** @typedef {import('wasm-attention/model').Model} Model */

const STEPS = 500;
const WARMUP = 20;
const BATCH = 32;
const HEADS = 4;
const LAYERS = 2;

const config = {
  ...{ model_type: 'llama', architectures: ['LlamaForCausalLM'], vocab_size: VOCABULARY, hidden_size: 64 },
  ...{ num_attention_heads: HEADS, num_key_value_heads: HEADS, num_hidden_layers: LAYERS },
  ...{ intermediate_size: 4, max_position_embeddings: LENGTH, rms_norm_eps: 1e-5, rope_theta: 10000 },
  ...{ hidden_act: 'silu', tie_word_embeddings: true },
};

/** Sequences that no training sees: of another seed. */
const unseen = (count) => sequencesWithRepeats(new Random(2 ** 40), count);

/**
 * The mean weight of each head, where the next token can be told, on the token after the earlier occurrence.
 *
 * @param {Model} model @param {import('./data.mjs').Repeat[]} sequences
 * @returns {number[][]} by layer and head
 */
export function inductionScores(model, sequences) {
  const inputIds = sequences.map(({ ids }) => ids);
  const output = model.forward({ inputIds }, { returnWeights: true, logits: 'none' });
  const scores = output.attentions.map(({ data, shape: [, heads, queries, keys] }) =>
    Array.from({ length: heads }, (_, head) => {
      let [sum, count] = [0, 0];
      sequences.forEach((sequence, row) => {
        for (const { place, earlier } of toldPlaces(sequence)) {
          sum += data[((row * heads + head) * queries + place) * keys + earlier + 1];
          count++;
        }
      });
      return sum / count;
    }),
  );
  output.dispose();
  return scores;
}

/** The best head's. @param {Model} model @param {number} count  of sequences */
const scoreOfBestHead = (model, count) => Math.max(...inductionScores(model, unseen(count)).flat());

/** @type {import('../tasks.mjs').Task} */
export const task = {
  name: 'induction',
  title: 'Induction: two layers of attention learn to copy',
  config,
  families: [llama],
  seed: 1,
  steps: STEPS,
  settings: {
    optimizer: (learner) =>
      new AdamW(learner, {
        learningRate: linearWarmup(cosine(3e-3, { steps: STEPS - WARMUP, least: 3e-4 }), { steps: WARMUP }),
        betas: [0.9, 0.98],
      }),
  },
  data: (_step, random) => batchOf(sequencesWithRepeats(random, BATCH)),
  watch: { label: 'induction head', bar: 0.8, every: 10, value: (model) => scoreOfBestHead(model, 16) },
  async measure(model) {
    const { accuracy } = await evaluate(model, [batchOf(unseen(256))]);
    return {
      'weight of the induction head on the next token': { value: scoreOfBestHead(model, 256), bar: 0.8 },
      'share of tokens copied rightly, unseen sequences': { value: accuracy, bar: 0.98 },
    };
  },
  hashes: {},
};
