// Y = X W + b over packed W: the driver of the micro-kernel.
//
//   for block of k (DEPTH_BLOCK)            the part of a panel in use stays in the first-level cache
//     for panel of W                        ... read from memory once a block of rows
//       for tile of rows of X               ... whose block of k stays in the second-level cache
//
// Rows are cut into blocks by the caller, so that the part of X in use stays in the cache. A tile is a block of rows by a
// panel; tiles of a block of rows follow each other. A later block of k continues from what stands in Y: the bits are those
// of one uncut chain.

import { PANEL, PANEL_BYTES, tileOf, tileRows } from './tile';
import { rowOverFourPanels } from './row';

/** Steps of k a pass. 768 to 1024 measured best on Zen 5; a panel part is then 24 to 32 kB. */
const DEPTH_BLOCK: i32 = 1024;
/** Scratch: 32 bytes of ones, then a tile of up to 8 rows of a panel for the columns past the last whole panel. */
const EDGE_TILE: usize = 32;
export const PRODUCT_SCRATCH_BYTES: usize = 32 + 8 * 32;

/**
 * Tiles [tileFrom, tileTo) of columns [8 panelFrom, 8 panelTo) of Y = X W + bias: tile t is panel t % (panelTo - panelFrom)
 * of that range, in block of rows t / (panelTo - panelFrom).
 *
 * @param x           rows of `depth` floats, `xStride` bytes apart
 * @param panels      W packed by `packColumns` or `packRows`, depth x columns
 * @param bias        `columns` floats, filled up with zeros to a multiple of 8
 * @param y           rows of `columns` floats, `yStride` bytes apart; must not overlap x
 * @param rowsInBlock the last block may have fewer
 * @param scratch     PRODUCT_SCRATCH_BYTES
 */
export function product(
  x: usize, xStride: usize, rows: i32, depth: i32, panels: usize, columns: i32, panelFrom: i32, panelTo: i32, bias: usize,
  y: usize, yStride: usize, rowsInBlock: i32, scratch: usize, tileFrom: i32, tileTo: i32,
): void {
  for (let i: usize = 0; i < 32; i += 4) store<f32>(scratch + i, 1);
  // A single row has nothing to keep in a cache.
  const depthBlock = rows == 1 ? depth : DEPTH_BLOCK;
  const width = panelTo - panelFrom;
  while (tileFrom < tileTo) {
    const rowBlock = tileFrom / width;
    const blockFrom = rowBlock * width;
    const from = panelFrom + tileFrom - blockFrom;
    const to = panelFrom + min(tileTo - blockFrom, width);
    const rowFrom = rowBlock * rowsInBlock;
    const rowCount = min(rowsInBlock, rows - rowFrom);
    for (let depthFrom = 0; depthFrom < depth; depthFrom += depthBlock) {
      block(
        x + <usize>rowFrom * xStride + (<usize>depthFrom << 2), xStride, rowCount, depth, depthFrom,
        min(depthBlock, depth - depthFrom), panels, columns, bias, y + <usize>rowFrom * yStride, yStride, scratch, from, to,
      );
    }
    tileFrom = blockFrom + width;
  }
}

function block(
  x: usize, xStride: usize, rows: i32, depth: i32, depthFrom: i32, depthCount: i32, panels: usize, columns: i32,
  bias: usize, y: usize, yStride: usize, scratch: usize, panelFrom: i32, panelTo: i32,
): void {
  const panelStride = <usize>depth * PANEL_BYTES;
  const scales = depthFrom ? scratch : 0;
  const wholePanels = min(panelTo, columns / PANEL);
  let p = panelFrom;
  if (rows == 1 && !scales) {
    for (; p + 4 <= wholePanels; p += 4) {
      const panel = panels + <usize>p * panelStride + <usize>depthFrom * PANEL_BYTES;
      const out = y + <usize>p * PANEL_BYTES;
      rowOverFourPanels(x, panel, panelStride, out, depthCount, bias + <usize>p * PANEL_BYTES);
    }
  }
  for (; p < wholePanels; p++) {
    const panel = panels + <usize>p * panelStride + <usize>depthFrom * PANEL_BYTES;
    const start = bias + <usize>p * PANEL_BYTES;
    rowTiles(x, xStride, rows, panel, y + <usize>p * PANEL_BYTES, yStride, depthCount, start, scales);
  }
  if (p < panelTo) {
    const panel = panels + <usize>p * panelStride + <usize>depthFrom * PANEL_BYTES;
    const start = bias + <usize>p * PANEL_BYTES;
    edgeTiles(
      x, xStride, rows, panel, y + <usize>p * PANEL_BYTES, yStride, depthCount, start, scales, columns % PANEL,
      scratch + EDGE_TILE,
    );
  }
}

/** Rows are shared out evenly, so that no tile is left with one or two. */
function rowTiles(
  x: usize, xStride: usize, rows: i32, panel: usize, y: usize, yStride: usize, depth: i32, start: usize, scales: usize,
): void {
  let tiles = (rows + tileRows() - 1) / tileRows();
  while (rows > 0) {
    const count = (rows + tiles - 1) / tiles;
    tileOf(count, x, xStride, panel, y, yStride, depth, start, scales);
    x += <usize>count * xStride;
    y += <usize>count * yStride;
    rows -= count;
    tiles--;
  }
}

/** The last panel where it is wider than Y: tiles go through `edge`, and only the columns that exist are copied. */
function edgeTiles(
  x: usize, xStride: usize, rows: i32, panel: usize, y: usize, yStride: usize, depth: i32, start: usize, scales: usize,
  columns: i32, edge: usize,
): void {
  const bytes = <usize>columns << 2;
  for (let row = 0; row < rows; row += tileRows()) {
    const count = min(tileRows(), rows - row);
    if (scales) {
      for (let r = 0; r < count; r++) memory.copy(edge + <usize>r * PANEL_BYTES, y + <usize>r * yStride, bytes);
    }
    tileOf(count, x, xStride, panel, edge, PANEL_BYTES, depth, start, scales);
    for (let r = 0; r < count; r++) memory.copy(y + <usize>r * yStride, edge + <usize>r * PANEL_BYTES, bytes);
    x += <usize>count * xStride;
    y += <usize>count * yStride;
  }
}
