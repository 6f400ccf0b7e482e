// Starts workers of browsers and of Node, Bun and Deno, and listens to them. Apart from workers.ts, because few programs have any.

import { nodeModule } from './node.js';
import type { WorkerLike, WorkerSource } from './workers.js';

/** What debuggers call workers. */
const NAME = 'wasm-attention';

/**
 * Starts a worker, unless the source is a function that does.
 *
 * @param script what it runs if there is no source: a classic script
 * @param type   of the file that a source names, in browsers
 * @throws Error where there are no workers or none may be started, or whatever the function throws
 */
export function makeWorker(
  source: WorkerSource | undefined,
  script: string,
  type: WorkerType,
): WorkerLike | Promise<WorkerLike> {
  if (typeof source === 'function') return source();
  const threads = nodeModule('node:worker_threads');
  if (threads) return new threads.Worker(source || script, { eval: !source, name: NAME });
  if (source) return new Worker(source, { type, name: NAME });
  const address = URL.createObjectURL(new Blob([script], { type: 'text/javascript' }));
  // Not at once: browsers differ in when they read what the address names.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  return new Worker(address, { name: NAME });
}

/** What a worker tells, of whichever kind it is. */
export interface Listeners<Message> {
  readonly message: (message: Message) => void;
  readonly failed: (reason: string, cause?: unknown) => void;
  /** It has ended; browsers do not tell. */
  readonly ended: (code: number) => void;
}

type Listen = (event: string, listener: (value: never) => void) => void;

/** Listens to a worker; false if it is none. */
export function listenTo<Message>(
  worker: unknown,
  { message, failed, ended }: Listeners<Message>,
): worker is WorkerLike {
  const { on, addEventListener } = Object(worker) as Record<'on' | 'addEventListener', Listen | undefined>;
  const listen = (on ?? addEventListener)?.bind(worker);
  listen?.('message', (value: Message & MessageEvent<Message>) => message(on ? value : value.data));
  listen?.('messageerror', () => failed('a message could not be read'));
  listen?.('error', (value: Error & ErrorEvent) => {
    value?.preventDefault?.();
    // Without a message the script itself could not be had.
    const reason = on
      ? String(value)
      : 'its script could not be loaded (address, or Content-Security-Policy)';
    failed(value?.message || reason, on ? value : value.error);
  });
  listen?.('exit', ended);
  return listen !== undefined;
}
