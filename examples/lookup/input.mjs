// Reads the text: a file or standard input, as lines, without the marks of Markdown.

import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';

import { clean } from './text.mjs';
import { UsageError } from './usage-error.mjs';

const README = fileURLToPath(new URL('../../README.md', import.meta.url));
const README_QUERY = 'will my graphics card be used?';
const MAXIMUM_BYTES = 64 * 2 ** 20;
const MAXIMUM_LINES = 20_000; // some minutes of work, and 2 KiB of a vector each
const MAXIMUM_LINE = 1000; // characters: beyond, a line is data rather than text

/**
 * @typedef {object} Line
 * @property {number} number  from 1, blank lines counted
 * @property {string} text    its words: without marks and control characters, fit to be printed
 */

/**
 * @typedef {object} Text
 * @property {string} name
 * @property {Line[]} lines  those that have a word
 * @property {boolean} whole  false if the text has more lines than are used
 * @property {string} defaultQuery
 */

/**
 * @param {string | undefined} file  '-' is standard input, undefined the README
 * @returns {Promise<Text>}
 */
export async function readText(file) {
  const name = file === undefined ? 'README.md' : file === '-' ? 'standard input' : file;
  const bytes = await readBytes(file, name);
  if (bytes.includes(0)) throw new UsageError(`${name} is not a text file (it has zero bytes)`);
  const { lines, whole } = splitLines(new TextDecoder().decode(bytes));
  if (lines.length === 0) throw new UsageError(`${name} has no text`);
  const defaultQuery = file === undefined ? README_QUERY : lines[0].text;
  return { name: clean(basename(name)), lines, whole, defaultQuery };
}

/** @param {string | undefined} file @param {string} name */
async function readBytes(file, name) {
  const stream = file === '-' ? process.stdin : createReadStream(file ?? README);
  const chunks = [];
  let length = 0;
  try {
    for await (const chunk of stream) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > MAXIMUM_BYTES)
        throw new UsageError(`${name} is larger than ${MAXIMUM_BYTES / 2 ** 20} MiB`);
    }
  } catch (error) {
    throw error instanceof UsageError ? error : new UsageError(reason(error, file, name));
  }
  return Buffer.concat(chunks);
}

/** @param {NodeJS.ErrnoException} error @param {string | undefined} file @param {string} name */
function reason(error, file, name) {
  if (error.code === 'ENOENT' && file === undefined) {
    return 'this checkout has no README.md to read: name a text file, or - for standard input';
  }
  if (error.code === 'ENOENT') return `there is no file ${name}`;
  if (error.code === 'EISDIR') return `${name} is a directory, not a text file`;
  if (error.code === 'EACCES') return `${name} may not be read (permission denied)`;
  return `${name} cannot be read (${error.message})`;
}

/** @param {string} text */
function splitLines(text) {
  const lines = [];
  for (const [i, line] of text.split(/\r\n|\n|\r/).entries()) {
    const words = withoutMarkdown(clean(line.slice(0, MAXIMUM_LINE)));
    if (!/[\p{L}\p{N}]/u.test(words)) continue;
    if (lines.length === MAXIMUM_LINES) return { lines, whole: false };
    lines.push({ number: i + 1, text: words });
  }
  return { lines, whole: true };
}

/** What a line of Markdown says; of other text nearly always the line itself. @param {string} line */
function withoutMarkdown(line) {
  const cells = /^\|(.+)\|$/.exec(line)?.[1].split('|') ?? [line];
  const text = cells
    .map((cell) => cell.trim())
    .filter((cell) => cell !== '')
    .join(', ');
  return text
    .replace(/<!--.*?-->|<\/?[a-z][^>]*>/gi, '')
    .replace(/!?\[([^\]]*)\]\([^)\s]*\)/g, '$1')
    .replace(/^(?:#{1,6}|>|[-*+]) |^```.*/, '')
    .replace(/(\*\*|__|`)(.+?)\1/g, '$2')
    .trim();
}
