// One call of one peer in a process of its own: from importing the library to the first result, and the
// memory it took. Run by processes.mjs: fresh.mjs
// WORKLOAD PEER VARIANT; prints one line of JSON, the measurement or why there is none.

import { readFileSync, writeFileSync } from 'node:fs';
import { makeInputs } from './suite/inputs.mjs';
import { peerModule } from './peers/peer.mjs';
import { measureErrors, referenceRows } from './suite/reference.mjs';
import { whyThrown } from './suite/run.mjs';
import { workloads } from './suite/workloads.mjs';

/** Forgets the highest mark so far (making the inputs set it); only Linux can. */
function resetResidentPeak() {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    // The mark then includes what the inputs took, which the growth below mostly takes off again.
  }
}

/** Highest resident memory in bytes. getrusage comes second: on Linux it starts from the parent's mark. */
function residentPeak() {
  try {
    return Number(readFileSync('/proc/self/status', 'utf8').match(/VmHWM:\s*(\d+) kB/)?.[1]) * 1024;
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
}

/** @param {string} id @param {string} peerName @param {string} wanted */
async function measure(id, peerName, wanted) {
  const workload = workloads.find((candidate) => candidate.id === id);
  if (!workload) throw new Error(`no workload ${id}`);

  const inputs = makeInputs(workload);
  /** @type {import('./peers/peer.mjs').Peer} */
  const peer = (await import(peerModule(peerName))).default;
  const variant = wanted || peer.variants(workload)[0];
  if (variant === undefined) throw new Error('cannot hold this length');
  const converted = await peer.convert?.(workload, inputs, variant);
  resetResidentPeak();
  const residentBefore = process.memoryUsage.rss();

  const start = performance.now();
  const prepared = await peer.prepare(workload, inputs, variant, converted);
  const output = await prepared?.run();
  const milliseconds = performance.now() - start;

  const growth = Math.max(0, residentPeak() - residentBefore);

  // -1 stands for a wrong result, because JSON has no infinity, and null for a peer that does not do this.
  const found = output && measureErrors(output, referenceRows(workload, inputs), workload.outputLength);
  const error = found?.error === Infinity ? -1 : (found?.error ?? null);
  return { milliseconds, growth, error, rootMeanSquareError: found?.rootMeanSquareError };
}

const [id, peerName, wanted] = process.argv.slice(2);
const line = JSON.stringify(await measure(id, peerName, wanted).catch(whyThrown));
process.stdout.write(`${line}\n`, () => process.exit());
