// The worker: trains, and tells how it goes. A training works in slices between turns of the event loop, so that what the page says
// is heard in the middle of it.
//
//   'start', 'stop'  ->  { begun }, { losses, seen }, ..., { stopped } or { done } or { error }

import { createRuntime } from 'wasm-attention';
import { loadModel, model as modelPack } from 'wasm-attention/model';
import { initialWeights, train, training as trainingPack } from 'wasm-attention/training';
import { look, task } from '../../learned/induction/task.mjs';
import { countOfWeights, hashOfWeights } from '../../learned/weights.mjs';

/** Milliseconds from one message to the next: pictures enough, and time to learn. */
const PAUSE = 80;

let isWanted = false;
let training;
let model;
/** Losses that the page has not heard of. @type {{ step: number, value: number }[]} */
let losses = [];
let told = 0;

self.addEventListener('message', ({ data }) => {
  isWanted = data === 'start';
  if (isWanted) learn().catch(fail);
});
begin().catch(fail);

function fail(error) {
  self.postMessage({ error: error.message });
}

/** The same model, from the same seed, in the build whose bits are the same everywhere. */
async function begin() {
  const { config, families, seed, steps, data, settings } = task;
  const runtime = await createRuntime({ build: 'simd', packs: [modelPack, trainingPack] });
  const weights = await initialWeights({ config, seed, families });
  model = await loadModel({ config, weights, runtime, families });
  training = train({ model, data, steps, seed, ...settings });
  self.postMessage({
    begun: { steps, bar: task.watch.bar, weights: countOfWeights(training.learner) },
    seen: look(model),
  });
}

/** Goes on until the last step, or until the page says stop. */
async function learn() {
  for await (const { step, loss, tokensPerSecond } of training) {
    losses.push({ step, value: loss });
    if (performance.now() - told > PAUSE || step === 1) tell(tokensPerSecond);
    if (!isWanted) break;
  }
  tell();
  if (training.step < task.steps) self.postMessage({ stopped: true });
  else self.postMessage({ done: await outcome() });
}

function tell(tokensPerSecond) {
  self.postMessage({ losses, tokensPerSecond, seen: { step: training.step, ...look(model) } });
  losses = [];
  told = performance.now();
}

async function outcome() {
  const hash = await hashOfWeights(training.learner);
  return { measures: await task.measure(model), hash, recorded: task.hashes[task.steps] };
}
