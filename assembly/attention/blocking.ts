// Every tuned size of attention, with what was measured, and what follows from them for a call.

import { FLOAT32, INT8, KEY_BLOCK } from '../cache/page';
import { PIECE } from '../gemm/tile';
import { AttentionParameters, PageParameters } from './parameters';

/** Most rows whose scores are held at once: `rowsTogether` of either build. */
export const MOST_ROWS: i32 = 24;
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
 * Channels of a piece of a score. A quarter of PIECE, because a score's error is an error of the weight it becomes, whole, and so
 * most of the error of the output: with heads of 64, half of PIECE errs 1.3 times as much and is 2 % faster. A change changes bits.
 */
export const SCORE_PIECE: i32 = PIECE / 4;
/** Panels that take all pieces of a score before the next ones. */
export const PANELS_TOGETHER: i32 = 4;

/**
 * Pages do not wait in a cache from one token to the next where they have more than FAR_BYTES and all that is in use, other
 * layers and weights included, more than FAR_MEMORY. Few rows then read panel after panel, because the hardware
 * fetches ahead of one long stream, but not of two that end after 4 kB. On Zen 5 that is 1.4 times as fast for one row and
 * 1.6 to 2 times for two where pages come from memory; where they lie in a cache it would take 1.5 times as long.
 */
const FAR_BYTES: f64 = 2e6;
const FAR_MEMORY: u32 = 12000000;
/** Those few rows: four over four panels side by side are 1.5 times slower. */
export const FAR_ROWS: i32 = 4;

/** Most rows of tiles that run together: their sums and queries, 64 kB at a head size of 128, stay in the second-level cache. */
const ROWS_TOGETHER: i32 = 64;
/** Most rows that meet int8 pages as integers; for more, expanding the pages costs less. */
const INTEGER_ROWS: i32 = 64;
/** Largest head for which sums of integers stay exact. */
const INTEGER_DIM: i32 = 2048;

// @ts-ignore: decorator
@inline
export function pagesOf(p: AttentionParameters): PageParameters {
  return changetype<PageParameters>(p.pages);
}

/**
 * Key heads whose tiles run block by block together, where a few rows read pages of floats: a page holds its heads side by
 * side, and reading on where it ends beats going from page to page for one head after the other. On Zen 5, past 2048 to 8192:
 * 12 to 18 % faster for one row per head, 3 to 5 % for four; int8, which is bound by arithmetic, would be up to 8 % slower. A
 * row meets its blocks in the same order either way.
 */
export function headsTogether(p: AttentionParameters): i32 {
  const rows = p.queries * (p.queryHeads / p.keyHeads);
  if (!p.pages || pagesOf(p).storage == INT8 || rows == 0) return 1;
  return max(1, min(p.keyHeads, ROWS_TOGETHER / rows));
}

/** Whether int8 pages are met by integers (integers.ts). */
export function usesIntegers(p: AttentionParameters): bool {
  const rows = p.queries * (p.queryHeads / p.keyHeads);
  return p.pages != 0 && pagesOf(p).storage == INT8 && rows <= INTEGER_ROWS && p.headDim <= INTEGER_DIM;
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

/** Whether pages come from beyond the caches. */
export function isFar(p: AttentionParameters): bool {
  if (!p.pages || pagesOf(p).storage != FLOAT32 || pagesOf(p).memoryBytes <= FAR_MEMORY) return false;
  const channels = <f64>(p.headDim + pagesOf(p).valueHeadDim);
  return <f64>p.batch * <f64>p.keyHeads * <f64>p.keys * channels * 4 > FAR_BYTES;
}

/** First key of the block that holds `key`. */
// @ts-ignore: decorator
@inline
export function blockStart(key: i32): i32 {
  return key & ~(KEY_BLOCK - 1);
}
