// Fused attention, forward: softmax(scores) V without ever holding more scores than a tile of rows by a block of keys.
//
//   tile (batch row, key/value head, query block), or several key/value heads of one batch row together:
//     queries, scaled -> scratch
//     for block of keys that any row can see, ascending:
//       for key/value head:
//         K and V of the block as panels: packed, or as they lie in a page of the cache    (blocks.ts)
//         for tile of rows:
//           scores = Q K^T, modified and masked                        (scores.ts)
//           m' = max(m, scores);  P = 2^(scores - m');  l = l * 2^(m - m') + sum P
//           sums = sums * 2^(m - m') + P V                             (the micro-kernel: chains over the block, from zero)
//     output = sums / l
//
// A row's bits depend on its own keys alone: blocks start at multiples of KEY_BLOCK, and what a row does not see adds
// exact zeros. A key that is removed for one row of a tile but kept for another is multiplied by zero, which is wrong
// if its value is infinite or NaN. That always shows as a NaN in the sums; such a tile is then done again with
// `careful` set, which leaves removed keys out one by one. It also bounds scores that large biases made infinite, and
// shrinks sums of values so large that they would overflow where their mean does not.

import { rowsTogether } from '../gemm/piece';
import { PANEL, PIECE, ROW_BYTES, tileRows } from '../gemm/tile';
import { exp2, exp2Rows, maximumOfRow } from '../math/exp2';
import { naturalLogarithm } from '../math/logarithm';
import { horizontalMaximum, horizontalSum, multiplyAdd } from '../math/vector';
import { openKeys, openValues } from './blocks';
import { addIntegerValues } from './integers';
import { readBlock } from './masks';
import { AttentionParameters } from './parameters';
import { addRows, blockStart, boundBiased, firstBit, firstKey, LARGEST, lastBit, lastKey, productPiece, scoreRows, sinkScore } from './scores';
import { headsTogether, KEY_BLOCK, layOut, queriesInBlock, SCORE_ROW_BYTES, STATE_BYTES, Workspace } from './workspace';

const LN_2: f64 = 0.6931471805599453;
/** Below this no sum of values overflows, for up to 2^31 keys. */
const LARGE_VALUE: f32 = 1.5845632502852868e29; // 2^97
const SHRINK: f32 = 9.313225746154785e-10; // 2^-30

/** Runs tiles [tileFrom, tileTo) of `tileCount`. `scratch` holds `workspaceBytes`. */
export function attentionForward(parameters: usize, scratch: usize, tileFrom: i32, tileTo: i32): void {
  const p = changetype<AttentionParameters>(parameters);
  layOut(p, scratch);
  const w = changetype<Workspace>(scratch);
  const group = p.queryHeads / p.keyHeads;
  const perBlock = queriesInBlock(p);
  const blocks = (p.queries + perBlock - 1) / perBlock;
  const together = headsTogether(p);
  for (let index = tileFrom; index < tileTo; index += w.heads) {
    const queryBlock = index % blocks;
    const head = index / blocks;
    w.keyHeadFrom = head % p.keyHeads;
    w.heads = min(together, min(tileTo - index, p.keyHeads - w.keyHeadFrom));
    w.batch = head / p.keyHeads;
    const queryFrom = queryBlock * perBlock;
    const queryTo = min(p.queries, queryFrom + perBlock);
    w.rows = 0;
    for (let keyHead = w.keyHeadFrom; keyHead < w.keyHeadFrom + w.heads; keyHead++) {
      addRows(p, w, keyHead * group, (keyHead + 1) * group, queryFrom, queryTo);
    }
    if (!attend(p, w, queryBlock, perBlock, false)) attend(p, w, queryBlock, perBlock, true);
  }
}

/** The whole of the tiles whose rows are loaded. Returns false if a sum is NaN or infinite. */
function attend(p: AttentionParameters, w: Workspace, queryBlock: i32, perBlock: i32, careful: bool): bool {
  w.shrunk = 0;
  startRows(p, w);
  const keyTo = lastKey(w, 0, w.rows);
  for (let keyFrom = p.firstKeys ? 0 : blockStart(firstKey(w, 0, w.rows, keyTo)); keyFrom < keyTo; keyFrom += KEY_BLOCK) {
    const keyEnd = keyFrom + KEY_BLOCK;
    const count = min(keyEnd, keyTo) - keyFrom;
    const holdsFirst = keyFrom < p.firstKeys;
    if (p.firstKeys && !holdsFirst && firstKey(w, 0, w.rows, keyEnd) == keyEnd) continue;
    if (!readBlock(p, w, queryBlock, perBlock, keyFrom, count)) continue;
    const rowsOfHead = w.rows / w.heads;
    for (let head = 0; head < w.heads; head++) {
      w.keyHead = w.keyHeadFrom + head;
      openKeys(p, w, keyFrom, count);
      openValues(p, w, keyFrom, count, careful);
      if (careful && !w.shrunk && holdsLargeValue(w, count)) {
        w.shrunk = 1;
        multiply(w.sums, w.sums + <usize>w.rows * w.sumRowBytes, SHRINK);
      }
      attendBlock(p, w, head * rowsOfHead, (head + 1) * rowsOfHead, keyFrom, count, careful);
    }
  }
  return finishRows(p, w) || careful;
}

/** Rows [row, end), those of one key head, over the block of its keys that is open. */
function attendBlock(p: AttentionParameters, w: Workspace, row: i32, end: i32, keyFrom: i32, count: i32, careful: bool): void {
  while (row < end) {
    let rows = min(rowsTogether(), end - row);
    if (seeAll(w, row, rows, keyFrom, keyFrom + count)) {
      attendTile(p, w, row, rows, keyFrom, 0, count, careful);
    } else {
      // Where rows differ, as on the diagonal, few of them at a time waste the least.
      const tiles = (rows + tileRows() - 1) / tileRows();
      rows = (rows + tiles - 1) / tiles;
      let from = keyFrom < p.firstKeys ? 0 : max(0, firstKey(w, row, rows, keyFrom + KEY_BLOCK) - keyFrom);
      let to = min(count, lastKey(w, row, rows) - keyFrom);
      if (w.hasBits) {
        from = max(from, firstBit(w, row, rows));
        to = min(to, lastBit(w, row, rows));
      }
      if (from < to) attendTile(p, w, row, rows, keyFrom, from, to, careful);
    }
    row += rows;
  }
}

/** Whether rows [row, row + rows) see all keys of [keyFrom, keyTo). */
function seeAll(w: Workspace, row: i32, rows: i32, keyFrom: i32, keyTo: i32): bool {
  if (w.hasBits) return false;
  for (let r = row; r < row + rows; r++) {
    const state = <usize>r << 2;
    if (load<i32>(w.begin + state) > keyFrom || load<i32>(w.end + state) < keyTo) return false;
  }
  return true;
}

function startRows(p: AttentionParameters, w: Workspace): void {
  for (let r = 0; r < w.rows; r++) {
    const state = <usize>r << 2;
    if (p.sinks) {
      const head = load<i32>(w.rowHead + state);
      store<f32>(w.maximum + state, sinkScore(p, head));
      store<f32>(w.sum + state, 1);
    } else {
      store<f32>(w.maximum + state, -Infinity);
      store<f32>(w.sum + state, 0);
    }
  }
  memory.fill(w.sums, 0, <usize>w.rows * w.sumRowBytes);
}

function attendTile(
  p: AttentionParameters, w: Workspace, row: i32, rows: i32, keyFrom: i32, from: i32, to: i32, careful: bool,
): void {
  scoreRows(p, w, row, rows, keyFrom, from, to);
  const left = (<usize>from & ~7) << 2;
  const right = ((<usize>to + 7) & ~7) << 2;
  if (careful) {
    for (let r = 0; r < rows; r++) {
      boundBiased(p, w, row, r, keyFrom, from, to);
      noteRemoved(w, r, from, to);
    }
  }
  softmaxRows(w, row, rows, left, right);
  if (careful) {
    for (let r = 0; r < rows; r++) {
      const scores = w.scores + <usize>r * SCORE_ROW_BYTES;
      if (w.shrunk) multiply(scores + left, scores + right, SHRINK);
      addPresent(w, row, r, from, to);
    }
    return;
  }
  if (w.quantized) addIntegerValues(p, w, row, rows, from & ~3, (to + 3) & ~3);
  else addValues(w, row, rows, from, to);
}

/** sums = sums * scale + P V for rows [row, row + rows), whose weights of keys [from, to) are w.scores. */
function addValues(w: Workspace, row: i32, rows: i32, from: i32, to: i32): void {
  const weights = w.scores + (<usize>from << 2);
  const panelBytes = <usize>(KEY_BLOCK << 5);
  let values = w.values + (<usize>from << 5);
  let sums = w.sums + <usize>row * w.sumRowBytes;
  for (let channel = 0; channel < w.valueDim; channel += PIECE, sums += ROW_BYTES, values += panelBytes * (PIECE / PANEL)) {
    const channels = min(PIECE, w.valueDim - channel);
    productPiece(w, rows, weights, values, KEY_BLOCK, channels / PANEL, w.piece, to - from, PIECE, false);
    for (let r = 0; r < rows; r++) {
      const scale = v128.load32_splat(w.scales + (<usize>r << 2));
      let piece = w.piece + <usize>r * ROW_BYTES;
      const target = sums + <usize>r * w.sumRowBytes;
      const end = target + (<usize>channels << 2);
      for (let at = target; at < end; at += 32, piece += 32) {
        v128.store(at, multiplyAdd(v128.load(at), scale, v128.load(piece)));
        v128.store(at, multiplyAdd(v128.load(at, 16), scale, v128.load(piece, 16)), 16);
      }
    }
  }
}

/**
 * A step of the online softmax for rows [row, row + rows): bytes [left, right) of their scores become weights
 * relative to the new maxima; w.scales takes 2^(m - m'). Without branches on the scores: they would be guessed wrong.
 */
function softmaxRows(w: Workspace, row: i32, rows: i32, left: usize, right: usize): void {
  const maxima = w.maximum + (<usize>row << 2);
  const before = w.scales;
  const after = w.scales + STATE_BYTES;
  for (let r: usize = 0, scores = w.scores; r < <usize>rows << 2; r += 4, scores += SCORE_ROW_BYTES) {
    const old = load<f32>(maxima + r);
    const most = horizontalMaximum(maximumOfRow(scores + left, scores + right));
    const maximum = most > old ? most : old;
    store<f32>(maxima + r, maximum);
    // No key so far: any finite number will do, and -infinity - -infinity would be NaN.
    const finite = maximum == -Infinity ? <f32>0 : maximum;
    store<f32>(before + r, old - finite);
    store<f32>(after + r, finite);
  }
  for (let r: usize = 0; r < <usize>rows << 2; r += 16) v128.store(before + r, exp2(v128.load(before + r), w.constants));
  exp2Rows(w.scores + left, w.scores + right, SCORE_ROW_BYTES, rows, after, w.rowSums, w.constants);
  const sums = w.sum + (<usize>row << 2);
  for (let r: usize = 0; r < <usize>rows << 2; r += 4) {
    store<f32>(sums + r, load<f32>(sums + r) * load<f32>(w.scales + r) + load<f32>(w.rowSums + r));
  }
}

function noteRemoved(w: Workspace, r: i32, from: i32, to: i32): void {
  const scores = w.scores + <usize>r * SCORE_ROW_BYTES;
  const removed = w.removed + <usize>(r * KEY_BLOCK);
  for (let j = from; j < to; j++) {
    store<u8>(removed + <usize>j, load<f32>(scores + (<usize>j << 2)) == -Infinity ? 1 : 0);
  }
}

/** sums = sums * scale + P V of one row, without the keys that are removed. */
function addPresent(w: Workspace, row: i32, r: i32, from: i32, to: i32): void {
  const scores = w.scores + <usize>r * SCORE_ROW_BYTES;
  const sums = w.sums + <usize>(row + r) * w.sumRowBytes;
  const removed = w.removed + <usize>(r * KEY_BLOCK);
  const scale = v128.load32_splat(w.scales + (<usize>r << 2));
  for (let channel = 0; channel < w.valueDim; channel += 4) {
    const values = w.values + (<usize>(channel >> 3) * <usize>(KEY_BLOCK << 5)) + (<usize>(channel & 4) << 2);
    const at = sums + (<usize>channel << 2);
    let sum = f32x4.splat(0);
    for (let j = from; j < to; j++) {
      if (load<u8>(removed + <usize>j)) continue;
      sum = multiplyAdd(v128.load32_splat(scores + (<usize>j << 2)), v128.load(values + (<usize>j << 5)), sum);
    }
    v128.store(at, multiplyAdd(v128.load(at), scale, sum));
  }
}

/** Whether a finite value of the open block, of `count` keys, is large. */
function holdsLargeValue(w: Workspace, count: i32): bool {
  const large = f32x4.splat(LARGE_VALUE);
  const infinity = f32x4.splat(Infinity);
  const panelBytes = <usize>(KEY_BLOCK << 5);
  const end = w.values + <usize>(w.valueDim >> 3) * panelBytes;
  for (let panel = w.values; panel < end; panel += panelBytes) {
    for (let at = panel; at < panel + (<usize>count << 5); at += 16) {
      const size = f32x4.abs(v128.load(at));
      if (v128.any_true(v128.and(f32x4.gt(size, large), f32x4.lt(size, infinity)))) return true;
    }
  }
  return false;
}

/** Floats [from, to), addresses a multiple of 16 bytes apart, times a factor. */
function multiply(from: usize, to: usize, factor: f32): void {
  const factors = f32x4.splat(factor);
  for (; from < to; from += 16) v128.store(from, f32x4.mul(v128.load(from), factors));
}

/** A row of shrunk sums becomes its means. Rounding does not carry those beyond the largest float. */
function growMeans(sums: usize, bytes: usize, reciprocal: f32): void {
  const lowest = f32x4.splat(-LARGEST);
  const largest = f32x4.splat(LARGEST);
  for (const end = sums + bytes; sums < end; sums += 16) {
    const mean = f32x4.mul(v128.load(sums), f32x4.splat(reciprocal));
    const grown = f32x4.mul(mean, f32x4.splat(1 / SHRINK));
    const bounded = f32x4.pmax(f32x4.pmin(grown, largest), lowest);
    const finite = f32x4.eq(f32x4.sub(mean, mean), f32x4.splat(0));
    v128.store(sums, v128.bitselect(bounded, grown, finite));
  }
}

/** Divides by the sums of the softmax and writes output, statistics and log-sum-exp. False if a sum is NaN or infinite. */
function finishRows(p: AttentionParameters, w: Workspace): bool {
  const zero = f32x4.splat(0);
  let check = zero;
  const whole = p.valueHeadDim & ~3;
  for (let r = 0; r < w.rows; r++) {
    const state = <usize>r << 2;
    const query = load<i32>(w.rowQuery + state);
    const head = load<i32>(w.rowHead + state);
    const sum = load<f32>(w.sum + state);
    let reciprocal: f32 = sum == 0 ? 0 : 1 / sum;
    const source = w.sums + <usize>r * w.sumRowBytes;
    if (w.shrunk) {
      growMeans(source, w.sumRowBytes, reciprocal);
      reciprocal = 1;
    }
    const factor = f32x4.splat(reciprocal);
    // The sum itself tells where there are no values.
    check = f32x4.add(check, f32x4.splat(sum * 0));
    const target =
      p.output + <usize>w.batch * p.outputBatchStride + <usize>head * p.outputHeadStride + <usize>query * p.outputRowStride;
    for (let c = 0; c < whole; c += 4) {
      const value = f32x4.mul(v128.load(source + (<usize>c << 2)), factor);
      check = f32x4.add(check, f32x4.mul(value, zero));
      v128.store(target + (<usize>c << 2), value);
    }
    for (let c = whole; c < p.valueHeadDim; c++) {
      const value = load<f32>(source + (<usize>c << 2)) * reciprocal;
      check = f32x4.add(check, f32x4.mul(f32x4.splat(value), zero));
      store<f32>(target + (<usize>c << 2), value);
    }
    writeStatistics(p, (w.batch * p.queryHeads + head) * p.queries + query, load<f32>(w.maximum + state), sum);
  }
  return horizontalSum(check) == 0;
}

function writeStatistics(p: AttentionParameters, index: i32, maximum: f32, sum: f32): void {
  if (p.statistics) {
    store<f32>(p.statistics + (<usize>index << 3), maximum);
    store<f32>(p.statistics + (<usize>index << 3), sum, 4);
  }
  if (p.logSumExp) {
    let logSumExp = -Infinity as f32;
    if (sum != 0) logSumExp = sum == sum ? <f32>(<f64>maximum * LN_2 + naturalLogarithm(<f64>sum)) : NaN as f32;
    store<f32>(p.logSumExp + (<usize>index << 2), logSumExp);
  }
}
