/**
 * The public API of `wasm-attention/model`: whole transformers, from their blocks to published checkpoints.
 *
 * @module wasm-attention/model
 */

import { wasm } from '../../build/embedded-model.js';
import type { KernelPack } from '../slim.js';

/** The kernels of this entry. */
export const model: KernelPack = { name: 'model', wasm };

export { fusedLinear, fusedLinearAsync } from '../ops/linear/fused-linear.js';
export type { FusedLinearOptions } from '../ops/linear/fused-linear.js';
export type { ActivationName } from '../ops/activations/names.js';
