// What masks, biases and looking at weights cost: each against the same work without it, in turn, in one process.
// `npm run bench:features` prints the ratio over the share of the work that is left, beside what it should stay under.

import {
  blockSparse,
  createRuntime,
  documents,
  MultiHeadAttention,
  receivedWeight,
  scaledDotProductAttention,
} from '../dist/index.mjs';

const ROUNDS = 15;
const HEAD_DIM = 64;

const runtime = await createRuntime();
let seed = 1;
/** Uniform in [-2, 2), the same at every run. */
const random = () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 30 - 2;
};
const numbers = (length, scale = 1) => Float32Array.from({ length }, () => random() * scale);

function time(work) {
  const start = performance.now();
  work();
  return performance.now() - start;
}

/** Prints the median, over rounds, of time with the feature over time without, divided by the live share. */
function compare(name, { plain, feature, share = 1, limit }) {
  for (const work of [plain, feature, plain, feature]) work();
  const ratios = Array.from({ length: ROUNDS }, () => {
    const before = time(plain);
    const featured = time(feature);
    return featured / ((before + time(plain)) / 2) / share;
  }).sort((a, b) => a - b);
  const [low, middle, high] = [ratios[ROUNDS >> 2], ratios[ROUNDS >> 1], ratios[ROUNDS - 1 - (ROUNDS >> 2)]];
  const columns = [middle, limit, low, high].map((ratio) => ratio.toFixed(2).padStart(8)).join('');
  console.log(name.padEnd(44) + columns);
}

/** Tensors of one size, and calls of attention over them into one output. */
function attention(heads, length) {
  const shape = [1, heads, length, HEAD_DIM];
  const tensor = () => runtime.tensor(numbers(heads * length * HEAD_DIM), shape);
  const [query, key, value, output] = [tensor(), tensor(), tensor(), runtime.empty(shape)];
  const call = (options) => () => scaledDotProductAttention(query, key, value, { ...options, output });
  return { query, key, call, dispose: () => [query, key, value, output].forEach((one) => one.dispose()) };
}

function sparse() {
  const length = 8192;
  const { query, key, call, dispose } = attention(1, length);
  const plain = call({});
  const window = { left: 255, right: 0 };
  compare('window of 256 at 8192', { plain, feature: call({ window }), share: 256 / length, limit: 1.25 });
  const layout = Array.from({ length: 64 }, () => Array.from({ length: 64 }, () => random() < -1.6));
  const share = layout.flat().filter(Boolean).length / 4096;
  const mask = blockSparse(layout, 128);
  compare('10 % of blocks of 128 at 8192', { plain, feature: call({ mask }), share, limit: 1.25 });
  const { statistics } = call({ returnStatistics: true })();
  const feature = () => receivedWeight(query, key, { statistics }).dispose();
  compare('received weight (column sums) at 8192', { plain, feature, limit: 1.3 });
  dispose();
}

function packedDocuments() {
  const { call, dispose } = attention(2, 4096);
  const cumulativeLengths = Array.from({ length: 9 }, (_, i) => i * 512);
  const feature = call({ mask: documents({ cumulativeLengths }) });
  compare('8 documents of 512 in 4096', { plain: call({}), feature, share: 1 / 8, limit: 1.25 });
  dispose();
}

function dense() {
  const length = 1024;
  const { call, dispose } = attention(12, length);
  const plain = call({});
  const padding = runtime.tensor(
    Uint8Array.from({ length }, (_, j) => Number(j < 1000)),
    [1, 1, 1, length],
  );
  const live = 1000 / length;
  compare('key padding, boolean mask, at 1024', {
    plain,
    feature: call({ mask: padding }),
    share: live,
    limit: 1.05,
  });
  compare('key lengths at 1024', { plain, feature: call({ keyLengths: [1000] }), share: live, limit: 1.05 });
  const share = (length + 1) / 2 / length;
  compare('causal at 1024', { plain, feature: call({ causal: true }), share, limit: 1.05 });
  compare('ALiBi at 1024', { plain, feature: call({ alibi: true }), limit: 1.05 });
  const mask = runtime.tensor(numbers(length * length), [length, length]);
  compare('dense float mask at 1024', { plain, feature: call({ mask }), limit: 1.15 });
  dispose();
}

function rotary() {
  const [length, embedDim] = [1024, 768];
  const matrix = (rows, columns) => ({ data: numbers(rows * columns, 0.02), shape: [rows, columns] });
  const stateDict = {
    in_proj_weight: matrix(3 * embedDim, embedDim),
    in_proj_bias: { data: numbers(3 * embedDim), shape: [3 * embedDim] },
    'out_proj.weight': matrix(embedDim, embedDim),
    'out_proj.bias': { data: numbers(embedDim), shape: [embedDim] },
  };
  const x = runtime.tensor(numbers(length * embedDim), [1, length, embedDim]);
  const forward = (options) => {
    const layer = new MultiHeadAttention(runtime, { embedDim, numHeads: 12, ...options }).load(stateDict);
    return () => layer.forward(x).dispose();
  };
  compare('rotary in a layer of 768 at 1024', {
    plain: forward({}),
    feature: forward({ rotary: {} }),
    limit: 1.02,
  });
}

console.log(
  `Node ${process.versions.node}, build ${runtime.info.build}, ${ROUNDS} rounds, medians and quartiles`,
);
console.log(`${'time / time without / live share'.padEnd(44)}  median   limit     25 %    75 %`);
sparse();
packedDocuments();
dense();
rotary();
