// The models in float64 and plain loops, to say how far results are off.

import { linearOf, normOf } from './checkpoint.mjs';

/** @typedef {import('./checkpoint.mjs').ModelFiles} ModelFiles */

/** The last hidden state of an encoder. @param {ModelFiles} files @param {Int32Array} ids */
export function encoderReference(files, ids) {
  const { width, layers } = files.size;
  const of = (/** @type {string} */ name) => files.tensor(`embeddings.${name}`).data;
  const [words, places, types] = ['word', 'position', 'token_type'].map((name) =>
    of(`${name}_embeddings.weight`),
  );
  let x = new Float64Array(ids.length * width);
  for (let i = 0; i < x.length; i++) {
    const channel = i % width;
    x[i] = words[ids[Math.floor(i / width)] * width + channel] + places[i] + types[channel];
  }
  x = layerNorm(x, width, { weight: of('LayerNorm.weight'), bias: of('LayerNorm.bias') }, 1e-12);
  for (let layer = 0; layer < layers; layer++) {
    const attended = attend(files, layer, x, undefined, false);
    x = layerNorm(add(x, attended), width, normOf(files, layer, 'attention'), 1e-12);
    const fed = feedForward(files, layer, x, gelu);
    x = layerNorm(add(x, fed), width, normOf(files, layer, 'feedForward'), 1e-12);
  }
  return x;
}

/** @typedef {{ length: number, key: Float32Array, value: Float32Array }} Past of a layer, [heads][length][headDim] */

/**
 * The logits of the last token of a decoder.
 *
 * @param {ModelFiles} files
 * @param {Int32Array} ids
 * @param {readonly Past[]} [past]
 */
export function decoderReference(files, ids, past = []) {
  const { width, layers, vocabulary } = files.size;
  const words = files.tensor('wte.weight').data;
  const places = files.tensor('wpe.weight').data.subarray((past[0]?.length ?? 0) * width);
  let x = new Float64Array(ids.length * width);
  for (let i = 0; i < x.length; i++)
    x[i] = words[ids[Math.floor(i / width)] * width + (i % width)] + places[i];
  for (let layer = 0; layer < layers; layer++) {
    const first = layerNorm(x, width, normOf(files, layer, 'attention'), 1e-5);
    x = add(x, attend(files, layer, first, past[layer], true));
    const second = layerNorm(x, width, normOf(files, layer, 'feedForward'), 1e-5);
    x = add(x, feedForward(files, layer, second, tanhGelu));
  }
  const norm = { weight: files.tensor('ln_f.weight').data, bias: files.tensor('ln_f.bias').data };
  const last = layerNorm(x.subarray(-width), width, norm, 1e-5);
  const logits = new Float64Array(vocabulary);
  for (let row = 0; row < vocabulary; row++) {
    for (let k = 0; k < width; k++) logits[row] += last[k] * words[row * width + k];
  }
  return logits;
}

/** @param {Float64Array} x @param {Float64Array} y */
const add = (x, y) => x.map((value, i) => value + y[i]);

/** @param {Float64Array} x @param {number} width @param {{ weight: Float32Array, bias: Float32Array }} norm @param {number} epsilon */
function layerNorm(x, width, { weight, bias }, epsilon) {
  const y = new Float64Array(x.length);
  for (let row = 0; row < x.length; row += width) {
    const values = x.subarray(row, row + width);
    const mean = values.reduce((sum, value) => sum + value, 0) / width;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / width;
    for (let i = 0; i < width; i++) {
      y[row + i] = ((values[i] - mean) / Math.sqrt(variance + epsilon)) * weight[i] + bias[i];
    }
  }
  return y;
}

/** @param {Float64Array} x @param {ReturnType<typeof linearOf>} layer */
function linear(x, { inputs, out, weight, bias }) {
  const rows = x.length / inputs;
  const y = new Float64Array(rows * out);
  const wide = Float64Array.from(weight);
  for (let row = 0; row < rows; row++) {
    const target = y.subarray(row * out, (row + 1) * out);
    target.set(bias);
    for (let k = 0; k < inputs; k++) {
      const factor = x[row * inputs + k];
      for (let column = 0, at = k * out; column < out; column++, at++) target[column] += factor * wide[at];
    }
  }
  return y;
}

/** @param {ModelFiles} files @param {number} layer @param {Float64Array} x @param {(value: number) => number} activation */
const feedForward = (files, layer, x, activation) =>
  linear(linear(x, linearOf(files, layer, 'up')).map(activation), linearOf(files, layer, 'down'));

/** @param {ModelFiles} files @param {number} layer @param {Float64Array} x @param {Past | undefined} past @param {boolean} causal */
function attend(files, layer, x, past, causal) {
  const { width, heads } = files.size;
  const dim = width / heads;
  const rows = x.length / width;
  const before = past?.length ?? 0;
  const projected = linear(x, linearOf(files, layer, 'projection'));
  const merged = new Float64Array(x.length);
  const scores = new Float64Array(before + rows);
  for (let head = 0; head < heads; head++) {
    const element = (
      /** @type {'key' | 'value'} */ which,
      /** @type {number} */ key,
      /** @type {number} */ i,
    ) =>
      past && key < before
        ? past[which][(head * before + key) * dim + i]
        : projected[(key - before) * 3 * width + (which === 'key' ? 1 : 2) * width + head * dim + i];
    for (let row = 0; row < rows; row++) {
      const count = causal ? before + row + 1 : rows;
      let largest = -Infinity;
      for (let key = 0; key < count; key++) {
        let score = 0;
        for (let i = 0; i < dim; i++)
          score += projected[row * 3 * width + head * dim + i] * element('key', key, i);
        scores[key] = score / Math.sqrt(dim);
        largest = Math.max(largest, scores[key]);
      }
      let sum = 0;
      for (let key = 0; key < count; key++) sum += scores[key] = Math.exp(scores[key] - largest);
      for (let key = 0; key < count; key++) {
        const weight = scores[key] / sum;
        for (let i = 0; i < dim; i++)
          merged[row * width + head * dim + i] += weight * element('value', key, i);
      }
    }
  }
  return linear(merged, linearOf(files, layer, 'output'));
}

/** @param {number} x */
const tanhGelu = (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

/** x times the normal distribution up to x: the series about 0, the continued fraction beyond. @param {number} x */
function gelu(x) {
  const z = Math.abs(x) / Math.SQRT2;
  let erf = 0;
  if (z < 3) {
    for (let n = 0, term = z; Math.abs(term) > 1e-17; n++, term *= (-z * z) / n) erf += term / (2 * n + 1);
    erf *= 2 / Math.sqrt(Math.PI);
  } else {
    let fraction = z;
    for (let n = 60; n > 0; n--) fraction = z + n / 2 / fraction;
    erf = 1 - Math.exp(-z * z) / (Math.sqrt(Math.PI) * fraction);
  }
  return 0.5 * x * (1 + Math.sign(x) * erf);
}
