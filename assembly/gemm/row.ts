// Product of one row with several panels at once: with the single row of a decoding step the panels are read once
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
