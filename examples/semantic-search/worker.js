// The worker: downloads the encoder, and finds the lines of a text that mean what a question means. Only the latest request counts:
// what was asked before it and is not begun is never answered.
//
//   { text, question, look }  ->  { progress }, ..., { answer } or { error }

import { createRuntime } from 'wasm-attention';
import { model } from 'wasm-attention/model';
import { MAXIMUM_TOKENS, SentenceEncoder } from '../lookup/encoder.mjs';
import { rank } from '../lookup/search.mjs';
import { Tokenizer } from '../lookup/tokenizer.mjs';
import { shareOf, wordsOf } from '../lookup/words.mjs';
import { downloadModel } from './files.js';

/** Lines that are read between two looks at what has been asked meanwhile. */
const AT_ONCE = 32;
const TOP = 6;

/** @typedef {{ text: string, question: string, look: number | undefined }} Request  look: a line's number; none: the question */

/** @type {Request | undefined} */
let wanted;
let isBusy = true;

/** Vectors of lines, by what they say. @type {Map<string, Float32Array>} */
const vectors = new Map();
let tokenizer;
let encoder;
let runtime;

self.addEventListener('message', ({ data }) => {
  wanted = data;
  if (!isBusy) void work();
});

try {
  const [files, made] = await Promise.all([
    downloadModel(({ done, total }) => self.postMessage({ progress: { what: 'downloading', done, total } })),
    createRuntime({ packs: [model] }),
  ]);
  runtime = made;
  tokenizer = new Tokenizer(files.vocabulary);
  encoder = new SentenceEncoder(runtime, files.weights);
  await work();
} catch (error) {
  self.postMessage({ error: `The encoder could not be loaded: ${error.message}` });
}

async function work() {
  isBusy = true;
  while (wanted) {
    const request = wanted;
    wanted = undefined;
    const answer = await answerTo(request);
    if (answer) self.postMessage({ answer });
  }
  isBusy = false;
}

/** Undefined if something else has been asked meanwhile. @param {Request} request */
async function answerTo({ text, question, look }) {
  const start = performance.now();
  const lines = text
    .split('\n')
    .map((line, i) => ({ number: i + 1, text: line.trim() }))
    .filter((line) => /[\p{L}\p{N}]/u.test(line.text));
  if (!(await readLines(lines))) return undefined;
  const ids = tokenizer.encode(question);
  const found =
    ids.length > 0
      ? rank(
          encoder.encode([ids])[0],
          lines.map((line) => vectors.get(line.text)),
          lines,
        ).slice(0, TOP)
      : [];
  const lookedAt = lines.find(({ number }) => number === look);
  const picture = pictureOf(lookedAt ? tokenizer.encode(lookedAt.text) : ids);
  const { build } = runtime.info;
  return {
    found,
    look: lookedAt?.number,
    picture,
    lines: lines.length,
    milliseconds: performance.now() - start,
    build,
  };
}

/** False if something else has been asked meanwhile; what has been read is kept. */
async function readLines(lines) {
  const unread = [...new Set(lines.map((line) => line.text))].filter((line) => !vectors.has(line));
  for (let from = 0; from < unread.length; from += AT_ONCE) {
    const texts = unread.slice(from, from + AT_ONCE);
    const read = encoder.encode(texts.map((line) => tokenizer.encode(line)));
    texts.forEach((line, i) => vectors.set(line, read[i]));
    self.postMessage({ progress: { what: 'reading', done: from + texts.length, total: unread.length } });
    await new Promise((resolve) => setTimeout(resolve));
    if (wanted) return false;
  }
  forget(lines);
  return true;
}

/** Vectors of lines that are gone are kept for a while: they may come back. */
function forget(lines) {
  if (vectors.size <= 4 * lines.length + 1000) return;
  const present = new Set(lines.map((line) => line.text));
  for (const line of vectors.keys()) if (!present.has(line)) vectors.delete(line);
}

/** Words of a text, and what of each one's attention the others have: by layer and head, [words, words]. */
function pictureOf(ids) {
  const clipped = ids.slice(0, MAXIMUM_TOKENS);
  if (clipped.length === 0) return { words: [], heads: [] };
  const words = wordsOf(tokenizer, clipped);
  const heads = encoder
    .attention(clipped)
    .map((layer) =>
      layer.map((weights) =>
        Float32Array.from(
          words.flatMap((from) => words.map((to) => shareOf(from, to, weights, clipped.length))),
        ),
      ),
    );
  return { words: words.map((word) => word.text), heads };
}
