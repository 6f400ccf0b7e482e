// The command line.

import { parseArgs } from 'node:util';

import { UsageError } from '../examples/lookup/usage-error.mjs';
import { tasks } from './tasks.mjs';

const NAMES = Object.keys(tasks);

export const HELP = `Usage: npm run train -- TASK... [options]

Trains the small models of this repository, from a seed and from data that is
made as it goes, and shows the loss while it falls.

  TASK               ${NAMES.join(', ')}, or all

  --check            compare the hash of the trained weights with the one on
                     record: exit status 1 if they differ, or if a measure is
                     below its bar
  --save             write the weights and the config to learned/TASK/
  --steps N          end after N steps (the learning rate goes as if it went on)
  --seed N           another seed for the initial weights and the data
  --threads N        1 to 256, or auto (default 1); the weights are the same
  --checkpoint FILE  where to leave a checkpoint at the end, and on Ctrl-C
  --resume FILE      go on from a checkpoint
  --prompt TEXT      what the text that 'text' writes at the end begins with
  --no-color         no colours, as NO_COLOR=1 and pipes have it
  -h, --help         this text`;

/**
 * @typedef {object} Options
 * @property {boolean} help
 * @property {string[]} names  of tasks
 * @property {boolean} check
 * @property {boolean} save
 * @property {number | undefined} steps
 * @property {number | undefined} seed
 * @property {number | 'auto'} threads
 * @property {string | undefined} checkpoint
 * @property {string | undefined} resume
 * @property {string | undefined} prompt
 * @property {boolean} color  false: none, whatever the terminal can do
 */

/** @param {string[]} args @returns {Options} */
export function parseArguments(args) {
  const { values, positionals } = parse(args);
  const help = values.help ?? false;
  const names = positionals.includes('all') ? NAMES : [...new Set(positionals)];
  for (const name of names)
    if (!NAMES.includes(name)) throw new UsageError(`there is no task '${name}': ${NAMES.join(', ')} or all`);
  if (names.length === 0 && !help) throw new UsageError(`which task? ${NAMES.join(', ')} or all`);
  for (const option of ['checkpoint', 'resume', 'steps', 'seed'])
    if (values[option] !== undefined && names.length > 1) throw new UsageError(`--${option} is for one task`);
  if (values.seed !== undefined && (values.check || values.save))
    throw new UsageError('what is on record is of the seed of the task: no --seed with --check or --save');
  if (values.steps !== undefined && values.save)
    throw new UsageError('what is kept has learnt to the end: no --steps with --save');
  if (values.prompt === '') throw new UsageError('--prompt takes some text');
  if (values.prompt !== undefined && !names.includes('text'))
    throw new UsageError('--prompt is for text: the other models do not write');
  return {
    help,
    names,
    check: values.check ?? false,
    save: values.save ?? false,
    steps: integer('--steps', values.steps, 1, 1e9),
    seed: integer('--seed', values.seed, 0, 2 ** 32 - 1),
    threads: values.threads === 'auto' ? 'auto' : integer('--threads', values.threads ?? '1', 1, 256),
    checkpoint: values.checkpoint,
    resume: values.resume,
    prompt: values.prompt,
    color: !values['no-color'],
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
        ...{
          check: flag,
          save: flag,
          steps: text,
          seed: text,
          threads: text,
          checkpoint: text,
          resume: text,
          prompt: text,
        },
        ...{ 'no-color': flag, help: { ...flag, short: 'h' } },
      },
    });
  } catch (error) {
    if (!error.code?.startsWith('ERR_PARSE_ARGS')) throw error;
    // Node's advice beyond the first sentence is about its own conventions.
    throw new UsageError(`${error.message.split(/\.\s|\.?\n/)[0]} (--help lists the options)`);
  }
}

/** @param {string} option @param {string | undefined} given @param {number} least @param {number} most */
function integer(option, given, least, most) {
  if (given === undefined) return undefined;
  const value = /^\d+$/.test(given) ? Number(given) : NaN;
  if (value >= least && value <= most) return value;
  throw new UsageError(`${option} takes a whole number from ${least} to ${most}, not '${given}'`);
}
