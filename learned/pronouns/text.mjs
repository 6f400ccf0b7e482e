// From a sentence as somebody writes it to words that the model knows, and to those of them that refer. Runs in pages too.

import { ACTIONS, ADJUNCTS, DEEDS, GENDERS, PRONOUNS, VOCABULARY } from './lexicon.mjs';

/** The longest sentence in tokens: the model has no more positions. */
export const MAXIMUM_WORDS = 32;

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
 * @returns {{ words: string[], references: { from: number }[] }}
 * @throws {SentenceError} of words that the model does not know, of too many, and where nothing refers
 */
export function parseSentence(text) {
  const words = wordsOf(text);
  const references = words.flatMap((_, from) => (refers(words, from) ? [{ from }] : []));
  if (references.length === 0) {
    throw new SentenceError(
      'no word of the sentence refers to another: it needs a pronoun (he, her, himself, it, ...), or somebody who is to do something (to leave)',
    );
  }
  return { words, references };
}

/** @param {string} text */
function wordsOf(text) {
  const written = text.replaceAll('\u2019', "'").match(/[^\s.,!?;:"]+|,/g) ?? [];
  const unknown = written.filter((word) => !WRITTEN.has(word.toLowerCase()));
  if (unknown.length > 0) {
    const named = [...new Set(unknown)].map((word) => JSON.stringify(word)).join(', ');
    throw new SentenceError(
      `the model does not know ${named}: it has learnt ${WRITTEN.size} words, which are in learned/pronouns/lexicon.mjs`,
    );
  }
  const words = [...written.map((word) => WRITTEN.get(word.toLowerCase())), '.'];
  if (words.length > MAXIMUM_WORDS) {
    throw new SentenceError(
      `the sentence has ${words.length} words and marks; the model reads ${MAXIMUM_WORDS} at most`,
    );
  }
  return words;
}

/** @param {readonly string[]} words @param {number} place */
function refers(words, place) {
  const word = words[place];
  if (REFERRING.has(word)) return true;
  if (INFINITIVES.has(word)) return words[place - 1] === 'to';
  return GERUNDS.has(word) && BEFORE_GERUNDS.has(words[place - 1]);
}
