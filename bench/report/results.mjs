// Reading result files from disk.

import { readFileSync } from 'node:fs';
import { ResultFileError, resultFileReader } from '../suite/validate.mjs';

const schema = JSON.parse(readFileSync(new URL('../suite/result.schema.json', import.meta.url), 'utf8'));
const reader = resultFileReader(schema);

/**
 * @param {string} path
 * @returns {import('../suite/result.mjs').ResultFile}
 * @throws {ResultFileError} for what is missing, damaged or another kind of file
 */
export function readResults(path) {
  let text;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new ResultFileError(`${path} cannot be read: ${/** @type {Error} */ (cause).message}`, { cause });
  }
  return reader(text, path);
}
