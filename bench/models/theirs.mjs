// The models through onnxruntime-web, one thread.

import { DECODER_VARIANTS, decoderGraph, ENCODER_VARIANTS, encoderGraph, pastInputs } from './onnx.mjs';

/** @typedef {import('./onnx.mjs').Variant} Variant */

export async function importRuntime() {
  const library = await import('onnxruntime-web/wasm');
  library.env.wasm.numThreads = 1;
  library.env.logLevel = 'error';
  return library;
}

const SESSION_OPTIONS = /** @type {const} */ ({
  executionProviders: ['wasm'],
  graphOptimizationLevel: 'all',
  logSeverityLevel: 3,
});

/** @param {import('./workloads.mjs').ModelWorkload} workload */
export const variantsOf = ({ kind }) => (kind === 'encode' ? ENCODER_VARIANTS : DECODER_VARIANTS);

/** @param {import('./checkpoint.mjs').ModelFiles} files @param {import('./workloads.mjs').ModelWorkload} workload @param {Variant} variant */
export const graphOf = (files, { kind, tokens, past }, variant) =>
  kind === 'encode' ? encoderGraph(files, tokens, variant) : decoderGraph(files, tokens, past, variant);

/**
 * @param {any} library
 * @param {Uint8Array} graph
 * @param {import('./checkpoint.mjs').ModelFiles} files
 * @param {import('./workloads.mjs').ModelWorkload} workload
 * @param {Variant} variant
 * @param {Int32Array} ids
 * @param {import('./float64.mjs').Past[]} past
 */
export async function openSession(library, graph, { size }, workload, variant, ids, past) {
  const session = await library.InferenceSession.create(graph, SESSION_OPTIONS);
  const feeds = { ids: new library.Tensor('int32', ids, [1, ids.length]) };
  if (workload.past > 0) {
    const values = past.flatMap(({ key, value }) => {
      if (variant !== 'attention') return [key, value];
      const both = new Float32Array(2 * key.length);
      both.set(key);
      both.set(value, key.length);
      return [both];
    });
    pastInputs(size, workload.past, variant).forEach(([name, shape], i) => {
      feeds[name] = new library.Tensor('float32', values[i], shape);
    });
  }
  return {
    variant,
    run: async () => (await session.run(feeds))[session.outputNames[0]].data,
    dispose: () => session.release(),
  };
}
