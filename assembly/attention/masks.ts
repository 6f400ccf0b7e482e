// What masks say about a block of keys, before anything of it is computed, and bit by bit where the block is mixed.
//
//   bits   16 bytes per row: bit j is set where key j of the block is kept

import { KEY_BLOCK } from '../cache/page';
import { pageOf } from './key-values';
import { AttentionParameters } from './parameters';
import { Workspace } from './workspace';

const EMPTY: i32 = 0;
const FULL: i32 = 1;

/** Looks at the keys of the block at hand for the rows at hand; false if none is kept. Sets w.hasBits, fills w.bits. */
export function readBlock(p: AttentionParameters, w: Workspace): bool {
  w.hasBits = 0;
  if (p.pages && pageOf(p, w) == 0) return false;
  if (p.blocks && !readBlockTable(p, w)) return false;
  if (p.booleanMask && !readBooleanMask(p, w)) return false;
  return !p.bias || !removesAll(p, w);
}

/** Heads that share a key/value head may differ in the table: a block is skipped only if it is empty for all of them. */
function readBlockTable(p: AttentionParameters, w: Workspace): bool {
  const keyBlocks = (p.keys + KEY_BLOCK - 1) / KEY_BLOCK;
  const entry = p.blocks + <usize>w.batch * p.blocksBatchStride + (<usize>(w.queryBlock * keyBlocks + w.keyFrom / KEY_BLOCK) << 2);
  let empty = true;
  let full = true;
  for (let r = 0; r < w.rows; r++) {
    const head = load<i32>(w.rowHead + (<usize>r << 2));
    const kind = load<i32>(entry + <usize>head * p.blocksHeadStride);
    const bits = w.bits + (<usize>r << 4);
    if (kind == EMPTY || kind == FULL) {
      v128.store(bits, i8x16.splat(kind == FULL ? -1 : 0));
    } else {
      const query = load<i32>(w.rowQuery + (<usize>r << 2)) - w.queryBlock * w.queriesInBlock;
      v128.store(bits, v128.load(<usize>kind + (<usize>query << 4)));
    }
    empty = empty && kind == EMPTY;
    full = full && kind == FULL;
  }
  if (!full) w.hasBits = 1;
  return !empty;
}

function readBooleanMask(p: AttentionParameters, w: Workspace): bool {
  const count = w.keyCount;
  const base = p.booleanMask + <usize>w.batch * p.booleanMaskBatchStride + <usize>w.keyFrom;
  const shared = p.booleanMaskHeadStride == 0 && p.booleanMaskRowStride == 0;
  // What a block of `count` keys looks like if all are kept; bits past it never count.
  const wholeLow: u64 = count >= 64 ? ~0 : ((<u64>1) << count) - 1;
  const wholeHigh: u64 = count <= 64 ? 0 : count == 128 ? ~0 : ((<u64>1) << (count - 64)) - 1;
  let any: u64 = 0;
  let all = true;
  let low: u64 = 0;
  let high: u64 = 0;
  for (let r = 0; r < w.rows; r++) {
    if (r == 0 || !shared) {
      const head = load<i32>(w.rowHead + (<usize>r << 2));
      const query = load<i32>(w.rowQuery + (<usize>r << 2));
      const row = base + <usize>head * p.booleanMaskHeadStride + <usize>query * p.booleanMaskRowStride;
      low = bitsOf(row, min(count, 64)) & wholeLow;
      high = count > 64 ? bitsOf(row + 64, count - 64) & wholeHigh : 0;
    }
    any |= low | high;
    all = all && low == wholeLow && high == wholeHigh;
    const bits = w.bits + (<usize>r << 4);
    if (w.hasBits) {
      store<u64>(bits, low & load<u64>(bits));
      store<u64>(bits, high & load<u64>(bits, 8), 8);
    } else {
      store<u64>(bits, low);
      store<u64>(bits, high, 8);
    }
  }
  if (!all) w.hasBits = 1;
  return any != 0;
}

/** One bit for each of up to 64 bytes, set where the byte is not 0. Never reads past `count`. */
function bitsOf(bytes: usize, count: i32): u64 {
  let bits: u64 = 0;
  let j = 0;
  for (; j + 16 <= count; j += 16) {
    const kept = i8x16.ne(v128.load(bytes + <usize>j), i8x16.splat(0));
    bits |= (<u64>(<u32>i8x16.bitmask(kept))) << j;
  }
  for (; j < count; j++) {
    if (load<u8>(bytes + <usize>j)) bits |= (<u64>1) << j;
  }
  return bits;
}

/** Whether the bias is -infinity for every row and key of the block. Stops at the first that is not. */
function removesAll(p: AttentionParameters, w: Workspace): bool {
  const base = p.bias + <usize>w.batch * p.biasBatchStride + (<usize>w.keyFrom << 2);
  for (let r = 0; r < w.rows; r++) {
    const head = load<i32>(w.rowHead + (<usize>r << 2));
    const query = load<i32>(w.rowQuery + (<usize>r << 2));
    const row = base + <usize>head * p.biasHeadStride + <usize>query * p.biasRowStride;
    for (let j = 0; j < w.keyCount; j++) {
      if (load<f32>(row + (<usize>j << 2)) != -Infinity) return false;
    }
  }
  return true;
}
