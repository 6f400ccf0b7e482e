// The command line.

import { parseArgs } from 'node:util';

/** Wrong use: one line, exit code 2. */
export class UsageError extends Error {}

export const HELP = `Usage: node main.mjs FOLDER ["PROMPT"] [options]

Goes on with a text, by the language model in a folder: config.json, safetensors
and tokenizer.json, as Hugging Face publishes them. Models that have a template
for conversations answer as its assistant. Without a prompt, every line of
standard input is one: a conversation.

  --tokens N         tokens of an answer at most (default 256)
  --temperature T    0 takes the most probable token (default 0.7)
  --top-p P          draws from the most probable tokens that have P together
                     (default 0.9)
  --seed N           the same answers to the same prompts
  --raw              a plain completion, without the model's template
  --threads N        default: one for each processor, 8 at most
  -h, --help         this text`;

export const NO_FOLDER = `chat: name the folder of a model. A small one that answers is SmolLM2-135M-Instruct,
271 MB of files, 540 MB in memory (README.md says how to download it):
https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct`;

/**
 * @typedef {object} Options
 * @property {boolean} help
 * @property {string | undefined} folder
 * @property {string | undefined} prompt  undefined: standard input, line by line
 * @property {number} tokens
 * @property {number} temperature
 * @property {number} topP
 * @property {number} seed
 * @property {boolean} raw
 * @property {number | 'auto'} threads
 */

/** @param {string[]} args @returns {Options} */
export function parseArguments(args) {
  const { values, positionals } = parse(args);
  const [folder, prompt, more] = positionals;
  if (more !== undefined)
    throw new UsageError(
      `a folder and a prompt are all, ${JSON.stringify(more)} is too much (quote the prompt)`,
    );
  if (prompt?.trim() === '') throw new UsageError('the prompt is empty');
  const number = (name, fallback, least, most, isWhole) =>
    readNumber(`--${name}`, values[name], fallback, least, most, isWhole);
  return {
    help: values.help ?? false,
    folder,
    prompt,
    tokens: number('tokens', 256, 1, 1e6, true),
    temperature: number('temperature', 0.7, 0, 100, false),
    topP: number('top-p', 0.9, 0.01, 1, false),
    seed: number('seed', Math.floor(Math.random() * 1e6), 0, Number.MAX_SAFE_INTEGER, true),
    raw: values.raw ?? false,
    threads: number('threads', 'auto', 1, 64, true),
  };
}

/** @param {string[]} args */
function parse(args) {
  const text = { type: 'string' };
  const flag = { type: 'boolean' };
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        tokens: text,
        temperature: text,
        'top-p': text,
        seed: text,
        threads: text,
        raw: flag,
        help: { ...flag, short: 'h' },
      },
    });
  } catch (error) {
    if (!error.code?.startsWith('ERR_PARSE_ARGS')) throw error;
    // Node's advice beyond the first sentence is about its own conventions.
    throw new UsageError(`${error.message.split(/\.\s|\.?\n/)[0]} (--help lists the options)`);
  }
}

function readNumber(option, given, fallback, least, most, isWhole) {
  if (given === undefined) return fallback;
  const value = given.trim() === '' ? NaN : Number(given);
  if (value >= least && value <= most && (!isWhole || Number.isInteger(value))) return value;
  throw new UsageError(
    `${option} takes a ${isWhole ? 'whole number' : 'number'} from ${least} to ${most}, not '${given}'`,
  );
}
