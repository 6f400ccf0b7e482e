// Checkpoints in memory, as users have them: a config and a safetensors file, with random weights of the scale that trained ones have.

/**
 * @typedef {object} Size
 * @property {'bert' | 'gpt2'} family
 * @property {number} layers
 * @property {number} width
 * @property {number} heads
 * @property {number} inner channels of the feed-forward layer
 * @property {number} vocabulary
 * @property {number} positions
 */

/** @typedef {{ shape: number[], data: Float32Array }} Values */

/**
 * @typedef {object} ModelFiles
 * @property {Size} size
 * @property {object} config what config.json holds
 * @property {Uint8Array} file what model.safetensors holds
 * @property {(name: string) => Values} tensor views of the file
 */

/** @type {Record<string, Size>} */
export const SIZES = {
  'encoder-6': {
    family: 'bert',
    layers: 6,
    width: 384,
    heads: 12,
    inner: 1536,
    vocabulary: 30522,
    positions: 512,
  },
  'encoder-12': {
    family: 'bert',
    layers: 12,
    width: 768,
    heads: 12,
    inner: 3072,
    vocabulary: 30522,
    positions: 512,
  },
  'decoder-12': {
    family: 'gpt2',
    layers: 12,
    width: 768,
    heads: 12,
    inner: 3072,
    vocabulary: 50257,
    positions: 1024,
  },
};

/** Numbers that are the same at every run, uniform in [-1, 1). */
export class Random {
  #seed = 1;

  /** @param {Float32Array} target @param {number} scale @param {number} [middle] */
  fill(target, scale, middle = 0) {
    let seed = this.#seed;
    for (let i = 0; i < target.length; i++) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      target[i] = middle + (seed / 2 ** 31 - 1) * scale;
    }
    this.#seed = seed;
    return target;
  }

  /** @param {number} count @param {number} below */
  integers(count, below) {
    const values = this.fill(new Float32Array(count), below / 2, below / 2);
    return Int32Array.from(values, (value) => Math.min(below - 1, Math.floor(value)));
  }
}

/** Names and shapes of all tensors. @param {Size} size @returns {[string, number[]][]} */
const tensorsOf = (size) => (size.family === 'bert' ? encoderTensors(size) : decoderTensors(size));

/** @param {Size} size @returns {[string, number[]][]} */
function encoderTensors({ layers, width, inner, vocabulary, positions }) {
  /** @type {(name: string, out: number, inputs: number) => [string, number[]][]} */
  const linear = (name, out, inputs) => [
    [`${name}.weight`, [out, inputs]],
    [`${name}.bias`, [out]],
  ];
  /** @type {(name: string) => [string, number[]][]} */
  const norm = (name) => [
    [`${name}.weight`, [width]],
    [`${name}.bias`, [width]],
  ];
  return [
    ['embeddings.word_embeddings.weight', [vocabulary, width]],
    ['embeddings.position_embeddings.weight', [positions, width]],
    ['embeddings.token_type_embeddings.weight', [2, width]],
    ...norm('embeddings.LayerNorm'),
    ...Array.from({ length: layers }, (_, layer) => {
      const block = `encoder.layer.${layer}.`;
      return [
        ...['query', 'key', 'value'].flatMap((name) =>
          linear(`${block}attention.self.${name}`, width, width),
        ),
        ...linear(`${block}attention.output.dense`, width, width),
        ...norm(`${block}attention.output.LayerNorm`),
        ...linear(`${block}intermediate.dense`, inner, width),
        ...linear(`${block}output.dense`, width, inner),
        ...norm(`${block}output.LayerNorm`),
      ];
    }).flat(),
  ];
}

/** GPT-2 stores its matrices [in, out]. @param {Size} size @returns {[string, number[]][]} */
function decoderTensors({ layers, width, inner, vocabulary, positions }) {
  /** @type {(name: string, inputs: number, out: number) => [string, number[]][]} */
  const linear = (name, inputs, out) => [
    [`${name}.weight`, [inputs, out]],
    [`${name}.bias`, [out]],
  ];
  /** @type {(name: string) => [string, number[]][]} */
  const norm = (name) => [
    [`${name}.weight`, [width]],
    [`${name}.bias`, [width]],
  ];
  return [
    ['wte.weight', [vocabulary, width]],
    ['wpe.weight', [positions, width]],
    ...Array.from({ length: layers }, (_, layer) => {
      const block = `h.${layer}.`;
      return [
        ...norm(`${block}ln_1`),
        ...linear(`${block}attn.c_attn`, width, 3 * width),
        ...linear(`${block}attn.c_proj`, width, width),
        ...norm(`${block}ln_2`),
        ...linear(`${block}mlp.c_fc`, width, inner),
        ...linear(`${block}mlp.c_proj`, inner, width),
      ];
    }).flat(),
    ...norm('ln_f'),
  ];
}

/** @param {Size} size */
function configOf({ family, layers, width, heads, inner, vocabulary, positions }) {
  if (family === 'bert') {
    return {
      architectures: ['BertModel'],
      model_type: 'bert',
      vocab_size: vocabulary,
      hidden_size: width,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      intermediate_size: inner,
      max_position_embeddings: positions,
      type_vocab_size: 2,
      layer_norm_eps: 1e-12,
      hidden_act: 'gelu',
    };
  }
  return {
    architectures: ['GPT2LMHeadModel'],
    model_type: 'gpt2',
    activation_function: 'gelu_new',
    layer_norm_epsilon: 1e-5,
    n_ctx: positions,
    n_embd: width,
    n_head: heads,
    n_inner: inner,
    n_layer: layers,
    n_positions: positions,
    vocab_size: vocabulary,
  };
}

/** Middle and half width of the values of a tensor. @param {string} name @param {number[]} shape @param {Size} size */
function rangeOf(name, shape, { family }) {
  if (shape.length === 1) return /(LayerNorm|ln_\w+)\.weight$/.test(name) ? [1, 0.2] : [0, 0.05];
  if (/embeddings|^w[tp]e/.test(name)) return [0, family === 'bert' ? 1 : 0.1];
  const inputs = shape[family === 'bert' ? 1 : 0];
  return [0, Math.sqrt(3 / inputs)];
}

/** @param {Size} size @returns {ModelFiles} */
export function makeModelFiles(size) {
  const random = new Random();
  const tensors = tensorsOf(size);
  let bytes = 0;
  /** @type {Record<string, object>} */
  const entries = {};
  for (const [name, shape] of tensors) {
    const length = shape.reduce((product, side) => product * side) * 4;
    entries[name] = { dtype: 'F32', shape, data_offsets: [bytes, bytes + length] };
    bytes += length;
  }
  const text = JSON.stringify(entries);
  const header = new TextEncoder().encode(text.padEnd(Math.ceil(text.length / 8) * 8));
  const buffer = new ArrayBuffer(8 + header.length + bytes);
  new DataView(buffer).setBigUint64(0, BigInt(header.length), true);
  new Uint8Array(buffer, 8).set(header);
  /** @type {Map<string, Values>} */
  const views = new Map();
  let at = 8 + header.length;
  for (const [name, shape] of tensors) {
    const length = shape.reduce((product, side) => product * side);
    const [middle, scale] = rangeOf(name, shape, size);
    views.set(name, { shape, data: random.fill(new Float32Array(buffer, at, length), scale, middle) });
    at += length * 4;
  }
  const tensor = (/** @type {string} */ name) => {
    const found = views.get(name);
    if (!found) throw new Error(`no tensor ${name}`);
    return found;
  };
  return { size, config: configOf(size), file: new Uint8Array(buffer), tensor };
}

/**
 * A linear layer of a block as [inputs, out], and its bias; query, key and value as one.
 *
 * @param {ModelFiles} files
 * @param {number} layer
 * @param {'projection' | 'output' | 'up' | 'down'} which
 */
export function linearOf({ size, tensor }, layer, which) {
  if (size.family === 'gpt2') {
    const name = { projection: 'attn.c_attn', output: 'attn.c_proj', up: 'mlp.c_fc', down: 'mlp.c_proj' }[
      which
    ];
    const { shape, data } = tensor(`h.${layer}.${name}.weight`);
    return { inputs: shape[0], out: shape[1], weight: data, bias: tensor(`h.${layer}.${name}.bias`).data };
  }
  const block = `encoder.layer.${layer}.`;
  const names = {
    projection: ['query', 'key', 'value'].map((name) => `${block}attention.self.${name}`),
    output: [`${block}attention.output.dense`],
    up: [`${block}intermediate.dense`],
    down: [`${block}output.dense`],
  }[which];
  const parts = names.map((name) => tensor(`${name}.weight`));
  const [each, inputs] = parts[0].shape;
  const out = each * parts.length;
  const weight = new Float32Array(inputs * out);
  const bias = new Float32Array(out);
  parts.forEach(({ data }, part) => {
    bias.set(tensor(`${names[part]}.bias`).data, part * each);
    for (let column = 0; column < each; column++) {
      for (let k = 0; k < inputs; k++) weight[k * out + part * each + column] = data[column * inputs + k];
    }
  });
  return { inputs, out, weight, bias };
}

/** Weight and bias of a norm of a block. @param {ModelFiles} files @param {number} layer @param {'attention' | 'feedForward'} which */
export function normOf({ size, tensor }, layer, which) {
  const name =
    size.family === 'gpt2'
      ? `h.${layer}.${which === 'attention' ? 'ln_1' : 'ln_2'}`
      : `encoder.layer.${layer}.${which === 'attention' ? 'attention.output' : 'output'}.LayerNorm`;
  return { weight: tensor(`${name}.weight`).data, bias: tensor(`${name}.bias`).data };
}
