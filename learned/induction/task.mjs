// Two layers of attention learn to copy: model, settings and measures. Runs in pages too.

import { attentionOnly } from 'wasm-attention/model';
import { AdamW, cosine, evaluate, linearWarmup, Random } from 'wasm-attention/training';

import { batchOf, LENGTH, sequencesWithRepeats, toldPlaces, VOCABULARY } from './data.mjs';

/** @typedef {import('wasm-attention/model').Model} Model @typedef {import('./data.mjs').Repeat} Repeat */

const STEPS = 600;
const WARMUP = 20;
const BATCH = 32;

const config = {
  ...{ model_type: 'attention_only', vocab_size: VOCABULARY, n_embd: 64, n_head: 4, n_layer: 2 },
  ...{ position_embedding: 'rotary', n_positions: LENGTH, initializer_range: 0.1, layer_norm_epsilon: 1e-5 },
};

/** Sequences that no training sees: of another seed. @param {number} count */
const unseen = (count) => sequencesWithRepeats(new Random(2 ** 40), count);

/**
 * What the page draws while the model learns: one sequence, what the model says comes next, the weights of all heads, and how far each
 * is what it may become: in layer 1 one that looks at the token before, in layer 2 one that looks at what came next.
 *
 * @param {Model} model
 */
export function look(model) {
  const [sequence] = unseen(1);
  const { ids } = sequence;
  const output = model.forward({ inputIds: [ids] }, { returnWeights: true });
  const weights = output.attentions.map(({ data, shape: [, heads, length] }) =>
    Array.from({ length: heads }, (_, head) => data.slice(head * length ** 2, (head + 1) * length ** 2)),
  );
  const guesses = ids.map((_, place) => placeOfLargest(output.logits.data, place, VOCABULARY));
  output.dispose();
  const [, induction] = headScores(model, unseen(16), toldLooks);
  const [previous] = headScores(model, unseen(16), looksBack);
  return { sequence, guesses, weights, scores: [previous, induction] };
}

/** The largest of a row. @param {Float32Array} values @param {number} row @param {number} columns */
function placeOfLargest(values, row, columns) {
  const own = values.subarray(row * columns, (row + 1) * columns);
  return own.indexOf(Math.max(...own));
}

/** Where the next token can be told, and the token after the earlier occurrence. @param {Repeat} sequence */
const toldLooks = (sequence) =>
  Array.from(toldPlaces(sequence), ({ place, earlier }) => ({ from: place, to: earlier + 1 }));

/** Every token, and the one before it. @param {Repeat} sequence */
const looksBack = ({ ids }) => ids.slice(1).map((_, place) => ({ from: place + 1, to: place }));

/**
 * The mean weight of each head on certain tokens.
 *
 * @param {Model} model @param {Repeat[]} sequences
 * @param {(sequence: Repeat) => { from: number, to: number }[]} looksOf
 * @returns {number[][]} by layer and head
 */
function headScores(model, sequences, looksOf) {
  const inputIds = sequences.map(({ ids }) => ids);
  const looks = sequences.flatMap((sequence, row) => looksOf(sequence).map((each) => ({ row, ...each })));
  const output = model.forward({ inputIds }, { returnWeights: true, logits: 'none' });
  const scores = output.attentions.map(({ data, shape: [, heads, queries, keys] }) =>
    Array.from({ length: heads }, (_, head) => {
      const weightOf = ({ row, from, to }) => data[((row * heads + head) * queries + from) * keys + to];
      return looks.reduce((sum, each) => sum + weightOf(each), 0) / looks.length;
    }),
  );
  output.dispose();
  return scores;
}

/** That of the best head. @param {Model} model @param {number} count  of sequences */
const inductionScore = (model, count) => Math.max(...headScores(model, unseen(count), toldLooks).flat());

/** @type {import('../tasks.mjs').Task} */
export const task = {
  name: 'induction',
  title: 'Induction: two layers of attention learn to copy',
  config,
  families: [attentionOnly],
  seed: 1,
  steps: STEPS,
  settings: {
    optimizer: (learner) =>
      new AdamW(learner, {
        learningRate: linearWarmup(cosine(5e-3, { steps: STEPS - WARMUP, least: 5e-4 }), { steps: WARMUP }),
        betas: [0.9, 0.98],
      }),
  },
  data: (_step, random) => batchOf(sequencesWithRepeats(random, BATCH)),
  watch: { label: 'induction head', bar: 0.8, every: 10, value: (model) => inductionScore(model, 16) },
  async measure(model) {
    const { accuracy } = await evaluate(model, [batchOf(unseen(256))]);
    return {
      'weight of the induction head on the next token': { value: inductionScore(model, 256), bar: 0.8 },
      'share of tokens copied rightly, unseen sequences': { value: accuracy, bar: 0.98 },
    };
  },
  hashes: {
    50: '5f0dafffd41b346abd7189efdf3b729e5d4af021ce0869193e878f59e013fc67',
    600: 'b9168937f82fce9802e45fe43b2a53e20e9648cab95b6333fcaf5ca8337308ea',
  },
};
