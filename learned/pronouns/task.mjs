// An encoder learns whom a word means: model, settings and measures. Runs in pages too.

import { bert } from 'wasm-attention/model';
import { AdamW, cosine, linearWarmup, Random } from 'wasm-attention/training';

import { drawOf, drawTwins, idsOf } from './grammar.mjs';
import { VOCABULARY } from './lexicon.mjs';
import { placeOfLargest, read } from './reading.mjs';
import { MAXIMUM_WORDS, parseSentence } from './text.mjs';

/** @typedef {import('wasm-attention/model').Model} Model @typedef {import('./grammar.mjs').Sentence} Sentence */

const STEPS = 1000;
const WARMUP = 100;
const BATCH = 64;

/** The seed of sentences to try what was learnt on: no training has it. */
const TRYING = 2 ** 40;

const config = {
  ...{ model_type: 'bert', architectures: ['BertForMaskedLM'], vocab_size: VOCABULARY.length },
  ...{ hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4, intermediate_size: 128 },
  ...{ max_position_embeddings: MAXIMUM_WORDS, type_vocab_size: 0, pad_token_id: 0, hidden_act: 'gelu' },
  ...{ layer_norm_eps: 1e-12, initializer_range: 0.05, tie_word_embeddings: true },
};

/** The sentences that the texts behind this package have, and what the head has to look at. */
export const SENTENCES_OF_THE_TEXTS = [
  { text: 'Mark told Sam that he was leaving.', meant: 'Mark' },
  { text: "the animal didn't cross the street because it was too tired.", meant: 'animal' },
  { text: "the animal didn't cross the street because it was too wide.", meant: 'street' },
];

/**
 * A batch for `train`: at a word that refers the label is the word that it means; nothing else counts.
 *
 * @param {readonly Sentence[]} sentences
 */
export function batchOf(sentences) {
  const length = Math.max(...sentences.map(({ words }) => words.length));
  return {
    inputs: { inputIds: sentences.map(({ words }) => idsOf(words)) },
    labels: sentences.map(({ words, references }) => {
      const labels = new Array(length).fill(-100);
      const ids = idsOf(words);
      for (const { from, to } of references) labels[from] = ids[to];
      return labels;
    }),
  };
}

/** Sentences that no training sees. @param {'unseen' | 'heldOut'} kind @param {number} count @param {number} [seed] */
export function sentencesToTry(kind, count, seed = TRYING) {
  const random = new Random(seed);
  return Array.from({ length: count }, () => drawOf(random, kind));
}

/** Pairs of sentences that differ in what decides, and whose answers differ. @param {number} count @param {number} [seed] */
export function twinsToTry(count, seed = TRYING) {
  const random = new Random(seed, 1);
  const twins = [];
  while (twins.length < count) {
    const drawn = drawTwins(random);
    if (drawn.length === 2) twins.push(drawn);
  }
  return twins;
}

/** The share of references whose answer is the right word. @param {Model} model @param {readonly Sentence[]} sentences */
export function accuracyOf(model, sentences) {
  const right = read(model, sentences).flatMap((readings, i) => {
    const { words, references } = sentences[i];
    return readings.map(({ answer }, j) => (answer === words[references[j].to] ? 1 : 0));
  });
  return mean(right);
}

/**
 * The mean weight that each head gives to the word that is meant, seen from the word that refers.
 *
 * @param {Model} model @param {readonly Sentence[]} sentences
 * @returns {number[][]} by layer and head
 */
export function weightsOnTheMeant(model, sentences) {
  const readings = read(model, sentences);
  return readings[0][0].heads.map((heads, layer) =>
    heads.map((_, head) =>
      mean(
        readings.flatMap((each, i) =>
          each.map((reading, j) => reading.heads[layer][head][sentences[i].references[j].to]),
        ),
      ),
    ),
  );
}

/** The head with the largest of these weights. @param {number[][]} weights @returns {import('./reading.mjs').Place} */
export function headThatResolves(weights) {
  const place = placeOfLargest(weights.flat());
  return { layer: Math.floor(place / weights[0].length), head: place % weights[0].length };
}

/**
 * In which share of the pairs a head looks most at the one word in the first sentence, and at the other in the second.
 *
 * @param {Model} model @param {import('./reading.mjs').Place} place @param {readonly (readonly Sentence[])[]} twins
 */
export function turnsOf(model, { layer, head }, twins) {
  const sentences = twins.flat();
  const right = read(model, sentences).map((readings, i) =>
    readings.every(({ heads }, j) => placeOfLargest(heads[layer][head]) === sentences[i].references[j].to),
  );
  return mean(twins.map((_, i) => (right[2 * i] && right[2 * i + 1] ? 1 : 0)));
}

/**
 * A head's weight on the word that is meant, in a sentence as the texts have it.
 *
 * @param {Model} model @param {import('./reading.mjs').Place} place @param {{ text: string, meant: string }} sentence
 */
export function weightInText(model, { layer, head }, { text, meant }) {
  const sentence = parseSentence(text);
  const [[{ heads }]] = read(model, [sentence]);
  return heads[layer][head][sentence.words.indexOf(meant)];
}

const watched = sentencesToTry('unseen', 64);

/** @type {import('../tasks.mjs').Task} */
export const task = {
  name: 'pronouns',
  title: 'Pronouns: two layers of attention learn whom a word means',
  config,
  families: [bert],
  seed: 1,
  steps: STEPS,
  settings: {
    optimizer: (learner) =>
      new AdamW(learner, {
        learningRate: linearWarmup(cosine(2e-3, { steps: STEPS }), { steps: WARMUP }),
        weightDecay: 0.01,
        groups: [{ match: /bias|LayerNorm/, weightDecay: 0 }],
      }),
  },
  data: (_step, random) => batchOf(Array.from({ length: BATCH }, () => drawOf(random, 'learned'))),
  watch: {
    label: 'weight on the word meant',
    bar: 0.5,
    every: 10,
    value: (model) => Math.max(...weightsOnTheMeant(model, watched).flat()),
  },
  measure(model) {
    const [unseen, heldOut] = [sentencesToTry('unseen', 1000), sentencesToTry('heldOut', 1000)];
    const weights = weightsOnTheMeant(model, heldOut);
    const best = headThatResolves(weights);
    const [leaving, tired, wide] = SENTENCES_OF_THE_TEXTS.map((each) => weightInText(model, best, each));
    return {
      'right answers, sentences never seen': { value: accuracyOf(model, unseen), bar: 0.98 },
      'right answers, words that never met': { value: accuracyOf(model, heldOut), bar: 0.95 },
      'weight of the best head on the word meant': { value: weights[best.layer][best.head], bar: 0.5 },
      'the head turns with the word that decides': {
        value: turnsOf(model, best, twinsToTry(500)),
        bar: 0.95,
      },
      'he was leaving: weight on Mark': { value: leaving, bar: 0.5 },
      'it was too tired: weight on animal': { value: tired, bar: 0.5 },
      'it was too wide: weight on street': { value: wide, bar: 0.5 },
    };
  },
  hashes: {
    10: '3a3a4f4991984b4ac32e8f5a883eda69e07d16af95411c36482235b09bf4f8c0',
    1000: '4ac6dc11b774bc3f914e1824ed94ade5a07bb245c94409900c9218db7ec9ee81',
  },
};

/** @param {readonly number[]} values */
function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
