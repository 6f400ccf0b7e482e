// The threads of a runtime over its life: started with it, started again after a loss, ended with it.

import type { Packs } from '../../../build/kernels.js';
import { AttentionError } from '../errors.js';
import type { PackName } from '../packs.js';
import type { Work } from '../tiles.js';
import { ThreadPool } from './pool.js';
import type { WorkerSource } from '../../platform/workers.js';

export interface ThreadsOptions {
  /** Of attention. */
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly count: number;
  readonly reason: string;
  readonly worker?: WorkerSource | undefined;
}

/** Workers that end by themselves are replaced so many times; beyond that something is wrong that repeating will not cure. */
const MOST_RESTARTS = 3;

export class Threads {
  /**
   * Work is shared that costs at least so much, or a quarter of it while the workers are awake. Measured on two cores (Zen 5,
   * products): from sleep two threads break even at about 4e6, 80 us of one; awake at 0.3e6.
   */
  leastCost = 4e6;
  readonly #options: ThreadsOptions;
  /** Names and modules of the packs, in the order in which works number them. */
  readonly #packs: string[] = ['attention'];
  readonly #modules: WebAssembly.Module[];
  #pool: ThreadPool | undefined;
  #reason: string;
  #restarts = 0;
  #ended = false;
  /** Pending while workers that were given up may still write. */
  #settling: Promise<void> | undefined;
  /** One pack after the other, so that all threads have them in one order. */
  #loading: Promise<void> = Promise.resolve();

  private constructor(options: ThreadsOptions) {
    this.#options = options;
    this.#reason = options.reason;
    this.#modules = [options.module];
  }

  /** @throws Error with the reason if the workers do not start */
  static async start(this: void, options: ThreadsOptions): Promise<Threads> {
    const threads = new Threads(options);
    await threads.#start();
    return threads;
  }

  /** Threads at present, the caller's included. */
  get count(): number {
    return this.#pool?.count ?? 1;
  }

  /** Why so many. */
  get reason(): string {
    return this.#reason;
  }

  /** Whether threads save time on work of this cost. */
  pay(cost: number): boolean {
    const pool = this.#pool;
    return pool !== undefined && cost >= this.leastCost / 4 && (cost >= this.leastCost || pool.awake);
  }

  /** Runs tiles on all threads; see `ThreadPool.run`. */
  run(
    kernels: Packs[PackName],
    work: Work,
    scratch: number,
    scratchBytes: number,
    from: number,
    to: number,
  ): void {
    try {
      const pack = work.pack ? this.#packs.indexOf(work.pack) : 0;
      this.#pool!.run(kernels, pack, work, scratch, scratchBytes, from, to);
    } catch (error) {
      if (error instanceof AttentionError && error.code === 'WORKER_LOST') this.#lose();
      throw error;
    }
  }

  /**
   * Loads a pack in all threads, those included that run already and those that will be started.
   *
   * @throws AttentionError WORKER_LOST if a thread does not take it in: all are started again without it
   */
  load(name: string, module: WebAssembly.Module): Promise<void> {
    const load = this.#loading.then(async () => {
      const pool = this.#pool;
      try {
        await pool?.load(module);
      } catch (cause) {
        this.#lose(pool);
        throw new AttentionError({
          code: 'WORKER_LOST',
          message: `worker threads could not load the kernel pack '${name}': ${(cause as Error).message}`,
          cause,
        });
      }
      this.#packs.push(name);
      this.#modules.push(module);
    });
    this.#loading = load.catch(() => {});
    return load;
  }

  /** Frees memory when no thread that was given up can write to it any more: mostly at once. */
  whenQuiet(free: () => void): void {
    if (this.#settling) void this.#settling.then(free);
    else free();
  }

  end(): void {
    this.#ended = true;
    void this.#pool?.end();
    this.#pool = undefined;
    this.#reason = 'the runtime was disposed';
  }

  async #start(): Promise<void> {
    const { memory, count, reason, worker } = this.#options;
    const modules = this.#modules.slice();
    const pool = await ThreadPool.start({ modules, memory, count, worker, onExit: () => this.#lose(pool) });
    try {
      // Those that were loaded while they started.
      while (pool.packs < this.#modules.length) await pool.load(this.#modules[pool.packs]!);
    } catch (error) {
      void pool.end();
      throw error;
    }
    if (this.#ended) return void pool.end();
    this.#pool = pool;
    this.#reason = reason;
  }

  /** Lets the present workers go, and starts others. */
  #lose(lost = this.#pool): void {
    const pool = this.#pool;
    if (!pool || pool !== lost) return;
    this.#pool = undefined;
    this.#reason = 'worker threads ended; others are starting';
    const settling = pool.end().then(() => {
      if (this.#settling === settling) this.#settling = undefined;
      if (!this.#ended) void this.#restart();
    });
    this.#settling = settling;
  }

  async #restart(): Promise<void> {
    if (++this.#restarts > MOST_RESTARTS) {
      this.#reason = `worker threads ended ${this.#restarts} times`;
      return;
    }
    try {
      await this.#start();
    } catch (error) {
      this.#reason = `worker threads ended, and others did not start: ${(error as Error).message}`;
    }
  }
}
