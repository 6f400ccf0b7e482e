// Sentences, drawn from the frames: for learning, and for trying what was learnt. What is never learned from follows from the words alone,
// so that it is the same in every run: some sentences, and all sentences in which certain pairs of words meet.

import { FRAMES } from './frames.mjs';
import { VOCABULARY } from './lexicon.mjs';

/** One in so many pairs of words that are held out. */
const HELD_OUT_ONE_IN = 8;
/** And these, wherever they stand in a sentence: they are those of the sentences that the texts have. */
const HELD_OUT_BY_NAME = [
  ['Mark', 'Sam'],
  ['animal', 'street'],
];
const UNSEEN_ONE_IN = 10;

/**
 * @typedef {object} Sentence
 * @property {string} frame
 * @property {readonly string[]} words
 * @property {readonly { from: number, to: number }[]} references  indices of the word that refers and of the one it means
 * @property {boolean} heldOut  whether words meet in it that never meet in what is learned from
 * @property {boolean} unseen   whether it is kept from learning though its pairs are not
 */

/**
 * The sentences of one draw: two that differ in what decides, of some frames one.
 *
 * @param {import('./frames.mjs').Random} random
 * @returns {readonly Sentence[]}
 */
export function drawTwins(random) {
  const { name, frame } = pick(random);
  return frame(random).map((draft) => sentenceOf(name, draft));
}

/** @param {import('./frames.mjs').Random} random @returns {Sentence} */
export function drawSentence(random) {
  return random.choose(drawTwins(random));
}

/**
 * The next sentence of a kind: to learn from, to try sentences never seen, or pairs never met.
 *
 * @param {import('./frames.mjs').Random} random
 * @param {'learned' | 'unseen' | 'heldOut'} kind
 */
export function drawOf(random, kind) {
  for (;;) {
    const sentence = drawSentence(random);
    if (kindOf(sentence) === kind) return sentence;
  }
}

/** @param {Sentence} sentence @returns {'learned' | 'unseen' | 'heldOut'} */
export function kindOf({ heldOut, unseen }) {
  return heldOut ? 'heldOut' : unseen ? 'unseen' : 'learned';
}

/** @param {string} pair  two words that meet as a frame says, a space between */
export function isHeldOut(pair) {
  return hash(pair) % HELD_OUT_ONE_IN === 0;
}

const IDS = new Map(VOCABULARY.map((word, id) => [word, id]));

/** @param {readonly string[]} words  of the vocabulary */
export function idsOf(words) {
  return words.map((word) => {
    const id = IDS.get(word);
    if (id === undefined) throw new Error(`the vocabulary has no ${word}`);
    return id;
  });
}

const TOTAL = FRAMES.reduce((sum, { weight }) => sum + weight, 0);

function pick(random) {
  let left = random.integer(TOTAL);
  return FRAMES.find(({ weight }) => (left -= weight) < 0);
}

/** @param {string} frame @param {import('./frames.mjs').Draft} draft @returns {Sentence} */
function sentenceOf(frame, { parts, references, pairs }) {
  const words = [];
  const places = new Map();
  const add = (part) => {
    if (typeof part === 'string') words.push(...part.split(' '));
    else if (Array.isArray(part)) part.forEach(add);
    else {
      add(part.before ?? []);
      places.set(part, words.length);
      words.push(part.word);
      add(part.after ?? []);
    }
  };
  add(parts);
  return {
    frame,
    words,
    references: references.map(([from, to]) => ({ from: places.get(from), to: places.get(to) })),
    heldOut:
      pairs.some(isHeldOut) || HELD_OUT_BY_NAME.some((pair) => pair.every((word) => words.includes(word))),
    unseen: hash(words.join(' ')) % UNSEEN_ONE_IN === 0,
  };
}

/** FNV-1a over UTF-16, mixed once more, since only the low bits are used. */
function hash(text) {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x45d9f3b);
  return (h ^ (h >>> 16)) >>> 0;
}
