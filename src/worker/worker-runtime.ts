// A runtime in a worker: the operations and layers of the package, as promises over handles.

import type {
  AppendOptions,
  Asked,
  AttentionRecord,
  AttentionWeightsOptions,
  CacheAttendOptions,
  Either,
  ForwardOptions,
  IntegerList,
  KeyValueCache,
  KeyValueCacheOptions,
  LinearAttentionOptions,
  LinearOptions,
  LinearWeights,
  Mask,
  MemoryStatistics,
  MultiHeadAttention,
  MultiHeadAttentionOptions,
  PartialAttention,
  RecordSummaryOptions,
  RecordWeightsOptions,
  Returned,
  ReturnedRecord,
  RotaryEmbeddingOptions,
  RuntimeInfo,
  RuntimeOptions,
  ScaledDotProductAttentionOptions,
  SoftmaxOptions,
  StateDictTensor,
  SummaryOptions,
  Tensor,
  TensorLike,
  TopKeys,
  VariableLengthOptions,
} from '../index.js';
import type { ArrayInput, DataType } from '../index.js';
import { checkOptions } from '../runtime/checks.js';
import { RUNTIME_NAMES } from '../runtime/runtime-options.js';
import { checkPack, checkPacks } from '../runtime/packs.js';
import type { KernelPack } from '../runtime/packs.js';
import { disposeSymbol } from '../runtime/disposable.js';
import { tidyWith } from '../runtime/scope.js';
import { contentOf } from '../runtime/wasm-source.js';
import { WorkerAttentionRecord, WorkerHandle, WorkerTensor } from './handle.js';
import { Link } from './link.js';
import type { CallOptions, HandleClasses } from './link.js';
import { WorkerScope } from './scope.js';
import type { WorkerSource } from '../platform/workers.js';

/** Options of `createRuntime`, and where the worker comes from. */
export interface WorkerRuntimeOptions extends Omit<RuntimeOptions, 'reportLeaks'> {
  /**
   * Where the worker comes from: the address of the file `wasm-attention/worker`, or a function that starts a worker on
   * it (a Web Worker, or one of node:worker_threads). Default: the source carried in this module, through a blob: address
   * or worker_threads.
   */
  readonly worker?: WorkerSource | undefined;
}

/** A type of the sync API with handles in the places of tensors. */
export type Remote<T> =
  T extends Tensor<infer Type>
    ? WorkerTensor<Type>
    : T extends KeyValueCache
      ? WorkerKeyValueCache
      : T extends LinearWeights
        ? WorkerLinearWeights
        : T extends AttentionRecord
          ? WorkerAttentionRecord
          : T extends Mask | ArrayBufferView | string | number | boolean | bigint | null | undefined
            ? T
            : { [K in keyof T]: Remote<T[K]> };

/** What operations accept: a handle, or anything with data and a shape, which is copied for the call. */
export type WorkerInput = Remote<TensorLike>;

/** An operation's options, and those of every call. */
export type WorkerOptions<O> = Remote<Omit<O, 'runtime' | keyof CallOptions>> & CallOptions;

/** Options with which arrays are given away. */
export type TransferOptions = Pick<CallOptions, 'transfer'>;

/** Options with which a tensor is made. */
export type TensorOptions = Pick<CallOptions, 'transfer' | 'scope'>;

/**
 * Starts a worker, by default on the script, and a runtime in it.
 *
 * @param kind what the runtime is outside, and the classes of its handles
 */
export async function openRuntime<Kind extends WorkerRuntime>(
  options: WorkerRuntimeOptions,
  script: string,
  kind: new (link: Link) => Kind,
  classes: HandleClasses,
): Promise<Kind> {
  checkOptions(options, RUNTIME_NAMES, { worker: 1 });
  const { worker, packs = [], ...runtimeOptions } = options;
  checkPacks(packs);
  const link = await Link.open(worker, script, runtimeOptions, classes);
  try {
    const runtime = new kind(link);
    for (const pack of packs) await runtime.load(pack);
    return runtime;
  } catch (error) {
    link.dispose();
    throw error;
  }
}

interface AttentionTensors {
  readonly output: WorkerTensor<'float32'>;
  readonly weights?: WorkerTensor<'float32'>;
  readonly logSumExp?: WorkerTensor<'float32'>;
  readonly statistics?: WorkerTensor<'float32'>;
  readonly record?: WorkerAttentionRecord;
}

type WorkerReturned<Wanted extends Asked> = Remote<Returned<Wanted>>;

/** Options of which the types tell what is returned. */
type Returning<Options, Name extends keyof Options> = WorkerOptions<Options> & Pick<Options, Name>;

/** What looks into an attention: by q and k with the options it had, or by its record. */
export interface LookInto<More extends unknown[], Options, RecordOptions, Result = WorkerTensor<'float32'>> {
  (
    query: WorkerInput,
    key: WorkerInput,
    ...more: [...More, options?: WorkerOptions<Options>]
  ): Promise<Result>;
  (
    record: WorkerAttentionRecord,
    ...more: [...More, options?: WorkerOptions<RecordOptions>]
  ): Promise<Result>;
}

/**
 * What attention and layers return. Disposing it disposes its tensors (but not an `output` that the caller gave).
 *
 * @example
 * ```js
 * const result = await remote.scaledDotProductAttention(input, input, input, { returnWeights: true });
 * result.weights.shape; // [1, 2, 5, 5]
 * result.dispose();
 * ```
 */
export class WorkerAttentionResult<
  Weights extends Asked = Asked,
  LogSumExp extends Asked = Asked,
  Statistics extends Asked = Asked,
  Recorded extends Asked = Asked,
> {
  /** [batch, heads, queries, valueHeadDim], or a layer's [batch, queries, embedDim]. */
  readonly output: WorkerTensor<'float32'>;
  /** [batch, heads, queries, keys], or [batch, queries, keys] averaged; where asked for. */
  readonly weights: WorkerReturned<Weights>;
  /** [batch, heads, queries], natural logarithm; where asked for. */
  readonly logSumExp: WorkerReturned<LogSumExp>;
  /** [batch, heads, queries, 2], for `attentionWeights`, `attentionEntropy`, ...; where asked for. */
  readonly statistics: WorkerReturned<Statistics>;
  /** The attention itself, to look into; where asked for. */
  readonly record: Remote<ReturnedRecord<Recorded>>;
  readonly #ownsOutput: boolean;

  /** @internal */
  constructor(tensors: AttentionTensors, given: unknown) {
    this.output = tensors.output;
    this.weights = tensors.weights as WorkerReturned<Weights>;
    this.logSumExp = tensors.logSumExp as WorkerReturned<LogSumExp>;
    this.statistics = tensors.statistics as WorkerReturned<Statistics>;
    this.record = tensors.record as Remote<ReturnedRecord<Recorded>>;
    this.#ownsOutput = tensors.output !== given;
  }

  /** Frees the tensors, after the calls made before. Safe to repeat. */
  dispose(): void {
    if (this.#ownsOutput) this.output.dispose();
    this.weights?.dispose();
    this.logSumExp?.dispose();
    this.statistics?.dispose();
    this.record?.dispose();
  }

  /** What `using` calls: `dispose`. */
  [disposeSymbol](): void {
    this.dispose();
  }
}

/** Calls an operation. What has an output becomes a result, whose tensors can be disposed together. */
async function perform<T>(link: Link, operation: string, ...given: unknown[]): Promise<T> {
  const { inputs } = link.signatures[operation]!;
  // A record stands in the places of query and key.
  if (given[0] instanceof WorkerAttentionRecord && inputs[1] === 'key') given.splice(1, 0, undefined);
  const value = await link.call<AttentionTensors | undefined>(operation, ...given);
  if (value?.output === undefined) return value as T;
  const { output } = (given[inputs.length] ?? {}) as { readonly output?: unknown };
  return new WorkerAttentionResult(value, output) as T;
}

/**
 * Packed weights of a linear layer; made by `linearWeights`.
 *
 * @example
 * ```js
 * const weights = await remote.linearWeights({ data: [1, 0, 0, 1, 1, 1], shape: [3, 2] });
 * const y = await remote.linear({ data: [2, 5], shape: [1, 2] }, weights);
 * await y.read(); // [2, 5, 7]
 * ```
 */
export class WorkerLinearWeights extends WorkerHandle {
  /** Channels of the input. */
  readonly inFeatures: number;
  /** Channels of the output. */
  readonly outFeatures: number;

  /** @internal */
  constructor(link: Link, number: number, properties: Record<string, unknown>) {
    super(link, number);
    this.inFeatures = properties['inFeatures'] as number;
    this.outFeatures = properties['outFeatures'] as number;
  }
}

/**
 * A `MultiHeadAttention` in the worker; made by `multiHeadAttention`.
 *
 * @example
 * ```js
 * const layer = await remote.multiHeadAttention({ embedDim: 8, numHeads: 2 });
 * await layer.load(stateDict);
 * const { output } = await layer.forward({ data: new Float32Array(40), shape: [1, 5, 8] });
 * output.shape; // [1, 5, 8]
 * ```
 */
export class WorkerMultiHeadAttention extends WorkerHandle {
  /** The sizes, defaults filled in. */
  readonly layout: MultiHeadAttention['layout'];
  /** Number of weights and biases. */
  readonly parameterCount: number;
  #leftAside: readonly string[] = [];

  /** @internal */
  constructor(link: Link, number: number, properties: Record<string, unknown>) {
    super(link, number);
    this.layout = properties['layout'] as MultiHeadAttention['layout'];
    this.parameterCount = properties['parameterCount'] as number;
  }

  /** See `MultiHeadAttention.load`. Of the state dict only what is under the prefix crosses to the worker. */
  async load(
    stateDict: Readonly<Record<string, StateDictTensor>>,
    prefix?: string,
    options: TransferOptions = {},
  ): Promise<this> {
    const part = partOf(stateDict, prefix);
    this.#leftAside = await this.link.call('MultiHeadAttention.load', this, part, prefix, options);
    return this;
  }

  /** See `MultiHeadAttention.leftAside`. */
  get leftAside(): readonly string[] {
    return this.#leftAside;
  }

  /** See `MultiHeadAttention.forward`. */
  forward<
    Weights extends Asked = undefined,
    Averaged extends Asked = undefined,
    LogSumExp extends Asked = undefined,
    Recorded extends Asked = undefined,
  >(
    x: WorkerInput,
    options?: Returning<
      ForwardOptions<Weights, Averaged, LogSumExp, Recorded>,
      'returnWeights' | 'averageWeights' | 'returnLogSumExp' | 'returnRecord'
    >,
  ): Promise<WorkerAttentionResult<Either<Weights, Averaged>, LogSumExp, undefined, Recorded>> {
    return perform(this.link, 'MultiHeadAttention.forward', this, x, options);
  }
}

/**
 * A `KeyValueCache` in the worker; made by `keyValueCache`. Methods mean what those of the same names do there.
 *
 * @example
 * ```js
 * const cache = await remote.keyValueCache({ numKeyValueHeads: 2, headDim: 4 });
 * await cache.append(0, input, input);
 * await cache.lengths(); // [5]
 * ```
 */
export class WorkerKeyValueCache extends WorkerHandle {
  /** The sizes, defaults filled in. */
  readonly layout: KeyValueCache['layout'];

  /** @internal */
  constructor(link: Link, number: number, properties: Record<string, unknown>) {
    super(link, number);
    this.layout = properties['layout'] as KeyValueCache['layout'];
  }

  /** Tokens of each sequence, in a layer (default the first). */
  lengths(layer = 0): Promise<number[]> {
    return this.#call('lengths', layer);
  }

  /** Bytes of the pages that this cache and its forks hold. */
  bytes(): Promise<number> {
    return this.#call('bytes');
  }

  /** See `KeyValueCache.append`. */
  append(
    layer: number,
    keys: WorkerInput,
    values: WorkerInput,
    options?: WorkerOptions<AppendOptions>,
  ): Promise<void> {
    return this.#call('append', layer, keys, values, options);
  }

  /** See `KeyValueCache.attend`. */
  attend<
    Weights extends Asked = undefined,
    LogSumExp extends Asked = undefined,
    Recorded extends Asked = undefined,
  >(
    layer: number,
    query: WorkerInput,
    options?: Returning<
      CacheAttendOptions<Weights, LogSumExp, Recorded>,
      'returnWeights' | 'returnLogSumExp' | 'returnRecord'
    >,
  ): Promise<WorkerAttentionResult<Weights, LogSumExp, undefined, Recorded>> {
    return this.#call('attend', layer, query, options);
  }

  /** See `KeyValueCache.fork`. */
  fork(rows?: IntegerList): Promise<WorkerKeyValueCache> {
    return this.#call('fork', rows);
  }

  /** See `KeyValueCache.reorder`. */
  reorder(rows: IntegerList): Promise<void> {
    return this.#call('reorder', rows);
  }

  /** See `KeyValueCache.crop`. */
  crop(length: number | IntegerList): Promise<void> {
    return this.#call('crop', length);
  }

  /** See `KeyValueCache.reset`. */
  reset(): Promise<void> {
    return this.#call('reset');
  }

  /** See `KeyValueCache.snapshot`. */
  snapshot(): Promise<ReturnType<KeyValueCache['snapshot']>> {
    return this.#call('snapshot');
  }

  /** See `KeyValueCache.restore`. */
  restore(snapshot: Uint8Array): Promise<void> {
    return this.#call('restore', snapshot);
  }

  #call<T>(method: string, ...given: readonly unknown[]): Promise<T> {
    return perform(this.link, `KeyValueCache.${method}`, this, ...given);
  }
}

export const handleClasses: HandleClasses = {
  tensor: WorkerTensor,
  linearWeights: WorkerLinearWeights,
  multiHeadAttention: WorkerMultiHeadAttention,
  keyValueCache: WorkerKeyValueCache,
  record: WorkerAttentionRecord,
};

/** What is under a prefix. */
export function partOf(stateDict: unknown, prefix: unknown): unknown {
  if (typeof stateDict !== 'object' || stateDict === null) return stateDict;
  const part = Object.create(null) as Record<string, unknown>;
  for (const [name, tensor] of Object.entries(stateDict)) {
    if (typeof prefix !== 'string' || name.startsWith(prefix)) part[name] = readable(tensor);
  }
  return part;
}

/** The tensor, or where its data cannot be read the reason in place of them: the layer may have no use for it. */
function readable(tensor: unknown): unknown {
  try {
    const { data, shape, dims, type } = tensor as StateDictTensor & { readonly type?: unknown };
    return typeof data === 'object' ? { data, shape: shape ?? dims, type } : tensor;
  } catch (error) {
    return { data: String((error as Error)?.message), shape: (tensor as StateDictTensor | null)?.shape };
  }
}

/**
 * The operations of the package, run in a worker; they mean what the functions of the same names do.
 *
 * @example
 * ```js
 * const query = await remote.tensor(input.data, input.shape); // stays in the worker
 * const { output } = await remote.scaledDotProductAttention(query, query, query);
 * await output.read(); // Float32Array
 * query.dispose();
 * ```
 */
export class WorkerRuntime {
  /** @internal */
  readonly link: Link;

  /** See `measurePeak` of `wasm-attention/benchmark`, whose pack it needs. */
  declare readonly measurePeak: (runs?: number) => Promise<number>;

  /** See `scaledDotProductAttention`. */
  declare readonly scaledDotProductAttention: <
    Weights extends Asked = undefined,
    LogSumExp extends Asked = undefined,
    Statistics extends Asked = undefined,
    Recorded extends Asked = undefined,
  >(
    query: WorkerInput,
    key: WorkerInput,
    value: WorkerInput,
    options?: Returning<
      ScaledDotProductAttentionOptions<Weights, LogSumExp, Statistics, Recorded>,
      'returnWeights' | 'returnLogSumExp' | 'returnStatistics' | 'returnRecord'
    >,
  ) => Promise<WorkerAttentionResult<Weights, LogSumExp, Statistics, Recorded>>;

  /** See `attentionWeights`. */
  declare readonly attentionWeights: LookInto<[], AttentionWeightsOptions, RecordWeightsOptions>;

  /** See `attentionEntropy`. */
  declare readonly attentionEntropy: LookInto<[], SummaryOptions, RecordSummaryOptions>;

  /** See `receivedWeight`. */
  declare readonly receivedWeight: LookInto<[], SummaryOptions, RecordSummaryOptions>;

  /** See `topKeys`. */
  declare readonly topKeys: LookInto<[count: number], SummaryOptions, RecordSummaryOptions, TopKeys>;

  /** See `mergeAttention`. */
  declare readonly mergeAttention: (
    parts: readonly Remote<PartialAttention>[],
    options?: CallOptions,
  ) => Promise<WorkerAttentionResult<undefined, true, undefined, undefined>>;

  /** See `linearAttention`. */
  declare readonly linearAttention: (
    query: WorkerInput,
    key: WorkerInput,
    value: WorkerInput,
    options?: WorkerOptions<LinearAttentionOptions>,
  ) => Promise<WorkerTensor<'float32'>>;

  /** See `variableLengthAttention`. */
  declare readonly variableLengthAttention: (
    query: WorkerInput,
    key: WorkerInput,
    value: WorkerInput,
    options: WorkerOptions<VariableLengthOptions>,
  ) => Promise<WorkerTensor<'float32'>>;

  /** See `linear`. */
  declare readonly linear: (
    input: WorkerInput,
    weights: WorkerLinearWeights,
    options?: WorkerOptions<LinearOptions>,
  ) => Promise<WorkerTensor<'float32'>>;

  /** See `softmax`. */
  declare readonly softmax: (
    input: WorkerInput,
    options?: WorkerOptions<SoftmaxOptions>,
  ) => Promise<WorkerTensor<'float32'>>;

  /** See `rotaryEmbedding`. */
  declare readonly rotaryEmbedding: (
    input: WorkerInput,
    options?: WorkerOptions<RotaryEmbeddingOptions>,
  ) => Promise<WorkerTensor<'float32'>>;

  /** See `LinearWeights`. */
  declare readonly linearWeights: (
    weight: WorkerInput,
    bias?: WorkerInput,
    options?: TransferOptions,
  ) => Promise<WorkerLinearWeights>;

  /** See `MultiHeadAttention`; then `load`, then `forward`. */
  declare readonly multiHeadAttention: (
    options: WorkerOptions<MultiHeadAttentionOptions>,
  ) => Promise<WorkerMultiHeadAttention>;

  /** See `KeyValueCache`. */
  declare readonly keyValueCache: (
    options: WorkerOptions<KeyValueCacheOptions>,
  ) => Promise<WorkerKeyValueCache>;

  /** @internal Use `createWorkerRuntime`. */
  constructor(link: Link) {
    this.link = link;
    // Each as the worker describes it. Names with a point are methods of handles.
    for (const name of Object.keys(link.signatures)) {
      if (name in this || name.includes('.')) continue;
      Object.assign(this, { [name]: (...given: unknown[]) => perform(link, name, ...given) });
    }
  }

  /** What the worker's runtime chose, and why. */
  get info(): RuntimeInfo {
    return this.link.info;
  }

  /** See `Runtime.load`. The pack's bytes, or its compiled module, are sent to the worker. */
  async load(pack: KernelPack): Promise<void> {
    const { name, wasm } = checkPack('pack', pack);
    const { build, packs } = this.info;
    if (packs.includes(name) && !this.disposed) return;
    const content = await contentOf({ pack: name, build }, wasm[build]);
    const sent = { name, wasm: { [build]: content } };
    this.link.info = await this.link.call('Runtime.load', sent);
  }

  /** True once disposed, or if the worker is gone. */
  get disposed(): boolean {
    return this.link.ended;
  }

  /** Bytes used, most ever used, and held in all; and how many handles are not disposed. */
  memory(): Promise<
    MemoryStatistics & {
      /** Tensors, layers and caches that are not disposed. */
      readonly handles: number;
    }
  > {
    return this.link.call('memory');
  }

  /**
   * Ends the worker. Calls that are waiting reject with DISPOSED. Safe to repeat. A worker without waiting calls does not
   * keep a program of Node, Bun or Deno running, disposed or not.
   */
  dispose(): void {
    this.link.dispose();
  }

  /** What `using` calls: `dispose`. */
  [disposeSymbol](): void {
    this.dispose();
  }

  /** A tensor in the worker; see `Runtime.tensor`. */
  tensor(
    data: Float32Array | Float64Array | readonly number[],
    shape?: readonly number[],
    options?: TensorOptions,
  ): Promise<WorkerTensor<'float32'>>;
  tensor(
    data: Int32Array | BigInt64Array,
    shape?: readonly number[],
    options?: TensorOptions,
  ): Promise<WorkerTensor<'int32'>>;
  tensor(
    data: Uint8Array | readonly boolean[],
    shape?: readonly number[],
    options?: TensorOptions,
  ): Promise<WorkerTensor<'bool'>>;
  tensor(data: ArrayInput, shape?: readonly number[], options?: TensorOptions): Promise<WorkerTensor>;
  tensor(data: ArrayInput, shape?: readonly number[], options: TensorOptions = {}): Promise<WorkerTensor> {
    return this.link.call('tensor', data, shape, options);
  }

  /** See `Runtime.empty`. */
  empty<Type extends DataType = 'float32'>(
    shape: readonly number[],
    dtype?: Type,
    options?: Pick<CallOptions, 'scope'>,
  ): Promise<WorkerTensor<Type>> {
    return this.link.call('empty', shape, dtype, options);
  }

  /** A scope, whose tensors are freed together. It lives until you dispose it. */
  scope(): WorkerScope {
    return new WorkerScope(this.link);
  }

  /**
   * Calls a function, and frees the tensors of calls that were given its scope, but those the function returns: a tensor, a
   * result, or lists and objects of them.
   *
   * @example
   * ```js
   * const values = await remote.tidyAsync(async (scope) => {
   *   const x = await remote.tensor([1, 2, 3], [3], { scope });
   *   const y = await remote.softmax(x, { scope });
   *   return y.read();
   * });
   * ```
   */
  async tidyAsync<Result>(body: (scope: WorkerScope) => Result): Promise<Awaited<Result>> {
    return tidyWith(this.scope(), body);
  }
}
