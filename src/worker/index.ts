// The public API of `wasm-attention/worker-runtime`: exports only. Errors and masks are those of the package.

export { createWorkerRuntime } from './worker-runtime.js';
export type {
  Remote,
  TransferOptions,
  WorkerAttentionResult,
  WorkerInput,
  WorkerLinearWeights,
  WorkerMultiHeadAttention,
  WorkerOptions,
  WorkerRuntime,
  WorkerRuntimeOptions,
} from './worker-runtime.js';
export type { WorkerTensor } from './handle.js';
export type { CallOptions } from './link.js';
export type { AnyWorker, NodeWorker, WorkerSource } from './start.js';
export {
  and,
  AttentionError,
  blockSparse,
  causal,
  denseMask,
  documents,
  globalTokens,
  keyLengths,
  or,
  prefix,
  slidingWindow,
  strided,
} from '../index.js';
