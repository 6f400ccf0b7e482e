// What tells trained weights apart: the hash of all of them. Runs in pages too.

/**
 * SHA-256 of the parameters as float32, in the order of the model's own list of names, as hexadecimal digits.
 *
 * @param {import('wasm-attention/training').Trainable} learner
 */
export async function hashOfWeights(learner) {
  const parts = learner.parameterNames.map((name) => learner.value(name).data);
  const values = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let from = 0;
  for (const part of parts) {
    values.set(part, from);
    from += part.length;
  }
  const digest = await crypto.subtle.digest('SHA-256', values);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** How many numbers a model has learnt. @param {import('wasm-attention/training').Trainable} learner */
export function countOfWeights(learner) {
  return learner.parameterNames.reduce((sum, name) => sum + learner.value(name).data.length, 0);
}
