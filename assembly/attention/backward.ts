// Fused attention, backward: from the gradient of the output to those of queries, keys and values, and of what scores are made of.
// The weights are computed again block by block, from the statistics of the forward pass: nothing of size n x n is ever held.
//
//   chain (batch row, key/value head), of steps (query block), ascending, each a call; its tiles are the chains:
//     rows of Q, scaled; of dO' = dO / sum, and delta' = (dO . O - dLogSumExp) / sum        -> scratch
//     for block of keys that any row can see, ascending:
//       for chunk of rows that see the block:
//         P' = 2^(Q K^T - maximum)                    scores as in the forward pass, modified and masked        (scores.ts)
//         dS = P' * (dO' V^T - delta')                P' = P * sum, so that no pass divides by the sum
//         dQ += dS K      dV += P'^T dO'      dK += dS^T Q                                            (the micro-kernels)
//       (with dropout D, of a mask times 1 / (1 - rate): dS = P' * (D * dO' V^T - delta'), dV += (D * P')^T dO')
//       dK and dV of the block, each in a sum of its own until here, are added to the gradients
//     dQ of the rows -> gradient
//
// What a step adds to is written by no other chain: which thread runs a chain, and when its steps, changes no bit.
//
// Removed keys leave no trace, whatever they hold: P' is an exact zero there, and where it is, dS is made one; and the keys that
// dS is multiplied with are copied without what is not finite. (Where a row sees such a key its score, and so its dS, is NaN by itself.)

import { KEY_BLOCK } from '../cache/page';
import { outerProduct } from '../gemm/outer';
import { packColumns, packRows } from '../gemm/pack';
import { rowsTogether } from '../gemm/piece';
import { PANEL, PANEL_BYTES, PIECE, ROW_BYTES, tileRows } from '../gemm/tile';
import { exp2Scalar } from '../math/exp2';
import { tanh } from '../math/tanh';
import { horizontalSum, multiplyAdd } from '../math/vector';
import { BackwardParameters } from './backward-parameters';
import { queriesInBlock } from './blocking';
import { dropWeights, WeightDropoutParameters } from './dropout';
import { gradeRows } from './grade';
import { openKeys } from './key-values';
import { AttentionParameters } from './parameters';
import { boundAbove, LARGEST, productPiece, productScores, scoreRows, sinkScore } from './scores';
import { clip, nextBlock, openBlocks, openHead, openRows, seeAll } from './tiles';
import { layOut, SCORE_ROW_BYTES, Workspace } from './workspace';

/** Most rows of a chunk: steps of the chains of dK and dV, whose rows of P and dS, 60 kB each, stay in the second-level cache. */
const CHUNK: i32 = 120;
/** Bytes of a panel of a block of keys. */
const BLOCK_PANEL_BYTES: usize = <usize>KEY_BLOCK * PANEL_BYTES;

/** What a step needs beside the workspace of a forward pass, in whose state of rows delta' stands in place of the sum. */
@unmanaged
class Sums {
  /** [piece of valueHeadDim][row][PIECE]: dO', where `tile` reads it. */
  dOutput: usize;
  /** [panel of channels][row][8]: the same, where `outer` reads it. */
  dOutputPanels: usize;
  /** [panel of channels][row][8]: Q as it was given. */
  queryPanels: usize;
  /** [piece of headDim][row][PIECE] */
  dQuery: usize;
  /** Of the block of keys: V as [panel of keys][valueHeadDim][8], K as [panel of channels][KEY_BLOCK][8]. */
  values: usize;
  keys: usize;
  /** Of the block of keys: [panel of channels][KEY_BLOCK][8]. */
  dKey: usize;
  dValue: usize;
  /** [row of the chunk][KEY_BLOCK]: P', dS, and what the softcap lets through. */
  weights: usize;
  gradients: usize;
  slopes: usize;
  /** Bytes of a panel of rows, and of a piece. */
  panelBytes: usize;
  pieceBytes: usize;
}

const SUMS_BYTES: usize = (offsetof<Sums>() + 63) & ~63;

/** Bytes of scratch of a step. */
export function backwardScratchBytes(parameters: usize, valueHeadDim: i32): usize {
  return placeSums(changetype<AttentionParameters>(parameters), valueHeadDim, 0);
}

/** Lays out both workspaces; returns the end of the scratch. With scratch 0 it only measures. */
function placeSums(p: AttentionParameters, valueHeadDim: i32, scratch: usize): usize {
  const work = layOut(p, 0, scratch ? scratch + SUMS_BYTES : 0);
  const start = scratch ? work : work + SUMS_BYTES;
  const rows = <usize>(queriesInBlock(p) * (p.queryHeads / p.keyHeads));
  const pieceBytes = rows * ROW_BYTES;
  const panelBytes = rows * PANEL_BYTES;
  const panels = <usize>((p.headDim + 7) >> 3);
  const valuePanels = <usize>((valueHeadDim + 7) >> 3);
  const dOutputPanels = start + <usize>((valueHeadDim + PIECE - 1) / PIECE) * pieceBytes;
  const queryPanels = dOutputPanels + valuePanels * panelBytes;
  const dQuery = queryPanels + panels * panelBytes;
  const values = dQuery + <usize>((p.headDim + PIECE - 1) / PIECE) * pieceBytes;
  const keys = values + valuePanels * BLOCK_PANEL_BYTES;
  const dKey = keys + panels * BLOCK_PANEL_BYTES;
  const dValue = dKey + panels * BLOCK_PANEL_BYTES;
  const weights = dValue + valuePanels * BLOCK_PANEL_BYTES;
  const gradients = weights + <usize>CHUNK * SCORE_ROW_BYTES;
  const slopes = gradients + <usize>CHUNK * SCORE_ROW_BYTES;
  if (scratch) {
    const x = changetype<Sums>(scratch);
    x.dOutput = start;
    x.dOutputPanels = dOutputPanels;
    x.queryPanels = queryPanels;
    x.dQuery = dQuery;
    x.values = values;
    x.keys = keys;
    x.dKey = dKey;
    x.dValue = dValue;
    x.weights = weights;
    x.gradients = gradients;
    x.slopes = slopes;
    x.panelBytes = panelBytes;
    x.pieceBytes = pieceBytes;
  }
  return slopes + (p.softcap != 0 ? <usize>CHUNK * SCORE_ROW_BYTES : 0);
}

/**
 * Step `queryBlock` of chains [chainFrom, chainTo), batch rows x key/value heads. A chain's steps follow one another.
 * `scratch` holds `backwardScratchBytes`.
 *
 * @param parameters AttentionParameters, without pages
 * @param backward   BackwardParameters
 */
export function attentionBackward(
  parameters: usize, backward: usize, queryBlock: i32, scratch: usize, chainFrom: i32, chainTo: i32,
): void {
  const p = changetype<AttentionParameters>(parameters);
  const b = changetype<BackwardParameters>(backward);
  placeSums(p, b.valueHeadDim, scratch);
  const x = changetype<Sums>(scratch);
  const w = changetype<Workspace>(scratch + SUMS_BYTES);
  for (let chain = chainFrom; chain < chainTo; chain++) {
    openHead(p, w, chain);
    openRows(p, w, queryBlock);
    loadRows(p, b, w, x);
    if (queryBlock == 0) clearGradients(p, b, w);
    for (openBlocks(p, w); nextBlock(p, w); ) gradeBlock(p, b, w, x);
    finishRows(p, b, w, x);
  }
}

/** dO' and delta' of the rows, their queries as panels, and the gradients of the sinks. */
function loadRows(p: AttentionParameters, b: BackwardParameters, w: Workspace, x: Sums): void {
  for (let r = 0; r < w.rows; r++) {
    const state = <usize>r << 2;
    const head = load<i32>(w.rowHead + state);
    const query = load<i32>(w.rowQuery + state);
    const index = (w.batch * p.queryHeads + head) * p.queries + query;
    const maximum = load<f32>(b.statistics + (<usize>index << 3));
    const sum = load<f32>(b.statistics + (<usize>index << 3), 4);
    const dOutput = rowOf(b.dOutput, b.dOutputBatchStride, b.dOutputHeadStride, b.dOutputRowStride, w.batch, head, query);
    const output = rowOf(b.output, b.outputBatchStride, b.outputHeadStride, b.outputRowStride, w.batch, head, query);
    const panels = x.dOutputPanels + <usize>r * PANEL_BYTES;
    let factor: f32 = 0;
    let delta: f32 = 0;
    if (sum != 0) {
      factor = 1 / sum;
      delta = dotProduct(dOutput, output, b.valueHeadDim);
      if (b.dLogSumExp) delta -= load<f32>(b.dLogSumExp + (<usize>index << 2));
    }
    // Of a row without keys nothing counts, not even what is not finite.
    const shift: f32 = maximum == -Infinity ? 0 : maximum;
    spread(sum != 0 ? dOutput : 0, factor, b.valueHeadDim, panels, x.panelBytes, x.dOutput + <usize>r * ROW_BYTES, x.pieceBytes);
    spread(
      rowOf(p.query, p.queryBatchStride, p.queryHeadStride, p.queryRowStride, w.batch, head, query), 1, p.headDim,
      x.queryPanels + <usize>r * PANEL_BYTES, x.panelBytes, 0, 0,
    );
    store<f32>(w.maximum + state, shift);
    store<f32>(w.sum + state, delta * factor);
    if (b.dSinks && sum != 0) {
      const sink = b.dSinks + (<usize>(w.batch * p.queryHeads + head) << 2);
      const weight = exp2Scalar(sinkScore(p, head) - shift, w.constants) * factor;
      if (weight != 0) store<f32>(sink, load<f32>(sink) - weight * delta);
    }
  }
  memory.fill(x.dQuery, 0, <usize>((p.headDim + PIECE - 1) / PIECE) * x.pieceBytes);
}

// @ts-ignore: decorator
@inline
function rowOf(
  tensor: usize, batchStride: usize, headStride: usize, rowStride: usize, batch: i32, head: i32, row: i32,
): usize {
  return tensor + <usize>batch * batchStride + <usize>head * headStride + <usize>row * rowStride;
}

/** Sum of the products of two rows of floats. */
function dotProduct(one: usize, other: usize, count: i32): f32 {
  let sums = f32x4.splat(0);
  const end = one + (<usize>count << 2);
  const last = one + (<usize>(count & ~3) << 2);
  for (; one < last; one += 16, other += 16) sums = multiplyAdd(v128.load(one), v128.load(other), sums);
  let sum = horizontalSum(sums);
  for (; one < end; one += 4, other += 4) sum += load<f32>(one) * load<f32>(other);
  return sum;
}

/**
 * A row of `count` floats times a factor, or zeros if there is no row, into the row at `panel` of panels that are `panelBytes`
 * apart, filled up with zeros; and to `piece` of pieces that are `pieceBytes` apart, if that is given.
 */
function spread(
  row: usize, factor: f32, count: i32, panel: usize, panelBytes: usize, piece: usize, pieceBytes: usize,
): void {
  const factors = f32x4.splat(factor);
  for (let channel = 0; channel < count; channel += PANEL, panel += panelBytes) {
    const source = row + (<usize>channel << 2);
    if (row && channel + PANEL <= count) {
      v128.store(panel, f32x4.mul(v128.load(source), factors));
      v128.store(panel, f32x4.mul(v128.load(source, 16), factors), 16);
    } else {
      for (let lane = 0; lane < PANEL; lane++) {
        const at = <usize>lane << 2;
        store<f32>(panel + at, row && channel + lane < count ? load<f32>(source + at) * factor : 0);
      }
    }
    if (piece) {
      // A piece has room for whole panels.
      const target = piece + <usize>(channel / PIECE) * pieceBytes + (<usize>(channel & (PIECE - 1)) << 2);
      v128.store(target, v128.load(panel));
      v128.store(target, v128.load(panel, 16), 16);
    }
  }
}

/** Gradients of the head's keys and values begin at zero, unless they are added to. */
function clearGradients(p: AttentionParameters, b: BackwardParameters, w: Workspace): void {
  for (let key = 0; key < p.keys; key++) {
    if (b.dKey && !b.addKey) {
      const row = rowOf(b.dKey, b.dKeyBatchStride, b.dKeyHeadStride, b.dKeyRowStride, w.batch, w.keyHead, key);
      memory.fill(row, 0, <usize>p.headDim << 2);
    }
    if (b.dValue && !b.addValue) {
      const row = rowOf(b.dValue, b.dValueBatchStride, b.dValueHeadStride, b.dValueRowStride, w.batch, w.keyHead, key);
      memory.fill(row, 0, <usize>b.valueHeadDim << 2);
    }
  }
}

/** All rows over the block of keys at hand. */
function gradeBlock(p: AttentionParameters, b: BackwardParameters, w: Workspace, x: Sums): void {
  openKeys(p, w);
  packColumns(
    rowOf(b.value, b.valueBatchStride, b.valueHeadStride, b.valueRowStride, w.batch, w.keyHead, w.keyFrom),
    b.valueRowStride, w.keyCount, b.valueHeadDim, x.values,
  );
  if (b.dQuery || b.dScale) {
    packRows(
      rowOf(p.key, p.keyBatchStride, p.keyHeadStride, p.keyRowStride, w.batch, w.keyHead, w.keyFrom),
      p.keyRowStride, w.keyCount, p.headDim, x.keys, KEY_BLOCK,
    );
    leaveFinite(x.keys, x.dKey);
  }
  memory.fill(x.dKey, 0, x.weights - x.dKey);
  for (let row = 0; row < w.rows; ) {
    let rows = min(CHUNK, w.rows - row);
    if (seeAll(w, row, rows)) {
      gradeChunk(p, b, w, x, row, rows, 0, w.keyCount, true);
    } else {
      rows = min(rowsTogether(), rows);
      if (seeAll(w, row, rows)) gradeChunk(p, b, w, x, row, rows, 0, w.keyCount, true);
      else if (clip(p, w, row, rows)) gradeChunk(p, b, w, x, row, rows, w.from, w.to, false);
    }
    row += rows;
  }
  if (b.dKey) {
    const target = rowOf(b.dKey, b.dKeyBatchStride, b.dKeyHeadStride, b.dKeyRowStride, w.batch, w.keyHead, w.keyFrom);
    addPanels(x.dKey, w.keyCount, p.headDim, b.scale, target, b.dKeyRowStride);
  }
  if (b.dValue) {
    const target = rowOf(b.dValue, b.dValueBatchStride, b.dValueHeadStride, b.dValueRowStride, w.batch, w.keyHead, w.keyFrom);
    addPanels(x.dValue, w.keyCount, b.valueHeadDim, 1, target, b.dValueRowStride);
  }
}

/** Puts zeros in place of what is not finite. */
function leaveFinite(from: usize, to: usize): void {
  const zero = f32x4.splat(0);
  for (; from < to; from += 16) {
    const some = v128.load(from);
    v128.store(from, v128.and(some, f32x4.eq(f32x4.sub(some, some), zero)));
  }
}

/**
 * Rows [row, row + rows), of which some see keys [from, to) of the block, and all of them if `all` is set: their weights and dS,
 * and what follows from those.
 */
function gradeChunk(
  p: AttentionParameters, b: BackwardParameters, w: Workspace, x: Sums, row: i32, rows: i32, from: i32, to: i32, all: bool,
): void {
  const gradesScores = b.dQuery || b.dKey || b.dMask || b.dBias || b.dDistances || b.dScale;
  // Where rows differ, as on the diagonal, few of them at a time waste the least.
  const most = all ? rowsTogether() : tileRows();
  if (!all) {
    memory.fill(x.weights, 0, <usize>rows * SCORE_ROW_BYTES);
    memory.fill(x.gradients, 0, <usize>rows * SCORE_ROW_BYTES);
  }
  for (let r = 0, tiles = (rows + most - 1) / most; r < rows; tiles--) {
    const some = all ? min(most, rows - r) : (rows - r + tiles - 1) / tiles;
    if (all) {
      w.from = from;
      w.to = to;
    }
    if (all || clip(p, w, row + r, some)) gradeTile(p, b, w, x, row + r, some, r, <bool>gradesScores);
    r += some;
  }
  const count = to - from;
  const lane = <usize>from << 2;
  const key = <usize>from << 5;
  if (b.dValue) {
    outerProduct(
      count, rows, (b.valueHeadDim + 7) >> 3, x.weights + lane, SCORE_ROW_BYTES,
      x.dOutputPanels + <usize>row * PANEL_BYTES, PANEL_BYTES, x.panelBytes, x.dValue + key, PANEL_BYTES, BLOCK_PANEL_BYTES, true,
    );
  }
  if (b.dKey) {
    outerProduct(
      count, rows, (p.headDim + 7) >> 3, x.gradients + lane, SCORE_ROW_BYTES,
      x.queryPanels + <usize>row * PANEL_BYTES, PANEL_BYTES, x.panelBytes, x.dKey + key, PANEL_BYTES, BLOCK_PANEL_BYTES, true,
    );
  }
}

/** Rows [row, row + rows) over keys [w.from, w.to) of the block: rows from `place` on of the chunk, and dQ. */
function gradeTile(
  p: AttentionParameters, b: BackwardParameters, w: Workspace, x: Sums, row: i32, rows: i32, place: i32, gradesScores: bool,
): void {
  const from = w.from;
  const to = w.to;
  const panel = from >> 3;
  const panels = ((to + 7) >> 3) - panel;
  const left = <usize>panel << 5;
  const right = left + (<usize>panels << 5);
  const offset = <usize>place * SCORE_ROW_BYTES;
  const weights = x.weights + offset;
  const gradients = x.gradients + offset;
  const state = <usize>row << 2;
  if (p.softcap != 0 && gradesScores) slopesOf(p, w, x.slopes + offset, row, rows, panel, panels);
  w.scores = weights;
  scoreRows(p, w, row, rows, from, to);
  for (let r: usize = 0; r < <usize>rows; r++) {
    if (load<f32>(w.maximum + state + (r << 2)) == LARGEST) boundAbove(weights + r * SCORE_ROW_BYTES, from & ~7, (to + 7) & ~7);
  }
  if (gradesScores) {
    let dOutput = x.dOutput + <usize>row * ROW_BYTES;
    let values = x.values + (<usize>panel << 5) * <usize>b.valueHeadDim;
    if (b.valueHeadDim == 0) memory.fill(gradients, 0, <usize>rows * SCORE_ROW_BYTES);
    for (let channel = 0; channel < b.valueHeadDim; channel += PIECE) {
      productPiece(
        w, rows, dOutput, values, b.valueHeadDim, panels, gradients + left, min(PIECE, b.valueHeadDim - channel), PIECE, channel > 0,
      );
      dOutput += x.pieceBytes;
      values += <usize>PIECE * PANEL_BYTES;
    }
  }
  if (gradesScores) drop(p, b, w, row, rows, gradients);
  gradeRows(weights + left, weights + right, gradients + left, rows, w.maximum + state, w.sum + state, w.constants);
  drop(p, b, w, row, rows, weights);
  if (!gradesScores) return;
  for (let r = 0; r < rows; r++) gradeBiases(p, b, w, row + r, gradients + <usize>r * SCORE_ROW_BYTES, from, to);
  if (p.softcap != 0) {
    for (let r: usize = 0; r < <usize>rows; r++) {
      const at = r * SCORE_ROW_BYTES;
      steepen(gradients + at + left, gradients + at + right, x.slopes + offset + at + left);
    }
  }
  if (!b.dQuery && !b.dScale) return;
  let dQuery = x.dQuery + <usize>row * ROW_BYTES;
  let keys = x.keys + (<usize>from << 5);
  for (let channel = 0; channel < p.headDim; channel += PIECE) {
    const channels = min(PIECE, p.headDim - channel);
    productPiece(
      w, rows, gradients + (<usize>from << 2), keys, KEY_BLOCK, (channels + 7) >> 3, dQuery, to - from, PIECE, true,
    );
    dQuery += x.pieceBytes;
    keys += BLOCK_PANEL_BYTES * (PIECE / PANEL);
  }
}

/** Leaves out what the forward pass left out, of weights and of what flows into them: `row` is the first of `rows` at `floats`. */
function drop(p: AttentionParameters, b: BackwardParameters, w: Workspace, row: i32, rows: i32, floats: usize): void {
  if (!b.dropout) return;
  const d = changetype<WeightDropoutParameters>(b.dropout);
  for (let r = 0; r < rows; r++) {
    dropWeights(p, w, d, row + r, floats + <usize>r * SCORE_ROW_BYTES, w.from, w.to, w.rowSums);
  }
}

/** How much of a change of q . k the softcap lets through, 1 - tanh^2, for `panels` panels of keys. */
function slopesOf(p: AttentionParameters, w: Workspace, slopes: usize, row: i32, rows: i32, panel: i32, panels: i32): void {
  w.scores = slopes;
  productScores(p, w, row, rows, panel, panel + panels);
  const one = f32x4.splat(1);
  for (let r = 0; r < rows; r++, slopes += SCORE_ROW_BYTES) {
    let at = slopes + (<usize>panel << 5);
    for (const end = at + (<usize>panels << 5); at < end; at += 16) {
      const share = tanh(v128.load(at), w.constants);
      v128.store(at, f32x4.mul(f32x4.sub(one, share), f32x4.add(one, share)));
    }
  }
}

/** gradients *= slopes; a zero stays one. */
function steepen(from: usize, to: usize, slopes: usize): void {
  for (; from < to; from += 16, slopes += 16) {
    const gradient = v128.load(from);
    v128.store(from, v128.andnot(f32x4.mul(gradient, v128.load(slopes)), f32x4.eq(gradient, f32x4.splat(0))));
  }
}

/** Adds dS of a row, for keys [from, to) of the block, to the gradients of what was added to its scores. */
function gradeBiases(p: AttentionParameters, b: BackwardParameters, w: Workspace, row: i32, gradients: usize, from: i32, to: i32): void {
  const state = <usize>row << 2;
  const head = load<i32>(w.rowHead + state);
  const query = load<i32>(w.rowQuery + state);
  const source = gradients + (<usize>from << 2);
  const key = w.keyFrom + from;
  if (b.dMask) {
    const target = rowOf(b.dMask, b.dMaskBatchStride, b.dMaskHeadStride, b.dMaskRowStride, w.batch, head, query);
    addTo(target + <usize>key * b.dMaskKeyStride, source, to - from, b.dMaskKeyStride);
  }
  if (b.dBias) {
    const target = rowOf(b.dBias, b.dBiasBatchStride, b.dBiasHeadStride, b.dBiasRowStride, w.batch, head, query);
    addTo(target + <usize>key * b.dBiasKeyStride, source, to - from, b.dBiasKeyStride);
  }
  if (b.dDistances) {
    const table = (w.batch * p.queryHeads + head) * (p.queries + p.keys - 1);
    addTo(b.dDistances + (<usize>(table + p.queries - 1 - query + key) << 2), source, to - from, 4);
  }
}

/** Floats one after the other, or all of them into one where the stride is 0. */
function addTo(target: usize, source: usize, count: i32, stride: usize): void {
  if (stride) {
    for (; count >= 4; count -= 4, target += 16, source += 16) {
      v128.store(target, f32x4.add(v128.load(target), v128.load(source)));
    }
    for (; count > 0; count--, target += 4, source += 4) store<f32>(target, load<f32>(target) + load<f32>(source));
    return;
  }
  let sum: f32 = 0;
  for (; count > 0; count--, source += 4) sum += load<f32>(source);
  store<f32>(target, load<f32>(target) + sum);
}

/** Rows of `dim` floats += factor * panels. */
function addPanels(panels: usize, rows: i32, dim: i32, factor: f32, target: usize, stride: usize): void {
  for (; rows > 0; rows--, panels += PANEL_BYTES, target += stride) {
    addScaled(target, panels, BLOCK_PANEL_BYTES, dim, factor, true);
  }
}

/** A row of floats, eight by eight from `source`, which are `step` bytes apart: target = factor * source, or += if `adding`. */
function addScaled(target: usize, source: usize, step: usize, dim: i32, factor: f32, adding: bool): void {
  const factors = f32x4.splat(factor);
  for (; dim >= PANEL; dim -= PANEL, target += PANEL_BYTES, source += step) {
    let low = f32x4.mul(v128.load(source), factors);
    let high = f32x4.mul(v128.load(source, 16), factors);
    if (adding) {
      low = f32x4.add(v128.load(target), low);
      high = f32x4.add(v128.load(target, 16), high);
    }
    v128.store(target, low);
    v128.store(target, high, 16);
  }
  for (; dim > 0; dim--, target += 4, source += 4) {
    const value = load<f32>(source) * factor;
    store<f32>(target, adding ? load<f32>(target) + value : value);
  }
}

/** dQ of the rows, and their part of the gradient of the scale: the sum of dS times q . k is that of q times dS K. */
function finishRows(p: AttentionParameters, b: BackwardParameters, w: Workspace, x: Sums): void {
  for (let r = 0; r < w.rows; r++) {
    const state = <usize>r << 2;
    const head = load<i32>(w.rowHead + state);
    const query = load<i32>(w.rowQuery + state);
    const source = rowOf(p.query, p.queryBatchStride, p.queryHeadStride, p.queryRowStride, w.batch, head, query);
    const target = rowOf(b.dQuery, b.dQueryBatchStride, b.dQueryHeadStride, b.dQueryRowStride, w.batch, head, query);
    let sums = x.dQuery + <usize>r * ROW_BYTES;
    for (let channel = 0; channel < p.headDim; channel += PIECE, sums += x.pieceBytes) {
      const channels = min(PIECE, p.headDim - channel);
      const at = <usize>channel << 2;
      if (b.dScale) {
        const slot = b.dScale + (<usize>(w.batch * p.queryHeads + head) << 3);
        store<f64>(slot, load<f64>(slot) + <f64>dotProduct(sums, source + at, channels));
      }
      if (b.dQuery) addScaled(target + at, sums, PANEL_BYTES, channels, b.scale, b.addQuery != 0);
    }
  }
}
