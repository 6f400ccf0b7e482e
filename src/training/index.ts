/**
 * The public API of `wasm-attention/training`: gradients of attention, of blocks and of whole models, losses and optimisers.
 *
 * @module wasm-attention/training
 */

export { training } from './pack.js';

export { InputGradients, Trainable, TrainingOutput, TrainingRecord } from './trainable.js';
export type { NamedValues, OutputGradients, TrainableOptions } from './trainable.js';
export type { Network, TrainingDropout, TrainingForwardOptions, TrainingInputs } from './network.js';
export type { AdapterOptions } from './adapters.js';
export { initialWeights } from './initial-weights.js';
export type { InitialWeightsOptions } from './initial-weights.js';
export { trainableTensors } from './parameter.js';
export type { TensorParameter, TrainableParameter, TrainableParameters } from './parameter.js';

export { train, Training } from './train.js';
export type { Loss, LossAndGradients, TrainingStep, TrainOptions } from './train.js';
export type { Batch } from './batch.js';
export { evaluate } from './evaluate.js';
export type { EvaluateOptions, Evaluation } from './evaluate.js';
export { Random } from './random.js';

export { AdamW, Optimizer, SGD } from './optimizers.js';
export type {
  AdamWOptions,
  OptimizerOptions,
  OptimizerState,
  ParameterGroup,
  SGDOptions,
} from './optimizers.js';
export { clipGradients, clipGradientsAsync } from './clip.js';
export { constant, cosine, linearWarmup } from './schedules.js';
export type { CosineOptions, Schedule, WarmupOptions } from './schedules.js';

export { crossEntropy, crossEntropyAsync } from './losses/cross-entropy.js';
export type { CrossEntropyOptions, CrossEntropyResult } from './losses/cross-entropy.js';
export { meanSquaredError, meanSquaredErrorAsync } from './losses/squared-error.js';
export type { SquaredErrorResult } from './losses/squared-error.js';
export { cosineLoss, cosineLossAsync } from './losses/cosine.js';
export type { CosineLossOptions, PairLossResult } from './losses/cosine.js';
export { contrastiveLoss, contrastiveLossAsync } from './losses/contrastive.js';
export type { ContrastiveLossOptions, ContrastiveLossResult } from './losses/contrastive.js';
export type { LossOptions } from './losses/loss.js';

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
export { droppedAttention, droppedAttentionAsync } from './ops/attention-dropout.js';
export type { DroppedAttentionOptions } from './ops/attention-dropout.js';
export {
  MergedGradients,
  mergeAttentionBackward,
  mergeAttentionBackwardAsync,
} from './ops/merge-backward.js';
export type { MergeBackwardOptions, PartialGradient } from './ops/merge-backward.js';
export { linearBackward, linearBackwardAsync } from './ops/linear-backward.js';
export type { LinearBackwardOptions, LinearGradientName } from './ops/linear-backward.js';
export { convolutionBackward, convolutionBackwardAsync } from './ops/convolution-backward.js';
export type { ConvolutionBackwardOptions } from './ops/convolution-backward.js';
export { embeddingBackward, embeddingBackwardAsync } from './ops/embedding-backward.js';
export type { EmbeddingBackwardOptions } from './ops/embedding-backward.js';
export {
  activationBackward,
  activationBackwardAsync,
  gatedActivationBackward,
  gatedActivationBackwardAsync,
} from './ops/activation.js';
export type { Activation, ActivationBackwardOptions, GatedGradients } from './ops/activation.js';
export {
  layerNormBackward,
  layerNormBackwardAsync,
  normalizeBackward,
  normalizeBackwardAsync,
  rmsNormBackward,
  rmsNormBackwardAsync,
} from './ops/norm.js';
export type {
  LayerNormBackwardOptions,
  LayerNormGradients,
  NormalizeBackwardOptions,
  RmsNormBackwardOptions,
  RmsNormGradients,
} from './ops/norm.js';
export { softmaxBackward, softmaxBackwardAsync } from './ops/softmax.js';
export { rotaryEmbeddingBackward, rotaryEmbeddingBackwardAsync } from './ops/rotary.js';
export { poolingBackward, poolingBackwardAsync } from './ops/pooling.js';
export type { PoolingBackwardOptions } from './ops/pooling.js';
export { dropout, dropoutAsync } from './ops/dropout.js';
export type { Dropout, DropoutOptions } from './ops/dropout.js';
