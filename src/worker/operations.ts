// What a worker can be asked to do, by name. Operations of the package follow from their descriptions (runtime/operation.ts): a
// message names their inputs and options. What else there is (tensors, layers, caches) is a function of a message.

import { KeyValueCache, LinearWeights, MultiHeadAttention, Tensor } from '../index.js';
import type { AsyncOptions, DataType, Runtime, TensorData } from '../index.js';
import { measurePeak } from '../benchmark/rates.js';
import { appendOperation, CACHE_NAMES, cacheAttendOperation } from '../cache/key-value-cache.js';
import { forwardOperation, LAYER_NAMES } from '../layers/multi-head-attention.js';
import { linearAttentionOperation } from '../ops/attention/linear-attention.js';
import { mergeOperation } from '../ops/attention/merge.js';
import { AttentionRecord } from '../ops/attention/record.js';
import { attentionOperation } from '../ops/attention/scaled-dot-product-attention.js';
import { entropyOperation, receivedWeightOperation, topKeysOperation } from '../ops/attention/summaries.js';
import { variableLengthOperation } from '../ops/attention/variable-length.js';
import { weightsOperation } from '../ops/attention/weights.js';
import { linearOperation } from '../ops/linear/linear.js';
import { rotaryEmbeddingOperation } from '../ops/rotary/rotary.js';
import { softmaxOperation } from '../ops/rows/softmax.js';
import { callAsync } from '../runtime/call.js';
import { checkInstance } from '../runtime/checks.js';
import type { Names } from '../runtime/checks.js';
import { invalidArgument } from '../runtime/errors.js';
import type { AnyOperation, Operation } from '../runtime/operation.js';
import type { KernelPack } from '../runtime/packs.js';
import { isTensor } from '../runtime/tensor.js';
import type { Signature } from './protocol.js';

/** A call as the worker sees it. Whatever the inputs are (hence `never`), the operations of the package check them. */
export interface Call {
  readonly runtime: Runtime;
  /** How many things the worker holds for handles outside. */
  readonly handles: number;
  readonly inputs: Record<string, never>;
  /** The operation's options, as they were given. */
  readonly options: never;
  /** Those of asynchronous forms. */
  readonly watched: Pick<AsyncOptions, 'signal' | 'onProgress'>;
}

/** Everything that a worker knows. */
export interface Repertoire {
  /** Operations, by the names of their functions. */
  readonly operations: Readonly<Record<string, AnyOperation>>;
  /** What else it does. */
  readonly actions: Readonly<Record<string, Action>>;
  /** What its handles say; undefined for what has none. */
  readonly describe: (value: unknown) => Described | undefined;
  /** Kernels that it brings beside those of the package. */
  readonly packs?: readonly KernelPack[];
}

/** Operations of the package, by the names of their functions. */
const operations: Readonly<Record<string, AnyOperation>> = {
  scaledDotProductAttention: attentionOperation,
  attentionWeights: weightsOperation,
  attentionEntropy: entropyOperation,
  receivedWeight: receivedWeightOperation,
  topKeys: topKeysOperation,
  mergeAttention: mergeOperation,
  linearAttention: linearAttentionOperation,
  variableLengthAttention: variableLengthOperation,
  linear: linearOperation,
  softmax: softmaxOperation,
  rotaryEmbedding: rotaryEmbeddingOperation,
  'MultiHeadAttention.forward': forwardOperation,
  'KeyValueCache.append': appendOperation,
  'KeyValueCache.attend': cacheAttendOperation,
};

/** What else a worker does: inputs and options by their names, and how. */
export interface Action extends Signature {
  readonly run: (call: Call) => unknown;
  /** True for what waits for others, such as servers: it is begun at once, and no other call waits for it. */
  readonly beside?: boolean;
}

export function action(inputs: string, run: (call: Call) => unknown, options: Names = {}): Action {
  return { inputs: inputs ? inputs.split(' ') : [], options, run };
}

const actions: Readonly<Record<string, Action>> = {
  tensor: action('data shape', ({ runtime, inputs: { data, shape } }) => runtime.tensor(data!, shape)),
  empty: action('shape dtype', ({ runtime, inputs: { shape, dtype } }) => runtime.empty(shape!, dtype)),
  'Tensor.set': action(
    'tensor values',
    ({ inputs: { tensor, values } }) =>
      void tensorOf(tensor).set((values as unknown as { data: TensorData }).data),
  ),
  'Tensor.read': action('tensor', ({ inputs: { tensor } }) => tensorOf(tensor).data.slice()),
  'Runtime.load': action('pack', async ({ runtime, inputs: { pack } }) => {
    await runtime.load(pack!);
    return runtime.info;
  }),
  measurePeak: action('runs', ({ runtime, inputs: { runs } }) => measurePeak(runtime, runs)),
  memory: action('', ({ runtime, handles }) => ({ ...runtime.memory, handles })),

  linearWeights: action(
    'weight bias',
    ({ runtime, inputs: { weight, bias } }) => new LinearWeights(runtime, weight!, bias),
  ),
  multiHeadAttention: action(
    '',
    ({ runtime, options }) => new MultiHeadAttention(runtime, options),
    LAYER_NAMES,
  ),
  'MultiHeadAttention.load': action(
    'layer stateDict prefix',
    ({ inputs: { layer, stateDict, prefix } }) =>
      checkInstance('layer', layer, MultiHeadAttention).load(stateDict!, prefix).leftAside,
  ),

  keyValueCache: action('', ({ runtime, options }) => new KeyValueCache(runtime, options), CACHE_NAMES),
  'KeyValueCache.lengths': action('cache layer', ({ inputs: { cache, layer } }) =>
    cacheOf(cache).lengths(layer),
  ),
  'KeyValueCache.bytes': action('cache', ({ inputs: { cache } }) => cacheOf(cache).bytes),
  'KeyValueCache.fork': action('cache rows', ({ inputs: { cache, rows } }) => cacheOf(cache).fork(rows)),
  'KeyValueCache.reorder': action('cache rows', ({ inputs: { cache, rows } }) =>
    cacheOf(cache).reorder(rows!),
  ),
  'KeyValueCache.crop': action('cache length', ({ inputs: { cache, length } }) =>
    cacheOf(cache).crop(length!),
  ),
  'KeyValueCache.reset': action('cache', ({ inputs: { cache } }) => cacheOf(cache).reset()),
  'KeyValueCache.snapshot': action('cache', ({ inputs: { cache } }) => cacheOf(cache).snapshot()),
  'KeyValueCache.restore': action('cache snapshot', ({ inputs: { cache, snapshot } }) =>
    cacheOf(cache).restore(snapshot!),
  ),
};

/** What the program outside has to know to call them: without `runtime`, which here is the worker's. */
export function signaturesOf({ operations, actions }: Repertoire): Readonly<Record<string, Signature>> {
  return Object.fromEntries(
    Object.entries<Signature>({ ...operations, ...actions }).map(
      ([
        name,
        {
          inputs,
          options: { runtime: _, ...options },
        },
      ]) => [name, { inputs, options }],
    ),
  );
}

function tensorOf(value: unknown): Tensor {
  return checkInstance('tensor', value, Tensor<DataType>);
}

function cacheOf(value: unknown): KeyValueCache {
  return checkInstance('cache', value, KeyValueCache);
}

/**
 * Does what a message asks for.
 *
 * @throws AttentionError INVALID_ARGUMENT if there is no such operation
 */
export function perform({ operations, actions }: Repertoire, name: unknown, call: Call): unknown {
  if (typeof name === 'string' && Object.hasOwn(operations, name)) {
    const { runtime, inputs, options, watched } = call;
    const operation = operations[name] as unknown as Operation<readonly unknown[], object, unknown>;
    const given = operation.inputs.map((input) => inputs[input]);
    const own = 'runtime' in operation.options ? { runtime } : {};
    return callAsync(operation, given, { ...(options as object), ...watched, ...own });
  }
  if (typeof name === 'string' && Object.hasOwn(actions, name)) return actions[name]!.run(call);
  const known = Object.keys({ ...operations, ...actions }).join(', ');
  throw invalidArgument('operation', `one of ${known}`, name);
}

/** What lives in the worker and is known outside by a handle: its kind, and what the handle says of it. */
export interface Described {
  readonly kind: string;
  readonly properties: Record<string, unknown>;
}

function describe(value: unknown): Described | undefined {
  if (isTensor(value)) return { kind: 'tensor', properties: { shape: value.shape, dtype: value.dtype } };
  if (value instanceof LinearWeights) {
    const { inFeatures, outFeatures } = value;
    return { kind: 'linearWeights', properties: { inFeatures, outFeatures } };
  }
  if (value instanceof MultiHeadAttention) {
    const { layout, parameterCount } = value;
    return { kind: 'multiHeadAttention', properties: { layout, parameterCount } };
  }
  if (value instanceof KeyValueCache) return { kind: 'keyValueCache', properties: { layout: value.layout } };
  if (value instanceof AttentionRecord) return { kind: 'record', properties: { sizes: value.sizes } };
  return undefined;
}

/** What the package itself does. */
export const repertoire: Repertoire = { operations, actions, describe };
