// What both builds of onnxruntime share: a session for each graph, and long attention taken some heads at a
// time.

import { headsPerCall, packageVersion } from '../peer.mjs';
import { buildModel, graphVariants } from './graphs.mjs';

/**
 * @typedef {object} Part what one run of a session does
 * @property {number} model index of the model
 * @property {Record<string, number>} from first element of each input
 * @property {number} to first element of the output
 */

/**
 * A workload as models and runs of them. Only decomposed attention stores scores, so only that is cut.
 *
 * @typedef {{ models: import('../../suite/workloads.mjs').Workload[], parts: Part[] }} Plan
 */

/** Queries in a block: at n = 4096 causal 256 took 0.94 s, 512 1.05 s and 1024 1.26 s in onnxruntime-web. */
const BLOCK = 256;

/** @param {import('../../suite/workloads.mjs').Workload} workload @param {string} variant @returns {Plan} */
function makePlan(workload, variant) {
  if (workload.kind !== 'attention' || !['decomposed', 'blocks'].includes(variant)) {
    return { models: [workload], parts: [{ model: 0, from: {}, to: 0 }] };
  }
  return variant === 'blocks' ? planBlocks(workload) : planHeads(workload);
}

/**
 * First elements of the inputs and the output for a query of a head.
 *
 * @param {import('../../suite/workloads.mjs').Shapes} shapes
 * @param {number} head counted over the batch
 * @param {number} query
 * @param {number} key
 */
function offsets({ heads, keyValueHeads, queries, keys, headDim, valueHeadDim }, head, query, key) {
  const group = Math.floor(head / (heads / keyValueHeads));
  const from = {
    query: (head * queries + query) * headDim,
    key: (group * keys + key) * headDim,
    value: (group * keys + key) * valueHeadDim,
  };
  return { from, to: (head * queries + query) * valueHeadDim };
}

/** Some heads at a time. @param {import('../../suite/workloads.mjs').Workload} workload @returns {Plan} */
function planHeads(workload) {
  const { shapes } = workload;
  const heads = headsPerCall(shapes);
  const keyValueHeads = heads / (shapes.heads / shapes.keyValueHeads);
  const model = { ...workload, shapes: { ...shapes, batch: 1, heads, keyValueHeads } };
  const count = (shapes.batch * shapes.heads) / heads;
  const parts = Array.from({ length: count }, (_, i) => ({ model: 0, ...offsets(shapes, i * heads, 0, 0) }));
  return { models: [model], parts };
}

/** First key that a query sees. @param {import('../../suite/workloads.mjs').Shapes} shapes @param {number} query */
const firstKey = ({ window }, query) => (window > 0 ? Math.max(0, query + 1 - window) : 0);

/** A block of queries of one head at a time. @param {import('../../suite/workloads.mjs').Workload} workload @returns {Plan} */
function planBlocks(workload) {
  const { shapes } = workload;
  const starts = Array.from({ length: Math.ceil(shapes.queries / BLOCK) }, (_, i) => i * BLOCK);
  const models = starts.map((start) => {
    const end = Math.min(start + BLOCK, shapes.queries);
    const keys = (shapes.causal ? end : shapes.keys) - firstKey(shapes, start);
    return {
      ...workload,
      shapes: { ...shapes, batch: 1, heads: 1, keyValueHeads: 1, queries: end - start, keys },
    };
  });
  const parts = Array.from({ length: shapes.batch * shapes.heads }, (_, head) =>
    starts.map((start, model) => ({ model, ...offsets(shapes, head, start, firstKey(shapes, start)) })),
  );
  return { models, parts: parts.flat() };
}

/**
 * Names and shapes of the inputs of one run.
 *
 * @param {import('../../suite/workloads.mjs').Workload} workload
 * @param {string} variant
 * @returns {[string, number[]][]}
 */
function inputShapes({ kind, shapes }, variant) {
  const { batch, heads, keyValueHeads, queries, keys, headDim, valueHeadDim, embedDim } = shapes;
  if (kind === 'product') return [['x', [shapes.rows, shapes.inner]]];
  if (kind === 'softmax') return [['x', [shapes.rows, shapes.columns]]];
  if (kind !== 'attention' && kind !== 'decode') return [['x', [batch, queries, embedDim]]];
  if (kind === 'decode' && variant === 'grouped') {
    return [
      ['query', [batch, 1, heads * headDim]],
      ['newKey', [batch, 1, keyValueHeads * headDim]],
      ['newValue', [batch, 1, keyValueHeads * headDim]],
      ['pastKey', [batch, keyValueHeads, keys - 1, headDim]],
      ['pastValue', [batch, keyValueHeads, keys - 1, headDim]],
    ];
  }
  return [
    ['query', [batch, heads, queries, headDim]],
    ['key', [batch, keyValueHeads, keys, headDim]],
    ['value', [batch, keyValueHeads, keys, valueHeadDim]],
  ];
}

/**
 * The last key and value of each head, and those before them, each together in memory.
 *
 * @param {import('../../suite/workloads.mjs').Shapes} shapes
 * @param {import('../../suite/inputs.mjs').Inputs} inputs
 */
function splitPast({ batch, keyValueHeads, keys, headDim }, { key, value }) {
  const cut = (/** @type {Float32Array} */ from, /** @type {number} */ first, /** @type {number} */ end) => {
    const length = (end - first) * headDim;
    const parts = new Float32Array(batch * keyValueHeads * length);
    for (let head = 0; head < batch * keyValueHeads; head++) {
      const start = (head * keys + first) * headDim;
      parts.set(from.subarray(start, start + length), head * length);
    }
    return parts;
  };
  return {
    newKey: cut(key, keys - 1, keys),
    newValue: cut(value, keys - 1, keys),
    pastKey: cut(key, 0, keys - 1),
    pastValue: cut(value, 0, keys - 1),
  };
}

/** @param {number[]} dims */
const elements = (dims) => dims.reduce((product, size) => product * size, 1);

/**
 * @param {any} library onnxruntime's module
 * @param {any} session
 * @param {[string, number[]][]} shapes
 * @param {import('../../suite/inputs.mjs').Inputs} inputs
 * @param {Record<string, number>} from
 * @returns {Promise<Float32Array>} onnxruntime returns a fresh array: no copy is added here
 */
async function runPart(library, session, shapes, inputs, from) {
  const feeds = shapes.map(([name, dims]) => {
    const start = from[name] ?? 0;
    return [name, new library.Tensor('float32', inputs[name].subarray(start, start + elements(dims)), dims)];
  });
  const results = await session.run(Object.fromEntries(feeds));
  return results[session.outputNames[0]].data;
}

/**
 * onnxruntime-web defines a global `Worker` in Node when it starts, and jax-js would take that for a
 * browser's.
 *
 * @param {any} library
 * @param {unknown} model
 * @param {object} options
 */
async function createSession(library, model, options) {
  const before = Object.getOwnPropertyDescriptor(globalThis, 'Worker');
  const session = await library.InferenceSession.create(model, options);
  if (before) Object.defineProperty(globalThis, 'Worker', before);
  else Reflect.deleteProperty(globalThis, 'Worker');
  return session;
}

/**
 * @param {{ name: string, native: boolean, importLibrary: () => Promise<any>, sessionOptions: object }} runtime
 * @returns {import('../peer.mjs').Peer}
 */
export function onnxPeer({ name, native, importLibrary, sessionOptions }) {
  return {
    name,
    version: () => packageVersion(name),
    available: () =>
      importLibrary().then(
        () => true,
        (error) => `cannot be imported: ${error.message}`,
      ),
    variants: (workload) => graphVariants(workload, { native }),
    convert: async (workload, inputs, variant) =>
      makePlan(workload, variant).models.map((part) =>
        buildModel(part, inputs, /** @type {any} */ (variant)),
      ),
    async prepare(workload, inputs, variant, converted) {
      const library = await importLibrary();
      const { models, parts } = makePlan(workload, variant);
      const shapes = models.map((model) => inputShapes(model, variant));
      const operands =
        workload.kind === 'decode' ? { ...inputs, ...splitPast(workload.shapes, inputs) } : inputs;
      /** @type {any[]} */
      const sessions = [];
      for (const model of /** @type {Uint8Array[]} */ (converted)) {
        sessions.push(await createSession(library, model, sessionOptions));
      }
      const runOne = (/** @type {Part} */ { model, from }) =>
        runPart(library, sessions[model], shapes[model], operands, from);
      return {
        async run() {
          if (parts.length === 1) return runOne(parts[0]);
          const output = new Float32Array(workload.outputLength);
          for (const part of parts) output.set(await runOne(part), part.to);
          return output;
        },
        dispose: async () => void (await Promise.all(sessions.map((session) => session.release()))),
      };
    },
  };
}
