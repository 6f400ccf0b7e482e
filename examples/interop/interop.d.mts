// Types for the tests: the libraries' own classes are not dependencies of this package.
import type { AttentionOptions, Runtime, TensorLike } from 'wasm-attention';

type Attend = (
  library: unknown,
  runtime: Runtime,
  query: TensorLike,
  key: TensorLike,
  value: TensorLike,
  options?: AttentionOptions,
) => unknown;

export const attendOnnxruntime: Attend;
export const attendTensorflow: Attend;
export const attendTransformers: Attend;
