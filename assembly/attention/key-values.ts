// Where the keys and values of a block come from. The tiles read panels (gemm/pack.ts draws them):
//
//   tensors              packed into scratch
//   pages, float32       lie in panels already: no copy
//   pages, float16       expanded into scratch
//   pages, int8          read as they are by a few rows (integers.ts), expanded for many

import { packColumns, packRows } from '../gemm/pack';
import { expandHalves } from '../math/half';
import { FLOAT16, INT8, KEY_BLOCK, pageHeadBytes, quads, valuesOffset, WORDS_BYTES } from '../cache/page';
import { pagesOf } from './blocking';
import { AttentionParameters, ForwardParameters } from './parameters';
import { Workspace } from './workspace';

/** Address of the tile's key head in the page that holds the block at hand; 0 if that page is not held. */
export function pageOf(p: AttentionParameters, w: Workspace): usize {
  const pages = pagesOf(p);
  const entry = pages.table + <usize>w.batch * pages.batchStride + (<usize>(w.keyFrom / KEY_BLOCK) << 2);
  const page = <usize>load<i32>(entry);
  return page ? page + <usize>w.keyHead * pageHeadBytes(p.headDim, pages.valueHeadDim, pages.storage) : 0;
}

/** Makes the keys of the block at hand, of the tile's key head, readable at w.keys. */
export function openKeys(p: AttentionParameters, w: Workspace): void {
  const count = w.keyCount;
  if (!p.pages) {
    const source =
      p.key + <usize>w.batch * p.keyBatchStride + <usize>w.keyHead * p.keyHeadStride + <usize>w.keyFrom * p.keyRowStride;
    packColumns(source, p.keyRowStride, count, p.headDim, w.keys);
    return;
  }
  w.page = pageOf(p, w);
  const storage = pagesOf(p).storage;
  if (storage == INT8) {
    if (!w.quantized) expandKeys(p, w, count);
  } else if (storage == FLOAT16) {
    expandHalves(w.page, w.keys, <usize>((count + 7) & ~7) * <usize>p.headDim, w.halfConstants);
  } else {
    w.keys = w.page;
  }
}

/**
 * Makes the values of the block at hand readable at w.values; of the page that openKeys has opened, where there are
 * pages. `asFloats` expands int8 even if the rows are few.
 */
export function openValues(p: AttentionParameters, f: ForwardParameters, w: Workspace, asFloats: bool): void {
  const count = w.keyCount;
  if (!p.pages) {
    const source =
      f.value + <usize>w.batch * f.valueBatchStride + <usize>w.keyHead * f.valueHeadStride + <usize>w.keyFrom * f.valueRowStride;
    packRows(source, f.valueRowStride, count, f.valueHeadDim, w.values, KEY_BLOCK);
    return;
  }
  const storage = pagesOf(p).storage;
  const values = w.page + valuesOffset(p.headDim, storage);
  if (storage == INT8) {
    if (asFloats || !w.quantized) expandValues(f.valueHeadDim, w, values, count);
  } else if (storage == FLOAT16) {
    for (let channel = 0; channel < w.valueDim; channel += 8) {
      const panel = <usize>(channel * KEY_BLOCK);
      expandHalves(values + (panel << 1), w.values + (panel << 2), <usize>count << 3, w.halfConstants);
    }
  } else {
    w.values = values;
  }
}

/** int8 keys, four by four, as panels of eight. */
function expandKeys(p: AttentionParameters, w: Workspace, count: i32): void {
  const dims = quads(p.headDim);
  const whole = p.headDim >> 2;
  for (let four = 0; four < count; four += 4) {
    let source = w.page + 3 * WORDS_BYTES + <usize>(four >> 2) * <usize>(dims << 4);
    let target = w.keys + <usize>(four >> 3) * (<usize>p.headDim << 5) + (<usize>(four & 4) << 2);
    const scales = v128.load(w.page + (<usize>four << 2));
    for (let quad = 0; quad < dims; quad++, source += 16, target += 128) {
      // 4 keys x 4 channels of bytes: channel by channel.
      const bytes = v128.load(source);
      const across = v128.shuffle<i8>(bytes, bytes, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
      const low = i16x8.extend_low_i8x16_s(across);
      const high = i16x8.extend_high_i8x16_s(across);
      v128.store(target, scaled(i32x4.extend_low_i16x8_s(low), scales));
      if (quad < whole || (p.headDim & 3) > 1) v128.store(target, scaled(i32x4.extend_high_i16x8_s(low), scales), 32);
      if (quad < whole || (p.headDim & 3) > 2) v128.store(target, scaled(i32x4.extend_low_i16x8_s(high), scales), 64);
      if (quad < whole) v128.store(target, scaled(i32x4.extend_high_i16x8_s(high), scales), 96);
    }
  }
}

/** int8 values, four channels by four keys, as panels of eight channels. */
function expandValues(valueHeadDim: i32, w: Workspace, values: usize, count: i32): void {
  const dims = quads(valueHeadDim);
  for (let quad = 0; quad < dims; quad++) {
    let source = values + <usize>quad * (<usize>KEY_BLOCK << 2);
    let target = w.values + <usize>(quad >> 1) * (<usize>KEY_BLOCK << 5) + (<usize>(quad & 1) << 4);
    for (let key = 0; key < count; key += 4, source += 16, target += 128) {
      const bytes = v128.load(source);
      const across = v128.shuffle<i8>(bytes, bytes, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
      const low = i16x8.extend_low_i8x16_s(across);
      const high = i16x8.extend_high_i8x16_s(across);
      const scales = w.page + 2 * WORDS_BYTES + (<usize>key << 2);
      v128.store(target, scaled(i32x4.extend_low_i16x8_s(low), v128.load32_splat(scales)));
      v128.store(target, scaled(i32x4.extend_high_i16x8_s(low), v128.load32_splat(scales, 4)), 32);
      v128.store(target, scaled(i32x4.extend_low_i16x8_s(high), v128.load32_splat(scales, 8)), 64);
      v128.store(target, scaled(i32x4.extend_high_i16x8_s(high), v128.load32_splat(scales, 12)), 96);
    }
  }
  // A last half panel that no channel fills.
  if (dims & 1) {
    let target = w.values + <usize>(dims >> 1) * (<usize>KEY_BLOCK << 5) + 16;
    for (let key = 0; key < count; key++, target += 32) v128.store(target, i32x4.splat(0));
  }
}

// @ts-ignore: decorator
@inline
function scaled(integers: v128, scales: v128): v128 {
  return f32x4.mul(f32x4.convert_i32x4_s(integers), scales);
}
