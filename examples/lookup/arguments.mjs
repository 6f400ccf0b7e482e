// The command line: what can be said, and one clear line for what cannot.

import { parseArgs } from 'node:util';

export const HELP = `Attention as a soft dictionary lookup over the lines of a text.

  npm start -- [FILE] [options]

  FILE           a text file, or - for standard input; default: this project's README.md
  --query TEXT   what to look for; default: a question about the README, or the first line
  --top N        lines shown, 1 to 40; default 8
  --no-color     no colours (also NO_COLOR=1); default: colours on a terminal
  --help         this text

Lines are embedded by hashed character n-grams. Nothing is trained: what matches are
pieces of words, not meanings.`;

/** A mistake of the caller's: one line, exit code 2. */
export class UsageError extends Error {}

/** @param {string[]} args */
export function readArguments(args) {
  const { values, positionals } = parse(args);
  if (positionals.length > 1)
    throw new UsageError(`expected one file, got ${positionals.length}: ${positionals.join(', ')}`);
  const top = Number(values.top ?? 8);
  if (!Number.isInteger(top) || top < 1 || top > 40)
    throw new UsageError(`--top: expected an integer from 1 to 40, got ${values.top}`);
  if (values.query !== undefined && values.query.trim() === '')
    throw new UsageError('--query: expected some text, got none');
  return {
    file: positionals[0],
    query: values.query,
    top,
    color: values['no-color'] ? false : undefined,
    help: values.help ?? false,
  };
}

function parse(args) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        query: { type: 'string' },
        top: { type: 'string' },
        'no-color': { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new UsageError(String(error.message).split(/[.\n]/)[0]);
  }
}
