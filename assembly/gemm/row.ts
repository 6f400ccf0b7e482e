// Products of one row or two with several panels at once: with the few rows of a decoding step the panels are read once
// each, so what counts is the speed of reading, and eight accumulators are needed to hide the latency of an addition.
// Each element is the same chain of multiply-adds as in `tile`: the bits agree.

import { multiplyAdd } from '../math/vector';
import { PANEL_BYTES, ROW_BYTES } from './tile';

/** C[0][0..32) from four panels, `panelStride` bytes apart. */
export function rowOverFourPanels(a: usize, panel: usize, panelStride: usize, c: usize, depth: i32, adding: bool): void {
  let panel1 = panel + panelStride;
  let panel2 = panel1 + panelStride;
  let panel3 = panel2 + panelStride;
  const end = panel + <usize>depth * PANEL_BYTES;
  const zero = f32x4.splat(0);
  let c0 = zero, c1 = zero, c2 = zero, c3 = zero, c4 = zero, c5 = zero, c6 = zero, c7 = zero;
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
  if (adding) {
    v128.store(c, f32x4.add(v128.load(c, 112), c7), 112);
    v128.store(c, f32x4.add(v128.load(c, 96), c6), 96);
    v128.store(c, f32x4.add(v128.load(c, 80), c5), 80);
    v128.store(c, f32x4.add(v128.load(c, 64), c4), 64);
    v128.store(c, f32x4.add(v128.load(c, 48), c3), 48);
    v128.store(c, f32x4.add(v128.load(c, 32), c2), 32);
    v128.store(c, f32x4.add(v128.load(c, 16), c1), 16);
    v128.store(c, f32x4.add(v128.load(c), c0));
  } else {
    v128.store(c, c0);
    v128.store(c, c1, 16);
    v128.store(c, c2, 32);
    v128.store(c, c3, 48);
    v128.store(c, c4, 64);
    v128.store(c, c5, 80);
    v128.store(c, c6, 96);
    v128.store(c, c7, 112);
  }
}

/** C[0..2)[0..16) from two panels, `panelStride` bytes apart; rows of A and C as in `tile`. */
export function twoRowsOverTwoPanels(a: usize, panel: usize, panelStride: usize, c: usize, depth: i32, adding: bool): void {
  let panel1 = panel + panelStride;
  const end = panel + <usize>depth * PANEL_BYTES;
  const zero = f32x4.splat(0);
  let c0 = zero, c1 = zero, c2 = zero, c3 = zero, d0 = zero, d1 = zero, d2 = zero, d3 = zero;
  while (panel < end) {
    const x = v128.load32_splat(a);
    const y = v128.load32_splat(a, ROW_BYTES);
    a += 4;
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
  if (adding) {
    v128.store(c, f32x4.add(v128.load(c, ROW_BYTES + 48), d3), ROW_BYTES + 48);
    v128.store(c, f32x4.add(v128.load(c, ROW_BYTES + 32), d2), ROW_BYTES + 32);
    v128.store(c, f32x4.add(v128.load(c, ROW_BYTES + 16), d1), ROW_BYTES + 16);
    v128.store(c, f32x4.add(v128.load(c, ROW_BYTES), d0), ROW_BYTES);
    v128.store(c, f32x4.add(v128.load(c, 48), c3), 48);
    v128.store(c, f32x4.add(v128.load(c, 32), c2), 32);
    v128.store(c, f32x4.add(v128.load(c, 16), c1), 16);
    v128.store(c, f32x4.add(v128.load(c), c0));
  } else {
    v128.store(c, c0);
    v128.store(c, c1, 16);
    v128.store(c, c2, 32);
    v128.store(c, c3, 48);
    v128.store(c, d0, ROW_BYTES);
    v128.store(c, d1, ROW_BYTES + 16);
    v128.store(c, d2, ROW_BYTES + 32);
    v128.store(c, d3, ROW_BYTES + 48);
  }
}

/**
 * C[0][0..8) from one panel, in chains of at most `cut` steps that are added one after the other: for panels that come from
 * memory, each of them one stream.
 */
export function rowOverPanel(a: usize, panel: usize, c: usize, depth: i32, cut: i32, adding: bool): void {
  const end = panel + <usize>depth * PANEL_BYTES;
  const step = <usize>cut * PANEL_BYTES;
  let sum0 = f32x4.splat(0), sum1 = sum0;
  if (adding) {
    sum0 = v128.load(c);
    sum1 = v128.load(c, 16);
  }
  while (panel < end) {
    const chainEnd = min(end, panel + step);
    let c0 = f32x4.splat(0), c1 = c0;
    while (panel < chainEnd) {
      const x = v128.load32_splat(a);
      a += 4;
      c0 = multiplyAdd(x, v128.load(panel), c0);
      c1 = multiplyAdd(x, v128.load(panel, 16), c1);
      panel += PANEL_BYTES;
    }
    sum0 = adding ? f32x4.add(sum0, c0) : c0;
    sum1 = adding ? f32x4.add(sum1, c1) : c1;
    adding = true;
  }
  v128.store(c, sum0);
  v128.store(c, sum1, 16);
}
