// Types for the tests: TensorFlow.js is not a dependency of this package.
import type { AttentionOptions, Runtime } from 'wasm-attention';

export type Attention = (query: unknown, key: unknown, value: unknown, options?: AttentionOptions) => unknown;

export const makeAttention: (tf: unknown, runtime: Runtime) => Attention;
