// Attention for models of TensorFlow.js: the forward pass and its gradients run here, TensorFlow.js differentiates the rest.

import { scaledDotProductAttention } from 'wasm-attention';
import { scaledDotProductAttentionBackward } from 'wasm-attention/training';

/**
 * Makes `attention(query, key, value, options)` of tensors [batch, heads, length, headDim], of any backend: elements are copied in
 * and out. Nothing stays in the runtime between the calls: TensorFlow.js does not say when gradients are no longer wanted, so the
 * way back runs the forward pass once more.
 *
 * @param tf      TensorFlow.js
 * @param runtime with the kernels of `wasm-attention/training`
 */
export function makeAttention(tf, runtime) {
  const copied = (tensor) => tf.tensor(tensor.toFloat32Array(), [...tensor.shape]);

  return (query, key, value, options = {}) => {
    const attend = (inputs, returnRecord) =>
      scaledDotProductAttention(...inputs, { ...options, returnRecord, runtime });

    const differentiable = tf.customGrad((q, k, v, save) => {
      const result = attend([q, k, v], false);
      const output = copied(result.output);
      result.dispose();
      save([q, k, v]);
      const gradFunc = (upstream, saved) => {
        const { record, ...rest } = attend(saved, true);
        const gradients = scaledDotProductAttentionBackward(record, { output: upstream });
        const made = [gradients.query, gradients.key, gradients.value].map(copied);
        for (const one of [gradients, record, rest.output]) one.dispose();
        return made;
      };
      return { value: output, gradFunc };
    });
    return differentiable(query, key, value);
  };
}
