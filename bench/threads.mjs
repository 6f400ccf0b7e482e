// What threads bring and cost: `npm run bench:threads -- [threads, default 2]`. Each workload runs on one thread and on
// several in turn, in one process; printed are the median of the ratios of neighbours, and the ratio of the best times, which
// says more where other programs use the machine. Then what handing out work takes.

import { setTimeout } from 'node:timers/promises';
import {
  createRuntime,
  linear,
  LinearWeights,
  MultiHeadAttention,
  scaledDotProductAttention,
} from '../dist/index.mjs';

const ROUNDS = 31;
const count = Number(process.argv[2] ?? 2);
const alone = await createRuntime();
const shared = await createRuntime({ threads: { count, required: true } });

let seed = 1;
/** Uniform in [-scale, scale). */
function numbers(length, scale = 1) {
  return Float32Array.from({ length }, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return (seed / 2 ** 31 - 1) * scale;
  });
}

function layer(runtime, length, { embedDim = 768, numHeads = 12, ...options } = {}) {
  const matrix = (...shape) => ({
    data: numbers(
      shape.reduce((a, b) => a * b),
      0.05,
    ),
    shape,
  });
  const made = new MultiHeadAttention(runtime, { embedDim, numHeads, ...options }).load({
    in_proj_weight: matrix(3 * embedDim, embedDim),
    in_proj_bias: matrix(3 * embedDim),
    'out_proj.weight': matrix(embedDim, embedDim),
    'out_proj.bias': matrix(embedDim),
  });
  const x = runtime.tensor(numbers(length * embedDim), [1, length, embedDim]);
  return () => made.forward(x).dispose();
}

function attention(runtime, queries, keys = queries, options = {}) {
  const tensor = (length) => runtime.tensor(numbers(12 * length * 64), [1, 12, length, 64]);
  const [q, k, v, output] = [tensor(queries), tensor(keys), tensor(keys), tensor(queries)];
  return () => scaledDotProductAttention(q, k, v, { ...options, output });
}

function product(runtime, rows, columns = 768, depth = 768) {
  const weights = new LinearWeights(runtime, { data: numbers(columns * depth), shape: [columns, depth] });
  const x = runtime.tensor(numbers(rows * depth), [rows, depth]);
  const output = runtime.empty([rows, columns]);
  return () => linear(x, weights, { output });
}

const WORKLOADS = {
  'layer 768, n = 512': (runtime) => layer(runtime, 512),
  'layer 768, n = 1024, causal': (runtime) => layer(runtime, 1024, { causal: true }),
  'attention 12 x 64, n = 1024': (runtime) => attention(runtime, 1024),
  'attention 12 x 64, n = 1024, causal': (runtime) => attention(runtime, 1024, 1024, { causal: true }),
  'product 8 x 768 x 768': (runtime) => product(runtime, 8),
  'product 1 x 768 x 768': (runtime) => product(runtime, 1),
  'product 1 x 4096 x 4096': (runtime) => product(runtime, 1, 4096, 4096),
  'product 128 x 768 x 768': (runtime) => product(runtime, 128),
  'attention, 1 query, 2048 keys': (runtime) => attention(runtime, 1, 2048),
  'layer 64, n = 16': (runtime) => layer(runtime, 16, { embedDim: 64, numHeads: 4 }),
  'layer 768, n = 16': (runtime) => layer(runtime, 16),
  'layer 768, n = 128': (runtime) => layer(runtime, 128),
};

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

function time(work, calls) {
  const start = performance.now();
  for (let call = 0; call < calls; call++) work();
  return (performance.now() - start) / calls;
}

async function compare(name, make) {
  const works = [make(alone), make(shared)];
  for (const work of works) for (const start = performance.now(); performance.now() - start < 300;) work();
  const calls = Math.max(1, Math.round(5 / time(works[0], 5)));
  const times = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    works.forEach((work, i) => times[i].push(time(work, calls)));
    await setTimeout(0);
  }
  const ratios = times[0].map((one, i) => one / times[1][i]);
  const best = times.map((each) => Math.min(...each));
  const columns = [
    ...best.map((each) => each.toFixed(3)),
    (best[0] / best[1]).toFixed(2),
    median(ratios).toFixed(2),
  ];
  console.log(name.padEnd(38) + columns.map((column) => column.padStart(12)).join(''));
}

/** Microseconds from handing out two tiles until a worker has done one; the caller claims the other and only looks on. */
function reactionTime() {
  const { kernels, threads } = shared;
  const x = shared.tensor([0, 0], [2, 1]);
  const y = shared.tensor([0, 0], [2, 1]);
  const scratch = shared.linearMemory.allocate(count * 128);
  const look = {
    ...kernels,
    softmaxRows: (...args) => {
      const ofWorker = 1 - args.at(-2); // before the end of the range stands its first tile
      while (Atomics.load(new Int32Array(y.data.buffer, y.data.byteOffset, 2), ofWorker) === 0);
    },
  };
  const work = {
    kernel: 'softmaxRows',
    args: [x.address, y.address, 1],
    tiles: 2,
    scratchBytes: 128,
    cost: 1,
  };
  return () => {
    y.set([0, 0]);
    const start = performance.now();
    threads.run(look, work, scratch, 128, 0, 2);
    return (performance.now() - start) * 1000;
  };
}

async function dispatch() {
  const react = reactionTime();
  const warm = Array.from({ length: 5000 }, react);
  const asleep = [];
  for (let i = 0; i < 200; i++) {
    await setTimeout(2);
    asleep.push(react());
  }
  const line = (name, values) => {
    const sorted = [...values].sort((a, b) => a - b);
    const at = (share) => sorted[Math.floor(share * (sorted.length - 1))].toFixed(1).padStart(12);
    console.log(name.padEnd(38) + at(0.1) + at(0.5) + at(0.9));
  };
  console.log(
    `\n${'reaction of a worker, us'.padEnd(38)}${['10 %', 'median', '90 %'].map((t) => t.padStart(12)).join('')}`,
  );
  line('spinning', warm);
  line('asleep', asleep);
}

console.log(
  `Node ${process.versions.node}, build ${shared.info.build}, ${shared.info.threads} threads, ${ROUNDS} rounds`,
);
console.log(
  `${''.padEnd(38)}${['best 1, ms', `best ${count}, ms`, 'ratio', 'median ratio'].map((t) => t.padStart(12)).join('')}`,
);
for (const [name, make] of Object.entries(WORKLOADS)) await compare(name, make);
await dispatch();
alone.dispose();
shared.dispose();
