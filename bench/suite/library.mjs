// This library's way of doing each workload, through its public API. The module itself is handed in: a runner imports it
// the way its engine does.

import { OWN } from './analysis.mjs';
import { localCandidate } from './candidate.mjs';
import { projectedWidth } from './workloads.mjs';

/** @typedef {any} Library the module as built: its types are checked by its own tests */
/** @typedef {{ library: Library, runtime: any, shapes: any, inputs: import('./inputs.mjs').Inputs }} Given */

/** A copy that outlives the tensor, which is freed. @param {any} output */
function takeOut(output) {
  const result = output.toFloat32Array();
  output.dispose();
  return result;
}

/** @param {Given} given */
function prepareAttention({ library, runtime, shapes, inputs }) {
  const { batch, heads, keyValueHeads, queries, keys, headDim, valueHeadDim, causal, window } = shapes;
  const options = { runtime, ...(window > 0 ? { window: { left: window - 1, right: 0 } } : { causal }) };
  const query = { data: inputs.query, shape: [batch, heads, queries, headDim] };
  const key = { data: inputs.key, shape: [batch, keyValueHeads, keys, headDim] };
  const value = { data: inputs.value, shape: [batch, keyValueHeads, keys, valueHeadDim] };
  return () => takeOut(library.scaledDotProductAttention(query, key, value, options).output);
}

/** Keys and values stay in a cache, where tokens before the clock have put them. @param {Given} given */
function prepareDecode({ library, runtime, shapes, inputs }) {
  const { batch, heads, keyValueHeads, queries, keys, headDim, valueHeadDim } = shapes;
  const sizes = { batch, numKeyValueHeads: keyValueHeads, headDim, valueHeadDim, capacity: keys };
  const cache = new library.KeyValueCache(runtime, sizes);
  cache.append(
    0,
    { data: inputs.key, shape: [batch, keyValueHeads, keys, headDim] },
    { data: inputs.value, shape: [batch, keyValueHeads, keys, valueHeadDim] },
  );
  const query = { data: inputs.query, shape: [batch, heads, queries, headDim] };
  return () => takeOut(cache.attend(0, query).output);
}

/** @param {Given} given */
function prepareLayer({ library, runtime, shapes, inputs }) {
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
  const x = { data: inputs.x, shape: [batch, queries, embedDim] };
  return () => takeOut(layer.forward(x).output);
}

/** Packs outside the clock, as a layer does once. @param {Given} given */
function prepareProduct({ library, runtime, shapes: { rows, columns, inner }, inputs }) {
  const weights = new library.LinearWeights(runtime, { data: inputs.weight, shape: [columns, inner] });
  const x = { data: inputs.x, shape: [rows, inner] };
  return () => takeOut(library.linear(x, weights));
}

/** @param {Given} given */
function prepareSoftmax({ library, runtime, shapes: { rows, columns }, inputs }) {
  const x = { data: inputs.x, shape: [rows, columns] };
  return () => takeOut(library.softmax(x, { runtime }));
}

/** @param {Given} given */
const prepareCopy =
  ({ runtime, shapes: { rows, columns }, inputs }) =>
  () =>
    takeOut(runtime.tensor(inputs.x, [rows, columns]));

/** @type {Record<string, (given: Given) => () => Float32Array>} */
const makers = {
  attention: prepareAttention,
  decode: prepareDecode,
  layer: prepareLayer,
  start: prepareLayer,
  product: prepareProduct,
  softmax: prepareSoftmax,
  copy: prepareCopy,
};

/** From `createRuntime` to the first result, each time anew. @param {Library} library @param {object} options @param {any} shapes @param {import('./inputs.mjs').Inputs} inputs */
const prepareLoad = (library, options, shapes, inputs) => async () => {
  const runtime = await library.createRuntime(options);
  const output = prepareLayer({ library, runtime, shapes, inputs })();
  runtime.dispose();
  return output;
};

/**
 * @param {Library} library
 * @returns {import('./candidate.mjs').Prepare} variants are builds
 */
export const libraryPrepare =
  (library) =>
  async ({ kind, shapes }, inputs, build, threads) => {
    const options = threads > 1 ? { build, threads } : { build };
    if (kind === 'load') return { run: prepareLoad(library, options, shapes, inputs), dispose() {} };
    const runtime = await library.createRuntime(options);
    if (runtime.info.threads !== threads) {
      const found = runtime.info.threads;
      runtime.dispose();
      throw Object.assign(
        new Error(`runs with ${found} thread${found === 1 ? '' : 's'} here, not ${threads}`),
        { code: 'UNSUPPORTED' },
      );
    }
    return { run: makers[kind]({ library, runtime, shapes, inputs }), dispose: () => runtime.dispose() };
  };

/**
 * This library's ways of doing a workload in this engine: each build, on one thread and on as many as are asked for.
 *
 * @param {Library} library
 * @param {readonly string[]} builds
 * @param {readonly number[]} threads
 * @param {import('./clock.mjs').Clock} clock
 * @returns {(workload: import('./workloads.mjs').Workload) => import('./candidate.mjs').Candidate[]}
 */
export function ownCandidates(library, builds, threads, clock) {
  const prepare = libraryPrepare(library);
  const all = [1, ...threads.filter((count) => count > 1)].flatMap((count) =>
    builds.map((variant) => localCandidate({ peer: OWN, variant, threads: count }, prepare, clock)),
  );
  return (workload) => all.filter((candidate) => candidate.threads === 1 || workload.threads);
}
