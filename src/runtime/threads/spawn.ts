// Workers of browsers and of Node, Bun and Deno, as one thing.

import { describe } from '../errors.js';
import source from './thread.js?inline';
import type { ThreadAnswer, ThreadMessage } from './thread.js';

/** What is common to the workers of all runtimes. */
export interface WorkerLike {
  /** As of a `Worker`. */
  postMessage(message: unknown): void;
  /** As of a `Worker`; a promise, if there is one, says when the worker has ended. */
  terminate(): unknown;
}

/** Where a worker comes from: the URL of `wasm-attention/thread`, or a function that starts one from it or promises to. */
export type WorkerSource = string | URL | (() => WorkerLike | Promise<WorkerLike>);

type NodeWorker = WorkerLike & {
  on(event: string, listener: (value: never) => void): void;
  unref(): void;
};

type NodeThreads = { Worker: new (source: string | URL, options?: object) => NodeWorker };

function nodeModule(name: string): unknown {
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } };
  return process?.getBuiltinModule?.(name);
}

/** Processors this program may use, at least 1. */
export function processors(): number {
  const os = nodeModule('node:os') as { availableParallelism?: () => number } | undefined;
  return os?.availableParallelism?.() ?? globalThis.navigator?.hardwareConcurrency ?? 1;
}

/** Why there can be no threads here, or undefined if there can. */
export function whyNoThreads(): string | undefined {
  // First, because browsers hide SharedArrayBuffer from such pages.
  if ((globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated === false) {
    return 'the page is not cross-origin isolated (it needs the headers COOP: same-origin and COEP: require-corp)';
  }
  if (typeof SharedArrayBuffer === 'undefined') return 'there is no SharedArrayBuffer here';
  // workerd may have Node's module, whose Worker throws.
  const isWorkerd = globalThis.navigator?.userAgent === 'Cloudflare-Workers';
  if (isWorkerd || (!nodeModule('node:worker_threads') && typeof Worker === 'undefined'))
    return 'there are no workers here';
  return undefined;
}

function create(from: WorkerSource | undefined): WorkerLike | Promise<WorkerLike> {
  if (typeof from === 'function') return from();
  const threads = nodeModule('node:worker_threads') as NodeThreads | undefined;
  if (threads) return from ? new threads.Worker(from) : new threads.Worker(source, { eval: true });
  if (from) return new Worker(from);
  const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
  try {
    return new Worker(url);
  } finally {
    // The worker has the address by now; what it names is read before it is let go.
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }
}

/** A running worker. */
export interface Thread {
  /**
   * Sends a message and waits for the answer.
   *
   * @throws Error with the reason if it says that it cannot, fails, ends, or says nothing
   */
  ask(message: ThreadMessage): Promise<void>;
  /** Ends it; the promise is fulfilled when it surely runs no more. */
  end(): Promise<void>;
}

/** Milliseconds that a worker gets to answer, and that an ended one gets where nothing tells when it has stopped. */
const ANSWER_TIME = 10_000;
const END_TIME = 1000;

/**
 * Starts a worker with its first message and waits until it says that it is ready.
 *
 * @param onExit called if it ends by itself, where the platform tells
 * @throws Error with the reason if it does not start
 */
export async function spawn(
  from: WorkerSource | undefined,
  message: ThreadMessage,
  onExit: () => void,
): Promise<Thread> {
  const worker = await create(from);
  if (typeof worker?.postMessage !== 'function') {
    throw new Error(`threads.worker returned ${describe(worker)}, which is no worker`);
  }
  const node = 'on' in worker ? (worker as NodeWorker) : undefined;
  let started = false;
  let asked: { resolve: () => void; reject: (reason: Error) => void } | undefined;
  const fail = (reason: string) => asked?.reject(new Error(reason));
  const onMessage = ({ error }: ThreadAnswer) =>
    error === undefined ? asked?.resolve() : fail(`a worker could not load the kernels: ${error}`);
  const onError = (error: { message?: string } | undefined) =>
    fail(
      `a worker failed${started ? '' : ' to start'}: ${error?.message || 'no reason given (a content security policy?)'}`,
    );
  if (node) {
    node.on('message', onMessage);
    node.on('error', onError);
    node.on('exit', () => {
      fail(started ? 'a worker ended' : 'a worker ended while it started');
      if (started) onExit();
    });
  } else {
    const web = worker as Worker;
    web.onmessage = ({ data }) => onMessage(data as ThreadAnswer);
    web.onerror = (event) => {
      event.preventDefault();
      onError(event);
    };
  }
  const thread = {
    async ask(message: ThreadMessage) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      try {
        await new Promise<void>((resolve, reject) => {
          asked = { resolve, reject };
          const late = started ? 'answer' : 'start';
          timer = setTimeout(
            () => fail(`a worker did not ${late} within ${ANSWER_TIME / 1000} s`),
            ANSWER_TIME,
          );
          worker.postMessage(message);
        });
      } finally {
        clearTimeout(timer);
      }
    },
    async end() {
      fail('a worker was ended');
      // Node's promise is kept when the thread has ended; browsers return nothing.
      const ended = worker.terminate();
      if (ended instanceof Promise) await ended;
      else await new Promise((resolve) => setTimeout(resolve, END_TIME));
    },
  };
  try {
    await thread.ask(message);
  } catch (error) {
    void thread.end();
    throw error;
  }
  started = true;
  node?.unref();
  return thread;
}
