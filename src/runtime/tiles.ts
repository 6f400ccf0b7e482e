// The junction of all heavy work: every operation runs its kernels through `runTiles`, over independent tiles. Who runs
// which tile, and when, does not change a bit: a tile writes its own part of the output and reads what no tile writes.

import type { Packs, TileKernels } from '../../build/kernels.js';
import { ALIGNMENT } from './allocator.js';
import type { PackName } from './packs.js';
import type { Runtime } from './runtime.js';
import type { Threads } from './threads/threads.js';

/** What a kernel takes before scratch and range. */
type Arguments<Kernel> = Kernel extends (...args: [...infer Own, number, number, number]) => void
  ? Own
  : never;

interface Tiled<Pack extends PackName, Name extends TileKernels[Pack] & keyof Packs[Pack]> {
  readonly kernel: Name;
  /** All arguments before scratch and range: addresses and integers. */
  readonly args: Readonly<Arguments<Packs[Pack][Name]>>;
  readonly tiles: number;
  /** Tiles that a thread should take together. Default 1. */
  readonly grain?: number;
  /** For each thread. */
  readonly scratchBytes: number;
  /** Of all tiles, roughly, in floating-point operations of a product: 50 or so take a nanosecond. */
  readonly cost: number;
}

/** Default: attention. */
type OfPack<Pack extends PackName> = Pack extends 'attention'
  ? { readonly pack?: Pack }
  : { readonly pack: Pack };

type WorkOf<Pack extends PackName> = {
  [Name in TileKernels[Pack] & keyof Packs[Pack]]: Tiled<Pack, Name> & OfPack<Pack>;
}[TileKernels[Pack] & keyof Packs[Pack]];

/** A kernel over its tiles. */
export type Work = { [Pack in PackName]: WorkOf<Pack> }[PackName];

type Tiles = Record<string, (...args: number[]) => void>;

/** Runs tiles [from, to) of a work and returns when they are done. */
export function runTiles(runtime: Runtime, work: Work, from = 0, to = work.tiles): void {
  const { linearMemory, threads } = runtime;
  const kernels = work.pack ? runtime.kernelsOf(work.pack) : runtime.kernels;
  if (threads && to - from > 1 && threads.pay((work.cost * (to - from)) / work.tiles)) {
    runOnThreads(runtime, threads, kernels, work, from, to);
    return;
  }
  const top = linearMemory.stackTop;
  const pushed = linearMemory.push(work.scratchBytes);
  const scratch = pushed || linearMemory.allocate(work.scratchBytes);
  const args: number[] = work.args.slice();
  args.push(scratch, from, to); // spreading them all at once takes V8 30 ns longer
  try {
    (kernels as unknown as Tiles)[work.kernel]!(...args);
  } finally {
    linearMemory.stackTop = top;
    if (!pushed) linearMemory.free(scratch);
  }
}

function runOnThreads(
  { linearMemory }: Runtime,
  threads: Threads,
  kernels: Packs[PackName],
  work: Work,
  from: number,
  to: number,
): void {
  // Whole cache lines, so that no two threads write to the same one.
  const scratchBytes = Math.ceil(work.scratchBytes / ALIGNMENT) * ALIGNMENT;
  // A work without scratch cannot fail: steps of optimisers count on it.
  const scratch = scratchBytes && linearMemory.allocate(scratchBytes * threads.count);
  try {
    threads.run(kernels, work, scratch, scratchBytes, from, to);
  } finally {
    threads.whenQuiet(() => linearMemory.free(scratch));
  }
}
