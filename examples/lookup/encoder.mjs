// The sentence encoder: two transformer layers over the weights of the Universal Sentence Encoder (lite), Cer et al. 2018.
//
//   tokens -> 2 * embedding + positions -> layer 1, 256 to 512 channels -> layer 2 -> mean of the tokens -> dense, tanh -> length 1
//
// Layers are pre-norm, of four heads. The first widens: its attention gives 512 channels, and what it is added to goes through a
// product of its own. Imports no more than a page could.

import { addPositions, linear, LinearWeights, scaledDotProductAttention, tidy } from 'wasm-attention';
import { embedding, fusedLinear, layerNorm, normalize } from 'wasm-attention/model';

/** Tokens that the encoder reads; what follows is left out. */
export const MAXIMUM_TOKENS = 128;
/** Channels of a sentence's vector. */
export const CHANNELS = 512;
const HEADS = 4;
const EPSILON = 1e-6; // of norms
const SHORTEST = 1e-6; // what a vector is divided by at least

/** Tokens computed at once, padding included: enough for products, few enough to tell of progress. */
const TOKENS_IN_BATCH = 1024;

const VARIABLES = 'module/Encoder_en/KonaTransformer/Encode/';
const GRAPH = 'module_apply_default/Encoder_en/KonaTransformer/Encode/';
const HIDDEN = 'module/Encoder_en/hidden_layers/tanh_layer_0/';

/** @typedef {import('wasm-attention').Tensor<'float32'>} Tensor */
/** @typedef {{ data: Float32Array, shape: number[] }} Weight */
/** @typedef {(name: string) => Weight} Take  a weight by its name in the graph */

/** Holds packed weights: dispose it. */
export class SentenceEncoder {
  /**
   * @param {import('wasm-attention').Runtime} runtime  with the kernels of `wasm-attention/model`
   * @param {Map<string, Weight>} weights  as `readModelFiles` gives them
   */
  constructor(runtime, weights) {
    /** @type {Take} */
    const take = (name) => {
      const weight = weights.get(name);
      if (!weight) throw new Error(`the files of the weights have no ${name}`);
      return weight;
    };
    this.runtime = runtime;
    this.embeddings = tensor(runtime, take('module/Embeddings_en'));
    this.positions = sinesBesideCosines(
      take(`${GRAPH}TransformerStack/Layer_0/AddTimingSignal/TimingSignal/ExpandDims_1`).data,
    );
    this.layers = [0, 1].map((index) => new Layer(runtime, take, index));
    this.hidden = packed(runtime, take(`${HIDDEN}weights`), take(`${HIDDEN}bias`));
  }

  /**
   * @param {number[][]} sentences  ids of tokens
   * @param {(share: number) => void} [onProgress]  told the share of the tokens that are done, from time to time
   * @returns {Float32Array[]} CHANNELS numbers a sentence, of length 1: their inner product is the cosine
   */
  encode(sentences, onProgress = () => {}) {
    const clipped = sentences.map((ids) => ids.slice(0, MAXIMUM_TOKENS));
    const total = countTokens(clipped);
    /** @type {Float32Array[]} */
    const vectors = [];
    let done = 0;
    for (const places of batches(clipped)) {
      const batch = places.map((place) => clipped[place]);
      for (const [i, vector] of this.#vectors(batch).entries()) vectors[places[i]] = vector;
      done += countTokens(batch);
      onProgress(total > 0 ? done / total : 1);
    }
    return vectors;
  }

  /**
   * What each head attends to.
   *
   * @param {number[]} ids  tokens of a sentence
   * @returns {Float32Array[][]} by layer and head: [tokens, tokens], a row for each token that attends
   */
  attention(ids) {
    const clipped = ids.slice(0, MAXIMUM_TOKENS);
    return tidy(this.runtime, () => {
      /** @type {Float32Array[][]} */
      const attention = [];
      this.#transform([clipped], (weights) => attention.push(byHead(weights)));
      return attention;
    });
  }

  /** Frees the weights. */
  dispose() {
    for (const owner of [this.embeddings, ...this.layers, this.hidden]) owner.dispose();
  }

  /** @param {number[][]} sentences */
  #vectors(sentences) {
    return tidy(this.runtime, () => {
      const lengths = sentences.map((ids) => ids.length);
      const mean = meanOfTokens(this.runtime, this.#transform(sentences), lengths);
      const hidden = fusedLinear(mean, this.hidden, { activation: 'tanh' });
      const all = normalize(hidden, { epsilon: SHORTEST }).toFloat32Array();
      return sentences.map((_, i) => all.subarray(i * CHANNELS, (i + 1) * CHANNELS));
    });
  }

  /**
   * @param {number[][]} sentences  the shorter ones are padded
   * @param {(weights: Tensor) => void} [look]  given the attention weights of each layer
   * @returns {Tensor} [sentences, longest, CHANNELS]
   */
  #transform(sentences, look) {
    const lengths = sentences.map((ids) => ids.length);
    return this.layers.reduce((x, layer) => layer.forward(x, lengths, look), this.#input(sentences));
  }

  /** Twice the embedding, and the position: [sentences, longest, 256]. @param {number[][]} sentences */
  #input(sentences) {
    const batch = sentences.length;
    const length = Math.max(1, ...sentences.map((ids) => ids.length));
    const padded = sentences.flatMap((ids) => Array.from({ length }, (_, i) => ids[i] ?? 0));
    const x = embedding({ data: padded, shape: [batch, length] }, this.embeddings, { factor: 2 });
    addPositions(x.data, this.positions, { batch, length, dim: x.shape[2] });
    return x;
  }
}

/** A transformer layer: each half reads a norm of its input and is added to the input. */
class Layer {
  /** @param {import('wasm-attention').Runtime} runtime @param {Take} take @param {number} index */
  constructor(runtime, take, index) {
    const layer = `Layer_${index}/TransformerLayer/`;
    const joined = (name) => take(`${GRAPH}${layer}${name}/ConcatPartitions/concat`);
    const projection = (name) =>
      packed(
        runtime,
        take(`${VARIABLES}${layer}MultiheadAttention/${name}/kernel/part_0`),
        joined(`MultiheadAttention/${name}/bias`),
      );
    const feedForward = (name) =>
      packed(
        runtime,
        take(`${GRAPH}TransformerStack/${layer}FFN/${name}/Tensordot/Reshape_1`),
        joined(`FFN/${name}/bias`),
      );
    const norm = (name) => ({
      weight: tensor(runtime, joined(`${name}layer_prepostprocess/layer_norm/layer_norm_scale`)),
      bias: tensor(runtime, joined(`${name}layer_prepostprocess/layer_norm/layer_norm_bias`)),
      epsilon: EPSILON,
    });
    this.runtime = runtime;
    this.attentionNorm = norm('');
    this.queryKeyValue = projection('qkv_transform_single');
    this.output = projection('output_transform_single');
    /** The first layer widens what its attention is added to. */
    this.widen = index === 0 ? packed(runtime, joined('dense/kernel'), joined('dense/bias')) : undefined;
    this.feedForwardNorm = norm('FFN/');
    this.up = feedForward('conv1');
    this.down = feedForward('conv2');
  }

  /**
   * @param {Tensor} x  [batch, tokens, channels]
   * @param {number[]} lengths  tokens of each row that are not padding
   * @param {(weights: Tensor) => void} [look]
   * @returns {Tensor} [batch, tokens, CHANNELS]
   */
  forward(x, lengths, look) {
    const residual = this.widen ? linear(x, this.widen) : x;
    const merged = this.#attend(layerNorm(x, this.attentionNorm), lengths, look);
    const y = fusedLinear(merged, this.output, { residual });
    const up = fusedLinear(layerNorm(y, this.feedForwardNorm), this.up, { activation: 'relu' });
    return fusedLinear(up, this.down, { residual: y });
  }

  /** What the heads gather, side by side. */
  #attend(x, lengths, look) {
    const projected = linear(x, this.queryKeyValue);
    const [batch, length, columns] = projected.shape;
    const width = columns / 3;
    const [query, key, value] = [0, 1, 2].map((part) =>
      projected
        .slice(2, part * width, (part + 1) * width)
        .reshape([batch, length, HEADS, width / HEADS])
        .transpose(1, 2),
    );
    const merged = this.runtime.empty([batch, length, width]);
    const output = merged.reshape([batch, length, HEADS, width / HEADS]).transpose(1, 2);
    const returnWeights = look !== undefined;
    const { weights } = scaledDotProductAttention(query, key, value, {
      keyLengths: lengths,
      output,
      returnWeights,
    });
    look?.(weights);
    return merged;
  }

  dispose() {
    const norms = [this.attentionNorm, this.feedForwardNorm].flatMap(({ weight, bias }) => [weight, bias]);
    const products = [this.queryKeyValue, this.output, this.widen, this.up, this.down];
    for (const owner of [...norms, ...products]) owner?.dispose();
  }
}

/** @param {Weight} weight @returns {Tensor} */
function tensor(runtime, { data, shape }) {
  return runtime.tensor(data, shape);
}

/** Weights as the graph stores them, [..., inputs, outputs]. @param {Weight} weight @param {Weight} bias */
function packed(runtime, weight, bias) {
  const matrix = runtime.tensor(weight.data, weight.shape.slice(-2));
  const weights = new LinearWeights(runtime, matrix.transpose(0, 1), bias);
  matrix.dispose();
  return weights;
}

/** What is added to the token at each position. @param {Float32Array} frequencies */
function sinesBesideCosines(frequencies) {
  const rows = Array.from({ length: MAXIMUM_TOKENS }, (_, position) => {
    const angles = [...frequencies].map((frequency) => position * frequency);
    return [...angles.map(Math.sin), ...angles.map(Math.cos)];
  });
  return Float32Array.from(rows.flat());
}

/** [batch, CHANNELS]; of no tokens zeros. @param {Tensor} x @param {number[]} lengths */
function meanOfTokens(runtime, x, lengths) {
  const longest = x.shape[1];
  const means = runtime.empty([lengths.length, CHANNELS]);
  means.data.fill(0);
  for (const [i, length] of lengths.entries()) {
    const mean = means.data.subarray(i * CHANNELS, (i + 1) * CHANNELS);
    for (let token = 0; token < length; token++) {
      const row = x.data.subarray((i * longest + token) * CHANNELS);
      for (let c = 0; c < CHANNELS; c++) mean[c] += row[c] / length;
    }
  }
  return means;
}

/** One sentence's weights, [1, heads, tokens, tokens], head by head. @param {Tensor} weights */
function byHead(weights) {
  const all = weights.toFloat32Array();
  const size = all.length / HEADS;
  return Array.from({ length: HEADS }, (_, head) => all.subarray(head * size, (head + 1) * size));
}

/** Places of the sentences in groups of like lengths, so that little is padding. @param {number[][]} sentences */
function* batches(sentences) {
  const places = [...sentences.keys()].sort((a, b) => sentences[a].length - sentences[b].length);
  /** @type {number[]} */
  let batch = [];
  for (const place of places) {
    // The next is the longest so far: all of its batch are padded to that.
    if (batch.length > 0 && (batch.length + 1) * sentences[place].length > TOKENS_IN_BATCH) {
      yield batch;
      batch = [];
    }
    batch.push(place);
  }
  if (batch.length > 0) yield batch;
}

/** @param {number[][]} sentences */
function countTokens(sentences) {
  return sentences.reduce((sum, ids) => sum + ids.length, 0);
}
