// The option `threads`: what it may be, and what it asks for.

import { invalidArgument } from '../errors.js';
import type { NamesOf } from '../checks.js';
import { processors, whyNoThreads } from '../../platform/threads.js';
import { isWorkerSource } from '../../platform/workers.js';
import type { WorkerSource } from '../../platform/workers.js';

/** How many threads, whether they must be, and where their workers come from. */
export interface ThreadOptions {
  /** Threads in all, the calling one included; 'auto' (default): one per processor, at most 8. */
  readonly count?: 'auto' | number | undefined;
  /** True makes it an error if there cannot be as many; default false: one thread then, and `runtime.info` says why. */
  readonly required?: boolean | undefined;
  /**
   * Where workers come from, for pages whose content security policy forbids `worker-src blob:`: the URL at which the file
   * `wasm-attention/thread` is served, or a function that starts a worker from it or promises to.
   */
  readonly worker?: WorkerSource | undefined;
}

export const THREADS_NAMES = { count: 1, required: 1, worker: 1 } satisfies NamesOf<ThreadOptions>;

export interface WantedThreads {
  readonly count: number;
  /** Why so many. */
  readonly reason: string;
  readonly required?: boolean | undefined;
  readonly worker?: WorkerSource | undefined;
}

/** What 'auto' takes at most: more share the memory's bandwidth, and more was not measured. */
const MOST_AUTOMATIC = 8;
const MOST = 64;

export function readThreads(threads: 'auto' | number | ThreadOptions | undefined): WantedThreads {
  if (threads === undefined) return { count: 1, reason: 'no more asked for' };
  const options = typeof threads === 'object' && threads !== null ? threads : { count: threads };
  const { count = 'auto', required, worker } = options;
  if (worker !== undefined && !isWorkerSource(worker)) {
    throw invalidArgument('threads.worker', 'a URL, or a function that starts a worker', worker);
  }
  if (count === 'auto') {
    const available = processors();
    const reason =
      available === 1 ? (whyNoThreads() ?? 'there is one processor') : `there are ${available} processors`;
    return { count: Math.min(available, MOST_AUTOMATIC), reason, required, worker };
  }
  if (Number.isInteger(count) && count >= 1 && count <= MOST) {
    return { count, reason: 'asked for', required, worker };
  }
  throw invalidArgument(
    options === threads ? 'threads.count' : 'threads',
    `'auto' or an integer from 1 to ${MOST}`,
    count,
  );
}
