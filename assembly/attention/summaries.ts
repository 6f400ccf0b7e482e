// What a matrix of weights says, without holding it: received weight of each key, entropy of each row, top keys of each row.
// Weights are those of weights.ts, made block by block in scratch and used up at once.
//
//   columnSums    tile = (batch row, key/value head, key block), all queries of the region in ascending order
//   entropies     tile = (batch row, key/value head, query block), as in forward.ts
//   topKeys       the same

import { KEY_BLOCK } from '../cache/page';
import { addPiece } from '../gemm/piece';
import { tileRows } from '../gemm/tile';
import { exp2Row, exp2Scalar } from '../math/exp2';
import { LN_2, naturalLogarithm } from '../math/logarithm';
import { horizontalSum } from '../math/vector';
import { openKeys } from './key-values';
import { readBlock } from './masks';
import { AttentionParameters, RegionParameters } from './parameters';
import { boundAbove, LARGEST, scoreRows, sinkScore } from './scores';
import { clip, nextBlock, openBlocks, openHead, openRegion, openRows, openTile } from './tiles';
import { outputOf, statisticsOf, weightsOfRow } from './weights';
import { SCORE_ROW_BYTES, Workspace } from './workspace';

/** Tiles of `columnSums`. */
export function columnTiles(parameters: usize): i32 {
  const p = changetype<AttentionParameters>(parameters);
  return p.batch * p.keyHeads * ((p.keys + KEY_BLOCK - 1) / KEY_BLOCK);
}

/** output[batch, head, key] = sum over the region's queries of the weights. @param region RegionParameters */
export function columnSums(parameters: usize, region: usize, scratch: usize, tileFrom: i32, tileTo: i32): void {
  const p = changetype<AttentionParameters>(parameters);
  const wanted = changetype<RegionParameters>(region);
  const w = openRegion(p, wanted, scratch);
  const group = p.queryHeads / p.keyHeads;
  const keyBlocks = (p.keys + KEY_BLOCK - 1) / KEY_BLOCK;
  for (let index = tileFrom; index < tileTo; index++) {
    openHead(p, w, index / keyBlocks);
    w.keyFrom = (index % keyBlocks) * KEY_BLOCK;
    w.keyCount = min(KEY_BLOCK, p.keys - w.keyFrom);
    const headTo = min(w.headTo, (w.keyHead + 1) * group);
    for (let head = max(w.headFrom, w.keyHead * group); head < headTo; head++) {
      memory.fill(columnOutput(wanted, w, head), 0, <usize>w.keyCount << 2);
    }
    let isOpen = false;
    for (let queryBlock = w.queryFrom / w.queriesInBlock; queryBlock * w.queriesInBlock < w.queryTo; queryBlock++) {
      openRows(p, w, queryBlock);
      if (w.rows == 0 || !readBlock(p, w)) continue;
      if (!isOpen) openKeys(p, w);
      isOpen = true;
      for (let row = 0; row < w.rows; row += tileRows()) addColumns(p, wanted, w, row, min(tileRows(), w.rows - row));
    }
  }
}

// @ts-ignore: decorator
@inline
function columnOutput(wanted: RegionParameters, w: Workspace, head: i32): usize {
  const first = <usize>w.batch * wanted.outputBatchStride + <usize>(head - wanted.headFrom) * wanted.outputHeadStride;
  return wanted.output + first + (<usize>w.keyFrom << 2);
}

function addColumns(p: AttentionParameters, wanted: RegionParameters, w: Workspace, row: i32, rows: i32): void {
  if (!clip(p, w, row, rows)) return;
  const from = w.from;
  const to = w.to;
  scoreRows(p, w, row, rows, from, to);
  for (let r = 0; r < rows; r++) {
    const scores = w.scores + <usize>r * SCORE_ROW_BYTES;
    weightsOfRow(p, wanted, w, row + r, scores, from & ~7, (to + 7) & ~7);
    const sums = columnOutput(wanted, w, load<i32>(w.rowHead + (<usize>(row + r) << 2)));
    const first = <usize>from << 2;
    addPiece(sums + first, scores + first, <usize>(to - from) << 2);
  }
}

/** output[batch, head, query] = -sum w ln w, in nats; 0 for a row without keys. @param region RegionParameters */
export function entropies(parameters: usize, region: usize, scratch: usize, tileFrom: i32, tileTo: i32): void {
  summarizeRows(parameters, region, scratch, tileFrom, tileTo, false);
}

/**
 * output[batch, head, query, 0..count) = the largest weights, falling; the keys they belong to, as i32, `count` words
 * further on. Of equal weights the lower key comes first. Where fewer keys have a weight above 0: weight 0, key -1.
 *
 * @param region RegionParameters
 */
export function topKeys(parameters: usize, region: usize, scratch: usize, tileFrom: i32, tileTo: i32): void {
  summarizeRows(parameters, region, scratch, tileFrom, tileTo, true);
}

function summarizeRows(parameters: usize, region: usize, scratch: usize, tileFrom: i32, tileTo: i32, top: bool): void {
  const p = changetype<AttentionParameters>(parameters);
  const wanted = changetype<RegionParameters>(region);
  const w = openRegion(p, wanted, scratch);
  for (let index = tileFrom; index < tileTo; index++) {
    openTile(p, w, index, index + 1);
    if (w.rows == 0) continue;
    for (let row = 0; row < w.rows; row++) {
      if (top) startTop(outputOf(wanted, w, row), wanted.count);
      else store<f32>(w.sum + (<usize>row << 2), 0);
    }
    for (openBlocks(p, w); nextBlock(p, w); ) {
      openKeys(p, w);
      for (let row = 0; row < w.rows; row += tileRows()) {
        summarizeTile(p, wanted, w, row, min(tileRows(), w.rows - row), top);
      }
    }
    if (!top) finishEntropies(p, wanted, w);
  }
}

function summarizeTile(p: AttentionParameters, wanted: RegionParameters, w: Workspace, row: i32, rows: i32, top: bool): void {
  if (!clip(p, w, row, rows)) return;
  const from = w.from;
  const to = w.to;
  const left = from & ~7;
  const right = (to + 7) & ~7;
  scoreRows(p, w, row, rows, from, to);
  for (let r = 0; r < rows; r++) {
    const scores = w.scores + <usize>r * SCORE_ROW_BYTES;
    if (top) {
      weightsOfRow(p, wanted, w, row + r, scores, left, right);
      insertTop(outputOf(wanted, w, row + r), wanted.count, scores, w.keyFrom, from, to);
    } else {
      addEntropy(p, wanted, w, row + r, scores, left, right);
    }
  }
}

/** Adds the sum of p * log2(p) of a row, p = 2^(score - maximum). The eighth row of w.scores, never used by a tile, helps. */
function addEntropy(
  p: AttentionParameters, wanted: RegionParameters, w: Workspace, row: i32, scores: usize, from: i32, to: i32,
): void {
  const statistics = statisticsOf(p, wanted, w, row);
  const state = <usize>row << 2;
  const maximum: f32 = load<f32>(statistics) == -Infinity ? 0 : load<f32>(statistics);
  if (maximum == LARGEST) boundAbove(scores, from, to);
  const exponents = w.scores + 7 * SCORE_ROW_BYTES;
  const shift = f32x4.splat(maximum);
  for (let j = from; j < to; j += 4) {
    const at = <usize>j << 2;
    v128.store(exponents + at, f32x4.sub(v128.load(scores + at), shift));
  }
  exp2Row(scores + (<usize>from << 2), scores + (<usize>to << 2), maximum, w.constants);
  let sum = f32x4.splat(0);
  for (let j = from; j < to; j += 4) {
    const at = <usize>j << 2;
    const power = v128.load(scores + at);
    const product = f32x4.mul(power, v128.load(exponents + at));
    // 0 * -infinity counts nothing.
    sum = f32x4.add(sum, v128.andnot(product, f32x4.eq(power, f32x4.splat(0))));
  }
  store<f32>(w.sum + state, load<f32>(w.sum + state) + horizontalSum(sum));
}

function finishEntropies(p: AttentionParameters, wanted: RegionParameters, w: Workspace): void {
  for (let row = 0; row < w.rows; row++) {
    const statistics = statisticsOf(p, wanted, w, row);
    const sum = <f64>load<f32>(statistics, 4);
    let entropy: f64 = 0;
    if (sum != sum) {
      entropy = NaN;
    } else if (sum > 0) {
      const share = <f64>load<f32>(w.sum + (<usize>row << 2)) / sum;
      let rest: f64 = 0;
      if (p.sinks) {
        // The sink's own share of the softmax belongs to no key: only keys' weights count, and they sum to less than 1.
        rest = sinkShare(<f64>sinkScore(p, load<i32>(w.rowHead + (<usize>row << 2))) - <f64>load<f32>(statistics), sum, w);
      }
      entropy = (1 - rest) * naturalLogarithm(sum) - share * LN_2;
    }
    store<f32>(outputOf(wanted, w, row), <f32>max(entropy, 0));
  }
}

/** 2^sink / sum. */
function sinkShare(sink: f64, sum: f64, w: Workspace): f64 {
  return <f64>exp2Scalar(<f32>sink, w.constants) / sum;
}

function startTop(output: usize, count: i32): void {
  memory.fill(output, 0, <usize>count << 2);
  memory.fill(output + (<usize>count << 2), 0xff, <usize>count << 2);
}

function insertTop(values: usize, count: i32, weights: usize, keyFrom: i32, from: i32, to: i32): void {
  const keys = values + (<usize>count << 2);
  const last = <usize>(count - 1) << 2;
  for (let j = from; j < to; j++) {
    const weight = load<f32>(weights + (<usize>j << 2));
    if (!(weight > load<f32>(values + last))) continue;
    let place = last;
    while (place > 0 && load<f32>(values + place - 4) < weight) {
      store<f32>(values + place, load<f32>(values + place - 4));
      store<i32>(keys + place, load<i32>(keys + place - 4));
      place -= 4;
    }
    store<f32>(values + place, weight);
    store<i32>(keys + place, keyFrom + j);
  }
}
