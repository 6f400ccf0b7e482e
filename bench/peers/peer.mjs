// What a peer is. Its library is imported only when it is asked for.

import { readFile } from 'node:fs/promises';

/**
 * @typedef {object} Peer
 * @property {string} name
 * @property {() => Promise<string>} version
 * @property {() => Promise<true | string>} available true, or why not
 * @property {(workload: import('../suite/workloads.mjs').Workload) => string[]} variants ways to do it; the fastest counts, the first is
 *   taken for a cold start
 * @property {(workload: import('../suite/workloads.mjs').Workload, inputs: import('../suite/inputs.mjs').Inputs, variant: string) =>
 *   Promise<unknown>} [convert] what a user has on disk before the program starts, such as a model file
 * @property {(workload: import('../suite/workloads.mjs').Workload, inputs: import('../suite/inputs.mjs').Inputs, variant: string,
 *   converted?: unknown) => Promise<import('../suite/candidate.mjs').Prepared | null>} prepare null: the peer does not do this
 */

/** URL of a peer's module. @param {string} name */
export const peerModule = (name) => new URL(`${name}.mjs`, import.meta.url).href;

/** Version of a package installed for the benchmarks. @param {string} name */
export async function packageVersion(name) {
  const manifest = new URL(`../node_modules/${name}/package.json`, import.meta.url);
  return JSON.parse(await readFile(manifest, 'utf8')).version;
}

/**
 * Largest number of heads that divides `heads` and keeps the score matrices of a call within `maximumBytes`: peers
 * that store all scores are handed that many heads at a time, as a careful user of them would do. 256 MiB were
 * slower than 64 and 16 at n = 4096, much slower for tfjs.
 *
 * @param {import('../suite/workloads.mjs').Shapes} shapes
 */
export function headsPerCall({ heads, keyValueHeads, queries, keys }, maximumBytes = 16 * 2 ** 20) {
  const group = heads / keyValueHeads;
  const fits = (/** @type {number} */ count) => count * queries * keys * 4 <= maximumBytes;
  for (let count = heads; count > group; count -= group) {
    if (heads % count === 0 && fits(count)) return count;
  }
  return group;
}

/**
 * Causal mask to be added to scores: 0 attends, -inf does not. The last query stands at the last key; with a window each
 * query sees that many keys.
 *
 * @param {import('../suite/workloads.mjs').Shapes} shapes
 */
export function causalMask({ queries, keys, window }) {
  const mask = new Float32Array(queries * keys).fill(-Infinity);
  for (let row = 0; row < queries; row++) {
    const end = keys - queries + row + 1;
    const first = window > 0 ? Math.max(0, end - window) : 0;
    mask.fill(0, row * keys + first, row * keys + end);
  }
  return mask;
}
