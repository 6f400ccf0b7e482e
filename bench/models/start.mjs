// From a model file in memory to the first result, in a process of its own. Run by models.mjs: start.mjs MODEL TOKENS OURS|VARIANT;
// prints one line of JSON: milliseconds of importing the library, and from there on.

import { makeModelFiles, Random, SIZES } from './checkpoint.mjs';
import { graphOf, importRuntime, openSession } from './theirs.mjs';

const [name, count, variant] = process.argv.slice(2);
const files = makeModelFiles(SIZES[name]);
const tokens = Number(count);
const ids = new Random().integers(tokens, files.size.vocabulary);

/** @returns {Promise<{ imported: number, end: number }>} */
async function ours() {
  const { loadModel } = await import('../../dist/model.mjs');
  const imported = performance.now();
  const model = await loadModel({ config: files.config, weights: files.file });
  const output = model.forward({ inputIds: { data: ids, shape: [1, tokens] } });
  output.lastHiddenState.toFloat32Array();
  return { imported, end: performance.now() };
}

/** @param {Uint8Array} graph @param {any} workload @returns {Promise<{ imported: number, end: number }>} */
async function theirs(graph, workload) {
  const library = await importRuntime();
  const imported = performance.now();
  const session = await openSession(library, graph, files, workload, /** @type {any} */ (variant), ids, []);
  await session.run();
  return { imported, end: performance.now() };
}

const workload = { kind: 'encode', tokens, past: 0 };
const graph =
  variant === 'ours'
    ? undefined
    : graphOf(files, /** @type {any} */ (workload), /** @type {any} */ (variant));
const start = performance.now();
const { imported, end } = graph ? await theirs(graph, workload) : await ours();
const line = JSON.stringify({ import: imported - start, firstResult: end - imported });
process.stdout.write(`${line}\n`, () => process.exit());
