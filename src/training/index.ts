/**
 * The public API of `wasm-attention/training`: gradients of attention, of blocks and of whole models, losses and optimisers.
 *
 * @module wasm-attention/training
 */

export { training } from './pack.js';

export { convolutionBackward, convolutionBackwardAsync } from './ops/convolution-backward.js';
export type { ConvolutionBackwardOptions } from './ops/convolution-backward.js';
export { embeddingBackward, embeddingBackwardAsync } from './ops/embedding-backward.js';
export type { EmbeddingBackwardOptions } from './ops/embedding-backward.js';
export { linearBackward, linearBackwardAsync } from './ops/linear-backward.js';
export type { LinearBackwardOptions, LinearGradientName } from './ops/linear-backward.js';

export { Trainable, TrainingOutput, TrainingRecord, InputGradients } from './trainable.js';
export type { OutputGradients, TrainableOptions } from './trainable.js';
export type { Network, TrainingForwardOptions, TrainingInputs } from './network.js';
export {
  AttentionGradients,
  scaledDotProductAttentionBackward,
  scaledDotProductAttentionBackwardAsync,
} from './ops/attention-backward.js';
export type {
  AttentionBackwardOptions,
  AttentionInputName,
  AttentionUpstream,
} from './ops/attention-backward.js';
export { crossEntropy, crossEntropyAsync } from './losses/cross-entropy.js';
export type { CrossEntropyOptions, CrossEntropyResult } from './losses/cross-entropy.js';
export { clipGradients, clipGradientsAsync } from './clip.js';
export { AdamW, Optimizer, SGD } from './optimizers.js';
export type {
  AdamWOptions,
  OptimizerOptions,
  OptimizerState,
  ParameterGroup,
  SGDOptions,
} from './optimizers.js';
export { trainableTensors } from './parameter.js';
export type { TensorParameter, TrainableParameter, TrainableParameters } from './parameter.js';
export { constant, cosine, linearWarmup } from './schedules.js';
export type { CosineOptions, Schedule, WarmupOptions } from './schedules.js';
export {
  MergedGradients,
  mergeAttentionBackward,
  mergeAttentionBackwardAsync,
} from './ops/merge-backward.js';
export type { PartialGradient } from './ops/merge-backward.js';
