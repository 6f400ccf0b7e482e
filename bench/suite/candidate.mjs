// A candidate: one way of doing workloads, to be timed against others. Here those that run in this very engine; runners
// add others that answer from another process.

import { Bench } from 'tinybench';
import { shortestSample, timeOnce } from './clock.mjs';
import { makeInputs } from './inputs.mjs';
import { measureErrors, referenceRows } from './reference.mjs';
import { summarize } from './statistics.mjs';

/** @typedef {import('./workloads.mjs').Workload} Workload */

/** @typedef {{ run: () => Float32Array | Promise<Float32Array>, dispose: () => void | Promise<void> }} Prepared `run` is
 * the whole call: typed arrays in, a fresh typed array out */

/**
 * @typedef {(workload: Workload, inputs: import('./inputs.mjs').Inputs, variant: string, threads: number) =>
 *   Promise<Prepared | null>} Prepare null: there is no such function
 */

/**
 * @typedef {object} Opened checked and warm
 * @property {number} error largest absolute difference from float64 on sampled rows
 * @property {number} rootMeanSquareError of the same differences
 * @property {number} fastest milliseconds of the fastest call so far
 * @property {string} [variant] the way that was chosen, where there are several
 * @property {(milliseconds: number) => Promise<{ milliseconds: number, samples: number }>} turn times calls for about so
 *   long, and returns the median of a call
 * @property {() => void | Promise<void>} close
 */

/**
 * @typedef {object} Candidate
 * @property {string} peer
 * @property {string} variant
 * @property {number} threads
 * @property {(workload: Workload, warmupTime: number) => Promise<Opened | null>} open null: does not do this
 */

/**
 * @param {{ peer: string, variant: string, threads: number }} name
 * @param {Prepare} prepare
 * @param {import('./clock.mjs').Clock} clock
 * @returns {Candidate}
 */
export const localCandidate = ({ peer, variant, threads }, prepare, clock) => ({
  peer,
  variant,
  threads,
  async open(workload, warmupTime) {
    const { inputs, expected } = dataOf(workload);
    const prepared = await prepare(workload, inputs, variant, threads);
    if (!prepared) return null;
    try {
      return await openPrepared(prepared, expected, workload.outputLength, clock, warmupTime);
    } catch (error) {
      await prepared.dispose();
      throw error;
    }
  },
});

/** @type {{ id: string, inputs: import('./inputs.mjs').Inputs, expected: import('./reference.mjs').ReferenceRow[] } | undefined} */
let latest;

/** Inputs and reference of the latest workload are kept for the next candidate. @param {Workload} workload */
function dataOf(workload) {
  if (latest?.id !== workload.id) {
    const inputs = makeInputs(workload);
    latest = { id: workload.id, inputs, expected: referenceRows(workload, inputs) };
  }
  return latest;
}

/**
 * The first call is checked; then calls warm the engine up, for it optimises while they run.
 *
 * @param {Prepared} prepared
 * @param {import('./reference.mjs').ReferenceRow[]} expected
 * @param {number} outputLength
 * @param {import('./clock.mjs').Clock} clock
 * @param {number} warmupTime
 * @returns {Promise<Opened>}
 */
async function openPrepared({ run, dispose }, expected, outputLength, clock, warmupTime) {
  const errors = measureErrors(await run(), expected, outputLength);
  const fastest = await warmUp(run, clock, warmupTime);
  const calls = Math.max(1, Math.ceil(shortestSample(clock) / fastest));
  const task = batchTask(run, calls, clock);
  return {
    ...errors,
    fastest,
    async turn(milliseconds) {
      // An untimed sample first brings the candidate's data back into the caches, where that is not most of the work.
      const samples = Math.max(1, Math.round(milliseconds / (fastest * calls)));
      const times = await sample(task, samples, samples > 1 ? 1 : 0);
      return { milliseconds: summarize(times).median, samples: times.length };
    },
    close: dispose,
  };
}

/**
 * Calls for `time` milliseconds, and three times at least unless calls are slow: engines optimise in the background, and
 * later where others keep the machine busy.
 *
 * @param {Prepared['run']} run
 * @param {import('./clock.mjs').Clock} clock
 * @param {number} time
 * @returns {Promise<number>} milliseconds of the fastest call
 */
async function warmUp(run, clock, time) {
  const least = shortestSample(clock);
  let fastest = Infinity;
  const enough = (/** @type {number} */ spent, /** @type {number} */ turns) =>
    fastest < Infinity && spent >= time && (turns >= 3 || spent >= 8 * time);
  for (let spent = 0, turns = 0, calls = 1; !enough(spent, turns); turns++) {
    const milliseconds = await timeOnce(clock, () => repeat(run, calls));
    spent += milliseconds;
    if (milliseconds >= least) fastest = Math.min(fastest, milliseconds / calls);
    else calls *= 2;
  }
  return fastest;
}

/** @param {Prepared['run']} run @param {number} calls @returns {unknown} a promise if the calls give promises */
function repeat(run, calls) {
  for (let call = 0; call < calls; call++) {
    const result = run();
    if (result instanceof Promise) return finish(result, run, calls - call - 1);
  }
  return undefined;
}

/** @param {Promise<unknown>} first @param {Prepared['run']} run @param {number} calls */
async function finish(first, run, calls) {
  await first;
  for (let call = 0; call < calls; call++) await run();
}

/**
 * A tinybench task of `calls` calls that reports the mean of one.
 *
 * @param {Prepared['run']} run
 * @param {number} calls
 * @param {import('./clock.mjs').Clock} clock
 */
function batchTask(run, calls, clock) {
  return async () => {
    const milliseconds = await timeOnce(clock, () => repeat(run, calls));
    return { overriddenDuration: milliseconds / calls };
  };
}

/** @param {() => Promise<{ overriddenDuration: number }>} task @param {number} samples @param {number} warmups */
async function sample(task, samples, warmups) {
  const bench = new Bench({
    time: 0,
    iterations: samples,
    warmup: warmups > 0,
    warmupIterations: warmups,
    warmupTime: 0,
    retainSamples: true,
    throws: true,
  });
  bench.add('call', task, { async: true });
  await bench.run();
  const { result } = bench.tasks[0];
  if (result.state !== 'completed') throw new Error(`tinybench ended ${result.state}`);
  return [...(result.latency.samples ?? [])];
}
