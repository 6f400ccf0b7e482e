// Writes tokens of one sequence into pages of a key/value cache.

import { appendParameters, FLOAT16, FLOAT32, INT8, KEY_BLOCK } from '../../../build/kernels.js';
import type { CallScope } from '../../runtime/call-scope.js';
import { ParameterBlock } from '../../runtime/parameters.js';
import type { Tensor } from '../../runtime/tensor.js';

/** How elements are kept in a page. */
export type CacheStorage = 'float32' | 'float16' | 'int8';

export const STORAGE_CODES: Readonly<Record<CacheStorage, number>> = {
  float32: FLOAT32,
  float16: FLOAT16,
  int8: INT8,
};

/** Keys a page holds: a block of the attention kernels. */
export const PAGE_TOKENS = KEY_BLOCK;

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
  readonly pages: ArrayLike<number>;
  readonly rotary?: AppendRotary | undefined;
}

const appendBlock = /* @__PURE__ */ new ParameterBlock(appendParameters);

/** @internal Runs the kernel. `keys` and `values` are [batch, heads, length, dim] with contiguous last axes. */
export function appendTokens(
  scope: CallScope,
  keys: Tensor,
  values: Tensor,
  storage: CacheStorage,
  tokens: AppendedTokens,
): void {
  const { kernels, linearMemory } = scope.runtime;
  const { row, count, place, pages, rotary } = tokens;
  const block = scope.allocate(appendBlock.bytes);
  appendBlock.write(linearMemory, block, [
    {
      key: keys.address + row * keys.strides[0]! * 4,
      keyHeadStride: keys.strides[1]! * 4,
      keyRowStride: keys.strides[2]! * 4,
      value: values.address + row * values.strides[0]! * 4,
      valueHeadStride: values.strides[1]! * 4,
      valueRowStride: values.strides[2]! * 4,
      keyHeads: keys.shape[1]!,
      headDim: keys.shape[3]!,
      valueHeadDim: values.shape[3]!,
      storage: STORAGE_CODES[storage],
      count,
      place,
      pages: scope.integers(pages),
    },
    rotary ? { ...rotary, interleaved: rotary.interleaved ? 1 : 0 } : {},
  ]);
  const scratch = scope.allocate(kernels.appendScratchBytes(block));
  scope.then(() => kernels.cacheAppend(block, scratch));
}
