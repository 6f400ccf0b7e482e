/**
 * The public API of `wasm-attention/slim`, to which a program supplies the kernels itself: exports only.
 *
 * @module wasm-attention/slim
 */

export { createRuntime } from './runtime/create-runtime.js';
export type { ArrayInput } from './runtime/elements.js';
export type { Runtime } from './runtime/runtime.js';
export type { RuntimeInfo, RuntimeOptions, SlimRuntimeOptions } from './runtime/runtime-options.js';
export type { KernelPack } from './runtime/packs.js';
export type { WasmContent, WasmSource, WasmSources } from './runtime/wasm-source.js';
export { AttentionError } from './runtime/errors.js';
export type { AttentionErrorCode, AttentionErrorOptions } from './runtime/errors.js';
export { probeFeatures } from './platform/features.js';
export type { Features } from './platform/features.js';
export type { Build } from './runtime/kernels.js';
export type { MemoryStatistics } from './runtime/allocator.js';
export type { LeakReport, TensorLeak } from './runtime/leaks.js';
export { TensorScope, tidy, tidyAsync } from './runtime/tidy.js';
export { Tensor } from './runtime/tensor.js';
export type { DataType, TensorData } from './runtime/elements.js';
export type { TensorLike } from './runtime/inputs.js';
export type { ThreadOptions } from './runtime/threads/options.js';
export type { WorkerLike, WorkerSource } from './platform/workers.js';
export type { AsyncOptions, Progress } from './runtime/call.js';

export { linear, linearAsync, LinearWeights } from './ops/linear/linear.js';
export type { LinearOptions } from './ops/linear/linear.js';
export { softmax, softmaxAsync } from './ops/rows/softmax.js';
export type { SoftmaxOptions } from './ops/rows/softmax.js';
export {
  AttentionResult,
  scaledDotProductAttention,
  scaledDotProductAttentionAsync,
} from './ops/attention/scaled-dot-product-attention.js';
export { attentionWeights, attentionWeightsAsync } from './ops/attention/weights.js';
export type {
  AttentionRegion,
  AttentionStage,
  AttentionWeightsOptions,
  RecordWeightsOptions,
  Range,
} from './ops/attention/weights.js';
export type {
  Asked,
  AttentionOptions,
  RelativePositionBias,
  Returned,
  ScaledDotProductAttentionOptions,
  ScoreOptions,
} from './ops/attention/options.js';
export { alibiSlopes, relativeBucket } from './ops/attention/distance-bias.js';
export {
  attentionEntropy,
  attentionEntropyAsync,
  receivedWeight,
  receivedWeightAsync,
  TopKeys,
  topKeys,
  topKeysAsync,
} from './ops/attention/summaries.js';
export type { RecordSummaryOptions, SummaryOptions } from './ops/attention/summaries.js';
export { AttentionRecord } from './ops/attention/record.js';
export type { AttentionSizes, ReturnedRecord } from './ops/attention/record.js';
export { mergeAttention, mergeAttentionAsync } from './ops/attention/merge.js';
export type { MergeOptions, PartialAttention } from './ops/attention/merge.js';
export { linearAttention, linearAttentionAsync } from './ops/attention/linear-attention.js';
export type { FeatureMap, LinearAttentionOptions } from './ops/attention/linear-attention.js';
export { variableLengthAttention, variableLengthAttentionAsync } from './ops/attention/variable-length.js';
export type { VariableLengthOptions } from './ops/attention/variable-length.js';

export * from './masks/index.js';
export { customMask } from './masks/custom.js';
export type { CustomMask } from './masks/custom.js';
export { Mask } from './masks/mask.js';
export type { Block, BlockAnswer, MaskContext } from './masks/mask.js';
export type { IntegerList } from './runtime/checks.js';

export { LayerResult, MultiHeadAttention } from './layers/multi-head-attention.js';
export type {
  Either,
  ForwardOptions,
  MultiHeadAttentionLayout,
  MultiHeadAttentionOptions,
} from './layers/multi-head-attention.js';
export { KeyValueCache } from './cache/key-value-cache.js';
export type {
  AppendOptions,
  CacheAttendOptions,
  CacheRing,
  KeyValueCacheLayout,
  KeyValueCacheOptions,
} from './cache/key-value-cache.js';
export type { CacheStorage } from './ops/cache/append.js';
export { parseSafetensors } from './checkpoints/safetensors.js';
export type { StateTensor } from './checkpoints/safetensors.js';
export type { StateDictTensor } from './checkpoints/state-dict.js';

export { rotaryEmbedding, rotaryEmbeddingAsync } from './ops/rotary/rotary.js';
export type { Positions, RotaryEmbeddingOptions } from './ops/rotary/rotary.js';
export type { RotaryOptions } from './ops/rotary/options.js';
export { rotaryFrequencies } from './ops/rotary/frequencies.js';
export type { FrequencyOptions, RotaryFrequencies, RotaryScaling } from './ops/rotary/frequencies.js';
export { addPositions, sinusoidalEncoding } from './positions/sinusoidal.js';
export type { SinusoidalOptions } from './positions/sinusoidal.js';
