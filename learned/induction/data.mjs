// Sequences with a repeat: tokens in random order, a segment of which comes once more later on. What comes next can be told only in the
// repeat, and only by looking back: find the earlier occurrence of this token, and say what came after it. Runs in pages too.

export const VOCABULARY = 32;
export const LENGTH = 32;
/** Of the segment, in tokens. */
const SHORTEST = 8;
const LONGEST = 16;

/** @typedef {import('wasm-attention/training').Random} Random */

/**
 * @typedef {object} Repeat
 * @property {number[]} ids
 * @property {number} first  where the segment begins
 * @property {number} second  where it begins once more
 * @property {number} length  of the segment
 */

/**
 * No token is there twice but by the repeat, so that there is one earlier occurrence.
 *
 * @param {Random} random @returns {Repeat}
 */
export function sequenceWithRepeat(random) {
  const ids = random.shuffle(Array.from({ length: VOCABULARY }, (_, token) => token)).slice(0, LENGTH);
  const length = SHORTEST + random.integer(LONGEST - SHORTEST + 1);
  const first = random.integer(LENGTH - 2 * length + 1);
  const second = first + length + random.integer(LENGTH - first - 2 * length + 1);
  ids.splice(second, length, ...ids.slice(first, first + length));
  return { ids, first, second, length };
}

/** Several of them. @param {Random} random @param {number} count @returns {Repeat[]} */
export function sequencesWithRepeats(random, count) {
  return Array.from({ length: count }, () => sequenceWithRepeat(random));
}

/** Where the next token can be told, and where the earlier occurrence is. @param {Repeat} repeat */
export function* toldPlaces({ first, second, length }) {
  for (let i = 0; i < length - 1; i++) yield { place: second + i, earlier: first + i };
}

/** A batch for `train`: only what can be told counts. @param {Repeat[]} sequences */
export function batchOf(sequences) {
  return {
    inputs: { inputIds: sequences.map(({ ids }) => ids) },
    labels: sequences.map((sequence) => {
      const labels = new Array(LENGTH).fill(-100);
      for (const { place } of toldPlaces(sequence)) labels[place] = sequence.ids[place + 1];
      return labels;
    }),
  };
}
