// Writes tokens of one sequence into pages of a key/value cache.

import { FLOAT16, FLOAT32, INT8, KEY_BLOCK, rotationParameters } from '../../../build/kernels.js';
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
  /** Address of i32 rows of the tables, one per token. */
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
  /** Place of the first token in the first page. */
  readonly slot: number;
  /** The pages that they go to. */
  readonly pages: ArrayLike<number>;
  /** A page that the first one begins as a copy of; 0 is none. */
  readonly copied: number;
  readonly rotary?: AppendRotary | undefined;
}

const rotationBlock = /* @__PURE__ */ new ParameterBlock(rotationParameters);

/** @internal Runs the kernel. `keys` and `values` are [batch, heads, length, dim] with contiguous last axes. */
export function appendTokens(
  scope: CallScope,
  keys: Tensor,
  values: Tensor,
  storage: CacheStorage,
  tokens: AppendedTokens,
): void {
  const { kernels, linearMemory } = scope.runtime;
  const { row, count, slot, pages, copied, rotary } = tokens;
  const keyHeads = keys.shape[1]!;
  const headDim = keys.shape[3]!;
  const valueHeadDim = values.shape[3]!;
  let rotation = 0;
  if (rotary) {
    rotation = scope.allocate(rotationBlock.bytes);
    rotationBlock.write(linearMemory, rotation, [{ ...rotary, interleaved: rotary.interleaved ? 1 : 0 }]);
  }
  scope.run({
    kernel: 'cacheAppend',
    args: [
      keys.address + row * keys.strides[0]! * 4,
      keys.strides[1]! * 4,
      keys.strides[2]! * 4,
      values.address + row * values.strides[0]! * 4,
      values.strides[1]! * 4,
      values.strides[2]! * 4,
      keyHeads,
      headDim,
      valueHeadDim,
      STORAGE_CODES[storage],
      count,
      slot,
      scope.integers(pages),
      copied,
      rotation,
    ],
    tiles: keyHeads * pages.length,
    scratchBytes: kernels.appendScratchBytes(headDim, valueHeadDim),
    cost: 40 * count * keyHeads * (headDim + valueHeadDim),
  });
}
