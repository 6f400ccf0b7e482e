// Seconds of attention that the page does not feel: a runtime in a worker, with progress and abort. Beside it the same work
// on the page's own thread, so that the difference can be seen.

import { causal, createWorkerRuntime } from 'wasm-attention/worker-runtime';

const HEADS = 8;
const HEAD_DIM = 64;

const element = (id) => document.getElementById(id);
const nextFrame = () => new Promise((resolve) => window.requestAnimationFrame(resolve));

const runtime = await createWorkerRuntime({ threads: 'auto' }).catch((error) => {
  element('result').textContent = error.message; // which says what is missing
  throw error;
});
const { build, threads, threadsReason } = runtime.info;
element('runtime').textContent =
  `${build} build, ${threads} ${threads === 1 ? 'thread' : 'threads'} (${threadsReason})`;

/** What tells that the page is alive: frames since the start of a run, and the longest wait for one, in milliseconds. */
const alive = { frames: 0, longest: 0, last: performance.now() };

let control = new AbortController();
element('abort').addEventListener('click', () => control.abort());
element('start').addEventListener('click', () => run('worker', () => attendInWorker));
element('block').addEventListener('click', () => run('page', openHere));
showState('ready', false);
moveDot();

/** Runs what `open` gives, and shows how the page fared meanwhile. */
async function run(row, open) {
  control = new AbortController();
  showState('', true);
  const attend = await open();
  const tokens = Number(element('tokens').value);
  const numbers = randomNumbers(HEADS * tokens * HEAD_DIM);
  await nextFrame();
  Object.assign(alive, { frames: 0, longest: 0, last: performance.now() });
  const start = performance.now();
  const seconds = () => `${((performance.now() - start) / 1000).toFixed(2)} s`;
  try {
    const values = await attend(numbers, [1, HEADS, tokens, HEAD_DIM]);
    const [time, frames] = [seconds(), alive.frames];
    await nextFrame(); // which ends the wait
    const last = Array.from(values.slice(-3), (value) => value.toFixed(3));
    const cells = [time, frames, `${alive.longest.toFixed(0)} ms`];
    cells.forEach((text, i) => (element(row).cells[i + 1].textContent = text));
    showState(`${tokens} tokens in ${time}; the last channels: ${last.join(', ')}`, false);
  } catch (error) {
    showState(control.signal.aborted ? `aborted after ${seconds()}` : error.message, false);
  }
}

async function attendInWorker(numbers, shape) {
  const x = await runtime.tensor(numbers, shape, { transfer: true }); // given away, not copied
  try {
    const { output } = await runtime.scaledDotProductAttention(x, x, x, {
      mask: causal(),
      signal: control.signal,
      onProgress: ({ done, total }) => (element('progress').value = done / total),
      read: true, // the numbers come along with the result
    });
    const values = await output.read();
    output.dispose();
    return values;
  } finally {
    x.dispose();
  }
}

/** What a page should not do for longer than a frame: a call that returns when it is done. */
async function openHere() {
  const { createRuntime, scaledDotProductAttention } = await import('wasm-attention');
  const here = await createRuntime({ threads: 'auto' });
  return (numbers, shape) => {
    const x = here.tensor(numbers, shape);
    const { output } = scaledDotProductAttention(x, x, x, { causal: true });
    const values = output.toFloat32Array();
    here.dispose();
    return values;
  };
}

function showState(text, busy) {
  element('result').textContent = text;
  for (const id of ['start', 'block']) element(id).disabled = busy;
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

/** A step with every frame, to and fro. */
function moveDot() {
  const now = performance.now();
  alive.frames++;
  alive.longest = Math.max(alive.longest, now - alive.last);
  alive.last = now;
  const phase = (now / 1500) % 2;
  element('dot').style.left = `${100 * (phase < 1 ? phase : 2 - phase)}%`;
  window.requestAnimationFrame(moveDot);
}
