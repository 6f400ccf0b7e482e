// Trains `text` and leaves in a folder all that another library needs to do the same, and what came out: pytorch.py goes by it.
//
//   node learned/text/record.mjs FOLDER [--steps N] [--threads N]
//
//   config.json, initial.safetensors   the model before the first step
//   batches.bin                        int32, little-endian, [steps, batch, length + 1]: inputs, and labels one further
//   held-out.bin                       the same of the chapters that are held out, [rows, length + 1]
//   training.json                      settings, the rate of each step, the loss before each step, the loss on what is held out
//   checkpoint.safetensors             after the last step, for `npm run train -- text --resume`

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { createRuntime } from 'wasm-attention';
import { loadModel, model as modelPack } from 'wasm-attention/model';
import { evaluate, initialWeights, train, training as trainingPack } from 'wasm-attention/training';

import { libraryVersion } from '../../bench/facts.mjs';
import { hashOfWeights } from '../weights.mjs';
import { readBook } from './book.mjs';
import { makeTask, OPTIMIZER } from './task.mjs';

const {
  values: options,
  positionals: [folder],
} = parseArgs({
  allowPositionals: true,
  options: { steps: { type: 'string' }, threads: { type: 'string', default: '1' } },
});
if (folder === undefined) {
  console.error('usage: node learned/text/record.mjs FOLDER [--steps N] [--threads N]');
  process.exit(2);
}

const task = makeTask(readBook());
const { config, families, seed } = task;
const steps = Number(options.steps ?? task.steps);
await mkdir(folder, { recursive: true });
const save = (/** @type {string} */ name, /** @type {string | Uint8Array} */ data) =>
  writeFile(join(folder, name), data);

/** Each row of a batch with its last label. @param {{ inputs: { inputIds: Int32Array[] }, labels: Int32Array }} batch */
const rowsOf = ({ inputs: { inputIds }, labels }) =>
  inputIds.map((ids, row) => [...ids, labels[(row + 1) * ids.length - 1]]);

/** @param {number[][]} rows */
const bytesOf = (rows) => new Uint8Array(Int32Array.from(rows.flat()).buffer);

const weights = await initialWeights({ config, seed, families });
await save('config.json', `${JSON.stringify(config, null, 2)}\n`);
await save('initial.safetensors', weights);
await save('held-out.bin', bytesOf(task.heldOut.flatMap(rowsOf)));

const runtime = await createRuntime({
  build: 'simd',
  threads: Number(options.threads),
  packs: [modelPack, trainingPack],
});
const model = await loadModel({ config, weights, families, runtime });
/** @type {number[][]} */
const rows = [];
const data = (/** @type {number} */ step, /** @type {any} */ random) => {
  const batch = task.data(step, random);
  rows.push(...rowsOf(/** @type {any} */ (batch)));
  return batch;
};
const losses = [];
const start = performance.now();
const training = train({ model, data, steps, seed, ...task.settings });
for await (const { step, loss, tokensPerSecond } of training) {
  losses.push(loss);
  if (step % 50 === 0 || step === 1)
    console.log(`step ${step}: loss ${loss.toFixed(4)}, ${Math.round(tokensPerSecond)} tokens/s`);
}
const seconds = (performance.now() - start) / 1000;
const heldOut = await evaluate(model, task.heldOut);
console.log(`${seconds.toFixed(0)} s; held out: loss ${heldOut.loss.toFixed(4)}`);
await save('checkpoint.safetensors', await training.checkpoint());
await save('batches.bin', bytesOf(rows));
const { learningRate, groups, ...rates } = OPTIMIZER;
const record = {
  version: libraryVersion(),
  engine: process.version,
  build: runtime.info.build,
  hash: await hashOfWeights(training.learner),
  steps,
  batch: rows.length / steps,
  length: rows[0].length - 1,
  optimizer: { ...rates, withoutDecay: groups[0].match.source, maxNorm: 1 },
  rates: losses.map((_, i) => learningRate(i + 1)),
  losses,
  heldOut: heldOut.loss,
  seconds,
};
await save('training.json', `${JSON.stringify(record, null, 1)}\n`);
runtime.dispose();
