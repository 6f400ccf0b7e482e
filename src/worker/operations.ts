// What a worker can be asked to do: each operation of the public API by name, with its inputs by name.

import {
  attentionEntropyAsync,
  attentionWeightsAsync,
  KeyValueCache,
  linearAsync,
  linearAttentionAsync,
  LinearWeights,
  mergeAttentionAsync,
  MultiHeadAttention,
  receivedWeightAsync,
  rotaryEmbedding,
  scaledDotProductAttentionAsync,
  softmaxAsync,
  Tensor,
  topKeysAsync,
  variableLengthAttentionAsync,
} from '../index.js';
import { measurePeak } from '../benchmark/rates.js';
import type { DataType, Runtime, TensorData } from '../index.js';
import { APPEND_NAMES, CACHE_ATTEND_NAMES, CACHE_NAMES } from '../cache/key-value-cache.js';
import { FORWARD_NAMES, LAYER_NAMES } from '../layers/multi-head-attention.js';
import { LINEAR_ATTENTION_NAMES } from '../ops/attention/linear-attention.js';
import { SCALED_DOT_PRODUCT_ATTENTION_NAMES } from '../ops/attention/options.js';
import { RECEIVED_WEIGHT_NAMES, SUMMARY_NAMES } from '../ops/attention/summaries.js';
import { VARIABLE_LENGTH_NAMES } from '../ops/attention/variable-length.js';
import { WEIGHTS_NAMES } from '../ops/attention/weights.js';
import { LINEAR_NAMES } from '../ops/linear/linear.js';
import { SOFTMAX_NAMES } from '../ops/rows/softmax.js';
import { ROTARY_EMBEDDING_NAMES } from '../ops/rotary/rotary.js';
import type { Names } from '../runtime/checks.js';
import { invalidArgument } from '../runtime/errors.js';
import { isTensor } from '../runtime/tensor.js';

type InputName =
  | ('data' | 'shape' | 'dtype' | 'tensor' | 'values' | 'pack')
  | ('query' | 'key' | 'value' | 'count' | 'parts' | 'input' | 'weights')
  | ('weight' | 'bias' | 'stateDict' | 'prefix' | 'x')
  | ('layer' | 'cache' | 'keys' | 'rows' | 'length' | 'snapshot');

/** A call as the worker sees it. Whatever the inputs are (hence `never`), the operations of the package check them. */
export interface Call {
  readonly runtime: Runtime;
  /** How many things the worker holds for handles outside. */
  readonly handles: number;
  readonly inputs: Record<InputName, never>;
  /** The operation's options, as they were given. */
  readonly own: never;
  /** Those, and `AsyncOptions`. */
  readonly watched: never;
  /** Those, and `runtime`. */
  readonly options: never;
}

const operations: Record<string, (call: Call) => unknown> = {
  tensor: ({ runtime, inputs: { data, shape } }) => runtime.tensor(data, shape),
  empty: ({ runtime, inputs: { shape, dtype } }) => runtime.empty(shape, dtype),
  set: ({ inputs: { tensor, values } }) => void tensorOf(tensor).set((values as { data: TensorData }).data),
  read: ({ inputs: { tensor } }) => tensorOf(tensor).data.slice(),
  loadPack: async ({ runtime, inputs: { pack } }) => {
    await runtime.load(pack);
    return runtime.info;
  },
  measurePeak: ({ runtime, inputs: { count } }) => measurePeak(runtime, count),
  memory: ({ runtime, handles }) => ({ ...runtime.memory, handles }),

  scaledDotProductAttention: ({ inputs: { query, key, value }, options }) =>
    scaledDotProductAttentionAsync(query, key, value, options),
  attentionWeights: ({ inputs: { query, key }, options }) => attentionWeightsAsync(query, key, options),
  attentionEntropy: ({ inputs: { query, key }, options }) => attentionEntropyAsync(query, key, options),
  receivedWeight: ({ inputs: { query, key }, options }) => receivedWeightAsync(query, key, options),
  topKeys: ({ inputs: { query, key, count }, options }) => topKeysAsync(query, key, count, options),
  mergeAttention: ({ inputs: { parts }, options }) => mergeAttentionAsync(parts, options),
  linearAttention: ({ inputs: { query, key, value }, options }) =>
    linearAttentionAsync(query, key, value, options),
  variableLengthAttention: ({ inputs: { query, key, value }, options }) =>
    variableLengthAttentionAsync(query, key, value, options),
  linear: ({ inputs: { input, weights }, watched }) => linearAsync(input, weights, watched),
  softmax: ({ inputs: { input }, options }) => softmaxAsync(input, options),
  rotaryEmbedding: ({ runtime, inputs: { input }, own }) =>
    rotaryEmbedding(input, { ...(own as object), runtime }),

  linearWeights: ({ runtime, inputs: { weight, bias } }) => new LinearWeights(runtime, weight, bias),
  multiHeadAttention: ({ runtime, own }) => new MultiHeadAttention(runtime, own),
  load: ({ inputs: { layer, stateDict, prefix } }) =>
    only(MultiHeadAttention, 'layer', layer).load(stateDict, prefix).leftAside,
  forward: ({ inputs: { layer, x }, watched }) =>
    only(MultiHeadAttention, 'layer', layer).forwardAsync(x, watched),

  keyValueCache: ({ runtime, own }) => new KeyValueCache(runtime, own),
  cacheLengths: ({ inputs: { cache, layer } }) => cacheOf(cache).lengths(layer),
  cacheBytes: ({ inputs: { cache } }) => cacheOf(cache).bytes,
  cacheAppend: ({ inputs: { cache, layer, keys, values }, watched }) =>
    cacheOf(cache).appendAsync(layer, keys, values, watched),
  cacheAttend: ({ inputs: { cache, layer, query }, watched }) =>
    cacheOf(cache).attendAsync(layer, query, watched),
  cacheFork: ({ inputs: { cache, rows } }) => cacheOf(cache).fork(rows),
  cacheReorder: ({ inputs: { cache, rows } }) => cacheOf(cache).reorder(rows),
  cacheCrop: ({ inputs: { cache, length } }) => cacheOf(cache).crop(length),
  cacheReset: ({ inputs: { cache } }) => cacheOf(cache).reset(),
  cacheSnapshot: ({ inputs: { cache } }) => cacheOf(cache).snapshot(),
  cacheRestore: ({ inputs: { cache, snapshot } }) => cacheOf(cache).restore(snapshot),
};

/** Names of the options of each operation that has any. Without `runtime`: here that is the worker's. */
export const optionNames: Readonly<Record<string, Names>> = Object.fromEntries(
  Object.entries<Names>({
    scaledDotProductAttention: SCALED_DOT_PRODUCT_ATTENTION_NAMES,
    attentionWeights: WEIGHTS_NAMES,
    attentionEntropy: SUMMARY_NAMES,
    receivedWeight: RECEIVED_WEIGHT_NAMES,
    topKeys: SUMMARY_NAMES,
    linearAttention: LINEAR_ATTENTION_NAMES,
    variableLengthAttention: VARIABLE_LENGTH_NAMES,
    linear: LINEAR_NAMES,
    softmax: SOFTMAX_NAMES,
    rotaryEmbedding: ROTARY_EMBEDDING_NAMES,
    multiHeadAttention: LAYER_NAMES,
    forward: FORWARD_NAMES,
    keyValueCache: CACHE_NAMES,
    cacheAppend: APPEND_NAMES,
    cacheAttend: CACHE_ATTEND_NAMES,
  }).map(([operation, { runtime: _, ...names }]) => [operation, names]),
);

function tensorOf(value: unknown): Tensor {
  return only(Tensor<DataType>, 'tensor', value);
}

function cacheOf(value: unknown): KeyValueCache {
  return only(KeyValueCache, 'cache', value);
}

/** @throws AttentionError INVALID_ARGUMENT if there is no such operation */
export function findOperation(name: unknown): (call: Call) => unknown {
  if (typeof name === 'string' && Object.hasOwn(operations, name)) return operations[name]!;
  throw invalidArgument('operation', `one of ${Object.keys(operations).join(', ')}`, name);
}

function only<T>(kind: abstract new (...args: never[]) => T, argument: string, value: unknown): T {
  if (value instanceof kind) return value;
  throw invalidArgument(argument, `a ${kind.name}`, value);
}

/** What lives in the worker and is known outside by a handle, with what the handle says of it; undefined for the rest. */
export function propertiesOf(value: unknown): Record<string, unknown> | undefined {
  if (isTensor(value)) return { shape: value.shape, dtype: value.dtype };
  if (value instanceof LinearWeights) {
    return { inFeatures: value.inFeatures, outFeatures: value.outFeatures };
  }
  if (value instanceof MultiHeadAttention) {
    return { layout: value.layout, parameterCount: value.parameterCount };
  }
  if (value instanceof KeyValueCache) return { layout: value.layout };
  return undefined;
}
