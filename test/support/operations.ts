// Every operation that has an asynchronous form, over inputs with edges: rows and columns that fill no tile, heads that share
// keys, masks.

import { createHash } from 'node:crypto';
import {
  attentionEntropy,
  attentionEntropyAsync,
  attentionWeights,
  attentionWeightsAsync,
  KeyValueCache,
  linear,
  linearAsync,
  linearAttention,
  linearAttentionAsync,
  LinearWeights,
  mergeAttention,
  mergeAttentionAsync,
  MultiHeadAttention,
  receivedWeight,
  receivedWeightAsync,
  rotaryEmbedding,
  rotaryEmbeddingAsync,
  scaledDotProductAttention,
  scaledDotProductAttentionAsync,
  softmax,
  softmaxAsync,
  topKeys,
  topKeysAsync,
  variableLengthAttention,
  variableLengthAttentionAsync,
} from 'wasm-attention';
import type { AsyncOptions, CacheRing, CacheStorage, Runtime, Tensor } from 'wasm-attention';
import type { Random } from '../reference/random.js';

export function randomTensor(runtime: Runtime, random: Random, ...shape: number[]): Tensor {
  const size = shape.reduce((product, length) => product * length, 1);
  return runtime.tensor(random.array(size, 'normal'), shape);
}

/** Hashes of everything in a result: views of memory that grows do not last. */
export const bits = (result: unknown): unknown => {
  if (ArrayBuffer.isView(result))
    return createHash('md5')
      .update(Buffer.from(result.buffer, result.byteOffset, result.byteLength))
      .digest('hex');
  if (result && typeof result === 'object' && 'data' in result) return bits(result.data);
  return Object.values(result as object)
    .filter((part) => part !== undefined)
    .map(bits);
};

/** Each operation in both forms, over the same inputs, `length` tokens long. */
export function operations(
  runtime: Runtime,
  random: Random,
  { batch = 2, length = 200 } = {},
): Record<string, readonly [() => unknown, (options: AsyncOptions) => Promise<unknown>]> {
  const tensor = (...shape: number[]) => randomTensor(runtime, random, ...shape);
  const keys = length + 100;
  const [q, k, v] = [
    tensor(batch, 4, length, 24),
    tensor(batch, 2, keys, 24),
    tensor(batch, 2, keys, 20),
  ] as const;
  const [x, weights] = [tensor(length, 50), new LinearWeights(runtime, tensor(30, 50), tensor(30))] as const;
  const options = { causal: 'lower-right', window: { left: 100 } } as const;
  const all = {
    causal: 'lower-right',
    returnWeights: true,
    returnLogSumExp: true,
    returnStatistics: true,
  } as const;
  const across = [
    tensor(batch, 4, 24, length).transpose(2, 3),
    tensor(batch, 2, 24, keys).transpose(2, 3),
    tensor(keys, 20, 2, batch).transpose(0, 3).transpose(1, 2).transpose(2, 3),
  ] as const;
  const kept = (...shape: number[]) =>
    runtime.tensor(
      Uint8Array.from(tensor(...shape).data as Float32Array, (x) => (x > -1 ? 1 : 0)),
      shape,
    );
  const masked = {
    mask: [
      kept(4, length, keys),
      kept(keys),
      kept(batch, 1, length, 1),
      tensor(keys, length).transpose(0, 1),
    ],
    bias: tensor(4, 1, keys),
  };
  const packed = [tensor(length, 4, 16), tensor(length, 2, 16), tensor(length, 2, 16)] as const;
  const sequences = { cumulativeQueries: [0, length >> 2, length >> 2, length], causal: true };
  const parts = [0, keys >> 1].map((from) =>
    scaledDotProductAttention(q, k.slice(2, from, from + (keys >> 1)), v.slice(2, from, from + (keys >> 1)), {
      returnLogSumExp: true,
    }),
  );
  const layer = new MultiHeadAttention(runtime, { embedDim: 48, numHeads: 4, causal: true, rotary: {} }).load(
    {
      in_proj_weight: tensor(144, 48),
      in_proj_bias: tensor(144),
      'out_proj.weight': tensor(48, 48),
      'out_proj.bias': tensor(48),
    },
  );
  const tokens = tensor(batch, length, 48);
  const cacheOf = (storage: CacheStorage, ring?: CacheRing) => {
    const sizes = { batch, numKeyValueHeads: 2, headDim: 24, valueHeadDim: 20, storage, rotary: {} };
    const cache = new KeyValueCache(runtime, ring ? { ...sizes, ring } : { ...sizes, capacity: keys });
    cache.append(0, k, v);
    return cache;
  };
  const caches = {
    cache: cacheOf('float32'),
    'int8 cache': cacheOf('int8'),
    'ring of halves': cacheOf('float16', { sinkTokens: 3, window: 50 }),
  };
  return {
    attention: [
      () => scaledDotProductAttention(q, k, v, all),
      (o) => scaledDotProductAttentionAsync(q, k, v, { ...all, ...o }),
    ],
    'attention across strides': [
      () => scaledDotProductAttention(...across),
      (o) => scaledDotProductAttentionAsync(...across, o),
    ],
    'attention with masks': [
      () => scaledDotProductAttention(q, k, v, masked),
      (o) => scaledDotProductAttentionAsync(q, k, v, { ...masked, ...o }),
    ],
    'rotary embedding': [
      () => rotaryEmbedding(across[0], { offset: 3 }),
      (o) => rotaryEmbeddingAsync(across[0], { offset: 3, ...o }),
    ],
    weights: [
      () => attentionWeights(q, k, options),
      (o) => attentionWeightsAsync(q, k, { ...options, ...o }),
    ],
    received: [() => receivedWeight(q, k, options), (o) => receivedWeightAsync(q, k, { ...options, ...o })],
    entropy: [
      () => attentionEntropy(q, k, options),
      (o) => attentionEntropyAsync(q, k, { ...options, ...o }),
    ],
    'top keys': [() => topKeys(q, k, 3, options), (o) => topKeysAsync(q, k, 3, { ...options, ...o })],
    linear: [() => linear(x, weights), (o) => linearAsync(x, weights, o)],
    softmax: [() => softmax(q), (o) => softmaxAsync(q, o)],
    'softmax of another axis': [() => softmax(q, { axis: 1 }), (o) => softmaxAsync(q, { axis: 1, ...o })],
    'linear attention': [() => linearAttention(q, k, v), (o) => linearAttentionAsync(q, k, v, o)],
    'variable length': [
      () => variableLengthAttention(...packed, sequences),
      (o) => variableLengthAttentionAsync(...packed, { ...sequences, ...o }),
    ],
    ...Object.fromEntries(
      Object.entries(caches).map(([name, cache]) => [
        name,
        [() => cache.attend(0, q), (o: AsyncOptions) => cache.attendAsync(0, q, o)] as const,
      ]),
    ),
    merge: [() => mergeAttention(parts), (o) => mergeAttentionAsync(parts, o)],
    layer: [
      () => layer.forward(tokens, { averageWeights: true, returnLogSumExp: true }),
      (o) => layer.forwardAsync(tokens, { averageWeights: true, returnLogSumExp: true, ...o }),
    ],
  };
}
