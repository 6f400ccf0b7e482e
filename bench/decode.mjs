// What a step of decoding costs with the key/value cache: against onnxruntime-web, against the engine's own reading of the same
// pages, int8 against float32, a whole layer, and one append. `npm run bench:decode`; everything is interleaved in one
// process, medians of the rounds. `-- --rounds N`, `-- --no-peers`.

import { parseArgs } from 'node:util';
import { createRuntime, KeyValueCache, MultiHeadAttention } from '../dist/index.mjs';
import { benchmark, readPages, readTensor } from '../dist/benchmark.mjs';

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '40' }, 'no-peers': { type: 'boolean' } },
});
const ROUNDS = Number(options.rounds);
const [HEADS, KEY_HEADS, DIM] = [32, 8, 128];
/** Tokens around a length that count as that length. */
const NEARBY = 64;

let seed = 1;
/** Uniform in [-1, 1), the same at every run. */
const random = () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 31 - 1;
};
const numbers = (length) => Float32Array.from({ length }, random);

/** @param {number[]} values @param {number} part */
function quantile(values, part) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) * part)];
}

async function time(work) {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/**
 * Runs all works in turn, round after round; returns the times of each. A call that is not timed goes first: after another
 * work has swept the caches, the first to touch a memory pays for finding its pages again, and the second would not.
 */
async function interleave(works, rounds = ROUNDS) {
  const times = Object.fromEntries(Object.keys(works).map((name) => [name, []]));
  for (let round = -4; round < rounds; round++) {
    for (const [name, work] of Object.entries(works)) {
      await work();
      const elapsed = await time(work);
      if (round >= 0) times[name].push(elapsed);
    }
    if (process.stderr.isTTY) process.stderr.write(`\r  round ${Math.max(0, round + 1)} of ${rounds} `);
  }
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  return times;
}

const ratios = (above, below) => above.map((value, round) => value / below[round]);
const spread = (values, digits = 2) =>
  `${quantile(values, 0.5).toFixed(digits)}  [${quantile(values, 0.1).toFixed(digits)}, ${quantile(values, 0.9).toFixed(digits)}]`;
const milliseconds = (values) => `${quantile(values, 0.5).toFixed(3).padStart(9)} ms`;

const runtime = await createRuntime({ packs: [benchmark] });
const { build } = runtime.info;
console.log(`Node ${process.version}, build ${build}; medians of ${ROUNDS} interleaved rounds [10 %, 90 %]`);
const peers = options['no-peers'] ? undefined : await openPeers();

for (const past of [2048, 8192]) await decode(past);
await layerStep(512);
await appendCost();

function fill(cache, past) {
  for (let from = 0; from < past; from += 512) {
    const length = Math.min(512, past - from);
    const tokens = numbers(KEY_HEADS * length * DIM);
    const tensor = runtime.tensor(tokens, [1, KEY_HEADS, length, DIM]);
    cache.append(0, tensor, tensor);
    tensor.dispose();
  }
}

/** One new token of 32 query and 8 key/value heads: append, then attend, from Float32Array to Float32Array. */
async function decode(past) {
  const query = { data: numbers(HEADS * DIM), shape: [1, HEADS, 1, DIM] };
  const token = { data: numbers(KEY_HEADS * DIM), shape: [1, KEY_HEADS, 1, DIM] };
  const caches = {};
  for (const storage of ['float32', 'int8', 'float16']) {
    caches[storage] = new KeyValueCache(runtime, { numKeyValueHeads: KEY_HEADS, headDim: DIM, storage });
    fill(caches[storage], past);
  }
  // Around the length asked for, so that a new page is begun as often as in real use.
  const step = (cache) => () => {
    if (cache.lengths()[0] >= past + NEARBY) cache.crop(past - NEARBY);
    cache.append(0, token, token);
    const result = cache.attend(0, query);
    const output = result.output.toFloat32Array();
    result.dispose();
    return output;
  };
  const works = {
    float32: step(caches.float32),
    read: () => readPages(caches.float32),
    int8: step(caches.int8),
    float16: step(caches.float16),
    ...(peers ? await peers.steps(past, query, token) : {}),
  };
  const times = await interleave(works);
  console.log(`\nOne token after ${past}: ${HEADS} query heads, ${KEY_HEADS} key/value heads of ${DIM}`);
  for (const [name, values] of Object.entries(times)) {
    const ratio = name === 'float32' ? '' : `   ${spread(ratios(values, times.float32))} times float32`;
    console.log(`  ${name.padEnd(42)}${milliseconds(values)}${ratio}`);
  }
  console.log(`  share of the read bandwidth, float32:      ${spread(ratios(times.read, times.float32))}`);
  console.log(`  float32 over int8:                         ${spread(ratios(times.float32, times.int8))}`);
  const bytes = caches.int8.bytes / caches.float32.bytes;
  console.log(`  memory, int8 over float32:                 ${bytes.toFixed(3)}`);
  const reading = caches.float32.bytes / quantile(times.read, 0.5) / 1e6;
  console.log(`  reading the pages of float32:              ${reading.toFixed(1)} GB/s`);
  for (const cache of Object.values(caches)) cache.dispose();
  await peers?.close();
}

/** One token through a layer of 768 channels and 12 heads, projections included. */
async function layerStep(past) {
  const [width, heads] = [768, 12];
  const layer = new MultiHeadAttention(runtime, { embedDim: width, numHeads: heads });
  layer.load({
    in_proj_weight: { data: numbers(3 * width * width), shape: [3 * width, width] },
    in_proj_bias: { data: numbers(3 * width), shape: [3 * width] },
    'out_proj.weight': { data: numbers(width * width), shape: [width, width] },
    'out_proj.bias': { data: numbers(width), shape: [width] },
  });
  const cache = new KeyValueCache(runtime, { numKeyValueHeads: heads, headDim: width / heads });
  layer.forward({ data: numbers(past * width), shape: [1, past, width] }, { cache }).dispose();
  const token = { data: numbers(width), shape: [1, 1, width] };
  const weights = runtime.tensor(numbers(4 * width * (width + 1)));
  const read = () => {
    readTensor(weights);
    readPages(cache);
  };
  const many = (work) => () => {
    for (let i = 0; i < 20; i++) work();
  };
  const step = () => {
    if (cache.lengths()[0] >= past + NEARBY) cache.crop(past - NEARBY);
    layer.forward(token, { cache }).dispose();
  };
  const times = await interleave({ step: many(step), read: many(read) }, 2 * ROUNDS);
  const each = quantile(times.step, 0.5) / 20;
  console.log(`\nOne token through a layer of ${width} channels, ${heads} heads, after ${past}`);
  console.log(`  step                                      ${milliseconds([each])}`);
  console.log(
    `  share of the read bandwidth over weights and cache: ${spread(ratios(times.read, times.step))}`,
  );
  for (const one of [layer, cache, weights]) one.dispose();
}

/** An append of one token does not depend on how many there are. */
async function appendCost() {
  const token = { data: numbers(KEY_HEADS * DIM), shape: [1, KEY_HEADS, 1, DIM] };
  const caches = [0, 512, 4096, 16384].map((past) => {
    const cache = new KeyValueCache(runtime, { numKeyValueHeads: KEY_HEADS, headDim: DIM });
    fill(cache, past);
    return [`append after ${past}`, cache];
  });
  const works = caches.map(([name, cache]) => [
    name,
    () => {
      for (let i = 0; i < 100; i++) cache.append(0, token, token);
    },
  ]);
  const times = await interleave(Object.fromEntries(works), 16);
  console.log('\nAppending one token');
  for (const [name, values] of Object.entries(times)) {
    console.log(`  ${name.padEnd(42)}${((quantile(values, 0.5) / 100) * 1000).toFixed(2).padStart(9)} us`);
  }
}

/** onnxruntime-web's ways to do the step, each a session. */
async function openPeers() {
  let library;
  let GraphBuilder;
  try {
    library = await import('onnxruntime-web/wasm');
    ({ GraphBuilder } = await import('./peers/onnx/model.mjs'));
  } catch {
    console.log('onnxruntime-web is not installed: not compared.');
    return undefined;
  }
  library.env.wasm.numThreads = 1;
  library.env.logLevel = 'error';
  const { graphVariants, buildModel } = await import('./peers/onnx/graphs.mjs');
  const sessions = [];
  const open = async (model) => {
    const session = await library.InferenceSession.create(model, { executionProviders: ['wasm'] });
    sessions.push(session);
    return session;
  };
  const tensor = ({ data, shape }) => new library.Tensor('float32', data, shape);

  /** The whole cache handed over in each step. */
  async function handedOver(past, query) {
    const keys = past + 1;
    const shapes = { batch: 1, heads: HEADS, keyValueHeads: KEY_HEADS, queries: 1, keys, causal: false };
    const workload = { kind: 'attention', shapes: { ...shapes, headDim: DIM, valueHeadDim: DIM } };
    const cache = { data: numbers(KEY_HEADS * keys * DIM), shape: [1, KEY_HEADS, keys, DIM] };
    const works = {};
    for (const variant of graphVariants(workload, { native: false })) {
      if (variant === 'blocks') continue;
      try {
        const session = await open(buildModel(workload, {}, variant));
        const feeds = { query: tensor(query), key: tensor(cache), value: tensor(cache) };
        const run = async () => (await session.run(feeds))[session.outputNames[0]].data;
        await run();
        works[`onnxruntime-web, ${variant}`] = run;
      } catch (error) {
        console.log(`  onnxruntime-web, ${variant}: ${String(error.message).slice(0, 90)}`);
      }
    }
    return works;
  }

  /** GroupQueryAttention with past and present: the cache goes in and comes out of each step. */
  async function roundTrip(past, query, token) {
    const graph = new GraphBuilder();
    const shape = (length) => [1, KEY_HEADS, length, DIM];
    const q = graph.input('query', [1, 1, HEADS * DIM]);
    const k = graph.input('key', [1, 1, KEY_HEADS * DIM]);
    const v = graph.input('value', [1, 1, KEY_HEADS * DIM]);
    const pastKey = graph.input('past_key', shape(past));
    const pastValue = graph.input('past_value', shape(past));
    const lengths = graph.constant([1], Int32Array.of(past));
    const total = graph.constant([1], Int32Array.of(past + 1));
    const [output, key, value] = graph.apply(
      'GroupQueryAttention',
      [q, k, v, pastKey, pastValue, lengths, total],
      { num_heads: HEADS, kv_num_heads: KEY_HEADS },
      { domain: 'com.microsoft', outputs: 3 },
    );
    const present = [key, value].map((name) => [name, shape(past + 1)]);
    try {
      const session = await open(graph.encode(output, [1, 1, HEADS * DIM], present));
      const cache = tensor({ data: numbers(KEY_HEADS * past * DIM), shape: shape(past) });
      const feeds = {
        query: tensor({ data: query.data, shape: [1, 1, HEADS * DIM] }),
        key: tensor({ data: token.data, shape: [1, 1, KEY_HEADS * DIM] }),
        value: tensor({ data: token.data, shape: [1, 1, KEY_HEADS * DIM] }),
        past_key: cache,
        past_value: cache,
      };
      const run = async () => (await session.run(feeds))[session.outputNames[0]].data;
      await run();
      return { 'onnxruntime-web, past and present': run };
    } catch (error) {
      console.log(`  onnxruntime-web, past and present: ${String(error.message).slice(0, 90)}`);
      return {};
    }
  }

  return {
    steps: async (past, query, token) => ({
      ...(await handedOver(past, query)),
      ...(await roundTrip(past, query, token)),
    }),
    close: async () => {
      for (const session of sessions.splice(0)) await session.release();
    },
  };
}
