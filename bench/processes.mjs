// Workloads that need a fresh process for every call: cold start and memory.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { asError, summarize } from './measure.mjs';

const program = fileURLToPath(new URL('start.mjs', import.meta.url));
const LONGEST = 180_000;

/** @typedef {{ milliseconds: number, growth: number, error: number | null }} Start what start.mjs prints: an
 * error of -1 is a wrong result, null a peer that does not do this */

/** @param {string[]} given @returns {Promise<Start>} */
async function runStart(given) {
  try {
    const options = { timeout: LONGEST, maxBuffer: 2 ** 24 };
    const { stdout } = await promisify(execFile)(process.execPath, [program, ...given], options);
    const line = stdout.trim().split('\n').at(-1) ?? '';
    return JSON.parse(line);
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
 * @template {{ peer: string, variant: string }} T
 * @param {import('./workloads.mjs').Workload} workload
 * @param {T[]} candidates
 * @param {import('./measure.mjs').Effort} effort
 * @returns {Promise<Map<T, (import('./measure.mjs').Timing & { growth: number }) | Error | null>>} null: not supported
 */
export async function measureProcesses(workload, candidates, { processes }) {
  /** @type {Map<T, Start[]>} */
  const starts = new Map(candidates.map((candidate) => [candidate, []]));
  const results = new Map();
  // Memory needs one call only; those workloads are long.
  const rounds = workload.kind === 'start' ? processes : 1;
  for (let round = 0; round < rounds; round++) {
    for (const [candidate, taken] of starts) {
      if (results.has(candidate)) continue;
      try {
        taken.push(await runStart([workload.id, candidate.peer, candidate.variant]));
        if (taken[0].error === null) results.set(candidate, null);
      } catch (error) {
        results.set(candidate, asError(error));
      }
    }
  }
  for (const [candidate, taken] of starts) {
    if (!results.has(candidate)) results.set(candidate, summarizeStarts(taken));
  }
  return results;
}

/** @param {Start[]} starts */
const summarizeStarts = (starts) => ({
  ...summarize(starts.map(({ milliseconds }) => milliseconds)),
  error: Math.max(...starts.map(({ error }) => (error === null || error < 0 ? Infinity : error))),
  growth: summarize(starts.map(({ growth }) => growth)).median,
});
