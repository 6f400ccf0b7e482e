// What a peer answers, in the process or worker of its own, to what remote.mjs asks.

import { localCandidate } from '../suite/candidate.mjs';
import { engineClock } from '../suite/clock.mjs';
import { LARGEST_ERROR } from '../suite/run.mjs';
import { workloads } from '../suite/workloads.mjs';

/** @typedef {import('../suite/workloads.mjs').Workload} Workload */

/** Each way on its own: some fail at some sizes. @param {import('./peer.mjs').Peer} peer @param {Workload} workload @param {string} variant @param {number} warmupTime @param {import('../suite/clock.mjs').Clock} clock */
function openVariant(peer, workload, variant, warmupTime, clock) {
  const prepare = async (
    /** @type {Workload} */ asked,
    /** @type {import('../suite/inputs.mjs').Inputs} */ inputs,
  ) => peer.prepare(asked, inputs, variant, await peer.convert?.(asked, inputs, variant));
  const name = { peer: peer.name, variant, threads: 1 };
  return localCandidate(name, prepare, clock).open(workload, warmupTime);
}

/**
 * The fastest way that gives right results; null if the peer has no such function.
 *
 * @param {import('./peer.mjs').Peer} peer
 * @param {Workload} workload
 * @param {number} warmupTime
 * @param {import('../suite/clock.mjs').Clock} clock
 */
async function openBest(peer, workload, warmupTime, clock) {
  /** @type {{ variant: string, opened: import('../suite/candidate.mjs').Opened } | undefined} */
  let best;
  /** @type {unknown} */
  let failure;
  const variants = peer.variants(workload);
  if (variants.length === 0) throw new Error('cannot hold this length');
  for (const variant of variants) {
    try {
      const opened = await openVariant(peer, workload, variant, warmupTime, clock);
      if (!opened) continue;
      const isRight = opened.error <= LARGEST_ERROR;
      const isBetter =
        !best || (isRight && !(best.opened.error <= LARGEST_ERROR && best.opened.fastest <= opened.fastest));
      await (isBetter ? best?.opened.close() : opened.close());
      if (isBetter) best = { variant, opened };
    } catch (error) {
      failure = error;
    }
  }
  if (!best && failure !== undefined) throw failure;
  return best ?? null;
}

/**
 * @param {import('./peer.mjs').Peer} peer
 * @returns {(question: { method: string, given: unknown[] }) => Promise<{ result: unknown } | { error: string }>}
 */
export function answering(peer) {
  const clock = engineClock();
  /** @type {import('../suite/candidate.mjs').Opened | undefined} */
  let current;

  /** @type {Record<string, (...given: any[]) => unknown>} */
  const methods = {
    async describe() {
      const available = await peer.available();
      return { available, version: available === true ? await peer.version() : '' };
    },
    async open(id, warmupTime) {
      const workload = workloads.find((candidate) => candidate.id === id);
      if (!workload) throw new Error(`no workload ${id}`);
      const best = await openBest(peer, workload, warmupTime, clock);
      current = best?.opened;
      if (!best) return null;
      const { error, rootMeanSquareError, fastest } = best.opened;
      return { variant: best.variant, error, rootMeanSquareError, fastest };
    },
    turn: (milliseconds) => current?.turn(milliseconds),
    async close() {
      await current?.close();
      current = undefined;
    },
  };

  return async ({ method, given }) => {
    try {
      return { result: (await methods[method](...given)) ?? null };
    } catch (thrown) {
      return { error: thrown instanceof Error ? thrown.message : String(thrown) };
    }
  };
}
