// Masks in which every query keeps one interval of keys.

import { checkObject, checkOptions, integers } from '../runtime/checks.js';
import type { IntegerList, NamesOf } from '../runtime/checks.js';
import { invalidArgument, shapeError } from '../runtime/errors.js';
import { Mask, recorded } from './mask.js';
import type { Block, BlockAnswer, Interval, MaskContext, MaskSizes } from './mask.js';

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

/** How queries line up with keys where there are more of one than of the other. */
export type CausalAlignment = 'upper-left' | 'lower-right';

/** As many keys on each side of a query's position: that of the call, or where an alignment puts the query. */
class BandMask extends IntervalMask {
  readonly perBatch = true;
  override readonly positional = true;
  override readonly needsPositions: boolean;
  constructor(
    readonly left: number,
    readonly right: number,
    readonly alignment?: CausalAlignment,
  ) {
    super();
    this.needsPositions = alignment === undefined;
  }
  interval(context: MaskContext, batch: number, _head: number, query: number, into: Interval): boolean {
    const position = query + this.#offset(context, batch);
    into.begin = position - this.left;
    into.end = position + this.right + 1;
    return true;
  }
  #offset(context: MaskContext, batch: number): number {
    if (this.alignment === undefined) return context.offset(batch);
    return this.alignment === 'upper-left' ? 0 : context.length(batch) - context.queries;
  }
}

/**
 * Query i keeps keys up to its own position. Without an alignment, positions are those of the call: with as many
 * queries as keys nothing more is needed; otherwise the call has to give them (`queryOffset`).
 *
 * @param alignment 'upper-left': query i is at key i (PyTorch's is_causal); 'lower-right': the last query is at the last
 *   key of its row that is not padding (FlashAttention), whatever the positions of the call.
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
  return recorded(new BandMask(Infinity, 0, alignment), 'causal', alignment);
}

/** Keys that a query keeps on each side besides its own; absent means unbounded. */
export interface Window {
  /** Keys before its own. */
  readonly left?: number | undefined;
  /** Keys after its own. */
  readonly right?: number | undefined;
}

export const WINDOW_NAMES = { left: 1, right: 1 } satisfies NamesOf<Window>;

/**
 * Query at position p keeps keys p - left to p + right: that many besides its own (FlashAttention, ONNX).
 * A window w of Hugging Face or onnxruntime includes the query's own key: left = w - 1. Positions are those of the call, as for
 * `causal()`.
 *
 * @throws AttentionError INVALID_ARGUMENT
 *
 * @example
 * ```js
 * scaledDotProductAttention(q, k, v, { mask: slidingWindow({ left: 2, right: 0 }) }); // three keys: its own and the two before
 * ```
 */
export function slidingWindow(window: Window): Mask {
  checkObject('window', window, '{ left, right }');
  checkOptions(window, WINDOW_NAMES, {}, 'window');
  const { left, right } = window;
  return recorded(new BandMask(checkSide('left', left), checkSide('right', right)), 'slidingWindow', window);
}

function checkSide(argument: string, side: number | undefined): number {
  if (side === undefined || side === Infinity) return Infinity;
  if (Number.isInteger(side) && side >= 0) return side;
  throw invalidArgument(`window.${argument}`, 'an integer >= 0, or undefined for unbounded', side);
}

/** Keys below a length, one per batch row or one for all. */
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
      throw shapeError(this.argument, `one length, or one per batch row (${sizes.batch})`, this.lengths);
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
 * @throws AttentionError INVALID_ARGUMENT; where it is used, INVALID_SHAPE for other than one length or one per batch row
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
 * @throws AttentionError INVALID_ARGUMENT; where it is used, INVALID_SHAPE for other than one length or one per batch row
 *
 * @example
 * ```js
 * scaledDotProductAttention(q, k, v, { mask: or(causal(), prefix([2])) }); // a prompt of two tokens, seen whole
 * ```
 */
export function prefix(lengths: IntegerList): Mask {
  return recorded(new LengthMask('prefix', lengths), 'prefix', lengths);
}
