// What measures know of the tokens that attend: which of them count, which is the first, and where each occurred before.

import { readGrid, readPadding } from '../model/inputs.js';
import type { Grid, TokenList } from '../model/inputs.js';
import { describe, shapeError } from '../runtime/errors.js';
import type { Opened } from './attention.js';

/** The tokens of an attention, as they were given to the model. */
export interface TokenOptions {
  /**
   * Token ids at the keys, [batch, keys], as given to the model; of a cache, those of all it holds. Lists of different lengths are padded
   * on the right. Without them no token is known to be another's duplicate.
   */
  readonly inputIds?: TokenList | undefined;
  /**
   * 1 for tokens, 0 for padding, which does not count: [batch, keys], or as many as queries of an attention over other tokens than its own.
   * Default: what the lists of ids or the record's `keyLengths` say; without either all are tokens.
   */
  readonly attentionMask?: TokenList | undefined;
}

/** Tokens by their position. */
export class Tokens {
  readonly #keys: number;
  readonly #length: number;
  /** Whether the padding is that of the keys, too. */
  readonly #ofKeys: boolean;
  /** Tokens of each row, [batch]. */
  readonly #lengths: ArrayLike<number> | undefined;
  /** 1 for tokens, [batch, length]. */
  readonly #mask: Uint8Array | undefined;
  /** Where each token occurred last before, [batch, length]; -1: nowhere. */
  readonly #earlier: Int32Array | undefined;

  constructor(attention: Opened, { inputIds, attentionMask }: TokenOptions) {
    const { batch, keys } = attention;
    const grid = inputIds === undefined ? undefined : readGrid('inputIds', inputIds, true);
    if (grid && (grid.batch !== batch || grid.length !== keys))
      throw shapeError('inputIds', `[${batch}, ${keys}], ids of all keys`, [grid.batch, grid.length]);
    const given = attentionMask === undefined ? undefined : readMask(attention, attentionMask, grid);
    const { lengths, mask } = given ?? { lengths: grid?.lengths };
    this.#keys = keys;
    this.#length = given?.length ?? keys;
    this.#ofKeys = this.#length === keys;
    this.#lengths = lengths ?? (given ? undefined : attention.lengths);
    this.#mask = mask;
    this.#earlier = grid && this.#findEarlier(grid);
  }

  /** Whether a query at a position is a token, and no padding. */
  has(batch: number, position: number): boolean {
    if (position < 0) return false;
    if (this.#mask) return position < this.#length && this.#mask[batch * this.#length + position] === 1;
    return position < (this.#lengths?.[batch] ?? Infinity);
  }

  /** Whether a key is there, and no padding. */
  hasKey(batch: number, key: number): boolean {
    return key >= 0 && key < this.#keys && (!this.#ofKeys || this.has(batch, key));
  }

  /** The first key that is no padding; 0 where all are. */
  first(batch: number): number {
    if (!this.#mask || !this.#ofKeys) return 0;
    const row = this.#mask.subarray(batch * this.#length, (batch + 1) * this.#length);
    return Math.max(0, row.indexOf(1));
  }

  /** Where the token at a position occurred before, the last time first. */
  *earlier(batch: number, position: number): Generator<number, void, undefined> {
    if (!this.#earlier || position >= this.#length) return;
    const row = batch * this.#length;
    for (let key = this.#earlier[row + position]!; key >= 0; key = this.#earlier[row + key]!) yield key;
  }

  #findEarlier({ batch, length, values }: Grid): Int32Array {
    const earlier = new Int32Array(batch * length).fill(-1);
    for (let b = 0; b < batch; b++) {
      const last = new Map<number, number>();
      for (let position = 0; position < length; position++) {
        if (!this.has(b, position)) continue;
        const at = b * length + position;
        earlier[at] = last.get(values[at]!) ?? -1;
        last.set(values[at]!, position);
      }
    }
    return earlier;
  }
}

/** Padding of the sequence whose tokens attend: that of the keys, or another. */
function readMask(
  { batch, keys, queries, offsets }: Opened,
  attentionMask: TokenList,
  ids: Grid | undefined,
): { length: number; lengths?: Int32Array | undefined; mask?: Uint8Array | undefined } {
  const grid = readGrid('attentionMask', attentionMask, ids?.lengths !== undefined);
  const ends = offsets.map((offset) => offset + queries);
  const fits = grid.length === keys || (!ids && grid.length === ends.reduce((a, b) => Math.max(a, b), 0));
  if (grid.batch !== batch || !fits)
    throw shapeError('attentionMask', describe([batch, keys]), [grid.batch, grid.length]);
  return { length: grid.length, ...readPadding('attentionMask', grid.values, ids ?? grid) };
}
