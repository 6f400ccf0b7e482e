// Products of one row or two with several panels at once: with the few rows of a decoding step the panels are read once
// each, so what counts is the speed of reading, and eight accumulators are needed to hide the latency of an addition.
// Each element is the same chain of multiply-adds as in `tile`: the bits agree.

import { multiplyAdd } from '../math/vector';
import { PANEL_BYTES } from './tile';

/** C[0][0..32) from four panels, `panelStride` bytes apart; `start` holds 32 floats, 4 * 8 in a row. */
export function rowOverFourPanels(a: usize, panel: usize, panelStride: usize, c: usize, depth: i32, start: usize): void {
  let panel1 = panel + panelStride;
  let panel2 = panel1 + panelStride;
  let panel3 = panel2 + panelStride;
  const end = panel + <usize>depth * PANEL_BYTES;
  let c0 = v128.load(start);
  let c1 = v128.load(start, 16);
  let c2 = v128.load(start, 32);
  let c3 = v128.load(start, 48);
  let c4 = v128.load(start, 64);
  let c5 = v128.load(start, 80);
  let c6 = v128.load(start, 96);
  let c7 = v128.load(start, 112);
  while (panel < end) {
    const x = v128.load32_splat(a);
    a += 4;
    c0 = multiplyAdd(x, v128.load(panel), c0);
    c1 = multiplyAdd(x, v128.load(panel, 16), c1);
    panel += PANEL_BYTES;
    c2 = multiplyAdd(x, v128.load(panel1), c2);
    c3 = multiplyAdd(x, v128.load(panel1, 16), c3);
    panel1 += PANEL_BYTES;
    c4 = multiplyAdd(x, v128.load(panel2), c4);
    c5 = multiplyAdd(x, v128.load(panel2, 16), c5);
    panel2 += PANEL_BYTES;
    c6 = multiplyAdd(x, v128.load(panel3), c6);
    c7 = multiplyAdd(x, v128.load(panel3, 16), c7);
    panel3 += PANEL_BYTES;
  }
  v128.store(c, c0);
  v128.store(c, c1, 16);
  v128.store(c, c2, 32);
  v128.store(c, c3, 48);
  v128.store(c, c4, 64);
  v128.store(c, c5, 80);
  v128.store(c, c6, 96);
  v128.store(c, c7, 112);
}

/**
 * C[0..2)[0..16) from two panels, `panelStride` bytes apart.
 *
 * @param bias   8 floats that every panel's columns start from; used when `scales` is 0
 * @param scales one float a row, or 0: the row starts from its present C times that float
 */
export function twoRowsOverTwoPanels(
  a: usize, aStride: usize, panel: usize, panelStride: usize, c: usize, cStride: usize, depth: i32, bias: usize, scales: usize,
): void {
  let a1 = a + aStride;
  let panel1 = panel + panelStride;
  const end = panel + <usize>depth * PANEL_BYTES;
  const d = c + cStride;
  let c0 = v128.load(bias);
  let c1 = v128.load(bias, 16);
  let c2 = c0, c3 = c1, d0 = c0, d1 = c1, d2 = c0, d3 = c1;
  if (scales) {
    const first = v128.load32_splat(scales);
    const second = v128.load32_splat(scales, 4);
    c0 = f32x4.mul(v128.load(c), first);
    c1 = f32x4.mul(v128.load(c, 16), first);
    c2 = f32x4.mul(v128.load(c, 32), first);
    c3 = f32x4.mul(v128.load(c, 48), first);
    d0 = f32x4.mul(v128.load(d), second);
    d1 = f32x4.mul(v128.load(d, 16), second);
    d2 = f32x4.mul(v128.load(d, 32), second);
    d3 = f32x4.mul(v128.load(d, 48), second);
  }
  while (panel < end) {
    const x = v128.load32_splat(a);
    const y = v128.load32_splat(a1);
    a += 4;
    a1 += 4;
    const b0 = v128.load(panel);
    const b1 = v128.load(panel, 16);
    panel += PANEL_BYTES;
    c0 = multiplyAdd(x, b0, c0);
    d0 = multiplyAdd(y, b0, d0);
    c1 = multiplyAdd(x, b1, c1);
    d1 = multiplyAdd(y, b1, d1);
    const b2 = v128.load(panel1);
    const b3 = v128.load(panel1, 16);
    panel1 += PANEL_BYTES;
    c2 = multiplyAdd(x, b2, c2);
    d2 = multiplyAdd(y, b2, d2);
    c3 = multiplyAdd(x, b3, c3);
    d3 = multiplyAdd(y, b3, d3);
  }
  v128.store(c, c0);
  v128.store(c, c1, 16);
  v128.store(c, c2, 32);
  v128.store(c, c3, 48);
  v128.store(d, d0);
  v128.store(d, d1, 16);
  v128.store(d, d2, 32);
  v128.store(d, d3, 48);
}
