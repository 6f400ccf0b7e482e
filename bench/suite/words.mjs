// Workloads and peers by names that need no explanation: `layer-d768-h12-n128` is 'Layer, 128 tokens, width 768, 12 heads'.

/** @typedef {import('./result.mjs').WorkloadFacts} WorkloadFacts */

const digits = (/** @type {number} */ amount) => amount.toLocaleString('en');
const count = (/** @type {number} */ amount, /** @type {string} */ thing) =>
  `${digits(amount)} ${thing}${amount === 1 ? '' : 's'}`;

/** @param {any} shapes */
function heads({ heads: queryHeads, keyValueHeads, headDim }) {
  const counts = keyValueHeads === queryHeads ? '' : ` on ${keyValueHeads} key heads`;
  return `${count(queryHeads, 'head')} of ${headDim}${counts}`;
}

/** @param {any} shapes */
const mask = ({ causal, window }) => (window > 0 ? [`window of ${window}`] : causal ? ['causal'] : []);

/** @param {any} shapes */
const layer = (shapes) => [
  count(shapes.queries, 'token'),
  `width ${shapes.embedDim}`,
  count(shapes.heads, 'head'),
  ...mask(shapes),
];

/** @type {Record<string, (shapes: any) => [string, string[]]>} */
const makers = {
  layer: (shapes) => ['Layer', layer(shapes)],
  start: (shapes) => ['First result in a new process', layer(shapes).slice(0, 2)],
  load: (shapes) => ['First result of a new runtime', layer(shapes).slice(0, 2)],
  product: ({ rows, columns, inner }) => [
    'Linear',
    [count(rows, 'row'), `${digits(inner)} to ${digits(columns)}`],
  ],
  attention: (shapes) => [
    'Attention',
    [
      ...(shapes.batch > 1 ? [`batch of ${shapes.batch}`] : []),
      count(shapes.queries, 'token'),
      heads(shapes),
      ...mask(shapes),
    ],
  ],
  decode: (shapes) => ['Decoding a token', [count(shapes.keys, 'key'), heads(shapes)]],
  softmax: ({ rows, columns }) => ['Softmax', [count(rows, 'row'), `of ${digits(columns)}`]],
  copy: ({ rows, columns }) => ['Copy in and out', [count(rows, 'row'), `of ${digits(columns)}`]],
};

/**
 * What is done, and on how much.
 *
 * @param {Pick<WorkloadFacts, 'kind' | 'shapes' | 'group'>} workload
 * @returns {{ what: string, size: string }}
 */
export function inWords({ kind, shapes, group }) {
  const [what, parts] = makers[kind](shapes);
  const size = kind === 'softmax' || kind === 'copy' ? parts.join(' ') : parts.join(', ');
  return { what: group === 'memory' ? 'Attention in a new process' : what, size };
}

/** In one phrase. @param {Pick<WorkloadFacts, 'kind' | 'shapes' | 'group'>} workload */
export function phrase(workload) {
  const { what, size } = inWords(workload);
  return `${what}, ${size}`;
}

/** @type {Record<string, string>} */
const PEERS = {
  'tfjs-wasm': 'TensorFlow.js (wasm)',
  'plain-javascript': 'plain JavaScript',
  'onnxruntime-node': 'onnxruntime-node (native)',
};

/** @param {string} peer */
export const peerInWords = (peer) => PEERS[peer] ?? peer;

/** Groups of workloads, for those who choose among them. @type {Record<string, string>} */
export const groupsInWords = {
  layer: 'Whole layers',
  product: 'Linear layers',
  attention: 'Attention',
  decode: 'Decoding token by token',
  softmax: 'Softmax',
  copy: 'Copies',
  odd: 'Odd sizes',
  'growth-length': 'Growth with tokens',
  'growth-heads': 'Growth with heads',
  'growth-headDim': 'Growth with head size',
  'growth-batch': 'Growth with the batch',
  memory: 'Memory',
  start: 'Start',
};

/** Why something was not measured; engines give whole programs as a reason now and then. @param {string} [reason] */
export const shortReason = (reason = '') => (reason.length > 120 ? `${reason.slice(0, 119)}…` : reason);
