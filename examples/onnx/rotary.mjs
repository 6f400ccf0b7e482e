// ONNX RotaryEmbedding (opset 23) on this package: plain tensors { data, dims } go in and come out.

import { rotaryEmbedding } from 'wasm-attention';

/**
 * @param {import('wasm-attention').Runtime} runtime
 * @param {{ X: { data: ArrayLike<number>, dims: readonly number[] }, cos_cache: any, sin_cache: any, position_ids?: any }} inputs
 * @param {{ interleaved?: number, num_heads?: number, rotary_embedding_dim?: number }} attributes
 */
export function onnxRotaryEmbedding(runtime, { X, cos_cache, sin_cache, position_ids }, attributes) {
  const whole = runtime.tensor(Float32Array.from(X.data, Number), [...X.dims]);
  try {
    const [batch, second, third] = X.dims;
    const length = X.dims.length === 4 ? third : second;
    const x =
      X.dims.length === 4
        ? whole
        : whole.reshape([batch, length, attributes.num_heads, third / attributes.num_heads]).transpose(1, 2);
    const pairs = cos_cache.dims.at(-1);
    const table = ({ data }) => ({
      data: Float32Array.from(data, Number),
      shape: [data.length / pairs, pairs],
    });
    // Without position_ids the caches hold a row for each token of each batch row.
    const rows = position_ids
      ? Array.from(position_ids.data, Number)
      : Array.from({ length: batch * length }, (_, i) => i);
    const positions = Array.from({ length: batch }, (_, b) => rows.slice(b * length, (b + 1) * length));
    rotaryEmbedding(x, {
      interleaved: attributes.interleaved === 1,
      rotaryDim: attributes.rotary_embedding_dim || 2 * pairs,
      tables: { cos: table(cos_cache), sin: table(sin_cache) },
      positions,
      inPlace: true,
    });
    return { Y: { data: whole.toFloat32Array(), dims: X.dims } };
  } finally {
    whole.dispose();
  }
}
