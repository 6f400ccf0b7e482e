// What a worker thread runs: it waits for work in the control words, claims tiles, waits again. The package holds it as a
// string, and as the file `wasm-attention/thread`.

import { WORD } from './control.js';

/** The first and only message to a worker. */
export interface ThreadMessage {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly control: SharedArrayBuffer;
  /** Of this worker, from 1. */
  readonly index: number;
  /** Milliseconds to spin before sleeping. */
  readonly spinTime: number;
}

/** The answer, once. */
export interface ThreadAnswer {
  /** Why it cannot work; absent if it can. */
  readonly error?: string;
}

type Kernel = (...args: number[]) => void;

const { process } = globalThis as {
  process?: { getBuiltinModule?: (name: string) => typeof import('node:worker_threads') | undefined };
};
const parent = process?.getBuiltinModule?.('node:worker_threads')?.parentPort;
if (parent)
  parent.once('message', (message: ThreadMessage) => start(message, (answer) => parent.postMessage(answer)));
else
  globalThis.onmessage = ({ data }: MessageEvent<ThreadMessage>) =>
    start(data, (answer) => postMessage(answer));

function start(message: ThreadMessage, answer: (answer: ThreadAnswer) => void): void {
  const words = new Int32Array(message.control);
  const seen = Atomics.load(words, WORD.generation);
  let kernels: readonly Kernel[];
  try {
    const { exports } = new WebAssembly.Instance(message.module, { env: { memory: message.memory } });
    kernels = WebAssembly.Module.exports(message.module).map(({ name }) => exports[name] as Kernel);
  } catch (error) {
    answer({ error: String(error) });
    return;
  }
  answer({});
  work(words, kernels, message, seen);
}

/** Runs until the thread is ended from outside. */
function work(
  words: Int32Array,
  kernels: readonly Kernel[],
  { index, spinTime }: ThreadMessage,
  seen: number,
): never {
  for (;;) {
    waitForChange(words, seen, spinTime);
    seen = Atomics.load(words, WORD.generation);
    Atomics.add(words, WORD.running, 1);
    try {
      if (Atomics.load(words, WORD.open)) claimTiles(words, kernels, index);
    } catch {
      Atomics.store(words, WORD.failed, 1);
    }
    if (Atomics.sub(words, WORD.running, 1) === 1) Atomics.notify(words, WORD.running);
  }
}

function waitForChange(words: Int32Array, seen: number, spinTime: number): void {
  const end = performance.now() + spinTime;
  do {
    for (let i = 0; i < 64; i++) if (Atomics.load(words, WORD.generation) !== seen) return;
  } while (performance.now() < end);
  Atomics.add(words, WORD.sleeping, 1);
  while (Atomics.load(words, WORD.generation) === seen) Atomics.wait(words, WORD.generation, seen);
  Atomics.sub(words, WORD.sleeping, 1);
}

function claimTiles(words: Int32Array, kernels: readonly Kernel[], index: number): void {
  const end = words[WORD.end]!;
  const step = words[WORD.step]!;
  const kernel = kernels[words[WORD.kernel]!]!;
  const args = words.slice(WORD.args, WORD.args + words[WORD.argumentCount]!);
  const scratch = words[WORD.scratch]! + index * words[WORD.scratchBytes]!;
  for (;;) {
    const from = Atomics.add(words, WORD.next, step);
    if (from >= end) return;
    kernel(...args, scratch, from, Math.min(end, from + step));
  }
}
