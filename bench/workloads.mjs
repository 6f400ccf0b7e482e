// The workloads as data: what is computed, how large it is, and how much arithmetic that takes.

/**
 * @typedef {object} Shapes
 * @property {number} batch
 * @property {number} heads query heads
 * @property {number} keyValueHeads heads of K and V; fewer than `heads` when they are grouped
 * @property {number} queries
 * @property {number} keys
 * @property {number} headDim of Q and K
 * @property {number} valueHeadDim of V and of the output
 * @property {number} embedDim
 * @property {boolean} causal
 */

/**
 * @typedef {object} ProductShapes
 * @property {number} rows M
 * @property {number} columns N, the outputs of a linear layer
 * @property {number} inner K, the inputs of a linear layer
 */

/**
 * @typedef {object} Workload
 * @property {string} id unique; `--workloads` matches against it
 * @property {string} label the id as it stands in a table of its group
 * @property {string} group the table it belongs to
 * @property {'layer' | 'attention' | 'product' | 'softmax' | 'start'} kind
 * @property {Shapes & ProductShapes} shapes only those that the kind uses are meaningful
 * @property {number} outputLength elements of the result
 * @property {{ live: number, dense: number }} flop `live` counts no masked score, `dense` counts all of them
 * @property {'arithmetic' | 'memory'} limit what the hardware can be compared with: multiply-adds or weight bytes read
 * @property {number} weightBytes bytes of weights that every call has to read
 * @property {boolean} ownProcess each call runs in a fresh process: cold start and memory
 * @property {boolean} quick part of `--quick`
 * @property {Record<string, string>} skip peer -> why it is not asked to do this
 */

const noShapes = {
  batch: 1,
  heads: 0,
  keyValueHeads: 0,
  queries: 0,
  keys: 0,
  headDim: 0,
  valueHeadDim: 0,
  embedDim: 0,
  causal: false,
  rows: 0,
  columns: 0,
  inner: 0,
};

/** Query-key pairs that attention has to look at. @param {Shapes} shapes */
const livePairs = ({ queries, keys, causal }) => (causal ? (queries * (queries + 1)) / 2 : queries * keys);

/** Multiply-adds count as two; softmax is not counted. @param {Shapes} shapes @param {number} pairs */
const attentionFlop = (shapes, pairs) =>
  2 * shapes.batch * shapes.heads * pairs * (shapes.headDim + shapes.valueHeadDim);

/** Rows of the packed input projection: Q, then K, then V. @param {Shapes} shapes */
export const projectedWidth = ({ heads, keyValueHeads, headDim, valueHeadDim }) =>
  heads * headDim + keyValueHeads * (headDim + valueHeadDim);

/** @param {Shapes} shapes */
const projectionFlop = (shapes) =>
  2 *
  shapes.batch *
  shapes.queries *
  shapes.embedDim *
  (projectedWidth(shapes) + shapes.heads * shapes.valueHeadDim);

/** @param {Workload['kind']} kind @param {Shapes & ProductShapes} shapes */
function countFlop(kind, shapes) {
  if (kind === 'softmax') return { live: 0, dense: 0 };
  if (kind === 'product') {
    const flop = 2 * shapes.rows * shapes.columns * shapes.inner;
    return { live: flop, dense: flop };
  }
  const projections = kind === 'attention' ? 0 : projectionFlop(shapes);
  return {
    live: projections + attentionFlop(shapes, livePairs(shapes)),
    dense: projections + attentionFlop(shapes, shapes.queries * shapes.keys),
  };
}

/** @param {Workload['kind']} kind @param {Shapes & ProductShapes} shapes */
function countOutputs(kind, shapes) {
  if (kind === 'product') return shapes.rows * shapes.columns;
  if (kind === 'softmax') return shapes.rows * shapes.columns;
  if (kind === 'attention') return shapes.batch * shapes.heads * shapes.queries * shapes.valueHeadDim;
  return shapes.batch * shapes.queries * shapes.embedDim;
}

/**
 * @param {string} group
 * @param {Workload['kind']} kind
 * @param {string} label
 * @param {Partial<Shapes & ProductShapes>} given
 * @param {Partial<Workload>} [more]
 * @returns {Workload}
 */
function workload(group, kind, label, given, more = {}) {
  const shapes = { ...noShapes, ...given };
  return {
    id: `${group}-${label.replaceAll(' ', '-')}`,
    label,
    group,
    kind,
    shapes,
    outputLength: countOutputs(kind, shapes),
    flop: countFlop(kind, shapes),
    limit: 'arithmetic',
    weightBytes: 0,
    ownProcess: false,
    quick: false,
    skip: {},
    ...more,
  };
}

/**
 * `x [M, K]` times the weights `[N, K]` of a linear layer.
 *
 * @param {[number, number, number]} sizes M, N, K
 */
function product([rows, columns, inner], quick = false) {
  // With one row each weight is used once: reading the weights is the limit, not the arithmetic.
  const limit = rows === 1 ? 'memory' : 'arithmetic';
  const weightBytes = columns * inner * 4;
  const label = `${rows}x${columns}x${inner}`;
  return workload('product', 'product', label, { rows, columns, inner }, { limit, weightBytes, quick });
}

/**
 * Attention over `[batch, heads, length, headDim]`, with as many queries as keys.
 *
 * @param {string} group
 * @param {{ heads: number, keyValueHeads?: number, headDim: number, n: number, causal?: boolean }} sizes
 * @param {Partial<Workload>} [more]
 */
function attention(group, { heads, keyValueHeads = heads, headDim, n, causal = false }, more) {
  const counts = keyValueHeads === heads ? `h${heads}` : `h${heads}/${keyValueHeads}`;
  const label = `${counts} dh${headDim} n${n}${causal ? ' causal' : ''}`;
  const shapes = { heads, keyValueHeads, queries: n, keys: n, headDim, valueHeadDim: headDim, causal };
  return workload(group, 'attention', label, shapes, more);
}

/**
 * A whole self-attention layer over `[batch, length, embedDim]`: projections, heads, output projection,
 * biases.
 *
 * @param {string} group
 * @param {{ embedDim: number, heads: number, n: number, causal?: boolean, kind?: 'layer' | 'start' }} sizes
 * @param {Partial<Workload>} [more]
 */
function layer(group, { embedDim, heads, n, causal = false, kind = 'layer' }, more) {
  const headDim = embedDim / heads;
  const label = `${group === 'odd' ? 'layer ' : ''}d${embedDim} h${heads} n${n}${causal ? ' causal' : ''}`;
  const shapes = {
    embedDim,
    heads,
    keyValueHeads: heads,
    queries: n,
    keys: n,
    headDim,
    valueHeadDim: headDim,
  };
  return workload(group, kind, label, { ...shapes, causal }, more);
}

const products = [
  product([128, 768, 768]),
  product([512, 768, 768], true),
  product([1024, 2304, 768]),
  product([1, 768, 768], true),
  product([8, 768, 768]),
];

const attentions = [
  { heads: 12, headDim: 64 },
  { heads: 8, headDim: 128 },
].flatMap((sizes) =>
  [128, 512, 1024, 2048, 4096].flatMap((n) =>
    [false, true].map((causal) =>
      attention('attention', { ...sizes, n, causal }, { quick: n === 512 && sizes.headDim === 64 }),
    ),
  ),
);

const grouped = [attention('attention', { heads: 32, keyValueHeads: 8, headDim: 128, n: 512, causal: true })];

const layers = [
  layer('layer', { embedDim: 64, heads: 4, n: 16 }, { quick: true }),
  layer('layer', { embedDim: 768, heads: 12, n: 128 }, { quick: true }),
  layer('layer', { embedDim: 768, heads: 12, n: 512 }, { quick: true }),
  layer('layer', { embedDim: 768, heads: 12, n: 1024, causal: true }),
];

const softmaxes = [128, 512, 4096].map((columns) =>
  workload('softmax', 'softmax', `${1572864 / columns}x${columns}`, { rows: 1572864 / columns, columns }),
);

// Sizes that fill no tile, each beside round neighbours: a kernel with a poor tail shows as a step between
// them.
const odd = [
  ...[192, 197, 200].map((n) => layer('odd', { embedDim: 768, heads: 12, n })),
  ...[192, 197, 200].map((n) => layer('odd', { embedDim: 384, heads: 6, n })),
  ...[192, 197, 200].map((n) => attention('odd', { heads: 12, headDim: 64, n })),
  ...[64, 80, 96, 128].map((headDim) => attention('odd', { heads: 8, headDim, n: 512 })),
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 16].map((n) => attention('odd', { heads: 12, headDim: 64, n })),
];

const tooLong = 'over a minute a call';
const memory = [
  attention('memory', { heads: 12, headDim: 64, n: 4096, causal: true }, { ownProcess: true }),
  attention(
    'memory',
    { heads: 12, headDim: 64, n: 16384, causal: true },
    {
      ownProcess: true,
      skip: {
        'plain-javascript': tooLong,
        'tfjs-wasm': tooLong,
        'jax-js': tooLong,
        'onnxruntime-node': 'takes 14 GB for the scores',
      },
    },
  ),
];

const start = [
  layer('start', { embedDim: 768, heads: 12, n: 128, kind: 'start' }, { ownProcess: true, quick: true }),
];

/** @type {Workload[]} */
export const workloads = [
  ...layers,
  ...products,
  ...attentions,
  ...grouped,
  ...softmaxes,
  ...odd,
  ...memory,
  ...start,
];

/** What each group measures; printed above its table. @type {Record<string, string>} */
export const groupTitles = {
  layer: 'Self-attention layers: input projection, attention, output projection, biases',
  product: 'Linear products MxNxK: x [M, K] times weights [N, K], weights prepared ahead',
  attention: 'Attention over [1, heads, n, headDim]',
  softmax: 'Softmax over the last axis, rows x columns',
  odd: 'Sizes beside round ones',
  memory: 'Memory: one call in a fresh process, growth of resident memory',
  start: 'Cold start: import to first result of a layer, fresh process',
};
