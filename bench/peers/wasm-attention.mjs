// This library, through its public API; its builds are its variants.

import { readFile } from 'node:fs/promises';
import { projectedWidth } from '../workloads.mjs';

const importLibrary = () => import('../../dist/index.mjs');

/** @typedef {any} Library the module as built: its types are checked by its own tests */

/**
 * @param {Library} library
 * @param {any} runtime
 * @param {import('../workloads.mjs').Shapes} shapes
 * @param {import('../inputs.mjs').Inputs} inputs
 */
function prepareAttention(library, runtime, shapes, inputs) {
  const { batch, heads, keyValueHeads, queries, keys, headDim, valueHeadDim, causal } = shapes;
  const tensors = () => [
    runtime.tensor(inputs.query, [batch, heads, queries, headDim]),
    runtime.tensor(inputs.key, [batch, keyValueHeads, keys, headDim]),
    runtime.tensor(inputs.value, [batch, keyValueHeads, keys, valueHeadDim]),
  ];
  return () => {
    const operands = tensors();
    const { output } = library.scaledDotProductAttention(...operands, { causal });
    return takeOut(output, operands);
  };
}

/**
 * A copy that outlives the tensor; frees it and what it came from.
 *
 * @param {any} output
 * @param {any[]} operands
 */
function takeOut(output, operands) {
  const result = output.toFloat32Array();
  output.dispose();
  for (const operand of operands) operand.dispose();
  return result;
}

/**
 * @param {Library} library
 * @param {any} runtime
 * @param {import('../workloads.mjs').Shapes} shapes
 * @param {import('../inputs.mjs').Inputs} inputs
 */
function prepareLayer(library, runtime, shapes, inputs) {
  const { batch, heads, keyValueHeads, queries, valueHeadDim, embedDim, causal } = shapes;
  const options = { embedDim, numHeads: heads, numKeyValueHeads: keyValueHeads, causal };
  const layer = new library.MultiHeadAttention(runtime, options);
  const width = projectedWidth(shapes);
  layer.load({
    in_proj_weight: { data: inputs.in_proj_weight, shape: [width, embedDim] },
    in_proj_bias: { data: inputs.in_proj_bias, shape: [width] },
    'out_proj.weight': { data: inputs['out_proj.weight'], shape: [embedDim, heads * valueHeadDim] },
    'out_proj.bias': { data: inputs['out_proj.bias'], shape: [embedDim] },
  });
  return () => {
    const x = runtime.tensor(inputs.x, [batch, queries, embedDim]);
    return takeOut(layer.forward(x).output, [x]);
  };
}

/**
 * Packs outside the clock, as a layer does once.
 *
 * @param {Library} library
 * @param {any} runtime
 * @param {import('../workloads.mjs').ProductShapes} shapes
 * @param {import('../inputs.mjs').Inputs} inputs
 */
function prepareProduct(library, runtime, { rows, columns, inner }, inputs) {
  const weights = new library.LinearWeights(runtime, { data: inputs.weight, shape: [columns, inner] });
  return () => {
    const x = runtime.tensor(inputs.x, [rows, inner]);
    return takeOut(library.linear(x, weights), [x]);
  };
}

/**
 * @param {Library} library
 * @param {any} runtime
 * @param {import('../workloads.mjs').ProductShapes} shapes
 * @param {import('../inputs.mjs').Inputs} inputs
 */
function prepareSoftmax(library, runtime, { rows, columns }, inputs) {
  return () => {
    const x = runtime.tensor(inputs.x, [rows, columns]);
    return takeOut(library.softmax(x), [x]);
  };
}

/**
 * @param {Library} library
 * @param {any} runtime
 * @param {import('../workloads.mjs').Workload} workload
 * @param {import('../inputs.mjs').Inputs} inputs
 * @returns {(() => Float32Array) | null} null where the library has no such function
 */
function prepareRun(library, runtime, { kind, shapes }, inputs) {
  if (kind === 'attention') return prepareAttention(library, runtime, shapes, inputs);
  if (kind === 'layer' || kind === 'start') return prepareLayer(library, runtime, shapes, inputs);
  if (kind === 'product') return prepareProduct(library, runtime, shapes, inputs);
  if (kind === 'softmax') return prepareSoftmax(library, runtime, shapes, inputs);
  return null;
}

/** @type {import('./peer.mjs').Peer} */
export default {
  name: 'wasm-attention',
  short: 'ours',
  async version() {
    return JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')).version;
  },
  available: () =>
    importLibrary().then(
      () => true,
      (error) => `is not built (npm run build): ${error.message.split('\n')[0]}`,
    ),
  variants: () => ['simd', 'relaxed'],
  async prepare(workload, inputs, build) {
    const library = await importLibrary();
    const runtime = await library.createRuntime({ build });
    const run = prepareRun(library, runtime, workload, inputs);
    if (run === null) {
      runtime.dispose();
      return null;
    }
    return { run, dispose: () => runtime.dispose() };
  },
};
