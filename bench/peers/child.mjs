// The process of one peer: answers what remote.mjs asks. Run as: node child.mjs URL, of the peer's module.

import { localCandidate } from '../suite/candidate.mjs';
import { engineClock } from '../suite/clock.mjs';
import { LARGEST_ERROR } from '../suite/run.mjs';
import { workloads } from '../suite/workloads.mjs';

/** @type {import('./peer.mjs').Peer} */
const peer = (await import(process.argv[2])).default;
const clock = engineClock();

/** @type {import('../suite/candidate.mjs').Opened | undefined} */
let current;

/** Each way on its own: some fail at some sizes. @param {import('../suite/workloads.mjs').Workload} workload @param {string} variant @param {number} warmupTime */
function openVariant(workload, variant, warmupTime) {
  const prepare = async (
    /** @type {import('../suite/workloads.mjs').Workload} */ asked,
    /** @type {import('../suite/inputs.mjs').Inputs} */ inputs,
  ) => peer.prepare(asked, inputs, variant, await peer.convert?.(asked, inputs, variant));
  const name = { peer: peer.name, variant, threads: 1 };
  return localCandidate(name, prepare, clock).open(workload, warmupTime);
}

/**
 * Keeps the fastest way that gives right results.
 *
 * @param {import('../suite/workloads.mjs').Workload} workload
 * @param {number} warmupTime
 */
async function open(workload, warmupTime) {
  /** @type {{ variant: string, opened: import('../suite/candidate.mjs').Opened } | undefined} */
  let best;
  /** @type {unknown} */
  let failure;
  const variants = peer.variants(workload);
  if (variants.length === 0) throw new Error('cannot hold this length');
  for (const variant of variants) {
    try {
      const opened = await openVariant(workload, variant, warmupTime);
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
  current = best?.opened;
  if (!best) return null;
  const { error, rootMeanSquareError, fastest } = best.opened;
  return { variant: best.variant, error, rootMeanSquareError, fastest };
}

/** @type {Record<string, (...given: any[]) => unknown>} */
const methods = {
  describe: async () => {
    const available = await peer.available();
    return { available, version: available === true ? await peer.version() : '' };
  },
  open: (id, warmupTime) => {
    const workload = workloads.find((candidate) => candidate.id === id);
    if (!workload) throw new Error(`no workload ${id}`);
    return open(workload, warmupTime);
  },
  turn: (milliseconds) => current?.turn(milliseconds),
  close: async () => {
    await current?.close();
    current = undefined;
  },
};

process.on('message', async (/** @type {{ method: string, given: unknown[] }} */ { method, given }) => {
  try {
    process.send?.({ result: (await methods[method](...given)) ?? null });
  } catch (thrown) {
    process.send?.({ error: thrown instanceof Error ? thrown.message : String(thrown) });
  }
});
process.on('disconnect', () => process.exit());
