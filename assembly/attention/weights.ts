// Attention weights and scores, looked at from outside: any block of them, from q, k and the statistics that the fused
// pass left (maximum and sum of each row). Nothing of size n x n is held unless the caller asks for all of it.
//
//   mode SCORES    the scores as they stand (which stage that is, the parameters decide: with or without cap, bias, masks)
//   mode WEIGHTS   2^(score - maximum) / sum; a row without keys gives zeros
//
// Each element is computed as in forward.ts, chain for chain, and depends on nothing but its row and key: asking for a
// block gives the bits of that block of the whole.

import { KEY_BLOCK } from '../cache/page';
import { tileRows } from '../gemm/tile';
import { exp2Row } from '../math/exp2';
import { blockStart } from './blocking';
import { openKeys } from './key-values';
import { readBlock } from './masks';
import { AttentionParameters, RegionParameters } from './parameters';
import { boundAbove, LARGEST, scoreRows } from './scores';
import { openRegion, openTile } from './tiles';
import { SCORE_ROW_BYTES, Workspace } from './workspace';

export const SCORES: i32 = 0;
export const WEIGHTS: i32 = 1;

/** Runs tiles [tileFrom, tileTo) of `attentionTiles`. @param region RegionParameters */
export function attentionWeights(parameters: usize, region: usize, scratch: usize, tileFrom: i32, tileTo: i32): void {
  const p = changetype<AttentionParameters>(parameters);
  const wanted = changetype<RegionParameters>(region);
  const w = openRegion(p, wanted, scratch);
  for (let index = tileFrom; index < tileTo; index++) {
    openTile(p, w, index, index + 1);
    if (w.rows == 0) continue;
    for (w.keyFrom = blockStart(wanted.keyFrom); w.keyFrom < wanted.keyTo; w.keyFrom += KEY_BLOCK) weightsOfBlock(p, wanted, w);
  }
}

function weightsOfBlock(p: AttentionParameters, wanted: RegionParameters, w: Workspace): void {
  const from = max(0, wanted.keyFrom - w.keyFrom);
  const count = min(KEY_BLOCK, wanted.keyTo - w.keyFrom);
  w.keyCount = count;
  const kept = readBlock(p, w);
  if (kept) openKeys(p, w);
  for (let row = 0; row < w.rows; row += tileRows()) {
    const rows = min(tileRows(), w.rows - row);
    if (kept) scoreRows(p, w, row, rows, from, count);
    else fillRemoved(w, rows);
    for (let r = 0; r < rows; r++) {
      const scores = w.scores + <usize>r * SCORE_ROW_BYTES;
      if (wanted.mode == WEIGHTS) weightsOfRow(p, wanted, w, row + r, scores, from & ~7, (count + 7) & ~7);
      const target = outputOf(wanted, w, row + r) + (<usize>(w.keyFrom + from - wanted.keyFrom) << 2);
      memory.copy(target, scores + (<usize>from << 2), <usize>(count - from) << 2);
    }
  }
}

function fillRemoved(w: Workspace, rows: i32): void {
  const end = w.scores + <usize>rows * SCORE_ROW_BYTES;
  for (let at = w.scores; at < end; at += 16) v128.store(at, f32x4.splat(-Infinity));
}

/** Where what is seen of a row goes. */
export function outputOf(wanted: RegionParameters, w: Workspace, row: i32): usize {
  const head = load<i32>(w.rowHead + (<usize>row << 2)) - wanted.headFrom;
  const query = load<i32>(w.rowQuery + (<usize>row << 2)) - wanted.queryFrom;
  return (
    wanted.output + <usize>w.batch * wanted.outputBatchStride + <usize>head * wanted.outputHeadStride +
    <usize>query * wanted.outputRowStride
  );
}

/** Address of the maximum and the sum of a row. */
export function statisticsOf(p: AttentionParameters, wanted: RegionParameters, w: Workspace, row: i32): usize {
  const head = w.batch * p.queryHeads + load<i32>(w.rowHead + (<usize>row << 2));
  return wanted.statistics + (<usize>(head * p.queries + load<i32>(w.rowQuery + (<usize>row << 2))) << 3);
}

/** Scores [from, to) of a row become weights; both are multiples of 8. */
export function weightsOfRow(
  p: AttentionParameters, wanted: RegionParameters, w: Workspace, row: i32, scores: usize, from: i32, to: i32,
): void {
  const statistics = statisticsOf(p, wanted, w, row);
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
