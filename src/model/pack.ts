// The kernels of whole models.

import { wasm } from '../../build/embedded-model.js';
import type { KernelPack } from '../slim.js';

/** The kernels of this entry. */
export const model: KernelPack = { name: 'model', wasm };
