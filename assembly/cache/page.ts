// A page of the key/value cache: KEY_BLOCK tokens of one layer and sequence, for all key/value heads, laid out as the
// attention kernels read them. A block of keys is a page, so nothing is packed when attention runs.
//
//   page     [key/value head] of `headBytes` each
//
//   float32, float16 (2 bytes an element)
//     keys     [KEY_BLOCK / 8 panels][headDim][8 keys]
//     values   [panels of 8 channels][KEY_BLOCK keys][8 channels], channels filled up with zeros
//
//   int8, with a scale a token for keys and one for values: element = scale * byte
//     key scales f32 [KEY_BLOCK] | key sums i32 [KEY_BLOCK] | value scales f32 [KEY_BLOCK]
//     keys     [KEY_BLOCK / 4][headDim / 4][4 keys][4 channels]          dimensions filled up to fours with zeros
//     values   [valueHeadDim / 4][KEY_BLOCK / 4][4 channels][4 keys]
//
// Every part begins at a multiple of 16 bytes. Where no token has been written since a page was new there are zeros.

import { PIECE } from '../gemm/tile';

/** Keys in a block of attention and tokens in a page: a piece of P V. 64 are up to 2 % slower (Zen 5). A change changes bits. */
export const KEY_BLOCK: i32 = PIECE;

export const FLOAT32: i32 = 0;
export const FLOAT16: i32 = 1;
export const INT8: i32 = 2;

/** Bytes of one of the three arrays of words in front of int8 data. */
export const WORDS_BYTES: usize = <usize>KEY_BLOCK << 2;

/** A dimension filled up to fours. */
// @ts-ignore: decorator
@inline
export function quads(dim: i32): i32 {
  return (dim + 3) >> 2;
}

/** Bytes before the values of a head. */
export function valuesOffset(headDim: i32, storage: i32): usize {
  if (storage == INT8) return 3 * WORDS_BYTES + <usize>(quads(headDim) * 4 * KEY_BLOCK);
  return <usize>(headDim * KEY_BLOCK) << (storage == FLOAT32 ? 2 : 1);
}

/** Bytes of a head of a page. */
export function pageHeadBytes(headDim: i32, valueHeadDim: i32, storage: i32): usize {
  const before = valuesOffset(headDim, storage);
  if (storage == INT8) return before + <usize>(quads(valueHeadDim) * 4 * KEY_BLOCK);
  return before + (<usize>(((valueHeadDim + 7) & ~7) * KEY_BLOCK) << (storage == FLOAT32 ? 2 : 1));
}
