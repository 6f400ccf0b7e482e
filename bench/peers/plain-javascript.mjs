// Peer: careful JavaScript. Loops over typed arrays, two rows by four columns at a time, masked keys skipped.

import { projectedWidth } from '../suite/workloads.mjs';

/**
 * `output[r, c] = left[r] . right[c] (+ bias[c])`, rows of both operands contiguous in `inner`.
 *
 * @param {Float32Array} left
 * @param {number} leftOffset
 * @param {number} leftStride
 * @param {Float32Array} right
 * @param {number} rightOffset
 * @param {number} rightStride
 * @param {Float32Array} output
 * @param {number} outputStride
 * @param {{ rows: number, columns: number, inner: number, scale?: number, bias?: Float32Array }} sizes
 */
function multiplyTransposed(
  left,
  leftOffset,
  leftStride,
  right,
  rightOffset,
  rightStride,
  output,
  outputStride,
  sizes,
) {
  const { rows, columns, inner, scale = 1, bias } = sizes;
  for (let column = 0; column < columns; column += 4) {
    const width = Math.min(4, columns - column);
    for (let row = 0; row < rows; row += 2) {
      const height = Math.min(2, rows - row);
      // Lanes past the edge repeat the last row or column and are not stored.
      const a0 = leftOffset + row * leftStride;
      const a1 = leftOffset + (row + height - 1) * leftStride;
      const b0 = rightOffset + column * rightStride;
      const b1 = b0 + Math.min(1, width - 1) * rightStride;
      const b2 = b0 + Math.min(2, width - 1) * rightStride;
      const b3 = b0 + (width - 1) * rightStride;
      let s00 = 0, s01 = 0, s02 = 0, s03 = 0, s10 = 0, s11 = 0, s12 = 0, s13 = 0; // prettier-ignore
      for (let i = 0; i < inner; i++) {
        const x0 = left[a0 + i];
        const x1 = left[a1 + i];
        const y0 = right[b0 + i];
        const y1 = right[b1 + i];
        const y2 = right[b2 + i];
        const y3 = right[b3 + i];
        s00 += x0 * y0;
        s01 += x0 * y1;
        s02 += x0 * y2;
        s03 += x0 * y3;
        s10 += x1 * y0;
        s11 += x1 * y1;
        s12 += x1 * y2;
        s13 += x1 * y3;
      }
      const to = row * outputStride + column;
      store(output, to, width, scale, bias, column, s00, s01, s02, s03);
      if (height > 1) store(output, to + outputStride, width, scale, bias, column, s10, s11, s12, s13);
    }
  }
}

/**
 * @param {Float32Array} output
 * @param {number} to
 * @param {number} width
 * @param {number} scale
 * @param {Float32Array | undefined} bias
 * @param {number} column
 * @param {number} s0
 * @param {number} s1
 * @param {number} s2
 * @param {number} s3
 */
function store(output, to, width, scale, bias, column, s0, s1, s2, s3) {
  output[to] = s0 * scale + (bias ? bias[column] : 0);
  if (width > 1) output[to + 1] = s1 * scale + (bias ? bias[column + 1] : 0);
  if (width > 2) output[to + 2] = s2 * scale + (bias ? bias[column + 2] : 0);
  if (width > 3) output[to + 3] = s3 * scale + (bias ? bias[column + 3] : 0);
}

/**
 * Softmax of `count` values at `from`, into `to`.
 *
 * @param {Float32Array} x
 * @param {number} from
 * @param {number} count
 * @param {Float32Array} output
 * @param {number} to
 */
function softmaxRow(x, from, count, output, to) {
  let largest = -Infinity;
  for (let j = 0; j < count; j++) if (x[from + j] > largest) largest = x[from + j];
  let sum = 0;
  for (let j = 0; j < count; j++) {
    const weight = Math.exp(x[from + j] - largest);
    output[to + j] = weight;
    sum += weight;
  }
  const inverse = 1 / sum;
  for (let j = 0; j < count; j++) output[to + j] *= inverse;
}

/**
 * `sums[0, width) = sum over j of weights[j] * V[j]`, four keys at a time so that each partial sum is touched
 * seldom.
 *
 * @param {Float32Array} weights
 * @param {number} count
 * @param {Float32Array} value
 * @param {number} offset
 * @param {number} stride
 * @param {Float64Array} sums
 */
function weightValues(weights, count, value, offset, stride, sums) {
  sums.fill(0);
  const width = sums.length;
  let j = 0;
  for (; j + 4 <= count; j += 4) {
    const p0 = weights[j];
    const p1 = weights[j + 1];
    const p2 = weights[j + 2];
    const p3 = weights[j + 3];
    const v0 = offset + j * stride;
    const v1 = v0 + stride;
    const v2 = v1 + stride;
    const v3 = v2 + stride;
    for (let i = 0; i < width; i++) {
      sums[i] += p0 * value[v0 + i] + p1 * value[v1 + i] + p2 * value[v2 + i] + p3 * value[v3 + i];
    }
  }
  for (; j < count; j++) {
    const weight = weights[j];
    const row = offset + j * stride;
    for (let i = 0; i < width; i++) sums[i] += weight * value[row + i];
  }
}

/**
 * @typedef {{ data: Float32Array, offset: number, stride: number }} Rows rows of one head inside a larger array
 */

/**
 * One head. Two queries share each pass over K.
 *
 * @param {import('../suite/workloads.mjs').Shapes} shapes
 * @param {Rows} query
 * @param {Rows} key
 * @param {Rows} value
 * @param {Rows} output
 * @param {{ scores: Float32Array, sums: Float64Array }} scratch
 */
function attendHead(shapes, query, key, value, output, { scores, sums }) {
  const { queries, keys, headDim, causal, window } = shapes;
  const scale = 1 / Math.sqrt(headDim);
  for (let row = 0; row < queries; row += 2) {
    const rows = Math.min(2, queries - row);
    // Keys that neither of the two queries sees are left out.
    const first = window > 0 ? Math.max(0, row + 1 - window) : 0;
    const columns = (causal ? row + rows : keys) - first;
    const from = query.offset + row * query.stride;
    const keyFrom = key.offset + first * key.stride;
    const sizes = { rows, columns, inner: headDim, scale };
    multiplyTransposed(query.data, from, query.stride, key.data, keyFrom, key.stride, scores, keys, sizes);
    for (let r = 0; r < rows; r++) {
      const skipped = window > 0 ? Math.max(0, row + r + 1 - window) - first : 0;
      const live = (causal ? row + r + 1 - first : columns) - skipped;
      const weights = scores.subarray(r * keys + skipped, r * keys + skipped + live);
      softmaxRow(weights, 0, live, weights, 0);
      const valueFrom = value.offset + (first + skipped) * value.stride;
      weightValues(weights, live, value.data, valueFrom, value.stride, sums);
      output.data.set(sums, output.offset + (row + r) * output.stride);
    }
  }
}

/** @param {import('../suite/workloads.mjs').Shapes} shapes */
const makeScratch = ({ keys, valueHeadDim }) => ({
  scores: new Float32Array(2 * keys),
  sums: new Float64Array(valueHeadDim),
});

/** @param {import('../suite/workloads.mjs').Shapes} shapes @param {import('../suite/inputs.mjs').Inputs} inputs */
function runAttention(shapes, { query, key, value }) {
  const { batch, heads, keyValueHeads, queries, keys, headDim, valueHeadDim } = shapes;
  const output = new Float32Array(batch * heads * queries * valueHeadDim);
  const scratch = makeScratch(shapes);
  for (let head = 0; head < batch * heads; head++) {
    const group = Math.floor(head / (heads / keyValueHeads));
    attendHead(
      shapes,
      { data: query, offset: head * queries * headDim, stride: headDim },
      { data: key, offset: group * keys * headDim, stride: headDim },
      { data: value, offset: group * keys * valueHeadDim, stride: valueHeadDim },
      { data: output, offset: head * queries * valueHeadDim, stride: valueHeadDim },
      scratch,
    );
  }
  return output;
}

/**
 * @param {import('../suite/workloads.mjs').ProductShapes} shapes
 * @param {Float32Array} x
 * @param {Float32Array} weight
 * @param {Float32Array} [bias]
 */
function runProduct({ rows, columns, inner }, x, weight, bias) {
  const output = new Float32Array(rows * columns);
  multiplyTransposed(x, 0, inner, weight, 0, inner, output, columns, { rows, columns, inner, bias });
  return output;
}

/** @param {import('../suite/workloads.mjs').Shapes} shapes @param {import('../suite/inputs.mjs').Inputs} inputs */
function runLayer(shapes, inputs) {
  const { batch, heads, keyValueHeads, queries, headDim, valueHeadDim, embedDim } = shapes;
  const rows = batch * queries;
  const width = projectedWidth(shapes);
  const joinedWidth = heads * valueHeadDim;
  const packedSizes = { rows, columns: width, inner: embedDim };
  const packed = runProduct(packedSizes, inputs.x, inputs.in_proj_weight, inputs.in_proj_bias);
  const joined = new Float32Array(rows * joinedWidth);
  const scratch = makeScratch(shapes);
  for (let head = 0; head < batch * heads; head++) {
    const token = Math.floor(head / heads) * queries;
    const group = Math.floor((head % heads) / (heads / keyValueHeads));
    const at = (/** @type {number} */ column) => ({
      data: packed,
      offset: token * width + column,
      stride: width,
    });
    attendHead(
      shapes,
      at((head % heads) * headDim),
      at((heads + group) * headDim),
      at((heads + keyValueHeads) * headDim + group * valueHeadDim),
      { data: joined, offset: token * joinedWidth + (head % heads) * valueHeadDim, stride: joinedWidth },
      scratch,
    );
  }
  const outputSizes = { rows, columns: embedDim, inner: joinedWidth };
  return runProduct(outputSizes, joined, inputs['out_proj.weight'], inputs['out_proj.bias']);
}

/** @param {import('../suite/workloads.mjs').ProductShapes} shapes @param {Float32Array} x */
function runSoftmax({ rows, columns }, x) {
  const output = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) softmaxRow(x, row * columns, columns, output, row * columns);
  return output;
}

/** @type {import('./peer.mjs').Peer} */
export default {
  name: 'plain-javascript',
  version: async () => globalThis.process?.versions.v8 ?? 'of the browser',
  available: async () => true,
  variants: () => [''],
  async prepare({ kind, shapes }, inputs) {
    /** @type {Record<string, () => Float32Array>} */
    const runs = {
      product: () => runProduct(shapes, inputs.x, inputs.weight),
      softmax: () => runSoftmax(shapes, inputs.x),
      attention: () => runAttention(shapes, inputs),
      decode: () => runAttention(shapes, inputs),
      layer: () => runLayer(shapes, inputs),
      start: () => runLayer(shapes, inputs),
    };
    return { run: runs[kind], dispose() {} };
  },
};
