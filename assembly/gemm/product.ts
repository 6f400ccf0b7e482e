// Y = X W + b over packed W: the driver of the micro-kernel.
//
//   for block of k (PARTS pieces)            the block of X is copied to rows ROW_BYTES apart
//     for group of panels of W (GROUP)       64 kB of it, in the second-level cache, read from memory once a block of rows
//       for some rows of X (rowsTogether)
//         for piece of k                     10 kB of X and all of Z are in the first-level cache
//           for panel:  Z = X W              the micro-kernel: chains from zero, each piece into its part of Z
//         Y = sum of the parts of Z, added to what earlier blocks of k have left there; after the last block plus b
//
//   a row of Z, ROW_BYTES:  | piece 0: columns of GROUP panels | piece 1: the same columns | piece 2 | piece 3 |
//
// An element is the sum of the sums of its pieces in ascending k, then the bias: the error of one uncut chain grows with the
// square root of the depth, and a chain that starts at the bias rounds at the bias's size at each step. The cuts stand at
// multiples of PIECE whatever the blocks, so the bits are the same for any of them.
//
// Rows are cut into blocks by the caller. A tile is a block of rows by a panel; tiles of a block of rows follow each other.

import { multiplyPiece, rowsTogether } from './piece';
import { PANEL, PANEL_BYTES, PIECE, ROW_BYTES } from './tile';

/** Pieces of k for which X is held, and parts of a row of Z. */
const PARTS: i32 = 4;
const DEPTH_BLOCK: i32 = PARTS * PIECE;
/** Panels of a part. */
const GROUP: i32 = 4;
const PART_BYTES: usize = <usize>GROUP * PANEL_BYTES;

/** Bytes of scratch for blocks of so many rows: a panel's row, Z, pieces of X. */
export function productScratchBytes(rowsInBlock: i32, depth: i32): usize {
  const pieces = (min(depth, DEPTH_BLOCK) + PIECE - 1) / PIECE;
  return PANEL_BYTES + <usize>(rowsTogether() + rowsInBlock * pieces) * ROW_BYTES;
}

/**
 * Tiles [tileFrom, tileTo) of columns [8 panelFrom, 8 panelTo) of Y = X W + bias: tile t is panel t % (panelTo - panelFrom)
 * of that range, in block of rows t / (panelTo - panelFrom).
 *
 * @param x           rows of `depth` floats, `xStride` bytes apart
 * @param panels      W packed by `packColumns` or `packRows`, depth x columns
 * @param bias        `columns` floats, filled up with zeros to a multiple of 8
 * @param y           rows of `columns` floats, `yStride` bytes apart; must not overlap x
 * @param rowsInBlock the last block may have fewer
 * @param scratch     productScratchBytes
 */
export function product(
  x: usize, xStride: usize, rows: i32, depth: i32, panels: usize, columns: i32, panelFrom: i32, panelTo: i32, bias: usize,
  y: usize, yStride: usize, rowsInBlock: i32, scratch: usize, tileFrom: i32, tileTo: i32,
): void {
  const width = panelTo - panelFrom;
  while (tileFrom < tileTo) {
    const rowBlock = tileFrom / width;
    const blockFrom = rowBlock * width;
    const from = panelFrom + tileFrom - blockFrom;
    const to = panelFrom + min(tileTo - blockFrom, width);
    const rowFrom = rowBlock * rowsInBlock;
    const count = min(rowsInBlock, rows - rowFrom);
    // A single row has nothing to keep in a cache: it takes panels from end to end.
    const panelStep = count == 1 ? GROUP : width;
    for (let panel = from; panel < to; panel += panelStep) {
      for (let depthFrom = 0; depthFrom < depth; depthFrom += DEPTH_BLOCK) {
        block(
          x + <usize>rowFrom * xStride, xStride, count, depth, depthFrom, panels, columns, bias,
          y + <usize>rowFrom * yStride, yStride, scratch, panel, min(to, panel + panelStep),
        );
      }
    }
    tileFrom = blockFrom + width;
  }
}

function block(
  x: usize, xStride: usize, rows: i32, depth: i32, depthFrom: i32, panels: usize, columns: i32, bias: usize, y: usize,
  yStride: usize, scratch: usize, panelFrom: i32, panelTo: i32,
): void {
  const panelStride = <usize>depth * PANEL_BYTES;
  const depthTo = min(depth, depthFrom + DEPTH_BLOCK);
  const parts = (depthTo - depthFrom + PIECE - 1) / PIECE;
  const pieceBytes = <usize>rows * ROW_BYTES;
  const z = scratch + PANEL_BYTES;
  let pieces = z + <usize>rowsTogether() * ROW_BYTES;
  if (rows > 1) copyPieces(x, xStride, rows, depthFrom, depthTo, pieces);
  else pieces = x + (<usize>depthFrom << 2);
  for (let from = panelFrom; from < panelTo; from += GROUP) {
    const count = min(GROUP, panelTo - from);
    const panel = panels + <usize>from * panelStride + <usize>depthFrom * PANEL_BYTES;
    const column = from * PANEL;
    const at = <usize>column << 2;
    const end = depthTo == depth ? bias + at : 0;
    for (let row = 0; row < rows; row += rowsTogether()) {
      const some = min(rowsTogether(), rows - row);
      const piece = pieces + <usize>row * ROW_BYTES;
      someRows(piece, pieceBytes, some, depthTo - depthFrom, panel, panelStride, count, z);
      addParts(
        y + <usize>row * yStride + at, yStride, some, z, parts, min(columns, (from + count) * PANEL) - column, depthFrom,
        end, scratch,
      );
    }
  }
}

/** Rows of X, k in [depthFrom, depthTo), as [piece][row][PIECE]. */
function copyPieces(x: usize, xStride: usize, rows: i32, depthFrom: i32, depthTo: i32, target: usize): void {
  for (let k = depthFrom; k < depthTo; k += PIECE) {
    const bytes = <usize>min(PIECE, depthTo - k) << 2;
    let source = x + (<usize>k << 2);
    for (let row = 0; row < rows; row++, source += xStride, target += ROW_BYTES) {
      let at: usize = 0;
      for (; at + 16 <= bytes; at += 16) v128.store(target + at, v128.load(source + at));
      for (; at < bytes; at += 4) store<f32>(target + at, load<f32>(source + at));
    }
  }
}

function someRows(
  piece: usize, pieceBytes: usize, rows: i32, depth: i32, panel: usize, panelStride: usize, count: i32, z: usize,
): void {
  for (; depth > 0; depth -= PIECE) {
    multiplyPiece(rows, piece, panel, panelStride, count, z, min(PIECE, depth));
    piece += pieceBytes;
    panel += <usize>PIECE * PANEL_BYTES;
    z += PART_BYTES;
  }
}

/** Y, from zero or from the sums of earlier pieces, plus the parts of Z one after the other, plus the bias if there is one. */
function addParts(
  y: usize, yStride: usize, rows: i32, z: usize, parts: i32, columns: i32, earlier: i32, bias: usize, edge: usize,
): void {
  const whole = <usize>(columns & ~(PANEL - 1)) << 2;
  const rest = (<usize>columns << 2) - whole;
  for (; rows > 0; rows--, y += yStride, z += ROW_BYTES) {
    for (let at: usize = 0; at < whole; at += PANEL_BYTES) addPanel(y + at, z + at, parts, earlier, bias ? bias + at : 0);
    if (rest) {
      // The panel that Y ends in: only the columns that exist are copied.
      memory.copy(edge, y + whole, rest);
      addPanel(edge, z + whole, parts, earlier, bias ? bias + whole : 0);
      memory.copy(y + whole, edge, rest);
    }
  }
}

// @ts-ignore: decorator
@inline
function addPanel(y: usize, z: usize, parts: i32, earlier: i32, bias: usize): void {
  let left = v128.load(z);
  let right = v128.load(z, 16);
  if (earlier) {
    left = f32x4.add(v128.load(y), left);
    right = f32x4.add(v128.load(y, 16), right);
  }
  if (parts > 1) {
    left = f32x4.add(left, v128.load(z, PART_BYTES));
    right = f32x4.add(right, v128.load(z, PART_BYTES + 16));
  }
  if (parts > 2) {
    left = f32x4.add(left, v128.load(z, 2 * PART_BYTES));
    right = f32x4.add(right, v128.load(z, 2 * PART_BYTES + 16));
  }
  if (parts > 3) {
    left = f32x4.add(left, v128.load(z, 3 * PART_BYTES));
    right = f32x4.add(right, v128.load(z, 3 * PART_BYTES + 16));
  }
  if (bias) {
    left = f32x4.add(left, v128.load(bias));
    right = f32x4.add(right, v128.load(bias, 16));
  }
  v128.store(y, left);
  v128.store(y, right, 16);
}
