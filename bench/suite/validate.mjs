// Reads result files: what is not one, or is damaged, is a clear error and never a strange picture.

import { Validator } from '@cfworker/json-schema';

/** A file that is no result file of this project. */
export class ResultFileError extends Error {}

/**
 * @param {object} schema result.schema.json, which each runner reads the way its engine does
 * @returns {(text: string, name: string) => import('./result.mjs').ResultFile} throws ResultFileError, with the name
 */
export function resultFileReader(schema) {
  const validator = new Validator(/** @type {any} */ (schema), '2020-12', true);
  return (text, name) => {
    const value = parse(text, name);
    if (value?.format !== 'wasm-attention-bench')
      throw new ResultFileError(`${name} is no result file of wasm-attention's benchmarks`);
    const { valid, errors } = validator.validate(value);
    if (valid) return value;
    // The innermost error says most; those around it only repeat that something inside is wrong.
    const { instanceLocation, error } = errors[errors.length - 1];
    const place = instanceLocation.replace(/^#\/?/, '') || 'the file';
    throw new ResultFileError(`${name} is damaged: ${place}: ${error}`);
  };
}

/** @param {string} text @param {string} name */
function parse(text, name) {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ResultFileError(`${name} is no JSON: ${/** @type {Error} */ (cause).message}`, { cause });
  }
}
