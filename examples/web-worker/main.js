// Seconds of attention that the page does not feel: a runtime in a worker, with progress and abort.

import { causal, createWorkerRuntime } from 'wasm-attention/worker-runtime';

const HEADS = 8;
const HEAD_DIM = 64;

const element = (id) => document.getElementById(id);
const runtime = await createWorkerRuntime({ threads: 'auto' }).catch((error) => {
  element('result').textContent = error.message; // which says what is missing
  throw error;
});
const { build, threads, threadsReason } = runtime.info;
element('runtime').textContent =
  `${build} build, ${threads} ${threads === 1 ? 'thread' : 'threads'} (${threadsReason})`;

/** What tells that the page is alive: frames it has shown since the start, and the longest time without one, in ms. */
const alive = { frames: 0, longest: 0 };

let control = new AbortController();
element('abort').addEventListener('click', () => control.abort());
element('start').addEventListener('click', () => attend(Number(element('tokens').value)));
showState('ready', false);
countFrames();

async function attend(tokens) {
  control = new AbortController();
  showState('', true);
  Object.assign(alive, { frames: 0, longest: 0 });
  const start = performance.now();
  const seconds = () => `${((performance.now() - start) / 1000).toFixed(2)} s`;
  const numbers = randomNumbers(HEADS * tokens * HEAD_DIM);
  const x = await runtime.tensor(numbers, [1, HEADS, tokens, HEAD_DIM], { transfer: true }); // given away, not copied
  try {
    const { output } = await runtime.scaledDotProductAttention(x, x, x, {
      mask: causal(),
      signal: control.signal,
      onProgress: ({ done, total }) => (element('progress').value = done / total),
      read: true, // the numbers come along with the result
    });
    const values = await output.read();
    output.dispose();
    const last = Array.from(values.slice(-3), (value) => value.toFixed(3));
    showState(`${tokens} tokens in ${seconds()}; the last channels: ${last.join(', ')}`, false);
  } catch (error) {
    showState(control.signal.aborted ? `aborted after ${seconds()}` : error.message, false);
  } finally {
    x.dispose();
  }
}

function showState(text, busy) {
  element('result').textContent = text;
  element('start').disabled = busy;
  element('abort').disabled = !busy;
  if (busy) element('progress').value = 0;
}

/** From -1 to 1, the same every time: a linear congruential generator. */
function randomNumbers(length) {
  const numbers = new Float32Array(length);
  let state = 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    numbers[i] = state / 2 ** 31;
  }
  return numbers;
}

function countFrames() {
  let last = performance.now();
  window.requestAnimationFrame(function next(now) {
    alive.frames++;
    alive.longest = Math.max(alive.longest, now - last);
    last = now;
    element('wheel').style.rotate = `${(6 * alive.frames) % 360}deg`;
    element('frames').textContent = `${alive.frames} frames, ${alive.longest.toFixed(0)} ms the longest`;
    window.requestAnimationFrame(next);
  });
}
