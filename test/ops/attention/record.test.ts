// Records of attention: what is seen through one is what was computed, for operations, layers and caches, and it lives and
// ends as told.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  AttentionRecord,
  attentionEntropy,
  attentionEntropyAsync,
  attentionWeights,
  attentionWeightsAsync,
  causal,
  createRuntime,
  KeyValueCache,
  MultiHeadAttention,
  receivedWeight,
  receivedWeightAsync,
  scaledDotProductAttention,
  scaledDotProductAttentionAsync,
  TensorScope,
  tidy,
  tidyAsync,
  topKeys,
  topKeysAsync,
} from 'wasm-attention';
import type { Runtime, ScaledDotProductAttentionOptions, Tensor } from 'wasm-attention';
import { createWorkerRuntime } from 'wasm-attention/worker-runtime';
import { Random } from '../../reference/random.js';

let runtime: Runtime;
const random = new Random(14);
beforeAll(async () => (runtime = await createRuntime()));
afterAll(() => runtime.dispose());

const floats = (...shape: number[]) => ({
  data: random.array(
    shape.reduce((size, n) => size * n, 1),
    'normal',
  ),
  shape,
});

/** What a whole matrix of weights says, in float64. */
function summaries(weights: Tensor) {
  const [batch, heads, queries, keys] = weights.shape as [number, number, number, number];
  const { data } = weights;
  const entropy: number[] = [];
  const received = new Array<number>(batch * heads * keys).fill(0);
  for (let row = 0; row < batch * heads * queries; row++) {
    let nats = 0;
    for (let key = 0; key < keys; key++) {
      const weight = data[row * keys + key]!;
      if (weight > 0) nats -= weight * Math.log(weight);
      received[Math.floor(row / queries) * keys + key]! += weight;
    }
    entropy.push(nats);
  }
  return { entropy, received };
}

function expectClose(values: ArrayLike<number>, expected: readonly number[], tolerance: number): void {
  expect(values.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    expect(Math.abs(values[i]! - expected[i]!), `element ${i}`).toBeLessThan(tolerance);
  }
}

/** All four ways to look give what `weights`, the whole matrix, says. */
function expectSame(record: AttentionRecord, weights: Tensor): void {
  const [, , queries, keys] = weights.shape as [number, number, number, number];
  const seen = attentionWeights(record);
  expect(seen.shape).toEqual(weights.shape);
  expect(seen.data).toEqual(weights.data);
  const { entropy, received } = summaries(weights);
  const [nats, sums] = [attentionEntropy(record), receivedWeight(record)];
  expectClose(nats.data, entropy, 2e-5);
  expectClose(sums.data, received, 1e-4);
  const top = topKeys(record, Math.min(2, keys));
  for (let row = 0; row < top.keys.length; row += Math.min(2, keys)) {
    const key = top.keys[row]!;
    const ofRow = weights.data.subarray(
      (row / Math.min(2, keys)) * keys,
      (row / Math.min(2, keys) + 1) * keys,
    );
    expect(top.weights[row]).toBe(Math.max(...ofRow));
    if (key >= 0) expect(ofRow[key]).toBe(top.weights[row]);
  }
  expect(queries).toBe(record.sizes.queries);
  for (const tensor of [seen, nats, sums]) tensor.dispose();
}

describe('a record of an operation', () => {
  const cases: readonly (readonly [string, ScaledDotProductAttentionOptions])[] = [
    ['plain', {}],
    ['causal, with a scale', { causal: true, scale: 0.7 }],
    ['window and softcap', { window: { left: 3, right: 1 }, softcap: 2 }],
    ['alibi, sinks, lengths', { alibi: true, sinks: [0.5, -1, 0, 2], keyLengths: [37, 12] }],
    ['a mask value', { mask: causal() }],
    ['a mask of numbers', { mask: floats(37, 37) }],
    ['a bias', { bias: floats(2, 1, 37, 37), causal: true }],
  ];
  it.each(cases)('%s: gives the bits of the whole matrix', (_, options) => {
    const [q, k, v] = [floats(2, 4, 37, 8), floats(2, 2, 37, 8), floats(2, 2, 37, 8)];
    const before = runtime.memory.used;
    const result = scaledDotProductAttention(q, k, v, {
      ...options,
      runtime,
      returnWeights: true,
      returnRecord: true,
    });
    expect(result.record).toBeInstanceOf(AttentionRecord);
    expect(result.record.sizes).toMatchObject({
      batch: 2,
      heads: 4,
      keyValueHeads: 2,
      queries: 37,
      keys: 37,
    });
    expect(result.record.output.data).toEqual(result.output.data);
    expect(result.record.keys!.toFloat32Array()).toEqual(k.data);
    expectSame(result.record, result.weights);
    result.dispose();
    expect(runtime.memory.used).toBe(before);
  });

  it('asynchronously, and with tensors of any strides', async () => {
    const q = runtime.tensor(floats(1, 20, 2, 8).data, [1, 20, 2, 8]).transpose(1, 2);
    const k = runtime.tensor(floats(1, 2, 8, 20).data, [1, 2, 8, 20]).transpose(2, 3);
    const v = runtime.tensor(floats(1, 2, 20, 4).data, [1, 2, 20, 4]);
    const before = runtime.memory.used;
    const options = { causal: true, returnWeights: true, returnRecord: true } as const;
    const result = await scaledDotProductAttentionAsync(q, k, v, options);
    const { record, weights } = result;
    expectSame(record, weights);
    expect((await attentionWeightsAsync(record)).data).toEqual(weights.data);
    expect((await attentionEntropyAsync(record)).data).toEqual(attentionEntropy(record).data);
    expect((await receivedWeightAsync(record)).data).toEqual(receivedWeight(record).data);
    expect(await topKeysAsync(record, 3)).toEqual(topKeys(record, 3));
    expect(runtime.memory.used).toBeGreaterThan(before);
  });

  it('gives scores at every stage, as q and k do', () => {
    const [q, k, v] = [floats(1, 2, 9, 8), floats(1, 2, 9, 8), floats(1, 2, 9, 8)];
    const options = { softcap: 3, causal: true, runtime };
    const { record } = scaledDotProductAttention(q, k, v, { ...options, returnRecord: true });
    for (const stage of ['raw', 'scaled', 'capped', 'masked', 'weights'] as const) {
      const region = { heads: [1, 2], queries: [2, 7], keys: [0, 8] } as const;
      expect(attentionWeights(record, { stage, region }).data, stage).toEqual(
        attentionWeights(q, k, { ...options, stage, region }).data,
      );
    }
  });

  it('outlives what it was made of, and holds memory until it is disposed', () => {
    const before = runtime.memory.used;
    const [q, k, v] = [1, 2, 3].map(() => runtime.tensor(floats(1, 2, 9, 8).data, [1, 2, 9, 8])) as Tensor[];
    const mask = runtime.tensor(new Uint8Array(81).fill(1).fill(0, 3, 5), [9, 9]);
    const options = { mask, returnWeights: true, returnRecord: true } as const;
    const { record, weights, output } = scaledDotProductAttention(q!, k!, v!, options);
    const expected = weights.toFloat32Array();
    for (const tensor of [q!, k!, v!, mask, output, weights]) tensor.dispose();
    runtime.tensor(new Float32Array(4000).fill(NaN)).dispose(); // what is free is written to
    const seen = attentionWeights(record);
    expect(seen.data).toEqual(expected);
    expect(record.output.disposed).toBe(false);
    seen.dispose();
    record.dispose();
    record.dispose();
    expect(record.disposed).toBe(true);
    expect(runtime.memory.used).toBe(before);
    expect(() => attentionWeights(record)).toThrow(expect.objectContaining({ code: 'DISPOSED' }));
  });

  it('may be disposed while a call that looks into it runs', async () => {
    const [q, k, v] = [floats(1, 2, 300, 16), floats(1, 2, 300, 16), floats(1, 2, 300, 16)];
    const before = runtime.memory.used;
    const result = scaledDotProductAttention(q, k, v, { runtime, returnWeights: true, returnRecord: true });
    const expected = result.weights.toFloat32Array();
    const looking = attentionWeightsAsync(result.record);
    result.dispose();
    const seen = await looking;
    expect(seen.data).toEqual(expected);
    seen.dispose();
    expect(runtime.memory.used).toBe(before);
  });

  it('belongs to scopes as tensors do', async () => {
    const [q, k, v] = [floats(1, 2, 9, 8), floats(1, 2, 9, 8), floats(1, 2, 9, 8)];
    const before = runtime.memory.used;
    let gone: AttentionRecord | undefined;
    tidy(runtime, () => {
      gone = scaledDotProductAttention(q, k, v, { runtime, returnRecord: true }).record;
    });
    expect(gone!.disposed).toBe(true);
    expect(runtime.memory.used).toBe(before);
    const kept = tidy(runtime, () => {
      const x = runtime.tensor(q.data, q.shape);
      return scaledDotProductAttention(x, x, x, { returnRecord: true });
    });
    expect(attentionEntropy(kept.record).shape).toEqual([1, 2, 9]);
    const outer = new TensorScope(runtime);
    await tidyAsync(runtime, async (scope) => {
      const options = { runtime, returnRecord: true, scope } as const;
      gone = (await scaledDotProductAttentionAsync(q, k, v, options)).record;
    });
    expect(gone!.disposed).toBe(true);
    outer.dispose();
  });

  it('knows its options: none can be given beside it', () => {
    const [q, k, v] = [floats(1, 2, 9, 8), floats(1, 2, 9, 8), floats(1, 2, 9, 8)];
    const { record } = scaledDotProductAttention(q, k, v, { runtime, causal: true, returnRecord: true });
    expect(record.options).toEqual({ causal: true });
    for (const name of ['causal', 'mask', 'scale', 'statistics', 'queryOffset'] as const) {
      for (const look of [attentionWeights, attentionEntropy, receivedWeight]) {
        expect(() => (look as typeof attentionWeights)(record, { [name]: true })).toThrow(
          expect.objectContaining({ code: 'INVALID_ARGUMENT', argument: name }),
        );
      }
    }
    expect(() => attentionWeights(record, { regoin: {} } as never)).toThrow(/did you mean region/);
    expect(() => topKeys(record, 0)).toThrow(expect.objectContaining({ argument: 'count' }));
  });

  it('is refused by another runtime, and a failed call leaves none behind', async () => {
    const other = await createRuntime();
    const [q, k, v] = [floats(1, 2, 9, 8), floats(1, 2, 9, 8), floats(1, 2, 9, 8)];
    const result = scaledDotProductAttention(q, k, v, { runtime, returnRecord: true });
    expect(() => attentionWeights(result.record, { runtime: other } as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
    other.dispose();
    result.dispose();
    const before = runtime.memory.used;
    const control = new AbortController();
    const options = { runtime, returnRecord: true, signal: control.signal } as const;
    const long = floats(1, 2, 3000, 8);
    const failing = scaledDotProductAttentionAsync(long, long, long, options);
    control.abort(new Error('enough'));
    await expect(failing).rejects.toThrow('enough');
    expect(runtime.memory.used).toBe(before);
  });
});

const projections = (embedDim: number, keyDim: number) => ({
  'q_proj.weight': floats(embedDim, embedDim),
  'k_proj.weight': floats(keyDim, embedDim),
  'v_proj.weight': floats(keyDim, embedDim),
  'o_proj.weight': floats(embedDim, embedDim),
});

describe('a record of a layer', () => {
  const sizes = { embedDim: 32, numHeads: 4, numKeyValueHeads: 2, bias: false, rotary: {}, causal: true };

  it('gives the weights that the layer returns, without a matrix being held', async () => {
    const layer = new MultiHeadAttention(runtime, sizes).load(projections(32, 16));
    const x = floats(2, 21, 32);
    const before = runtime.memory.used;
    const result = layer.forward(x, { returnWeights: true, returnRecord: true });
    expect(result.output.data).toEqual(layer.forward(x).output.data);
    const { weights, record } = result;
    expectSame(record, weights);
    expect(record.options).toMatchObject({ causal: true });
    expect(record.queries.shape).toEqual([2, 4, 21, 8]);
    expect(record.keys!.shape).toEqual([2, 2, 21, 8]);
    expect(record.output.shape).toEqual([2, 4, 21, 8]);
    const again = await layer.forwardAsync(x, { returnRecord: true });
    expect(attentionWeights(again.record).data).toEqual(weights.data);
    expect(runtime.memory.used).toBeGreaterThan(before);
    layer.dispose();
    expect(attentionWeights(record).data).toEqual(weights.data);
  });

  it('frees everything with the result', () => {
    const layer = new MultiHeadAttention(runtime, sizes).load(projections(32, 16));
    const x = floats(1, 5, 32);
    layer.forward(x).dispose(); // tables of the rotary embedding
    const before = runtime.memory.used;
    layer.forward(x, { returnRecord: true }).dispose();
    expect(runtime.memory.used).toBe(before);
    layer.dispose();
  });
});

describe.each(['float32', 'float16', 'int8'] as const)('a record over a cache of %s', (storage) => {
  it('gives the weights of that moment, whatever becomes of the cache', () => {
    const before = runtime.memory.used;
    const cache = new KeyValueCache(runtime, { numKeyValueHeads: 2, headDim: 8, batch: 2, storage });
    cache.append(0, floats(2, 2, 150, 8), floats(2, 2, 150, 8));
    const query = floats(2, 4, 3, 8);
    const result = cache.attend(0, query, { softcap: 5, returnWeights: true, returnRecord: true });
    const { weights, record } = result;
    expect(record.keys).toBeUndefined();
    expectSame(record, weights);
    cache.append(0, floats(2, 2, 7, 8), floats(2, 2, 7, 8));
    expectSame(record, weights);
    cache.crop(3);
    cache.append(0, floats(2, 2, 140, 8), floats(2, 2, 140, 8));
    expectSame(record, weights);
    cache.dispose();
    expectSame(record, weights);
    result.dispose();
    expect(runtime.memory.used).toBe(before);
  });

  it('through a layer, token by token', () => {
    const options = { embedDim: 32, numHeads: 4, numKeyValueHeads: 2, bias: false, rotary: {} };
    const layer = new MultiHeadAttention(runtime, options).load(projections(32, 16));
    const cache = new KeyValueCache(runtime, { numKeyValueHeads: 2, headDim: 8, storage });
    layer.forward(floats(1, 130, 32), { cache }).dispose();
    const { weights, record } = layer.forward(floats(1, 1, 32), {
      cache,
      returnWeights: true,
      returnRecord: true,
    });
    expect(record.sizes).toMatchObject({ queries: 1, keys: 131 });
    expectSame(record, weights);
    for (const one of [record, weights, cache, layer]) one.dispose();
  });
});

it('a ring, whose keys move, has no record', () => {
  const cache = new KeyValueCache(runtime, { numKeyValueHeads: 1, headDim: 4, ring: { window: 4 } });
  cache.append(0, floats(1, 1, 3, 4), floats(1, 1, 3, 4));
  expect(() => cache.attend(0, floats(1, 1, 1, 4), { returnRecord: true })).toThrow(
    expect.objectContaining({ code: 'UNSUPPORTED', argument: 'returnRecord' }),
  );
  cache.dispose();
});

it('in a worker: of operations, layers and caches, with the same bits', async () => {
  const { build } = runtime.info;
  const remote = await createWorkerRuntime({ build });
  const [q, k, v] = [floats(1, 4, 19, 8), floats(1, 2, 19, 8), floats(1, 2, 19, 8)];
  const here = scaledDotProductAttention(q, k, v, { runtime, causal: true, returnRecord: true }).record;
  const result = await remote.scaledDotProductAttention(q, k, v, { causal: true, returnRecord: true });
  const { record } = result;
  expect(record.sizes).toEqual(here.sizes);
  const region = { queries: [3, 9] } as const;
  expect(await (await remote.attentionWeights(record, { region })).read()).toEqual(
    attentionWeights(here, { region }).data,
  );
  expect(await (await remote.attentionEntropy(record)).read()).toEqual(attentionEntropy(here).data);
  expect(await (await remote.receivedWeight(record)).read()).toEqual(receivedWeight(here).data);
  expect(await remote.topKeys(record, 2)).toEqual({ ...topKeys(here, 2) });

  const weights = projections(32, 32);
  const layer = new MultiHeadAttention(runtime, { embedDim: 32, numHeads: 4, bias: false }).load(weights);
  const remoteLayer = await remote.multiHeadAttention({ embedDim: 32, numHeads: 4, bias: false });
  await remoteLayer.load(weights);
  const x = floats(1, 6, 32);
  const ofLayer = await remoteLayer.forward(x, { returnRecord: true });
  expect(await (await remote.attentionWeights(ofLayer.record)).read()).toEqual(
    attentionWeights(layer.forward(x, { returnRecord: true }).record).data,
  );
  const cache = await remote.keyValueCache({ numKeyValueHeads: 2, headDim: 8 });
  await cache.append(0, k, v);
  const ofCache = await cache.attend(0, q, { returnRecord: true });
  expect(await (await remote.attentionWeights(ofCache.record)).read()).toEqual(attentionWeights(here).data);

  const scope = remote.scope();
  const scoped = await remote.scaledDotProductAttention(q, k, v, { returnRecord: true, scope });
  scope.dispose();
  expect(scoped.record.disposed).toBe(true);
  await expect(remote.attentionWeights(scoped.record)).rejects.toMatchObject({ code: 'DISPOSED' });
  const { handles } = await remote.memory();
  result.dispose();
  expect((await remote.memory()).handles).toBe(handles - 2);
  remote.dispose();
});
