/**
 * The public API of `wasm-attention/worker-runtime`: exports only. Of the package itself it has errors, masks, the reader of
 * checkpoints and the types, so that a page that works in a worker need not load the rest.
 *
 * @module wasm-attention/worker-runtime
 */

export { createWorkerRuntime } from './create.js';
export * from './exports.js';
