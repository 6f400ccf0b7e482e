// Trains the models of this folder: the program behind `npm run train`. See `npm run train -- --help`.

import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { AttentionError, createRuntime } from 'wasm-attention';
import { loadModel, model as modelPack } from 'wasm-attention/model';
import { initialWeights, train, training as trainingPack } from 'wasm-attention/training';

import { Style } from '../examples/lookup/style.mjs';
import { UsageError } from '../examples/lookup/usage-error.mjs';
import { HELP, parseArguments } from './arguments.mjs';
import { Curve, INK, SHOW_CURSOR } from './curve.mjs';
import { tasks } from './tasks.mjs';
import { countOfWeights, hashOfWeights } from './weights.mjs';

/** @typedef {import('./tasks.mjs').Task} Task @typedef {import('./arguments.mjs').Options} Options */

// A reader that has seen enough (`| head`) closes the pipe: not a failure.
process.stdout.on('error', (error) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

/** Aborted by the first Ctrl-C, which ends after the step that is being taken; a second one ends at once. */
const stopper = new AbortController();
const stopping = stopper.signal;
process.on('SIGINT', () => {
  if (stopping.aborted) process.exit(130);
  stopper.abort();
});
process.on('exit', () => {
  if (process.stdout.isTTY) process.stdout.write(SHOW_CURSOR);
});

try {
  await main();
} catch (error) {
  const isUse = error instanceof UsageError;
  if (!isUse && !(error instanceof AttentionError)) throw error;
  console.error(`train: ${error.message}`);
  process.exitCode = isUse ? 2 : 1;
}

async function main() {
  const options = parseArguments(process.argv.slice(2));
  if (options.help) return console.log(HELP);
  const style = Style.of(process.stdout, process.env, options.color);
  for (const name of options.names) {
    const isRight = await learn(await tasks[name](), options, style);
    if (!isRight) process.exitCode = 1;
    if (stopping.aborted) break;
  }
}

/** @param {Task} task @param {Options} options @param {Style} style @returns {Promise<boolean>} whether all is as it should be */
async function learn(task, options, style) {
  const { steps = task.steps, seed = task.seed } = options;
  if (options.check && !task.hashes[steps])
    throw new UsageError(`on record are the weights after ${Object.keys(task.hashes).join(', ')} steps`);
  // The build decides the bits.
  const runtime = await createRuntime({
    build: 'simd',
    threads: options.threads,
    packs: [modelPack, trainingPack],
  });
  const curve = new Curve(process.stdout, style, { ...task, steps });
  try {
    const { config, families } = task;
    const model = await loadModel({
      config,
      weights: await initialWeights({ config, seed, families }),
      runtime,
      families,
    });
    const training = train({
      ...{ model, data: task.data, steps, seed, ...task.settings },
      ...(options.resume && { resume: await bytesOf(options.resume) }),
    });
    await watch(training, task, model, curve);
    curve.end();
    if (options.checkpoint) await writeFile(options.checkpoint, await training.checkpoint());
    if (training.step < steps) {
      console.log(`Stopped after step ${training.step}.`);
      return !options.check;
    }
    const isRight = await report(training.learner, task, model, options, style);
    if (task.write) await show(task.write(model, options.prompt));
    if (options.save) await save(task, model);
    return isRight;
  } finally {
    curve.end();
    runtime.dispose();
  }
}

/** @param {string} path */
async function bytesOf(path) {
  try {
    return await readFile(path);
  } catch (error) {
    throw new UsageError(`there is no file ${path} to go on from (${error.code})`);
  }
}

/** Takes all steps, or those until Ctrl-C. @param {Task} task @param {Curve} curve */
async function watch(training, task, model, curve) {
  for await (const taken of training) {
    const isDue = taken.step % task.watch.every === 0 || taken.step === 1;
    curve.add(taken, isDue ? await task.watch.value(model) : undefined);
    await new Promise(setImmediate); // Ctrl-C is heard between two steps
    if (stopping.aborted) break;
  }
}

/**
 * What was learnt, and whether it is what it has to be.
 *
 * @param {Task} task @param {Options} options @param {Style} style
 */
async function report(learner, task, model, { steps = task.steps, seed = task.seed, check }, style) {
  console.log(`\n${countOfWeights(learner).toLocaleString('en')} weights`);
  const isWhole = steps >= task.steps;
  const below = [];
  for (const [name, { value, bar, isLess = false }] of Object.entries(await task.measure(model))) {
    const isReached = isLess ? value < bar : value > bar;
    if (!isReached) below.push(name);
    const verdict = isReached ? style.ink('reached', INK.reached) : style.ink('not reached', INK.missed);
    const wanted = isWhole ? `  ${isLess ? '<' : '>'} ${String(bar).padEnd(5)} ${verdict}` : '';
    console.log(`  ${name.padEnd(52)} ${value.toFixed(4)}${wanted}`);
  }
  const hash = await hashOfWeights(learner);
  console.log(`SHA-256 of the weights after ${steps} steps from seed ${seed}:\n  ${hash}`);
  if (!check) return true;
  const isSame = hash === task.hashes[steps];
  if (isSame) console.log('  as on record');
  else console.log(`  on record is ${task.hashes[steps]}`);
  return isSame && (!isWhole || below.length === 0);
}

/** What a model writes, as it comes. @param {AsyncIterable<string>} pieces */
async function show(pieces) {
  console.log();
  for await (const piece of pieces) process.stdout.write(piece);
  console.log('\n');
}

/** Weights and config, as `loadModel({ folder })` reads them. @param {Task} task */
async function save({ name, config }, model) {
  const folder = fileURLToPath(new URL(`${name}/`, import.meta.url));
  await writeFile(`${folder}model.safetensors`, model.save());
  await writeFile(`${folder}config.json`, `${JSON.stringify(config, null, 2)}\n`);
  console.log(`Saved: learned/${name}/model.safetensors, learned/${name}/config.json`);
}
