// Models in a worker: the bits of the page's own thread, files by every way, ends in the middle, errors, and what is freed.

import { openAsBlob, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { AttentionRecord, attentionWeights, createRuntime, Tensor } from 'wasm-attention';
import type { TensorData } from 'wasm-attention';
import * as models from 'wasm-attention/model';
import * as workers from 'wasm-attention/model-worker-runtime';
import { AttentionError, createWorkerRuntime } from 'wasm-attention/model-worker-runtime';
import type { WorkerAttentionRecord, WorkerModel, WorkerTensor } from 'wasm-attention/model-worker-runtime';
import { createWorkerRuntime as createPlainRuntime } from 'wasm-attention/worker-runtime';
import { Random } from '../reference/random.js';
import { referenceModel } from '../reference/transformer.js';
import { serveFiles } from '../support/file-server.js';
import { RandomWeights, safetensors } from '../support/random-checkpoint.js';

const sizes = { vocab_size: 51, hidden_size: 24, intermediate_size: 36, num_hidden_layers: 2 };
const BERT = {
  ...{ model_type: 'bert', architectures: ['BertModel'], ...sizes, num_attention_heads: 3 },
  ...{ max_position_embeddings: 40, type_vocab_size: 2, hidden_act: 'gelu', layer_norm_eps: 1e-12 },
  pad_token_id: 0,
};
const GPT2 = {
  ...{ model_type: 'gpt2', architectures: ['GPT2LMHeadModel'], vocab_size: 51, n_embd: 20, n_head: 4 },
  ...{ n_layer: 2, n_positions: 200, activation_function: 'gelu_new', layer_norm_epsilon: 1e-5 },
};
const T5 = {
  ...{
    model_type: 't5',
    architectures: ['T5ForConditionalGeneration'],
    vocab_size: 51,
    d_model: 20,
    d_kv: 6,
  },
  ...{ d_ff: 30, num_layers: 2, num_decoder_layers: 2, num_heads: 3, feed_forward_proj: 'relu' },
  ...{ is_encoder_decoder: true, tie_word_embeddings: true, relative_attention_num_buckets: 8 },
  ...{ relative_attention_max_distance: 12, decoder_start_token_id: 0, eos_token_id: 1 },
  layer_norm_epsilon: 1e-6,
};

/** A file with everything that the reference asks for. */
function weightsOf(config: object): Uint8Array<ArrayBuffer> {
  const weights = new RandomWeights(5);
  const both = 'is_encoder_decoder' in config ? { decoder_input_ids: [0, 3] } : {};
  referenceModel(config, weights, { input_ids: [2, 5, 7], ...both });
  return safetensors(weights.tensors);
}

const bytes = { bert: weightsOf(BERT), gpt2: weightsOf(GPT2), t5: weightsOf(T5) };
const prompts = { inputIds: [[5, 6, 7, 9, 11], [3, 4, 8]] }; // prettier-ignore

const remote = await createWorkerRuntime({ build: 'simd' });
const runtime = await createRuntime({ build: 'simd' });
afterAll(() => {
  remote.dispose();
  runtime.dispose();
});

/** What is used and alive in the worker, when the calls before are over. */
async function held(): Promise<{ used: number; handles: number }> {
  const { used, handles } = await remote.memory();
  return { used, handles };
}

async function errorOf(promise: Promise<unknown>): Promise<AttentionError> {
  const error = await promise.then(
    () => 'no error',
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(AttentionError);
  return error as AttentionError;
}

interface Reader {
  readonly isTensor: (value: object) => boolean;
  readonly read: (tensor: never) => Promise<TensorData>;
  readonly isRecord: (value: object) => boolean;
  readonly weights: (record: never) => Promise<TensorData>;
}

const here: Reader = {
  isTensor: (value) => value instanceof Tensor,
  read: (tensor: Tensor) => Promise.resolve(tensor.data.slice()),
  isRecord: (value) => value instanceof AttentionRecord,
  weights: (record: AttentionRecord) => Promise.resolve(attentionWeights(record).data.slice()),
};
const there: Reader = {
  isTensor: (value) => 'read' in value,
  read: (tensor: WorkerTensor) => tensor.read(),
  isRecord: (value) => 'sizes' in value,
  weights: async (record: WorkerAttentionRecord) => {
    const weights = await remote.attentionWeights(record);
    const read = await weights.read();
    weights.dispose();
    return read;
  },
};

/** All tensors of a result, and the weights of its records, in the result's own form. */
async function contents(value: unknown, reader: Reader): Promise<unknown> {
  if (typeof value !== 'object' || value === null) return value;
  if (reader.isTensor(value))
    return { shape: (value as Tensor).shape, data: await reader.read(value as never) };
  if (reader.isRecord(value)) return reader.weights(value as never);
  const parts = Object.entries(value).filter(([, part]) => part !== undefined);
  return Object.fromEntries(
    await Promise.all(parts.map(async ([name, part]) => [name, await contents(part, reader)] as const)),
  );
}

async function stepsOf(steps: AsyncIterable<models.GenerationStep>): Promise<models.GenerationStep[]> {
  const all: models.GenerationStep[] = [];
  for await (const step of steps) all.push(step);
  return all;
}

describe('a model', () => {
  it.each([
    ['an encoder', BERT, bytes.bert, { ...prompts, tokenTypeIds: [[0, 0, 1, 1, 1], [0, 1, 1]] }], // prettier-ignore
    ['a decoder', GPT2, bytes.gpt2, prompts],
    ['both', T5, bytes.t5, { ...prompts, decoderInputIds: [[0, 3], [0, 4]] }], // prettier-ignore
  ] as const)('gives the same bits: %s', async (_, config, weights, inputs) => {
    const before = await held();
    const inside = await models.loadModel({ config, weights, runtime });
    const outside = await remote.loadModel({ config, weights });
    const { family, parameterCount, bytes, leftAside, description } = inside;
    expect(outside).toMatchObject({ family, parameterCount, bytes, leftAside, description });
    const options = { returnRecord: true, returnWeights: true, returnHiddenStates: true };
    const expected = inside.forward(inputs, options);
    for (const read of [false, true]) {
      const received = await outside.forward(inputs, { ...options, read });
      expect(await contents(received, there)).toEqual(await contents(expected, here));
      received.dispose();
    }
    expected.dispose();
    inside.dispose();
    outside.dispose();
    expect(await held()).toEqual(before);
  });

  it('takes tensors of the worker, a cache and a scope', async () => {
    const before = await held();
    const [inside, outside] = [
      await models.loadModel({ config: GPT2, weights: bytes.gpt2, runtime }),
      await remote.loadModel({ config: GPT2, weights: bytes.gpt2 }),
    ];
    const [own, other] = [inside.createCache(), await outside.createCache({ capacity: 50 })];
    await remote.tidyAsync(async (scope) => {
      for (const inputIds of [[5, 6, 7], [8]]) {
        const expected = inside.forward({ inputIds }, { cache: own, logits: 'last' });
        const received = await outside.forward(
          { inputIds: { data: BigInt64Array.from(inputIds, BigInt), dims: [1, inputIds.length] } },
          { cache: other, logits: 'last', scope },
        );
        expect(await received.logits!.read()).toEqual(expected.logits!.data);
        expected.dispose();
      }
    });
    expect(await other.lengths()).toEqual([4]);
    for (const one of [own, other, inside, outside]) one.dispose();
    expect(await held()).toEqual(before);
  });

  it('is measured before it is loaded', async () => {
    const given = { config: GPT2, weights: bytes.gpt2 };
    expect(await remote.measureModel(given)).toEqual(await models.measureModel(given));
  });

  it('is saved as it is here, and read again', async () => {
    const before = await held();
    const inside = await models.loadModel({ config: BERT, weights: bytes.bert, runtime });
    const outside = await remote.loadModel({ config: BERT, weights: bytes.bert });
    for (const options of [{}, { dtype: 'BF16', metadata: { format: 'pt', note: 'x' } }] as const) {
      const [expected, received] = [[] as Uint8Array[], [] as Uint8Array[]];
      for await (const chunk of inside.save(options)) expected.push(chunk);
      for await (const chunk of outside.save(options)) received.push(chunk);
      expect(Buffer.concat(received).equals(Buffer.concat(expected))).toBe(true);
    }
    for await (const chunk of outside.save()) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
    expect(await errorOf(outside.save({ dtype: 'I8' as never }).next())).toMatchObject({ argument: 'dtype' });
    inside.dispose();
    outside.dispose();
    expect(await held()).toEqual(before);
  });
});

describe('files', () => {
  const load = (options: workers.WorkerLoadOptions) => remote.loadModel(options);
  const config = new TextEncoder().encode(JSON.stringify(GPT2));

  /** The model speaks as it should; then it is disposed. */
  async function expectSound(model: WorkerModel): Promise<void> {
    const inside = await models.loadModel({ config: GPT2, weights: bytes.gpt2, runtime });
    const expected = inside.forward({ inputIds: [5, 6] });
    const received = await model.forward({ inputIds: [5, 6] });
    expect(await received.logits!.read()).toEqual(expected.logits!.data);
    for (const one of [expected, received, inside, model]) one.dispose();
  }

  it('are bytes, which stay, or are moved if that is asked for', async () => {
    const copy = bytes.gpt2.slice();
    await expectSound(await load({ config: GPT2, weights: copy.buffer }));
    expect(copy.length).toBe(bytes.gpt2.length);
    await expectSound(await load({ config: GPT2, weights: copy, transfer: true }));
    expect(copy.length).toBe(0);
  });

  it('are Blobs, of memory and of files', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'wasm-attention-model-'));
    try {
      writeFileSync(join(folder, 'config.json'), config);
      writeFileSync(join(folder, 'model.safetensors'), bytes.gpt2);
      await expectSound(await load({ config: GPT2, weights: new Blob([bytes.gpt2]) }));
      await expectSound(await load({ folder: (name) => openAsBlob(join(folder, name)) }));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('are a record of them, and shards by their index', async () => {
    await expectSound(
      await load({ folder: { 'config.json': config, 'model.safetensors': new Blob([bytes.gpt2]) } }),
    );
    const names = [...(await models.inspectCheckpoint(bytes.gpt2)).tensors.keys()];
    const index = { weight_map: Object.fromEntries(names.map((name) => [name, 'model-1.safetensors'])) };
    const asked: string[] = [];
    const files = (name: string) => {
      asked.push(name);
      return name === 'model-1.safetensors' ? bytes.gpt2 : undefined;
    };
    await expectSound(await load({ config: GPT2, weights: { index, files } }));
    expect(asked).toEqual(['model-1.safetensors']);
    const inFolder: Record<string, Uint8Array> = {
      'config.json': config,
      'model.safetensors.index.json': new TextEncoder().encode(JSON.stringify(index)),
      'model-1.safetensors': bytes.gpt2,
    };
    await expectSound(await load({ folder: (name) => inFolder[name] }));
    await expectSound(await load({ folder: inFolder }));
    await expectSound(await load({ config: GPT2, weights: [bytes.gpt2] }));
    expect(await errorOf(load({ config: GPT2, weights: { index, files: () => undefined } }))).toMatchObject({
      code: 'INVALID_FILE',
      argument: 'weights.files',
    });
  });

  it('are fetched in the worker, which says how far it is', async () => {
    await using server = await serveFiles({
      'model/config.json': { bytes: config },
      'model/model.safetensors': { bytes: bytes.gpt2 },
    });
    const seen: number[] = [];
    const onProgress = ({ done, total }: { done: number; total: number }) => seen.push(done / total);
    await expectSound(await load({ folder: new URL('model/', server.base), onProgress }));
    expect(seen.at(-1)).toBe(1);
    expect(seen.every((share, i) => i === 0 || share >= seen[i - 1]!)).toBe(true);
    expect(await errorOf(load({ config: GPT2, weights: `${server.base}none` }))).toMatchObject({
      code: 'READ_FAILED',
    });
    expect(await errorOf(load({ config: GPT2, weights: 'model.safetensors' }))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      argument: 'weights',
    });
  });

  it('that do not come let other calls through, and loading ends when it is told to', async () => {
    await using server = await serveFiles({
      'slow.safetensors': { bytes: bytes.gpt2, stallsAt: bytes.gpt2.length >> 1 },
    });
    const before = await held();
    const control = new AbortController();
    const loading = load({
      config: GPT2,
      weights: new URL('slow.safetensors', server.base),
      signal: control.signal,
    });
    await expect.poll(() => server.asked.length).toBeGreaterThan(0);
    const y = await remote.relu({ data: [-1, 2], shape: [2] }, { read: true });
    expect(await y.read()).toEqual(Float32Array.of(0, 2));
    y.dispose();
    control.abort('enough');
    await expect(loading).rejects.toBe('enough');
    await expect.poll(held).toEqual(before);
  });

  it('that are wrong, and options that cannot cross, are errors that say so', async () => {
    const before = await held();
    const wrong = [
      [{ config: GPT2 }, 'INVALID_ARGUMENT', 'weights'],
      [{ config: GPT2, weights: 5 }, 'INVALID_ARGUMENT', 'weights'],
      [{ config: { ...GPT2, surprise: 1 }, weights: bytes.gpt2 }, 'UNSUPPORTED', undefined],
      [{ config: GPT2, weights: bytes.bert }, 'INVALID_FILE', undefined],
      [{ config: GPT2, weights: bytes.gpt2, fetch: () => 0 }, 'UNSUPPORTED', 'fetch'],
      [{ config: GPT2, weights: bytes.gpt2, families: [models.gpt2] }, 'UNSUPPORTED', undefined],
      [{ config: GPT2, weights: bytes.gpt2, runtime }, 'INVALID_ARGUMENT', 'runtime'],
      [{ config: GPT2, weights: bytes.gpt2, leftOver: 'x' }, 'INVALID_ARGUMENT', 'leftOver'],
      [{ folder: () => undefined }, 'INVALID_FILE', 'folder'],
      [{ folder: { 'config.json': config }, config: GPT2 }, 'INVALID_ARGUMENT', 'folder'],
      [null, 'INVALID_ARGUMENT', 'options'],
    ] as const;
    for (const [options, code, argument] of wrong) {
      const error = await errorOf(load(options as never));
      expect(error, JSON.stringify(Object.keys(options ?? {}))).toMatchObject({ code });
      if (argument) expect(error.argument).toBe(argument);
    }
    expect(await held()).toEqual(before);
  });
});

describe('generation', async () => {
  const inside = await models.loadModel({ config: GPT2, weights: bytes.gpt2, runtime });
  const outside = await remote.loadModel({ config: GPT2, weights: bytes.gpt2 });
  afterAll(() => {
    inside.dispose();
    outside.dispose();
  });

  it.each([
    ['greedily', {}],
    ['by chance', { temperature: 0.8, topK: 9, topP: 0.9, seed: 3, repetitionPenalty: 1.2 }],
    ['until one of some tokens', { stopTokens: Array.from({ length: 25 }, (_, i) => i) }],
  ] as const)('gives the same tokens: %s', async (_, more) => {
    const options = { maxNewTokens: 12, ...more };
    const expected = await stepsOf(inside.generate(prompts, options));
    expect(await stepsOf(outside.generate(prompts, options))).toEqual(expected);
    expect(expected.length).toBeGreaterThan(0);
  });

  it('gives the same tokens of an encoder with a decoder', async () => {
    const [own, other] = [
      await models.loadModel({ config: T5, weights: bytes.t5, runtime }),
      await remote.loadModel({ config: T5, weights: bytes.t5 }),
    ];
    const options = { maxNewTokens: 5, stopTokens: [] };
    const expected = await stepsOf(own.generate(prompts, options));
    expect(expected).toHaveLength(5);
    expect(await stepsOf(other.generate(prompts, options))).toEqual(expected);
    own.dispose();
    other.dispose();
  });

  it('goes on from a prefix', async () => {
    const before = await held();
    const [own, other] = [
      await inside.readPrompt({ inputIds: [5, 6] }),
      await outside.readPrompt({ inputIds: [5, 6] }),
    ];
    const options = { maxNewTokens: 4, stopTokens: [] };
    expect(await stepsOf(outside.generate(prompts, { ...options, prefix: other }))).toEqual(
      await stepsOf(inside.generate(prompts, { ...options, prefix: own })),
    );
    own.dispose();
    other.dispose();
    expect(await held()).toEqual(before);
  });

  it('is never ahead, several at a time, and frees what it held where a loop ends', async () => {
    const before = await held();
    const options = { maxNewTokens: 100, stopTokens: [] };
    const [one, two] = [outside.generate(prompts, options), outside.generate({ inputIds: [9] }, options)];
    expect(await held()).toEqual(before); // nothing happens before the first token is asked for
    for (let step = 0; step < 3; step++) {
      for (const text of [one, two]) expect((await text.next()).value).toMatchObject({ step });
    }
    expect((await remote.memory()).handles).toBe(before.handles + 2);
    const { used } = await held();
    expect(used).toBeGreaterThan(before.used);
    expect(await held()).toEqual({ used, handles: before.handles + 2 }); // no token beyond those that were asked for
    await one.return();
    for await (const { step } of two) if (step === 5) break;
    expect(await held()).toEqual(before);
    expect(await one.next()).toEqual({ done: true, value: undefined });
  });

  it('ends with the reason of its signal: before, during and between tokens', async () => {
    const before = await held();
    const long = { inputIds: Array.from({ length: 150 }, (_, i) => i % 50) };
    const aborted = { stopTokens: [], signal: AbortSignal.abort('before') };
    await expect(outside.generate(prompts, aborted).next()).rejects.toBe('before');

    // Once the worker has been asked: a timer would come too late where the worker is quick.
    const during = new AbortController();
    const listen = during.signal.addEventListener.bind(during.signal);
    during.signal.addEventListener = (...given: Parameters<typeof listen>) => {
      listen(...given);
      queueMicrotask(() => during.abort('during'));
    };
    const first = outside.generate(long, { stopTokens: [], signal: during.signal }).next();
    await expect(first).rejects.toBe('during');

    const between = new AbortController();
    const text = outside.generate(prompts, { stopTokens: [], signal: between.signal });
    await text.next();
    between.abort('between');
    await expect(text.next()).rejects.toBe('between');
    expect((await text.next()).done).toBe(true);
    await expect(outside.readPrompt(long, { signal: AbortSignal.abort('prompt') })).rejects.toBe('prompt');
    expect(await held()).toEqual(before);
  });

  it('is refused in words where it cannot be', async () => {
    const before = await held();
    const wrong = [
      [{ inputIds: [5] }, { maxNewTokens: -1 }, 'INVALID_ARGUMENT', 'maxNewTokens'],
      [{ inputIds: [5] }, { temprature: 1 }, 'INVALID_ARGUMENT', 'temprature'],
      [{ inputIds: [5] }, { onLogits: () => 0 }, 'UNSUPPORTED', 'onLogits'],
      [{ inputIds: [500] }, {}, 'INVALID_ARGUMENT', undefined],
      [{ inputIds: [] }, {}, 'INVALID_ARGUMENT', undefined],
      [{ pixelValues: [1] }, {}, 'INVALID_ARGUMENT', 'pixelValues'],
      [{ inputIds: [5] }, { signal: 1 }, 'INVALID_ARGUMENT', 'signal'],
    ] as const;
    for (const [inputs, options, code, argument] of wrong) {
      const error = await errorOf(outside.generate(inputs as never, options as never).next());
      expect(error).toMatchObject({ code });
      if (argument) expect(error.argument).toBe(argument);
    }
    const bert = await remote.loadModel({ config: BERT, weights: bytes.bert });
    expect((await errorOf(bert.generate({ inputIds: [5] }).next())).code).toBe('UNSUPPORTED');
    expect((await errorOf(bert.createCache())).code).toBe('UNSUPPORTED');
    expect((await errorOf(bert.forward({ inputIds: [51] }))).code).toBe('INVALID_ARGUMENT');
    const text = outside.generate({ inputIds: [5] }, { stopTokens: [] });
    await text.next();
    bert.dispose();
    expect(await errorOf(bert.forward({ inputIds: [5] }))).toMatchObject({
      code: 'DISPOSED',
      argument: 'model',
    });
    await text.return();
    expect(await held()).toEqual(before);
  });
});

describe('layers', () => {
  const random = new Random(3);
  const numbers = (...shape: number[]) => ({
    data: random.array(
      shape.reduce((size, length) => size * length, 1),
      'uniform',
    ),
    shape,
  });

  /** Weights for a layer under a prefix, and one that it has no use for. */
  const weightsFor = (
    layer: models.Transformer | models.LayerNorm | models.Embedding,
    shapes: Record<string, number[]>,
  ) => ({
    ...Object.fromEntries(
      layer.parameterNames.map((name) => [
        `a.${name}`,
        numbers(...(Object.entries(shapes).find(([end]) => name.endsWith(end))?.[1] ?? [8])),
      ]),
    ),
    'a.other': numbers(3),
    'b.other': numbers(3),
  });
  const block = { embedDim: 8, numHeads: 2, feedForwardDim: 12, causal: true };
  const shapes = {
    'up.weight': [12, 8],
    'up.bias': [12],
    'down.weight': [8, 12],
    ...Object.fromEntries(['query', 'key', 'value', 'output'].map((name) => [`${name}.weight`, [8, 8]])),
  };
  const x = numbers(2, 5, 8);

  it.each([
    ['LayerNorm', { channels: 8 }, {}],
    ['RmsNorm', { channels: 8, epsilon: 1e-3 }, {}],
    ['FeedForward', { embedDim: 8, hiddenDim: 12, activation: 'silu' }, shapes],
    ['TransformerBlock', block, shapes],
    ['Transformer', { ...block, numLayers: 2 }, shapes],
  ] as const)('give the same bits: %s', async (name, options, shapes) => {
    const before = await held();
    const inside = new models[name as 'LayerNorm'](runtime, options as never);
    const outside = await remote[`create${name as 'LayerNorm'}`](options as never);
    const { parameterCount, parameterNames } = inside;
    expect(outside).toMatchObject({ parameterCount, parameterNames, leftAside: [] });
    expect((await errorOf(outside.forward(x))).code).toBe('INVALID_STATE');
    const weights = weightsFor(inside, shapes);
    expect(await outside.load(weights, 'a')).toBe(outside);
    expect(outside.leftAside).toEqual(['a.other']);
    const expected = inside.load(weights, 'a').forward(x);
    const received = await outside.forward(x);
    expect(await contents(received, there)).toEqual(await contents(expected, here));
    for (const one of [expected, received, inside, outside]) one.dispose();
    expect(await held()).toEqual(before);
    expect((await errorOf(outside.forward(x))).code).toBe('DISPOSED');
  });

  it('give the same bits: Embedding', async () => {
    const options = { vocabulary: 9, embedDim: 8, positions: 6, norm: true };
    const inside = new models.Embedding(runtime, options);
    const outside = await remote.createEmbedding(options);
    const weights = weightsFor(inside, { 'positions.weight': [6, 8], 'norm.weight': [8], weight: [9, 8] });
    await outside.load(weights, 'a');
    const ids = [[1, 2, 8], [0, 4, 4]]; // prettier-ignore
    const expected = inside.load(weights, 'a').forward(ids);
    const received = await outside.forward(ids, { read: true });
    expect(await received.read()).toEqual(expected.data);
    for (const one of [expected, received, inside, outside]) one.dispose();
  });

  it('attend to a cache, and return records to look into', async () => {
    const before = await held();
    const inside = new models.TransformerBlock(runtime, block);
    const outside = await remote.createTransformerBlock(block);
    const weights = weightsFor(inside, shapes);
    inside.load(weights, 'a');
    await outside.load(weights, 'a');
    const [own, other] = [inside.createCache({ batch: 2 }), await outside.createCache({ batch: 2 })];
    for (const more of [{}, { returnRecord: true, returnWeights: true }]) {
      const expected = inside.forward(x, { cache: own, ...more });
      const received = await outside.forward(x, { cache: other, ...more });
      expect(await contents(received, there)).toEqual(await contents(expected, here));
      expected.dispose();
      received.dispose();
    }
    expect(await other.lengths()).toEqual([10, 10]);
    for (const one of [own, other, inside, outside]) one.dispose();
    expect(await held()).toEqual(before);
  });
});

describe('operations', () => {
  const random = new Random(4);
  const numbers = (...shape: number[]) => ({
    data: random.array(
      shape.reduce((size, length) => size * length, 1),
      'normal',
    ),
    shape,
  });
  const x = numbers(2, 5, 8);

  it.each([
    ['layerNorm', [x], { weight: numbers(8), epsilon: 1e-3 }],
    ['rmsNorm', [x], { unitOffset: true, weight: numbers(8) }],
    ['normalize', [x], {}],
    ['gelu', [x], {}],
    ['quickGelu', [x], {}],
    ['silu', [x], {}],
    ['relu', [x], {}],
    ['tanh', [x], {}],
    ['meanPooling', [x], { lengths: [3, 5] }],
    ['firstToken', [x], {}],
    ['lastToken', [x], { lengths: [3, 5] }],
    ['argmax', [x], {}],
    ['embedding', [[3, 0, 1], numbers(4, 8)], { factor: 2 }],
  ] as const)('give the same bits: %s', async (name, inputs, options) => {
    const call = models[name as 'gelu'] as (...given: unknown[]) => Tensor;
    const expected = call(...inputs, { ...options, runtime });
    const remotely = remote[name as 'gelu'] as (...given: unknown[]) => Promise<WorkerTensor>;
    const received = await remotely(...inputs, options);
    expect(await contents(received, there)).toEqual(await contents(expected, here));
    expected.dispose();
    received.dispose();
  });

  it('of weights give the same bits: fusedLinear and convolution', async () => {
    const { LinearWeights } = await import('wasm-attention');
    const [matrix, gate, picture] = [numbers(6, 8), numbers(6, 8), numbers(1, 2, 4, 4)];
    const [own, ownGate] = [new LinearWeights(runtime, matrix), new LinearWeights(runtime, gate)];
    const [other, otherGate] = [await remote.linearWeights(matrix), await remote.linearWeights(gate)];
    const residual = numbers(2, 5, 6);
    const pairs = [
      [
        models.fusedLinear(x, own, { activation: 'silu', gate: ownGate, residual }),
        await remote.fusedLinear(x, other, { activation: 'silu', gate: otherGate, residual }),
      ],
      [
        models.convolution(picture, own, { kernel: 2, padding: 1 }),
        await remote.convolution(picture, other, { kernel: 2, padding: 1 }),
      ],
      [models.embedding([5, 0], own), await remote.embedding([5, 0], other)],
    ] as const;
    for (const [expected, received] of pairs) {
      expect(await contents(received, there)).toEqual(await contents(expected, here));
      expected.dispose();
      received.dispose();
    }
    for (const one of [own, ownGate, other, otherGate]) one.dispose();
  });
});

describe('the runtime', () => {
  it('has every operation of the entry that takes time', () => {
    const names = Object.keys(models).filter((name) => name.endsWith('Async'));
    expect(names.length).toBeGreaterThan(10);
    for (const name of names) expect(remote).toHaveProperty(name.slice(0, -'Async'.length));
    expect(remote.info.packs).toContain('model');
  });

  it('ends models with it', async () => {
    const own = await createWorkerRuntime();
    const model = await own.loadModel({ config: GPT2, weights: bytes.gpt2 });
    const text = model.generate(prompts, { stopTokens: [] });
    await text.next();
    const next = text.next();
    own.dispose();
    expect((await errorOf(next)).code).toBe('DISPOSED');
    expect(model.disposed).toBe(true);
    expect((await errorOf(own.loadModel({ config: GPT2, weights: bytes.gpt2 }))).code).toBe('DISPOSED');
  });

  it('takes a worker that runs the file of its own, and no other', async () => {
    const at = (name: string) => new URL(`../../dist/${name}`, import.meta.url);
    const own = await createWorkerRuntime({ worker: at('model-worker.mjs') });
    expect(await own.measureModel({ config: GPT2, weights: bytes.gpt2 })).toMatchObject({ family: 'gpt2' });
    own.dispose();
    expect(await errorOf(createWorkerRuntime({ worker: at('worker.mjs') }))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      argument: 'worker',
    });
    const plain = await createPlainRuntime();
    expect(plain).not.toHaveProperty('gelu');
    plain.dispose();
  });
});
