/**
 * The public API of `wasm-attention/worker-runtime`: exports only. Of the package itself it has errors, masks, the reader of
 * checkpoints and the types, so that a page that works in a worker need not load the rest.
 *
 * @module wasm-attention/worker-runtime
 */

export { createWorkerRuntime } from './worker-runtime.js';
export type {
  LookInto,
  Remote,
  TensorOptions,
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
export type { WorkerAttentionRecord, WorkerTensor } from './handle.js';
export type { CallOptions } from './link.js';
export type { WorkerScope } from './scope.js';
export type {
  WorkerLike,
  WorkerLike as AnyWorker,
  WorkerLike as NodeWorker,
  WorkerSource,
} from '../platform/workers.js';
export { AttentionError } from '../runtime/errors.js';
export * from '../masks/index.js';
export { parseSafetensors } from '../checkpoints/safetensors.js';
export type {
  AppendOptions,
  ArrayInput,
  Asked,
  AttentionErrorCode,
  AttentionErrorOptions,
  AttentionOptions,
  AttentionRegion,
  AttentionSizes,
  AttentionStage,
  AttentionWeightsOptions,
  Block,
  BlockAnswer,
  Build,
  CacheAttendOptions,
  CacheRing,
  CacheStorage,
  DataType,
  Either,
  FeatureMap,
  Features,
  ForwardOptions,
  FrequencyOptions,
  IntegerList,
  KeyValueCacheLayout,
  KeyValueCacheOptions,
  LinearAttentionOptions,
  LinearOptions,
  Mask,
  MemoryStatistics,
  MergeOptions,
  MultiHeadAttentionLayout,
  MultiHeadAttentionOptions,
  PartialAttention,
  Positions,
  Progress,
  Range,
  RecordSummaryOptions,
  RecordWeightsOptions,
  RelativePositionBias,
  Returned,
  ReturnedRecord,
  RotaryEmbeddingOptions,
  RotaryOptions,
  RotaryScaling,
  RuntimeInfo,
  RuntimeOptions,
  ScaledDotProductAttentionOptions,
  ScoreOptions,
  SoftmaxOptions,
  StateDictTensor,
  StateTensor,
  SummaryOptions,
  TensorData,
  TensorLike,
  ThreadOptions,
  VariableLengthOptions,
} from '../index.js';
