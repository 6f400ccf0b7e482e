// A step of training through this library, by itself or taken by `train`, and where its time goes.

import { createRuntime } from '../../dist/index.mjs';
import { benchmark } from '../../dist/benchmark.mjs';
import { loadModel, model as kernels } from '../../dist/model.mjs';
import { AdamW, clipGradients, crossEntropy, train, Trainable, training } from '../../dist/training.mjs';
import { OPTIMIZER } from './workloads.mjs';

/** @param {string} build @param {number} [threads] */
export const openRuntime = (build, threads = 1) =>
  createRuntime({
    build,
    packs: [kernels, training, benchmark],
    ...(threads > 1 && { threads: { count: threads, required: true } }),
  });

/**
 * @param {any} runtime
 * @param {import('./workloads.mjs').Task} task
 * @param {{ recompute?: boolean }} [options]
 */
export async function openTraining(runtime, { files, ids, labels, batch, length }, options = {}) {
  const { config, file } = files;
  const model = await loadModel({ config, weights: file, runtime });
  const learner = new Trainable(model, options);
  const { maxNorm, ...rates } = OPTIMIZER;
  const optimizer = new AdamW(learner, rates);
  const shape = [batch, length];
  const parts = {
    forward: () => learner.forward({ inputIds: { data: ids, shape } }),
    loss: (/** @type {any} */ output) => crossEntropy(output.logits, { data: labels, shape }),
    backward: (/** @type {any} */ output, /** @type {any} */ gradient) =>
      learner.backward(output.record, { logits: gradient }),
    clip: () => clipGradients(learner, maxNorm),
    update: () => optimizer.step(),
    zero: () => learner.zeroGradients(),
  };
  const step = (/** @type {(part: string) => void} */ enter = () => undefined) => {
    enter('forward');
    const output = parts.forward();
    enter('loss');
    const { loss, gradient } = parts.loss(output);
    enter('backward');
    parts.backward(output, gradient).dispose();
    gradient.dispose();
    output.dispose();
    enter('update');
    parts.clip();
    parts.update();
    parts.zero();
    return loss;
  };
  return {
    step,
    dispose() {
      optimizer.dispose();
      learner.dispose();
      model.dispose();
    },
  };
}

/**
 * The same steps, taken by `train`: in slices between turns of the event loop, its checks and random numbers included.
 *
 * @param {any} runtime
 * @param {import('./workloads.mjs').Task} task
 */
export async function openLoop(runtime, { files, ids, labels, batch, length }) {
  const model = await loadModel({ config: files.config, weights: files.file, runtime });
  const { maxNorm, ...rates } = OPTIMIZER;
  const loop = train({
    ...{ model, maxNorm, steps: Number.MAX_SAFE_INTEGER },
    data: () => ({ inputs: { inputIds: { data: ids, shape: [batch, length] } }, labels }),
    optimizer: (learner) => new AdamW(learner, rates),
  });
  const steps = loop[Symbol.asyncIterator]();
  return {
    async step() {
      const { value } = await steps.next();
      return value.loss;
    },
    dispose() {
      loop.dispose();
      model.dispose();
    },
  };
}

/** What a kernel is for, by its name and the part of the step that calls it. */
function partOf(/** @type {string} */ kernel, /** @type {string} */ phase) {
  if (/^(fusedProduct|product|productsOfRows)$/.test(kernel))
    return phase === 'backward' ? 'products, gradients of inputs' : 'products, forward';
  const parts = {
    'products, gradients of weights': /^(addWeightGradient|addPartials|columnPartials|sumsOfRows)$/,
    'products, weights turned': /^transposePanels$/,
    'attention, backward': /^attentionBackward|^mergeAttentionBackward/,
    'attention, forward': /^attention|^mergeAttention/,
    'norms, backward': /^normBackward$/,
    'norms, forward': /^normRows$/,
    activations: /^activation|^gated/,
    embedding: /^(lookupRows|addLookedUp)$/,
    loss: /^crossEntropyRows$/,
    optimiser: /^(stepAdamW|sumSquares|scaleValues)$/,
    'additions and copies': /^(addRows|copyElements)$/,
  };
  const found = Object.entries(parts).find(([, names]) => names.test(kernel));
  return found?.[0] ?? kernel;
}

/**
 * Puts a clock around every kernel of a runtime of one thread, from here on.
 *
 * @param {any} runtime
 */
export function clockKernels(runtime) {
  /** @type {Map<string, { part: string, kernel: string, phase: string, calls: number, milliseconds: number }>} */
  const spent = new Map();
  let phase = '';
  const clocked = (/** @type {Record<string, any>} */ kernels) =>
    Object.fromEntries(
      Object.entries(kernels).map(([kernel, run]) => [
        kernel,
        typeof run !== 'function'
          ? run
          : (/** @type {number[]} */ ...args) => {
              const start = performance.now();
              const result = run(...args);
              const milliseconds = performance.now() - start;
              const key = `${phase} ${kernel}`;
              const entry = spent.get(key) ?? {
                ...{ part: partOf(kernel, phase), kernel, phase, calls: 0, milliseconds: 0 },
              };
              entry.calls += 1;
              entry.milliseconds += milliseconds;
              spent.set(key, entry);
              return result;
            },
      ]),
    );
  const own = clocked(runtime.kernels);
  /** @type {Map<string, object>} */
  const packs = new Map();
  const original = runtime.kernelsOf.bind(runtime);
  Object.defineProperty(runtime, 'kernels', { value: own });
  Object.defineProperty(runtime, 'kernelsOf', {
    value: (/** @type {string} */ pack) => {
      if (!packs.has(pack)) packs.set(pack, clocked(original(pack)));
      return packs.get(pack);
    },
  });
  return { spent, enter: (/** @type {string} */ next) => (phase = next) };
}

/**
 * Milliseconds of the parts of a step, the fastest of several.
 *
 * @param {string} build
 * @param {import('./workloads.mjs').Task} task
 * @param {number} steps
 */
export async function profile(build, task, steps) {
  const runtime = await openRuntime(build);
  const opened = await openTraining(runtime, task);
  opened.step();
  const { spent, enter } = clockKernels(runtime);
  let whole = Infinity;
  /** @type {{ part: string, kernel: string, phase: string, calls: number, milliseconds: number }[]} */
  let entries = [];
  for (let step = 0; step < steps; step++) {
    spent.clear();
    const start = performance.now();
    opened.step(enter);
    const time = performance.now() - start;
    if (time >= whole) continue;
    whole = time;
    entries = [...spent.values()];
  }
  runtime.dispose();
  return { whole, entries: entries.sort((a, b) => b.milliseconds - a.milliseconds) };
}
