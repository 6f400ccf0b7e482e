// The kernels of gradients and updates.

import { wasm } from '../../build/embedded-training.js';
import type { KernelPack } from '../slim.js';

/** The kernels of this entry. */
export const training: KernelPack = { name: 'training', wasm };
