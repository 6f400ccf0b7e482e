// Measuring: every candidate is prepared, checked and warmed up; then tinybench times them in interleaved
// rounds, so that a machine that slows down or speeds up meanwhile does so for all of them.

import { Bench } from 'tinybench';
import { maximumError } from './reference.mjs';

/**
 * @typedef {object} Effort
 * @property {number} rounds
 * @property {number} sliceTime milliseconds for a candidate in a round
 * @property {number} warmupTime milliseconds for a candidate before the rounds
 * @property {number} processes fresh processes for each candidate of a cold start
 * @property {number} peakTime milliseconds for each peak
 */

/** @type {Effort} */
export const fullEffort = { rounds: 7, sliceTime: 150, warmupTime: 500, processes: 5, peakTime: 300 };

/** @type {Effort} */
export const quickEffort = { rounds: 3, sliceTime: 40, warmupTime: 120, processes: 3, peakTime: 80 };

/** Calls that take this long, in milliseconds, get three rounds or, ten times as long, one. */
const SLOW_CALL = 1000;

/** Calls shorter than this are timed several together, so that reading the clock does not count. */
const SHORTEST_SAMPLE = 0.05;

/**
 * @typedef {object} Candidate
 * @property {string} peer
 * @property {string} variant
 * @property {import('./peers/peer.mjs').Prepared['run']} run
 */

/**
 * @typedef {object} Statistics milliseconds a call
 * @property {number} median
 * @property {number} p25
 * @property {number} p75
 * @property {number} spread (p75 - p25) / median
 * @property {number} samples
 */

/** @typedef {Statistics & { error: number }} Timing `error`: largest absolute difference from float64 */

/** Linear interpolation between order statistics. @param {number[]} sorted @param {number} share */
function quantile(sorted, share) {
  const position = (sorted.length - 1) * share;
  const below = Math.floor(position);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (position - below);
}

/** @param {number[]} samples @returns {Statistics} */
export function summarize(samples) {
  const sorted = [...samples].sort((a, b) => a - b);
  const [p25, median, p75] = [0.25, 0.5, 0.75].map((share) => quantile(sorted, share));
  return { median, p25, p75, spread: (p75 - p25) / median, samples: sorted.length };
}

/**
 * Calls for `time` milliseconds and once at least; the call that was checked came before. V8 runs optimised
 * kernels from about the second call on.
 *
 * @param {Candidate['run']} run
 * @param {number} time
 * @returns {Promise<number>} milliseconds of the fastest call
 */
async function warmUp(run, time) {
  let fastest = Infinity;
  const start = performance.now();
  for (let calls = 0; ; calls++) {
    const before = performance.now();
    const elapsed = before - start;
    if (calls >= 1 && elapsed >= time) return fastest;
    await run();
    fastest = Math.min(fastest, performance.now() - before);
  }
}

/**
 * A tinybench task of `calls` calls; it reports the mean of one. Synchronous candidates stay so: an await
 * costs as much as a small attention.
 *
 * @param {Candidate['run']} run
 * @param {number} calls
 * @param {boolean} isAsync
 */
function batchTask(run, calls, isAsync) {
  const report = (/** @type {number} */ elapsed) => ({
    overriddenDuration: elapsed / calls,
    overriddenIterationCost: elapsed,
  });
  if (!isAsync) {
    return () => {
      const start = performance.now();
      for (let call = 0; call < calls; call++) run();
      return report(performance.now() - start);
    };
  }
  return async () => {
    const start = performance.now();
    for (let call = 0; call < calls; call++) await run();
    return report(performance.now() - start);
  };
}

/**
 * One candidate's turn in one round. The untimed iteration before brings its data back into the caches.
 *
 * @param {Warm} warm
 * @param {Effort} effort
 */
async function takeTurn(warm, { sliceTime }) {
  const bench = new Bench({
    time: sliceTime,
    iterations: 1,
    warmup: warm.fastest < SLOW_CALL / 10,
    warmupIterations: 1,
    warmupTime: 0,
    retainSamples: true,
    throws: true,
  });
  bench.add(warm.candidate.peer, warm.task, { async: warm.isAsync });
  await bench.run();
  const { result } = bench.tasks[0];
  if (result.state !== 'completed') throw new Error(`tinybench ended ${result.state}`);
  warm.samples.push(...(result.latency.samples ?? []));
}

/**
 * @typedef {object} Warm a candidate ready to be timed
 * @property {Candidate} candidate
 * @property {number} fastest milliseconds
 * @property {number} error
 * @property {boolean} isAsync
 * @property {() => unknown} task
 * @property {number[]} samples
 */

/**
 * @param {Candidate} candidate
 * @param {import('./workloads.mjs').Workload} workload
 * @param {import('./reference.mjs').ReferenceRow[]} expected
 * @param {Effort} effort
 * @returns {Promise<Warm>}
 */
async function checkAndWarmUp(candidate, workload, expected, { warmupTime }) {
  const first = candidate.run();
  const isAsync = first instanceof Promise;
  const error = maximumError(await first, expected, workload.outputLength);
  const fastest = await warmUp(candidate.run, warmupTime);
  const calls = Math.max(1, Math.ceil(SHORTEST_SAMPLE / fastest));
  return { candidate, fastest, error, isAsync, task: batchTask(candidate.run, calls, isAsync), samples: [] };
}

/** @param {number} fastest @param {number} rounds */
function roundsFor(fastest, rounds) {
  if (fastest >= 10 * SLOW_CALL) return 1;
  return fastest >= SLOW_CALL ? Math.min(3, rounds) : rounds;
}

/**
 * @template {Candidate} T
 * @param {import('./workloads.mjs').Workload} workload
 * @param {import('./reference.mjs').ReferenceRow[]} expected
 * @param {T[]} candidates
 * @param {Effort} effort
 * @returns {Promise<Map<T, Timing | Error>>} an error where a candidate failed
 */
export async function measure(workload, expected, candidates, effort) {
  /** @type {Map<T, Timing | Error>} */
  const results = new Map();
  /** @type {Warm[]} */
  const ready = [];
  for (const candidate of candidates) {
    try {
      ready.push(await checkAndWarmUp(candidate, workload, expected, effort));
    } catch (error) {
      results.set(candidate, asError(error));
    }
  }
  for (let round = 0; round < effort.rounds; round++) {
    for (const warm of ready) {
      if (round < roundsFor(warm.fastest, effort.rounds)) await takeTurn(warm, effort);
    }
  }
  for (const { candidate, samples, error } of ready) {
    results.set(/** @type {T} */ (candidate), { ...summarize(samples), error });
  }
  return results;
}

/** WebAssembly aborts may throw anything, numbers too. @param {unknown} thrown */
export const asError = (thrown) => (thrown instanceof Error ? thrown : new Error(String(thrown)));
