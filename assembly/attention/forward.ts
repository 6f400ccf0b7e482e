// Fused attention, forward: softmax(scores) V without ever holding more scores than a tile of rows by a block of keys.
//
//   tile (batch row, key/value head, query block), or several key/value heads of one batch row together:
//     queries, scaled -> scratch
//     for block of keys that any row can see, ascending:
//       for key/value head:
//         K and V of the block as panels: packed, or as they lie in a page of the cache    (key-values.ts)
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
import { horizontalSum, multiplyAdd } from '../math/vector';
import { KEY_BLOCK } from '../cache/page';
import { dropWeights, WeightDropoutParameters } from './dropout';
import { addIntegerValues } from './integers';
import { openKeys, openValues } from './key-values';
import { startSoftmax, stepSoftmax, writeStatistics } from './online-softmax';
import { AttentionParameters, ForwardParameters } from './parameters';
import { boundBiased, LARGEST, productPiece, scoreRows } from './scores';
import { clip, nextBlock, openBlocks, openTile, seeAll } from './tiles';
import { layOut, SCORE_ROW_BYTES, Workspace } from './workspace';

/** Below this no sum of values overflows, for up to 2^31 keys. */
const LARGE_VALUE: f32 = 1.5845632502852868e29; // 2^97
const SHRINK: f32 = 9.313225746154785e-10; // 2^-30

/** Whether all weights count: the code is made once without a question about dropout, and once, in another pack, with it. */
export class AllWeights {}
export class SomeWeights { some: u8; }

/**
 * Runs tiles [tileFrom, tileTo) of `attentionTiles`. `scratch` holds `workspaceBytes`.
 *
 * @param parameters AttentionParameters
 * @param forward    ForwardParameters
 */
export function attentionForward(parameters: usize, forward: usize, scratch: usize, tileFrom: i32, tileTo: i32): void {
  runForward<AllWeights>(parameters, forward, 0, scratch, tileFrom, tileTo);
}

/** @param dropout WeightDropoutParameters, of `SomeWeights` */
// @ts-ignore: decorator
@inline
export function runForward<Weights>(
  parameters: usize, forward: usize, dropout: usize, scratch: usize, tileFrom: i32, tileTo: i32,
): void {
  const p = changetype<AttentionParameters>(parameters);
  const f = changetype<ForwardParameters>(forward);
  layOut(p, f.valueHeadDim, scratch);
  const w = changetype<Workspace>(scratch);
  for (let index = tileFrom; index < tileTo; index += w.heads) {
    openTile(p, w, index, tileTo);
    if (!attend<Weights>(p, f, w, dropout, false)) attend<Weights>(p, f, w, dropout, true);
  }
}

/** The whole of the tiles whose rows are loaded. Returns false if a sum is NaN or infinite. */
function attend<Weights>(p: AttentionParameters, f: ForwardParameters, w: Workspace, dropout: usize, careful: bool): bool {
  w.shrunk = 0;
  startSoftmax(p, w);
  memory.fill(w.sums, 0, <usize>w.rows * w.sumRowBytes);
  const rowsOfHead = w.rows / w.heads;
  for (openBlocks(p, w); nextBlock(p, w); ) {
    for (let head = 0; head < w.heads; head++) {
      w.keyHead = w.keyHeadFrom + head;
      openKeys(p, w);
      openValues(p, f, w, careful);
      if (careful && !w.shrunk && holdsLargeValue(w)) {
        w.shrunk = 1;
        multiply(w.sums, w.sums + <usize>w.rows * w.sumRowBytes, SHRINK);
      }
      attendBlock<Weights>(p, w, head * rowsOfHead, (head + 1) * rowsOfHead, dropout, careful);
    }
  }
  return finishRows(p, f, w) || careful;
}

/** Rows [row, end), those of one key head, over the block of its keys that is open. */
function attendBlock<Weights>(p: AttentionParameters, w: Workspace, row: i32, end: i32, dropout: usize, careful: bool): void {
  while (row < end) {
    let rows = min(rowsTogether(), end - row);
    if (seeAll(w, row, rows)) {
      attendTile<Weights>(p, w, row, rows, 0, w.keyCount, dropout, careful);
    } else {
      // Where rows differ, as on the diagonal, few of them at a time waste the least.
      const tiles = (rows + tileRows() - 1) / tileRows();
      rows = (rows + tiles - 1) / tiles;
      if (clip(p, w, row, rows)) attendTile<Weights>(p, w, row, rows, w.from, w.to, dropout, careful);
    }
    row += rows;
  }
}

function attendTile<Weights>(
  p: AttentionParameters, w: Workspace, row: i32, rows: i32, from: i32, to: i32, dropout: usize, careful: bool,
): void {
  scoreRows(p, w, row, rows, from, to);
  const left = (<usize>from & ~7) << 2;
  const right = ((<usize>to + 7) & ~7) << 2;
  if (careful) {
    for (let r = 0; r < rows; r++) {
      boundBiased(p, w, row, r, from, to);
      noteRemoved(w, r, from, to);
    }
  }
  stepSoftmax(w, row, rows, left, right);
  if (offsetof<Weights>() > 0) {
    const d = changetype<WeightDropoutParameters>(dropout);
    for (let r = 0; r < rows; r++) dropWeights(p, w, d, row + r, w.scores + <usize>r * SCORE_ROW_BYTES, from, to, w.rowSums);
  }
  if (careful) {
    for (let r = 0; r < rows; r++) {
      const scores = w.scores + <usize>r * SCORE_ROW_BYTES;
      if (w.shrunk) multiply(scores + left, scores + right, SHRINK);
      addPresent(w, row, r, from, to);
    }
    return;
  }
  if (offsetof<Weights>() == 0 && w.quantized) addIntegerValues(p, w, row, rows, from & ~3, (to + 3) & ~3);
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

/** Whether a finite value of the open block is large. */
function holdsLargeValue(w: Workspace): bool {
  const large = f32x4.splat(LARGE_VALUE);
  const infinity = f32x4.splat(Infinity);
  const panelBytes = <usize>(KEY_BLOCK << 5);
  const end = w.values + <usize>(w.valueDim >> 3) * panelBytes;
  for (let panel = w.values; panel < end; panel += panelBytes) {
    for (let at = panel; at < panel + (<usize>w.keyCount << 5); at += 16) {
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
function finishRows(p: AttentionParameters, f: ForwardParameters, w: Workspace): bool {
  const zero = f32x4.splat(0);
  let check = zero;
  const whole = f.valueHeadDim & ~3;
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
      f.output + <usize>w.batch * f.outputBatchStride + <usize>head * f.outputHeadStride + <usize>query * f.outputRowStride;
    for (let c = 0; c < whole; c += 4) {
      const value = f32x4.mul(v128.load(source + (<usize>c << 2)), factor);
      check = f32x4.add(check, f32x4.mul(value, zero));
      v128.store(target + (<usize>c << 2), value);
    }
    for (let c = whole; c < f.valueHeadDim; c++) {
      const value = load<f32>(source + (<usize>c << 2)) * reciprocal;
      check = f32x4.add(check, f32x4.mul(f32x4.splat(value), zero));
      store<f32>(target + (<usize>c << 2), value);
    }
    writeStatistics(f, (w.batch * p.queryHeads + head) * p.queries + query, load<f32>(w.maximum + state), sum);
  }
  return horizontalSum(check) == 0;
}
