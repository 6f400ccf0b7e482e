// Scores of a tile of rows against a block of keys, in the order of the semantics: scaled product, softcap, biases, masks.
// A removed key ends up as -infinity whatever its product was (a NaN too), so that the softmax gives it a true zero. Nothing
// finite gets there: scores, which are in base 2, end at the largest float, so natural ones at 2.3586e38. Downwards that is
// seen to here; upwards, where a score of infinity makes its row NaN, in the careful pass (`boundBiased`).

import { multiplyPiece } from '../gemm/piece';
import { rowOverPanel } from '../gemm/row';
import { PIECE, tileOf } from '../gemm/tile';
import { LOG2_E } from '../math/exp2';
import { tanh } from '../math/tanh';
import { multiplyAdd } from '../math/vector';
import { FAR_ROWS, PANELS_TOGETHER, SCORE_PIECE } from './blocking';
import { integerScores } from './integers';
import { AttentionParameters } from './parameters';
import { SCORE_ROW_BYTES, Workspace } from './workspace';

/** The largest float: where scores end. */
export const LARGEST: f32 = 3.4028234663852886e38;
/** Smaller biases cannot carry a finite score beyond the largest float: half of the step there is 1.01e31. */
const LARGE_BIAS: f32 = 5e30;

/**
 * Scores of rows [row, row + count) against keys [from, to) of the open block, into w.scores, SCORE_ROW_BYTES per row. Whole
 * panels are written: the places beside [from, to) hold -infinity.
 */
export function scoreRows(p: AttentionParameters, w: Workspace, row: i32, count: i32, from: i32, to: i32): void {
  const keyFrom = w.keyFrom;
  const panelTo = (to + 7) >> 3;
  if (w.quantized) integerScores(p, w, row, count, from & ~7, panelTo << 3);
  else productScores(p, w, row, count, from >> 3, panelTo);
  const modified = p.softcap != 0 || p.bias != 0 || p.secondBias != 0;
  const left = from & ~7;
  const right = panelTo << 3;
  for (let r = 0; r < count; r++) {
    const scores = w.scores + <usize>r * SCORE_ROW_BYTES;
    const state = <usize>(row + r) << 2;
    if (modified) modify(p, w, scores, load<i32>(w.rowQuery + state), load<i32>(w.rowHead + state), left, right, to);
    if (w.hasBits) removeByBits(scores, w.bits + (<usize>(row + r) << 4), left, right);
    const first = min(right, max(left, p.firstKeys - keyFrom));
    removeOutside(scores, left, first, right, load<i32>(w.begin + state) - keyFrom, load<i32>(w.end + state) - keyFrom);
  }
}

/** Products of rows with panels [panel, panelTo). */
export function productScores(p: AttentionParameters, w: Workspace, row: i32, count: i32, panel: i32, panelTo: i32): void {
  const headDim = p.headDim;
  for (let from = 0; from < headDim; from += PIECE) {
    const queries = w.queries + <usize>row * w.queryRowBytes + <usize>(from / PIECE) * w.queryPieceBytes;
    const at = <usize>panel << 5;
    const keys = w.keys + at * <usize>headDim + (<usize>from << 5);
    productPiece(w, count, queries, keys, headDim, panelTo - panel, w.scores + at, min(PIECE, headDim - from), SCORE_PIECE, from > 0);
  }
}

/**
 * `multiplyPiece` in chains of `cut` steps: all of them for some panels before the next ones, so that pages are read from end
 * to end. Few rows that read pages from beyond the caches take panel after panel.
 */
export function productPiece(
  w: Workspace, rows: i32, a: usize, panel: usize, panelDepth: i32, panels: i32, c: usize, depth: i32, cut: i32, adding: bool,
): void {
  const panelBytes = <usize>panelDepth << 5;
  if (w.far && rows <= FAR_ROWS) {
    for (const end = c + (<usize>panels << 5); c < end; c += 32, panel += panelBytes) {
      if (rows == 1) {
        rowOverPanel(a, panel, c, depth, cut, adding);
        continue;
      }
      for (let from = 0; from < depth; from += cut) {
        tileOf(rows, a + (<usize>from << 2), panel + (<usize>from << 5), c, min(cut, depth - from), adding || from > 0);
      }
    }
    return;
  }
  const together = depth > cut ? PANELS_TOGETHER : panels;
  for (; panels > 0; panels -= together) {
    for (let from = 0; from < depth; from += cut) {
      multiplyPiece(
        rows, a + (<usize>from << 2), panel + (<usize>from << 5), panelBytes, min(together, panels), c, min(cut, depth - from),
        adding || from > 0,
      );
    }
    panel += <usize>together * panelBytes;
    c += <usize>together << 5;
  }
}

function modify(
  p: AttentionParameters, w: Workspace, scores: usize, query: i32, head: i32, from: i32, right: i32, to: i32,
): void {
  if (p.softcap != 0) {
    const cap = f32x4.splat(p.softcap);
    for (let j = from; j < right; j += 4) {
      const at = scores + (<usize>j << 2);
      v128.store(at, f32x4.mul(tanh(v128.load(at), w.constants), cap));
    }
  }
  const first = <usize>w.keyFrom << 2;
  if (p.bias) addBias(scores, biasRow(p, w, head, query) + first, p.biasScale, from, to);
  if (p.secondBias) {
    const bias =
      p.secondBias + <usize>w.batch * p.secondBiasBatchStride + <usize>head * p.secondBiasHeadStride +
      <usize>query * p.secondBiasRowStride;
    addTable(scores, bias + first, p.biasScale, from, to);
  }
}

// @ts-ignore: decorator
@inline
function biasRow(p: AttentionParameters, w: Workspace, head: i32, query: i32): usize {
  return p.bias + <usize>w.batch * p.biasBatchStride + <usize>head * p.biasHeadStride + <usize>query * p.biasRowStride;
}

/** scores += table * scale, for biases by distance: too small (LARGE_BIAS) to remove a key. */
function addTable(scores: usize, table: usize, scale: f32, from: i32, to: i32): void {
  const scales = f32x4.splat(scale);
  let j = from;
  for (; j + 4 <= to; j += 4) {
    const at = scores + (<usize>j << 2);
    v128.store(at, multiplyAdd(v128.load(table + (<usize>j << 2)), scales, v128.load(at)));
  }
  for (; j < to; j++) {
    const at = scores + (<usize>j << 2);
    v128.store32_lane(at, multiplyAdd(v128.load32_splat(table + (<usize>j << 2)), scales, v128.load32_splat(at)), 0);
  }
}

/** scores += bias * scale; where the bias is -infinity the score is, even if it was NaN. Finite sums stay finite below. */
function addBias(scores: usize, bias: usize, scale: f32, from: i32, to: i32): void {
  const scales = f32x4.splat(scale);
  const minusInfinity = f32x4.splat(-Infinity);
  const lowest = f32x4.splat(-LARGEST);
  let j = from;
  for (; j + 4 <= to; j += 4) {
    const at = scores + (<usize>j << 2);
    v128.store(at, biased(v128.load(at), v128.load(bias + (<usize>j << 2)), scales, lowest, minusInfinity));
  }
  for (; j < to; j++) {
    const at = scores + (<usize>j << 2);
    const added = v128.load32_splat(bias + (<usize>j << 2));
    v128.store32_lane(at, biased(v128.load32_splat(at), added, scales, lowest, minusInfinity), 0);
  }
}

// @ts-ignore: decorator
@inline
function biased(score: v128, added: v128, scales: v128, lowest: v128, minusInfinity: v128): v128 {
  const sum = f32x4.pmax(multiplyAdd(added, scales, score), lowest);
  return v128.bitselect(minusInfinity, sum, f32x4.eq(f32x4.pmin(added, score), minusInfinity));
}

/** Scores [from, to) that a large finite bias made infinite end at the largest float. For the `r`-th row of w.scores. */
export function boundBiased(p: AttentionParameters, w: Workspace, row: i32, r: i32, from: i32, to: i32): void {
  if (!p.bias) return;
  const state = <usize>(row + r) << 2;
  const bias = biasRow(p, w, load<i32>(w.rowHead + state), load<i32>(w.rowQuery + state)) + (<usize>w.keyFrom << 2);
  const scores = w.scores + <usize>r * SCORE_ROW_BYTES;
  for (let j = from; j < to; j++) {
    const at = scores + (<usize>j << 2);
    const added = load<f32>(bias + (<usize>j << 2));
    if (load<f32>(at) == Infinity && added > LARGE_BIAS && added <= LARGEST) store<f32>(at, LARGEST);
  }
}

/** Scores [from, to), multiples of 4, of a row whose maximum the careful pass has bounded: the same bound for each. */
export function boundAbove(scores: usize, from: i32, to: i32): void {
  const largest = f32x4.splat(LARGEST);
  for (let j = from; j < to; j += 4) {
    const at = scores + (<usize>j << 2);
    v128.store(at, f32x4.pmin(v128.load(at), largest));
  }
}

/** The score of a head's sink. */
export function sinkScore(p: AttentionParameters, head: i32): f32 {
  return min(max(load<f32>(p.sinks + (<usize>head << 2)) * LOG2_E, -LARGEST), LARGEST);
}

function removeByBits(scores: usize, bits: usize, from: i32, to: i32): void {
  if (i64x2.all_true(i64x2.eq(v128.load(bits), i64x2.splat(-1)))) return;
  const lanes = i32x4(1, 2, 4, 8);
  const minusInfinity = f32x4.splat(-Infinity);
  for (let j = from; j < to; j += 4) {
    const four = <i32>load<u8>(bits + <usize>(j >> 3)) >> (j & 4);
    const kept = i32x4.eq(v128.and(i32x4.splat(four), lanes), lanes);
    const at = scores + (<usize>j << 2);
    v128.store(at, v128.bitselect(v128.load(at), minusInfinity, kept));
  }
}

/** Removes [first, begin) and [end, right). */
function removeOutside(scores: usize, left: i32, first: i32, right: i32, begin: i32, end: i32): void {
  for (let j = first; j < min(begin, right); j++) store<f32>(scores + (<usize>j << 2), -Infinity);
  for (let j = max(end, left); j < right; j++) store<f32>(scores + (<usize>j << 2), -Infinity);
}
