// Scratch of one tile of attention: everything a query block needs, independent of the number of keys.
//
//   query block   `rows` = queries of the block x heads that share a key/value head, query-major: row = query * heads + head
//   key block     KEY_BLOCK keys, always starting at a multiple of KEY_BLOCK: the one canonical order of keys
//
//   +-----------+-----------+------------------+--------+------------------+------------------+-------------+-------------+
//   | Workspace | constants | state of rows    | bits   | scores, piece    | queries          | keys        | values      |
//   | pointers  | of exp2   | 6 words a row    | 16 B a | MOST_ROWS x      | rows x headDim,  | panels of   | panels of   |
//   |           | zeros     |                  | row    | KEY_BLOCK each   | scaled           | 8 keys      | 8 channels  |
//   +-----------+-----------+------------------+--------+------------------+------------------+-------------+-------------+
//                                                        then the sums of weighted values, rows x valueDim

import { FLOAT32, INT8, quads } from '../cache/page';
import { PIECE, ROW_BYTES } from '../gemm/tile';
import { CONSTANTS_BYTES, writeConstants } from '../math/exp2';
import { HALF_CONSTANTS_BYTES, writeHalfConstants } from '../math/half';
import { AttentionParameters } from './parameters';

/** Keys a block: a piece of P V. 128 measured best with 64 within 2 % (Zen 5); a change changes bits. */
export const KEY_BLOCK: i32 = PIECE;
/** Bytes of a row of scores. */
export const SCORE_ROW_BYTES: usize = ROW_BYTES;
/** Most rows whose scores are held at once, `rowsTogether` of either build, and the bytes of a number for each of them. */
const MOST_ROWS: i32 = 24;
export const STATE_BYTES: usize = 128;
/**
 * Most rows a query block aims at: enough that packing a key block costs 2 %, measured on Zen 5. 512 and 1024 would be
 * half a percent and one faster at lengths of powers of two, and leave eight threads without enough tiles.
 */
const BLOCK_ROWS: i32 = 480;
/** Rows times keys times headDim of a tile: 480 rows of 4096 keys of 64, some 10 ms of attention. */
const TILE_ELEMENTS: i32 = 480 * 4096 * 64;
/** Fewer rows read and pack the keys too often: at 32,768 keys 32 rows took 1.4 times as long as 480. */
const LEAST_BLOCK_ROWS: i32 = 120;

/**
 * Pages do not wait in a cache from one token to the next where they have more than FAR_BYTES and all that is in use, other
 * layers and weights included, more than FAR_MEMORY. One row or two then read panel after panel, because the hardware
 * fetches ahead of one long stream, but not of two that end after 4 kB. On Zen 5 that is 1.4 times as fast for one row and
 * 1.6 to 2 times for two where pages come from memory; where they lie in a cache it would take 1.5 times as long.
 */
const FAR_BYTES: f64 = 2e6;
const FAR_MEMORY: u32 = 12000000;

@unmanaged
export class Workspace {
  constants: usize;
  halfConstants: usize;
  zeros: usize;
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
  /** Of the tile at hand, or of the tiles that run together: rows of `heads` key heads from `keyHeadFrom` on. */
  batch: i32;
  keyHead: i32;
  keyHeadFrom: i32;
  heads: i32;
  rows: i32;
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

/** Most rows of tiles that run together: their sums and queries, 64 kB at a head size of 128, stay in the second-level cache. */
const ROWS_TOGETHER: i32 = 64;

/**
 * Key heads whose tiles run block by block together, where a few rows read pages of floats: a page holds its heads side by
 * side, and reading on where it ends beats going from page to page for one head after the other. On Zen 5, past 2048 to 8192:
 * 12 to 18 % faster for one row a head, 3 to 5 % for four; int8, which is bound by arithmetic, would be up to 8 % slower. A
 * row meets its blocks in the same order either way.
 */
export function headsTogether(p: AttentionParameters): i32 {
  const rows = p.queries * (p.queryHeads / p.keyHeads);
  if (!p.pages || p.storage == INT8 || rows == 0) return 1;
  return max(1, min(p.keyHeads, ROWS_TOGETHER / rows));
}

/** Most rows that meet int8 pages as integers; for more, expanding the pages costs less. */
const INTEGER_ROWS: i32 = 64;
/** Largest head for which sums of integers stay exact. */
const INTEGER_DIM: i32 = 2048;

function usesIntegers(p: AttentionParameters): bool {
  const rows = p.queries * (p.queryHeads / p.keyHeads);
  return p.pages != 0 && p.storage == INT8 && rows <= INTEGER_ROWS && p.headDim <= INTEGER_DIM;
}

/**
 * Queries in a block, given how many query heads share a key/value head, and the elements of that head's keys. Blocks are of
 * even size. Where there are many keys blocks are smaller, so that a tile ends, and can be the last one, after some milliseconds.
 */
export function queriesPerBlock(queries: i32, group: i32, keyElements: i32): i32 {
  const rows = max(LEAST_BLOCK_ROWS, min(BLOCK_ROWS, TILE_ELEMENTS / max(1, keyElements)));
  const most = max(1, rows / group);
  const blocks = max(1, (queries + most - 1) / most);
  return max(1, (queries + blocks - 1) / blocks);
}

/** Of attention with these parameters. */
export function queriesInBlock(p: AttentionParameters): i32 {
  return queriesPerBlock(p.queries, p.queryHeads / p.keyHeads, p.keys * p.headDim);
}

/** Bytes of float32 pages that all tiles of a call read. */
function pagesBytes(p: AttentionParameters): f64 {
  return <f64>p.batch * <f64>p.keyHeads * <f64>p.keys * <f64>(p.headDim + p.valueHeadDim) * 4;
}

function isFar(p: AttentionParameters): bool {
  return p.pages != 0 && p.storage == FLOAT32 && p.memoryBytes > FAR_MEMORY && pagesBytes(p) > FAR_BYTES;
}

// @ts-ignore: decorator
@inline
function aligned(bytes: usize): usize {
  return (bytes + 63) & ~63;
}

/** Bytes of scratch a tile needs. */
export function workspaceBytes(parameters: usize): usize {
  return layOut(changetype<AttentionParameters>(parameters), 0);
}

/** Writes the pointers and constants for a call; returns the end of the scratch. With scratch 0 it only measures. */
export function layOut(p: AttentionParameters, scratch: usize): usize {
  const group = p.queryHeads / p.keyHeads;
  const rows = <usize>(queriesInBlock(p) * group * headsTogether(p));
  const valueDim = (p.valueHeadDim + 7) & ~7;
  const constants = scratch + aligned(offsetof<Workspace>());
  const halfConstants = constants + CONSTANTS_BYTES;
  const zeros = halfConstants + aligned(HALF_CONSTANTS_BYTES);
  const scales = zeros + 128;
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
    w.zeros = zeros;
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
    w.far = isFar(p) ? 1 : 0;
    w.quantized = quantized ? 1 : 0;
    w.weightIntegers = integers;
    w.weightSteps = weightSteps;
    w.querySteps = querySteps;
    w.queryIntegers = queryIntegers;
    writeConstants(constants);
    writeHalfConstants(halfConstants);
    memory.fill(zeros, 0, 128);
  }
  return end;
}
