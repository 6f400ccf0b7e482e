// Peer: jax-js with its WebAssembly backend, jitted. It needs Node 22.

import { projectedWidth } from '../workloads.mjs';
import { headsPerCall, packageVersion } from './peer.mjs';

async function importLibrary() {
  const jax = await import('@jax-js/jax');
  await jax.init('wasm');
  jax.defaultDevice('wasm');
  return jax;
}

/** jax-js moves its arguments: every use of an array but the last goes through `.ref`. */
function array(/** @type {any} */ jax, /** @type {Float32Array} */ data, /** @type {number[]} */ dims) {
  return jax.numpy.array(data, { shape: dims });
}

/** Attention over [batch, length, heads, headDim], the layout of its own function. */
const attend = (/** @type {any} */ jax, /** @type {any} */ q, /** @type {any} */ k, /** @type {any} */ v, /** @type {boolean} */ causal) =>
  jax.nn.dotProductAttention(q, k, v, { isCausal: causal });

/** @param {any} jax @param {import('../workloads.mjs').Workload} workload @param {import('../inputs.mjs').Inputs} inputs */
function prepareAttention(jax, { shapes, outputLength }, inputs) {
  const { batch, heads, keyValueHeads, queries, keys, headDim, valueHeadDim, causal } = shapes;
  const count = headsPerCall(shapes);
  const groups = (count * keyValueHeads) / heads;
  const turn = (/** @type {any} */ x) => x.transpose([0, 2, 1, 3]);
  const jitted = jax.jit((/** @type {any} */ q, /** @type {any} */ k, /** @type {any} */ v) =>
    turn(attend(jax, turn(q), turn(k), turn(v), causal)),
  );
  const slice = (/** @type {Float32Array} */ from, /** @type {number[]} */ dims, /** @type {number} */ part) => {
    const length = dims.reduce((a, b) => a * b, 1);
    return array(jax, from.subarray(part * length, (part + 1) * length), dims);
  };
  return async () => {
    const output = new Float32Array(outputLength);
    for (let part = 0; part < (batch * heads) / count; part++) {
      const result = jitted(
        slice(inputs.query, [1, count, queries, headDim], part),
        slice(inputs.key, [1, groups, keys, headDim], part),
        slice(inputs.value, [1, groups, keys, valueHeadDim], part),
      );
      output.set(await result.data(), part * count * queries * valueHeadDim);
    }
    return output;
  };
}

/** @param {any} jax @param {import('../workloads.mjs').Shapes} shapes @param {import('../inputs.mjs').Inputs} inputs */
function prepareLayer(jax, shapes, inputs) {
  const { batch, heads, keyValueHeads, queries, headDim, valueHeadDim, embedDim, causal } = shapes;
  const weights = [
    array(jax, inputs.in_proj_weight, [projectedWidth(shapes), embedDim]),
    array(jax, inputs.in_proj_bias, [projectedWidth(shapes)]),
    array(jax, inputs['out_proj.weight'], [embedDim, heads * valueHeadDim]),
    array(jax, inputs['out_proj.bias'], [embedDim]),
  ];
  const jitted = jax.jit((/** @type {any} */ x, /** @type {any[]} */ ...given) => {
    const [weight, bias, outputWeight, outputBias] = given;
    const packed = jax.numpy.matmul(x, weight.transpose()).add(bias);
    const ends = [heads * headDim, (heads + keyValueHeads) * headDim];
    const parts = jax.numpy.split(packed, ends, 1);
    const [q, k, v] = parts.map((/** @type {any} */ part, /** @type {number} */ i) => {
      const count = i === 0 ? heads : keyValueHeads;
      return part.reshape([batch, queries, count, i === 2 ? valueHeadDim : headDim]);
    });
    const joined = attend(jax, q, k, v, causal).reshape([batch * queries, heads * valueHeadDim]);
    return jax.numpy.matmul(joined, outputWeight.transpose()).add(outputBias);
  });
  return () => {
    const x = array(jax, inputs.x, [batch * queries, embedDim]);
    return jitted(x, ...weights.map((weight) => weight.ref)).data();
  };
}

/** @param {any} jax @param {import('../workloads.mjs').ProductShapes} shapes @param {import('../inputs.mjs').Inputs} inputs */
function prepareProduct(jax, { rows, columns, inner }, inputs) {
  const weight = array(jax, inputs.weight, [columns, inner]);
  const jitted = jax.jit((/** @type {any} */ x, /** @type {any} */ w) => jax.numpy.matmul(x, w.transpose()));
  return () => jitted(array(jax, inputs.x, [rows, inner]), weight.ref).data();
}

/** @param {any} jax @param {import('../workloads.mjs').ProductShapes} shapes @param {import('../inputs.mjs').Inputs} inputs */
function prepareSoftmax(jax, { rows, columns }, inputs) {
  const jitted = jax.jit((/** @type {any} */ x) => jax.nn.softmax(x, -1));
  return () => jitted(array(jax, inputs.x, [rows, columns])).data();
}

/** @type {import('./peer.mjs').Peer} */
export default {
  name: 'jax-js',
  short: 'jax-js',
  version: () => packageVersion('@jax-js/jax'),
  async available() {
    if (Number(process.versions.node.split('.')[0]) < 22) return 'needs Node 22';
    return importLibrary().then(
      () => true,
      (error) => `cannot be imported: ${error.message}`,
    );
  },
  variants: () => [''],
  async prepare(workload, inputs) {
    const jax = await importLibrary();
    const { kind, shapes } = workload;
    /** @type {Record<string, () => () => Promise<Float32Array>>} */
    const makers = {
      product: () => prepareProduct(jax, shapes, inputs),
      softmax: () => prepareSoftmax(jax, shapes, inputs),
      attention: () => prepareAttention(jax, workload, inputs),
      layer: () => prepareLayer(jax, shapes, inputs),
      start: () => prepareLayer(jax, shapes, inputs),
    };
    return { run: makers[kind](), dispose() {} };
  },
};
