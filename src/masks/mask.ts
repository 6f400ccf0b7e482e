// Masks as values: each knows which keys a query keeps, and can say of a whole block that it is empty or full, so that
// empty blocks are never computed and full ones never tested. `compile.ts` turns them into what the kernels read.

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
export type MaskSizes = Pick<MaskContext, 'batch' | 'heads' | 'queries' | 'keys'>;

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

  /** @internal First key of a batch row's padding; Infinity if the mask knows of none. */
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
