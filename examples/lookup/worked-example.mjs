// Attention of one query over three keys, every number on the way: computed by the library, step by step.

import { attentionWeights, scaledDotProductAttention } from 'wasm-attention';

const HEAD_DIM = 4;
const QUERY = [2, 1, 0, 1];
const KEYS = [
  [1, 1, 0, 1],
  [1, 0, 1, 0],
  [-1, 0, 2, 1],
];
const VALUES = [
  [10, 0],
  [0, 10],
  [5, 5],
];

/**
 * @param {import('wasm-attention').Runtime} runtime
 * @param {import('./style.mjs').Style} style
 * @returns {string[]}
 */
export function workedExample(runtime, style) {
  const { raw, scaled, weights, output } = compute(runtime);
  const rows = KEYS.map((key, i) => {
    const numbers = [
      raw[i].toFixed(0).padStart(8),
      scaled[i].toFixed(2).padStart(10),
      weights[i].toFixed(4).padStart(11),
    ];
    return `  key ${i + 1}  ${vector(key, 0, 3)}${numbers.join('')}   x  ${vector(VALUES[i], 0, 3)}`;
  });
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return [
    style.bold(
      `Three keys, step by step: query ${vector(QUERY, 0, 2)}, scale 1/sqrt(${HEAD_DIM}) = ${HEAD_DIM ** -0.5}`,
    ),
    '                             q . k    scaled    softmax       value',
    ...rows,
    `${'sum'.padStart(27)}${total.toFixed(4).padStart(27)}   =  ${vector(output, 3, 7)}`,
  ];
}

/** @param {import('wasm-attention').Runtime} runtime */
function compute(runtime) {
  const query = { data: QUERY, shape: [1, 1, 1, HEAD_DIM] };
  const key = { data: KEYS.flat(), shape: [1, 1, KEYS.length, HEAD_DIM] };
  const value = { data: VALUES.flat(), shape: [1, 1, VALUES.length, 2] };
  const stage = (name) => take(attentionWeights(query, key, { runtime, stage: name }));
  const { output } = scaledDotProductAttention(query, key, value, { runtime });
  return { raw: stage('raw'), scaled: stage('scaled'), weights: stage('weights'), output: take(output) };
}

/** @param {import('wasm-attention').Tensor} tensor */
function take(tensor) {
  const values = [...tensor.toFloat32Array()];
  tensor.dispose();
  return values;
}

/** @param {number[]} values @param {number} digits @param {number} columns */
function vector(values, digits, columns) {
  return `[${values.map((value) => value.toFixed(digits).padStart(columns)).join('')} ]`;
}
