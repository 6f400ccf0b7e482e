// The workloads as data: what is computed, how large it is, how much arithmetic and traffic that takes. Nothing here
// depends on an engine: every runner, the page too, imports this list.

/** Changes whenever a workload, its inputs or what a call includes changes: only equal versions compare. */
export const SUITE_VERSION = 3;

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
 * @property {number} window keys that a query sees, its own among them; 0 without a window (which is always causal)
 */

/**
 * @typedef {object} ProductShapes
 * @property {number} rows M
 * @property {number} columns N, the outputs of a linear layer
 * @property {number} inner K, the inputs of a linear layer
 */

/** @typedef {'layer' | 'attention' | 'decode' | 'product' | 'softmax' | 'copy' | 'start' | 'load'} Kind */

/**
 * @typedef {object} Workload
 * @property {string} id unique; `--workloads` matches against it
 * @property {string} label the id as it stands in a table of its group
 * @property {string} group the table it belongs to
 * @property {Kind} kind
 * @property {Shapes & ProductShapes} shapes only those that the kind uses are meaningful
 * @property {number} outputLength elements of the result
 * @property {{ live: number, dense: number }} flop multiply-adds as two, softmax not counted; `live` counts no masked
 *   score, `dense` all of them
 * @property {{ read: number, written: number }} bytes each operand and result once, without the score matrix
 * @property {'arithmetic' | 'memory' | 'none'} limit what the engine's own rate is compared with: its multiply-adds, or
 *   its reading of as many bytes as the call touches
 * @property {{ name: string, size: number }} [series] for growth: what varies, and its value here
 * @property {[string, string]} [neighbours] ids of round sizes below and above an odd one
 * @property {boolean} ownProcess each call needs a fresh process: cold start and memory
 * @property {boolean} peers whether others are asked to do it too
 * @property {boolean} threads whether it is also run with more threads
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
  window: 0,
  rows: 0,
  columns: 0,
  inner: 0,
};

/** Query-key pairs that no mask removes. @param {Shapes} shapes */
export function livePairs({ queries, keys, causal, window }) {
  if (!causal) return queries * keys;
  const reach = window === 0 ? queries : Math.min(window, queries);
  return (reach * (reach + 1)) / 2 + (queries - reach) * reach;
}

/** @param {Shapes} shapes @param {number} pairs */
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

/** @param {Kind} kind */
const isAttention = (kind) => kind === 'attention' || kind === 'decode';

/** @param {Kind} kind @param {Shapes & ProductShapes} shapes */
export function countFlop(kind, shapes) {
  if (kind === 'softmax' || kind === 'copy') return { live: 0, dense: 0 };
  if (kind === 'product') {
    const flop = 2 * shapes.rows * shapes.columns * shapes.inner;
    return { live: flop, dense: flop };
  }
  const projections = isAttention(kind) ? 0 : projectionFlop(shapes);
  return {
    live: projections + attentionFlop(shapes, livePairs(shapes)),
    dense: projections + attentionFlop(shapes, shapes.queries * shapes.keys),
  };
}

/** @param {Kind} kind @param {Shapes & ProductShapes} shapes */
function countOutputs(kind, shapes) {
  if (kind === 'product' || kind === 'softmax' || kind === 'copy') return shapes.rows * shapes.columns;
  if (isAttention(kind)) return shapes.batch * shapes.heads * shapes.queries * shapes.valueHeadDim;
  return shapes.batch * shapes.queries * shapes.embedDim;
}

/** @param {Kind} kind @param {Shapes & ProductShapes} shapes */
function countOperands(kind, shapes) {
  const { rows, columns, inner, batch, heads, keyValueHeads, queries, keys, headDim, valueHeadDim } = shapes;
  if (kind === 'product') return (rows + columns) * inner;
  if (kind === 'softmax' || kind === 'copy') return rows * columns;
  if (isAttention(kind))
    return batch * (heads * queries * headDim + keyValueHeads * keys * (headDim + valueHeadDim));
  const { embedDim } = shapes;
  const width = projectedWidth(shapes);
  return batch * queries * embedDim + width * (embedDim + 1) + embedDim * (heads * valueHeadDim + 1);
}

/** @param {Kind} kind @param {Shapes & ProductShapes} shapes */
export const countBytes = (kind, shapes) => ({
  read: 4 * countOperands(kind, shapes),
  written: 4 * countOutputs(kind, shapes),
});

/**
 * @param {string} group
 * @param {Kind} kind
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
    bytes: countBytes(kind, shapes),
    limit: 'arithmetic',
    ownProcess: false,
    peers: true,
    threads: false,
    quick: false,
    skip: {},
    ...more,
  };
}

/**
 * `x [M, K]` times the weights `[N, K]` of a linear layer. With one row each weight is used once: reading the weights is
 * the limit, not the arithmetic.
 *
 * @param {[number, number, number]} sizes M, N, K
 * @param {Partial<Workload>} [more]
 */
const product = ([rows, columns, inner], more) =>
  workload(
    'product',
    'product',
    `${rows}x${columns}x${inner}`,
    { rows, columns, inner },
    {
      limit: rows === 1 ? 'memory' : 'arithmetic',
      ...more,
    },
  );

/**
 * Attention over `[batch, heads, length, headDim]`, with as many queries as keys.
 *
 * @param {string} group
 * @param {{ batch?: number, heads: number, keyValueHeads?: number, headDim: number, n: number, causal?: boolean,
 *   window?: number }} sizes
 * @param {Partial<Workload>} [more]
 */
function attention(group, sizes, more) {
  const { batch = 1, heads, keyValueHeads = heads, headDim, n, window = 0, causal = window > 0 } = sizes;
  const counts = `${batch === 1 ? '' : `b${batch} `}h${heads}${keyValueHeads === heads ? '' : `/${keyValueHeads}`}`;
  const mask = window > 0 ? ` window${window}` : causal ? ' causal' : '';
  const shapes = {
    batch,
    heads,
    keyValueHeads,
    queries: n,
    keys: n,
    headDim,
    valueHeadDim: headDim,
    causal,
    window,
  };
  return workload(group, 'attention', `${counts} dh${headDim} n${n}${mask}`, shapes, more);
}

/**
 * One query over the keys and values so far, which stay where the library keeps them between calls: here in its cache.
 *
 * @param {{ heads: number, keyValueHeads?: number, headDim: number, keys: number }} sizes
 * @param {Partial<Workload>} [more]
 */
function decode({ heads, keyValueHeads = heads, headDim, keys }, more) {
  const counts = keyValueHeads === heads ? `h${heads}` : `h${heads}/${keyValueHeads}`;
  const shapes = { heads, keyValueHeads, queries: 1, keys, headDim, valueHeadDim: headDim };
  // Four query heads that share each key are enough work per byte for the arithmetic to count.
  const limit = keyValueHeads === heads ? 'memory' : 'arithmetic';
  return workload('decode', 'decode', `${counts} dh${headDim} keys${keys}`, shapes, { limit, ...more });
}

/**
 * A whole self-attention layer over `[batch, length, embedDim]`: projections, heads, output projection,
 * biases.
 *
 * @param {string} group
 * @param {{ embedDim: number, heads: number, n: number, causal?: boolean, kind?: 'layer' | 'start' | 'load' }} sizes
 * @param {Partial<Workload>} [more]
 */
function layer(group, { embedDim, heads, n, causal = false, kind = 'layer' }, more) {
  const headDim = embedDim / heads;
  const prefix =
    group === 'odd' ? 'layer ' : group === 'start' ? (kind === 'load' ? 'load ' : 'process ') : '';
  const label = `${prefix}d${embedDim} h${heads} n${n}${causal ? ' causal' : ''}`;
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

const layers = [
  layer('layer', { embedDim: 64, heads: 4, n: 16 }, { quick: true }),
  layer('layer', { embedDim: 768, heads: 12, n: 128 }, { quick: true }),
  layer('layer', { embedDim: 768, heads: 12, n: 512 }, { quick: true, threads: true }),
  layer('layer', { embedDim: 768, heads: 12, n: 1024, causal: true }),
];

const products = [
  product([128, 768, 768]),
  product([512, 768, 768], { quick: true, threads: true }),
  product([1024, 2304, 768]),
  product([1, 768, 768], { quick: true }),
  product([8, 768, 768], { threads: true }),
];

const attentions = [
  attention('attention', { heads: 12, headDim: 64, n: 128 }),
  attention('attention', { heads: 12, headDim: 64, n: 512 }, { quick: true }),
  attention('attention', { heads: 12, headDim: 64, n: 512, causal: true }, { quick: true }),
  attention('attention', { heads: 12, headDim: 64, n: 1024 }, { threads: true }),
  attention('attention', { heads: 12, headDim: 64, n: 1024, causal: true }, { threads: true }),
  attention('attention', { heads: 8, headDim: 128, n: 1024 }),
  attention('attention', { heads: 8, headDim: 128, n: 1024, causal: true }),
  attention('attention', { heads: 12, headDim: 64, n: 2048, window: 256 }),
  attention('attention', { heads: 32, keyValueHeads: 8, headDim: 128, n: 512, causal: true }),
  attention('attention', { heads: 4, headDim: 64, n: 4096, causal: true }),
];

const decodes = [
  decode({ heads: 12, headDim: 64, keys: 2048 }, { quick: true }),
  decode({ heads: 32, keyValueHeads: 8, headDim: 128, keys: 2048 }),
  decode({ heads: 32, keyValueHeads: 8, headDim: 128, keys: 8192 }, { threads: true }),
];

/** Touches each element of `[rows, columns]` and computes little: memory is the limit. */
const elementwise = (
  /** @type {'softmax' | 'copy'} */ kind,
  /** @type {number} */ rows,
  /** @type {number} */ columns,
) =>
  workload(
    kind,
    kind,
    `${rows}x${columns}`,
    { rows, columns },
    { limit: 'memory', peers: kind === 'softmax' },
  );

const softmaxes = [128, 4096].map((columns) => elementwise('softmax', 1572864 / columns, columns));

const copies = [16, 512, 4096].map((rows) => elementwise('copy', rows, 768));

// Sizes that fill no tile, each between round neighbours: a kernel with a poor tail shows as a step between them.
const oddLength = (/** @type {(n: number) => Workload} */ make) => {
  const [below, above] = [make(192), make(200)];
  return [below, { ...make(197), neighbours: /** @type {[string, string]} */ ([below.id, above.id]) }, above];
};

const own = { peers: false };

const oddHeads = (() => {
  const make = (/** @type {number} */ headDim) => attention('odd', { heads: 8, headDim, n: 512 }, own);
  const neighbours = /** @type {[string, string]} */ ([make(64).id, make(128).id]);
  return [make(64), { ...make(80), neighbours }, { ...make(96), neighbours }, make(128)];
})();

const short = [1, 2, 3, 4, 5, 6, 7, 8, 9, 16].map((n) => {
  const make = (/** @type {number} */ length) => attention('odd', { heads: 12, headDim: 64, n: length }, own);
  const round = 2 ** Math.floor(Math.log2(n));
  return round === n
    ? make(n)
    : { ...make(n), neighbours: /** @type {[string, string]} */ ([make(round).id, make(2 * round).id]) };
});

const odd = [
  ...oddLength((n) => layer('odd', { embedDim: 768, heads: 12, n }, own)),
  ...oddLength((n) => layer('odd', { embedDim: 384, heads: 6, n }, own)),
  ...oddLength((n) => attention('odd', { heads: 12, headDim: 64, n }, own)),
  ...oddHeads,
  ...short,
];

/** One size varies, the others stay. */
const series = (
  /** @type {string} */ name,
  /** @type {number[]} */ sizes,
  /** @type {(size: number) => Parameters<typeof attention>[1]} */ make,
) => sizes.map((size) => attention(`growth-${name}`, make(size), { ...own, series: { name, size } }));

const growth = [
  ...series('length', [64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384], (n) => ({
    heads: 1,
    headDim: 64,
    n,
  })),
  ...series('heads', [1, 2, 4, 8, 16, 32], (heads) => ({ heads, headDim: 64, n: 256 })),
  ...series('headDim', [16, 32, 64, 128, 256], (headDim) => ({ heads: 4, headDim, n: 512 })),
  ...series('batch', [1, 2, 4, 8, 16], (batch) => ({ batch, heads: 4, headDim: 64, n: 256 })),
];

const tooLong = 'over a minute per call';
const memory = [
  attention('memory', { heads: 12, headDim: 64, n: 4096, causal: true }, { ownProcess: true, limit: 'none' }),
  attention(
    'memory',
    { heads: 12, headDim: 64, n: 16384, causal: true },
    {
      ownProcess: true,
      limit: 'none',
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
  layer(
    'start',
    { embedDim: 768, heads: 12, n: 128, kind: 'start' },
    { ownProcess: true, quick: true, limit: 'none' },
  ),
  layer('start', { embedDim: 768, heads: 12, n: 128, kind: 'load' }, { ...own, quick: true, limit: 'none' }),
];

/** @type {Workload[]} */
export const workloads = [
  ...layers,
  ...products,
  ...attentions,
  ...decodes,
  ...softmaxes,
  ...copies,
  ...odd,
  ...growth,
  ...memory,
  ...start,
];

/** What each group measures; printed above its table. @type {Record<string, string>} */
export const groupTitles = {
  layer: 'Self-attention layers: input projection, attention, output projection, biases',
  product: 'Linear layers without bias, rows x outputs x inputs; weights prepared ahead',
  attention: 'Attention of h heads, dh channels each, n tokens',
  decode: 'Decoding: one token over keys and values that stay in place',
  softmax: 'Softmax, rows x columns',
  copy: 'Copies: rows x columns into linear memory and out again',
  odd: 'Odd sizes and their round neighbours',
  'growth-length': 'Growth with the length',
  'growth-heads': 'Growth with the number of heads',
  'growth-headDim': 'Growth with the size of a head',
  'growth-batch': 'Growth with the batch',
  memory: 'Memory: one call in a fresh process, growth of resident memory',
  start: 'Cold start: "process" from import to first result in a fresh process, "load" from createRuntime on',
};
