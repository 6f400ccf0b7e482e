/**
 * The public API of `wasm-attention/model-worker-runtime`: all of `wasm-attention/worker-runtime`, with a runtime that knows models
 * and the other things of `wasm-attention/model`, and the types of those.
 *
 * @module wasm-attention/model-worker-runtime
 */

export { createWorkerRuntime } from './runtime.js';
export type { ModelWorkerRuntime } from './runtime.js';
export type {
  WorkerBlockLayer,
  WorkerEmbedding,
  WorkerGenerateOptions,
  WorkerLoadOptions,
  WorkerModel,
  WorkerParts,
  WorkerResult,
  WorkerRowLayer,
} from './handles.js';
export * from '../exports.js';
export type {
  ActivationOptions,
  ArgmaxOptions,
  BlockForwardOptions,
  ConvolutionOptions,
  EmbeddingForwardOptions,
  EmbeddingLayerOptions,
  EmbeddingOptions,
  FeedForwardOptions,
  FileSource,
  FirstTokenOptions,
  Files,
  FolderModule,
  FusedLinearOptions,
  GeluOptions,
  GenerateOptions,
  GenerationStep,
  Indices,
  LayerNormOptions,
  LoadModelOptions,
  ModelDescription,
  ModelForwardOptions,
  ModelInputs,
  ModelSize,
  NormOptions,
  NormalizeOptions,
  PoolingOptions,
  RmsNormOptions,
  RowLayerOptions,
  SamplingOptions,
  SaveOptions,
  Settings,
  Shards,
  StackOutput,
  TokenList,
  TowerOutput,
  TransformerBlockOptions,
  TransformerOptions,
  Weights,
} from '../../model/index.js';
