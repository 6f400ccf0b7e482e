// Runs workloads group by group over all candidates and collects records.

import { asError, fullEffort, measure, quickEffort } from './measure.mjs';
import { makeInputs } from './inputs.mjs';
import { measurePeaks, measureReadBandwidth } from './peak.mjs';
import { loadPeer } from './peers/peer.mjs';
import { measureProcesses } from './processes.mjs';
import { referenceRows } from './reference.mjs';

/**
 * @typedef {object} Entry one way of one peer to do one workload
 * @property {string} workload id
 * @property {string} peer
 * @property {string} variant
 * @property {'measured' | 'failed' | 'unsupported' | 'skipped'} state
 * @property {string} [reason] why there is no measurement
 * @property {import('./measure.mjs').Timing & { growth?: number }} [timing]
 * @property {number} [gflops] live arithmetic only
 * @property {number} [share] of the peak, or of the read bandwidth where the workload is limited by memory
 */

/**
 * @typedef {object} Group
 * @property {string} name
 * @property {import('./peak.mjs').Peaks} peaks GFLOP/s
 * @property {number | null} readBandwidth GB/s, null where no workload needs it
 * @property {import('./workloads.mjs').Workload[]} workloads
 * @property {Entry[]} entries
 */

/** @typedef {{ peer: string, variant: string, run: import('./peers/peer.mjs').Prepared['run'],
 *   dispose: import('./peers/peer.mjs').Prepared['dispose'] }} PreparedCandidate */

/**
 * A result further than this from float64 is no result, however fast: rounding in float32 stays far below on
 * these inputs, and a wrong mask or scale far above.
 */
const LARGEST_ERROR = 1e-3;

/** @param {string} text */
const progress = (text) => process.stderr.write(`${text}\n`);

/**
 * @param {string[]} names
 * @returns {Promise<{ peers: import('./peers/peer.mjs').Peer[], versions: Record<string, string>,
 *   missing: Record<string, string> }>} `missing`: peers that cannot run here, and why
 */
export async function openPeers(names) {
  const peers = [];
  /** @type {Record<string, string>} */
  const versions = {};
  /** @type {Record<string, string>} */
  const missing = {};
  for (const name of names) {
    const peer = await loadPeer(name);
    const available = await peer.available();
    if (available === true) {
      peers.push(peer);
      versions[name] = await peer.version();
    } else {
      missing[name] = available;
    }
  }
  return { peers, versions, missing };
}

/**
 * Whether arithmetic a second says something about kernels: a process of its own is measured with imports,
 * compilation and cold code, and softmax is no arithmetic to speak of.
 *
 * @param {import('./workloads.mjs').Workload} workload
 */
const hasRate = ({ ownProcess, flop }) => !ownProcess && flop.live > 0;

/**
 * @param {import('./workloads.mjs').Workload[]} workloads
 * @returns {Map<string, import('./workloads.mjs').Workload[]>}
 */
function groupWorkloads(workloads) {
  const groups = new Map();
  for (const workload of workloads) {
    groups.set(workload.group, [...(groups.get(workload.group) ?? []), workload]);
  }
  return groups;
}

/**
 * @param {import('./options.mjs').Options} options
 * @param {import('./peers/peer.mjs').Peer[]} peers
 * @returns {AsyncGenerator<Group>} each group as soon as it is done
 */
export async function* runGroups({ workloads, builds, quick }, peers) {
  const effort = quick ? quickEffort : fullEffort;
  for (const [name, members] of groupWorkloads(workloads)) {
    const limited = members.find(({ limit }) => limit === 'memory');
    const peaks = members.some(hasRate) ? await measurePeaks(builds, effort.peakTime) : {};
    const readBandwidth = limited ? await measureReadBandwidth(limited.weightBytes, effort.peakTime) : null;
    /** @type {Group} */
    const group = { name, peaks, readBandwidth, workloads: members, entries: [] };
    for (const workload of members) {
      progress(`${workload.id} ...`);
      const entries = await runWorkload(workload, peers, builds, effort);
      group.entries.push(...entries.map((entry) => withRates(entry, workload, group)));
    }
    yield group;
  }
}

/**
 * @param {import('./workloads.mjs').Workload} workload
 * @param {import('./peers/peer.mjs').Peer[]} peers
 * @param {string[]} builds
 * @param {import('./measure.mjs').Effort} effort
 * @returns {Promise<Entry[]>}
 */
async function runWorkload(workload, peers, builds, effort) {
  /** @type {Entry[]} */
  const skipped = [];
  const wanted = [];
  for (const peer of peers) {
    const variants = peer.name === 'wasm-attention' ? builds : peer.variants(workload);
    const reason =
      workload.skip[peer.name] ?? (variants.length === 0 ? 'cannot hold this length' : undefined);
    if (reason === undefined) wanted.push(...variants.map((variant) => ({ peer: peer.name, variant })));
    else skipped.push({ workload: workload.id, peer: peer.name, variant: '', state: 'skipped', reason });
  }
  const measured = workload.ownProcess
    ? await runInProcesses(workload, wanted, effort)
    : await runHere(workload, wanted, peers, effort);
  return [...measured, ...skipped];
}

/**
 * @param {import('./workloads.mjs').Workload} workload
 * @param {{ peer: string, variant: string }} candidate
 * @param {NonNullable<Entry['timing']> | Error | null} result
 * @returns {Entry}
 */
function makeEntry(workload, { peer, variant }, result) {
  const entry = { workload: workload.id, peer, variant };
  if (result === null) return { ...entry, state: 'unsupported', reason: 'has no such function' };
  if (!(result instanceof Error) && result.error <= LARGEST_ERROR)
    return { ...entry, state: 'measured', timing: result };
  const wrong = result instanceof Error ? undefined : `wrong result, error ${result.error.toExponential(1)}`;
  const reason = wrong ?? /** @type {Error} */ (result).message.split('\n')[0];
  progress(`  ${peer} ${variant}: ${reason}`);
  return { ...entry, state: 'failed', reason };
}

/**
 * @param {import('./workloads.mjs').Workload} workload
 * @param {{ peer: string, variant: string }[]} wanted
 * @param {import('./measure.mjs').Effort} effort
 */
async function runInProcesses(workload, wanted, effort) {
  const results = await measureProcesses(workload, wanted, effort);
  return wanted.map((candidate) => makeEntry(workload, candidate, results.get(candidate) ?? null));
}

/**
 * @param {import('./workloads.mjs').Workload} workload
 * @param {{ peer: string, variant: string }[]} wanted
 * @param {import('./peers/peer.mjs').Peer[]} peers
 * @param {import('./measure.mjs').Effort} effort
 */
async function runHere(workload, wanted, peers, effort) {
  const inputs = makeInputs(workload);
  const expected = referenceRows(workload, inputs);
  /** @type {Entry[]} */
  const entries = [];
  /** @type {PreparedCandidate[]} */
  const candidates = [];
  for (const { peer: name, variant } of wanted) {
    const peer = /** @type {import('./peers/peer.mjs').Peer} */ (
      peers.find((candidate) => candidate.name === name)
    );
    try {
      const converted = await peer.convert?.(workload, inputs, variant);
      const prepared = await peer.prepare(workload, inputs, variant, converted);
      if (prepared) candidates.push({ peer: name, variant, ...prepared });
      else entries.push(makeEntry(workload, { peer: name, variant }, null));
    } catch (error) {
      entries.push(makeEntry(workload, { peer: name, variant }, asError(error)));
    }
  }
  const results = await measure(workload, expected, candidates, effort);
  for (const candidate of candidates) {
    entries.push(makeEntry(workload, candidate, results.get(candidate) ?? null));
    await candidate.dispose();
  }
  return entries;
}

/**
 * @param {Entry} entry
 * @param {import('./workloads.mjs').Workload} workload
 * @param {Group} group
 * @returns {Entry}
 */
function withRates(entry, workload, { peaks, readBandwidth }) {
  if (!entry.timing || !hasRate(workload)) return entry;
  const gflops = workload.flop.live / entry.timing.median / 1e6;
  const gigabytes = workload.weightBytes / entry.timing.median / 1e6;
  if (workload.limit === 'memory') {
    return { ...entry, gflops, share: readBandwidth === null ? undefined : gigabytes / readBandwidth };
  }
  const own =
    entry.peer === 'wasm-attention' ? peaks[/** @type {'simd' | 'relaxed'} */ (entry.variant)] : undefined;
  // Peers are held against the best that the engine offers, used by them or not.
  const peak = own ?? Math.max(0, ...Object.values(peaks));
  return { ...entry, gflops, share: peak > 0 ? gflops / peak : undefined };
}
