// The command line of the benchmarks.

import { parseArgs } from 'node:util';
import { peerNames } from './peers/names.mjs';
import { workloads } from './suite/workloads.mjs';

const ALL_BUILDS = ['simd', 'relaxed'];

export const help = `Usage: npm run bench [-- options]      or: node bench/main.mjs [options]

Times this library and its peers on fixed workloads: interleaved rounds, medians. Each peer has a process of its own.

  --quick            a few workloads and short rounds, under a minute; all of them take some 12
  --workloads REGEX  only workloads whose id matches; --list shows the ids
  --peers A,B        compare with these only, or with none
                     ${peerNames.join(', ')}
  --builds A,B       builds of this library: ${ALL_BUILDS.join(', ')}
  --threads A,B      also run some workloads with so many threads of this library
  --json FILE        also write every result to FILE
  --list             print the ids of the workloads and stop
  --help             print this and stop

A call takes typed arrays in and gives a fresh typed array out; weights, models and a decoder's keys and
values are prepared ahead. GFLOP/s count only what the mask leaves. "limit" is the share of the f32x4
multiply-add rate of the same engine, measured before and after each turn, or, followed by r, of the rate
at which it reads as many bytes. "x ours" is the time relative to our fastest build, round by round: below 1
they are faster. "error" is the root mean square difference from float64 on sampled rows, "largest" the
largest one. A * marks a spread above 15 %.
onnxruntime-node is native code: an outside line, not a peer.`;

/** A mistake in how the program was called. */
export class UsageError extends Error {}

/**
 * @typedef {object} Options
 * @property {boolean} help
 * @property {boolean} list
 * @property {boolean} quick
 * @property {import('./suite/workloads.mjs').Workload[]} workloads
 * @property {string[]} peers
 * @property {string[]} builds
 * @property {number[]} threads
 * @property {string | undefined} json
 */

/** @param {string[]} given */
function parse(given) {
  try {
    return parseArgs({
      args: given,
      options: {
        quick: { type: 'boolean', default: false },
        workloads: { type: 'string' },
        peers: { type: 'string' },
        builds: { type: 'string' },
        threads: { type: 'string', default: '1' },
        json: { type: 'string' },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values;
  } catch (error) {
    // Node's messages go on with advice about quoting: the first sentence says what is wrong.
    throw new UsageError(/** @type {Error} */ (error).message.split(/\.\s/)[0]);
  }
}

/** @param {string} option @param {string | undefined} text @param {readonly string[]} known */
export function parseNames(option, text, known) {
  if (text === undefined) return [...known];
  if (text === 'none' || text === '') return [];
  const names = text.split(',').map((name) => name.trim());
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new UsageError(`--${option}: '${unknown}' is not one of ${known.join(', ')}`);
  return known.filter((name) => names.includes(name));
}

/** @param {string} text */
function parseThreads(text) {
  const counts = text.split(',').map(Number);
  if (!counts.every((count) => Number.isInteger(count) && count >= 1))
    throw new UsageError(`--threads: '${text}' is not a list of whole numbers from 1 on`);
  return counts;
}

/** @param {string | undefined} pattern @param {boolean} quick */
function selectWorkloads(pattern, quick) {
  // A pattern says exactly which ones are wanted, so --quick then only shortens the rounds.
  if (pattern === undefined) return quick ? workloads.filter((workload) => workload.quick) : workloads;
  let expression;
  try {
    expression = new RegExp(pattern);
  } catch (error) {
    throw new UsageError(`--workloads: ${/** @type {Error} */ (error).message}`);
  }
  const selected = workloads.filter(({ id }) => expression.test(id));
  if (selected.length === 0)
    throw new UsageError(`--workloads: no workload matches ${pattern} (--list shows them)`);
  return selected;
}

/** @param {string[]} given @returns {Options} */
export function parseOptions(given) {
  const values = parse(given);
  return {
    help: values.help,
    list: values.list,
    quick: values.quick,
    workloads: selectWorkloads(values.workloads, values.quick),
    peers: parseNames('peers', values.peers, peerNames),
    builds: parseNames('builds', values.builds, ALL_BUILDS),
    threads: parseThreads(values.threads),
    json: values.json,
  };
}
