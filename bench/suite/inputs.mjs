// Seeded inputs of a workload: the same numbers on every machine and in every process.

import { projectedWidth } from './workloads.mjs';

/**
 * @typedef {Record<string, Float32Array>} Inputs
 * attention and decode: query, key, value. layer, start and load: x and a PyTorch state dict. product: x, weight.
 * softmax and copy: x.
 */

/** FNV-1a, so that each workload has numbers of its own. @param {string} text */
function seedOf(text) {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** Mulberry32: uniform in (0, 1), never 0, so that its logarithm exists. @param {number} seed */
function uniformGenerator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (((mixed ^ (mixed >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
}

/**
 * Normal numbers of mean 0 (Box-Muller).
 *
 * @param {() => number} uniform
 * @param {number} length
 * @param {number} [deviation]
 */
function normal(uniform, length, deviation = 1) {
  const values = new Float32Array(length);
  for (let i = 0; i < length; i += 2) {
    const radius = deviation * Math.sqrt(-2 * Math.log(uniform()));
    const angle = 2 * Math.PI * uniform();
    values[i] = radius * Math.cos(angle);
    if (i + 1 < length) values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}

/** @param {import('./workloads.mjs').Workload} workload @returns {Inputs} */
export function makeInputs({ id, kind, shapes }) {
  const uniform = uniformGenerator(seedOf(id));
  if (kind === 'product') return productInputs(uniform, shapes);
  if (kind === 'softmax' || kind === 'copy') return { x: normal(uniform, shapes.rows * shapes.columns) };
  if (kind === 'attention' || kind === 'decode') return attentionInputs(uniform, shapes);
  return layerInputs(uniform, shapes);
}

/** @param {() => number} uniform @param {import('./workloads.mjs').ProductShapes} shapes */
const productInputs = (uniform, { rows, columns, inner }) => ({
  x: normal(uniform, rows * inner),
  weight: normal(uniform, columns * inner, 1 / Math.sqrt(inner)),
});

/** @param {() => number} uniform @param {import('./workloads.mjs').Shapes} shapes */
const attentionInputs = (uniform, { batch, heads, keyValueHeads, queries, keys, headDim, valueHeadDim }) => ({
  query: normal(uniform, batch * heads * queries * headDim),
  key: normal(uniform, batch * keyValueHeads * keys * headDim),
  value: normal(uniform, batch * keyValueHeads * keys * valueHeadDim),
});

/** @param {() => number} uniform @param {import('./workloads.mjs').Shapes} shapes */
function layerInputs(uniform, shapes) {
  const { batch, heads, queries, valueHeadDim, embedDim } = shapes;
  const width = projectedWidth(shapes);
  const joined = heads * valueHeadDim;
  return {
    x: normal(uniform, batch * queries * embedDim),
    in_proj_weight: normal(uniform, width * embedDim, 1 / Math.sqrt(embedDim)),
    in_proj_bias: normal(uniform, width, 0.1),
    'out_proj.weight': normal(uniform, embedDim * joined, 1 / Math.sqrt(joined)),
    'out_proj.bias': normal(uniform, embedDim, 0.1),
  };
}

/**
 * Peers that want weights as [inputs, outputs] get PyTorch's [outputs, inputs] turned round, outside every
 * clock.
 *
 * @param {Float32Array} matrix
 * @param {number} rows
 * @param {number} columns
 */
export function transpose(matrix, rows, columns) {
  const turned = new Float32Array(matrix.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++)
      turned[column * rows + row] = matrix[row * columns + column];
  }
  return turned;
}

/**
 * The weights of a workload as [inputs, outputs], by name with their shapes: several peers are several times
 * slower with PyTorch's [outputs, inputs].
 *
 * @param {import('./workloads.mjs').Workload} workload
 * @param {Inputs} inputs
 * @returns {Record<string, [Float32Array, number[]]>}
 */
export function turnWeights({ kind, shapes }, inputs) {
  const turn = (/** @type {string} */ name, /** @type {number} */ outputs, /** @type {number} */ inner) =>
    /** @type {[Float32Array, number[]]} */ ([transpose(inputs[name], outputs, inner), [inner, outputs]]);
  if (kind === 'product') return { product: turn('weight', shapes.columns, shapes.inner) };
  if (!['layer', 'start', 'load'].includes(kind)) return {};
  const { heads, valueHeadDim, embedDim } = shapes;
  const width = projectedWidth(shapes);
  return {
    input: turn('in_proj_weight', width, embedDim),
    inputBias: [inputs.in_proj_bias, [width]],
    output: turn('out_proj.weight', embedDim, heads * valueHeadDim),
    outputBias: [inputs['out_proj.bias'], [embedDim]],
  };
}
