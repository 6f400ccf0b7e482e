/**
 * The public API of `wasm-attention/training`: gradients of attention, of blocks and of whole models, losses and optimisers.
 *
 * @module wasm-attention/training
 */

export { training } from './pack.js';

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
export {
  MergedGradients,
  mergeAttentionBackward,
  mergeAttentionBackwardAsync,
} from './ops/merge-backward.js';
export type { PartialGradient } from './ops/merge-backward.js';
