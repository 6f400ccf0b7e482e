// Peer: jax-js with its WebAssembly backend, jitted. It needs Node 22.

import { turnWeights } from '../suite/inputs.mjs';
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
const attend = (
  /** @type {any} */ jax,
  /** @type {any} */ q,
  /** @type {any} */ k,
  /** @type {any} */ v,
  /** @type {import('../suite/workloads.mjs').Shapes} */ { causal, window },
) =>
  jax.nn.dotProductAttention(q, k, v, {
    isCausal: causal,
    ...(window > 0 ? { localWindowSize: [window - 1, 0] } : {}),
  });

/**
 * @param {any} jax
 * @param {import('../suite/workloads.mjs').Workload} workload
 * @param {import('../suite/inputs.mjs').Inputs} inputs
 */
function prepareAttention(jax, { shapes, outputLength }, inputs) {
  const { batch, heads, keyValueHeads, queries, keys, headDim, valueHeadDim } = shapes;
  const count = headsPerCall(shapes);
  const groups = (count * keyValueHeads) / heads;
  const turn = (/** @type {any} */ x) => x.transpose([0, 2, 1, 3]);
  const jitted = jax.jit((/** @type {any} */ q, /** @type {any} */ k, /** @type {any} */ v) =>
    turn(attend(jax, turn(q), turn(k), turn(v), shapes)),
  );
  const slice = (
    /** @type {Float32Array} */ from,
    /** @type {number[]} */ dims,
    /** @type {number} */ part,
  ) => {
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

/**
 * Keys and values stay in its memory between calls.
 *
 * @param {any} jax
 * @param {import('../suite/workloads.mjs').Shapes} shapes
 * @param {import('../suite/inputs.mjs').Inputs} inputs
 */
function prepareDecode(jax, shapes, inputs) {
  const { batch, heads, keyValueHeads, queries, keys, headDim, valueHeadDim } = shapes;
  const turn = (/** @type {any} */ x) => x.transpose([0, 2, 1, 3]);
  const key = array(jax, inputs.key, [batch, keyValueHeads, keys, headDim]);
  const value = array(jax, inputs.value, [batch, keyValueHeads, keys, valueHeadDim]);
  const jitted = jax.jit((/** @type {any} */ q, /** @type {any} */ k, /** @type {any} */ v) =>
    turn(attend(jax, turn(q), turn(k), turn(v), shapes)),
  );
  return () => jitted(array(jax, inputs.query, [batch, heads, queries, headDim]), key.ref, value.ref).data();
}

/** @typedef {Record<string, any>} Weights */

/**
 * @param {any} jax
 * @param {import('../suite/workloads.mjs').Shapes} shapes
 * @param {import('../suite/inputs.mjs').Inputs} inputs
 * @param {Weights} weights
 */
function prepareLayer(jax, shapes, inputs, { input, inputBias, output, outputBias }) {
  const { batch, heads, keyValueHeads, queries, headDim, valueHeadDim, embedDim } = shapes;
  const jitted = jax.jit((/** @type {any} */ x, /** @type {any[]} */ ...given) => {
    const [weight, bias, lastWeight, lastBias] = given;
    const packed = jax.numpy.matmul(x, weight).add(bias);
    const ends = [heads * headDim, (heads + keyValueHeads) * headDim];
    const parts = jax.numpy.split(packed, ends, 1);
    const [q, k, v] = parts.map((/** @type {any} */ part, /** @type {number} */ i) => {
      const count = i === 0 ? heads : keyValueHeads;
      return part.reshape([batch, queries, count, i === 2 ? valueHeadDim : headDim]);
    });
    const joined = attend(jax, q, k, v, shapes).reshape([batch * queries, heads * valueHeadDim]);
    return jax.numpy.matmul(joined, lastWeight).add(lastBias);
  });
  return () => {
    const x = array(jax, inputs.x, [batch * queries, embedDim]);
    return jitted(x, input.ref, inputBias.ref, output.ref, outputBias.ref).data();
  };
}

/**
 * @param {any} jax
 * @param {import('../suite/workloads.mjs').ProductShapes} shapes
 * @param {import('../suite/inputs.mjs').Inputs} inputs
 * @param {Weights} weights
 */
function prepareProduct(jax, { rows, inner }, inputs, { product }) {
  const jitted = jax.jit((/** @type {any} */ x, /** @type {any} */ weight) => jax.numpy.matmul(x, weight));
  return () => jitted(array(jax, inputs.x, [rows, inner]), product.ref).data();
}

/**
 * @param {any} jax
 * @param {import('../suite/workloads.mjs').ProductShapes} shapes
 * @param {import('../suite/inputs.mjs').Inputs} inputs
 */
function prepareSoftmax(jax, { rows, columns }, inputs) {
  const jitted = jax.jit((/** @type {any} */ x) => jax.nn.softmax(x, -1));
  return () => jitted(array(jax, inputs.x, [rows, columns])).data();
}

/** @type {import('./peer.mjs').Peer} */
export default {
  name: 'jax-js',
  version: () => packageVersion('@jax-js/jax'),
  async available() {
    if (Number(globalThis.process?.versions.node.split('.')[0]) < 22) return 'needs Node 22';
    return importLibrary().then(
      () => true,
      (error) => `cannot be imported: ${error.message}`,
    );
  },
  variants: () => [''],
  convert: async (workload, inputs) => turnWeights(workload, inputs),
  async prepare(workload, inputs, variant, converted) {
    const jax = await importLibrary();
    const turned = Object.entries(/** @type {ReturnType<typeof turnWeights>} */ (converted));
    const weights = Object.fromEntries(turned.map(([name, [data, dims]]) => [name, array(jax, data, dims)]));
    const { kind, shapes } = workload;
    /** @type {Record<string, () => () => Promise<Float32Array>>} */
    const makers = {
      product: () => prepareProduct(jax, shapes, inputs, weights),
      softmax: () => prepareSoftmax(jax, shapes, inputs),
      attention: () => prepareAttention(jax, workload, inputs),
      decode: () => prepareDecode(jax, shapes, inputs),
      layer: () => prepareLayer(jax, shapes, inputs, weights),
      start: () => prepareLayer(jax, shapes, inputs, weights),
    };
    const dispose = () => Object.values(weights).forEach((weight) => weight.dispose());
    return { run: makers[kind](), dispose };
  },
};
