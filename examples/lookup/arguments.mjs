// The command line.

import { parseArgs } from 'node:util';

import { FAMILIES } from './embedding.mjs';
import { clean } from './text.mjs';
import { UsageError } from './usage-error.mjs';

const MAXIMUM_TOP = 100;

export const HELP = `Usage: npm start -- [options] [FILE]

Looks a query up in a text by attention: the query against every line, the
weight of each line, head by head, and what the lookup returns. Then attention
on three keys step by step, and how fast it is on this machine.

  FILE, --file PATH   a text file; - reads standard input (default: README.md)
  -q, --query TEXT    what to look up (default: the text's first line;
                      for README.md a question that it answers)
  --top N             lines to show, 1 to ${MAXIMUM_TOP} (default 5)
  --heads N           attention heads, 1 to ${FAMILIES.length} (default ${FAMILIES.length})
  --no-color          shades instead of colours, as NO_COLOR=1 and pipes have
                      (FORCE_COLOR=1: colours in a pipe, too)
  -h, --help          this text

Vectors are hashed n-grams of each line's first 1000 characters: nothing is
trained, so lines are found by their spelling, not by their meaning.`;

/**
 * @typedef {object} Options
 * @property {boolean} help
 * @property {string | undefined} file  undefined: the README
 * @property {string | undefined} query
 * @property {number} top
 * @property {number} heads
 * @property {boolean} color  false: none, whatever the terminal can do
 */

/**
 * @param {string[]} args
 * @returns {Options}
 */
export function parseArguments(args) {
  const { values, positionals } = parse(args);
  const files = [...(values.file ?? []), ...positionals];
  if (files.length > 1) throw new UsageError(`one file at a time, not ${files.length}: ${files.join(', ')}`);
  if (files[0] === '') throw new UsageError('the name of the file is empty');
  if (values.query !== undefined && clean(values.query) === '') throw new UsageError('--query is empty');
  return {
    help: values.help ?? false,
    file: files[0],
    query: values.query,
    top: integer('--top', values.top ?? '5', MAXIMUM_TOP),
    heads: integer('--heads', values.heads ?? String(FAMILIES.length), FAMILIES.length),
    color: !values['no-color'],
  };
}

/** @param {string[]} args */
function parse(args) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        file: { type: 'string', multiple: true },
        query: { type: 'string', short: 'q' },
        top: { type: 'string' },
        heads: { type: 'string' },
        'no-color': { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    if (!error.code?.startsWith('ERR_PARSE_ARGS')) throw error;
    // Node's advice beyond the first sentence is about its own conventions.
    throw new UsageError(`${error.message.split(/\.\s|\.?\n/)[0]} (--help lists the options)`);
  }
}

/** @param {string} option @param {string} given @param {number} maximum */
function integer(option, given, maximum) {
  const value = /^\d+$/.test(given) ? Number(given) : NaN;
  if (value >= 1 && value <= maximum) return value;
  throw new UsageError(`${option} takes a whole number from 1 to ${maximum}, not '${given}'`);
}
