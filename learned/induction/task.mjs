// Two layers of attention learn to copy: what is measured of them, and what they have to reach. Runs in pages too.

import { attentionOnly } from 'wasm-attention/model';
import { AdamW, cosine, evaluate, linearWarmup, Random } from 'wasm-attention/training';

import { batchOf, sequencesWithRepeats, sequenceWithRepeat, toldPlaces, VOCABULARY } from './data.mjs';
import { config, data, optimizerOf, SEED, STEPS } from './settings.mjs';

/** @typedef {import('wasm-attention/model').Model} Model @typedef {import('./data.mjs').Repeat} Repeat */

/** The seed of sequences that no training sees. */
const UNSEEN = 2 ** 40;

/** @param {number} count */
const unseen = (count) => sequencesWithRepeats(new Random(UNSEEN), count);

/** One to look at: letters before the segment, after it and after its repeat. */
const SHOWN = sequenceWithRepeat(new Random(UNSEEN, 4));

/**
 * What the page draws while the model learns: one sequence, what the model says comes next, the weights of all heads, and how far each
 * is what it may become: in layer 1 one that looks at the token before, in layer 2 one that looks at what came next.
 *
 * @param {Model} model
 */
export function look(model) {
  const { ids } = SHOWN;
  const output = model.forward({ inputIds: [ids] }, { returnWeights: true });
  const weights = output.attentions.map(({ data, shape: [, heads, length] }) =>
    Array.from({ length: heads }, (_, head) => data.slice(head * length ** 2, (head + 1) * length ** 2)),
  );
  const guesses = ids.map((_, place) => placeOfLargest(output.logits.data, place, VOCABULARY));
  output.dispose();
  const [[previous], [, induction]] = headScores(model, unseen(16), [looksBack, toldLooks]);
  return { sequence: SHOWN, guesses, weights, scores: [previous, induction] };
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
 * The mean weights of each head on certain tokens.
 *
 * @param {Model} model @param {Repeat[]} sequences
 * @param {((sequence: Repeat) => { from: number, to: number }[])[]} kinds  which tokens
 * @returns {number[][][]} by kind, layer and head
 */
function headScores(model, sequences, kinds) {
  const inputIds = sequences.map(({ ids }) => ids);
  const output = model.forward({ inputIds }, { returnWeights: true, logits: 'none' });
  const scores = kinds.map((looksOf) => {
    const looks = sequences.flatMap((sequence, row) => looksOf(sequence).map((each) => ({ row, ...each })));
    return output.attentions.map(({ data, shape: [, heads, queries, keys] }) =>
      Array.from({ length: heads }, (_, head) => {
        const weightOf = ({ row, from, to }) => data[((row * heads + head) * queries + from) * keys + to];
        return looks.reduce((sum, each) => sum + weightOf(each), 0) / looks.length;
      }),
    );
  });
  output.dispose();
  return scores;
}

/** That of the best head. @param {Model} model @param {number} count  of sequences */
const inductionScore = (model, count) => Math.max(...headScores(model, unseen(count), [toldLooks]).flat(2));

/** @type {import('../tasks.mjs').Task} */
export const task = {
  name: 'induction',
  title: 'Induction: two layers of attention learn to copy',
  config,
  families: [attentionOnly],
  seed: SEED,
  steps: STEPS,
  settings: { optimizer: optimizerOf({ AdamW, cosine, linearWarmup }) },
  data,
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
