// Rows of a tile: its queries, and the keys that each of them sees.

import { KEY_BLOCK } from '../cache/page';
import { PIECE } from '../gemm/tile';
import { roundQueries } from './integers';
import { AttentionParameters } from './parameters';
import { Workspace } from './workspace';

/** Queries [queryFrom, queryTo) of heads [headFrom, headTo), scaled, and the keys that they see, behind the rows that are there. */
export function addRows(p: AttentionParameters, w: Workspace, headFrom: i32, headTo: i32, queryFrom: i32, queryTo: i32): void {
  const headDim = p.headDim;
  const first = w.rows;
  const scale = p.scoreScale;
  let row = <usize>first << 2;
  for (let query = queryFrom; query < queryTo; query++) {
    for (let head = headFrom; head < headTo; head++) {
      const source =
        p.query + <usize>w.batch * p.queryBatchStride + <usize>head * p.queryHeadStride + <usize>query * p.queryRowStride;
      let target = w.queries + <usize>(row >> 2) * w.queryRowBytes;
      for (let from = 0; from < headDim; from += PIECE, target += w.queryPieceBytes) {
        scaleFloats(source + (<usize>from << 2), target, min(PIECE, headDim - from), scale);
      }
      store<i32>(w.rowQuery + row, query);
      store<i32>(w.rowHead + row, head);
      let begin = 0;
      let end = p.keys;
      if (p.rowBegin) {
        const interval =
          <usize>w.batch * p.rowIntervalBatchStride + <usize>head * p.rowIntervalHeadStride + (<usize>query << 2);
        begin = load<i32>(p.rowBegin + interval);
        end = load<i32>(p.rowEnd + interval);
      }
      store<i32>(w.begin + row, begin);
      store<i32>(w.end + row, max(begin, end));
      row += 4;
    }
  }
  w.rows = <i32>(row >> 2);
  if (w.quantized) roundQueries(p, w, first);
}

function scaleFloats(source: usize, target: usize, count: i32, scale: f32): void {
  const scales = f32x4.splat(scale);
  const end = source + (<usize>count << 2);
  const whole = source + (<usize>(count & ~3) << 2);
  for (; source < whole; source += 16, target += 16) v128.store(target, f32x4.mul(v128.load(source), scales));
  for (; source < end; source += 4, target += 4) store<f32>(target, load<f32>(source) * scale);
}

/** Smallest begin of `count` i32 intervals that are not empty; `none` if all are. */
export function firstKey(w: Workspace, row: i32, count: i32, none: i32): i32 {
  let first = none;
  for (let r = row; r < row + count; r++) {
    const begin = load<i32>(w.begin + (<usize>r << 2));
    if (begin < first && begin < load<i32>(w.end + (<usize>r << 2))) first = begin;
  }
  return first;
}

/** Largest end of the intervals that are not empty; 0 if all are. */
export function lastKey(w: Workspace, row: i32, count: i32): i32 {
  let last = 0;
  for (let r = row; r < row + count; r++) {
    const end = load<i32>(w.end + (<usize>r << 2));
    if (end > last && end > load<i32>(w.begin + (<usize>r << 2))) last = end;
  }
  return last;
}

/** First kept key of a block by the bits of `count` rows; KEY_BLOCK if none is kept. */
export function firstBit(w: Workspace, row: i32, count: i32): i32 {
  const kept = unionOfBits(w, row, count);
  const low = i64x2.extract_lane(kept, 0);
  if (low) return <i32>ctz(low);
  const high = i64x2.extract_lane(kept, 1);
  return high ? 64 + <i32>ctz(high) : KEY_BLOCK;
}

/** The place after the last kept key of a block by the bits of `count` rows; 0 if none is kept. */
export function lastBit(w: Workspace, row: i32, count: i32): i32 {
  const kept = unionOfBits(w, row, count);
  const high = i64x2.extract_lane(kept, 1);
  if (high) return KEY_BLOCK - <i32>clz(high);
  const low = i64x2.extract_lane(kept, 0);
  return low ? 64 - <i32>clz(low) : 0;
}

function unionOfBits(w: Workspace, row: i32, count: i32): v128 {
  let kept = i64x2.splat(0);
  for (let r = row; r < row + count; r++) kept = v128.or(kept, v128.load(w.bits + (<usize>r << 4)));
  return kept;
}
