// Peer: TensorFlow.js with its WebAssembly backend, SIMD, one thread.

import { fileURLToPath } from 'node:url';
import { turnWeights } from '../suite/inputs.mjs';
import { causalMask, headsPerCall, packageVersion } from './peer.mjs';

async function importLibrary() {
  const tf = await import('@tensorflow/tfjs-core');
  const wasm = await import('@tensorflow/tfjs-backend-wasm');
  if (tf.getBackend() === 'wasm') return tf;
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
  tf.env().set('IS_TEST', true); // Keeps the advice to use the Node backend off the terminal.
  const folder = new URL('../node_modules/@tensorflow/tfjs-backend-wasm/dist/', import.meta.url);
  wasm.setWasmPaths(fileURLToPath(folder));
  await tf.setBackend('wasm');
  await tf.ready();
  return tf;
}

/** Copies K or V for every query head of its group. */
function repeatHeads(/** @type {any} */ tf, /** @type {any} */ x, /** @type {number} */ group) {
  if (group === 1) return x;
  const [batch, heads, length, width] = x.shape;
  return tf.reshape(tf.tile(tf.expandDims(x, 2), [1, 1, group, 1, 1]), [batch, heads * group, length, width]);
}

function attend(
  /** @type {any} */ tf,
  /** @type {any} */ q,
  /** @type {any} */ k,
  /** @type {any} */ v,
  /** @type {any} */ mask,
) {
  const group = q.shape[1] / k.shape[1];
  const scaled = tf.mul(q, 1 / Math.sqrt(q.shape[3]));
  const scores = tf.matMul(scaled, repeatHeads(tf, k, group), false, true);
  const weights = tf.softmax(mask ? tf.add(scores, mask) : scores);
  return tf.matMul(weights, repeatHeads(tf, v, group));
}

/**
 * @param {any} tf
 * @param {import('../suite/workloads.mjs').Workload} workload
 * @param {import('../suite/inputs.mjs').Inputs} inputs
 * @param {any} mask
 */
function runAttention(tf, { shapes, outputLength }, inputs, mask) {
  const { batch, heads, keyValueHeads, queries, keys, headDim, valueHeadDim } = shapes;
  const count = headsPerCall(shapes);
  const groups = (count * keyValueHeads) / heads;
  const output = new Float32Array(outputLength);
  const slice = (
    /** @type {Float32Array} */ from,
    /** @type {number[]} */ dims,
    /** @type {number} */ part,
  ) => {
    const length = dims.reduce((a, b) => a * b, 1);
    return tf.tensor(from.subarray(part * length, (part + 1) * length), dims);
  };
  for (let part = 0; part < (batch * heads) / count; part++) {
    const result = tf.tidy(() =>
      attend(
        tf,
        slice(inputs.query, [1, count, queries, headDim], part),
        slice(inputs.key, [1, groups, keys, headDim], part),
        slice(inputs.value, [1, groups, keys, valueHeadDim], part),
        mask,
      ),
    );
    output.set(result.dataSync(), part * count * queries * valueHeadDim);
    result.dispose();
  }
  return output;
}

/**
 * Keys and values stay in its memory between calls.
 *
 * @param {any} tf
 * @param {import('../suite/workloads.mjs').Shapes} shapes
 * @param {import('../suite/inputs.mjs').Inputs} inputs
 */
function prepareDecode(tf, { batch, heads, keyValueHeads, queries, keys, headDim, valueHeadDim }, inputs) {
  const key = tf.tensor(inputs.key, [batch, keyValueHeads, keys, headDim]);
  const value = tf.tensor(inputs.value, [batch, keyValueHeads, keys, valueHeadDim]);
  const shape = [batch, heads, queries, headDim];
  return {
    run: () => read(tf.tidy(() => attend(tf, tf.tensor(inputs.query, shape), key, value, null))),
    dispose: () => tf.dispose([key, value]),
  };
}

/**
 * @param {any} tf
 * @param {import('../suite/workloads.mjs').Shapes} shapes
 * @param {Float32Array} input
 * @param {any} weights
 * @param {any} mask
 */
function layer(tf, shapes, input, weights, mask) {
  const { batch, heads, keyValueHeads, queries, headDim, valueHeadDim, embedDim } = shapes;
  const x = tf.tensor(input, [batch * queries, embedDim]);
  const packed = tf.add(tf.matMul(x, weights.input), weights.inputBias);
  const sizes = [heads * headDim, keyValueHeads * headDim, keyValueHeads * valueHeadDim];
  const [q, k, v] = tf.split(packed, sizes, 1).map((/** @type {any} */ part, /** @type {number} */ i) => {
    const count = i === 0 ? heads : keyValueHeads;
    return tf.transpose(tf.reshape(part, [batch, queries, count, sizes[i] / count]), [0, 2, 1, 3]);
  });
  const attended = tf.transpose(attend(tf, q, k, v, mask), [0, 2, 1, 3]);
  const joined = tf.reshape(attended, [batch * queries, heads * valueHeadDim]);
  return tf.add(tf.matMul(joined, weights.output), weights.outputBias);
}

/** Reads a result out and frees it. */
function read(/** @type {any} */ tensor) {
  const data = tensor.dataSync();
  tensor.dispose();
  return data;
}

/** @type {import('./peer.mjs').Peer} */
export default {
  name: 'tfjs-wasm',
  version: () => packageVersion('@tensorflow/tfjs-backend-wasm'),
  available: () =>
    importLibrary().then(
      () => true,
      (error) => `cannot be imported: ${error.message}`,
    ),
  variants: () => [''],
  convert: async (workload, inputs) => turnWeights(workload, inputs),
  async prepare(workload, inputs, variant, converted) {
    const tf = await importLibrary();
    const { kind, shapes } = workload;
    if (kind === 'decode') return prepareDecode(tf, shapes, inputs);
    const turned = Object.entries(/** @type {ReturnType<typeof turnWeights>} */ (converted));
    /** @type {Record<string, any>} */
    const weights = Object.fromEntries(turned.map(([name, [data, dims]]) => [name, tf.tensor(data, dims)]));
    const mask = shapes.causal ? tf.tensor(causalMask(shapes), [shapes.queries, shapes.keys]) : null;
    const { rows, columns, inner } = shapes;
    const product = () => tf.matMul(tf.tensor(inputs.x, [rows, inner]), weights.product);
    const softmax = () => tf.softmax(tf.tensor(inputs.x, [rows, columns]));
    const wholeLayer = () => layer(tf, shapes, inputs.x, weights, mask);
    /** @type {Record<string, () => Float32Array>} */
    const runs = {
      product: () => read(tf.tidy(product)),
      softmax: () => read(tf.tidy(softmax)),
      attention: () => runAttention(tf, workload, inputs, mask),
      layer: () => read(tf.tidy(wholeLayer)),
      start: () => read(tf.tidy(wholeLayer)),
    };
    return {
      run: runs[kind],
      dispose: () => tf.dispose([mask, ...Object.values(weights)].filter(Boolean)),
    };
  },
};
