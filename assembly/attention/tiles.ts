// The walk that all kernels of attention share:
//
//   for tile (batch row, key/value head, query block), or several key/value heads of a batch row together:   openTile
//     for block of keys that any of its rows can see, ascending:                                              openBlocks, nextBlock
//       for some rows: the keys of the block that any of them can see                                         clip
//
// Of heads and queries those of w.headFrom .. w.queryTo count; a tile without any has no rows.

import { KEY_BLOCK } from '../cache/page';
import { blockStart, headsTogether, queriesInBlock } from './blocking';
import { readBlock } from './masks';
import { AttentionParameters, RegionParameters } from './parameters';
import { addRows, firstBit, firstKey, lastBit, lastKey } from './rows';
import { layOut, Workspace } from './workspace';

/** Tiles of a call: batch rows x key/value heads x query blocks. */
export function attentionTiles(parameters: usize): i32 {
  const p = changetype<AttentionParameters>(parameters);
  const perBlock = queriesInBlock(p);
  return p.batch * p.keyHeads * ((p.queries + perBlock - 1) / perBlock);
}

/** Tiles of the forward pass that are best run in one call. */
export function attentionGrain(parameters: usize): i32 {
  return headsTogether(changetype<AttentionParameters>(parameters));
}

/** The workspace of a kernel that looks at weights. */
export function openRegion(p: AttentionParameters, region: RegionParameters, scratch: usize): Workspace {
  layOut(p, 0, scratch);
  const w = changetype<Workspace>(scratch);
  w.headFrom = region.headFrom;
  w.headTo = region.headTo;
  w.queryFrom = region.queryFrom;
  w.queryTo = region.queryTo;
  return w;
}

/** Loads the rows of tile `index`, and of those up to `end` that run together with it: w.heads of them. */
export function openTile(p: AttentionParameters, w: Workspace, index: i32, end: i32): void {
  openHead(p, w, index / w.queryBlocks);
  w.heads = min(w.together, min(end - index, p.keyHeads - w.keyHead));
  openRows(p, w, index % w.queryBlocks);
}

/** Goes to a key/value head, counted over the batch rows. */
export function openHead(p: AttentionParameters, w: Workspace, head: i32): void {
  w.batch = head / p.keyHeads;
  w.keyHead = w.keyHeadFrom = head % p.keyHeads;
  w.heads = 1;
}

/** Loads the rows of a query block for the key/value heads at hand. */
export function openRows(p: AttentionParameters, w: Workspace, queryBlock: i32): void {
  const group = p.queryHeads / p.keyHeads;
  const first = queryBlock * w.queriesInBlock;
  const queryFrom = max(w.queryFrom, first);
  const queryTo = min(w.queryTo, first + w.queriesInBlock);
  w.queryBlock = queryBlock;
  w.rows = 0;
  for (let head = w.keyHeadFrom; head < w.keyHeadFrom + w.heads; head++) {
    addRows(p, w, max(w.headFrom, head * group), min(w.headTo, (head + 1) * group), queryFrom, queryTo);
  }
}

/** Stands before the first block of keys. */
export function openBlocks(p: AttentionParameters, w: Workspace): void {
  w.keyTo = lastKey(w, 0, w.rows);
  w.keyFrom = (p.firstKeys ? 0 : blockStart(firstKey(w, 0, w.rows, w.keyTo))) - KEY_BLOCK;
}

/** Goes to the next block of keys of which masks leave some row any; false after the last. */
export function nextBlock(p: AttentionParameters, w: Workspace): bool {
  for (let from = w.keyFrom + KEY_BLOCK; from < w.keyTo; from += KEY_BLOCK) {
    w.keyFrom = from;
    w.keyCount = min(KEY_BLOCK, w.keyTo - from);
    const isSeen = from < p.firstKeys || !p.firstKeys || firstKey(w, 0, w.rows, from + KEY_BLOCK) < from + KEY_BLOCK;
    if (isSeen && readBlock(p, w)) return true;
  }
  return false;
}

/** Bounds w.from and w.to by what rows [row, row + rows) see of the block; false if that is nothing. */
export function clip(p: AttentionParameters, w: Workspace, row: i32, rows: i32): bool {
  w.from = w.keyFrom < p.firstKeys ? 0 : max(0, firstKey(w, row, rows, w.keyFrom + KEY_BLOCK) - w.keyFrom);
  w.to = min(w.keyCount, lastKey(w, row, rows) - w.keyFrom);
  if (w.hasBits) {
    w.from = max(w.from, firstBit(w, row, rows));
    w.to = min(w.to, lastBit(w, row, rows));
  }
  return w.from < w.to;
}

/** Whether rows [row, row + rows) see all keys of the block. */
export function seeAll(w: Workspace, row: i32, rows: i32): bool {
  if (w.hasBits) return false;
  for (let r = row; r < row + rows; r++) {
    const state = <usize>r << 2;
    if (load<i32>(w.begin + state) > w.keyFrom || load<i32>(w.end + state) < w.keyFrom + w.keyCount) return false;
  }
  return true;
}
