// Panels of a matrix become panels of its transpose: what a product multiplies with on the way back.
//
//   panels      [panel of 8 outs][in][8 outs]       lies as a product reads it that sums over ins
//   transposed  [panel of 8 ins][out][8 ins]        lies as a product reads it that sums over outs
//
// Both are made of blocks of 8 x 8 floats, 256 bytes in a row, each of which is transposed in registers.

import { packHalfPanel } from './pack';
import { PANEL, PANEL_BYTES } from './tile';

/**
 * Panels of 8 ins [firstPanel + tileFrom, firstPanel + tileTo), to their places from `target` on, and zeros for their biases.
 *
 * @param panels  of `outs` columns, `ins` steps deep
 * @param target  panels of 8 ins, `outs` steps deep, of which the first is number `firstPanel`
 * @param biases  8 floats for each of them
 * @param scratch not needed
 */
export function transposePanels(
  panels: usize, ins: i32, outs: i32, firstPanel: i32, target: usize, biases: usize, scratch: usize, tileFrom: i32, tileTo: i32,
): void {
  const panelStride = <usize>ins * PANEL_BYTES;
  target += <usize>(tileFrom * outs) * PANEL_BYTES;
  memory.fill(biases + <usize>tileFrom * PANEL_BYTES, 0, <usize>(tileTo - tileFrom) * PANEL_BYTES);
  for (let tile = tileFrom; tile < tileTo; tile++) {
    const first = (firstPanel + tile) * PANEL;
    const count = min(PANEL, ins - first);
    let source = panels + <usize>first * PANEL_BYTES;
    for (let rest = outs; rest > 0; rest -= PANEL, source += panelStride) {
      const lanes = min(PANEL, rest);
      if (count == PANEL) {
        packHalfPanel(source, PANEL_BYTES, lanes, target);
        packHalfPanel(source + 4 * PANEL_BYTES, PANEL_BYTES, lanes, target + 16);
      } else {
        // Where the ins end: zeros stand for those that are not there.
        for (let lane = 0; lane < lanes; lane++) {
          for (let k = 0; k < PANEL; k++) {
            const value = k < count ? load<f32>(source + <usize>k * PANEL_BYTES + (<usize>lane << 2)) : 0;
            store<f32>(target + <usize>lane * PANEL_BYTES + (<usize>k << 2), value);
          }
        }
      }
      target += <usize>lanes * PANEL_BYTES;
    }
  }
}
