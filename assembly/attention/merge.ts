// Partial results of attention over disjoint sets of keys, combined: each part weighs as much as its share of the whole
// softmax, exp(logSumExp[part] - logSumExp).

import { exp2Scalar, writeConstants } from '../math/exp2';
import { naturalLogarithm } from '../math/logarithm';

const LOG2_E: f64 = 1.4426950408889634;

/**
 * Rows [rowFrom, rowTo) of `parts` results.
 *
 * @param outputs  addresses, one per part, of [rows][dim] floats      @param logSumExps the same of [rows] floats
 * @param scratch  64 bytes and 4 per part
 */
export function mergeAttention(
  outputs: usize, logSumExps: usize, parts: i32, dim: i32, output: usize, logSumExp: usize, scratch: usize,
  rowFrom: i32, rowTo: i32,
): void {
  writeConstants(scratch);
  const shares = scratch + 64;
  for (let row = rowFrom; row < rowTo; row++) {
    const at = <usize>row << 2;
    let maximum: f32 = -<f32>Infinity;
    for (let part = 0; part < parts; part++) {
      const one = load<f32>(load<usize>(logSumExps + (<usize>part << 2)) + at);
      // Written so that NaN wins and stays.
      if (!(one <= maximum)) maximum = one;
      if (maximum != maximum) break;
    }
    const shift: f64 = maximum == -Infinity ? 0 : <f64>maximum;
    let sum: f32 = 0;
    for (let part = 0; part < parts; part++) {
      const one = <f64>load<f32>(load<usize>(logSumExps + (<usize>part << 2)) + at);
      const share = exp2Scalar(<f32>((one - shift) * LOG2_E), scratch);
      store<f32>(shares + (<usize>part << 2), share);
      sum += share;
    }
    let merged: f32 = -<f32>Infinity;
    if (sum != 0) merged = sum == sum ? <f32>(shift + naturalLogarithm(<f64>sum)) : <f32>NaN;
    store<f32>(logSumExp + at, merged);
    mergeRow(outputs, shares, parts, dim, output, row, sum == 0 ? 0 : 1 / sum);
  }
}

function mergeRow(outputs: usize, shares: usize, parts: i32, dim: i32, output: usize, row: i32, factor: f32): void {
  const offset = <usize>row * (<usize>dim << 2);
  for (let c: usize = 0; c < <usize>dim << 2; c += 4) {
    let sum: f32 = 0;
    for (let part = 0; part < parts; part++) {
      const share = load<f32>(shares + (<usize>part << 2));
      // A part without keys has nothing to say, whatever stands in its output.
      if (share == 0) continue;
      sum += share * load<f32>(load<usize>(outputs + (<usize>part << 2)) + offset + c);
    }
    const mean = sum * factor;
    store<f32>(output + offset + c, mean - mean == 0 ? mean : carefulMean(outputs, shares, parts, offset + c, factor));
  }
}

/** The mean of outputs so large that their sum overflows; NaN and infinities stay. */
function carefulMean(outputs: usize, shares: usize, parts: i32, at: usize, factor: f32): f32 {
  let mean: f64 = 0;
  for (let part = 0; part < parts; part++) {
    const share = load<f32>(shares + (<usize>part << 2));
    if (share != 0) mean += <f64>(share * factor) * <f64>load<f32>(load<usize>(outputs + (<usize>part << 2)) + at);
  }
  // Rounding does not carry a finite mean beyond the largest float.
  return mean - mean == 0 ? <f32>min(max(mean, -<f64>f32.MAX_VALUE), <f64>f32.MAX_VALUE) : <f32>mean;
}
