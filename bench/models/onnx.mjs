// The same models as ONNX graphs, of the operators that onnxruntime has fused: attention with its projection, norms with residual and
// bias, GELU with bias.

import { GraphBuilder } from '../peers/onnx/model.mjs';
import { linearOf, normOf } from './checkpoint.mjs';

const FUSED = { domain: 'com.microsoft' };

/**
 * How attention is written. attention: the runtime's own operator that projects, too. multi-head: MatMul for each of query, key and value,
 * then MultiHeadAttention with their bias. opset: MatMul, then ONNX Attention.
 *
 * @typedef {'attention' | 'multi-head' | 'opset'} Variant
 */

/** @type {Variant[]} */
export const ENCODER_VARIANTS = ['attention', 'multi-head', 'opset'];
/** @type {Variant[]} The operator of the opset leaves open where the causal diagonal is after a past. */
export const DECODER_VARIANTS = ['attention', 'multi-head'];

/** Ids [1, tokens] to the last hidden state. @param {import('./checkpoint.mjs').ModelFiles} files @param {number} tokens @param {Variant} variant */
export function encoderGraph(files, tokens, variant) {
  const { layers, width, vocabulary } = files.size;
  const graph = new GraphBuilder();
  const epsilon = { epsilon: { float: 1e-12 } };
  const { data: table } = files.tensor('embeddings.word_embeddings.weight');
  const ids = graph.integerInput('ids', [1, tokens]);
  const [words] = graph.apply('Gather', [graph.constant([vocabulary, width], table), ids], { axis: 0 });
  const places = graph.constant([1, tokens, width], placesOf(files, tokens));
  const norm = (/** @type {string} */ x, /** @type {string} */ skip, gamma, beta, bias) => {
    const vector = (data) => graph.constant([width], data);
    const inputs = [x, skip, vector(gamma), vector(beta), ...(bias ? [vector(bias)] : [])];
    return graph.apply('SkipLayerNormalization', inputs, epsilon, FUSED)[0];
  };
  const first = 'embeddings.LayerNorm';
  let x = norm(
    words,
    places,
    files.tensor(`${first}.weight`).data,
    files.tensor(`${first}.bias`).data,
    undefined,
  );
  for (let layer = 0; layer < layers; layer++) {
    const { x: merged } = attend(graph, files, layer, variant, x, tokens, undefined);
    for (const which of /** @type {const} */ (['attention', 'feedForward'])) {
      const last = linearOf(files, layer, which === 'attention' ? 'output' : 'down');
      const from = which === 'attention' ? merged : hidden(graph, files, layer, x, 'BiasGelu');
      const { weight, bias } = normOf(files, layer, which);
      x = norm(matmul(graph, from, last), x, weight, bias, last.bias);
    }
  }
  return graph.encode(x, [1, tokens, width]);
}

/** Positions and the first token type, which a graph has as one constant. @param {import('./checkpoint.mjs').ModelFiles} files @param {number} tokens */
function placesOf({ size: { width }, tensor }, tokens) {
  const type = tensor('embeddings.token_type_embeddings.weight').data;
  const positions = tensor('embeddings.position_embeddings.weight').data;
  return Float32Array.from({ length: tokens * width }, (_, i) => positions[i] + type[i % width]);
}

/**
 * Ids [1, tokens] to the logits of the last one; after `past` tokens, whose keys and values go in and come out with the new ones.
 *
 * @param {import('./checkpoint.mjs').ModelFiles} files
 * @param {number} tokens
 * @param {number} past 0: no cache goes in or comes out
 * @param {Variant} variant
 */
export function decoderGraph(files, tokens, past, variant) {
  const { layers, width, vocabulary, heads } = files.size;
  const graph = new GraphBuilder();
  const epsilon = { epsilon: { float: 1e-5 } };
  const table = graph.constant([vocabulary, width], files.tensor('wte.weight').data);
  const ids = graph.integerInput('ids', [1, tokens]);
  const [words] = graph.apply('Gather', [table, ids], { axis: 0 });
  const positions = files.tensor('wpe.weight').data.subarray(past * width, (past + tokens) * width);
  const places = graph.constant([1, tokens, width], positions);
  const vector = (/** @type {Float32Array} */ data) => graph.constant([width], data);
  const caches = [];
  // The first norm adds what is embedded, each further one what a sublayer adds to the stream.
  let [stream, branch, branchBias] = [words, places, /** @type {string[]} */ ([])];
  const norm = (weight, bias) => {
    const [normed, , , sum] = graph.apply(
      'SkipLayerNormalization',
      [branch, stream, vector(weight), vector(bias), ...branchBias],
      epsilon,
      { ...FUSED, outputs: 4 },
    );
    stream = sum;
    return normed;
  };
  for (let layer = 0; layer < layers; layer++) {
    const first = normOf(files, layer, 'attention');
    const attended = attend(graph, files, layer, variant, norm(first.weight, first.bias), tokens, past);
    caches.push(...attended.caches);
    const output = linearOf(files, layer, 'output');
    [branch, branchBias] = [matmul(graph, attended.x, output), [vector(output.bias)]];
    const second = normOf(files, layer, 'feedForward');
    const up = hidden(graph, files, layer, norm(second.weight, second.bias), 'FastGelu');
    const down = linearOf(files, layer, 'down');
    [branch, branchBias] = [matmul(graph, up, down), [vector(down.bias)]];
  }
  const last = norm(files.tensor('ln_f.weight').data, files.tensor('ln_f.bias').data);
  const row = graph.apply('Slice', [
    last,
    graph.integers([tokens - 1]),
    graph.integers([tokens]),
    graph.integers([1]),
  ])[0];
  const [flat] = graph.apply('Reshape', [row, graph.integers([1, width])]);
  const [logits] = graph.apply('Gemm', [flat, table], { transB: 1 });
  const total = [1, heads, past + tokens, width / heads];
  const shape = variant === 'attention' ? [2, ...total] : total;
  return graph.encode(
    logits,
    [1, vocabulary],
    caches.map((name) => [name, shape]),
  );
}

/**
 * Names and shapes of the inputs that hold the past.
 *
 * @param {import('./checkpoint.mjs').Size} size
 * @param {number} past
 * @param {Variant} variant
 * @returns {[name: string, shape: number[]][]}
 */
export function pastInputs({ layers, width, heads }, past, variant) {
  const shape = [1, heads, past, width / heads];
  return Array.from({ length: layers }, (_, layer) =>
    variant === 'attention'
      ? [[`past${layer}`, [2, ...shape]]]
      : [
          [`pastKey${layer}`, shape],
          [`pastValue${layer}`, shape],
        ],
  ).flat();
}

/**
 * Projections and attention, without the output projection; names of the cache that comes out.
 *
 * @param {GraphBuilder} graph
 * @param {import('./checkpoint.mjs').ModelFiles} files
 * @param {number} layer
 * @param {Variant} variant
 * @param {string} x
 * @param {number} tokens
 * @param {number | undefined} past undefined: not causal
 */
function attend(graph, files, layer, variant, x, tokens, past) {
  const { heads, width } = files.size;
  const { weight, bias } = linearOf(files, layer, 'projection');
  const causal = { num_heads: heads, unidirectional: Number(past !== undefined) };
  const isStep = past !== undefined && past > 0;
  const caches = isStep
    ? pastInputs({ ...files.size, layers: layer + 1 }, past, variant)
        .slice(variant === 'attention' ? -1 : -2)
        .map(([name, shape]) => graph.input(name, shape))
    : [];
  const present = { ...FUSED, outputs: isStep ? (variant === 'attention' ? 2 : 3) : 1 };
  if (variant === 'attention') {
    const operands = [x, graph.constant([width, 3 * width], weight), graph.constant([3 * width], bias)];
    const [output, ...kept] = graph.apply(
      'Attention',
      [...operands, ...(isStep ? ['', ...caches] : [])],
      causal,
      present,
    );
    return { x: output, caches: kept };
  }
  if (variant === 'multi-head') {
    const parts = [0, 1, 2].map((part) => {
      const own = new Float32Array(width * width);
      for (let k = 0; k < width; k++) {
        own.set(weight.subarray((3 * k + part) * width, (3 * k + part + 1) * width), k * width);
      }
      return graph.apply('MatMul', [x, graph.constant([width, width], own)])[0];
    });
    const operands = [...parts, graph.constant([3 * width], bias), ...(isStep ? ['', '', ...caches] : [])];
    const [output, ...kept] = graph.apply('MultiHeadAttention', operands, causal, present);
    return { x: output, caches: kept };
  }
  const projected = matmul(graph, x, { inputs: width, out: 3 * width, weight });
  const [sum] = graph.apply('Add', [projected, graph.constant([3 * width], bias)]);
  const parts = graph.apply(
    'Split',
    [sum, graph.integers([width, width, width])],
    { axis: 2 },
    { outputs: 3 },
  );
  const attributes = { q_num_heads: heads, kv_num_heads: heads, is_causal: causal.unidirectional };
  return { x: graph.apply('Attention', parts, attributes)[0], caches: [] };
}

/** @param {GraphBuilder} graph @param {string} x @param {{ inputs: number, out: number, weight: Float32Array }} layer */
const matmul = (graph, x, { inputs, out, weight }) =>
  graph.apply('MatMul', [x, graph.constant([inputs, out], weight)])[0];

/** @param {GraphBuilder} graph @param {import('./checkpoint.mjs').ModelFiles} files @param {number} layer @param {string} x @param {string} activation */
function hidden(graph, files, layer, x, activation) {
  const up = linearOf(files, layer, 'up');
  return graph.apply(activation, [matmul(graph, x, up), graph.constant([up.out], up.bias)], {}, FUSED)[0];
}
