// The attention of a step (projections, cache, output) in onnxruntime-web, whose past goes in and whose present comes out of
// each call. Without rotary embedding there, which only helps it.

const ROUNDS = 30;
const INSTALL = 'onnxruntime-web is not installed (node scripts/install.mjs bench): not compared.';

/** @returns {Promise<string>} one line, or why there is none */
export async function attentionSteps(decoder, weights, { layers, width, heads, keyValueHeads }) {
  let library;
  let GraphBuilder;
  try {
    const base = new URL('../../bench/', import.meta.url);
    const { createRequire } = await import('node:module');
    const { pathToFileURL } = await import('node:url');
    const path = createRequire(base).resolve('onnxruntime-web/wasm');
    library = await import(pathToFileURL(path.replace(/\.js$/, '.mjs')).href).catch(
      () => import(pathToFileURL(path).href),
    );
    library = library.InferenceSession ? library : library.default;
    ({ GraphBuilder } = await import(new URL('peers/onnx/model.mjs', base).href));
  } catch {
    return INSTALL;
  }
  library.env.wasm.numThreads = 1;
  library.env.logLevel = 'error';
  const past = decoder.cache.lengths()[0];
  const dim = width / heads;
  const inner = dim * keyValueHeads;
  const sessions = [];
  for (const layer of weights.layers) {
    const graph = new GraphBuilder();
    const x = graph.input('x', [1, 1, width]);
    const shape = (length) => [1, keyValueHeads, length, dim];
    const pastKey = graph.input('past_key', shape(past));
    const pastValue = graph.input('past_value', shape(past));
    const project = (input, { data, shape: [rows, columns] }) => {
      const turned = new Float32Array(data.length);
      for (let r = 0; r < rows; r++)
        for (let c = 0; c < columns; c++) turned[c * rows + r] = data[r * columns + c];
      return graph.apply('MatMul', [input, graph.constant([columns, rows], turned)])[0];
    };
    const [merged, key, value] = graph.apply(
      'GroupQueryAttention',
      [
        ...['q_proj.weight', 'k_proj.weight', 'v_proj.weight'].map((name) => project(x, layer[name])),
        ...[
          pastKey,
          pastValue,
          graph.constant([1], Int32Array.of(past)),
          graph.constant([1], Int32Array.of(past + 1)),
        ],
      ],
      { num_heads: heads, kv_num_heads: keyValueHeads },
      { domain: 'com.microsoft', outputs: 3 },
    );
    const output = project(merged, layer['o_proj.weight']);
    const present = [key, value].map((name) => [name, shape(past + 1)]);
    const model = graph.encode(output, [1, 1, width], present);
    sessions.push(await library.InferenceSession.create(model, { executionProviders: ['wasm'] }));
  }
  const cache = new library.Tensor('float32', new Float32Array(past * inner).fill(0.1), [
    1,
    keyValueHeads,
    past,
    dim,
  ]);
  const token = new Float32Array(width).fill(0.1);
  const theirs = async () => {
    for (const session of sessions) {
      const x = new library.Tensor('float32', token, [1, 1, width]);
      await session.run({ x, past_key: cache, past_value: cache });
    }
  };
  const ours = async () => {
    for (let cacheLayer = 0; cacheLayer < layers; cacheLayer++) {
      const input = { data: token, shape: [1, 1, width] };
      decoder.layers[cacheLayer].attention.forward(input, { cache: decoder.cache, cacheLayer }).dispose();
    }
    decoder.cache.crop(past);
  };
  const times = { ours: [], theirs: [] };
  for (let round = -5; round < ROUNDS; round++) {
    for (const [name, step] of Object.entries({ ours, theirs })) {
      const start = performance.now();
      await step();
      if (round >= 0) times[name].push(performance.now() - start);
    }
  }
  for (const session of sessions) await session.release();
  const [own, other] = [times.ours, times.theirs].map((list) => list.sort((a, b) => a - b)[ROUNDS >> 1]);
  const ratio = (other / own).toFixed(1);
  return `attention of a step alone: ${own.toFixed(3)} ms; onnxruntime-web, past and present: ${other.toFixed(3)} ms, ${ratio} times that`;
}
