// Packing: brings a matrix into the panels that the micro-kernel reads from end to end.
//
//   panels of B, depth x columns:     [ceil(columns / 8)][depth][8], the last panel filled up with zeros
//
//        columns ->                      panel 0          panel 1
//      +---------+---------+           +---------+      +---------+
//    k | 0 .. 7  | 8 .. 15 |    ->   k | 0 .. 7  |    k | 8 .. 15 |
//      +---------+---------+           +---------+      +---------+
//
// Two sources: B row-major (`packRows`, values), and B's transpose row-major (`packColumns`: keys, and weights stored
// [out][in] as PyTorch does), where a row of the source becomes a column of a panel.

import { PANEL, PANEL_BYTES } from './tile';

/** B row-major: `depth` rows of `columns` floats, `sourceStride` bytes apart. A panel takes `panelDepth` rows of space. */
export function packRows(source: usize, sourceStride: usize, depth: i32, columns: i32, target: usize, panelDepth: i32): void {
  const whole = columns / PANEL;
  const rest = columns % PANEL;
  const panelStride = <usize>panelDepth * PANEL_BYTES;
  for (let p = 0; p < whole; p++) {
    let from = source + <usize>p * PANEL_BYTES;
    let to = target + <usize>p * panelStride;
    const end = to + <usize>depth * PANEL_BYTES;
    while (to < end) {
      v128.store(to, v128.load(from));
      v128.store(to, v128.load(from, 16), 16);
      from += sourceStride;
      to += PANEL_BYTES;
    }
  }
  if (rest) {
    let from = source + <usize>whole * PANEL_BYTES;
    let to = target + <usize>whole * panelStride;
    for (let k = 0; k < depth; k++) {
      for (let column = 0; column < PANEL; column++) {
        store<f32>(to + (<usize>column << 2), column < rest ? load<f32>(from + (<usize>column << 2)) : 0);
      }
      from += sourceStride;
      to += PANEL_BYTES;
    }
  }
}

/** B's transpose row-major: `columns` rows of `depth` floats, `sourceStride` bytes apart. */
export function packColumns(source: usize, sourceStride: usize, columns: i32, depth: i32, target: usize): void {
  const whole = columns / PANEL;
  for (let p = 0; p < whole; p++) {
    const from = source + <usize>(p * PANEL) * sourceStride;
    packHalfPanel(from, sourceStride, depth, target);
    packHalfPanel(from + 4 * sourceStride, sourceStride, depth, target + 16);
    target += <usize>depth * PANEL_BYTES;
  }
  const rest = columns % PANEL;
  if (rest) {
    const from = source + <usize>(whole * PANEL) * sourceStride;
    for (let column = 0; column < PANEL; column++) {
      for (let k = 0; k < depth; k++) {
        const value = column < rest ? load<f32>(from + <usize>column * sourceStride + (<usize>k << 2)) : 0;
        store<f32>(target + <usize>k * PANEL_BYTES + (<usize>column << 2), value);
      }
    }
  }
}

/** Four rows of the source become four columns of a panel, by 4 x 4 transposes in registers. */
export function packHalfPanel(source: usize, sourceStride: usize, depth: i32, target: usize): void {
  let row0 = source;
  let row1 = row0 + sourceStride;
  let row2 = row1 + sourceStride;
  let row3 = row2 + sourceStride;
  for (let block = depth >> 2; block > 0; block--) {
    const a = v128.load(row0);
    const b = v128.load(row1);
    const c = v128.load(row2);
    const d = v128.load(row3);
    const abLow = v128.shuffle<f32>(a, b, 0, 4, 1, 5);
    const abHigh = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
    const cdLow = v128.shuffle<f32>(c, d, 0, 4, 1, 5);
    const cdHigh = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
    v128.store(target, v128.shuffle<f64>(abLow, cdLow, 0, 2));
    v128.store(target, v128.shuffle<f64>(abLow, cdLow, 1, 3), 32);
    v128.store(target, v128.shuffle<f64>(abHigh, cdHigh, 0, 2), 64);
    v128.store(target, v128.shuffle<f64>(abHigh, cdHigh, 1, 3), 96);
    row0 += 16;
    row1 += 16;
    row2 += 16;
    row3 += 16;
    target += 4 * PANEL_BYTES;
  }
  for (let k = depth & 3; k > 0; k--) {
    store<f32>(target, load<f32>(row0));
    store<f32>(target, load<f32>(row1), 4);
    store<f32>(target, load<f32>(row2), 8);
    store<f32>(target, load<f32>(row3), 12);
    row0 += 4;
    row1 += 4;
    row2 += 4;
    row3 += 4;
    target += PANEL_BYTES;
  }
}
