// Every export of the pack *attention*, grouped; nothing else stands here.
// Kernels take pointers, sizes and caller-given scratch. They allocate nothing and hold no static data.

import { integerTiles } from './attention/integers';
import { Rows1, Rows2, Rows3, Rows4 } from './gemm/tile';

export { heapBase } from './memory';

// Products
export { packColumns, packRows } from './gemm/pack';
export { product, productScratchBytes } from './gemm/product';

// Rows
export { copyElements } from './rows/copy';
export { meansOverHeads } from './rows/mean';
export { softmaxRows, softmaxScratchBytes } from './rows/softmax';

// Attention
export { attentionForward } from './attention/forward';
export { attentionWeights } from './attention/weights';
export { columnSums, columnTiles, entropies, topKeys } from './attention/summaries';
export { mergeAttention } from './attention/merge';
export { linearAttention, linearAttentionStateBytes } from './attention/linear';
export { queriesPerBlock } from './attention/blocking';
export { attentionGrain, attentionTiles } from './attention/tiles';
export { workspaceBytes } from './attention/workspace';

// Key/value cache
export { appendScratchBytes, cacheAppend } from './cache/append';
export { pageHeadBytes } from './cache/page';

// Rotary embedding
export { rotary } from './rotary/rotary';
export { rotaryTables } from './rotary/tables';

// Exported so that the optimiser keeps each of them a function of its own: inlined into their caller they spill.
export { exp2Rows } from './math/exp2';
export * from './gemm/apart';
export { rowOverPanel } from './gemm/row';
export function integerTiles1(
  a: usize, aStride: usize, panel: usize, panelStride: usize, depth: i32, tiles: i32, c: usize, cStride: usize, steps: usize,
  scales: usize, key: usize,
): void {
  integerTiles<Rows1>(a, aStride, panel, panelStride, depth, tiles, c, cStride, steps, scales, key);
}
export function integerTiles2(
  a: usize, aStride: usize, panel: usize, panelStride: usize, depth: i32, tiles: i32, c: usize, cStride: usize, steps: usize,
  scales: usize, key: usize,
): void {
  integerTiles<Rows2>(a, aStride, panel, panelStride, depth, tiles, c, cStride, steps, scales, key);
}
export function integerTiles3(
  a: usize, aStride: usize, panel: usize, panelStride: usize, depth: i32, tiles: i32, c: usize, cStride: usize, steps: usize,
  scales: usize, key: usize,
): void {
  integerTiles<Rows3>(a, aStride, panel, panelStride, depth, tiles, c, cStride, steps, scales, key);
}
export function integerTiles4(
  a: usize, aStride: usize, panel: usize, panelStride: usize, depth: i32, tiles: i32, c: usize, cStride: usize, steps: usize,
  scales: usize, key: usize,
): void {
  integerTiles<Rows4>(a, aStride, panel, panelStride, depth, tiles, c, cStride, steps, scales, key);
}
