// Workloads that need a fresh process for every call: cold start and memory.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { LARGEST_ERROR, absent, timing } from './suite/run.mjs';

const program = fileURLToPath(new URL('fresh.mjs', import.meta.url));
const LONGEST = 120_000;

/** @typedef {import('./suite/result.mjs').Entry} Entry */
/** @typedef {{ peer: string, variant: string }} Name */
/** @typedef {{ milliseconds: number, growth: number, error: number | null, rootMeanSquareError?: number }} Call a
 * measurement of fresh.mjs: an error of -1 is a wrong result, null a peer that does not do this */
/** @typedef {ReturnType<typeof import('./suite/run.mjs').whyThrown>} Absence why it has none */

/** @param {string[]} given @returns {Promise<Call | Absence>} */
async function runFresh(given) {
  try {
    const options = { timeout: LONGEST, maxBuffer: 2 ** 24 };
    const { stdout } = await promisify(execFile)(process.execPath, [program, ...given], options);
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  } catch (thrown) {
    const { stderr = '', killed, signal, message } = /** @type {any} */ (thrown);
    if (killed) throw new Error(`took longer than ${LONGEST / 1000} s`, { cause: thrown });
    const reason = String(stderr)
      .match(/^\s*(?:\w*Error|.*failed).*$/m)?.[0]
      .trim();
    throw new Error(reason ?? (signal ? `ended by ${signal}` : message), { cause: thrown });
  }
}

/**
 * @param {import('./suite/workloads.mjs').Workload} workload
 * @param {readonly Name[]} names
 * @param {import('./suite/run.mjs').Effort} effort
 * @returns {Promise<Entry[]>} in the order of the names
 */
export async function measureProcesses(workload, names, { processes }) {
  /** @type {Map<Name, Entry>} */
  const entries = new Map();
  /** @type {Map<Name, Call[]>} */
  const calls = new Map(names.map((name) => [name, []]));
  // Memory needs one call only; those workloads are long.
  const rounds = workload.kind === 'start' ? processes : 1;
  for (let round = 0; round < rounds; round++) {
    for (const [name, taken] of calls) {
      if (entries.has(name)) continue;
      const failure = await takeCall(workload, name, taken);
      if (failure) entries.set(name, failure);
    }
  }
  return names.map((name) => entries.get(name) ?? measuredEntry(workload, name, calls.get(name) ?? []));
}

/**
 * @param {import('./suite/workloads.mjs').Workload} workload
 * @param {Name} name
 * @param {Call[]} taken
 * @returns {Promise<Entry | null>} an entry where there is nothing more to measure
 */
async function takeCall(workload, name, taken) {
  const candidate = /** @type {import('./suite/candidate.mjs').Candidate} */ ({ ...name, threads: 1 });
  if (workload.skip[name.peer] !== undefined) return absent(candidate, 'skipped', workload.skip[name.peer]);
  try {
    const call = await runFresh([workload.id, name.peer, name.variant]);
    if ('state' in call) return absent(candidate, call.state, call.reason);
    if (call.error === null) return absent(candidate, 'unsupported', 'has no such function');
    if (call.error < 0 || call.error > LARGEST_ERROR) return absent(candidate, 'failed', 'wrong result');
    taken.push(call);
    return null;
  } catch (error) {
    return absent(candidate, 'failed', /** @type {Error} */ (error).message.split('\n')[0]);
  }
}

/** @param {import('./suite/workloads.mjs').Workload} workload @param {Name} name @param {Call[]} calls @returns {Entry} */
function measuredEntry(workload, { peer, variant }, calls) {
  const growths = calls.map(({ growth }) => growth).sort((a, b) => a - b);
  const rounds = calls.map(({ milliseconds }) => ({ milliseconds, limit: null }));
  const error = Math.max(...calls.map((call) => call.error ?? 0));
  const rootMeanSquareError = Math.max(...calls.map((call) => call.rootMeanSquareError ?? 0));
  return {
    ...{ peer, variant, threads: 1, state: 'measured', error, rootMeanSquareError },
    growth: growths[growths.length >> 1],
    ...timing(rounds, rounds.length, workload, 1),
  };
}
