// A runtime in a worker: the operations and layers of the package, as promises over handles.

import type {
  AppendOptions,
  Asked,
  AttentionWeightsOptions,
  CacheAttendOptions,
  Either,
  ForwardOptions,
  IntegerList,
  KeyValueCache,
  KeyValueCacheOptions,
  LinearAttentionOptions,
  LinearOptions,
  Mask,
  MemoryStatistics,
  MultiHeadAttention,
  MultiHeadAttentionOptions,
  PartialAttention,
  ReceivedWeightOptions,
  Returned,
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
import { WorkerHandle, WorkerTensor } from './handle.js';
import { Link } from './link.js';
import type { CallOptions } from './link.js';
import { WorkerScope } from './scope.js';
import type { WorkerSource } from './start.js';

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
 * Starts a worker and a runtime in it.
 *
 * @param options those of `createRuntime`, and where the worker comes from
 * @throws AttentionError UNSUPPORTED where no worker can be had (no workers on the platform, a content security policy,
 *   an address that does not load); what `createRuntime` throws
 *
 * @example
 * ```js
 * const remote = await createWorkerRuntime({ threads: 'auto' });
 * const { output } = await remote.scaledDotProductAttention(input, input, input, { causal: true, read: true });
 * await output.read(); // Float32Array
 * remote.dispose();
 * ```
 */
export async function createWorkerRuntime(options: WorkerRuntimeOptions = {}): Promise<WorkerRuntime> {
  checkOptions(options, RUNTIME_NAMES, { worker: 1 });
  const { worker, packs = [], ...runtimeOptions } = options;
  checkPacks(packs);
  const runtime = new WorkerRuntime(await Link.open(worker, runtimeOptions));
  try {
    for (const pack of packs) await runtime.load(pack);
    return runtime;
  } catch (error) {
    runtime.dispose();
    throw error;
  }
}

interface AttentionTensors {
  readonly output: WorkerTensor<'float32'>;
  readonly weights?: WorkerTensor<'float32'>;
  readonly logSumExp?: WorkerTensor<'float32'>;
  readonly statistics?: WorkerTensor<'float32'>;
}

type WorkerReturned<Wanted extends Asked> = Remote<Returned<Wanted>>;

/** Options of which the types tell what is returned. */
type Returning<Options, Name extends keyof Options> = WorkerOptions<Options> & Pick<Options, Name>;

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
> {
  /** [batch, heads, queries, valueHeadDim], or a layer's [batch, queries, embedDim]. */
  readonly output: WorkerTensor<'float32'>;
  /** [batch, heads, queries, keys], or [batch, queries, keys] averaged; where asked for. */
  readonly weights: WorkerReturned<Weights>;
  /** [batch, heads, queries], natural logarithm; where asked for. */
  readonly logSumExp: WorkerReturned<LogSumExp>;
  /** [batch, heads, queries, 2], for `attentionWeights` and its kin; where asked for. */
  readonly statistics: WorkerReturned<Statistics>;
  readonly #ownsOutput: boolean;

  /** @internal */
  constructor(tensors: AttentionTensors, given: unknown) {
    this.output = tensors.output;
    this.weights = tensors.weights as WorkerReturned<Weights>;
    this.logSumExp = tensors.logSumExp as WorkerReturned<LogSumExp>;
    this.statistics = tensors.statistics as WorkerReturned<Statistics>;
    this.#ownsOutput = tensors.output !== given;
  }

  /** Frees the tensors, after the calls made before. Safe to repeat. */
  dispose(): void {
    if (this.#ownsOutput) this.output.dispose();
    this.weights?.dispose();
    this.logSumExp?.dispose();
    this.statistics?.dispose();
  }

  /** What `using` calls: `dispose`. */
  [disposeSymbol](): void {
    this.dispose();
  }
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
    const inputs = { layer: this, stateDict: partOf(stateDict, prefix), prefix };
    this.#leftAside = await this.link.call('load', inputs, options);
    return this;
  }

  /** See `MultiHeadAttention.leftAside`. */
  get leftAside(): readonly string[] {
    return this.#leftAside;
  }

  /** See `MultiHeadAttention.forward`. */
  async forward<
    Weights extends Asked = undefined,
    Averaged extends Asked = undefined,
    LogSumExp extends Asked = undefined,
  >(
    x: WorkerInput,
    options: Returning<
      ForwardOptions<Weights, Averaged, LogSumExp>,
      'returnWeights' | 'averageWeights' | 'returnLogSumExp'
    > = {},
  ): Promise<WorkerAttentionResult<Either<Weights, Averaged>, LogSumExp, undefined>> {
    return new WorkerAttentionResult(await this.link.call('forward', { layer: this, x }, options), undefined);
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
    return this.link.call('cacheLengths', { cache: this, layer });
  }

  /** Bytes of the pages that this cache and its forks hold. */
  bytes(): Promise<number> {
    return this.link.call('cacheBytes', { cache: this });
  }

  /** See `KeyValueCache.append`. */
  append(
    layer: number,
    keys: WorkerInput,
    values: WorkerInput,
    options?: WorkerOptions<AppendOptions>,
  ): Promise<void> {
    return this.link.call('cacheAppend', { cache: this, layer, keys, values }, options);
  }

  /** See `KeyValueCache.attend`. */
  async attend<Weights extends Asked = undefined, LogSumExp extends Asked = undefined>(
    layer: number,
    query: WorkerInput,
    options: Returning<CacheAttendOptions<Weights, LogSumExp>, 'returnWeights' | 'returnLogSumExp'> = {},
  ): Promise<WorkerAttentionResult<Weights, LogSumExp, undefined>> {
    const inputs = { cache: this, layer, query };
    return new WorkerAttentionResult(await this.link.call('cacheAttend', inputs, options), options.output);
  }

  /** See `KeyValueCache.fork`. */
  fork(rows?: IntegerList): Promise<WorkerKeyValueCache> {
    return this.link.call('cacheFork', { cache: this, rows }, {}, WorkerKeyValueCache);
  }

  /** See `KeyValueCache.reorder`. */
  reorder(rows: IntegerList): Promise<void> {
    return this.link.call('cacheReorder', { cache: this, rows });
  }

  /** See `KeyValueCache.crop`. */
  crop(length: number | IntegerList): Promise<void> {
    return this.link.call('cacheCrop', { cache: this, length });
  }

  /** See `KeyValueCache.reset`. */
  reset(): Promise<void> {
    return this.link.call('cacheReset', { cache: this });
  }

  /** See `KeyValueCache.snapshot`. */
  snapshot(): Promise<ReturnType<KeyValueCache['snapshot']>> {
    return this.link.call('cacheSnapshot', { cache: this });
  }

  /** See `KeyValueCache.restore`. */
  restore(snapshot: Uint8Array): Promise<void> {
    return this.link.call('cacheRestore', { cache: this, snapshot });
  }
}

/** What is under a prefix. */
function partOf(stateDict: unknown, prefix: unknown): unknown {
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
  readonly #link: Link;

  /** @internal Use `createWorkerRuntime`. */
  constructor(link: Link) {
    this.#link = link;
  }

  /** What the worker's runtime chose, and why. */
  get info(): RuntimeInfo {
    return this.#link.info;
  }

  /** See `Runtime.load`. The pack's bytes, or its compiled module, are sent to the worker. */
  async load(pack: KernelPack): Promise<void> {
    const { name, wasm } = checkPack('pack', pack);
    const { build, packs } = this.info;
    if (packs.includes(name) && !this.disposed) return;
    const content = await contentOf({ pack: name, build }, wasm[build]);
    const sent = { name, wasm: { [build]: content } };
    this.#link.info = await this.#link.call('loadPack', { pack: sent });
  }

  /** See `measurePeak` of `wasm-attention/benchmark`, whose pack it needs. */
  measurePeak(runs?: number): Promise<number> {
    return this.#link.call('measurePeak', { count: runs });
  }

  /** True once disposed, or if the worker is gone. */
  get disposed(): boolean {
    return this.#link.ended;
  }

  /** Bytes used, most ever used, and held in all; and how many handles are not disposed. */
  memory(): Promise<
    MemoryStatistics & {
      /** Tensors, layers and caches that are not disposed. */
      readonly handles: number;
    }
  > {
    return this.#link.call('memory', {});
  }

  /**
   * Ends the worker. Calls that are waiting reject with DISPOSED. Safe to repeat. A worker without waiting calls does not
   * keep a program of Node, Bun or Deno running, disposed or not.
   */
  dispose(): void {
    this.#link.dispose();
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
    return this.#link.call('tensor', { data, shape }, options);
  }

  /** See `Runtime.empty`. */
  empty<Type extends DataType = 'float32'>(
    shape: readonly number[],
    dtype?: Type,
    options?: Pick<CallOptions, 'scope'>,
  ): Promise<WorkerTensor<Type>> {
    return this.#link.call('empty', { shape, dtype }, options);
  }

  /** A scope, whose tensors are freed together. It lives until you dispose it. */
  scope(): WorkerScope {
    return new WorkerScope(this.#link);
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

  /** See `scaledDotProductAttention`. */
  async scaledDotProductAttention<
    Weights extends Asked = undefined,
    LogSumExp extends Asked = undefined,
    Statistics extends Asked = undefined,
  >(
    query: WorkerInput,
    key: WorkerInput,
    value: WorkerInput,
    options: Returning<
      ScaledDotProductAttentionOptions<Weights, LogSumExp, Statistics>,
      'returnWeights' | 'returnLogSumExp' | 'returnStatistics'
    > = {},
  ): Promise<WorkerAttentionResult<Weights, LogSumExp, Statistics>> {
    const inputs = { query, key, value };
    return new WorkerAttentionResult(
      await this.#link.call('scaledDotProductAttention', inputs, options),
      options.output,
    );
  }

  /** See `attentionWeights`. */
  attentionWeights(
    query: WorkerInput,
    key: WorkerInput,
    options?: WorkerOptions<AttentionWeightsOptions>,
  ): Promise<WorkerTensor<'float32'>> {
    return this.#link.call('attentionWeights', { query, key }, options);
  }

  /** See `attentionEntropy`. */
  attentionEntropy(
    query: WorkerInput,
    key: WorkerInput,
    options?: WorkerOptions<SummaryOptions>,
  ): Promise<WorkerTensor<'float32'>> {
    return this.#link.call('attentionEntropy', { query, key }, options);
  }

  /** See `receivedWeight`. */
  receivedWeight(
    query: WorkerInput,
    key: WorkerInput,
    options?: WorkerOptions<ReceivedWeightOptions>,
  ): Promise<WorkerTensor<'float32'>> {
    return this.#link.call('receivedWeight', { query, key }, options);
  }

  /** See `topKeys`. */
  topKeys(
    query: WorkerInput,
    key: WorkerInput,
    count: number,
    options?: WorkerOptions<SummaryOptions>,
  ): Promise<TopKeys> {
    return this.#link.call('topKeys', { query, key, count }, options);
  }

  /** See `mergeAttention`. */
  async mergeAttention(
    parts: readonly Remote<PartialAttention>[],
    options: CallOptions = {},
  ): Promise<WorkerAttentionResult<undefined, true, undefined>> {
    return new WorkerAttentionResult(await this.#link.call('mergeAttention', { parts }, options), undefined);
  }

  /** See `linearAttention`. */
  linearAttention(
    query: WorkerInput,
    key: WorkerInput,
    value: WorkerInput,
    options?: WorkerOptions<LinearAttentionOptions>,
  ): Promise<WorkerTensor<'float32'>> {
    return this.#link.call('linearAttention', { query, key, value }, options);
  }

  /** See `variableLengthAttention`. */
  variableLengthAttention(
    query: WorkerInput,
    key: WorkerInput,
    value: WorkerInput,
    options: WorkerOptions<VariableLengthOptions>,
  ): Promise<WorkerTensor<'float32'>> {
    return this.#link.call('variableLengthAttention', { query, key, value }, options);
  }

  /** See `linear`. */
  linear(
    input: WorkerInput,
    weights: WorkerLinearWeights,
    options?: WorkerOptions<LinearOptions>,
  ): Promise<WorkerTensor<'float32'>> {
    return this.#link.call('linear', { input, weights }, options);
  }

  /** See `softmax`. */
  softmax(input: WorkerInput, options?: WorkerOptions<SoftmaxOptions>): Promise<WorkerTensor<'float32'>> {
    return this.#link.call('softmax', { input }, options);
  }

  /** See `rotaryEmbedding`. */
  rotaryEmbedding(
    input: WorkerInput,
    options?: WorkerOptions<RotaryEmbeddingOptions>,
  ): Promise<WorkerTensor<'float32'>> {
    return this.#link.call('rotaryEmbedding', { input }, options);
  }

  /** See `LinearWeights`. */
  linearWeights(
    weight: WorkerInput,
    bias?: WorkerInput,
    options?: TransferOptions,
  ): Promise<WorkerLinearWeights> {
    return this.#link.call('linearWeights', { weight, bias }, options, WorkerLinearWeights);
  }

  /** See `MultiHeadAttention`; then `load`, then `forward`. */
  multiHeadAttention(options: WorkerOptions<MultiHeadAttentionOptions>): Promise<WorkerMultiHeadAttention> {
    return this.#link.call('multiHeadAttention', {}, options, WorkerMultiHeadAttention);
  }

  /** See `KeyValueCache`. */
  keyValueCache(options: WorkerOptions<KeyValueCacheOptions>): Promise<WorkerKeyValueCache> {
    return this.#link.call('keyValueCache', {}, options, WorkerKeyValueCache);
  }
}
