// Sparse patterns: global tokens, strides, layouts of blocks.

import { integers } from '../runtime/checks.js';
import type { IntegerList } from '../runtime/checks.js';
import { invalidArgument, shapeError } from '../runtime/errors.js';
import { Mask, recorded } from './mask.js';
import type { Block, BlockAnswer, MaskContext, MaskSizes } from './mask.js';

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

/** Rows of blocks of queries by columns of blocks of keys; with a leading axis, one layout per head. */
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

function isLayout(value: unknown): boolean {
  return isListOf(isListOf((entry) => typeof entry === 'boolean' || typeof entry === 'number'))(value);
}

/**
 * Keeps the blocks whose entry is true. Blocks go by the indices of queries and keys in the call, not by positions.
 *
 * @param layout    [ceil(queries / blockSize)][ceil(keys / blockSize)], or that for each head
 * @param blockSize queries and keys per block
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
