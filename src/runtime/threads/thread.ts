// What a worker thread runs: it waits for work in the control words, claims tiles, waits again; and takes in the modules of
// packs. The package holds it as a string, and as the file `wasm-attention/thread`.

import { serve } from '../../platform/parent.js';
import { WORD } from './control.js';

/** The first message to a worker. */
interface StartMessage {
  /** Of the packs, in their order. */
  readonly modules: readonly WebAssembly.Module[];
  readonly memory: WebAssembly.Memory;
  readonly control: SharedArrayBuffer;
  /** Of this worker, from 1. */
  readonly index: number;
  /** Milliseconds to spin before sleeping. */
  readonly spinTime: number;
}

/** A later message: one more pack. */
interface PackMessage {
  readonly module: WebAssembly.Module;
}

export type ThreadMessage = StartMessage | PackMessage;

/** The answer to each message. */
export interface ThreadAnswer {
  /** Why it cannot work; absent if it can. */
  readonly error?: string;
}

type Kernel = (...args: number[]) => void;

const parent = serve(receive);
const answer = (given: ThreadAnswer) => parent.postMessage(given);
let started: StartMessage;
/** The kernels of each pack by their numbers. */
const packs: (readonly Kernel[])[] = [];

function receive(message: ThreadMessage): void {
  if ('control' in message) started = message;
  const words = new Int32Array(started.control);
  const seen = Atomics.load(words, WORD.generation);
  try {
    const modules = 'control' in message ? message.modules : [message.module];
    for (const module of modules) packs.push(kernelsOf(module));
  } catch (error) {
    answer({ error: String(error) });
    return;
  }
  answer({});
  work(words, seen);
}

function kernelsOf(module: WebAssembly.Module): readonly Kernel[] {
  const { exports } = new WebAssembly.Instance(module, { env: { memory: started.memory } });
  return WebAssembly.Module.exports(module).map(({ name }) => exports[name] as Kernel);
}

/** Runs until the thread is ended from outside, or until there is another pack. */
function work(words: Int32Array, seen: number): void {
  while (Atomics.load(words, WORD.packs) === packs.length) {
    waitForChange(words, seen);
    seen = Atomics.load(words, WORD.generation);
    Atomics.add(words, WORD.running, 1);
    try {
      if (Atomics.load(words, WORD.open)) claimTiles(words);
    } catch {
      Atomics.store(words, WORD.failed, 1);
    }
    if (Atomics.sub(words, WORD.running, 1) === 1) Atomics.notify(words, WORD.running);
  }
}

function waitForChange(words: Int32Array, seen: number): void {
  const end = performance.now() + started.spinTime;
  do {
    for (let i = 0; i < 64; i++) if (Atomics.load(words, WORD.generation) !== seen) return;
  } while (performance.now() < end);
  Atomics.add(words, WORD.sleeping, 1);
  while (Atomics.load(words, WORD.generation) === seen) Atomics.wait(words, WORD.generation, seen);
  Atomics.sub(words, WORD.sleeping, 1);
}

function claimTiles(words: Int32Array): void {
  const end = words[WORD.end]!;
  const step = words[WORD.step]!;
  const kernel = packs[words[WORD.pack]!]![words[WORD.kernel]!]!;
  const args = words.slice(WORD.args, WORD.args + words[WORD.argumentCount]!);
  const scratch = words[WORD.scratch]! + started.index * words[WORD.scratchBytes]!;
  for (;;) {
    const from = Atomics.add(words, WORD.next, step);
    if (from >= end) return;
    kernel(...args, scratch, from, Math.min(end, from + step));
  }
}
