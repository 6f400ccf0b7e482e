// Scratch of one tile of attention: everything a query block needs, independent of the number of keys.
//
//   query block   `rows` = queries of the block x heads that share a key/value head, query-major: row = query * heads + head
//   key block     KEY_BLOCK keys, always starting at a multiple of KEY_BLOCK: the one canonical order of keys
//
//   +-----------+-----------+------------------+--------+------------------+------------------+-------------+-------------+
//   | Workspace | constants | state of rows    | bits   | scores, piece    | queries          | keys        | values      |
//   | pointers  | of exp2   | 6 words per row  | 16 B   | MOST_ROWS x      | rows x headDim,  | panels of   | panels of   |
//   |           |           |                  | per row| KEY_BLOCK each   | scaled           | 8 keys      | 8 channels  |
//   +-----------+-----------+------------------+--------+------------------+------------------+-------------+-------------+
//                                                        then the sums of weighted values, rows x valueDim

import { KEY_BLOCK, quads } from '../cache/page';
import { PIECE, ROW_BYTES } from '../gemm/tile';
import { CONSTANTS_BYTES, writeConstants } from '../math/exp2';
import { HALF_CONSTANTS_BYTES, writeHalfConstants } from '../math/half';
import { headsTogether, isFar, MOST_ROWS, queriesInBlock, usesIntegers } from './blocking';
import { AttentionParameters } from './parameters';

/** Bytes of a row of scores. */
export const SCORE_ROW_BYTES: usize = ROW_BYTES;
/** Bytes of a number for each of MOST_ROWS. */
export const STATE_BYTES: usize = 128;

@unmanaged
export class Workspace {
  constants: usize;
  halfConstants: usize;
  scales: usize;
  rowSums: usize;
  removed: usize;
  maximum: usize;
  sum: usize;
  begin: usize;
  end: usize;
  rowQuery: usize;
  rowHead: usize;
  bits: usize;
  scores: usize;
  /** Sums of a piece on their way to the scores or to `sums`: rows as those of `scores`. */
  piece: usize;
  /** [piece of headDim][row][PIECE], where `tile` reads them; rows of headDim floats where `quantized` is set. */
  queries: usize;
  /** Bytes from one row of queries to the next, and from one piece of a row to the next. */
  queryRowBytes: usize;
  queryPieceBytes: usize;
  keys: usize;
  values: usize;
  sums: usize;
  /** Bytes of a row of `sums`, and floats of it: valueHeadDim rounded up to a panel. */
  sumRowBytes: usize;
  valueDim: i32;
  /** Queries of a block, blocks, key/value heads that run together, and the query heads and queries that are wanted (tiles.ts). */
  queriesInBlock: i32;
  queryBlocks: i32;
  together: i32;
  headFrom: i32;
  headTo: i32;
  queryFrom: i32;
  queryTo: i32;
  /** The tile at hand, or the tiles that run together: rows of `heads` key heads from `keyHeadFrom` on. */
  batch: i32;
  queryBlock: i32;
  keyHead: i32;
  keyHeadFrom: i32;
  heads: i32;
  rows: i32;
  /** The key block at hand, `keyCount` keys from `keyFrom` on, and the end of all of them. */
  keyFrom: i32;
  keyCount: i32;
  keyTo: i32;
  /** Keys of the block that the rows at hand can see, counted from its first. */
  from: i32;
  to: i32;
  /** 1 where the key block at hand is tested bit by bit. */
  hasBits: i32;
  /** The tile's head in the page at hand, where keys and values lie in pages. */
  page: usize;
  /** 1 where float32 pages come from beyond the caches. */
  far: i32;
  /** 1 where int8 pages are met by integers (integers.ts): rounded queries and weights, and what their steps are worth. */
  quantized: i32;
  queryIntegers: usize;
  querySteps: usize;
  weightIntegers: usize;
  weightSteps: usize;
  /** 1 where sums hold SHRINK times what they should (forward.ts): values close to the largest float. */
  shrunk: i32;
}

// @ts-ignore: decorator
@inline
function aligned(bytes: usize): usize {
  return (bytes + 63) & ~63;
}

/** Bytes of scratch a tile needs. @param valueHeadDim 0 where no values are read */
export function workspaceBytes(parameters: usize, valueHeadDim: i32): usize {
  return layOut(changetype<AttentionParameters>(parameters), valueHeadDim, 0);
}

/** Writes the pointers and constants for a call; returns the end of the scratch. With scratch 0 it only measures. */
export function layOut(p: AttentionParameters, valueHeadDim: i32, scratch: usize): usize {
  const group = p.queryHeads / p.keyHeads;
  const perBlock = queriesInBlock(p);
  const together = headsTogether(p);
  const rows = <usize>(perBlock * group * together);
  const valueDim = (valueHeadDim + 7) & ~7;
  const constants = scratch + aligned(offsetof<Workspace>());
  const halfConstants = constants + CONSTANTS_BYTES;
  const scales = halfConstants + aligned(HALF_CONSTANTS_BYTES);
  const rowSums = scales + 2 * STATE_BYTES;
  const removed = rowSums + STATE_BYTES;
  const state = removed + <usize>(MOST_ROWS * KEY_BLOCK);
  const stateBytes = aligned(rows * 4);
  const bits = state + 6 * stateBytes;
  const scores = bits + aligned(rows * 16);
  const quantized = usesIntegers(p);
  const piece = scores + <usize>MOST_ROWS * SCORE_ROW_BYTES;
  const integers = piece + <usize>MOST_ROWS * SCORE_ROW_BYTES;
  const weightSteps = integers + <usize>MOST_ROWS * SCORE_ROW_BYTES / 2;
  const querySteps = weightSteps + STATE_BYTES;
  const queryIntegers = querySteps + aligned(rows * 4);
  const queries = quantized ? queryIntegers + aligned(rows * (<usize>quads(p.headDim) << 3)) : integers;
  const queryRowBytes = quantized ? <usize>p.headDim << 2 : ROW_BYTES;
  const queryPieceBytes = quantized ? ROW_BYTES : rows * ROW_BYTES;
  const queryPieces: usize = quantized ? 1 : <usize>((p.headDim + PIECE - 1) / PIECE);
  const keys = queries + aligned(rows * queryRowBytes * queryPieces);
  const values = keys + aligned(<usize>(KEY_BLOCK * p.headDim) * 4);
  const sums = values + <usize>(KEY_BLOCK * valueDim) * 4;
  const end = sums + aligned(rows * <usize>valueDim * 4);
  if (scratch) {
    const w = changetype<Workspace>(scratch);
    w.constants = constants;
    w.halfConstants = halfConstants;
    w.scales = scales;
    w.rowSums = rowSums;
    w.removed = removed;
    w.maximum = state;
    w.sum = state + stateBytes;
    w.begin = state + 2 * stateBytes;
    w.end = state + 3 * stateBytes;
    w.rowQuery = state + 4 * stateBytes;
    w.rowHead = state + 5 * stateBytes;
    w.bits = bits;
    w.scores = scores;
    w.piece = piece;
    w.queries = queries;
    w.queryRowBytes = queryRowBytes;
    w.queryPieceBytes = queryPieceBytes;
    w.keys = keys;
    w.values = values;
    w.sums = sums;
    w.sumRowBytes = <usize>valueDim * 4;
    w.valueDim = valueDim;
    w.queriesInBlock = perBlock;
    w.queryBlocks = (p.queries + perBlock - 1) / perBlock;
    w.together = together;
    w.headFrom = 0;
    w.headTo = p.queryHeads;
    w.queryFrom = 0;
    w.queryTo = p.queries;
    w.far = isFar(p) ? 1 : 0;
    w.quantized = quantized ? 1 : 0;
    w.weightIntegers = integers;
    w.weightSteps = weightSteps;
    w.querySteps = querySteps;
    w.queryIntegers = queryIntegers;
    writeConstants(constants);
    writeHalfConstants(halfConstants);
  }
  return end;
}
