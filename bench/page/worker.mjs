// The suite in a worker of the page, which stays alive meanwhile. Messages in: what to run, or 'cancel'. Messages out:
// progress, each workload's result as soon as it is there, and the end.

import * as library from '../../dist/index.mjs';
import { engineClock } from '../suite/clock.mjs';
import { ownCandidates } from '../suite/library.mjs';
import { openLimits } from '../suite/limits.mjs';
import { fullEffort, quickEffort, runSuite } from '../suite/run.mjs';
import { workloads } from '../suite/workloads.mjs';

const BUILDS = ['simd', 'relaxed'];

/** @type {AbortController | undefined} */
let control;

/** @param {{ ids: string[], threads: number[], quick: boolean }} order */
async function run({ ids, threads, quick }) {
  control = new AbortController();
  const clock = engineClock();
  const limits = await openLimits(library, BUILDS, clock);
  try {
    const results = runSuite({
      workloads: workloads.filter(({ id }) => ids.includes(id)),
      candidates: ownCandidates(library, BUILDS, threads, clock),
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
  }
}

self.onmessage = ({ data }) => {
  if (data === 'cancel') control?.abort();
  else void run(data);
};
