// Starting a worker: worker_threads where the platform has them (Node, Bun, Deno), else a Web Worker. From the source
// carried along, or from what the caller names.

import { AttentionError, describe, invalidArgument } from '../runtime/errors.js';

/** A worker of either kind: a Web Worker, or one of node:worker_threads. */
export type AnyWorker = Worker | NodeWorker;

/** What is used of a worker of node:worker_threads. */
export interface NodeWorker {
  /** Sends a message. */
  postMessage(message: unknown, transfer?: readonly ArrayBuffer[]): void;
  /** Listens to 'message', 'error' and 'exit'. */
  on(event: string, listener: (value: unknown) => void): unknown;
  /** Ends the worker. */
  terminate(): unknown;
  /** Keeps the program running. */
  ref(): void;
  /** Lets the program end. */
  unref(): void;
}

/** Where the worker comes from: the address of `wasm-attention/worker`'s file, or a function that starts it. */
export type WorkerSource = string | URL | (() => AnyWorker | Promise<AnyWorker>);

/** A running worker, one interface for both kinds. */
export interface Connection {
  post(message: unknown, transfer: readonly ArrayBuffer[]): void;
  /** Whether the program is kept running by the worker; only Node, Bun and Deno know the difference. */
  hold(held: boolean): void;
  terminate(): void;
}

export interface Listeners {
  readonly message: (message: unknown) => void;
  /** The worker is gone, or will never answer. */
  readonly lost: (reason: string, cause?: unknown) => void;
}

interface WorkerThreads {
  readonly Worker: new (source: string | URL, options: { eval: boolean; name: string }) => NodeWorker;
}

const NAME = 'wasm-attention';

/** @throws AttentionError UNSUPPORTED if a worker cannot be had here */
export async function startWorker(
  source: WorkerSource | undefined,
  inlined: string,
  listeners: Listeners,
): Promise<Connection> {
  if (source !== undefined && !['string', 'function'].includes(typeof source) && !(source instanceof URL)) {
    throw invalidArgument('worker', 'an address or a function that returns a worker', source);
  }
  try {
    const worker = await makeWorker(source, inlined);
    if ('on' in worker) return connectNode(worker, listeners);
    if ('addEventListener' in worker) return connectWeb(worker, listeners);
    throw new TypeError(`the worker option returned ${describe(worker)}, which is no worker`);
  } catch (cause) {
    throw new AttentionError({
      code: 'UNSUPPORTED',
      message: `a worker could not be started: ${String((cause as Error)?.message ?? cause)}`,
      cause,
    });
  }
}

function makeWorker(source: WorkerSource | undefined, inlined: string): AnyWorker | Promise<AnyWorker> {
  if (typeof source === 'function') return source();
  // Asked for at run time, so that no bundler looks for it.
  const threads = globalThis.process?.getBuiltinModule?.('node:worker_threads') as unknown as
    WorkerThreads | undefined;
  if (threads) {
    return source === undefined
      ? new threads.Worker(inlined, { eval: true, name: NAME })
      : new threads.Worker(new URL(source, currentFolder()), { eval: false, name: NAME });
  }
  if (typeof Worker === 'undefined') throw new Error('this platform has no workers');
  if (source !== undefined) return new Worker(source, { type: 'module', name: NAME });
  const address = URL.createObjectURL(new Blob([inlined], { type: 'text/javascript' }));
  const worker = new Worker(address, { name: NAME });
  // Not at once: browsers differ in when they read what the address names.
  worker.addEventListener('message', () => URL.revokeObjectURL(address), { once: true });
  return worker;
}

/** What a relative address is relative to outside a page. */
function currentFolder(): URL {
  return process.getBuiltinModule('node:url').pathToFileURL(`${process.cwd()}/`);
}

function connectNode(worker: NodeWorker, { message, lost }: Listeners): Connection {
  worker.on('message', message);
  worker.on('messageerror', (cause) => lost('a message could not be read', cause));
  worker.on('error', (cause) => lost(`it failed: ${String((cause as Error)?.message ?? cause)}`, cause));
  worker.on('exit', (code) => lost(`it ended with code ${String(code)}`));
  return {
    post: (data, transfer) => worker.postMessage(data, transfer),
    hold: (held) => (held ? worker.ref() : worker.unref()),
    terminate: () => void worker.terminate(),
  };
}

function connectWeb(worker: Worker, { message, lost }: Listeners): Connection {
  worker.addEventListener('message', ({ data }) => message(data));
  worker.addEventListener('messageerror', () => lost('a message could not be read'));
  worker.addEventListener('error', (event) => {
    event.preventDefault?.();
    // Without a message the script itself could not be had: a wrong address, or the page's content security policy.
    const reason =
      event.message || 'its script could not be loaded (address, or Content-Security-Policy worker-src)';
    lost(`it failed: ${reason}`, event.error);
  });
  return {
    post: (data, transfer) => worker.postMessage(data, transfer as ArrayBuffer[]),
    hold: () => {},
    terminate: () => worker.terminate(),
  };
}
