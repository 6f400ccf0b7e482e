// Rows of projected tokens as heads, where they lie. Shared by the layers that attend.

import type { Tensor } from '../runtime/tensor.js';

/** [batch, length, ...] as [batch, heads, length, dim], without a copy: heads lie `step` floats apart in a row, from one on. */
export function splitHeads(
  tensor: Tensor<'float32'>,
  heads: number,
  dim: number,
  from = 0,
  step = dim,
): Tensor<'float32'> {
  const [batch, length] = tensor.shape as [number, number, number];
  const [batchStride, rowStride] = tensor.strides as [number, number, number];
  return tensor.withLayout([batch, heads, length, dim], [batchStride, step, rowStride, 1], from);
}
