// The suite in a worker of the page, which stays alive meanwhile. Messages in: what to run, or 'cancel'. Messages out:
// progress, each workload's result as soon as it is there, and the end.

import * as rates from '../../dist/benchmark.mjs';
import * as library from '../../dist/index.mjs';
import { openPeers, remoteCandidate } from '../peers/remote.mjs';
import { engineClock } from '../suite/clock.mjs';
import { ownCandidates } from '../suite/library.mjs';
import { openLimits } from '../suite/limits.mjs';
import { fullEffort, quickEffort, runSuite } from '../suite/run.mjs';
import { workloads } from '../suite/workloads.mjs';

const BUILDS = ['simd', 'relaxed'];

/** @type {AbortController | undefined} */
let control;

/** A peer in a worker of its own. @param {string} name @returns {import('../peers/remote.mjs').Connect} */
const inWorker = (name) => (onAnswer, onEnd) => {
  const worker = new Worker(new URL(`./peer-worker.js?peer=${name}`, import.meta.url), { type: 'module' });
  worker.onmessage = ({ data }) => onAnswer(data);
  worker.onerror = ({ message }) => onEnd(message ?? 'the worker ended');
  return { send: (question) => worker.postMessage(question), stop: () => worker.terminate() };
};

/** @typedef {{ ids: string[], threads: number[], quick: boolean, peers: string[] }} Order */

/** @param {Order} order */
async function run({ ids, threads, quick, peers: names }) {
  control = new AbortController();
  const clock = engineClock();
  const limits = await openLimits(library, rates, BUILDS, clock);
  const { peers, versions, absent } = await openPeers(
    names.map((name) => remoteCandidate(name, inWorker(name))),
  );
  postMessage({ versions, absent });
  const own = ownCandidates(library, BUILDS, threads, clock);
  try {
    const results = runSuite({
      workloads: workloads.filter(({ id }) => ids.includes(id)),
      candidates: (workload) => [...own(workload), ...(workload.peers ? peers : [])],
      limits,
      effort: quick ? quickEffort : fullEffort,
      onProgress: ({ index, count, workload, step }) =>
        postMessage({ progress: { index, count, id: workload.id, step } }),
      signal: control.signal,
    });
    for await (const result of results) postMessage({ result });
    postMessage({ end: 'done' });
  } catch (error) {
    if (control.signal.aborted) postMessage({ end: 'cancelled' });
    else postMessage({ end: 'failed', reason: String(/** @type {Error} */ (error)?.message ?? error) });
  } finally {
    limits.dispose();
    for (const peer of peers) peer.stop();
  }
}

self.onmessage = ({ data }) => {
  if (data === 'cancel') control?.abort();
  else void run(data);
};
