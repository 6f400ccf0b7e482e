// What a model makes of sentences: the word that it takes each reference to mean, and where every head looks from there. Runs in pages too.

import { idsOf } from './grammar.mjs';
import { VOCABULARY } from './lexicon.mjs';

/** @typedef {{ layer: number, head: number }} Place  of a head, counted from 0 */

/** The head that resolves references in the weights that are kept: the one that `headThatResolves` finds. @type {Place} */
export const HEAD = { layer: 1, head: 2 };

/**
 * @typedef {object} Reading  of one reference
 * @property {number} from      index of the word that refers
 * @property {string} answer    the word it is taken to mean
 * @property {number[][][]} heads  by layer and head: the weight of each word of the sentence, seen from the one that refers
 */

/**
 * Reads sentences, all of them at once.
 *
 * @param {import('wasm-attention/model').Model} model
 * @param {readonly { words: readonly string[], references: readonly { from: number }[] }[]} sentences
 * @returns {Reading[][]} by sentence and reference
 */
export function read(model, sentences) {
  const inputIds = sentences.map(({ words }) => idsOf(words));
  const output = model.forward({ inputIds }, { returnWeights: true });
  const { logits, attentions } = output;
  const [, length, size] = logits.shape;
  const readings = sentences.map(({ words, references }, row) =>
    references.map(({ from }) => {
      const start = (row * length + from) * size;
      return {
        from,
        answer: VOCABULARY[placeOfLargest(logits.data.subarray(start, start + size))],
        heads: attentions.map((weights) => rowsOf(weights, row, from, words.length)),
      };
    }),
  );
  output.dispose();
  return readings;
}

/** Of each head the weights of one query. @returns {number[][]} */
function rowsOf({ data, shape: [, heads, queries, keys] }, row, query, words) {
  return Array.from({ length: heads }, (_, head) => {
    const start = ((row * heads + head) * queries + query) * keys;
    return [...data.subarray(start, start + words)];
  });
}

/** Of equal ones the first. @param {ArrayLike<number>} values */
export function placeOfLargest(values) {
  let best = 0;
  for (let place = 1; place < values.length; place++) if (values[place] > values[best]) best = place;
  return best;
}
