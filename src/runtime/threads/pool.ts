// The worker threads of a runtime, and how a kernel's tiles are shared among them and the calling thread.

import { AttentionError } from '../errors.js';
import type { Packs } from '../../../build/kernels.js';
import type { PackName } from '../packs.js';
import type { Work } from '../tiles.js';
import { CONTROL_BYTES, WORD } from './control.js';
import { spawn } from './spawn.js';
import type { Thread } from './spawn.js';
import type { WorkerSource } from '../../platform/workers.js';

/** About how many claims each thread makes of a work: many, so that all end together; few, so that claiming costs nothing. */
const CLAIMS = 16;
/** Milliseconds that an idle worker, and a caller without tiles left, spin before they sleep. */
const SPIN_TIME = 0.05;
/** Milliseconds that the caller waits for tiles of others, or ten times its own longest claim if that is more. */
const PATIENCE = 700;

export interface PoolOptions {
  /** Of the packs: works name them by their place here. */
  readonly modules: readonly WebAssembly.Module[];
  readonly memory: WebAssembly.Memory;
  /** Threads in all, the caller's included; at least 2. */
  readonly count: number;
  readonly worker: WorkerSource | undefined;
  /** Called when a worker has ended by itself. */
  readonly onExit: () => void;
}

export class ThreadPool {
  /** Threads in all, the caller's included. */
  readonly count: number;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #threads: readonly Thread[];
  /** Of each pack: the number of a kernel is its place among the exports of its module. */
  readonly #numbers: ReadonlyMap<string, number>[];

  private constructor(
    modules: readonly WebAssembly.Module[],
    words: Int32Array<SharedArrayBuffer>,
    threads: readonly Thread[],
  ) {
    this.count = threads.length + 1;
    this.#numbers = modules.map(numberKernels);
    this.#words = words;
    this.#threads = threads;
  }

  /** @throws Error with the reason if a worker does not start; none is left then */
  static async start({ modules, memory, count, worker, onExit }: PoolOptions): Promise<ThreadPool> {
    const control = new SharedArrayBuffer(CONTROL_BYTES);
    const words = new Int32Array(control);
    words[WORD.packs] = modules.length;
    const message = { modules, memory, control, spinTime: SPIN_TIME };
    let ending = false;
    const exited = () => {
      if (!ending) onExit();
    };
    const starts = await Promise.allSettled(
      Array.from({ length: count - 1 }, (_, i) => spawn(worker, { ...message, index: i + 1 }, exited)),
    );
    const threads = starts.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []));
    const failed = starts.find((start) => start.status === 'rejected');
    if (failed) {
      ending = true;
      await Promise.all(threads.map((thread) => thread.end()));
      throw failed.reason;
    }
    return new ThreadPool(modules, words, threads);
  }

  /** How many packs all workers have. */
  get packs(): number {
    return this.#numbers.length;
  }

  /** @throws Error with the reason if a worker does not take the module in; the pool is of no use then */
  async load(module: WebAssembly.Module): Promise<void> {
    const answers = Promise.all(this.#threads.map((thread) => thread.ask({ module })));
    Atomics.add(this.#words, WORD.packs, 1);
    Atomics.add(this.#words, WORD.generation, 1);
    Atomics.notify(this.#words, WORD.generation);
    await answers;
    this.#numbers.push(numberKernels(module));
  }

  /**
   * Runs tiles [from, to) of a work on all threads; returns when they are done.
   *
   * @param pack    place of the work's pack among the modules
   * @param scratch of the caller; those of the workers follow, `scratchBytes` each
   * @throws AttentionError WORKER_LOST if workers do not come back: they may still write where the work writes
   */
  run(
    kernels: Packs[PackName],
    pack: number,
    work: Work,
    scratch: number,
    scratchBytes: number,
    from: number,
    to: number,
  ): void {
    const words = this.#words;
    const { grain = 1 } = work;
    const step = Math.max(1, Math.round((to - from) / (this.count * CLAIMS * grain))) * grain;
    words[WORD.pack] = pack;
    words[WORD.kernel] = this.#numbers[pack]!.get(work.kernel)!;
    words[WORD.end] = to;
    words[WORD.step] = step;
    words[WORD.scratch] = scratch;
    words[WORD.scratchBytes] = scratchBytes;
    words[WORD.argumentCount] = work.args.length;
    words.set(work.args, WORD.args);
    Atomics.store(words, WORD.next, from);
    Atomics.store(words, WORD.open, 1);
    Atomics.add(words, WORD.generation, 1);
    if (Atomics.load(words, WORD.sleeping) > 0) Atomics.notify(words, WORD.generation);
    let longest = 0;
    try {
      longest = this.#claimTiles(kernels, work, scratch, to, step);
    } finally {
      Atomics.store(words, WORD.open, 0);
      if (Atomics.load(words, WORD.running) > 0) this.#wait(Math.max(PATIENCE, 10 * longest));
    }
    if (words[WORD.failed]) throw lost('a kernel failed in a worker thread');
  }

  /** Whether all workers spin, so that they take up work at once. */
  get awake(): boolean {
    return Atomics.load(this.#words, WORD.sleeping) === 0;
  }

  /** Ends the workers; the promise is fulfilled when they surely run no more. */
  async end(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.end()));
  }

  /** Returns the milliseconds of the longest claim. */
  #claimTiles(kernels: Packs[PackName], work: Work, scratch: number, to: number, step: number): number {
    const kernel = (kernels as unknown as Record<string, (...args: number[]) => void>)[work.kernel]!;
    let longest = 0;
    let before = performance.now();
    for (;;) {
      const from = Atomics.add(this.#words, WORD.next, step);
      if (from >= to) return longest;
      kernel(...work.args, scratch, from, Math.min(to, from + step));
      const after = performance.now();
      longest = Math.max(longest, after - before);
      before = after;
    }
  }

  /** Waits until no worker runs: spins, then sleeps where this thread may, or goes on asking where it may not. */
  #wait(patience: number): void {
    const words = this.#words;
    const start = performance.now();
    for (;;) {
      for (let i = 0; i < 64; i++) if (Atomics.load(words, WORD.running) === 0) return;
      const waited = performance.now() - start;
      if (waited > patience) throw lost(`worker threads did not come back within ${Math.round(waited)} ms`);
      const running = Atomics.load(words, WORD.running);
      if (waited > SPIN_TIME && running > 0 && mayWait()) Atomics.wait(words, WORD.running, running, 50);
    }
  }
}

function numberKernels(module: WebAssembly.Module): ReadonlyMap<string, number> {
  return new Map(WebAssembly.Module.exports(module).map(({ name }, number) => [name, number]));
}

function lost(what: string): AttentionError {
  return new AttentionError({
    code: 'WORKER_LOST',
    message: `${what}: the result is undefined; the runtime goes on with one thread and starts new workers when it can`,
  });
}

let waits: boolean | undefined;

/** Whether this thread may sleep: the main thread of a page may not. */
function mayWait(): boolean {
  if (waits === undefined) {
    try {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1, 0);
      waits = true;
    } catch {
      waits = false;
    }
  }
  return waits;
}
