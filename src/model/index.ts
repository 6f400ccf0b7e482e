/**
 * The public API of `wasm-attention/model`: whole transformers, from their blocks to published checkpoints.
 *
 * @module wasm-attention/model
 */

export { model } from './pack.js';
export { loadModel, measureModel } from './load.js';
export { Transformer, TransformerBlock } from './layers/transformer-block.js';
export { Model } from './model.js';

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
export { convolution, convolutionAsync } from '../ops/linear/convolution.js';
export type { ConvolutionOptions } from '../ops/linear/convolution.js';
