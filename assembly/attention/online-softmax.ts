// The softmax of a row over blocks of keys, one after the other: the maximum so far, and the sum of 2^(score - maximum).

import { exp2, exp2Rows, maximumOfRow } from '../math/exp2';
import { LN_2, naturalLogarithm } from '../math/logarithm';
import { horizontalMaximum } from '../math/vector';
import { AttentionParameters, ForwardParameters } from './parameters';
import { sinkScore } from './scores';
import { SCORE_ROW_BYTES, STATE_BYTES, Workspace } from './workspace';

/** Before the first block: no key, or a sink. */
export function startSoftmax(p: AttentionParameters, w: Workspace): void {
  for (let r = 0; r < w.rows; r++) {
    const state = <usize>r << 2;
    if (p.sinks) {
      const head = load<i32>(w.rowHead + state);
      store<f32>(w.maximum + state, sinkScore(p, head));
      store<f32>(w.sum + state, 1);
    } else {
      store<f32>(w.maximum + state, -Infinity);
      store<f32>(w.sum + state, 0);
    }
  }
}

/**
 * A step of the online softmax for rows [row, row + rows): bytes [left, right) of their scores become weights
 * relative to the new maxima; w.scales takes 2^(m - m'). Without branches on the scores: they would mispredict.
 */
export function stepSoftmax(w: Workspace, row: i32, rows: i32, left: usize, right: usize): void {
  const maxima = w.maximum + (<usize>row << 2);
  const before = w.scales;
  const after = w.scales + STATE_BYTES;
  for (let r: usize = 0, scores = w.scores; r < <usize>rows << 2; r += 4, scores += SCORE_ROW_BYTES) {
    const old = load<f32>(maxima + r);
    const most = horizontalMaximum(maximumOfRow(scores + left, scores + right));
    const maximum = most > old ? most : old;
    store<f32>(maxima + r, maximum);
    // No key so far: any finite number will do, and -infinity - -infinity would be NaN.
    const finite = maximum == -Infinity ? <f32>0 : maximum;
    store<f32>(before + r, old - finite);
    store<f32>(after + r, finite);
  }
  for (let r: usize = 0; r < <usize>rows << 2; r += 16) v128.store(before + r, exp2(v128.load(before + r), w.constants));
  exp2Rows(w.scores + left, w.scores + right, SCORE_ROW_BYTES, rows, after, w.rowSums, w.constants);
  const sums = w.sum + (<usize>row << 2);
  for (let r: usize = 0; r < <usize>rows << 2; r += 4) {
    store<f32>(sums + r, load<f32>(sums + r) * load<f32>(w.scales + r) + load<f32>(w.rowSums + r));
  }
}

/** The sum of a row may be NaN. */
export function writeStatistics(f: ForwardParameters, index: i32, maximum: f32, sum: f32): void {
  if (f.statistics) {
    store<f32>(f.statistics + (<usize>index << 3), maximum);
    store<f32>(f.statistics + (<usize>index << 3), sum, 4);
  }
  if (f.logSumExp) {
    let logSumExp = -Infinity as f32;
    if (sum != 0) logSumExp = sum == sum ? <f32>(<f64>maximum * LN_2 + naturalLogarithm(<f64>sum)) : NaN as f32;
    store<f32>(f.logSumExp + (<usize>index << 2), logSumExp);
  }
}
