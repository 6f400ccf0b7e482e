// What a matrix of weights says, without holding it: received weight of each key, entropy of each row, top keys of each row.
// Weights are those of weights.ts, made block by block in scratch and used up at once.
//
//   columnSums    tile = (batch row, key/value head, key block), all queries of the region in ascending order
//   entropies     tile = (batch row, key/value head, query block), as in forward.ts
//   topKeys       the same

import { tileRows } from '../gemm/tile';
import { naturalLogarithm } from '../math/logarithm';
import { exp2Row, exp2Scalar } from '../math/exp2';
import { horizontalSum } from '../math/vector';
import { openKeys } from './blocks';
import { readBlock } from './masks';
import { AttentionParameters } from './parameters';
import { blockStart, boundAbove, firstKey, LARGEST, lastKey, loadRows, scoreRows, sinkScore } from './scores';
import { weightsOfRow } from './weights';
import { KEY_BLOCK, layOut, queriesInBlock, SCORE_ROW_BYTES, Workspace } from './workspace';

const LN_2: f64 = 0.6931471805599453;

/** Tiles of `columnSums`. */
export function columnTiles(parameters: usize): i32 {
  const p = changetype<AttentionParameters>(parameters);
  return p.batch * p.keyHeads * ((p.keys + KEY_BLOCK - 1) / KEY_BLOCK);
}

/** output[batch, head, key] = sum over queries [queryFrom, queryTo) of the weights; heads are those of the region. */
export function columnSums(parameters: usize, scratch: usize, tileFrom: i32, tileTo: i32): void {
  const p = changetype<AttentionParameters>(parameters);
  layOut(p, scratch);
  const w = changetype<Workspace>(scratch);
  const group = p.queryHeads / p.keyHeads;
  const perBlock = queriesInBlock(p);
  const keyBlocks = (p.keys + KEY_BLOCK - 1) / KEY_BLOCK;
  for (let index = tileFrom; index < tileTo; index++) {
    const keyFrom = (index % keyBlocks) * KEY_BLOCK;
    const tileHead = index / keyBlocks;
    w.keyHead = tileHead % p.keyHeads;
    w.batch = tileHead / p.keyHeads;
    const count = min(KEY_BLOCK, p.keys - keyFrom);
    const headFrom = max(p.headFrom, w.keyHead * group);
    const headTo = min(p.headTo, (w.keyHead + 1) * group);
    if (headFrom >= headTo) continue;
    for (let head = headFrom; head < headTo; head++) {
      memory.fill(columnOutput(p, w, head, keyFrom), 0, <usize>count << 2);
    }
    openKeys(p, w, keyFrom, count);
    for (let queryBlock = p.queryFrom / perBlock; queryBlock * perBlock < p.queryTo; queryBlock++) {
      const queryFrom = max(p.queryFrom, queryBlock * perBlock);
      const queryTo = min(p.queryTo, (queryBlock + 1) * perBlock);
      loadRows(p, w, headFrom, headTo, queryFrom, queryTo);
      if (!readBlock(p, w, queryBlock, perBlock, keyFrom, count)) continue;
      for (let row = 0; row < w.rows; row += tileRows()) addColumns(p, w, row, min(tileRows(), w.rows - row), keyFrom, count);
    }
  }
}

// @ts-ignore: decorator
@inline
function columnOutput(p: AttentionParameters, w: Workspace, head: i32, keyFrom: i32): usize {
  return p.output + <usize>w.batch * p.outputBatchStride + <usize>(head - p.headFrom) * p.outputHeadStride + (<usize>keyFrom << 2);
}

function addColumns(p: AttentionParameters, w: Workspace, row: i32, rows: i32, keyFrom: i32, count: i32): void {
  const from = max(0, firstKey(w, row, rows, keyFrom + KEY_BLOCK) - keyFrom);
  const to = min(count, lastKey(w, row, rows) - keyFrom);
  if (from >= to) return;
  scoreRows(p, w, row, rows, keyFrom, from, to);
  for (let r = 0; r < rows; r++) {
    const state = <usize>(row + r) << 2;
    const scores = w.scores + <usize>r * SCORE_ROW_BYTES;
    const head = load<i32>(w.rowHead + state);
    weightsOfRow(p, w, scores, from & ~7, (to + 7) & ~7, head, load<i32>(w.rowQuery + state));
    const sums = columnOutput(p, w, head, keyFrom);
    let j = from;
    for (; j + 4 <= to; j += 4) {
      const at = sums + (<usize>j << 2);
      v128.store(at, f32x4.add(v128.load(at), v128.load(scores + (<usize>j << 2))));
    }
    for (; j < to; j++) {
      const at = sums + (<usize>j << 2);
      store<f32>(at, load<f32>(at) + load<f32>(scores + (<usize>j << 2)));
    }
  }
}

/** output[batch, head, query] = -sum w ln w, in nats; 0 for a row without keys. Heads and queries are those of the region. */
export function entropies(parameters: usize, scratch: usize, tileFrom: i32, tileTo: i32): void {
  summarizeRows(parameters, scratch, tileFrom, tileTo, false);
}

/**
 * output[batch, head, query, 0..count) = the largest weights, falling; the keys they belong to, as i32, `count` words
 * further on. Of equal weights the lower key comes first. Where fewer keys have a weight above 0: weight 0, key -1.
 */
export function topKeys(parameters: usize, scratch: usize, tileFrom: i32, tileTo: i32): void {
  summarizeRows(parameters, scratch, tileFrom, tileTo, true);
}

function summarizeRows(parameters: usize, scratch: usize, tileFrom: i32, tileTo: i32, top: bool): void {
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
    const queryTo = min(p.queryTo, (queryBlock + 1) * perBlock);
    if (headFrom >= headTo || queryFrom >= queryTo) continue;
    loadRows(p, w, headFrom, headTo, queryFrom, queryTo);
    for (let row = 0; row < w.rows; row++) {
      if (top) startTop(p, rowOutput(p, w, row));
      else store<f32>(w.sum + (<usize>row << 2), 0);
    }
    const keyTo = lastKey(w, 0, w.rows);
    for (let keyFrom = blockStart(firstKey(w, 0, w.rows, keyTo)); keyFrom < keyTo; keyFrom += KEY_BLOCK) {
      const count = min(KEY_BLOCK, keyTo - keyFrom);
      if (!readBlock(p, w, queryBlock, perBlock, keyFrom, count)) continue;
      openKeys(p, w, keyFrom, count);
      for (let row = 0; row < w.rows; row += tileRows()) {
        summarizeTile(p, w, row, min(tileRows(), w.rows - row), keyFrom, count, top);
      }
    }
    if (!top) finishEntropies(p, w);
  }
}

// @ts-ignore: decorator
@inline
function rowOutput(p: AttentionParameters, w: Workspace, row: i32): usize {
  const head = load<i32>(w.rowHead + (<usize>row << 2)) - p.headFrom;
  const query = load<i32>(w.rowQuery + (<usize>row << 2)) - p.queryFrom;
  return p.output + <usize>w.batch * p.outputBatchStride + <usize>head * p.outputHeadStride + <usize>query * p.outputRowStride;
}

function summarizeTile(p: AttentionParameters, w: Workspace, row: i32, rows: i32, keyFrom: i32, count: i32, top: bool): void {
  const from = max(0, firstKey(w, row, rows, keyFrom + KEY_BLOCK) - keyFrom);
  const to = min(count, lastKey(w, row, rows) - keyFrom);
  if (from >= to) return;
  scoreRows(p, w, row, rows, keyFrom, from, to);
  for (let r = 0; r < rows; r++) {
    const state = <usize>(row + r) << 2;
    const scores = w.scores + <usize>r * SCORE_ROW_BYTES;
    const head = load<i32>(w.rowHead + state);
    const query = load<i32>(w.rowQuery + state);
    if (top) {
      weightsOfRow(p, w, scores, from & ~7, (to + 7) & ~7, head, query);
      insertTop(rowOutput(p, w, row + r), p.count, scores, keyFrom, from, to);
    } else {
      addEntropy(p, w, scores, from & ~7, (to + 7) & ~7, head, query, state);
    }
  }
}

/** Adds the sum of p * log2(p) of a row, p = 2^(score - maximum). The eighth row of w.scores, never used by a tile, helps. */
function addEntropy(p: AttentionParameters, w: Workspace, scores: usize, from: i32, to: i32, head: i32, query: i32, state: usize): void {
  const statistics = p.statistics + (<usize>((w.batch * p.queryHeads + head) * p.queries + query) << 3);
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

function finishEntropies(p: AttentionParameters, w: Workspace): void {
  for (let row = 0; row < w.rows; row++) {
    const head = load<i32>(w.rowHead + (<usize>row << 2));
    const query = load<i32>(w.rowQuery + (<usize>row << 2));
    const statistics = p.statistics + (<usize>((w.batch * p.queryHeads + head) * p.queries + query) << 3);
    const sum = <f64>load<f32>(statistics, 4);
    let entropy: f64 = 0;
    if (sum != sum) {
      entropy = NaN;
    } else if (sum > 0) {
      const share = <f64>load<f32>(w.sum + (<usize>row << 2)) / sum;
      let rest: f64 = 0;
      if (p.sinks) {
        // The sink's own share of the softmax belongs to no key: only keys' weights count, and they sum to less than 1.
        rest = sinkShare(<f64>sinkScore(p, head) - <f64>load<f32>(statistics), sum, w);
      }
      entropy = (1 - rest) * naturalLogarithm(sum) - share * LN_2;
    }
    store<f32>(rowOutput(p, w, row), <f32>max(entropy, 0));
  }
}

/** 2^sink / sum. */
function sinkShare(sink: f64, sum: f64, w: Workspace): f64 {
  return <f64>exp2Scalar(<f32>sink, w.constants) / sum;
}

function startTop(p: AttentionParameters, output: usize): void {
  memory.fill(output, 0, <usize>p.count << 2);
  memory.fill(output + (<usize>p.count << 2), 0xff, <usize>p.count << 2);
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
