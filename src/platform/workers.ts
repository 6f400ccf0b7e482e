// Workers of browsers and of Node, Bun and Deno, as one thing; start-worker.ts starts them.

import { nodeModule } from './node.js';

/** A worker of either kind: a `Worker` of the web, or one of `node:worker_threads`. */
export interface WorkerLike {
  /** As of a `Worker`. */
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  /** As of a `Worker`; a promise, if there is one, says when the worker has ended. */
  terminate(): unknown;
  /** Keeps the program running; only Node, Bun and Deno know the difference. */
  ref?(): void;
  /** Lets the program end. */
  unref?(): void;
}

/** Where a worker comes from: the address of the file it runs, or a function that starts one from it or promises to. */
export type WorkerSource = string | URL | (() => WorkerLike | Promise<WorkerLike>);

/** Whether there are workers of either kind. */
export function hasWorkers(): boolean {
  return nodeModule('node:worker_threads') !== undefined || typeof Worker !== 'undefined';
}

/** Whether a worker can come from it. */
export function isWorkerSource(source: unknown): source is WorkerSource {
  return typeof source === 'string' || typeof source === 'function' || source instanceof URL;
}
