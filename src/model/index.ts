/**
 * The public API of `wasm-attention/model`: whole transformers, from their blocks to published checkpoints.
 *
 * @module wasm-attention/model
 */

export { model } from './pack.js';

export { fusedLinear, fusedLinearAsync } from '../ops/linear/fused-linear.js';
export type { FusedLinearOptions } from '../ops/linear/fused-linear.js';
export type { ActivationName } from '../ops/activations/names.js';
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
