// Activations by name, and the codes by which kernels know them (assembly/math/activations.ts).

import { GELU, GELU_TANH, QUICK_GELU, RELU, SILU, TANH } from '../../../build/kernels.js';

/** Names of activations. `gelu` is by the error function, `geluTanh` by its tanh formula, quickGelu x * sigmoid(1.702 x). */
export type ActivationName = 'gelu' | 'geluTanh' | 'quickGelu' | 'silu' | 'relu' | 'tanh';

export const ACTIVATIONS: Readonly<Record<ActivationName, number>> = {
  gelu: GELU,
  geluTanh: GELU_TANH,
  quickGelu: QUICK_GELU,
  silu: SILU,
  relu: RELU,
  tanh: TANH,
};
