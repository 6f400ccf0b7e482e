// The suite in a process that can start others: this library here, each peer in a process of its own.

import * as rates from '../dist/benchmark.mjs';
import * as library from '../dist/index.mjs';
import { measureProcesses } from './processes.mjs';
import { engineClock } from './suite/clock.mjs';
import { ownCandidates } from './suite/library.mjs';
import { openLimits } from './suite/limits.mjs';
import { describeWorkload, runSuite } from './suite/run.mjs';

/** @typedef {import('./peers/remote.mjs').RemoteCandidate} RemoteCandidate */

/**
 * @param {object} options
 * @param {readonly import('./suite/workloads.mjs').Workload[]} options.workloads
 * @param {readonly RemoteCandidate[]} options.peers
 * @param {readonly string[]} options.builds
 * @param {readonly number[]} options.threads
 * @param {import('./suite/run.mjs').Effort} options.effort
 * @param {(progress: import('./suite/run.mjs').Progress) => void} [options.onProgress]
 * @returns {AsyncGenerator<import('./suite/result.mjs').Result>}
 */
export async function* runHere({ workloads, peers, builds, threads, effort, onProgress = () => {} }) {
  const clock = engineClock();
  const limits = await openLimits(library, rates, builds, clock);
  const own = ownCandidates(library, builds, threads, clock);
  const candidates = (/** @type {import('./suite/workloads.mjs').Workload} */ workload) => [
    ...own(workload),
    ...(workload.peers ? peers : []),
  ];
  try {
    for (const [index, workload] of workloads.entries()) {
      const progress = { index, count: workloads.length, workload };
      if (workload.ownProcess) {
        onProgress({ ...progress, step: 'in fresh processes' });
        const entries = await measureProcesses(workload, candidates(workload), effort);
        yield { workload: describeWorkload(workload), entries };
      } else {
        const report = (/** @type {import('./suite/run.mjs').Progress} */ { step }) =>
          onProgress({ ...progress, step });
        yield* runSuite({ workloads: [workload], candidates, limits, effort, onProgress: report });
      }
    }
  } finally {
    limits.dispose();
    for (const peer of peers) peer.stop();
  }
}
