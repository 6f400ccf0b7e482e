// Writing tokens into pages of the cache: keys rotated by their position (optional), then keys and values converted and
// put where the attention kernels will read them. The cost of a token does not depend on how many there are already.

import { KEY_BLOCK } from '../attention/workspace';
import { halfOfFloat } from '../math/half';
import { horizontalMaximum } from '../math/vector';
import { turnHalves, turnInterleaved } from '../rotary/rotary';
import { FLOAT16, FLOAT32, INT8, pageHeadBytes, quads, valuesOffset, WORDS_BYTES } from './page';

/** Rotary embedding of keys on their way in. */
@unmanaged
export class RotationParameters {
  /** i32 rows of the tables, one a token. */
  positions: usize;
  cos: usize;
  sin: usize;
  /** Pairs of channels. */
  pairs: i32;
  interleaved: i32;
}

/** Bytes of scratch: a row of the larger head, filled up with zeros. */
export function appendScratchBytes(headDim: i32, valueHeadDim: i32): usize {
  return (<usize>max(headDim, valueHeadDim) << 2) + 64;
}

/**
 * Tokens of one sequence. Tile t of [tileFrom, tileTo) writes those of head t % keyHeads that go to page t / keyHeads.
 *
 * @param key      [keyHeads][count][headDim] by strides in bytes; value likewise
 * @param slot     place of the first token in the first page
 * @param pages    i32 addresses of the pages they go to
 * @param copied   a page that others need as it is, and that the first one begins as a copy of; or 0
 * @param rotation RotationParameters, or 0
 */
export function cacheAppend(
  key: usize, keyHeadStride: usize, keyRowStride: usize, value: usize, valueHeadStride: usize, valueRowStride: usize,
  keyHeads: i32, headDim: i32, valueHeadDim: i32, storage: i32, count: i32, slot: i32, pages: usize, copied: usize,
  rotation: usize, scratch: usize, tileFrom: i32, tileTo: i32,
): void {
  const headBytes = pageHeadBytes(headDim, valueHeadDim, storage);
  const valuesFrom = valuesOffset(headDim, storage);
  let page = tileFrom / keyHeads;
  let place = tileFrom % keyHeads;
  for (let tile = tileFrom; tile < tileTo; tile++) {
    const first = max(0, page * KEY_BLOCK - slot);
    const from = page ? 0 : slot;
    const to = min(KEY_BLOCK, from + count - first);
    const offset = <usize>place * headBytes;
    const head = <usize>load<i32>(pages + (<usize>page << 2)) + offset;
    if (!page && copied) memory.copy(head, copied + offset, headBytes);
    else if (!from && to < KEY_BLOCK) memory.fill(head, 0, headBytes); // a new page that is not filled at once
    let row = key + <usize>place * keyHeadStride + <usize>first * keyRowStride;
    for (let at = from; at < to; at++, row += keyRowStride) {
      loadRow(row, headDim, scratch);
      if (rotation) rotate(scratch, changetype<RotationParameters>(rotation), first + at - from);
      storeKey(head, scratch, headDim, storage, at);
    }
    row = value + <usize>place * valueHeadStride + <usize>first * valueRowStride;
    for (let at = from; at < to; at++, row += valueRowStride) {
      loadRow(row, valueHeadDim, scratch);
      storeValue(head, head + valuesFrom, scratch, valueHeadDim, storage, at);
    }
    if (++place == keyHeads) {
      place = 0;
      page++;
    }
  }
}

function rotate(key: usize, rotation: RotationParameters, token: i32): void {
  const position = <usize>load<i32>(rotation.positions + (<usize>token << 2));
  const table = (position * <usize>rotation.pairs) << 2;
  if (rotation.interleaved) turnInterleaved(key, rotation.cos + table, rotation.sin + table, rotation.pairs);
  else turnHalves(key, rotation.cos + table, rotation.sin + table, rotation.pairs);
}

/** A row into scratch, with zeros up to a whole panel after it. */
function loadRow(source: usize, dim: i32, row: usize): void {
  const bytes = <usize>dim << 2;
  memory.copy(row, source, bytes);
  memory.fill(row + bytes, 0, 32);
}

function storeKey(head: usize, row: usize, dim: i32, storage: i32, slot: i32): void {
  const panel = <usize>(slot >> 3) * <usize>(dim * 8);
  const lane = <usize>(slot & 7);
  if (storage == FLOAT32) {
    let at = head + ((panel + lane) << 2);
    for (const end = row + (<usize>dim << 2); row < end; row += 4, at += 32) store<f32>(at, load<f32>(row));
  } else if (storage == FLOAT16) {
    let at = head + ((panel + lane) << 1);
    const end = row + (<usize>dim << 2);
    for (; row < end; row += 16) {
      const half = halfOfFloat(v128.load(row));
      v128.store16_lane(at, half, 0);
      if (row + 4 < end) v128.store16_lane(at, half, 2, 16);
      if (row + 8 < end) v128.store16_lane(at, half, 4, 32);
      if (row + 12 < end) v128.store16_lane(at, half, 6, 48);
      at += 64;
    }
  } else {
    const scale = quantizeRow(row, dim);
    let at = head + 3 * WORDS_BYTES + <usize>(slot >> 2) * <usize>(quads(dim) << 4) + (<usize>(slot & 3) << 2);
    let sum = 0;
    for (let i = quads(dim); i > 0; i--, row += 16, at += 16) {
      const four = v128.load(row);
      sum += i32x4.extract_lane(four, 0) + i32x4.extract_lane(four, 1) + i32x4.extract_lane(four, 2) + i32x4.extract_lane(four, 3);
      store<u32>(at, bytesOf(four));
    }
    store<f32>(head + (<usize>slot << 2), scale);
    store<i32>(head + WORDS_BYTES + (<usize>slot << 2), sum);
  }
}

function storeValue(head: usize, values: usize, row: usize, dim: i32, storage: i32, slot: i32): void {
  if (storage == FLOAT32) {
    let at = values + (<usize>slot << 5);
    for (let channel = 0; channel < dim; channel += 8, row += 32, at += <usize>KEY_BLOCK << 5) {
      v128.store(at, v128.load(row));
      v128.store(at, v128.load(row, 16), 16);
    }
  } else if (storage == FLOAT16) {
    let at = values + (<usize>slot << 4);
    for (let channel = 0; channel < dim; channel += 8, row += 32, at += <usize>KEY_BLOCK << 4) {
      const low = halfOfFloat(v128.load(row));
      const high = halfOfFloat(v128.load(row, 16));
      v128.store(at, v128.shuffle<i16>(low, high, 0, 2, 4, 6, 8, 10, 12, 14));
    }
  } else {
    store<f32>(head + 2 * WORDS_BYTES + (<usize>slot << 2), quantizeRow(row, dim));
    let at = values + (<usize>(slot >> 2) << 4) + <usize>(slot & 3);
    for (let i = quads(dim); i > 0; i--, row += 16, at += <usize>KEY_BLOCK << 2) {
      const four = bytesOf(v128.load(row));
      store<u8>(at, <u8>four);
      store<u8>(at, <u8>(four >> 8), 4);
      store<u8>(at, <u8>(four >> 16), 8);
      store<u8>(at, <u8>(four >> 24), 12);
    }
  }
}

/** The low bytes of four lanes. */
// @ts-ignore: decorator
@inline
function bytesOf(four: v128): u32 {
  return <u32>i32x4.extract_lane(v128.shuffle<i8>(four, four, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12), 0);
}

/**
 * Floats become integers -127 .. 127, in place, and what one of them is worth is returned. A row with a NaN or an
 * infinity becomes zeros worth NaN each, so that it shows wherever it is not removed.
 */
function quantizeRow(row: usize, dim: i32): f32 {
  const magnitude = i32x4.splat(0x7fffffff);
  const count = quads(dim) << 4;
  let largest = f32x4.splat(0);
  let check = f32x4.splat(0);
  for (let at: i32 = 0; at < count; at += 16) {
    const x = v128.load(row + <usize>at);
    largest = f32x4.pmax(largest, v128.and(x, magnitude));
    check = f32x4.add(check, f32x4.mul(x, f32x4.splat(0)));
  }
  const most = horizontalMaximum(largest);
  const finite = i32x4.all_true(f32x4.eq(check, f32x4.splat(0)));
  // Below this 127 / most is infinite; such a row is as good as zero.
  if (!finite || most < 1e-36) {
    memory.fill(row, 0, <usize>count);
    return finite ? 0 : NaN as f32;
  }
  const inverse = f32x4.splat(127 / most);
  for (let at: i32 = 0; at < count; at += 16) {
    const x = v128.load(row + <usize>at);
    v128.store(row + <usize>at, i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(x, inverse))));
  }
  return most / 127;
}
