// Masks as values: each knows which keys a query keeps, and can say of a whole block that it is empty or full, so that
// empty blocks are never computed and full ones never tested. `compile.ts` turns them into what the kernels read.

import { checkObject, checkOptions } from '../runtime/checks.js';
import type { NamesOf } from '../runtime/checks.js';
import { AttentionError, invalidArgument, shapeError } from '../runtime/errors.js';
import { current } from '../runtime/memory.js';

/** The call a mask is applied in. Query i of batch row b stands at key position i + offset(b). */
export interface MaskContext {
  /** Batch rows. */
  readonly batch: number;
  /** Query heads. */
  readonly heads: number;
  /** Queries of a batch row. */
  readonly queries: number;
  /** Keys of a batch row. */
  readonly keys: number;
  /** Key position of query 0 of a batch row. */
  readonly offset: (batch: number) => number;
  /** Keys of a batch row that are not padding (`keyLengths`). */
  readonly length: (batch: number) => number;
}

/** What a mask is checked against, before positions are known. */
type MaskSizes = Pick<MaskContext, 'batch' | 'heads' | 'queries' | 'keys'>;

/** What a mask says about a block of queries by keys. */
export type BlockAnswer = 'empty' | 'full' | 'mixed';

/** A block [queryFrom, queryTo) x [keyFrom, keyTo) of one batch row and head. */
export interface Block {
  /** Batch row. */
  readonly batch: number;
  /** Query head. */
  readonly head: number;
  /** First query. */
  readonly queryFrom: number;
  /** The query after the last. */
  readonly queryTo: number;
  /** First key. */
  readonly keyFrom: number;
  /** The key after the last. */
  readonly keyTo: number;
}

/** The keys [begin, end) a query keeps. */
export interface Interval {
  begin: number;
  end: number;
}

/** Marks masks of every copy of this package, such as that in the worker entry beside the main one. */
const brand = Symbol.for('wasm-attention.Mask');

/** How a mask was made: the name of the function and what it was given. */
export type MaskRecipe = readonly [name: string, ...given: unknown[]];

/**
 * A mask. Values are immutable; the arrays they were made from must not change afterwards.
 *
 * @example
 * ```js
 * const mask = or(slidingWindow({ left: 2, right: 2 }), globalTokens([0]));
 * scaledDotProductAttention(q, k, v, { mask });
 * ```
 */
export abstract class Mask {
  /** Whether batch rows differ. */
  abstract readonly perBatch: boolean;
  /** Whether heads differ. */
  abstract readonly perHead: boolean;

  /** @internal What lets a mask be made again in a worker; absent for masks that hold functions. */
  recipe: MaskRecipe | undefined;

  /** Whether batch rows differ only because their queries stand at other positions (MaskContext.offset, length). */
  readonly positional: boolean = false;

  /** @internal Whether it asks where queries stand (MaskContext.offset). */
  readonly needsPositions: boolean = false;

  static {
    Object.defineProperty(this.prototype, brand, { value: true });
  }

  /** `instanceof` holds across the copies of the class that entries have. */
  static [Symbol.hasInstance](value: unknown): boolean {
    if (this !== Mask) return Function.prototype[Symbol.hasInstance].call(this, value);
    return typeof value === 'object' && value !== null && brand in value;
  }

  /** Throws if the mask does not fit the call. */
  check(_sizes: MaskSizes): void {}

  /** @internal Key from which on all are padding in a batch row; Infinity where the mask knows of none. */
  length(_batch: number): number {
    return Infinity;
  }

  /** Whether query i keeps key j. */
  abstract keeps(context: MaskContext, batch: number, head: number, query: number, key: number): boolean;

  /** 'mixed' is always a right answer; the others save work. */
  block(_context: MaskContext, _block: Block): BlockAnswer {
    return 'mixed';
  }

  /** @internal Writes the interval of keys that a query keeps; false if they are not one interval. */
  interval(_context: MaskContext, _batch: number, _head: number, _query: number, _into: Interval): boolean {
    return false;
  }
}

/** @internal The mask, with how it was made. */
export function recorded(mask: Mask, ...recipe: MaskRecipe): Mask {
  mask.recipe = recipe;
  return mask;
}

/** A mask in which every query keeps one interval of keys: the kernels read these directly, at almost no cost. */
abstract class IntervalMask extends Mask {
  readonly perHead: boolean = false;
  readonly #interval: Interval = { begin: 0, end: 0 };

  abstract override interval(
    context: MaskContext,
    batch: number,
    head: number,
    query: number,
    into: Interval,
  ): boolean;

  keeps(context: MaskContext, batch: number, head: number, query: number, key: number): boolean {
    this.interval(context, batch, head, query, this.#interval);
    return this.#interval.begin <= key && key < this.#interval.end;
  }

  override block(context: MaskContext, block: Block): BlockAnswer {
    let empty = true;
    let full = true;
    for (let query = block.queryFrom; query < block.queryTo; query++) {
      this.interval(context, block.batch, block.head, query, this.#interval);
      const begin = Math.max(this.#interval.begin, block.keyFrom);
      const end = Math.min(this.#interval.end, block.keyTo);
      if (begin < end) empty = false;
      if (begin > block.keyFrom || end < block.keyTo) full = false;
    }
    return empty ? 'empty' : full ? 'full' : 'mixed';
  }
}

/** How the last query stands to the last key where their numbers differ. */
export type CausalAlignment = 'upper-left' | 'lower-right';

class CausalMask extends IntervalMask {
  readonly perBatch = true;
  override readonly positional = true;
  override readonly needsPositions: boolean;
  constructor(readonly alignment: CausalAlignment | undefined) {
    super();
    this.needsPositions = alignment === undefined;
  }
  interval(context: MaskContext, batch: number, _head: number, query: number, into: Interval): boolean {
    const offset =
      this.alignment === undefined
        ? context.offset(batch)
        : this.alignment === 'upper-left'
          ? 0
          : context.length(batch) - context.queries;
    into.begin = 0;
    into.end = query + offset + 1;
    return true;
  }
}

/**
 * Query i keeps keys up to its own position. Without an alignment, positions are those of the call: with as many
 * queries as keys nothing more is needed, and otherwise the call has to say them (`queryOffset`).
 *
 * @param alignment 'upper-left': query i is at key i (PyTorch's is_causal); 'lower-right': the last query is at the last
 *   key of its row, `keyLengths` minded (FlashAttention). Whatever the positions of the call are.
 * @throws AttentionError INVALID_ARGUMENT
 *
 * @example
 * ```js
 * scaledDotProductAttention(q, k, v, { mask: and(causal(), keyLengths([4])) }); // or { causal: true } on its own
 * ```
 */
export function causal(alignment?: CausalAlignment): Mask {
  if (alignment !== undefined && alignment !== 'upper-left' && alignment !== 'lower-right') {
    throw invalidArgument('alignment', "'upper-left' or 'lower-right'", alignment);
  }
  return recorded(new CausalMask(alignment), 'causal', alignment);
}

/** Keys beside the own one that a query keeps on each side; absent is unbounded. */
export interface Window {
  /** Keys before the own one. */
  readonly left?: number | undefined;
  /** Keys after the own one. */
  readonly right?: number | undefined;
}

export const WINDOW_NAMES = { left: 1, right: 1 } satisfies NamesOf<Window>;

class SlidingWindowMask extends IntervalMask {
  readonly perBatch = true;
  override readonly positional = true;
  override readonly needsPositions = true;
  constructor(
    readonly left: number,
    readonly right: number,
  ) {
    super();
  }
  interval(context: MaskContext, batch: number, _head: number, query: number, into: Interval): boolean {
    const position = query + context.offset(batch);
    into.begin = position - this.left;
    into.end = position + this.right + 1;
    return true;
  }
}

/**
 * Query at position p keeps keys p - left to p + right: that many beside the own one (FlashAttention, ONNX).
 * A window w of Hugging Face or onnxruntime counts the own key: left = w - 1. Positions are those of the call, as for
 * `causal()`.
 *
 * @throws AttentionError INVALID_ARGUMENT
 *
 * @example
 * ```js
 * scaledDotProductAttention(q, k, v, { mask: slidingWindow({ left: 2, right: 0 }) }); // three keys: the own one, and two before
 * ```
 */
export function slidingWindow(window: Window): Mask {
  checkObject('window', window, '{ left, right }');
  checkOptions(window, WINDOW_NAMES, {}, 'window');
  const { left, right } = window;
  return recorded(
    new SlidingWindowMask(checkSide('left', left), checkSide('right', right)),
    'slidingWindow',
    window,
  );
}

function checkSide(argument: string, side: number | undefined): number {
  if (side === undefined || side === Infinity) return Infinity;
  if (Number.isInteger(side) && side >= 0) return side;
  throw invalidArgument(`window.${argument}`, 'an integer >= 0, or undefined for unbounded', side);
}

/** Integers from an option: an array, a typed array, BigInt64Array, or one number for all batch rows. */
export type IntegerList = readonly number[] | Int32Array | BigInt64Array;

/** @internal Checked integers from a list. */
export function integers(argument: string, list: IntegerList, lowest: number, highest: number): Int32Array {
  const listed = current(list) as ArrayLike<number | bigint> | undefined;
  if (
    listed === undefined ||
    listed === null ||
    typeof listed !== 'object' ||
    typeof listed.length !== 'number'
  ) {
    throw invalidArgument(argument, 'a list of integers', list);
  }
  const result = new Int32Array(listed.length);
  for (let i = 0; i < result.length; i++) {
    const given: unknown = listed[i];
    const value = typeof given === 'bigint' ? Number(given) : given;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < lowest || value > highest) {
      throw invalidArgument(`${argument}[${i}]`, `an integer from ${lowest} to ${highest}`, given);
    }
    result[i] = value;
  }
  return result;
}

/** Keys below a length, given per batch row (or one for all). */
class LengthMask extends IntervalMask {
  readonly perBatch: boolean;
  readonly lengths: Int32Array;
  constructor(
    readonly argument: string,
    lengths: IntegerList,
  ) {
    super();
    this.lengths = integers(argument, lengths, 0, 2 ** 31 - 1);
    this.perBatch = this.lengths.length > 1;
  }
  override check(sizes: MaskSizes): void {
    const lengths = integers(this.argument, this.lengths, 0, sizes.keys);
    if (lengths.length !== 1 && lengths.length !== sizes.batch) {
      throw shapeError(this.argument, `one length, or one a batch row (${sizes.batch})`, this.lengths);
    }
  }
  interval(_context: MaskContext, batch: number, _head: number, _query: number, into: Interval): boolean {
    into.begin = 0;
    into.end = this.#of(batch);
    return true;
  }
  override length(batch: number): number {
    return this.argument === 'keyLengths' ? this.#of(batch) : Infinity;
  }
  #of(batch: number): number {
    return Number(this.lengths[this.lengths.length === 1 ? 0 : batch]);
  }
}

/**
 * Keys at or beyond a batch row's length are removed (padding on the right). Lengths must be within 0..keys.
 *
 * @throws AttentionError INVALID_ARGUMENT; where it is used, INVALID_SHAPE for other than one length or one a batch row
 *
 * @example
 * ```js
 * scaledDotProductAttention(q, k, v, { mask: keyLengths([3]) }); // the last two keys are padding
 * ```
 */
export function keyLengths(lengths: IntegerList): Mask {
  return recorded(new LengthMask('keyLengths', lengths), 'keyLengths', lengths);
}

/**
 * Every query keeps the first `lengths[b]` keys. For a prefix language model: `or(causal(), prefix(lengths))`.
 *
 * @throws AttentionError INVALID_ARGUMENT; where it is used, INVALID_SHAPE for other than one length or one a batch row
 *
 * @example
 * ```js
 * scaledDotProductAttention(q, k, v, { mask: or(causal(), prefix([2])) }); // a prompt of two tokens, seen whole
 * ```
 */
export function prefix(lengths: IntegerList): Mask {
  return recorded(new LengthMask('prefix', lengths), 'prefix', lengths);
}

/** Which document each position belongs to. */
export type Documents =
  | {
      /** The document of each position: any integers; one list for all batch rows. */
      readonly ids: IntegerList;
    }
  | {
      /** The same, a list a batch row. */
      readonly ids: readonly IntegerList[];
    }
  | {
      /** [0, end of the first document, ..., number of keys]. */
      readonly cumulativeLengths: IntegerList;
    };

class DocumentsMask extends Mask {
  readonly perBatch = true;
  override readonly positional: boolean;
  override readonly needsPositions = true;
  readonly perHead = false;
  readonly #ids: readonly Int32Array[];
  /** First key and the key after the last of each position's document, where documents are runs. */
  readonly #begins: (Int32Array | undefined)[];
  readonly #ends: (Int32Array | undefined)[];

  constructor(ids: readonly Int32Array[]) {
    super();
    this.#ids = ids;
    this.positional = ids.length === 1;
    this.#begins = [];
    this.#ends = [];
    for (const row of ids) {
      const runs = runsOf(row);
      this.#begins.push(runs?.begins);
      this.#ends.push(runs?.ends);
    }
  }

  override check(sizes: MaskSizes): void {
    const fits = this.#ids.every((row) => row.length === sizes.keys);
    if (!fits || (this.#ids.length !== 1 && this.#ids.length !== sizes.batch)) {
      throw new AttentionError({
        code: 'INVALID_SHAPE',
        argument: 'documents',
        expected: `${sizes.keys} positions, for all or each of ${sizes.batch} batch rows`,
        received: `${this.#ids.length} x ${this.#ids[0]?.length ?? 0}`,
      });
    }
  }

  keeps(context: MaskContext, batch: number, _head: number, query: number, key: number): boolean {
    const ids = this.#row(batch);
    const position = query + context.offset(batch);
    return position >= 0 && position < ids.length && ids[position] === ids[key];
  }

  override interval(
    context: MaskContext,
    batch: number,
    _head: number,
    query: number,
    into: Interval,
  ): boolean {
    const row = this.#ids.length === 1 ? 0 : batch;
    const begins = this.#begins[row];
    if (begins === undefined) return false;
    const position = query + context.offset(batch);
    const inside = position >= 0 && position < begins.length;
    into.begin = inside ? begins[position]! : 0;
    into.end = inside ? this.#ends[row]![position]! : 0;
    return true;
  }

  #row(batch: number): Int32Array {
    return this.#ids[this.#ids.length === 1 ? 0 : batch]!;
  }
}

/** Begin and end of the run each position is in, or undefined if an id comes back after another. */
function runsOf(ids: Int32Array): { begins: Int32Array; ends: Int32Array } | undefined {
  const begins = new Int32Array(ids.length);
  const ends = new Int32Array(ids.length);
  const seen = new Set<number>();
  let begin = 0;
  for (let i = 0; i <= ids.length; i++) {
    if (i < ids.length && i > begin && ids[i] === ids[begin]) continue;
    if (i > begin) {
      if (seen.has(ids[begin]!)) return undefined;
      seen.add(ids[begin]!);
      begins.fill(begin, begin, i);
      ends.fill(i, begin, i);
    }
    begin = i;
  }
  return { begins, ends };
}

/**
 * Queries keep the keys of their own document: packed sequences that must not see each other. Positions are those of the
 * call, as for `causal()`.
 *
 * @param documents `ids`: one integer a position (one list, or one a batch row); or `cumulativeLengths`:
 *   [0, end of the first, ..., number of keys]
 * @throws AttentionError INVALID_ARGUMENT
 *
 * @example
 * ```js
 * scaledDotProductAttention(q, k, v, { mask: documents({ ids: [0, 0, 1, 1, 1] }) });
 * scaledDotProductAttention(q, k, v, { mask: documents({ cumulativeLengths: [0, 2, 5] }) }); // the same
 * ```
 */
export function documents(documents: Documents): Mask {
  checkObject('documents', documents, '{ ids } or { cumulativeLengths }');
  checkOptions(
    documents,
    'cumulativeLengths' in documents ? { cumulativeLengths: 1 } : { ids: 1 },
    {},
    'documents',
  );
  if ('cumulativeLengths' in documents) {
    const ids = idsFromCumulative('cumulativeLengths', documents.cumulativeLengths);
    return recorded(new DocumentsMask([ids]), 'documents', documents);
  }
  const ids = documents.ids;
  const nested = Array.isArray(ids) && ids.length > 0 && typeof ids[0] === 'object';
  const lists = (nested ? ids : [ids]) as readonly IntegerList[];
  const rows = lists.map((list) => integers('documents.ids', list, -(2 ** 31), 2 ** 31 - 1));
  return recorded(new DocumentsMask(rows), 'documents', documents);
}

/** @internal Checked cumulative lengths: 0 first, never falling. */
export function checkCumulative(argument: string, cumulative: IntegerList): Int32Array {
  const bounds = integers(argument, cumulative, 0, 2 ** 31 - 1);
  let rising = bounds.length >= 1 && bounds[0] === 0;
  for (let i = 1; i < bounds.length; i++) rising &&= bounds[i]! >= bounds[i - 1]!;
  if (rising) return bounds;
  throw invalidArgument(argument, 'integers that start at 0 and never fall', cumulative);
}

function idsFromCumulative(argument: string, cumulative: IntegerList): Int32Array {
  const bounds = checkCumulative(argument, cumulative);
  const ids = new Int32Array(bounds[bounds.length - 1]!);
  for (let i = 1; i < bounds.length; i++) ids.fill(i, bounds[i - 1], bounds[i]);
  return ids;
}

class GlobalTokensMask extends Mask {
  readonly perBatch = true;
  override readonly positional = true;
  override readonly needsPositions = true;
  readonly perHead = false;
  readonly #tokens: Set<number>;
  readonly #sorted: Int32Array;
  constructor(indices: IntegerList) {
    super();
    this.#tokens = new Set(integers('globalTokens', indices, 0, 2 ** 31 - 1));
    this.#sorted = Int32Array.from(this.#tokens).sort(); // each once: they are counted
  }
  override check(sizes: MaskSizes): void {
    integers('globalTokens', this.#sorted, 0, Math.max(sizes.keys, sizes.queries) - 1);
  }
  keeps(context: MaskContext, batch: number, _head: number, query: number, key: number): boolean {
    return this.#tokens.has(key) || this.#tokens.has(query + context.offset(batch));
  }
  override block(context: MaskContext, block: Block): BlockAnswer {
    const offset = context.offset(block.batch);
    const keys = this.#count(block.keyFrom, block.keyTo);
    const queries = this.#count(block.queryFrom + offset, block.queryTo + offset);
    if (keys === 0 && queries === 0) return 'empty';
    const full = keys === block.keyTo - block.keyFrom || queries === block.queryTo - block.queryFrom;
    return full ? 'full' : 'mixed';
  }
  #count(from: number, to: number): number {
    let count = 0;
    for (const token of this.#sorted) if (from <= token && token < to) count++;
    return count;
  }
}

/**
 * These tokens see every key and are seen by every query (Longformer). Usually in `or(slidingWindow(...), globalTokens(...))`.
 * Positions are those of the call, as for `causal()`.
 *
 * @throws AttentionError INVALID_ARGUMENT; where it is used, also for an index past the end
 *
 * @example
 * ```js
 * scaledDotProductAttention(q, k, v, { mask: or(slidingWindow({ left: 1, right: 1 }), globalTokens([0])) });
 * ```
 */
export function globalTokens(indices: IntegerList): Mask {
  return recorded(new GlobalTokensMask(indices), 'globalTokens', indices);
}

class StridedMask extends Mask {
  readonly perBatch = true;
  override readonly positional = true;
  override readonly needsPositions = true;
  readonly perHead = false;
  constructor(readonly stride: number) {
    super();
  }
  keeps(context: MaskContext, batch: number, _head: number, query: number, key: number): boolean {
    return (query + context.offset(batch) - key) % this.stride === 0;
  }
  override block(_context: MaskContext, _block: Block): BlockAnswer {
    return this.stride === 1 ? 'full' : 'mixed';
  }
}

/**
 * Query at position p keeps keys p, p - stride, p + stride, ... (the strided part of sparse transformers). Positions are
 * those of the call, as for `causal()`.
 *
 * @throws AttentionError INVALID_ARGUMENT
 *
 * @example
 * ```js
 * scaledDotProductAttention(q, k, v, { mask: and(causal(), strided(2)) });
 * ```
 */
export function strided(stride: number): Mask {
  if (!Number.isInteger(stride) || stride < 1) {
    throw invalidArgument('stride', 'an integer >= 1', stride);
  }
  return recorded(new StridedMask(stride), 'strided', stride);
}

/** Rows of blocks of queries by columns of blocks of keys; with a leading axis, one layout a head. */
export type BlockLayout =
  readonly (readonly (boolean | number)[])[] | readonly (readonly (readonly (boolean | number)[])[])[];

type HeadLayouts = readonly (readonly (readonly (boolean | number)[])[])[];

class BlockSparseMask extends Mask {
  readonly perBatch = false;
  readonly perHead: boolean;
  readonly #layouts: HeadLayouts;
  readonly #blockSize: number;
  constructor(layout: BlockLayout, blockSize: number) {
    super();
    this.perHead = Array.isArray(layout[0]?.[0]);
    this.#layouts = (this.perHead ? layout : [layout]) as HeadLayouts;
    this.#blockSize = blockSize;
  }
  override check(sizes: MaskSizes): void {
    const rows = Math.ceil(sizes.queries / this.#blockSize);
    const columns = Math.ceil(sizes.keys / this.#blockSize);
    const fits = this.#layouts.every(
      (layout) => layout.length === rows && layout.every((row) => row.length === columns),
    );
    if (!fits || (this.perHead && this.#layouts.length !== sizes.heads)) {
      throw shapeError(
        'blockSparse.layout',
        `${rows} x ${columns} blocks${this.perHead ? ` for each of ${sizes.heads} heads` : ''}`,
        this.#layouts.map((layout) => [layout.length, layout[0]?.length ?? 0]).flat(),
      );
    }
  }
  keeps(_context: MaskContext, _batch: number, head: number, query: number, key: number): boolean {
    const layout = this.#layouts[this.perHead ? head : 0]!;
    return Boolean(layout[Math.floor(query / this.#blockSize)]![Math.floor(key / this.#blockSize)]);
  }
  override block(_context: MaskContext, block: Block): BlockAnswer {
    const layout = this.#layouts[this.perHead ? block.head : 0]!;
    let empty = true;
    let full = true;
    for (let i = Math.floor(block.queryFrom / this.#blockSize); i * this.#blockSize < block.queryTo; i++) {
      for (let j = Math.floor(block.keyFrom / this.#blockSize); j * this.#blockSize < block.keyTo; j++) {
        if (layout[i]![j]) empty = false;
        else full = false;
      }
    }
    return empty ? 'empty' : full ? 'full' : 'mixed';
  }
}

/** Copied, because `every` passes over holes. */
function isListOf(isItem: (item: unknown) => boolean): (value: unknown) => boolean {
  return (value) => Array.isArray(value) && Array.from(value).every(isItem);
}

const isLayout = isListOf(isListOf((entry) => typeof entry === 'boolean' || typeof entry === 'number'));

/**
 * Keeps the blocks whose entry is true. Blocks go by the indices of queries and keys in the call, not by positions.
 *
 * @param layout    [ceil(queries / blockSize)][ceil(keys / blockSize)], or that for each head
 * @param blockSize queries and keys a block
 * @throws AttentionError INVALID_ARGUMENT
 *
 * @example
 * ```js
 * const layout = [
 *   [true, false],
 *   [true, true],
 * ];
 * scaledDotProductAttention(q, k, v, { mask: blockSparse(layout, 3) }); // 5 tokens are 2 blocks of up to 3
 * ```
 */
export function blockSparse(layout: BlockLayout, blockSize: number): Mask {
  if (!Number.isInteger(blockSize) || blockSize < 1) {
    throw invalidArgument('blockSize', 'an integer >= 1', blockSize);
  }
  if (!isLayout(layout) && !isListOf(isLayout)(layout)) {
    throw invalidArgument('blockSparse.layout', 'rows of booleans, or that for each head', layout);
  }
  return recorded(new BlockSparseMask(layout, blockSize), 'blockSparse', layout, blockSize);
}

/** A mask of one's own. */
export interface CustomMask {
  /**
   * Whether a query keeps a key: indices in the call, from 0, whatever `queryOffset` or `causal` say of positions. Must
   * always give the same answer.
   */
  readonly keeps: (batch: number, head: number, query: number, key: number) => boolean;
  /** What holds for a whole block, where that is known; saves asking for each pair. Default: 'mixed'. */
  readonly block?: ((block: Block) => BlockAnswer) | undefined;
  /** Whether batch rows differ. Default false. */
  readonly perBatch?: boolean | undefined;
  /** Whether heads differ. Default false. */
  readonly perHead?: boolean | undefined;
}

const CUSTOM_MASK_NAMES = { keeps: 1, block: 1, perBatch: 1, perHead: 1 } satisfies NamesOf<CustomMask>;

class PredicateMask extends Mask {
  readonly perBatch: boolean;
  readonly perHead: boolean;
  readonly #custom: CustomMask;
  constructor(custom: CustomMask) {
    super();
    this.#custom = custom;
    this.perBatch = custom.perBatch ?? false;
    this.perHead = custom.perHead ?? false;
  }
  keeps(_context: MaskContext, batch: number, head: number, query: number, key: number): boolean {
    return this.#custom.keeps(batch, head, query, key);
  }
  override block(_context: MaskContext, block: Block): BlockAnswer {
    return this.#custom.block?.(block) ?? 'mixed';
  }
}

/**
 * A mask from a predicate. It is asked only where `block` answers 'mixed', once for all calls of the same sizes.
 *
 * @throws AttentionError INVALID_ARGUMENT
 *
 * @example
 * ```js
 * const even = customMask({ keeps: (batch, head, query, key) => key % 2 === 0 });
 * scaledDotProductAttention(q, k, v, { mask: and(causal(), even) });
 * ```
 */
export function customMask(custom: CustomMask): Mask {
  if (typeof custom?.keeps !== 'function') {
    throw invalidArgument('customMask.keeps', 'a function of batch, head, query and key', custom?.keeps);
  }
  // An instance of a class may hold whatever its methods need.
  if (Object.getPrototypeOf(custom) === Object.prototype)
    checkOptions(custom, CUSTOM_MASK_NAMES, {}, 'customMask');
  if (custom.block !== undefined && typeof custom.block !== 'function') {
    throw invalidArgument('customMask.block', 'a function of a block, or none', custom.block);
  }
  return new PredicateMask(custom);
}

/** @internal All parts must hold. */
export class AndMask extends Mask {
  readonly perBatch: boolean;
  readonly perHead: boolean;
  override readonly needsPositions: boolean;
  constructor(readonly parts: readonly Mask[]) {
    super();
    this.needsPositions = parts.some((part) => part.needsPositions);
    this.perBatch = parts.some((part) => part.perBatch);
    this.perHead = parts.some((part) => part.perHead);
  }
  override check(sizes: MaskSizes): void {
    for (const part of this.parts) part.check(sizes);
  }
  override length(batch: number): number {
    return Math.min(...this.parts.map((part) => part.length(batch)));
  }
  keeps(context: MaskContext, batch: number, head: number, query: number, key: number): boolean {
    return this.parts.every((part) => part.keeps(context, batch, head, query, key));
  }
  override block(context: MaskContext, block: Block): BlockAnswer {
    let answer: BlockAnswer = 'full';
    for (const part of this.parts) {
      const one = part.block(context, block);
      if (one === 'empty') return 'empty';
      if (one === 'mixed') answer = 'mixed';
    }
    return answer;
  }
  override interval(
    context: MaskContext,
    batch: number,
    head: number,
    query: number,
    into: Interval,
  ): boolean {
    const one: Interval = { begin: 0, end: 0 };
    into.begin = 0;
    into.end = context.keys;
    for (const part of this.parts) {
      if (!part.interval(context, batch, head, query, one)) return false;
      into.begin = Math.max(into.begin, one.begin);
      into.end = Math.min(into.end, one.end);
    }
    return true;
  }
}

class OrMask extends Mask {
  readonly perBatch: boolean;
  readonly perHead: boolean;
  override readonly needsPositions: boolean;
  constructor(readonly parts: readonly Mask[]) {
    super();
    this.needsPositions = parts.some((part) => part.needsPositions);
    this.perBatch = parts.some((part) => part.perBatch);
    this.perHead = parts.some((part) => part.perHead);
  }
  override check(sizes: MaskSizes): void {
    for (const part of this.parts) part.check(sizes);
  }
  keeps(context: MaskContext, batch: number, head: number, query: number, key: number): boolean {
    return this.parts.some((part) => part.keeps(context, batch, head, query, key));
  }
  override block(context: MaskContext, block: Block): BlockAnswer {
    let answer: BlockAnswer = 'empty';
    for (const part of this.parts) {
      const one = part.block(context, block);
      if (one === 'full') return 'full';
      if (one === 'mixed') answer = 'mixed';
    }
    return answer;
  }
  /** The union, as long as the parts touch. */
  override interval(
    context: MaskContext,
    batch: number,
    head: number,
    query: number,
    into: Interval,
  ): boolean {
    const one: Interval = { begin: 0, end: 0 };
    into.begin = 0;
    into.end = 0;
    const rest: Interval[] = [];
    for (const part of this.parts) {
      if (!part.interval(context, batch, head, query, one)) return false;
      const begin = Math.max(0, one.begin);
      const end = Math.min(context.keys, one.end);
      if (begin < end) rest.push({ begin, end });
    }
    rest.sort((a, b) => a.begin - b.begin);
    for (const next of rest) {
      if (into.begin === into.end) Object.assign(into, next);
      else if (next.begin > into.end) return false;
      else into.end = Math.max(into.end, next.end);
    }
    return true;
  }
}

/**
 * Keeps what every mask keeps.
 *
 * @throws AttentionError INVALID_ARGUMENT
 *
 * @example
 * ```js
 * scaledDotProductAttention(q, k, v, { mask: and(causal(), documents({ ids: [0, 0, 1, 1, 1] })) });
 * ```
 */
export function and(...masks: readonly Mask[]): Mask {
  return recorded(new AndMask(checkMasks('and', masks)), 'and', ...masks);
}

/**
 * Keeps what any of the masks keeps.
 *
 * @throws AttentionError INVALID_ARGUMENT
 *
 * @example
 * ```js
 * scaledDotProductAttention(q, k, v, { mask: or(causal(), prefix([2])) });
 * ```
 */
export function or(...masks: readonly Mask[]): Mask {
  return recorded(new OrMask(checkMasks('or', masks)), 'or', ...masks);
}

function checkMasks(argument: string, masks: readonly Mask[]): readonly Mask[] {
  for (const mask of masks) {
    if (mask instanceof Mask) continue;
    throw invalidArgument(argument, 'masks (a dense one is made with denseMask)', mask);
  }
  if (masks.length > 0) return masks;
  throw new AttentionError({
    code: 'INVALID_ARGUMENT',
    argument,
    expected: 'at least one mask',
    received: 'none',
  });
}
