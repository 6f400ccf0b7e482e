// Keys and values of earlier tokens, kept in linear memory in the layout the kernels read: what makes decoding cost no more
// than reading them once. Pages of 128 tokens; a sequence is a list of pages, so growing, forking, cropping, reordering
// and sliding move no data.
//
//   cache    [layer][batch row] -> Sequence -> pages (PagePool)

import { appendTokens, PAGE_TOKENS, STORAGE_CODES } from '../ops/cache/append.js';
import type { AppendRotary, CacheStorage } from '../ops/cache/append.js';
import { runPlan } from '../ops/attention/scaled-dot-product-attention.js';
import type { AttentionResult } from '../ops/attention/scaled-dot-product-attention.js';
import { SCORE_NAMES } from '../ops/attention/options.js';
import type { Asked, AttentionOptions, ScoreOptions } from '../ops/attention/options.js';
import { attentionInput, planAttention } from '../ops/attention/plan.js';
import type { PagedKeys } from '../ops/attention/plan.js';
import { positionsAfter, ROTARY_NAMES } from '../ops/rotary/options.js';
import type { RotaryOptions } from '../ops/rotary/options.js';
import { checkRotaryDim } from '../ops/rotary/rotary.js';
import { Disposable } from '../runtime/disposable.js';
import { checkInstance, checkInteger, checkObject, checkOptions, integers } from '../runtime/checks.js';
import type { IntegerList, NamesOf } from '../runtime/checks.js';
import { AttentionError, describe, invalidArgument, shapeError } from '../runtime/errors.js';
import { callAsync, callNow } from '../runtime/call.js';
import type { AsyncOptions } from '../runtime/call.js';
import { checkRuntime } from '../runtime/inputs.js';
import { sameShape } from '../runtime/layout.js';
import { givenOutput } from '../runtime/output.js';
import type { CallScope } from '../runtime/call-scope.js';
import type { TensorLike } from '../runtime/inputs.js';
import type { Operation } from '../runtime/operation.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Tensor } from '../runtime/tensor.js';
import { PagePool } from './page-pool.js';
import { Sequence } from './sequence.js';
import { broken, readSnapshot, writeSnapshot } from './snapshot.js';
import { LayerRotary } from '../ops/rotary/layer-rotary.js';

/** Keeps memory fixed for text without end: the first tokens, and the last ones. */
export interface CacheRing {
  /** Tokens from the start that every query goes on seeing (attention sinks). Default 0. */
  readonly sinkTokens?: number | undefined;
  /** Tokens a query sees before and with its own, beside the first ones. */
  readonly window: number;
}

/** Sizes of a cache, and how it keeps what it holds. */
export interface KeyValueCacheOptions {
  /** Layers that share the cache, each with keys and values of its own. Default 1. */
  readonly layers?: number | undefined;
  /** Sequences. Default 1. */
  readonly batch?: number | undefined;
  /** Heads of keys and values. */
  readonly numKeyValueHeads: number;
  /** Channels per head of keys. */
  readonly headDim: number;
  /** Channels per head of values. Default headDim. */
  readonly valueHeadDim?: number | undefined;
  /** Most tokens of a sequence. Memory is taken as it is needed, a page of 128 tokens at a time. Not with `ring`. */
  readonly capacity?: number | undefined;
  /** Forgets what lies between the first tokens and the window, so that memory stays fixed. Positions go on counting. */
  readonly ring?: CacheRing | undefined;
  /**
   * 'float32' (default) keeps bits as they are. 'float16' halves the memory; what is above 65504 in size becomes infinite.
   * 'int8' quarters it and is faster to read: 8 bits with one scale per token and head, for keys and for values.
   * docs/cache.md has the errors.
   */
  readonly storage?: CacheStorage | undefined;
  /** Rotates keys when they are appended, and queries when they attend, by their positions. For use without a layer. */
  readonly rotary?: RotaryOptions | undefined;
}

export const CACHE_NAMES = {
  layers: 1,
  batch: 1,
  numKeyValueHeads: 1,
  headDim: 1,
  valueHeadDim: 1,
  capacity: 1,
  ring: { sinkTokens: 1, window: 1 } satisfies NamesOf<CacheRing>,
  storage: 1,
  rotary: ROTARY_NAMES,
} satisfies NamesOf<KeyValueCacheOptions>;

/** Options of `append`. */
export interface AppendOptions {
  /** New tokens of each batch row, 0 .. length; the rest of a row is padding. Default: all. */
  readonly lengths?: IntegerList | undefined;
}

/** Options of `attend`. */
export interface CacheAttendOptions<
  Weights extends Asked = Asked,
  LogSumExp extends Asked = Asked,
  Recorded extends Asked = Asked,
> extends Pick<
  AttentionOptions,
  | 'scale'
  | 'temperature'
  | 'softcap'
  | 'window'
  | 'mask'
  | 'bias'
  | 'alibi'
  | 'relativePositionBias'
  | 'sinks'
> {
  /** Queries of each batch row, the last tokens of its sequence; the rest is padding. Default: all. */
  readonly lengths?: IntegerList | undefined;
  /** Query i sees tokens up to its own. Default true; false for keys of another text (cross-attention). */
  readonly causal?: boolean | undefined;
  /** Also return the weights, [batch, heads, queries, keys]. */
  readonly returnWeights?: Weights | undefined;
  /** Also return the log-sum-exp, [batch, heads, queries]. */
  readonly returnLogSumExp?: LogSumExp | undefined;
  /** Also return a record of the attention, for `attentionWeights`, `attentionEntropy`, ... Not with a ring. */
  readonly returnRecord?: Recorded | undefined;
  /** A float32 tensor of the output's shape to write to. It must not share an element with an input. */
  readonly output?: Tensor | undefined;
}

/** Sizes of a cache, defaults filled in; see `KeyValueCacheOptions`. */
export interface KeyValueCacheLayout {
  /** Layers that share the cache. */
  readonly layers: number;
  /** Sequences. */
  readonly batch: number;
  /** Heads of keys and values. */
  readonly numKeyValueHeads: number;
  /** Channels per head of keys. */
  readonly headDim: number;
  /** Channels per head of values. */
  readonly valueHeadDim: number;
  /** Most tokens of a sequence. */
  readonly capacity: number;
  /** What elements are kept as. */
  readonly storage: CacheStorage;
  /** What is kept of a text without end; null where all of it is. */
  readonly ring: {
    /** Tokens from the start. */
    readonly sinkTokens: number;
    /** Tokens a query sees before and with its own. */
    readonly window: number;
  } | null;
}

/** @internal What a layer hands to an append: tokens each row gets, and the rotation of keys. */
export interface PreparedAppend {
  readonly counts: Int32Array;
  readonly rotary?: ((row: number) => AppendRotary) | undefined;
}

/**
 * A key/value cache for autoregressive use.
 *
 * With `float32` storage and the `simd` build, a prompt in one piece, in any chunks, or token by token gives the same bits.
 *
 * @see Pope et al. 2022; Kwon et al. 2023 (pages); Xiao et al. 2023 (attention sinks)
 *
 * @example
 * ```js
 * const cache = new KeyValueCache(runtime, { numKeyValueHeads: 2, headDim: 4, capacity: 1000 });
 * cache.append(0, k, v); // layer 0: keys and values of five tokens
 * cache.attend(0, q.slice(2, 4, 5)).output.shape; // [1, 2, 1, 4]
 * cache.lengths(); // [5]
 * cache.dispose();
 * ```
 */
export class KeyValueCache extends Disposable {
  /** Where the pages are. */
  readonly runtime: Runtime;
  /** The sizes, defaults filled in. */
  readonly layout: KeyValueCacheLayout;
  readonly #pool: PagePool;
  readonly #rotary: LayerRotary | undefined;
  readonly #rotaryOptions: RotaryOptions | undefined;
  #sequences: Sequence[][];
  #disposed = false;
  /** The call that is writing pages, perhaps of several layers: nothing else may use them until it is over. */
  #writer: CallScope | undefined;
  /** Calls that read pages: nothing may change until they are over. */
  #readers = 0;

  /** @throws AttentionError INVALID_ARGUMENT for sizes that make no sense */
  constructor(runtime: Runtime, options: KeyValueCacheOptions);
  /** @internal */
  constructor(runtime: Runtime, options: KeyValueCacheOptions, shared: PagePool);
  constructor(runtime: Runtime, options: KeyValueCacheOptions, shared?: PagePool) {
    super();
    checkRuntime(runtime);
    this.runtime = runtime;
    this.layout = readLayout(options);
    const { layers, batch, numKeyValueHeads, headDim, valueHeadDim, storage, ring } = this.layout;
    if (options.rotary !== undefined) {
      checkObject('rotary', options.rotary);
      checkRotaryDim(options.rotary.rotaryDim, headDim);
      this.#rotary = new LayerRotary(options.rotary, headDim);
    }
    this.#rotaryOptions = options.rotary;
    const headBytes = runtime.kernels.pageHeadBytes(headDim, valueHeadDim, STORAGE_CODES[storage]);
    this.#pool = shared ?? new PagePool(runtime, headBytes * numKeyValueHeads);
    const firstPages = ring ? Math.ceil(ring.sinkTokens / PAGE_TOKENS) : 0;
    this.#sequences = Array.from({ length: layers }, () =>
      Array.from({ length: batch }, () => new Sequence(firstPages)),
    );
  }

  /** True once disposed. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** Tokens of each sequence, in a layer (default the first). */
  lengths(layer = 0): number[] {
    return this.#layer(layer).map(({ length }) => length);
  }

  /** Bytes of the pages that this cache and its forks hold, each counted once. */
  get bytes(): number {
    return this.#pool.pages * this.#pool.pageBytes;
  }

  /** @internal The pages of a layer. */
  pagesOf(layer: number): { readonly addresses: readonly number[]; readonly pageBytes: number } {
    const addresses = this.#layer(layer).flatMap(({ pages }) => pages);
    return { addresses, pageBytes: this.#pool.pageBytes };
  }

  /**
   * Appends tokens to the sequences of a layer.
   *
   * @param keys   [batch, numKeyValueHeads, length, headDim]
   * @param values [batch, numKeyValueHeads, length, valueHeadDim]
   * @throws AttentionError INVALID_STATE past the capacity, OUT_OF_MEMORY; the cache is then as it was
   */
  append(layer: number, keys: TensorLike, values: TensorLike, options: AppendOptions = {}): void {
    callNow(appendOperation, [this, layer, keys, values], options);
  }

  /**
   * {@link append} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on. Until it
   * is over nothing else can use the cache; if it is aborted, the cache is as it was.
   *
   * ```js
   * await cache.appendAsync(0, k, v, { signal: AbortSignal.timeout(5000) });
   * cache.lengths(); // [5]
   * ```
   */
  appendAsync(
    layer: number,
    keys: TensorLike,
    values: TensorLike,
    options: AppendOptions & AsyncOptions = {},
  ): Promise<void> {
    return callAsync(appendOperation, [this, layer, keys, values], options);
  }

  /** @internal `append` as part of a call. */
  runAppend(
    scope: CallScope,
    layer: number,
    keys: TensorLike,
    values: TensorLike,
    { lengths }: AppendOptions,
  ): void {
    this.#checkChange();
    const k = attentionInput(scope, 'keys', keys);
    const v = attentionInput(scope, 'values', values);
    this.#checkInputs(k, v);
    const batch = k.shape[0]!; // by index: engines take frozen arrays apart slowly
    const length = k.shape[2]!;
    const counts = readCounts(lengths, batch, length);
    const placed =
      this.#rotary && length > 0
        ? this.#rotary.place(scope, positionsAfter(this.lengths(layer), length), batch, length)
        : undefined;
    const rotary = placed && this.#rotary!.ofRows(placed);
    this.appendRows(scope, layer, k, v, { counts, rotary });
  }

  /**
   * Attention of queries, which are the last tokens of their sequences, over everything the cache holds of a layer.
   *
   * @param query [batch, heads, queries, headDim]; heads must be a multiple of numKeyValueHeads
   * @returns `output`, [batch, heads, queries, valueHeadDim], and what was asked for
   * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE for more queries than there are
   *   tokens or for some that see what a ring no longer holds, UNSUPPORTED for options that a ring cannot have, OUT_OF_MEMORY
   */
  attend<
    Weights extends Asked = undefined,
    LogSumExp extends Asked = undefined,
    Recorded extends Asked = undefined,
  >(
    layer: number,
    query: TensorLike,
    options: CacheAttendOptions<Weights, LogSumExp, Recorded> = {},
  ): AttentionResult<Weights, LogSumExp, undefined, Recorded> {
    return callNow(cacheAttendOperation, [this, layer, query], options);
  }

  /** {@link attend} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on. Until it is over the cache can be read, but not changed. */
  attendAsync<
    Weights extends Asked = undefined,
    LogSumExp extends Asked = undefined,
    Recorded extends Asked = undefined,
  >(
    layer: number,
    query: TensorLike,
    options: CacheAttendOptions<Weights, LogSumExp, Recorded> & AsyncOptions = {},
  ): Promise<AttentionResult<Weights, LogSumExp, undefined, Recorded>> {
    return callAsync(cacheAttendOperation, [this, layer, query], options);
  }

  /** @internal `attend` as part of a call. */
  runAttend(
    scope: CallScope,
    layer: number,
    query: TensorLike,
    options: CacheAttendOptions,
  ): AttentionResult {
    const sequences = this.#layer(layer);
    this.#readers++;
    scope.onEnd(() => this.#readers--);
    scope.lasting ||= options.returnRecord ?? false;
    let q = attentionInput(scope, 'query', query);
    this.#checkQuery(q);
    const batch = q.shape[0]!;
    const length = q.shape[2]!;
    const counts = readCounts(options.lengths, batch, length);
    checkHeld(sequences, counts, options.causal ?? true);
    if (this.#rotary && q.size > 0) {
      const first = sequences.map((sequence, row) => sequence.length - counts[row]!);
      const placed = this.#rotary.place(scope, positionsAfter(first, length), batch, length);
      q = scope.copyOf(q);
      this.#rotary.rotate(scope, q, placed);
    }
    if (options.output !== undefined) {
      givenOutput(scope, options.output, [batch, q.shape[1]!, length, this.layout.valueHeadDim]);
    }
    return this.attendRows(scope, layer, q, counts, options);
  }

  /** A cache with the same tokens (or some rows of them, in any order, also repeated). Pages are shared until written to. */
  fork(rows?: IntegerList): KeyValueCache {
    this.#check();
    const chosen =
      rows === undefined
        ? Int32Array.from({ length: this.layout.batch }, (_, row) => row)
        : integers('rows', rows, 0, this.layout.batch - 1);
    if (chosen.length === 0) throw shapeError('rows', 'at least one row', [0]);
    const { ring, capacity, ...sizes } = this.layout;
    const options = { ...sizes, batch: chosen.length, ...(ring ? { ring } : { capacity }) };
    const fork = new KeyValueCache(this.runtime, { ...options, rotary: this.#rotaryOptions }, this.#pool);
    fork.#sequences = this.#copies(chosen);
    return fork;
  }

  /** Row i continues what row rows[i] was: beam search. */
  reorder(rows: IntegerList): void {
    this.#checkChange();
    const chosen = integers('rows', rows, 0, this.layout.batch - 1);
    if (chosen.length !== this.layout.batch) {
      throw shapeError('rows', `${this.layout.batch} rows, one for each of the batch`, [chosen.length]);
    }
    const before = this.#sequences;
    this.#sequences = this.#copies(chosen);
    this.#release(before);
  }

  /**
   * Shortens every layer to that many tokens, for all rows or each.
   *
   * @throws AttentionError INVALID_ARGUMENT for more tokens than there are; INVALID_STATE where a ring no longer holds what the
   *   next query would see
   */
  crop(length: number | IntegerList): void {
    this.#checkChange();
    const { batch, ring } = this.layout;
    const list = integers('length', typeof length === 'number' ? [length] : length, 0, 2 ** 31 - 1);
    if (list.length !== 1 && list.length !== batch)
      throw shapeError('length', `1 or ${batch}`, [list.length]);
    const target = (row: number): number => list[list.length === 1 ? 0 : row]!;
    this.#sequences.forEach((layer, l) =>
      layer.forEach((sequence, row) => {
        if (target(row) > sequence.length) {
          throw invalidArgument(
            'length',
            `at most the ${sequence.length} tokens of row ${row} in layer ${l}`,
            target(row),
          );
        }
        const from = Math.max(0, target(row) - (ring?.window ?? 0) + 1);
        if (target(row) < sequence.length && !sequence.holds(from, target(row))) {
          throw new AttentionError({
            code: 'INVALID_STATE',
            argument: 'length',
            message: `length: the ring no longer holds the window before token ${target(row)} of row ${row}`,
          });
        }
      }),
    );
    for (const layer of this.#sequences)
      layer.forEach((sequence, row) => {
        for (const page of sequence.crop(target(row))) this.#pool.release(page);
      });
  }

  /** Forgets all tokens. */
  reset(): void {
    this.#checkChange();
    for (const sequence of this.#sequences.flat()) {
      for (const page of sequence.crop(0)) this.#pool.release(page);
    }
  }

  // The type is Uint8Array<ArrayBuffer>, or Uint8Array for older compilers, which know no kinds of it.
  /** Everything the cache holds, as bytes to store; rows that share pages share them there too. */
  snapshot(): ReturnType<Uint8Array['slice']> {
    this.#check();
    const numbers = new Map<number, number>();
    const sequences = this.#sequences.map((layer) =>
      layer.map(({ length, dropped, pages }) => ({
        length,
        dropped,
        pages: pages.map((page) => {
          const number = numbers.get(page) ?? numbers.size;
          numbers.set(page, number);
          return number;
        }),
      })),
    );
    const { layers, batch, numKeyValueHeads, headDim, valueHeadDim, storage, ring } = this.layout;
    const sizes = { layers, batch, numKeyValueHeads, headDim, valueHeadDim, storage, ring };
    return writeSnapshot(
      { ...sizes, pageBytes: this.#pool.pageBytes, pages: numbers.size, sequences },
      [...numbers.keys()].map((page) => this.#pool.bytes(page)),
    );
  }

  /**
   * Replaces what the cache holds by a snapshot of a cache of the same shape and storage.
   *
   * @throws AttentionError INVALID_FILE, OUT_OF_MEMORY; the cache is then as it was
   */
  restore(snapshot: Uint8Array): void {
    this.#checkChange();
    const { header, page } = readSnapshot(this.runtime.linearMemory.apart(snapshot));
    const { layers, batch, numKeyValueHeads, headDim, valueHeadDim, storage, ring, capacity } = this.layout;
    const own = { layers, batch, numKeyValueHeads, headDim, valueHeadDim, storage, ring };
    for (const [name, value] of Object.entries(own)) {
      const found: unknown = header[name as keyof typeof own];
      if (JSON.stringify(found) !== JSON.stringify(value)) {
        throw broken(`its ${name} is ${JSON.stringify(found)}, this cache has ${JSON.stringify(value)}`);
      }
    }
    if (header.pageBytes !== this.#pool.pageBytes) throw broken('its pages have another size');
    if (header.sequences.length !== layers || header.sequences.some((rows) => rows.length !== batch)) {
      throw broken('its header has another number of sequences');
    }
    const firstPages = this.#sequences[0]![0]!.firstPages;
    const used = new Set<number>();
    const sequences = header.sequences.map((rows) =>
      rows.map(({ length, dropped, pages }) => {
        const sequence = new Sequence(firstPages, length, [...pages], dropped);
        for (const number of pages) used.add(number);
        const fits =
          length <= capacity &&
          (ring !== null || dropped === 0) &&
          (dropped === 0 || pages.length >= firstPages) &&
          pages.length === Math.ceil(sequence.place / PAGE_TOKENS) &&
          sequence.place >= 0 &&
          sequence.holds(Math.max(0, length - (ring?.window ?? 0) + 1), length);
        if (!fits) throw broken(`a sequence of ${length} tokens and ${pages.length} pages does not fit`);
        return sequence;
      }),
    );
    if (used.size !== header.pages) throw broken('it holds pages that no sequence has');
    const acquired = this.#pool.acquire(header.pages);
    acquired.forEach((address, number) => this.#pool.bytes(address).set(page(number)));
    for (const sequence of sequences.flat()) {
      sequence.pages = sequence.pages.map((number) => acquired[number]!);
      for (const address of sequence.pages) this.#pool.retain(address);
    }
    for (const address of acquired) this.#pool.release(address);
    const before = this.#sequences;
    this.#sequences = sequences;
    this.#release(before);
  }

  /** Lets go of all pages; those that forks share stay theirs. Safe to repeat. */
  dispose(): void {
    if (this.#disposed) return;
    if (!this.runtime.disposed) this.#checkChange();
    this.#release(this.#sequences);
    this.#sequences = [];
    this.#rotary?.dispose();
    this.#disposed = true;
  }

  /**
   * @internal `append` of tensors of this runtime, which the kernels before it may still have to compute. While the call
   * lasts, the cache takes no other, and pages that rows let go of are held: if it fails, all is as it was.
   */
  appendRows(scope: CallScope, layer: number, keys: Tensor, values: Tensor, prepared: PreparedAppend): void {
    const sequences = this.#layer(layer, scope);
    this.#checkChange(scope);
    this.#checkInputs(keys, values);
    const { counts, rotary } = prepared;
    this.#checkCapacity(sequences, counts);
    const fresh = this.#reserve(sequences, counts);
    const unused = [...fresh];
    const before = sequences.map((sequence) => sequence.copy());
    const left: number[] = [];
    const grown: number[] = [];
    let obsolete = left;
    this.#writer = scope;
    scope.onEnd(() => {
      this.#writer = undefined;
      for (const page of obsolete) this.#pool.release(page);
    });
    scope.onFailure(() => {
      this.#sequences[layer] = before;
      obsolete = fresh;
      for (const page of grown) this.#pool.guard(page);
    });
    sequences.forEach((sequence, row) => {
      const count = counts[row]!;
      if (count === 0) return;
      left.push(...this.#dropUnseen(sequence));
      const { place, pages } = sequence;
      const first = Math.floor(place / PAGE_TOKENS);
      let copied = 0;
      if (this.#mustCopyLast(sequence, left, before)) {
        copied = pages.pop()!;
        left.push(copied);
      } else if (pages.length > first) {
        grown.push(pages[first]!);
      }
      while (pages.length < Math.ceil((place + count) / PAGE_TOKENS)) pages.push(unused.pop()!);
      appendTokens(scope, keys, values, this.layout.storage, {
        row,
        count,
        slot: place % PAGE_TOKENS,
        pages: pages.slice(first),
        copied,
        rotary: rotary?.(row),
      });
      sequence.length += count;
    });
    // Of rows that shared a last page the last one keeps it, and has no use for a copy.
    left.push(...unused);
  }

  /** @internal `attend` of a tensor of this runtime. */
  attendRows(
    scope: CallScope,
    layer: number,
    query: Tensor<'float32'>,
    counts: Int32Array,
    options: CacheAttendOptions,
  ): AttentionResult {
    const sequences = this.#sequences[layer]!;
    this.#checkQuery(query);
    const { batch, numKeyValueHeads, headDim, valueHeadDim, ring } = this.layout;
    const keys = sequences.reduce((most, { place }) => Math.max(most, place), 0);
    const { causal = true, window, ...scores } = options;
    if (ring) {
      rejectWithRing({ ...scores, window, causal: causal ? undefined : 'false' });
      checkWindows(sequences, counts, ring.window);
    }
    const inPages = (dim: number) => ({
      shape: [batch, numKeyValueHeads, keys, dim],
      strides: [0, 0, 0, 1],
      address: 0,
    });
    const placed = {
      ...scores,
      causal,
      window: ring ? { left: ring.window - 1, right: 0 } : window,
      queryOffset: sequences.map(({ place }, row) => place - counts[row]!),
      keyLengths: sequences.map(({ place }) => place),
    };
    const plan = planAttention(scope, query, inPages(headDim), placed, 4, this.#paged(sequences, keys));
    const values = inPages(valueHeadDim);
    return runPlan(scope, plan, values, options);
  }

  /** The pages of a layer as attention takes them. */
  #paged(sequences: readonly Sequence[], keys: number): PagedKeys {
    const { batch, valueHeadDim, storage, ring } = this.layout;
    const perRow = Math.max(1, Math.ceil(keys / PAGE_TOKENS));
    const table = new Int32Array(batch * perRow);
    sequences.forEach(({ pages }, row) => table.set(pages, row * perRow));
    const pool = this.#pool;
    const hold = () => {
      const held = table.filter((page) => page !== 0);
      for (const page of held) pool.retain(page);
      return () => held.forEach((page) => pool.release(page));
    };
    return {
      table,
      storage: STORAGE_CODES[storage],
      firstKeys: ring?.sinkTokens ?? 0,
      valueHeadDim,
      hold,
    };
  }

  #checkCapacity(sequences: readonly Sequence[], counts: Int32Array): void {
    sequences.forEach(({ length }, row) => {
      if (length + counts[row]! <= this.layout.capacity) return;
      throw new AttentionError({
        code: 'INVALID_STATE',
        argument: 'keys',
        expected: `at most ${this.layout.capacity - length} more tokens in row ${row}, for a capacity of ${this.layout.capacity}`,
        received: describe(counts[row]),
      });
    });
  }

  /** All pages an append needs, so that it cannot fail half-way. */
  #reserve(sequences: readonly Sequence[], counts: Int32Array): number[] {
    let needed = 0;
    sequences.forEach((sequence, row) => {
      const count = counts[row]!;
      if (count === 0) return;
      needed += Math.ceil((sequence.place + count) / PAGE_TOKENS) - sequence.pages.length;
      if (this.#mustCopyLast(sequence)) needed++;
    });
    return needed === 0 ? [] : this.#pool.acquire(needed);
  }

  /**
   * Whether the next token goes into a page that others need as it is: other sequences, or those of this append that left it
   * and come back to it if the call fails.
   */
  #mustCopyLast(sequence: Sequence, left: readonly number[] = [], before: readonly Sequence[] = []): boolean {
    if (sequence.place % PAGE_TOKENS === 0) return false;
    const last = sequence.pages.at(-1)!;
    const leavers = left.filter((page) => page === last).length;
    if (this.#pool.holders(last) - leavers > 1) return true;
    return (
      leavers > 0 && before.some(({ length, pages }) => length > sequence.length && pages.includes(last))
    );
  }

  /** Takes out the pages that no query from the next one on will see. */
  #dropUnseen(sequence: Sequence): number[] {
    const { ring } = this.layout;
    return ring ? sequence.dropBefore(sequence.length - ring.window + 1) : [];
  }

  #copies(rows: Int32Array): Sequence[][] {
    return this.#sequences.map((layer) =>
      Array.from(rows, (row) => {
        const copy = layer[row]!.copy();
        for (const page of copy.pages) this.#pool.retain(page);
        return copy;
      }),
    );
  }

  #release(sequences: readonly Sequence[][]): void {
    for (const { pages } of sequences.flat()) for (const page of pages) this.#pool.release(page);
  }

  #check(scope?: CallScope): void {
    this.runtime.check();
    if (this.#disposed) throw new AttentionError({ code: 'DISPOSED', message: 'the cache was disposed' });
    if (this.#writer && this.#writer !== scope) throw inUse();
  }

  /** What changes the cache must also wait for those who read it. */
  #checkChange(scope?: CallScope): void {
    this.#check(scope);
    if (this.#readers > 0) throw inUse();
  }

  /** @internal Throws unless the layer is there and the cache can be used. */
  runtimeOf(layer: number): Runtime {
    this.#layer(layer);
    return this.runtime;
  }

  #layer(layer: number, scope?: CallScope): Sequence[] {
    this.#check(scope);
    const sequences = Number.isInteger(layer) ? this.#sequences[layer] : undefined;
    if (sequences) return sequences;
    throw invalidArgument('layer', `an integer from 0 to ${this.layout.layers - 1}`, layer);
  }

  #checkInputs(keys: Tensor, values: Tensor): void {
    const { batch, numKeyValueHeads, headDim, valueHeadDim } = this.layout;
    const length = keys.shape[2]!;
    checkShape('keys', keys, [batch, numKeyValueHeads, length, headDim]);
    checkShape('values', values, [batch, numKeyValueHeads, length, valueHeadDim]);
  }

  #checkQuery(query: Tensor): void {
    const { batch, numKeyValueHeads, headDim } = this.layout;
    const { shape } = query;
    const heads = shape[1]!;
    if (shape[0] === batch && shape[3] === headDim && heads > 0 && heads % numKeyValueHeads === 0) return;
    throw shapeError(
      'query',
      `[${batch}, a multiple of ${numKeyValueHeads}, queries, ${headDim}]`,
      query.shape,
    );
  }
}

function runtimeOfCache([cache, layer]: readonly [KeyValueCache, number, ...unknown[]]): Runtime {
  return checkInstance('cache', cache, KeyValueCache).runtimeOf(layer);
}

export const appendOperation: Operation<
  [cache: KeyValueCache, layer: number, keys: TensorLike, values: TensorLike],
  AppendOptions,
  void
> = {
  inputs: ['cache', 'layer', 'keys', 'values'],
  options: { lengths: 1 } satisfies NamesOf<AppendOptions>,
  runtime: runtimeOfCache,
  run: (scope, [cache, layer, keys, values], options) => cache.runAppend(scope, layer, keys, values, options),
};

export const cacheAttendOperation: Operation<
  [cache: KeyValueCache, layer: number, query: TensorLike],
  CacheAttendOptions,
  AttentionResult
> = {
  inputs: ['cache', 'layer', 'query'],
  options: /* @__PURE__ */ Object.assign(
    {
      mask: 1,
      bias: 1,
      lengths: 1,
      returnWeights: 1,
      returnLogSumExp: 1,
      returnRecord: 1,
      output: 1,
    } satisfies NamesOf<Omit<CacheAttendOptions, keyof ScoreOptions>>,
    SCORE_NAMES,
  ),
  runtime: runtimeOfCache,
  run: (scope, [cache, layer, query], options) => cache.runAttend(scope, layer, query, options),
};

/** Limits far beyond use, so that a wrong number is an error and not a program that hangs. */
const MOST = 2 ** 31 - 1;
const MOST_SEQUENCES = 2 ** 20;
const MOST_CHANNELS = 2 ** 16;

function readLayout(options: KeyValueCacheOptions): KeyValueCacheLayout {
  checkOptions(options, CACHE_NAMES);
  const { layers = 1, batch = 1, numKeyValueHeads, headDim, valueHeadDim = headDim, ring } = options;
  const { storage = 'float32', capacity = MOST } = options;
  const sizes = { layers, batch, numKeyValueHeads, headDim, valueHeadDim, capacity };
  for (const [argument, size] of Object.entries(sizes)) checkInteger(argument, size, 1, MOST);
  checkInteger('layers', layers, 1, Math.floor(MOST_SEQUENCES / batch));
  checkInteger('headDim', headDim, 1, MOST_CHANNELS);
  checkInteger('valueHeadDim', valueHeadDim, 1, MOST_CHANNELS);
  if (typeof storage !== 'string' || !Object.hasOwn(STORAGE_CODES, storage)) {
    throw invalidArgument('storage', "'float32', 'float16' or 'int8'", storage);
  }
  if (ring === undefined) return { ...sizes, storage, ring: null };
  checkObject('ring', ring);
  const { sinkTokens = 0, window } = ring;
  checkInteger('ring.sinkTokens', sinkTokens, 0, MOST);
  checkInteger('ring.window', window, 1, MOST);
  if (options.capacity !== undefined) {
    throw invalidArgument('capacity', 'none with a ring, which never fills up', options.capacity);
  }
  return { ...sizes, storage, ring: { sinkTokens, window } };
}

function inUse(): AttentionError {
  return new AttentionError({
    code: 'INVALID_STATE',
    message: 'the cache is in use by a call that is not over: await it first',
  });
}

/** @internal New tokens of each row. */
export function readCounts(lengths: IntegerList | undefined, batch: number, length: number): Int32Array {
  if (lengths === undefined) return new Int32Array(batch).fill(length);
  const counts = integers('lengths', lengths, 0, length);
  if (counts.length !== batch)
    throw shapeError('lengths', `${batch} numbers, one per batch row`, [counts.length]);
  return counts;
}

/** Queries are tokens of the sequence: there cannot be more of them. */
function checkHeld(sequences: readonly Sequence[], counts: Int32Array, causal: boolean): void {
  sequences.forEach(({ length }, row) => {
    if (!causal || counts[row]! <= length) return;
    throw new AttentionError({
      code: 'INVALID_STATE',
      argument: 'query',
      expected: `at most the ${length} tokens that row ${row} holds: append them first`,
      received: `${counts[row]} queries`,
    });
  });
}

/** What the first query sees must be held; the others see what comes after it. */
function checkWindows(sequences: readonly Sequence[], counts: Int32Array, window: number): void {
  sequences.forEach((sequence, row) => {
    const { length, heldFrom, firstPages } = sequence;
    const first = length - counts[row]!;
    if (counts[row] === 0 || sequence.holds(Math.max(0, first - window + 1), length)) return;
    const most = length - heldFrom - window + 1;
    const gone = `tokens ${firstPages * PAGE_TOKENS} to ${heldFrom - 1}`;
    throw new AttentionError({
      code: 'INVALID_STATE',
      argument: 'query',
      expected: `at most the last ${most} tokens of row ${row}, because the ring no longer holds ${gone}`,
      received: `${counts[row]} queries`,
    });
  });
}

function checkShape(argument: string, tensor: Tensor, expected: readonly number[]): void {
  if (!sameShape(tensor.shape, expected)) throw shapeError(argument, describe(expected), tensor.shape);
}

/** What speaks of keys by their place cannot be said of a ring, where places move. */
function rejectWithRing(options: Readonly<Record<string, unknown>>): void {
  for (const argument of [
    'window',
    'mask',
    'bias',
    'alibi',
    'relativePositionBias',
    'returnWeights',
    'returnRecord',
    'causal',
  ]) {
    const given = options[argument];
    if (given === undefined || given === false) continue;
    throw new AttentionError({
      code: 'UNSUPPORTED',
      argument,
      expected: 'none with a ring, which has a window of its own and whose keys move',
      received: describe(given),
    });
  }
}
