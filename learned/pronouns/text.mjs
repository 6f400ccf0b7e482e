// From a sentence as somebody writes it to words that the model knows, and to those of them that refer. Runs in pages too.

import { ACTIONS, ADJUNCTS, DEEDS, GENDERS, PRONOUNS, VOCABULARY } from './lexicon.mjs';

/** The longest sentence in tokens: the model has no more positions. */
export const MAXIMUM_WORDS = 32;

/** @typedef {'pronoun' | 'infinitive' | 'gerund'} Kind  of a word that refers */

/** What a sentence lacks: told in one line. */
export class SentenceError extends Error {}

const MARKS = ['[pad]'];
const WRITTEN = new Map(
  VOCABULARY.filter((word) => !MARKS.includes(word)).map((word) => [word.toLowerCase(), word]),
);
const REFERRING = new Set([...GENDERS.flatMap((gender) => PRONOUNS[gender]), 'it', 'they']);
const INFINITIVES = new Set([...ACTIONS, ...DEEDS].map(({ base }) => base));
const GERUNDS = new Set(ACTIONS.map(({ ing }) => ing));
const BEFORE_GERUNDS = new Set([...ADJUNCTS, 'for', 'from']);

/**
 * Words of a sentence, its full stop included, and which of them refer: pronouns, and what somebody is to do or is thanked for.
 *
 * @param {string} text
 * @returns {{ words: string[], written: string[], references: { from: number, kind: Kind }[] }} words as the model knows them, and as
 *   they were written
 * @throws {SentenceError} of words that the model does not know, of too many, and where nothing refers
 */
export function parseSentence(text) {
  const written = [...(text.replaceAll('\u2019', "'").match(/[^\s.,!?;:"]+|,/g) ?? []), '.'];
  const words = written.map((word) => WRITTEN.get(word.toLowerCase()));
  checkWords(words, written);
  const references = words.flatMap((_, from) => {
    const kind = kindOfReference(words, from);
    return kind ? [{ from, kind }] : [];
  });
  if (references.length === 0) {
    throw new SentenceError(
      'no word of the sentence refers to another: it needs a pronoun (he, her, himself, it) or something that somebody is to do (to leave)',
    );
  }
  return { words, written, references };
}

/** @param {readonly (string | undefined)[]} words @param {readonly string[]} written */
function checkWords(words, written) {
  const unknown = [...new Set(written.filter((_, place) => words[place] === undefined))];
  if (unknown.length > 0) {
    const named = unknown.map((word) => JSON.stringify(word)).join(', ');
    throw new SentenceError(
      `the model does not know ${named}: the ${WRITTEN.size} words and marks that it has learnt are in learned/pronouns/lexicon.mjs`,
    );
  }
  if (words.length > MAXIMUM_WORDS) {
    throw new SentenceError(
      `the sentence has ${words.length} words and marks, and the model reads ${MAXIMUM_WORDS} at most`,
    );
  }
}

/** @param {readonly string[]} words @param {number} place @returns {Kind | undefined} */
function kindOfReference(words, place) {
  const [before, word] = [words[place - 1], words[place]];
  if (REFERRING.has(word)) return 'pronoun';
  if (INFINITIVES.has(word) && before === 'to') return 'infinitive';
  if (GERUNDS.has(word) && BEFORE_GERUNDS.has(before)) return 'gerund';
  return undefined;
}
