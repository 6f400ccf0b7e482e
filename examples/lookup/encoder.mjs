// The sentence encoder: two transformer layers over the weights of the Universal Sentence Encoder (lite), Cer et al. 2018.
//
//   tokens -> 2 * embedding + positions -> layer 1, 256 to 512 channels -> layer 2 -> mean of the tokens -> dense, tanh -> length 1
//
// Layers are pre-norm, of four heads. The second is a TransformerBlock. The first is none: its attention makes 512 channels of 256,
// and what that is added to goes through a product of its own, so it is built of operations. Imports no more than a page could.

import { addPositions, linear, LinearWeights, scaledDotProductAttention, tidy } from 'wasm-attention';
import { embedding, fusedLinear, layerNorm, normalize, TransformerBlock } from 'wasm-attention/model';

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
    this.first = new WideningLayer(runtime, weightsOfLayer(take, 0));
    this.second = secondLayer(runtime, weightsOfLayer(take, 1));
    this.hidden = packed(runtime, { kernel: take(`${HIDDEN}weights`), bias: take(`${HIDDEN}bias`) });
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
    for (const owner of [this.embeddings, this.first, this.second, this.hidden]) owner.dispose();
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
    const keyLengths = sentences.map((ids) => ids.length);
    const options = { keyLengths, returnWeights: look !== undefined };
    const first = this.first.forward(this.#input(sentences), options);
    const { output, attentions } = this.second.forward(first.output, options);
    if (look) [first.weights, ...attentions].forEach(look);
    return output;
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

/**
 * @typedef {object} LayerWeights
 * @property {{ scale: Weight, bias: Weight }} attentionNorm
 * @property {Product} queryKeyValue  side by side
 * @property {Product} output
 * @property {Product | undefined} widen  of the first layer: for what its attention is added to
 * @property {{ scale: Weight, bias: Weight }} feedForwardNorm
 * @property {Product} up
 * @property {Product} down
 *
 * @typedef {{ kernel: Weight, bias: Weight }} Product  kernel: [..., inputs, outputs]
 */

/** @param {Take} take @param {number} index @returns {LayerWeights} */
function weightsOfLayer(take, index) {
  const layer = `Layer_${index}/TransformerLayer/`;
  const joined = (name) => take(`${GRAPH}${layer}${name}/ConcatPartitions/concat`);
  const projection = (name) => ({
    kernel: take(`${VARIABLES}${layer}MultiheadAttention/${name}/kernel/part_0`),
    bias: joined(`MultiheadAttention/${name}/bias`),
  });
  const feedForward = (name) => ({
    kernel: take(`${GRAPH}TransformerStack/${layer}FFN/${name}/Tensordot/Reshape_1`),
    bias: joined(`FFN/${name}/bias`),
  });
  const norm = (name) => ({
    scale: joined(`${name}layer_prepostprocess/layer_norm/layer_norm_scale`),
    bias: joined(`${name}layer_prepostprocess/layer_norm/layer_norm_bias`),
  });
  return {
    attentionNorm: norm(''),
    queryKeyValue: projection('qkv_transform_single'),
    output: projection('output_transform_single'),
    widen: index === 0 ? { kernel: joined('dense/kernel'), bias: joined('dense/bias') } : undefined,
    feedForwardNorm: norm('FFN/'),
    up: feedForward('conv1'),
    down: feedForward('conv2'),
  };
}

/** @param {import('wasm-attention').Runtime} runtime @param {LayerWeights} weights */
function secondLayer(runtime, weights) {
  const block = new TransformerBlock(runtime, {
    embedDim: CHANNELS,
    numHeads: HEADS,
    feedForwardDim: weights.up.bias.shape[0],
    activation: 'relu',
    epsilon: EPSILON,
  });
  return tidy(runtime, () => {
    const named = (name, product) => ({
      [`${name}.weight`]: stored(runtime, product.kernel).transpose(0, 1),
      [`${name}.bias`]: product.bias,
    });
    const part = (name, index) => ({
      [`attention.${name}.weight`]: stored(runtime, weights.queryKeyValue.kernel)
        .slice(1, index * CHANNELS, (index + 1) * CHANNELS)
        .transpose(0, 1),
      [`attention.${name}.bias`]: tensor(runtime, weights.queryKeyValue.bias).slice(
        0,
        index * CHANNELS,
        (index + 1) * CHANNELS,
      ),
    });
    return block.load({
      'attention.norm.weight': weights.attentionNorm.scale,
      'attention.norm.bias': weights.attentionNorm.bias,
      ...part('query', 0),
      ...part('key', 1),
      ...part('value', 2),
      ...named('attention.output', weights.output),
      'feedForward.norm.weight': weights.feedForwardNorm.scale,
      'feedForward.norm.bias': weights.feedForwardNorm.bias,
      ...named('feedForward.up', weights.up),
      ...named('feedForward.down', weights.down),
    });
  });
}

/** The first layer: each half reads a norm of its input, and is added to it, which widens on the way. */
class WideningLayer {
  /** @param {import('wasm-attention').Runtime} runtime @param {LayerWeights} weights */
  constructor(runtime, weights) {
    const norm = ({ scale, bias }) => ({
      weight: tensor(runtime, scale),
      bias: tensor(runtime, bias),
      epsilon: EPSILON,
    });
    this.runtime = runtime;
    this.attentionNorm = norm(weights.attentionNorm);
    this.queryKeyValue = packed(runtime, weights.queryKeyValue);
    this.output = packed(runtime, weights.output);
    this.widen = packed(runtime, weights.widen);
    this.feedForwardNorm = norm(weights.feedForwardNorm);
    this.up = packed(runtime, weights.up);
    this.down = packed(runtime, weights.down);
  }

  /**
   * @param {Tensor} x  [batch, tokens, 256]
   * @param {{ keyLengths: number[], returnWeights: boolean }} options
   * @returns {{ output: Tensor, weights?: Tensor }}  output: [batch, tokens, CHANNELS]
   */
  forward(x, options) {
    const projected = linear(layerNorm(x, this.attentionNorm), this.queryKeyValue);
    const [batch, length, columns] = projected.shape;
    const width = columns / 3;
    const byHeads = (rows) => rows.reshape([batch, length, HEADS, width / HEADS]).transpose(1, 2);
    const [query, key, value] = [0, 1, 2].map((part) =>
      byHeads(projected.slice(2, part * width, (part + 1) * width)),
    );
    const merged = this.runtime.empty([batch, length, width]);
    const { weights } = scaledDotProductAttention(query, key, value, { ...options, output: byHeads(merged) });
    const y = fusedLinear(merged, this.output, { residual: linear(x, this.widen) });
    const up = fusedLinear(layerNorm(y, this.feedForwardNorm), this.up, { activation: 'relu' });
    return { output: fusedLinear(up, this.down, { residual: y }), weights };
  }

  /** Frees the weights. */
  dispose() {
    const norms = [this.attentionNorm, this.feedForwardNorm].flatMap(({ weight, bias }) => [weight, bias]);
    const products = [this.queryKeyValue, this.output, this.widen, this.up, this.down];
    for (const owner of [...norms, ...products]) owner.dispose();
  }
}

/** @param {Weight} weight @returns {Tensor} */
function tensor(runtime, { data, shape }) {
  return runtime.tensor(data, shape);
}

/** A kernel as the graph stores it, [inputs, outputs]. @param {Weight} kernel @returns {Tensor} */
function stored(runtime, { data, shape }) {
  return runtime.tensor(data, shape.slice(-2));
}

/** @param {Product} product */
function packed(runtime, { kernel, bias }) {
  const matrix = stored(runtime, kernel);
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
