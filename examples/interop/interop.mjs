// Tensors of other libraries go into every operation as they are, and come out in one line each.

import { scaledDotProductAttention } from 'wasm-attention';

/** @returns {{ data: Float32Array, shape: readonly number[] }} copies that outlive the call's memory */
function attend(runtime, query, key, value, options) {
  const result = scaledDotProductAttention(query, key, value, { ...options, runtime });
  try {
    return { data: result.output.toFloat32Array(), shape: result.output.shape };
  } finally {
    result.dispose();
  }
}

/** Tensors of onnxruntime-web or onnxruntime-node in, one out. They must lie on the CPU: `await tensor.getData()` fetches. */
export function attendOnnxruntime(ort, runtime, query, key, value, options) {
  const { data, shape } = attend(runtime, query, key, value, options);
  return new ort.Tensor('float32', data, shape);
}

/** Tensors of TensorFlow.js in, one out. They are read by `dataSync`. */
export function attendTensorflow(tf, runtime, query, key, value, options) {
  const { data, shape } = attend(runtime, query, key, value, options);
  return tf.tensor(data, shape, 'float32');
}

/** Tensors of transformers.js in, one out: `Tensor` is the class that `@huggingface/transformers` exports. */
export function attendTransformers(Tensor, runtime, query, key, value, options) {
  const { data, shape } = attend(runtime, query, key, value, options);
  return new Tensor('float32', data, [...shape]);
}
