// Whom "he" and "it" mean: a model that this package has trained reads sentences, and where its heads look is shown.

import { existsSync, openAsBlob } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { createRuntime } from 'wasm-attention';
import { bert, loadModel, model as modelPack } from 'wasm-attention/model';

import { HEAD, placeOfLargest, read } from '../../learned/pronouns/reading.mjs';
import { parseSentence, SentenceError } from '../../learned/pronouns/text.mjs';
import { percent, pictureOfReference } from './references.mjs';
import { COLUMNS } from './style.mjs';
import { clean, wrap } from './text.mjs';
import { UsageError } from './usage-error.mjs';

const FOLDER = new URL('../../learned/pronouns/', import.meta.url);
/** Narrower terminals break lines themselves. */
const LEAST_COLUMNS = 40;
/** Longer lines are hard to read. */
const MOST_COLUMNS = 100;

/** What is shown where no sentence is given: with all heads, or with the one that resolves references. */
const SHOWN = [
  {
    title: 'Who was leaving?',
    text: 'Mark told Sam that he was leaving.',
    all: true,
    why: 'who tells speaks of himself',
  },
  { text: 'Mark asked Sam whether he was leaving.', why: 'who asks asks about the other' },
  {
    title: 'What was too tired, and what too wide?',
    text: "The animal didn't cross the street because it was too tired.",
    all: true,
    why: 'animals tire, streets do not',
  },
  {
    text: "The animal didn't cross the street because it was too wide.",
    why: 'one word is another, and the head looks elsewhere',
  },
  {
    title: 'Who is to leave? No pronoun says it, but the verb does.',
    text: 'Mark promised Sam to leave.',
    why: 'who promises does it himself',
  },
  { text: 'Mark persuaded Sam to leave.', why: 'who is persuaded does it' },
  { text: 'Mark told Sam to leave.', why: 'who is told to do something does it' },
];

const INVITATION = 'Your own: npm start -- --learned "Sam promised Mary to leave"';
const REMINDER =
  'Of sentences that are not made as those of the grammar it can only guess: learned/pronouns/README.md';

/**
 * @param {string | undefined} sentence  undefined: some that show what was learnt
 * @param {import('./style.mjs').Style} style
 * @param {number} [columns]  of the terminal
 * @returns {Promise<string[]>}
 * @throws {UsageError} of a sentence that the model cannot read
 */
export async function learned(sentence, style, columns = COLUMNS) {
  const wide = Math.min(MOST_COLUMNS, Math.max(LEAST_COLUMNS, columns));
  const shown = sentence === undefined ? SHOWN : [{ text: sentence, all: true }];
  const sentences = shown.map((each) => ({ ...each, ...parsed(each.text) }));
  const runtime = await createRuntime({ packs: [modelPack] });
  try {
    const model = await loadModel({ folder: fileOf, runtime, families: [bert] });
    const readings = read(model, sentences);
    const pictures = sentences.flatMap((each, i) => pictureOfSentence(each, readings[i], style, wide));
    const end = sentence === undefined ? INVITATION : REMINDER;
    return [...introduction(model, style, wide), ...pictures, ...paragraph(end, wide)];
  } finally {
    runtime.dispose();
  }
}

/** @param {string} name */
async function fileOf(name) {
  const path = fileURLToPath(new URL(name, FOLDER));
  return existsSync(path) ? openAsBlob(path) : undefined;
}

/** @param {string} text */
function parsed(text) {
  try {
    return parseSentence(clean(text));
  } catch (error) {
    throw error instanceof SentenceError ? new UsageError(error.message) : error;
  }
}

function introduction(model, style, columns) {
  return [
    ...heading('Whom does a word mean? What two layers of attention have learnt', style, columns),
    ...paragraph(
      `${model.parameterCount.toLocaleString('en')} weights, trained by this package (npm run train -- pronouns) on sentences of a grammar. In none of them did Mark meet Sam, or the animal the street. Under each word: its share of what a head looks at, from the word that refers. The heads of the second layer find what is meant, ${nameOf(HEAD)} most surely.`,
      columns,
    ),
    '',
  ];
}

/** Each word that refers, with what it is taken to mean. */
function pictureOfSentence({ title, written, words, references, all, why }, readings, style, columns) {
  const pictures = references.flatMap(({ from, kind }, i) => {
    const { answer, heads } = readings[i];
    const main = heads[HEAD.layer][HEAD.head];
    const to = placeOfLargest(main);
    const others = heads.flatMap((layer, l) =>
      layer.map((weights, h) => ({ name: `     ${l + 1}.${h + 1}`, weights })),
    );
    const shown = [
      { name: nameOf(HEAD), weights: main },
      ...(all ? others.filter(({ weights }) => weights !== main) : []),
    ];
    const told = finding({ words, written, from, kind, to, answer, share: main[to], why });
    return [
      ...pictureOfReference({ words: written, from, to, heads: shown }, style, columns),
      ...paragraph(told, columns),
      '',
    ];
  });
  return title ? [...heading(title, style, columns), ...pictures] : pictures;
}

/** In a plain sentence or two. */
function finding({ words, written, from, kind, to, answer, share, why }) {
  const meant = words.includes(answer) ? withArticle(answer) : `"${answer}", which is not in the sentence`;
  const found = {
    pronoun: `"${written[from]}" means ${meant}`,
    infinitive: `The one to ${words[from]} is ${meant}`,
    gerund: `The one ${words[from]} is ${meant}`,
  }[kind];
  const looks = `${sentenceCase(nameOf(HEAD))} gives ${withArticle(words[to])} ${percent(share)} of its weight.`;
  return `${found}${why ? `: ${why}` : ''}. ${looks}`;
}

/** Names have none. @param {string} word */
function withArticle(word) {
  return /^[a-z]/.test(word) ? `the ${word}` : word;
}

/** @param {string} text */
function sentenceCase(text) {
  return text[0].toUpperCase() + text.slice(1);
}

/** Counted from 1, as people do. @param {{ layer: number, head: number }} place */
function nameOf({ layer, head }) {
  return `head ${layer + 1}.${head + 1}`;
}

/** @param {string} text @param {import('./style.mjs').Style} style @param {number} columns */
function heading(text, style, columns) {
  return paragraph(text, columns).map((line) => style.bold(line));
}

/** @param {string} text @param {number} columns */
function paragraph(text, columns) {
  return wrap(text, columns, Infinity, '');
}
