// What the engine can do at most, at this moment: measured through the library's own pack for that, beside every round.

import { shortestSample, timeOnce } from './clock.mjs';

/**
 * @typedef {object} Limits
 * @property {(workload: import('./workloads.mjs').Workload) => void} prepare how much is read for 'memory'
 * @property {(kind: import('./workloads.mjs').Workload['limit'], build: string | null) => Promise<number | null>} measure
 *   GFLOP/s of a build (of the fastest for null), or GB/s of reading; null where there is nothing to measure
 * @property {() => void} dispose
 */

/** The best of so many short runs counts: interference only ever adds time. */
const RUNS = 4;

/** Larger buffers are no nearer to memory, and slow to make. */
const LARGEST_BUFFER = 2 ** 27;

/**
 * @param {any} library the module `wasm-attention`
 * @param {any} rates the module `wasm-attention/benchmark`
 * @param {readonly string[]} builds
 * @param {import('./clock.mjs').Clock} clock
 * @returns {Promise<Limits>}
 */
export async function openLimits(library, rates, builds, clock) {
  const runtimes = await openRuntimes(library, rates, builds);
  /** @type {any} */
  let buffer;

  const bestRate = async (/** @type {() => number} */ work) => {
    let best = 0;
    for (let run = 0; run < RUNS; run++) best = Math.max(best, await rateOf(clock, work));
    return best;
  };
  const arithmetic = async (/** @type {string} */ build) => {
    const runtime = runtimes.get(build);
    return runtime ? bestRate(() => rates.runPeak(runtime)) : null;
  };

  return {
    prepare({ limit, bytes }) {
      buffer?.dispose();
      buffer = undefined;
      const [runtime] = runtimes.values();
      if (limit !== 'memory' || !runtime) return;
      const elements = Math.max(32, Math.ceil(Math.min(bytes.read + bytes.written, LARGEST_BUFFER) / 4));
      // Pages that were never written would all be one page of zeros.
      buffer = runtime.tensor(new Float32Array(elements).fill(1), [elements]);
      for (let run = 0; run < 5; run++) rates.readTensor(buffer);
    },
    async measure(kind, build) {
      if (kind === 'none') return null;
      if (kind === 'memory') return buffer ? bestRate(() => rates.readTensor(buffer)) : null;
      if (build !== null) return arithmetic(build);
      const found = [];
      for (const each of runtimes.keys()) found.push((await arithmetic(each)) ?? 0);
      return found.length > 0 ? Math.max(...found) : null;
    },
    dispose() {
      for (const runtime of runtimes.values()) runtime.dispose();
    },
  };
}

/** @param {any} library @param {any} rates @param {readonly string[]} builds @returns {Promise<Map<string, any>>} those that run here */
async function openRuntimes(library, rates, builds) {
  const runtimes = new Map();
  for (const build of builds) {
    try {
      const runtime = await library.createRuntime({ build, packs: [rates.benchmark] });
      // The first runs are not yet optimised by the engine.
      for (let run = 0; run < 20; run++) rates.runPeak(runtime);
      runtimes.set(build, runtime);
    } catch (error) {
      // An engine without relaxed SIMD: the candidates of that build say so themselves.
      if (/** @type {{ code?: string }} */ (error).code !== 'UNSUPPORTED') throw error;
    }
  }
  return runtimes;
}

/** Amount per nanosecond, over as many repetitions as the clock needs. @param {import('./clock.mjs').Clock} clock @param {() => number} work */
async function rateOf(clock, work) {
  const least = shortestSample(clock);
  for (let repeats = 1; ; repeats *= 4) {
    let amount = 0;
    const milliseconds = await timeOnce(clock, () => {
      for (let i = 0; i < repeats; i++) amount += work();
    });
    if (milliseconds >= least) return amount / milliseconds / 1e6;
  }
}
