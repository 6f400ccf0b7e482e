// Writes tokens of one sequence into pages of a key/value cache.

import type { CallScope } from '../../runtime/inputs.js';
import type { Tensor } from '../../runtime/tensor.js';

/** How elements are kept in a page; the numbers are those of assembly/cache/page.ts. */
export type CacheStorage = 'float32' | 'float16' | 'int8';

export const STORAGE_CODES: Readonly<Record<CacheStorage, number>> = { float32: 0, float16: 1, int8: 2 };

/** Keys a page holds, and a block of the attention kernels has: KEY_BLOCK of assembly/attention/workspace.ts. */
export const PAGE_TOKENS = 128;

/** Rotation of keys on their way in: tables, and a row of them for each token. */
export interface AppendRotary {
  /** Address of i32 rows of the tables, one a token. */
  readonly positions: number;
  readonly cos: number;
  readonly sin: number;
  readonly pairs: number;
  readonly interleaved: boolean;
}

/** Some tokens of one batch row. */
export interface AppendedTokens {
  readonly row: number;
  readonly count: number;
  /** Place of the first token, counted from the first page of the table. */
  readonly place: number;
  readonly pages: Int32Array;
  readonly rotary?: AppendRotary | undefined;
}

/** @internal Words in the order of AppendParameters in assembly/cache/append.ts; a test holds them together. */
export const APPEND_WORDS = 18;

/** @internal Runs the kernel. `keys` and `values` are [batch, heads, length, dim] with contiguous last axes. */
export function appendTokens(
  scope: CallScope,
  keys: Tensor,
  values: Tensor,
  storage: CacheStorage,
  tokens: AppendedTokens,
): void {
  const { kernels } = scope.runtime;
  const { row, count, place, pages, rotary } = tokens;
  const words = [
    keys.address + row * keys.strides[0]! * 4,
    keys.strides[1]! * 4,
    keys.strides[2]! * 4,
    values.address + row * values.strides[0]! * 4,
    values.strides[1]! * 4,
    values.strides[2]! * 4,
    keys.shape[1]!,
    keys.shape[3]!,
    values.shape[3]!,
    STORAGE_CODES[storage],
    count,
    place,
    scope.integers(pages),
    rotary?.positions ?? 0,
    rotary?.cos ?? 0,
    rotary?.sin ?? 0,
    rotary?.pairs ?? 0,
    rotary?.interleaved ? 1 : 0,
  ];
  const block = scope.integers(words);
  const scratch = scope.allocate(kernels.appendScratchBytes(block));
  scope.then(() => kernels.cacheAppend(block, scratch));
}
