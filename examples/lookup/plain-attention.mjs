// Attention of one head in plain JavaScript: what a careful reader of the formula would write.

/**
 * @param {Float32Array} query   [length, headDim]
 * @param {Float32Array} key     [length, headDim]
 * @param {Float32Array} value   [length, headDim]
 * @param {number} length
 * @param {number} headDim
 * @returns {Float32Array} [length, headDim]
 */
export function plainAttention(query, key, value, length, headDim) {
  const output = new Float32Array(length * headDim);
  const weights = new Float32Array(length);
  const scale = 1 / Math.sqrt(headDim);
  for (let i = 0; i < length; i++) {
    let maximum = -Infinity;
    for (let j = 0; j < length; j++) {
      let dot = 0;
      for (let c = 0; c < headDim; c++) dot += query[i * headDim + c] * key[j * headDim + c];
      weights[j] = dot * scale;
      maximum = Math.max(maximum, weights[j]);
    }
    let sum = 0;
    for (let j = 0; j < length; j++) {
      weights[j] = Math.exp(weights[j] - maximum);
      sum += weights[j];
    }
    for (let j = 0; j < length; j++) {
      const weight = weights[j] / sum;
      for (let c = 0; c < headDim; c++) output[i * headDim + c] += weight * value[j * headDim + c];
    }
  }
  return output;
}
