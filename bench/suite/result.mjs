// A result file: one run, in one engine, on one machine. result.schema.json says what it may hold.

import { SUITE_VERSION } from './workloads.mjs';

/**
 * @typedef {object} Round
 * @property {number} milliseconds median of a call in this round
 * @property {number | null} limit the engine's own rate beside it: GFLOP/s of one thread, or GB/s of reading
 */

/**
 * @typedef {object} Entry one way of one peer to do one workload
 * @property {string} peer
 * @property {string} variant build of this library, or way of a peer
 * @property {number} threads
 * @property {'measured' | 'failed' | 'unsupported' | 'skipped'} state
 * @property {string} [reason] why there is no measurement
 * @property {number} [error] largest absolute difference from float64 on sampled rows
 * @property {number} [rootMeanSquareError] of the same differences; not in files of former versions
 * @property {import('./statistics.mjs').Summary} [time] milliseconds of a call, over the rounds
 * @property {Round[]} [rounds]
 * @property {number} [gflops] live arithmetic only
 * @property {number} [gigabytes] GB/s of operands and results, where memory is the limit
 * @property {import('./statistics.mjs').Summary} [share] of the limit, round by round
 * @property {number} [growth] bytes of resident memory
 */

/** @typedef {Pick<import('./workloads.mjs').Workload, 'id' | 'label' | 'group' | 'kind' | 'shapes' | 'flop' | 'bytes' |
 *   'limit' | 'series' | 'neighbours'>} WorkloadFacts */

/** @typedef {{ workload: WorkloadFacts, entries: Entry[] }} Result */

/**
 * @typedef {object} Facts what the numbers depend on
 * @property {{ processor: string | null, cores: number | null, memoryGiB: number | null, system: string }} machine
 * @property {{ name: string, version: string, [detail: string]: string }} engine
 * @property {Record<string, string>} versions of this library and the peers
 * @property {Record<string, string>} absent peer -> why it could not run
 */

/**
 * @typedef {Facts & { format: 'wasm-attention-bench', suite: number, date: string, method: Record<string, unknown>,
 *   missing?: string, ended?: string, results: Result[] }} ResultFile `missing`: why this engine did not run at all; `ended`:
 *   why it ended before all was measured
 */

const METHOD = {
  call: 'typed arrays in, a fresh typed array out; weights, models and the cache of decoding prepared ahead',
  timing:
    'first call checked, then warm-up, then interleaved rounds; median of a round, then over the rounds',
  limit:
    'rate of f32x4 multiply-adds (or of reading as many bytes), before and after each turn; share round by round',
  spread: '(p75 - p25) / median over the rounds',
  error: 'absolute difference from float64 on sampled rows: the largest, and the root mean square',
  units: {
    time: 'ms',
    gflops: 'GFLOP/s of live arithmetic',
    gigabytes: 'GB/s',
    growth: 'bytes of resident memory',
  },
};

/**
 * @param {Facts} facts
 * @param {Result[]} results
 * @param {import('./run.mjs').Effort} effort
 * @returns {ResultFile}
 */
export const makeResultFile = (facts, results, effort) => ({
  format: 'wasm-attention-bench',
  suite: SUITE_VERSION,
  date: new Date().toISOString(),
  ...facts,
  method: { ...METHOD, effort },
  results,
});
