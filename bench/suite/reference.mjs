// The float64 reference: exact results of a sample of rows, and the error of an output against them.

import { projectedWidth } from './workloads.mjs';

/**
 * @typedef {{ offset: number, values: Float64Array }} ReferenceRow a piece of the output and what it should be
 */

/** Errors are spread widely: with a dozen rows their mean square would be that of one or two. */
const SAMPLED_ROWS = 240;

/**
 * First, last and evenly spread indices below `count`: tails of tiles are where kernels go wrong.
 *
 * @param {number} count
 */
function sampleIndices(count, wanted = SAMPLED_ROWS) {
  const step = Math.max(1, (count - 1) / (wanted - 1));
  return [...new Set(Array.from({ length: Math.min(wanted, count) }, (_, i) => Math.round(i * step)))];
}

/**
 * @param {import('./workloads.mjs').Workload} workload
 * @param {import('./inputs.mjs').Inputs} inputs
 * @returns {ReferenceRow[]}
 */
export function referenceRows({ kind, shapes }, inputs) {
  if (kind === 'product') return productRows(shapes, inputs);
  if (kind === 'softmax') return softmaxRows(shapes, inputs);
  if (kind === 'copy') return [{ offset: 0, values: Float64Array.from(inputs.x) }];
  if (kind === 'attention' || kind === 'decode') return attentionRows(shapes, inputs);
  return layerRows(shapes, inputs);
}

/** @typedef {{ error: number, rootMeanSquareError: number }} Errors largest and root mean square absolute difference */

/** @type {Errors} */
const WRONG = { error: Infinity, rootMeanSquareError: Infinity };

/**
 * Differences over the sampled rows; infinite when the output has the wrong length or holds NaN.
 *
 * @param {Float32Array} output
 * @param {ReferenceRow[]} rows
 * @param {number} outputLength
 * @returns {Errors}
 */
export function measureErrors(output, rows, outputLength) {
  if (output.length !== outputLength) return WRONG;
  let largest = 0;
  let squares = 0;
  let count = 0;
  for (const { offset, values } of rows) {
    for (let i = 0; i < values.length; i++) {
      const error = Math.abs(output[offset + i] - values[i]);
      if (Number.isNaN(error)) return WRONG;
      largest = Math.max(largest, error);
      squares += error * error;
    }
    count += values.length;
  }
  return { error: largest, rootMeanSquareError: Math.sqrt(squares / count) };
}

/**
 * @param {ArrayLike<number>} left
 * @param {number} leftOffset
 * @param {ArrayLike<number>} right
 * @param {number} rightOffset
 * @param {number} length
 */
function dot(left, leftOffset, right, rightOffset, length) {
  let sum = 0;
  for (let i = 0; i < length; i++) sum += left[leftOffset + i] * right[rightOffset + i];
  return sum;
}

/** In place. @param {Float64Array} scores */
function softmax(scores) {
  const largest = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = 0;
  for (let i = 0; i < scores.length; i++) sum += scores[i] = Math.exp(scores[i] - largest);
  for (let i = 0; i < scores.length; i++) scores[i] /= sum;
  return scores;
}

/**
 * Sum of the rows of a matrix, each times its weight.
 *
 * @param {Float64Array} weights one for each row
 * @param {ArrayLike<number>} matrix
 * @param {number} offset of the first row
 * @param {number} width of a row
 */
function weightedSum(weights, matrix, offset, width) {
  const sum = new Float64Array(width);
  for (let row = 0; row < weights.length; row++) {
    const weight = weights[row];
    const start = offset + row * width;
    for (let i = 0; i < width; i++) sum[i] += weight * matrix[start + i];
  }
  return sum;
}

/** @param {import('./workloads.mjs').ProductShapes} shapes @param {import('./inputs.mjs').Inputs} inputs */
function productRows({ rows, columns, inner }, { x, weight }) {
  return sampleIndices(rows).map((row) => ({
    offset: row * columns,
    values: Float64Array.from({ length: columns }, (_, c) => dot(x, row * inner, weight, c * inner, inner)),
  }));
}

/** @param {import('./workloads.mjs').ProductShapes} shapes @param {import('./inputs.mjs').Inputs} inputs */
function softmaxRows({ rows, columns }, { x }) {
  return sampleIndices(rows).map((row) => ({
    offset: row * columns,
    values: softmax(Float64Array.from(x.subarray(row * columns, (row + 1) * columns))),
  }));
}

/** First key that a query sees, and the one after its last. @param {import('./workloads.mjs').Shapes} shapes @param {number} query */
const liveKeys = ({ keys, causal, window }, query) =>
  causal ? [window > 0 ? Math.max(0, query + 1 - window) : 0, query + 1] : [0, keys];

/** @param {import('./workloads.mjs').Shapes} shapes @param {import('./inputs.mjs').Inputs} inputs */
function attentionRows(shapes, { query, key, value }) {
  const { batch, heads, keyValueHeads, queries, keys, headDim, valueHeadDim } = shapes;
  const scale = 1 / Math.sqrt(headDim);
  return sampleIndices(batch * heads * queries).map((row) => {
    const head = Math.floor(row / queries);
    const group = Math.floor(head / (heads / keyValueHeads));
    const keyOffset = group * keys * headDim;
    const [first, end] = liveKeys(shapes, row % queries);
    const scores = Float64Array.from(
      { length: end - first },
      (_, j) => scale * dot(query, row * headDim, key, keyOffset + (first + j) * headDim, headDim),
    );
    const valueOffset = (group * keys + first) * valueHeadDim;
    const values = weightedSum(softmax(scores), value, valueOffset, valueHeadDim);
    return { offset: row * valueHeadDim, values };
  });
}

/** @param {import('./workloads.mjs').Shapes} shapes @param {import('./inputs.mjs').Inputs} inputs */
function layerRows(shapes, inputs) {
  const { batch, queries, embedDim } = shapes;
  return sampleIndices(batch * queries, 6).map((row) => ({
    offset: row * embedDim,
    values: layerRow(shapes, inputs, Math.floor(row / queries), row % queries),
  }));
}

/**
 * One token of a layer's output. Projecting every key for a handful of rows would take seconds, so the
 * projections are moved to the other side of the sums: q . (W x + b) = (W^T q) . x + q . b, and sum p (W x +
 * b) = W (sum p x) + b.
 *
 * @param {import('./workloads.mjs').Shapes} shapes
 * @param {import('./inputs.mjs').Inputs} inputs
 * @param {number} item of the batch
 * @param {number} token
 */
function layerRow(shapes, inputs, item, token) {
  const { heads, queries, valueHeadDim } = shapes;
  const joined = new Float64Array(heads * valueHeadDim);
  for (let head = 0; head < heads; head++) {
    joined.set(layerHead(shapes, inputs, item * queries, token, head), head * valueHeadDim);
  }
  const weight = inputs['out_proj.weight'];
  const bias = inputs['out_proj.bias'];
  return Float64Array.from(bias, (b, c) => b + dot(joined, 0, weight, c * joined.length, joined.length));
}

/**
 * @param {import('./workloads.mjs').Shapes} shapes
 * @param {import('./inputs.mjs').Inputs} inputs
 * @param {number} firstToken of the batch item
 * @param {number} token
 * @param {number} head
 */
function layerHead(shapes, inputs, firstToken, token, head) {
  const { x, in_proj_weight: weight, in_proj_bias: bias } = inputs;
  const { heads, keyValueHeads, keys, headDim, valueHeadDim, embedDim, causal } = shapes;
  const group = Math.floor(head / (heads / keyValueHeads));
  const queryRow = head * headDim;
  const keyRow = (heads + group) * headDim;
  const valueRow = projectedWidth(shapes) - (keyValueHeads - group) * valueHeadDim;
  const project = (
    /** @type {ArrayLike<number>} */ from,
    /** @type {number} */ offset,
    /** @type {number} */ row,
  ) => bias[row] + dot(weight, row * embedDim, from, offset, embedDim);

  const query = Float64Array.from({ length: headDim }, (_, i) =>
    project(x, (firstToken + token) * embedDim, queryRow + i),
  );
  const turned = weightedSum(query, weight, keyRow * embedDim, embedDim);
  const constant = dot(query, 0, bias, keyRow, headDim);
  const scores = Float64Array.from(
    { length: causal ? token + 1 : keys },
    (_, j) => (dot(turned, 0, x, (firstToken + j) * embedDim, embedDim) + constant) / Math.sqrt(headDim),
  );
  const mixed = weightedSum(softmax(scores), x, firstToken * embedDim, embedDim);
  return Float64Array.from({ length: valueHeadDim }, (_, i) => project(mixed, 0, valueRow + i));
}
