// Where the lines come from: the README, a file, or standard input.

import { readFileSync, statSync } from 'node:fs';
import { UsageError } from './arguments.mjs';

/** Bytes beyond which a text is no text to look at in a terminal. */
const LARGEST = 16e6;

/** Lines with something on them, and their numbers from 1. */
export function readLines(path, name = path) {
  const bytes = readBytes(path, name);
  if (bytes.includes(0)) throw new UsageError(`${name}: expected text, got a binary file`);
  const lines = new TextDecoder()
    .decode(bytes)
    .split(/\r\n|\r|\n/)
    .map((text, i) => ({ text: text.trimEnd(), number: i + 1 }))
    .filter(({ text }) => /[\p{L}\p{N}]/u.test(text));
  if (lines.length === 0) throw new UsageError(`${name}: expected at least one line of text, got none`);
  return lines;
}

function readBytes(path, name) {
  try {
    if (path === '-') return readFileSync(0);
    if (statSync(path).size > LARGEST) throw new UsageError(`${name}: expected at most ${LARGEST / 1e6} MB`);
    return readFileSync(path);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const reasons = { ENOENT: 'no such file', EISDIR: 'is a directory', EACCES: 'may not be read' };
    throw new UsageError(`${name}: ${reasons[error.code] ?? error.message}`);
  }
}
