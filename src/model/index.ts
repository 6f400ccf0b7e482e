/**
 * The public API of `wasm-attention/model`: whole transformers, from their blocks to published checkpoints.
 *
 * @module wasm-attention/model
 */

import { wasm } from '../../build/embedded-model.js';
import type { KernelPack } from '../slim.js';

/** The kernels of this entry. */
export const model: KernelPack = { name: 'model', wasm };

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
