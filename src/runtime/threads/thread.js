// What a worker thread runs: it waits for work in the control words, claims tiles, waits again. The package holds this file
// as a string and as `wasm-attention/thread`; it must be a script and a module in every runtime, so it imports nothing.
// The words, and what they mean, are those of `control.ts`, sent along with the first message.

const port = globalThis.process?.getBuiltinModule?.('node:worker_threads')?.parentPort ?? globalThis;
if (port.on) port.once('message', start);
else port.onmessage = ({ data }) => start(data);

function start({ module, memory, control, word, kernels: names, index, spinTime }) {
  const words = new Int32Array(control);
  const load = (at) => Atomics.load(words, at);
  let kernels;
  try {
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    kernels = names.map((name) => exports[name]);
  } catch (error) {
    port.postMessage({ error: String(error) });
    return;
  }

  let seen = load(word.generation);
  port.postMessage({ ready: true });
  for (;;) {
    waitForWork();
    Atomics.add(words, word.running, 1);
    try {
      if (load(word.open)) claimTiles();
    } catch {
      Atomics.store(words, word.failed, 1);
    }
    if (Atomics.sub(words, word.running, 1) === 1) Atomics.notify(words, word.running);
  }

  function waitForWork() {
    const end = performance.now() + spinTime;
    for (let i = 1; load(word.generation) === seen; i++) {
      if (i % 64 === 0 && performance.now() > end) break;
    }
    while (load(word.generation) === seen) {
      Atomics.add(words, word.sleeping, 1);
      Atomics.wait(words, word.generation, seen);
      Atomics.sub(words, word.sleeping, 1);
    }
    seen = load(word.generation);
  }

  function claimTiles() {
    const end = words[word.end];
    const step = words[word.step];
    const kernel = kernels[words[word.kernel]];
    const args = Array.from(words.subarray(word.args, word.args + words[word.argumentCount]));
    const scratch = words[word.scratch] + index * words[word.scratchBytes];
    for (;;) {
      const from = Atomics.add(words, word.next, step);
      if (from >= end) return;
      kernel(...args, scratch, from, Math.min(end, from + step));
    }
  }
}
