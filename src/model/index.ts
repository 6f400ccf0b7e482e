/**
 * The public API of `wasm-attention/model`: whole transformers, from their blocks to published checkpoints.
 *
 * @module wasm-attention/model
 */

export { model } from './pack.js';

export { loadModel, measureModel } from './load.js';
export type { LoadModelOptions, ModelSize } from './load.js';
export { Model } from './model.js';
export type { ModelForwardOptions } from './model.js';
export { ModelOutput } from './output.js';
export type { StackOutput, TowerOutput } from './output.js';
export type { ModelInputs, TokenList } from './inputs.js';
export type { SaveOptions } from './save.js';
export type { GenerateOptions, GenerationStep } from './generation/generate.js';
export * from './families/index.js';
export type * from './description.js';

export { inspectCheckpoint, openCheckpoint } from '../checkpoints/checkpoint.js';
export type {
  Checkpoint,
  CheckpointContents,
  CheckpointOptions,
  CheckpointSummary,
  CheckpointTensor,
  Piece,
  Weights,
} from '../checkpoints/checkpoint.js';
export type { AddressOptions } from '../checkpoints/address.js';
export { openFolder } from '../checkpoints/folder.js';
export type { FolderModule, ModelFolder, Settings } from '../checkpoints/folder.js';
export type { Files, Shards } from '../checkpoints/shards.js';
export type { FileSource } from '../checkpoints/source.js';
export { safetensorsChunks, writeSafetensors } from '../checkpoints/write-safetensors.js';
export type {
  TensorsToWrite,
  TensorToWrite,
  Values,
  WriteOptions,
} from '../checkpoints/write-safetensors.js';

export { Embedding } from './layers/embedding.js';
export type { EmbeddingForwardOptions, EmbeddingLayerOptions } from './layers/embedding.js';
export { FeedForward } from './layers/feed-forward.js';
export type { FeedForwardOptions, TransformerBlockOptions } from './layers/options.js';
export { LayerNorm, RmsNorm } from './layers/norms.js';
export type { NormOptions } from './layers/norms.js';
export type { RowLayerOptions } from './layers/row-layer.js';
export { BlockResult, Transformer, TransformerBlock } from './layers/transformer-block.js';
export type { BlockForwardOptions, TransformerOptions } from './layers/transformer-block.js';

export { fusedLinear, fusedLinearAsync } from '../ops/linear/fused-linear.js';
export type { FusedLinearOptions } from '../ops/linear/fused-linear.js';
export {
  layerNorm,
  layerNormAsync,
  normalize,
  normalizeAsync,
  rmsNorm,
  rmsNormAsync,
} from '../ops/norms/norm.js';
export type { LayerNormOptions, NormalizeOptions, RmsNormOptions } from '../ops/norms/norm.js';
export {
  gelu,
  geluAsync,
  quickGelu,
  quickGeluAsync,
  relu,
  reluAsync,
  silu,
  siluAsync,
  tanh,
  tanhAsync,
} from '../ops/activations/activations.js';
export type { ActivationOptions, GeluOptions } from '../ops/activations/activations.js';
export { embedding, embeddingAsync } from '../ops/embedding/embedding.js';
export type { EmbeddingOptions, Indices } from '../ops/embedding/embedding.js';
export { convolution, convolutionAsync } from '../ops/linear/convolution.js';
export type { ConvolutionOptions } from '../ops/linear/convolution.js';
export {
  firstToken,
  firstTokenAsync,
  lastToken,
  lastTokenAsync,
  meanPooling,
  meanPoolingAsync,
} from '../ops/rows/pooling.js';
export type { FirstTokenOptions, PoolingOptions } from '../ops/rows/pooling.js';
export { argmax, argmaxAsync } from '../ops/rows/argmax.js';
export type { ArgmaxOptions } from '../ops/rows/argmax.js';
export { sampleToken } from './generation/sampling.js';
export type { ChosenToken, SampleTokenOptions, SamplingOptions } from './generation/sampling.js';
