// Runs workloads: every candidate is prepared, checked and warmed up, then all take turns in rounds, with the engine's
// own limit measured before and after each turn. So what slows a machine down meanwhile does so for all of them.

import { OWN, entryName } from './analysis.mjs';
import { summarize } from './statistics.mjs';

/** @typedef {import('./workloads.mjs').Workload} Workload */
/** @typedef {import('./candidate.mjs').Candidate} Candidate */
/** @typedef {import('./result.mjs').Entry} Entry */
/** @typedef {import('./result.mjs').Result} Result */

/**
 * @typedef {object} Effort
 * @property {number} rounds
 * @property {number} sliceTime milliseconds for a candidate in a round
 * @property {number} warmupTime milliseconds for a candidate before the rounds
 * @property {number} processes fresh processes for each candidate of a cold start
 */

/** @type {Effort} */
export const fullEffort = { rounds: 7, sliceTime: 50, warmupTime: 150, processes: 5 };

/** @type {Effort} */
export const quickEffort = { rounds: 3, sliceTime: 25, warmupTime: 60, processes: 3 };

/** A call that takes this long, in milliseconds, gets three rounds or, ten times as long, one. */
const SLOW_CALL = 800;

/**
 * A result further than this from float64 is no result, however fast: rounding in float32 stays far below on these
 * inputs, and a wrong mask or scale far above.
 */
export const LARGEST_ERROR = 1e-3;

/**
 * @typedef {object} Progress
 * @property {number} index of the workload
 * @property {number} count of workloads
 * @property {Workload} workload
 * @property {string} step what is being done
 */

/**
 * @typedef {object} SuiteOptions
 * @property {readonly Workload[]} workloads
 * @property {(workload: Workload) => readonly Candidate[]} candidates
 * @property {import('./limits.mjs').Limits} limits
 * @property {Effort} effort
 * @property {(progress: Progress) => void} [onProgress]
 * @property {AbortSignal} [signal] stops between two turns: the generator throws the signal's reason
 */

/**
 * @param {SuiteOptions} options
 * @returns {AsyncGenerator<Result>} each workload's result as soon as it is there
 */
export async function* runSuite({ workloads, candidates, limits, effort, onProgress = () => {}, signal }) {
  for (const [index, workload] of workloads.entries()) {
    const step = async (/** @type {string} */ text) => {
      onProgress({ index, count: workloads.length, workload, step: text });
      // Lets messages in, so that a page stays alive and can cancel.
      await new Promise((resolve) => setTimeout(resolve));
      signal?.throwIfAborted();
    };
    limits.prepare(workload);
    const entries = await runWorkload(workload, candidates(workload), limits, effort, step);
    yield { workload: describeWorkload(workload), entries };
  }
}

/** @typedef {import('./result.mjs').Round} Round */
/** @typedef {{ candidate: Candidate, opened: import('./candidate.mjs').Opened, rounds: Round[], samples: number }} Running */

/**
 * @param {Workload} workload
 * @param {readonly Candidate[]} candidates
 * @param {import('./limits.mjs').Limits} limits
 * @param {Effort} effort
 * @param {(text: string) => Promise<void>} step
 * @returns {Promise<Entry[]>}
 */
async function runWorkload(workload, candidates, limits, effort, step) {
  /** @type {Map<Candidate, Entry>} */
  const entries = new Map();
  /** @type {Running[]} */
  const running = [];
  try {
    for (const candidate of candidates) {
      await step(`${entryName(candidate)}: check and warm-up`);
      const opened = await openCandidate(candidate, workload, effort);
      if ('state' in opened) entries.set(candidate, opened);
      else running.push({ candidate, opened, rounds: [], samples: 0 });
    }
    for (let round = 0; round < effort.rounds; round++) {
      for (const one of running) {
        if (entries.has(one.candidate) || round >= roundsFor(one.opened.fastest, effort.rounds)) continue;
        await step(`round ${round + 1} of ${effort.rounds}`);
        const failure = await takeTurn(one, workload, limits, effort);
        if (failure) entries.set(one.candidate, failure);
      }
    }
  } finally {
    for (const { opened } of running) await opened.close();
  }
  for (const one of running) {
    if (!entries.has(one.candidate)) entries.set(one.candidate, measuredEntry(one, workload));
  }
  return candidates.map((candidate) => /** @type {Entry} */ (entries.get(candidate)));
}

/** @param {number} fastest @param {number} rounds */
function roundsFor(fastest, rounds) {
  if (fastest >= 10 * SLOW_CALL) return 1;
  return fastest >= SLOW_CALL ? Math.min(3, rounds) : rounds;
}

/**
 * @param {Candidate} candidate
 * @param {Workload} workload
 * @param {Effort} effort
 * @returns {Promise<import('./candidate.mjs').Opened | Entry>}
 */
async function openCandidate(candidate, workload, { warmupTime }) {
  const { peer } = candidate;
  if (workload.skip[peer] !== undefined) return absent(candidate, 'skipped', workload.skip[peer]);
  try {
    const opened = await candidate.open(workload, warmupTime);
    if (!opened) return absent(candidate, 'unsupported', 'has no such function');
    if (opened.error <= LARGEST_ERROR) return opened;
    await opened.close();
    return absent(candidate, 'failed', `wrong result, error ${opened.error.toExponential(1)}`);
  } catch (error) {
    const { state, reason } = whyThrown(error);
    return absent(candidate, state, reason);
  }
}

/**
 * @param {Running} running
 * @param {Workload} workload
 * @param {import('./limits.mjs').Limits} limits
 * @param {Effort} effort
 * @returns {Promise<Entry | null>} an entry where the turn failed
 */
async function takeTurn(running, { limit }, limits, { sliceTime }) {
  const { candidate, opened, rounds } = running;
  // Peers are held against the best that the engine offers, used by them or not.
  const build = candidate.peer === OWN ? candidate.variant : null;
  try {
    const before = await limits.measure(limit, build);
    const { milliseconds, samples } = await opened.turn(sliceTime);
    const after = await limits.measure(limit, build);
    running.samples += samples;
    rounds.push({ milliseconds, limit: before === null || after === null ? null : (before + after) / 2 });
    return null;
  } catch (error) {
    return absent(candidate, 'failed', messageOf(error));
  }
}

/** What was thrown instead of a result: what cannot run here is no failure. @param {unknown} thrown */
export function whyThrown(thrown) {
  const { code } = /** @type {{ code?: string }} */ (thrown ?? {});
  return {
    state: /** @type {'unsupported' | 'failed'} */ (code === 'UNSUPPORTED' ? 'unsupported' : 'failed'),
    reason: messageOf(thrown),
  };
}

/** WebAssembly aborts may throw anything, numbers too. @param {unknown} thrown */
const messageOf = (thrown) => (thrown instanceof Error ? thrown.message : String(thrown)).split('\n')[0];

/** @param {Candidate} candidate @param {'failed' | 'unsupported' | 'skipped'} state @param {string} reason @returns {Entry} */
export const absent = ({ peer, variant, threads }, state, reason) => ({
  peer,
  variant,
  threads,
  state,
  reason,
});

/** @param {Running} running @param {Workload} workload @returns {Entry} */
function measuredEntry({ candidate, opened, rounds, samples }, workload) {
  const { peer, variant, threads } = candidate;
  const name = { peer, variant: opened.variant ?? variant, threads };
  const { error, rootMeanSquareError } = opened;
  const times = timing(rounds, samples, workload, threads);
  return { ...name, state: 'measured', error, rootMeanSquareError, ...times };
}

/**
 * @param {Round[]} rounds
 * @param {number} samples
 * @param {Pick<Workload, 'flop' | 'bytes' | 'limit'>} workload
 * @param {number} threads
 */
export function timing(rounds, samples, { flop, bytes, limit }, threads) {
  const time = { ...summarize(rounds.map(({ milliseconds }) => milliseconds)), samples };
  const amount = limit === 'memory' ? bytes.read + bytes.written : flop.live;
  // Threads have arithmetic of their own, but share the memory.
  const share = (/** @type {Round} */ round) =>
    amount /
    round.milliseconds /
    1e6 /
    /** @type {number} */ (round.limit * (limit === 'memory' ? 1 : threads));
  const hasShare = limit !== 'none' && rounds.every((round) => round.limit !== null);
  return {
    time,
    rounds,
    ...(flop.live > 0 ? { gflops: flop.live / time.median / 1e6 } : {}),
    ...(limit === 'memory' ? { gigabytes: amount / time.median / 1e6 } : {}),
    ...(hasShare ? { share: summarize(rounds.map(share)) } : {}),
  };
}

/** What a result says of its workload. @param {Workload} workload @returns {import('./result.mjs').WorkloadFacts} */
export function describeWorkload({ id, label, group, kind, shapes, flop, bytes, limit, series, neighbours }) {
  return {
    ...{ id, label, group, kind, shapes, flop, bytes, limit },
    ...(series ? { series } : {}),
    ...(neighbours ? { neighbours } : {}),
  };
}
