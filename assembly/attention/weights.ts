// Attention weights and scores, looked at from outside: any block of them, from q, k and the statistics that the fused
// pass left (maximum and sum of each row). Nothing of size n x n is held unless the caller asks for all of it.
//
//   mode SCORES    the scores as they stand (which stage that is, the parameters decide: with or without cap, bias, masks)
//   mode WEIGHTS   2^(score - maximum) / sum; a row without keys gives zeros
//
// Each element is computed as in forward.ts, chain for chain, and depends on nothing but its row and key: asking for a
// block gives the bits of that block of the whole.

import { tileRows } from '../gemm/tile';
import { exp2Row } from '../math/exp2';
import { openKeys } from './blocks';
import { readBlock } from './masks';
import { AttentionParameters } from './parameters';
import { blockStart, boundAbove, LARGEST, loadRows, scoreRows } from './scores';
import { KEY_BLOCK, layOut, queriesInBlock, SCORE_ROW_BYTES, Workspace } from './workspace';

export const SCORES: i32 = 0;
export const WEIGHTS: i32 = 1;

/** Runs tiles [tileFrom, tileTo) of `tileCount`; those outside the region do nothing. Output is indexed from the region's corner. */
export function attentionWeights(parameters: usize, scratch: usize, tileFrom: i32, tileTo: i32): void {
  const p = changetype<AttentionParameters>(parameters);
  layOut(p, scratch);
  const w = changetype<Workspace>(scratch);
  const group = p.queryHeads / p.keyHeads;
  const perBlock = queriesInBlock(p);
  const blocks = (p.queries + perBlock - 1) / perBlock;
  for (let index = tileFrom; index < tileTo; index++) {
    const queryBlock = index % blocks;
    const tileHead = index / blocks;
    w.keyHead = tileHead % p.keyHeads;
    w.batch = tileHead / p.keyHeads;
    const headFrom = max(p.headFrom, w.keyHead * group);
    const headTo = min(p.headTo, (w.keyHead + 1) * group);
    const queryFrom = max(p.queryFrom, queryBlock * perBlock);
    const queryTo = min(p.queryTo, min(p.queries, (queryBlock + 1) * perBlock));
    if (headFrom >= headTo || queryFrom >= queryTo) continue;
    loadRows(p, w, headFrom, headTo, queryFrom, queryTo);
    for (let keyFrom = blockStart(p.keyFrom); keyFrom < p.keyTo; keyFrom += KEY_BLOCK) {
      weightsOfBlock(p, w, queryBlock, perBlock, keyFrom);
    }
  }
}

function weightsOfBlock(p: AttentionParameters, w: Workspace, queryBlock: i32, perBlock: i32, keyFrom: i32): void {
  const from = max(0, p.keyFrom - keyFrom);
  const count = min(KEY_BLOCK, min(p.keys, p.keyTo) - keyFrom);
  const kept = readBlock(p, w, queryBlock, perBlock, keyFrom, count);
  if (kept) openKeys(p, w, keyFrom, count);
  for (let row = 0; row < w.rows; row += tileRows()) {
    const rows = min(tileRows(), w.rows - row);
    if (kept) scoreRows(p, w, row, rows, keyFrom, from, count);
    else fillRemoved(w, rows);
    for (let r = 0; r < rows; r++) {
      const scores = w.scores + <usize>r * SCORE_ROW_BYTES;
      const state = <usize>(row + r) << 2;
      const query = load<i32>(w.rowQuery + state);
      const head = load<i32>(w.rowHead + state);
      if (p.mode == WEIGHTS) weightsOfRow(p, w, scores, from & ~7, (count + 7) & ~7, head, query);
      const target =
        p.output + <usize>w.batch * p.outputBatchStride + <usize>(head - p.headFrom) * p.outputHeadStride +
        <usize>(query - p.queryFrom) * p.outputRowStride + (<usize>(keyFrom + from - p.keyFrom) << 2);
      memory.copy(target, scores + (<usize>from << 2), <usize>(count - from) << 2);
    }
  }
}

function fillRemoved(w: Workspace, rows: i32): void {
  const end = w.scores + <usize>rows * SCORE_ROW_BYTES;
  for (let at = w.scores; at < end; at += 16) v128.store(at, f32x4.splat(-Infinity));
}

/** Scores [from, to) of a row become weights; both are multiples of 4. */
export function weightsOfRow(p: AttentionParameters, w: Workspace, scores: usize, from: i32, to: i32, head: i32, query: i32): void {
  const statistics = p.statistics + (<usize>((w.batch * p.queryHeads + head) * p.queries + query) << 3);
  const maximum = load<f32>(statistics);
  const sum = load<f32>(statistics, 4);
  if (maximum == LARGEST) boundAbove(scores, from, to);
  exp2Row(scores + (<usize>from << 2), scores + (<usize>to << 2), maximum == -Infinity ? 0 : maximum, w.constants);
  const factor = f32x4.splat(sum == 0 ? 0 : 1 / sum);
  for (let j = from; j < to; j += 4) {
    const at = scores + (<usize>j << 2);
    const power = v128.load(at);
    // A removed key keeps its zero also in a row that is NaN.
    v128.store(at, v128.andnot(f32x4.mul(power, factor), f32x4.eq(power, f32x4.splat(0))));
  }
}
