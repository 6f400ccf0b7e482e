// From scores to weights and to the gradients of scores, in one pass.

import { exp2WithConstants } from '../math/exp2';
import { SCORE_ROW_BYTES } from './workspace';

/**
 * weights = 2^(score - maximum) in place of the scores in [from, to), a multiple of 32 bytes apart; and, in place of what flows into
 * the weights, gradient = weight * (gradient - delta): an exact zero where the weight is one. Both of `rows` rows, SCORE_ROW_BYTES
 * apart. Exported by the module, which keeps it a function of its own: see `exp2Rows`.
 *
 * @param maxima of each row    @param deltas of each row    @param table constants of exp2
 */
export function gradeRows(
  from: usize, to: usize, gradients: usize, rows: i32, maxima: usize, deltas: usize, table: usize,
): void {
  const magic = v128.load32_splat(table);
  const c5 = v128.load32_splat(table, 4);
  const c4 = v128.load32_splat(table, 8);
  const c3 = v128.load32_splat(table, 12);
  const c2 = v128.load32_splat(table, 16);
  const c1 = v128.load32_splat(table, 20);
  const one = v128.load32_splat(table, 24);
  const lowest = v128.load32_splat(table, 28);
  const zero = f32x4.splat(0);
  for (const last = maxima + (<usize>rows << 2); maxima < last; maxima += 4, deltas += 4) {
    const maximum = v128.load32_splat(maxima);
    const delta = v128.load32_splat(deltas);
    for (let at = from, gradient = gradients; at < to; at += 16, gradient += 16) {
      const weight = exp2WithConstants(f32x4.sub(v128.load(at), maximum), magic, c5, c4, c3, c2, c1, one, lowest);
      v128.store(at, weight);
      const through = f32x4.mul(weight, f32x4.sub(v128.load(gradient), delta));
      v128.store(gradient, v128.andnot(through, f32x4.eq(weight, zero)));
    }
    from += SCORE_ROW_BYTES;
    to += SCORE_ROW_BYTES;
    gradients += SCORE_ROW_BYTES;
  }
}
