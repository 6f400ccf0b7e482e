// Starting the worker of a runtime: from the script carried along, or from what the caller names.

import { nodeModule } from '../platform/node.js';
import { listenTo, makeWorker } from '../platform/start-worker.js';
import { hasWorkers, isWorkerSource } from '../platform/workers.js';
import type { WorkerLike, WorkerSource } from '../platform/workers.js';
import { AttentionError, describe, invalidArgument } from '../runtime/errors.js';

export interface Listeners {
  readonly message: (message: unknown) => void;
  /** The worker is gone, or will never answer. */
  readonly lost: (reason: string, cause?: unknown) => void;
}

/** @throws AttentionError UNSUPPORTED if a worker cannot be had here */
export async function startWorker(
  source: WorkerSource | undefined,
  script: string,
  { message, lost }: Listeners,
): Promise<WorkerLike> {
  if (source !== undefined && !isWorkerSource(source)) {
    throw invalidArgument('worker', 'an address or a function that returns a worker', source);
  }
  try {
    if (typeof source !== 'function' && !hasWorkers()) throw new Error('this platform has no workers');
    const worker = await makeWorker(located(source), script, 'module');
    const isWorker = listenTo(worker, {
      message,
      failed: (reason, cause) => lost(`it failed: ${reason}`, cause),
      ended: (code) => lost(`it ended with code ${code}`),
    });
    if (isWorker) return worker;
    throw new TypeError(`the worker option returned ${describe(worker)}, which is no worker`);
  } catch (cause) {
    throw new AttentionError({
      code: 'UNSUPPORTED',
      message: `a worker could not be started: ${String((cause as Error)?.message ?? cause)}`,
      cause,
    });
  }
}

/** Outside a page an address may be relative to the current folder. */
function located(source: WorkerSource | undefined): WorkerSource | undefined {
  const url = nodeModule('node:url');
  return url && typeof source === 'string' ? new URL(source, url.pathToFileURL(`${process.cwd()}/`)) : source;
}
