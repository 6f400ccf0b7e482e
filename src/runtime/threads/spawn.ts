// Workers that compute: started with what they compute on, asked one thing at a time, ended.

import { listenTo, makeWorker } from '../../platform/start-worker.js';
import type { WorkerSource } from '../../platform/workers.js';
import { describe } from '../errors.js';
import script from './thread.js?inline';
import type { ThreadAnswer, ThreadMessage } from './thread.js';

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
  const made = makeWorker(from, script, 'classic');
  const worker = await inTime(Promise.resolve(made), 'start', (late) => late?.terminate?.());
  let started = false;
  let asked: { resolve: () => void; reject: (reason: Error) => void } | undefined;
  const fail = (reason: string) => asked?.reject(new Error(reason));
  const isWorker = listenTo(worker, {
    message: ({ error }: ThreadAnswer) =>
      error === undefined ? asked?.resolve() : fail(`a worker could not load the kernels: ${error}`),
    failed: (reason) => fail(`a worker failed${started ? '' : ' to start'}: ${reason}`),
    ended: () => {
      fail(started ? 'a worker ended' : 'a worker ended while it started');
      if (started) onExit();
    },
  });
  if (!isWorker) throw new Error(`threads.worker returned ${describe(worker)}, which is no worker`);
  const thread = {
    ask(message: ThreadMessage) {
      const answer = new Promise<void>((resolve, reject) => {
        asked = { resolve, reject };
        worker.postMessage(message, []);
      });
      return inTime(answer, started ? 'answer' : 'start');
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
  worker.unref?.();
  return thread;
}

/** What is promised, or an error if that takes too long; what comes later is handed to `late`. */
async function inTime<T>(promise: Promise<T>, what: string, late?: (value: T) => unknown): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`a worker did not ${what} within ${ANSWER_TIME / 1000} s`));
      if (late) void promise.then(late, () => {});
    }, ANSWER_TIME);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
