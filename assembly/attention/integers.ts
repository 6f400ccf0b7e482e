// Attention of a few rows over int8 pages without making floats of them: products of integers, exact in every build.
//
// The row that meets the bytes (a query, or the weights of a row) is rounded to 14 bits. The simd build multiplies 16-bit
// integers; the relaxed build multiplies bytes and so splits the row into two digits of 7 bits, x = 128 h + l. Queries
// have signs, digits have not: they are moved by 8192, and 8192 times the sum of the key's bytes is taken away again.
//
//   tile     C[r][0..4) from the sum over quads of A[r][quad] . B[quad]       B: 16 bytes a quad, 4 columns x 4 elements
//   A        8 bytes a quad: simd four i16; relaxed four high digits, then four low ones
//
// Sums stay below 2^31: 127 * 16383 * 512 for weights, 127 * 8191 * headDim for queries (headDim <= INTEGER_DIM).

import { INT8, KEY_BLOCK, quads, valuesOffset, WORDS_BYTES } from '../cache/page';
import { horizontalMaximum, multiplyAdd } from '../math/vector';
import { Rows1, Rows2, Rows3, Rows4 } from '../gemm/tile';
import { pagesOf } from './blocking';
import { AttentionParameters } from './parameters';
import { SCORE_ROW_BYTES, Workspace } from './workspace';

const OFFSET: i32 = 8192;
const QUERY_STEPS: f32 = 8191;
const WEIGHT_STEPS: f32 = 16383;
/** Bytes of a row of weights as A. */
export const WEIGHT_ROW_BYTES: usize = <usize>KEY_BLOCK << 1;

/** 1.5 * 2^23: added to a float below 2^22 it leaves the nearest integer, ties to even, in the low bits. */
const MAGIC: f32 = 12582912.0;

/**
 * Four numbers, rounded to 0 .. 16383 (relaxed) or to 14 bits with sign (simd), as a quad of A. NaN and what is larger gives
 * some integers of that size.
 */
// @ts-ignore: decorator
@inline
function storeQuad(target: usize, four: v128): void {
  const rounded = f32x4.add(four, f32x4.splat(MAGIC));
  if (ASC_FEATURE_RELAXED_SIMD) {
    const digit = i32x4.splat(127);
    const digits = i16x8.narrow_i32x4_s(v128.and(i32x4.shr_u(rounded, 7), digit), v128.and(rounded, digit));
    v128.store64_lane(target, i8x16.narrow_i16x8_u(digits, digits), 0);
  } else {
    const integers = i32x4.shr_s(i32x4.shl(rounded, 17), 17);
    v128.store64_lane(target, i16x8.narrow_i32x4_s(integers, integers), 0);
  }
}

/** Rounds the queries of rows from `first` on: w.queries -> w.queryIntegers, and what one step of a row is worth -> w.querySteps. */
export function roundQueries(p: AttentionParameters, w: Workspace, first: i32): void {
  const dim = p.headDim;
  const last = dim & 3;
  const lanes = i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(last));
  const magnitude = i32x4.splat(0x7fffffff);
  let target = w.queryIntegers + <usize>first * (<usize>quads(dim) << 3);
  for (let r = first; r < w.rows; r++) {
    const row = w.queries + <usize>r * (<usize>dim << 2);
    const whole = row + (<usize>(dim & ~3) << 2);
    let largest = f32x4.splat(0);
    let check = f32x4.splat(0);
    for (let at = row; at < whole; at += 16) {
      const x = v128.load(at);
      largest = f32x4.pmax(largest, v128.and(x, magnitude));
      check = f32x4.add(check, f32x4.mul(x, f32x4.splat(0)));
    }
    if (last) {
      const x = v128.and(v128.load(whole), lanes);
      largest = f32x4.pmax(largest, v128.and(x, magnitude));
      check = f32x4.add(check, f32x4.mul(x, f32x4.splat(0)));
    }
    const most = horizontalMaximum(largest);
    const finite = i32x4.all_true(f32x4.eq(check, f32x4.splat(0)));
    const usable = finite && most >= 1e-30;
    store<f32>(w.querySteps + (<usize>r << 2), usable ? most / QUERY_STEPS : finite ? 0 : NaN as f32);
    const inverse = f32x4.splat(usable ? QUERY_STEPS / most : 0);
    for (let at = row; at < whole; at += 16, target += 8) storeQuery(target, v128.load(at), inverse);
    if (last) {
      storeQuery(target, v128.and(v128.load(whole), lanes), inverse);
      target += 8;
    }
  }
}

// @ts-ignore: decorator
@inline
function storeQuery(target: usize, x: v128, inverse: v128): void {
  const steps = f32x4.mul(x, inverse);
  storeQuad(target, ASC_FEATURE_RELAXED_SIMD ? f32x4.add(steps, f32x4.splat(<f32>OFFSET)) : steps);
}

/** Scores of rows [row, row + count) against keys [from, to), multiples of 4, of the open page. */
export function integerScores(p: AttentionParameters, w: Workspace, row: i32, count: i32, from: i32, to: i32): void {
  const dims = quads(p.headDim);
  const rowBytes = <usize>dims << 3;
  const panelBytes = <usize>dims << 4;
  const panels = w.page + 3 * WORDS_BYTES;
  for (let r = 0; r < count; r += 4) {
    const rows = min(4, count - r);
    const queries = w.queryIntegers + <usize>(row + r) * rowBytes;
    const steps = w.querySteps + (<usize>(row + r) << 2);
    const scores = w.scores + <usize>r * SCORE_ROW_BYTES;
    integerTilesOf(
      rows, queries, rowBytes, panels + <usize>(from >> 2) * panelBytes, panelBytes, dims, (to - from) >> 2,
      scores + (<usize>from << 2), SCORE_ROW_BYTES, steps, 0, w.page + (<usize>from << 2),
    );
  }
}

/** sums = sums * scale + P V for rows [row, row + count), whose weights of keys [from, to), multiples of 4, are w.scores. */
export function addIntegerValues(p: AttentionParameters, w: Workspace, row: i32, count: i32, from: i32, to: i32): void {
  for (let r = 0; r < count; r++) roundWeights(w, r, from, to);
  const depth = (to - from) >> 2;
  const channels = quads(pagesOf(p).valueHeadDim);
  for (let r = 0; r < count; r += 4) {
    const rows = min(4, count - r);
    const weights = w.weightIntegers + <usize>r * WEIGHT_ROW_BYTES + (<usize>from << 1);
    const steps = w.weightSteps + (<usize>r << 2);
    const scales = w.scales + (<usize>r << 2);
    const sums = w.sums + <usize>(row + r) * w.sumRowBytes;
    const values = w.page + valuesOffset(p.headDim, INT8) + (<usize>from << 2);
    integerTilesOf(
      rows, weights, WEIGHT_ROW_BYTES, values, <usize>KEY_BLOCK << 2, depth, channels, sums, w.sumRowBytes, steps, scales, 0,
    );
  }
}

/** Weights times the scales of the values, rounded. A NaN among them makes the step NaN, and so the sums. */
function roundWeights(w: Workspace, r: i32, from: i32, to: i32): void {
  const scales = w.page + 2 * WORDS_BYTES;
  const weights = w.scores + <usize>r * SCORE_ROW_BYTES;
  let largest = f32x4.splat(0);
  let check = f32x4.splat(0);
  for (let j: usize = <usize>from << 2, end: usize = <usize>to << 2; j < end; j += 16) {
    const x = f32x4.mul(v128.load(weights + j), v128.load(scales + j));
    v128.store(weights + j, x);
    largest = f32x4.pmax(largest, x);
    check = f32x4.add(check, f32x4.mul(x, f32x4.splat(0)));
  }
  const most = horizontalMaximum(largest);
  const finite = i32x4.all_true(f32x4.eq(check, f32x4.splat(0)));
  const usable = finite && most >= 1e-30;
  store<f32>(w.weightSteps + (<usize>r << 2), usable ? most / WEIGHT_STEPS : finite ? 0 : NaN as f32);
  const inverse = f32x4.splat(usable ? WEIGHT_STEPS / most : 0);
  let target = w.weightIntegers + <usize>r * WEIGHT_ROW_BYTES + (<usize>from << 1);
  for (let j: usize = <usize>from << 2, end: usize = <usize>to << 2; j < end; j += 16, target += 8) {
    storeQuad(target, f32x4.mul(v128.load(weights + j), inverse));
  }
}

function integerTilesOf(
  rows: i32, a: usize, aStride: usize, panel: usize, panelStride: usize, depth: i32, tiles: i32, c: usize, cStride: usize,
  steps: usize, scales: usize, key: usize,
): void {
  if (rows == 4) integerTiles<Rows4>(a, aStride, panel, panelStride, depth, tiles, c, cStride, steps, scales, key);
  else if (rows == 3) integerTiles<Rows3>(a, aStride, panel, panelStride, depth, tiles, c, cStride, steps, scales, key);
  else if (rows == 2) integerTiles<Rows2>(a, aStride, panel, panelStride, depth, tiles, c, cStride, steps, scales, key);
  else integerTiles<Rows1>(a, aStride, panel, panelStride, depth, tiles, c, cStride, steps, scales, key);
}

/**
 * C[r][0..4) from integers, `tiles` times: the panels lie `panelStride` bytes apart, their columns of C beside each other.
 *
 * @param depth  quads, at least 1
 * @param steps  what a product is worth, one float a row
 * @param scales for values: C times this, one float a row, is added
 * @param key    0 for values; for keys the place of the first one's scale in the page, and WORDS_BYTES further its sum
 */
export function integerTiles<Rows>(
  a: usize, aStride: usize, panel: usize, panelStride: usize, depth: i32, tiles: i32, c: usize, cStride: usize, steps: usize,
  scales: usize, key: usize,
): void {
  const zero = i32x4.splat(0);
  const depthBytes = <usize>depth << 4;
  for (const last = c + (<usize>tiles << 4); c < last; c += 16) {
    let a0 = a;
    let a1 = a0 + aStride;
    let a2 = a1 + aStride;
    let a3 = a2 + aStride;
    let b0 = panel;
    const end = b0 + depthBytes;
    panel += panelStride;
    let c00 = zero, c01 = zero, c10 = zero, c11 = zero, c20 = zero, c21 = zero, c30 = zero, c31 = zero;
    while (b0 < end) {
      const b = v128.load(b0);
      b0 += 16;
      const low = lowOf(b);
      const high = highOf(b);
      const x0 = broadcast(a0);
      c00 = addLow(b, low, x0, c00);
      c01 = addHigh(b, high, x0, a0, c01);
      a0 += 8;
      if (offsetof<Rows>() > 1) {
        const x1 = broadcast(a1);
        c10 = addLow(b, low, x1, c10);
        c11 = addHigh(b, high, x1, a1, c11);
        a1 += 8;
      }
      if (offsetof<Rows>() > 2) {
        const x2 = broadcast(a2);
        c20 = addLow(b, low, x2, c20);
        c21 = addHigh(b, high, x2, a2, c21);
        a2 += 8;
      }
      if (offsetof<Rows>() > 3) {
        const x3 = broadcast(a3);
        c30 = addLow(b, low, x3, c30);
        c31 = addHigh(b, high, x3, a3, c31);
        a3 += 8;
      }
    }
    finishRow(joined(c00, c01), c, steps, scales, key);
    if (offsetof<Rows>() > 1) finishRow(joined(c10, c11), c + cStride, steps + 4, scales + 4, key);
    if (offsetof<Rows>() > 2) finishRow(joined(c20, c21), c + 2 * cStride, steps + 8, scales + 8, key);
    if (offsetof<Rows>() > 3) finishRow(joined(c30, c31), c + 3 * cStride, steps + 12, scales + 12, key);
    if (key) key += 16;
  }
}

/** Keys: their scores. Values: what is added to the sums. */
// @ts-ignore: decorator
@inline
function finishRow(product: v128, c: usize, step: usize, scale: usize, key: usize): void {
  if (key) {
    if (ASC_FEATURE_RELAXED_SIMD) product = i32x4.sub(product, i32x4.shl(v128.load(key, WORDS_BYTES), 13));
    v128.store(c, f32x4.mul(f32x4.convert_i32x4_s(product), f32x4.mul(v128.load(key), v128.load32_splat(step))));
  } else {
    const kept = f32x4.mul(v128.load(c), v128.load32_splat(scale));
    v128.store(c, multiplyAdd(f32x4.convert_i32x4_s(product), v128.load32_splat(step), kept));
  }
}

// @ts-ignore: decorator
@inline
function lowOf(b: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? b : i16x8.extend_low_i8x16_s(b);
}

// @ts-ignore: decorator
@inline
function highOf(b: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? b : i16x8.extend_high_i8x16_s(b);
}

/** What a row's next integers are multiplied as. A load of its own, because the optimiser would repeat it. */
// @ts-ignore: decorator
@inline
function broadcast(a: usize): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? v128.load32_splat(a) : v128.load64_splat(a);
}

/** relaxed: high digits times all four columns. simd: columns 0 and 1, each as two halves. */
// @ts-ignore: decorator
@inline
function addLow(b: v128, low: v128, x: v128, sum: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i32x4.relaxed_dot_i8x16_i7x16_add_s(b, x, sum);
  return i32x4.add(sum, i32x4.dot_i16x8_s(low, x));
}

/** relaxed: low digits. simd: columns 2 and 3. */
// @ts-ignore: decorator
@inline
function addHigh(b: v128, high: v128, x: v128, a: usize, sum: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i32x4.relaxed_dot_i8x16_i7x16_add_s(b, v128.load32_splat(a, 4), sum);
  return i32x4.add(sum, i32x4.dot_i16x8_s(high, x));
}

// @ts-ignore: decorator
@inline
function joined(c0: v128, c1: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i32x4.add(i32x4.shl(c0, 7), c1);
  return i32x4.add(v128.shuffle<i32>(c0, c1, 0, 2, 4, 6), v128.shuffle<i32>(c0, c1, 1, 3, 5, 7));
}
