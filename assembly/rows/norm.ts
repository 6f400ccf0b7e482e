// Norms over the channels of a row:
//
//   layer   y = (x - mean) / sqrt(variance + epsilon) * weight + bias
//   RMS     y = x / sqrt(mean of x^2 + epsilon) * weight + bias
//   L2      y = x / max(sqrt(sum of x^2), epsilon) * weight + bias
//
// and to each a residual may be added, which may lie where y does.
//
// A row is read from the first-level cache three times (without a mean, twice). The first pass gives the mean in single precision, the
// second the sums of what lies beyond it and of its squares: these correct mean and variance, so that a mean far from 0 costs
// no digits. Sums are short chains in single precision, which are added in double precision. They depend on nothing but the row.
//
// Weights that are not there are a vector of ones that is read again and again, biases one of zeros.

import { horizontalSum, multiplyAdd } from '../math/vector';

/** Kinds of norms. */
export const LAYER_NORM: i32 = 0;
export const RMS_NORM: i32 = 1;
export const L2_NORM: i32 = 2;

/** Floats whose sum is one of single precision: four chains of 16 additions in each lane. */
const CHAIN_BYTES: usize = 4 * 16 * 16;

/** What one call of `normRows` does. */
@unmanaged
export class NormParameters {
  /** Rows of `groups * channels` floats. */
  x: usize;
  xStride: usize;
  /** May be x. */
  y: usize;
  yStride: usize;
  /** Added to the result, may be y; 0: nothing. */
  residual: usize;
  residualStride: usize;
  /** Runs of channels in a row, normalised one by one with the same weights. */
  groups: i32;
  channels: i32;
  /** `channels` floats; 0: ones. */
  weight: usize;
  /** `channels` floats; 0: zeros. */
  bias: usize;
  epsilon: f32;
  /** Added to weights. */
  weightOffset: f32;
  /** LAYER_NORM, ... */
  kind: i32;
}

/** Bytes of scratch: a vector of ones, one of zeros. */
export const NORM_SCRATCH_BYTES: usize = 32;

/** Rows [rowFrom, rowTo). */
export function normRows(parameters: usize, scratch: usize, rowFrom: i32, rowTo: i32): void {
  const p = changetype<NormParameters>(parameters);
  v128.store(scratch, f32x4.splat(1));
  v128.store(scratch, f32x4.splat(0), 16);
  const bytes = <usize>p.channels << 2;
  for (let row = rowFrom; row < rowTo; row++) {
    let x = p.x + <usize>row * p.xStride;
    let y = p.y + <usize>row * p.yStride;
    const residualStep: usize = p.residual ? bytes : 0;
    let residual = p.residual ? p.residual + <usize>row * p.residualStride : scratch + 16;
    for (let group = p.groups; group > 0; group--, x += bytes, y += bytes, residual += residualStep) {
      normRun(p, x, y, residual, bytes, scratch);
    }
  }
}

function normRun(p: NormParameters, x: usize, y: usize, residual: usize, bytes: usize, scratch: usize): void {
  const count = <f64>p.channels;
  let mean: f32 = 0;
  let correction: f64 = 0;
  if (p.kind == LAYER_NORM) {
    mean = <f32>(sumOf(x, bytes, 0, false) / count);
    correction = sumOf(x, bytes, mean, false) / count;
  }
  const squares = sumOf(x, bytes, mean, true);
  const epsilon = <f64>p.epsilon;
  const length =
    p.kind == L2_NORM ? max(Math.sqrt(squares), epsilon) : Math.sqrt(squares / count - correction * correction + epsilon);
  writeRun(p, x, y, residual, bytes, mean, <f32>correction, <f32>(1 / length), scratch);
}

/** The sum of x - shift, or of its squares. */
// @ts-ignore: decorator
@inline
export function sumOf(x: usize, bytes: usize, shift: f32, squared: bool): f64 {
  const shifts = f32x4.splat(shift);
  const end = x + bytes;
  const whole = x + (bytes & ~15);
  let sum: f64 = 0;
  while (x < whole) {
    let chain0 = f32x4.splat(0);
    let chain1 = chain0;
    let chain2 = chain0;
    let chain3 = chain0;
    const last = min(whole, x + CHAIN_BYTES);
    for (; x + 64 <= last; x += 64) {
      chain0 = added(chain0, f32x4.sub(v128.load(x), shifts), squared);
      chain1 = added(chain1, f32x4.sub(v128.load(x, 16), shifts), squared);
      chain2 = added(chain2, f32x4.sub(v128.load(x, 32), shifts), squared);
      chain3 = added(chain3, f32x4.sub(v128.load(x, 48), shifts), squared);
    }
    for (; x < last; x += 16) chain0 = added(chain0, f32x4.sub(v128.load(x), shifts), squared);
    sum += <f64>horizontalSum(f32x4.add(f32x4.add(chain0, chain2), f32x4.add(chain1, chain3)));
  }
  for (; x < end; x += 4) {
    const d = load<f32>(x) - shift;
    sum += <f64>(squared ? d * d : d);
  }
  return sum;
}

// @ts-ignore: decorator
@inline
function added(sum: v128, d: v128, squared: bool): v128 {
  return squared ? multiplyAdd(d, d, sum) : f32x4.add(sum, d);
}

/** y = ((x - mean) - correction) * factor * weight + bias. */
function writeRun(
  p: NormParameters, x: usize, y: usize, residual: usize, bytes: usize, mean: f32, correction: f32, factor: f32, scratch: usize,
): void {
  const means = f32x4.splat(mean);
  const corrections = f32x4.splat(correction);
  const factors = f32x4.splat(factor);
  const offsets = f32x4.splat(p.weight ? p.weightOffset : 0);
  let weight = p.weight || scratch;
  let bias = p.bias || scratch + 16;
  const weightStep: usize = p.weight ? 16 : 0;
  const biasStep: usize = p.bias ? 16 : 0;
  const residualStep: usize = p.residual ? 16 : 0;
  const end = y + bytes;
  for (const whole = y + (bytes & ~15); y < whole; x += 16, y += 16, residual += residualStep, weight += weightStep, bias += biasStep) {
    const d = f32x4.mul(f32x4.sub(f32x4.sub(v128.load(x), means), corrections), factors);
    const normed = multiplyAdd(d, f32x4.add(v128.load(weight), offsets), v128.load(bias));
    v128.store(y, f32x4.add(normed, v128.load(residual)));
  }
  for (; y < end; x += 4, y += 4, residual += residualStep >> 2, weight += weightStep >> 2, bias += biasStep >> 2) {
    const d = f32x4.mul(f32x4.sub(f32x4.sub(v128.load32_splat(x), means), corrections), factors);
    const w = f32x4.add(v128.load32_splat(weight), offsets);
    const normed = multiplyAdd(d, w, v128.load32_splat(bias));
    v128.store32_lane(y, f32x4.add(normed, v128.load32_splat(residual)), 0);
  }
}
