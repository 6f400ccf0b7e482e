// Y = X W + b over packed W: the driver of the micro-kernel.
//
//   for block of k (DEPTH_BLOCK)             the block of X is copied to rows ROW_BYTES apart, and stays in the second-level cache
//     for group of panels of W (GROUP)
//       for PARTS pieces of k                64 kB of W, in the second-level cache, read from memory once a block of rows
//         for some rows of X (rowsTogether)
//           for piece of k                   10 kB of X and all of Z are in the first-level cache
//             for panel:  Z = X W            the micro-kernel: chains from zero, each piece into its part of Z
//           Y = sum of the parts of Z, added to what earlier pieces have left there; after the last one plus b
//
//   a row of Z, ROW_BYTES:  | piece 0: columns of GROUP panels | piece 1: the same columns | piece 2 | piece 3 |
//
// An element is the sum of the sums of its pieces in ascending k, then the bias: the error of one uncut chain grows with the
// square root of the depth, and a chain that starts at the bias rounds at the bias's size at each step. The cuts stand at
// multiples of PIECE whatever the blocks, so the bits are the same for any of them.
//
// Rows are cut into blocks by the caller. A tile is a block of rows by a panel; tiles of a block of rows follow each other.
//
// The driver is generic: what is done with sums that are whole is a type. `Plain` is this product; with `EpilogueParameters`
// (epilogue.ts) sums stand in scratch until then, because Y may be an operand, and there may be those of a second matrix:
//
//   sums, then those of the gate   [panels of a group, or up to WAITING panels in groups][row][8 each]

import { EpilogueParameters, finishRows } from './epilogue';
import { multiplyPiece, rowsTogether } from './piece';
import { PANEL, PANEL_BYTES, PIECE, ROW_BYTES } from './tile';

/** Parts of a row of Z, a piece of k each. */
const PARTS: i32 = 4;
/** Steps of k for which X is held. */
const DEPTH_BLOCK: i32 = 8 * PIECE;
/** Panels of a part. */
const GROUP: i32 = 4;
const PART_BYTES: usize = <usize>GROUP * PANEL_BYTES;
/** Most panels whose sums wait: for the rest of the depth, or for a row's other matrix. */
const WAITING: i32 = 32;

/** No epilogue: Y is where sums stand from the first piece on. */
@unmanaged
class Plain {}

/** Bytes of scratch for blocks of so many rows: a panel's row, Z, pieces of X. */
export function productScratchBytes(rowsInBlock: i32, depth: i32): usize {
  const pieces = (min(depth, DEPTH_BLOCK) + PIECE - 1) / PIECE;
  return PANEL_BYTES + <usize>(rowsTogether() + rowsInBlock * pieces) * ROW_BYTES;
}

/** The same with an epilogue. */
export function fusedProductScratchBytes(rowsInBlock: i32, depth: i32, gated: bool): usize {
  const sums = <usize>max(WAITING, rowsInBlock * (depth > DEPTH_BLOCK ? WAITING : GROUP)) * PANEL_BYTES;
  return productScratchBytes(rowsInBlock, depth) + (gated ? 2 * sums : sums);
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
  productWith<Plain>(
    x, xStride, rows, depth, panels, columns, panelFrom, panelTo, bias, y, yStride, rowsInBlock, 0, scratch, tileFrom, tileTo,
  );
}

/**
 * `product` with what `finishRows` does to its sums.
 *
 * @param y        may be the residual
 * @param epilogue EpilogueParameters
 * @param scratch  fusedProductScratchBytes
 */
export function fusedProduct(
  x: usize, xStride: usize, rows: i32, depth: i32, panels: usize, columns: i32, panelFrom: i32, panelTo: i32, bias: usize,
  y: usize, yStride: usize, rowsInBlock: i32, epilogue: usize, scratch: usize, tileFrom: i32, tileTo: i32,
): void {
  productWith<EpilogueParameters>(
    x, xStride, rows, depth, panels, columns, panelFrom, panelTo, bias, y, yStride, rowsInBlock, epilogue, scratch, tileFrom,
    tileTo,
  );
}

// @ts-ignore: decorator
@inline
function productWith<Epilogue>(
  x: usize, xStride: usize, rows: i32, depth: i32, panels: usize, columns: i32, panelFrom: i32, panelTo: i32, bias: usize,
  y: usize, yStride: usize, rowsInBlock: i32, epilogue: usize, scratch: usize, tileFrom: i32, tileTo: i32,
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
    let panelStep = count == 1 ? GROUP : width;
    // It takes some panels of the gate before those beside them, so that memory is read in two long streams.
    let gateFirst = false;
    if (offsetof<Epilogue>() > 0) {
      gateFirst = count == 1 && changetype<EpilogueParameters>(epilogue).gate != 0;
      if (gateFirst || (count > 1 && depth > DEPTH_BLOCK)) panelStep = WAITING;
    }
    for (let panel = from; panel < to; panel += panelStep) {
      if (offsetof<Epilogue>() > 0 && gateFirst) {
        const parameters = changetype<EpilogueParameters>(epilogue);
        for (let depthFrom = 0; depthFrom < depth; depthFrom += DEPTH_BLOCK) {
          block<Epilogue>(
            x + <usize>rowFrom * xStride, xStride, count, depth, depthFrom, parameters.gate, columns, parameters.gateBias,
            y + <usize>rowFrom * yStride, yStride, rowFrom, epilogue, true, scratch, panel, min(to, panel + panelStep),
          );
        }
      }
      for (let depthFrom = 0; depthFrom < depth; depthFrom += DEPTH_BLOCK) {
        block<Epilogue>(
          x + <usize>rowFrom * xStride, xStride, count, depth, depthFrom, panels, columns, bias,
          y + <usize>rowFrom * yStride, yStride, rowFrom, epilogue, false, scratch, panel, min(to, panel + panelStep),
        );
      }
    }
    tileFrom = blockFrom + width;
  }
}

function block<Epilogue>(
  x: usize, xStride: usize, rows: i32, depth: i32, depthFrom: i32, panels: usize, columns: i32, bias: usize, y: usize,
  yStride: usize, rowFrom: i32, epilogue: usize, ofGate: bool, scratch: usize, panelFrom: i32, panelTo: i32,
): void {
  const depthTo = min(depth, depthFrom + DEPTH_BLOCK);
  const z = scratch + PANEL_BYTES;
  let pieces = z + <usize>rowsTogether() * ROW_BYTES;
  if (rows > 1) copyPieces(x + (<usize>depthFrom << 2), xStride, rows, depthTo - depthFrom, pieces);
  else pieces = x + (<usize>depthFrom << 2);
  const pieceBytes = <usize>rows * ROW_BYTES;
  const panelStride = <usize>depth * PANEL_BYTES;
  for (let from = panelFrom; from < panelTo; from += GROUP) {
    const count = min(GROUP, panelTo - from);
    const column = from * PANEL;
    const width = min(columns, column + count * PANEL) - column;
    const at = <usize>column << 2;
    let piece = pieces;
    for (let k = depthFrom; k < depthTo; k += PARTS * PIECE) {
      const steps = min(PARTS * PIECE, depthTo - k);
      const panel = panels + <usize>from * panelStride + <usize>k * PANEL_BYTES;
      const end = k + steps == depth ? bias + at : 0;
      for (let row = 0; row < rows; row += rowsTogether()) {
        const some = min(rowsTogether(), rows - row);
        someRows(piece + <usize>row * ROW_BYTES, pieceBytes, some, steps, panel, panelStride, count, z);
        if (offsetof<Epilogue>() == 0) {
          addParts(y + <usize>row * yStride + at, yStride, some, z, (steps + PIECE - 1) / PIECE, width, k, end, scratch);
        } else {
          const parameters = changetype<EpilogueParameters>(epilogue);
          const waiting = rows == 1 || depth > DEPTH_BLOCK;
          const sumsStride = <usize>count * PANEL_BYTES;
          const sums =
            scratch + productScratchBytes(rows, depth) +
            (waiting ? <usize>((from - panelFrom) * rows) * PANEL_BYTES : 0) +
            (depth > PARTS * PIECE ? <usize>row * sumsStride : 0);
          const gateSums = sums + <usize>(rows * (waiting ? panelTo - panelFrom : GROUP)) * PANEL_BYTES;
          const parts = (steps + PIECE - 1) / PIECE;
          addParts(ofGate ? gateSums : sums, sumsStride, some, z, parts, count * PANEL, k, end, scratch);
          if (parameters.gate && rows > 1) {
            const gatePanel = parameters.gate + (panel - panels);
            someRows(piece + <usize>row * ROW_BYTES, pieceBytes, some, steps, gatePanel, panelStride, count, z);
            addParts(gateSums, sumsStride, some, z, parts, count * PANEL, k, end ? parameters.gateBias + at : 0, scratch);
          }
          if (end && !ofGate) {
            finishRows(
              parameters, sums, gateSums, some, count, rowFrom + row, column, width, y + <usize>row * yStride, yStride,
            );
          }
        }
      }
      piece += <usize>PARTS * pieceBytes;
    }
  }
}

/** Rows of X, `depth` floats of each, as [piece][row][PIECE]. */
function copyPieces(x: usize, xStride: usize, rows: i32, depth: i32, target: usize): void {
  const pieceBytes = <usize>rows * ROW_BYTES;
  for (let row = 0; row < rows; row++, x += xStride, target += ROW_BYTES) {
    let source = x;
    let piece = target;
    for (let rest = depth; rest > 0; rest -= PIECE, piece += pieceBytes) {
      const end = source + (<usize>min(PIECE, rest) << 2);
      let at = piece;
      for (; source + 16 <= end; source += 16, at += 16) v128.store(at, v128.load(source));
      for (; source < end; source += 4, at += 4) store<f32>(at, load<f32>(source));
    }
  }
}

function someRows(
  piece: usize, pieceBytes: usize, rows: i32, depth: i32, panel: usize, panelStride: usize, count: i32, z: usize,
): void {
  for (; depth > 0; depth -= PIECE) {
    multiplyPiece(rows, piece, panel, panelStride, count, z, min(PIECE, depth), false);
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
    if (parts == PARTS && !bias) {
      addAllParts(y, z, whole, earlier);
    } else {
      for (let at: usize = 0; at < whole; at += PANEL_BYTES) addPanel(y + at, z + at, parts, earlier, bias ? bias + at : 0);
    }
    if (rest) {
      // The panel that Y ends in: only the columns that exist are copied.
      memory.copy(edge, y + whole, rest);
      addPanel(edge, z + whole, parts, earlier, bias ? bias + whole : 0);
      memory.copy(y + whole, edge, rest);
    }
  }
}

/** Most calls of `addPanel`, for whole panels in a row, without its questions: products are 2 % faster. */
// @ts-ignore: decorator
@inline
function addAllParts(y: usize, z: usize, bytes: usize, earlier: i32): void {
  for (const end = z + bytes; z < end; z += PANEL_BYTES, y += PANEL_BYTES) {
    let left = v128.load(z);
    let right = v128.load(z, 16);
    if (earlier) {
      left = f32x4.add(v128.load(y), left);
      right = f32x4.add(v128.load(y, 16), right);
    }
    left = f32x4.add(left, v128.load(z, PART_BYTES));
    right = f32x4.add(right, v128.load(z, PART_BYTES + 16));
    left = f32x4.add(left, v128.load(z, 2 * PART_BYTES));
    right = f32x4.add(right, v128.load(z, 2 * PART_BYTES + 16));
    left = f32x4.add(left, v128.load(z, 3 * PART_BYTES));
    right = f32x4.add(right, v128.load(z, 3 * PART_BYTES + 16));
    v128.store(y, left);
    v128.store(y, right, 16);
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
