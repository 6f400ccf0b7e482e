// Gradients of merged attention (merge.ts): a part whose share of the whole softmax is s = exp(logSumExp[part] - logSumExp) gets
//
//   dOutput[part] = s * dOutput        dLogSumExp[part] = s * (dOutput . (output[part] - output) + dLogSumExp)

import { exp2Scalar, writeConstants } from '../math/exp2';

const LOG2_E: f64 = 1.4426950408889634;

/**
 * Rows [rowFrom, rowTo) of `parts` parts. The first eight arguments are addresses, those of parts of a list of addresses, one a part.
 *
 * @param upstreamLogSumExp may be 0: nothing flows there
 * @param scratch           64 bytes
 */
export function mergeAttentionBackward(
  outputs: usize, logSumExps: usize, output: usize, logSumExp: usize, upstream: usize, upstreamLogSumExp: usize,
  dOutputs: usize, dLogSumExps: usize, parts: i32, dim: i32, scratch: usize, rowFrom: i32, rowTo: i32,
): void {
  writeConstants(scratch);
  for (let row = rowFrom; row < rowTo; row++) {
    const at = <usize>row << 2;
    const offset = <usize>row * (<usize>dim << 2);
    const whole = <f64>load<f32>(logSumExp + at);
    for (let part: usize = 0; part < <usize>parts << 2; part += 4) {
      const own = <f64>load<f32>(load<usize>(logSumExps + part) + at);
      const share: f32 = own == -Infinity ? 0 : exp2Scalar(<f32>((own - whole) * LOG2_E), scratch);
      const source = load<usize>(outputs + part) + offset;
      const target = load<usize>(dOutputs + part) + offset;
      let flow: f32 = upstreamLogSumExp ? load<f32>(upstreamLogSumExp + at) : 0;
      for (let c: usize = 0; c < <usize>dim << 2; c += 4) {
        const through = load<f32>(upstream + offset + c);
        // A part without keys has nothing to say, whatever stands in its output.
        store<f32>(target + c, share == 0 ? 0 : share * through);
        flow += through * (load<f32>(source + c) - load<f32>(output + offset + c));
      }
      store<f32>(load<usize>(dLogSumExps + part) + at, share == 0 ? 0 : share * flow);
    }
  }
}
