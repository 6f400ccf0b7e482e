// What both builds of onnxruntime share: a session for each graph, and long attention taken some heads at a time.

import { headsPerCall, packageVersion } from '../peer.mjs';
import { buildModel, graphVariants } from './graphs.mjs';

/**
 * The part of the workload that one run of the session does. Only decomposed graphs store scores, so only they are cut.
 *
 * @param {import('../../workloads.mjs').Workload} workload
 * @param {string} variant
 * @returns {import('../../workloads.mjs').Workload}
 */
function workloadPerRun(workload, variant) {
  const { kind, shapes } = workload;
  if (kind !== 'attention' || variant !== 'decomposed') return workload;
  const heads = headsPerCall(shapes);
  const keyValueHeads = heads / (shapes.heads / shapes.keyValueHeads);
  return { ...workload, shapes: { ...shapes, heads, keyValueHeads } };
}

/**
 * Names and shapes of the inputs of one run.
 *
 * @param {import('../../workloads.mjs').Workload} workload
 * @returns {[string, number[]][]}
 */
function inputShapes({ kind, shapes }) {
  const { batch, heads, keyValueHeads, queries, keys, headDim, valueHeadDim, embedDim } = shapes;
  if (kind === 'product') return [['x', [shapes.rows, shapes.inner]]];
  if (kind === 'softmax') return [['x', [shapes.rows, shapes.columns]]];
  if (kind !== 'attention') return [['x', [batch, queries, embedDim]]];
  return [
    ['query', [batch, heads, queries, headDim]],
    ['key', [batch, keyValueHeads, keys, headDim]],
    ['value', [batch, keyValueHeads, keys, valueHeadDim]],
  ];
}

/** @param {number[]} dims */
const elements = (dims) => dims.reduce((product, size) => product * size, 1);

/**
 * @param {any} library onnxruntime's module
 * @param {any} session
 * @param {[string, number[]][]} shapes
 * @param {import('../../inputs.mjs').Inputs} inputs
 * @param {number} part which of the equal parts of the inputs
 * @returns {Promise<Float32Array>} onnxruntime returns a fresh array: no copy is added here
 */
async function runPart(library, session, shapes, inputs, part) {
  const feeds = shapes.map(([name, dims]) => {
    const length = elements(dims);
    return [name, new library.Tensor('float32', inputs[name].subarray(part * length, (part + 1) * length), dims)];
  });
  const results = await session.run(Object.fromEntries(feeds));
  return results[session.outputNames[0]].data;
}

/**
 * @param {{ name: string, short: string, native: boolean, importLibrary: () => Promise<any>, sessionOptions: object }} runtime
 * @returns {import('../peer.mjs').Peer}
 */
export function onnxPeer({ name, short, native, importLibrary, sessionOptions }) {
  return {
    name,
    short,
    version: () => packageVersion(name),
    available: () =>
      importLibrary().then(
        () => true,
        (error) => `cannot be imported: ${error.message}`,
      ),
    variants: (workload) => graphVariants(workload, { native }),
    convert: async (workload, inputs, variant) =>
      buildModel(workloadPerRun(workload, variant), inputs, /** @type {any} */ (variant)),
    async prepare(workload, inputs, variant, converted) {
      const library = await importLibrary();
      const session = await library.InferenceSession.create(converted, sessionOptions);
      const shapes = inputShapes(workloadPerRun(workload, variant));
      const parts = inputs[shapes[0][0]].length / elements(shapes[0][1]);
      return {
        async run() {
          if (parts === 1) return runPart(library, session, shapes, inputs, 0);
          const output = new Float32Array(workload.outputLength);
          for (let part = 0; part < parts; part++) {
            output.set(await runPart(library, session, shapes, inputs, part), (part * output.length) / parts);
          }
          return output;
        },
        dispose: () => session.release(),
      };
    },
  };
}
