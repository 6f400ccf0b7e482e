// Gradients of weights, dW += X^T dY, where the weights lie packed, and of biases, db += column sums of dY: the driver of the
// micro-kernel in outer.ts.
//
//   for PIECE rows of X and dY
//     dY -> panels of 8 outs    [panel][row][8]             a panel, 4 kB, stays in the first-level cache
//     X  -> strips of ins       [strip][row][STRIP]         so does a strip, 10 or 12 kB
//     for strip, for panel:  dW[panel][ins of the strip][8] += strip^T panel
//
// A tile is some panels of outs by some strips of ins. It owns its part of dW and goes through all rows in their order, so that the
// bits of an element do not depend on the tiles: the sums of its pieces, added to what was there. What a tile packs serves all of
// it, so larger tiles are better, as long as there are enough of them.

import { outerProduct } from './outer';
import { packRows } from './pack';
import { PANEL, PANEL_BYTES, PIECE, tileRows } from './tile';

/** Ins of a strip. */
// @ts-ignore: decorator
@inline
function stripWidth(): i32 {
  return 4 * tileRows();
}

/** What a call is. Strides are bytes. */
@unmanaged
export class WeightGradientParameters {
  /** Rows of `ins` floats. */
  x: usize;
  xStride: usize;
  /** Rows of `outs` floats. */
  dy: usize;
  dyStride: usize;
  rows: i32;
  ins: i32;
  outs: i32;
  /** Panels like those of the weights, then 8 floats for the biases of each. */
  gradient: usize;
  /** Of a tile. */
  panels: i32;
  strips: i32;
}

/** Strips that so many ins make. */
export function stripsOf(ins: i32): i32 {
  return (ins + stripWidth() - 1) / stripWidth();
}

/** Bytes of scratch for tiles of so many panels and strips. */
export function weightGradientScratchBytes(panels: i32, strips: i32): usize {
  return <usize>(PIECE * (strips * stripWidth() + panels * PANEL)) << 2;
}

/** Tiles [tileFrom, tileTo): those of the same panels of outs follow each other. */
export function addWeightGradient(parameters: usize, scratch: usize, tileFrom: i32, tileTo: i32): void {
  const p = changetype<WeightGradientParameters>(parameters);
  const across = (stripsOf(p.ins) + p.strips - 1) / p.strips;
  for (let tile = tileFrom; tile < tileTo; tile++) {
    const panel = (tile / across) * p.panels;
    const firstIn = (tile % across) * p.strips * stripWidth();
    const outs = min(p.panels * PANEL, p.outs - panel * PANEL);
    const ins = min(p.strips * stripWidth(), p.ins - firstIn);
    addTile(p, panel, outs, firstIn, ins, scratch);
  }
}

function addTile(p: WeightGradientParameters, panel: i32, outs: i32, firstIn: i32, ins: i32, scratch: usize): void {
  const panels = (outs + PANEL - 1) / PANEL;
  const stripBytes = <usize>(PIECE * stripWidth()) << 2;
  const packed = scratch + <usize>p.strips * stripBytes;
  const cPanel = <usize>p.ins * PANEL_BYTES;
  const gradient = p.gradient + <usize>panel * cPanel + <usize>firstIn * PANEL_BYTES;
  const biases = p.gradient + <usize>((p.outs + PANEL - 1) / PANEL) * cPanel + <usize>panel * PANEL_BYTES;
  let x = p.x + (<usize>firstIn << 2);
  let dy = p.dy + <usize>panel * PANEL_BYTES;
  for (let rest = p.rows; rest > 0; rest -= PIECE) {
    const rows = min(PIECE, rest);
    packRows(dy, p.dyStride, rows, outs, packed, PIECE);
    if (!firstIn) addColumnSums(packed, rows, panels, biases);
    copyStrips(x, p.xStride, rows, ins, scratch, stripBytes);
    let strip = scratch;
    for (let k = 0; k < ins; k += stripWidth(), strip += stripBytes) {
      outerProduct(
        min(stripWidth(), ins - k), rows, panels, strip, <usize>stripWidth() << 2, packed, PANEL_BYTES, <usize>PIECE * PANEL_BYTES,
        gradient + <usize>k * PANEL_BYTES, PANEL_BYTES, cPanel, true,
      );
    }
    x += <usize>PIECE * p.xStride;
    dy += <usize>PIECE * p.dyStride;
  }
}

/** Rows of `ins` floats to strips. */
function copyStrips(source: usize, sourceStride: usize, rows: i32, ins: i32, target: usize, stripBytes: usize): void {
  const width = <usize>stripWidth() << 2;
  for (; rows > 0; rows--, source += sourceStride, target += width) {
    let from = source;
    const end = source + (<usize>ins << 2);
    for (let strip = target; from < end; strip += stripBytes) {
      const stripEnd = min(end, from + width);
      let at = strip;
      for (; from + 16 <= stripEnd; from += 16, at += 16) v128.store(at, v128.load(from));
      for (; from < stripEnd; from += 4, at += 4) store<f32>(at, load<f32>(from));
    }
  }
}

/** Sums over the rows of panels of dY, added to 8 floats each. */
function addColumnSums(packed: usize, rows: i32, panels: i32, biases: usize): void {
  for (; panels > 0; panels--, packed += <usize>PIECE * PANEL_BYTES, biases += PANEL_BYTES) {
    let left = f32x4.splat(0);
    let right = left;
    const end = packed + <usize>rows * PANEL_BYTES;
    for (let at = packed; at < end; at += PANEL_BYTES) {
      left = f32x4.add(left, v128.load(at));
      right = f32x4.add(right, v128.load(at, 16));
    }
    v128.store(biases, f32x4.add(v128.load(biases), left));
    v128.store(biases, f32x4.add(v128.load(biases, 16), right), 16);
  }
}
