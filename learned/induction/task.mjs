// Two layers of attention learn to copy: what is measured of them, and what they have to reach. Runs in pages too.

import { headMeasures } from 'wasm-attention/measures';
import { attentionOnly } from 'wasm-attention/model';
import { AdamW, cosine, evaluate, linearWarmup, Random } from 'wasm-attention/training';

import {
  batchOf,
  LENGTH,
  sequencesWithRepeats,
  sequenceWithRepeat,
  toldPlaces,
  VOCABULARY,
} from './data.mjs';
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
  const { previous, induction } = headScores(model, unseen(16));
  return { sequence: SHOWN, guesses, weights, scores: [previous[0], induction[1]] };
}

/** The largest of a row. @param {Float32Array} values @param {number} row @param {number} columns */
function placeOfLargest(values, row, columns) {
  const own = values.subarray(row * columns, (row + 1) * columns);
  return own.indexOf(Math.max(...own));
}

/**
 * How far each head is what it may become, by layer and head: one that looks at the token before; and, of the places where the next token can
 * be told, one that looks at what came after the earlier occurrence.
 *
 * @param {Model} model @param {Repeat[]} sequences
 */
function headScores(model, sequences) {
  const inputIds = sequences.map(({ ids }) => ids);
  const output = model.forward({ inputIds }, { returnRecord: true, logits: 'none' });
  const heads = headMeasures(output.records, { inputIds, perQuery: true, maxDistance: 0 });
  output.dispose();
  const told = sequences.flatMap((sequence, row) =>
    Array.from(toldPlaces(sequence), ({ place }) => row * LENGTH + place),
  );
  const inductionOf = ({ perQuery }) =>
    told.reduce((sum, query) => sum + perQuery.induction[query], 0) / told.length;
  const byLayer = (scoreOf) =>
    output.records.map((_, index) => heads.filter(({ layer }) => layer === index).map(scoreOf));
  return {
    previous: byLayer(({ previousToken }) => previousToken),
    induction: byLayer(inductionOf),
  };
}

/** That of the best head. @param {Model} model @param {number} count  of sequences */
const inductionScore = (model, count) => Math.max(...headScores(model, unseen(count)).induction.flat());

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
