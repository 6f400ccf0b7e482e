/**
 * The public API of `wasm-attention/worker-runtime`: exports only. Of the package itself it has errors and masks alone, so
 * that a page that works in a worker need not load the rest.
 *
 * @module wasm-attention/worker-runtime
 */

export { createWorkerRuntime } from './worker-runtime.js';
export type {
  Remote,
  TransferOptions,
  WorkerAttentionResult,
  WorkerInput,
  WorkerKeyValueCache,
  WorkerLinearWeights,
  WorkerMultiHeadAttention,
  WorkerOptions,
  WorkerRuntime,
  WorkerRuntimeOptions,
} from './worker-runtime.js';
export type { KernelPack } from '../runtime/packs.js';
export type { WorkerTensor } from './handle.js';
export type { CallOptions } from './link.js';
export type { AnyWorker, NodeWorker, WorkerSource } from './start.js';
export { AttentionError } from '../runtime/errors.js';
export {
  and,
  blockSparse,
  causal,
  documents,
  globalTokens,
  keyLengths,
  or,
  prefix,
  slidingWindow,
  strided,
} from '../masks/mask.js';
export { denseMask } from '../masks/dense.js';
