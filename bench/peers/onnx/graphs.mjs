// Each workload as an ONNX graph, once from plain operators and once with the runtime's fused attention
// operators.

import { transpose } from '../../suite/inputs.mjs';
import { causalMask } from '../peer.mjs';
import { GraphBuilder } from './model.mjs';

/**
 * decomposed: MatMul, Softmax and a mask added. blocks: the same for one block of queries of one head at a time, without
 * the keys that no query of the block sees. attention: ONNX Attention (opset 23). multi-head and grouped: the runtime's
 * own MultiHeadAttention and GroupQueryAttention.
 *
 * @typedef {'decomposed' | 'blocks' | 'attention' | 'multi-head' | 'grouped'} Variant
 */

/** The fused operators compute n x n sizes in 32 bits and fail in WebAssembly from this length on. */
const FUSED_LIMIT = 4096;

/** From this length on cutting attention by hand pays. */
const BLOCKS_FROM = 1024;

/** A mask of n x n floats is part of a decomposed causal graph: above this it does not fit a model file. */
const DECOMPOSED_LIMIT = 8192;

/**
 * @param {import('../../suite/workloads.mjs').Workload} workload
 * @param {{ native: boolean }} runtime
 * @returns {string[]}
 */
export function graphVariants({ kind, shapes }, { native }) {
  if (kind === 'product' || kind === 'softmax') return [''];
  // How attention is written hardly matters to a cold start: loading does.
  if (kind === 'start') return ['decomposed'];
  // Of the fused operators only GroupQueryAttention takes a window.
  if (shapes.window > 0) return ['grouped', 'decomposed', 'blocks'];
  const variants = [];
  const isGrouped = shapes.heads !== shapes.keyValueHeads;
  if (native || shapes.keys < FUSED_LIMIT) variants.push('attention', isGrouped ? 'grouped' : 'multi-head');
  if (shapes.keys < DECOMPOSED_LIMIT) variants.push('decomposed');
  if (kind === 'attention' && shapes.keys >= BLOCKS_FROM && shapes.keys < DECOMPOSED_LIMIT)
    variants.push('blocks');
  // GroupQueryAttention is always causal, which one query at the last key does not notice.
  return variants.filter((variant) => variant !== 'grouped' || shapes.causal || kind === 'decode');
}

/**
 * @param {import('../../suite/workloads.mjs').Workload} workload
 * @param {import('../../suite/inputs.mjs').Inputs} inputs
 * @param {Variant} variant
 * @returns {Uint8Array}
 */
export function buildModel({ kind, shapes }, inputs, variant) {
  if (kind === 'product') return productModel(shapes, inputs);
  if (kind === 'softmax') return softmaxModel(shapes);
  if (kind === 'decode' && variant === 'grouped') return decodeModel(shapes);
  if (kind === 'attention' || kind === 'decode') return attentionModel(shapes, variant);
  return layerModel(shapes, inputs, variant);
}

/**
 * @param {import('../../suite/workloads.mjs').ProductShapes} shapes
 * @param {import('../../suite/inputs.mjs').Inputs} inputs
 */
function productModel({ rows, columns, inner }, { weight }) {
  const graph = new GraphBuilder();
  const x = graph.input('x', [rows, inner]);
  const turned = graph.constant([inner, columns], transpose(weight, columns, inner));
  return graph.encode(graph.apply('MatMul', [x, turned])[0], [rows, columns]);
}

/** @param {import('../../suite/workloads.mjs').ProductShapes} shapes */
function softmaxModel({ rows, columns }) {
  const graph = new GraphBuilder();
  const x = graph.input('x', [rows, columns]);
  return graph.encode(graph.apply('Softmax', [x], { axis: -1 })[0], [rows, columns]);
}

/** @param {import('../../suite/workloads.mjs').Shapes} shapes @param {Variant} variant */
function attentionModel(shapes, variant) {
  const { batch, heads, keyValueHeads, queries, keys, headDim, valueHeadDim } = shapes;
  const graph = new GraphBuilder();
  const query = graph.input('query', [batch, heads, queries, headDim]);
  const key = graph.input('key', [batch, keyValueHeads, keys, headDim]);
  const value = graph.input('value', [batch, keyValueHeads, keys, valueHeadDim]);
  const output = attend(graph, shapes, variant, query, key, value);
  return graph.encode(output, [batch, heads, queries, valueHeadDim]);
}

/**
 * GroupQueryAttention with its own cache: the last key and value are new, those before them are the past.
 *
 * @param {import('../../suite/workloads.mjs').Shapes} shapes
 */
function decodeModel({ batch, heads, keyValueHeads, keys, headDim }) {
  const graph = new GraphBuilder();
  const input = (/** @type {string} */ name, /** @type {number} */ count) =>
    graph.input(name, [batch, 1, count * headDim]);
  const past = (/** @type {string} */ name) => graph.input(name, [batch, keyValueHeads, keys - 1, headDim]);
  const operands = [
    input('query', heads),
    input('newKey', keyValueHeads),
    input('newValue', keyValueHeads),
    past('pastKey'),
    past('pastValue'),
    graph.constant([batch], new Int32Array(batch).fill(keys - 1)),
    graph.constant([1], Int32Array.of(keys)),
  ];
  const attributes = { num_heads: heads, kv_num_heads: keyValueHeads };
  const [output] = graph.apply('GroupQueryAttention', operands, attributes, {
    domain: 'com.microsoft',
    outputs: 3,
  });
  return graph.encode(output, [batch, 1, heads * headDim]);
}

/**
 * Attention over [batch, heads, length, headDim].
 *
 * @param {GraphBuilder} graph
 * @param {import('../../suite/workloads.mjs').Shapes} shapes
 * @param {Variant} variant
 * @param {string} query
 * @param {string} key
 * @param {string} value
 */
function attend(graph, shapes, variant, query, key, value) {
  const { heads, keyValueHeads } = shapes;
  if (variant === 'decomposed' || variant === 'blocks') {
    return attendDecomposed(graph, shapes, query, key, value);
  }
  if (variant === 'attention') {
    return graph.apply('Attention', [query, key, value], { is_causal: Number(shapes.causal) })[0];
  }
  const joined = [
    joinHeads(graph, shapes.queries, heads * shapes.headDim, query),
    joinHeads(graph, shapes.keys, keyValueHeads * shapes.headDim, key),
    joinHeads(graph, shapes.keys, keyValueHeads * shapes.valueHeadDim, value),
  ];
  const output = attendJoined(graph, shapes, variant, joined);
  return splitHeads(graph, shapes.queries, heads, shapes.valueHeadDim, output);
}

/** @param {GraphBuilder} graph @param {number} length @param {number} width @param {string} x */
function joinHeads(graph, length, width, x) {
  const [turned] = graph.apply('Transpose', [x], { perm: [0, 2, 1, 3] });
  return graph.apply('Reshape', [turned, graph.integers([-1, length, width])])[0];
}

/**
 * @param {GraphBuilder} graph
 * @param {number} length
 * @param {number} heads
 * @param {number} headDim
 * @param {string} x
 */
function splitHeads(graph, length, heads, headDim, x) {
  const [split] = graph.apply('Reshape', [x, graph.integers([-1, length, heads, headDim])]);
  return graph.apply('Transpose', [split], { perm: [0, 2, 1, 3] })[0];
}

/**
 * @param {GraphBuilder} graph
 * @param {import('../../suite/workloads.mjs').Shapes} shapes
 * @param {string} query
 * @param {string} key
 * @param {string} value
 */
function attendDecomposed(graph, shapes, query, key, value) {
  const { queries, keys, headDim, valueHeadDim, causal } = shapes;
  const [scaled] = graph.apply('Mul', [query, graph.scalar(1 / Math.sqrt(headDim))]);
  const [turned] = graph.apply('Transpose', [repeatHeads(graph, shapes, headDim, key)], {
    perm: [0, 1, 3, 2],
  });
  let [scores] = graph.apply('MatMul', [scaled, turned]);
  if (causal) [scores] = graph.apply('Add', [scores, graph.constant([queries, keys], causalMask(shapes))]);
  const [weights] = graph.apply('Softmax', [scores], { axis: -1 });
  return graph.apply('MatMul', [weights, repeatHeads(graph, shapes, valueHeadDim, value)])[0];
}

/**
 * Copies K or V for every query head of its group.
 *
 * @param {GraphBuilder} graph
 * @param {import('../../suite/workloads.mjs').Shapes} shapes
 * @param {number} width
 * @param {string} x
 */
function repeatHeads(graph, { batch, heads, keyValueHeads, keys }, width, x) {
  if (heads === keyValueHeads) return x;
  const group = heads / keyValueHeads;
  const [apart] = graph.apply('Unsqueeze', [x, graph.integers([2])]);
  const repeated = graph.integers([batch, keyValueHeads, group, keys, width]);
  const [expanded] = graph.apply('Expand', [apart, repeated]);
  return graph.apply('Reshape', [expanded, graph.integers([batch, heads, keys, width])])[0];
}

/**
 * Attention over [batch, length, heads * headDim].
 *
 * @param {GraphBuilder} graph
 * @param {import('../../suite/workloads.mjs').Shapes} shapes
 * @param {Variant} variant
 * @param {string[]} inputs
 */
function attendJoined(graph, shapes, variant, inputs) {
  const { batch, heads, keyValueHeads, keys, causal, window } = shapes;
  if (variant === 'attention') {
    const attributes = { is_causal: Number(causal), q_num_heads: heads, kv_num_heads: keyValueHeads };
    return graph.apply('Attention', inputs, attributes)[0];
  }
  const domain = 'com.microsoft';
  if (variant === 'multi-head') {
    const attributes = { num_heads: heads, unidirectional: Number(causal) };
    return graph.apply('MultiHeadAttention', inputs, attributes, { domain })[0];
  }
  const lastKeys = graph.constant([batch], new Int32Array(batch).fill(keys - 1));
  const total = graph.constant([1], Int32Array.of(keys));
  const attributes = {
    num_heads: heads,
    kv_num_heads: keyValueHeads,
    ...(window > 0 ? { local_window_size: window } : {}),
  };
  const operands = [...inputs, '', '', lastKeys, total];
  return graph.apply('GroupQueryAttention', operands, attributes, { domain, outputs: 3 })[0];
}

/**
 * @param {import('../../suite/workloads.mjs').Shapes} shapes
 * @param {import('../../suite/inputs.mjs').Inputs} inputs
 * @param {Variant} variant
 */
function layerModel(shapes, inputs, variant) {
  const { batch, heads, keyValueHeads, queries, headDim, valueHeadDim, embedDim } = shapes;
  const graph = new GraphBuilder();
  const x = graph.input('x', [batch, queries, embedDim]);
  const packed = project(graph, x, embedDim, inputs.in_proj_weight, inputs.in_proj_bias);
  const parts = [heads * headDim, keyValueHeads * headDim, keyValueHeads * valueHeadDim];
  const operands = graph.apply('Split', [packed, graph.integers(parts)], { axis: 2 }, { outputs: 3 });
  const joined =
    variant === 'decomposed'
      ? attendSplit(graph, shapes, operands)
      : attendJoined(graph, shapes, variant, operands);
  const width = heads * valueHeadDim;
  const output = project(graph, joined, width, inputs['out_proj.weight'], inputs['out_proj.bias']);
  return graph.encode(output, [batch, queries, embedDim]);
}

/**
 * @param {GraphBuilder} graph
 * @param {import('../../suite/workloads.mjs').Shapes} shapes
 * @param {string[]} operands
 */
function attendSplit(graph, shapes, [query, key, value]) {
  const { heads, keyValueHeads, queries, keys, headDim, valueHeadDim } = shapes;
  const output = attendDecomposed(
    graph,
    shapes,
    splitHeads(graph, queries, heads, headDim, query),
    splitHeads(graph, keys, keyValueHeads, headDim, key),
    splitHeads(graph, keys, keyValueHeads, valueHeadDim, value),
  );
  return joinHeads(graph, queries, heads * valueHeadDim, output);
}

/**
 * A linear layer.
 *
 * @param {GraphBuilder} graph
 * @param {string} x
 * @param {number} inner
 * @param {Float32Array} weight
 * @param {Float32Array} bias
 */
function project(graph, x, inner, weight, bias) {
  const turned = graph.constant([inner, bias.length], transpose(weight, bias.length, inner));
  const [product] = graph.apply('MatMul', [x, turned]);
  return graph.apply('Add', [product, graph.constant([bias.length], bias)])[0];
}
