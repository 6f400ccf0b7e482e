// Gradients of norms (norm.ts). With n the normed row, so that y = n * weight + bias, g = dy * weight, and means over channels:
//
//   layer   dx = (g - mean(g) - n mean(g n)) / sqrt(variance + epsilon)
//   RMS     dx = (g - n mean(g n)) / sqrt(mean of x^2 + epsilon)
//   L2      dx = (g - n sum(g n)) / |x|, or g / epsilon where |x| is no more than that
//
//   dweight = sum over rows of dy n               dbias = sum over rows of dy
//
// Sums over rows have one order, whoever runs the tiles: a tile is a fixed number of rows, whose sums it writes to `partials`;
// `addPartials` (column-sums.ts) adds those in their order.
//
//   partials   [tiles][channels], or [tiles][2][channels] with those of the bias behind

import { horizontalSum, multiplyAdd } from '../math/vector';
import { L2_NORM, LAYER_NORM, sumOf } from './norm';

/** Bytes whose sums are of single precision: 16 additions in each lane of two chains. */
const CHAIN_BYTES: usize = 2 * 16 * 16;

/** What one call of `normBackward` does. */
@unmanaged
export class NormBackwardParameters {
  /** Rows of `groups * channels` floats. */
  x: usize;
  xStride: usize;
  dy: usize;
  dyStride: usize;
  /** May be dy, unless it is added to; 0: not wanted. */
  dx: usize;
  dxStride: usize;
  adding: i32;
  rows: i32;
  /** Rows of a tile. */
  rowsInTile: i32;
  /** Runs of channels in a row, normalised one by one with the same weights. */
  groups: i32;
  channels: i32;
  /** `channels` floats; 0: ones. */
  weight: usize;
  /** Added to weights. */
  weightOffset: f32;
  epsilon: f32;
  /** LAYER_NORM, ... */
  kind: i32;
  /** Sums of tiles for the gradients of weight and bias; 0: not wanted. */
  partials: usize;
  /** Whether there are those of a bias. */
  biased: i32;
}

/** Bytes of scratch: vectors of ones and of zeros, two sums, and what is known of a run. */
export const NORM_BACKWARD_SCRATCH_BYTES: usize = 64;

// Places in scratch behind the two vectors.
const SUM: usize = 32;
const SUM_WITH_NORMED: usize = 40;
const MEAN: usize = 48;
const CORRECTION: usize = 52;
const FACTOR: usize = 56;

/** Tiles [tileFrom, tileTo) of ceil(rows / rowsInTile). */
export function normBackward(parameters: usize, scratch: usize, tileFrom: i32, tileTo: i32): void {
  const p = changetype<NormBackwardParameters>(parameters);
  v128.store(scratch, f32x4.splat(1));
  v128.store(scratch, f32x4.splat(0), 16);
  const bytes = <usize>p.channels << 2;
  const partialBytes = bytes << (p.biased ? 1 : 0);
  for (let tile = tileFrom; tile < tileTo; tile++) {
    const partials = p.partials ? p.partials + <usize>tile * partialBytes : 0;
    if (partials) memory.fill(partials, 0, partialBytes);
    const end = min(p.rows, (tile + 1) * p.rowsInTile);
    for (let row = tile * p.rowsInTile; row < end; row++) {
      let x = p.x + <usize>row * p.xStride;
      let dy = p.dy + <usize>row * p.dyStride;
      let dx = p.dx + <usize>row * p.dxStride;
      for (let group = p.groups; group > 0; group--, x += bytes, dy += bytes, dx += bytes) {
        const clipped = describeRun(p, x, bytes, scratch);
        if (partials) addWeightGradients(x, dy, bytes, partials, p.biased ? partials + bytes : 0, scratch);
        if (p.dx) writeInputGradients(p, x, dy, dx, bytes, clipped, scratch);
      }
    }
  }
}

/** Mean and factor of a run, as the norm has them; true if nothing of its length enters the factor. */
function describeRun(p: NormBackwardParameters, x: usize, bytes: usize, scratch: usize): bool {
  const count = <f64>p.channels;
  let mean: f32 = 0;
  let correction: f64 = 0;
  if (p.kind == LAYER_NORM) {
    mean = <f32>(sumOf(x, bytes, 0, false) / count);
    correction = sumOf(x, bytes, mean, false) / count;
  }
  const squares = sumOf(x, bytes, mean, true);
  const epsilon = <f64>p.epsilon;
  let length = Math.sqrt(p.kind == L2_NORM ? squares : squares / count - correction * correction + epsilon);
  const clipped = p.kind == L2_NORM && length <= epsilon;
  if (clipped) length = epsilon;
  store<f32>(scratch, mean, MEAN);
  store<f32>(scratch, <f32>correction, CORRECTION);
  store<f32>(scratch, <f32>(1 / length), FACTOR);
  return clipped;
}

/** n of four channels, or of one in all lanes. */
// @ts-ignore: decorator
@inline
function normed(x: v128, means: v128, corrections: v128, factors: v128): v128 {
  return f32x4.mul(f32x4.sub(f32x4.sub(x, means), corrections), factors);
}

function addWeightGradients(x: usize, dy: usize, bytes: usize, weight: usize, bias: usize, scratch: usize): void {
  const means = v128.load32_splat(scratch, MEAN);
  const corrections = v128.load32_splat(scratch, CORRECTION);
  const factors = v128.load32_splat(scratch, FACTOR);
  const whole = bytes & ~15;
  let at: usize = 0;
  for (; at < whole; at += 16) {
    const upstream = v128.load(dy + at);
    const n = normed(v128.load(x + at), means, corrections, factors);
    v128.store(weight + at, multiplyAdd(upstream, n, v128.load(weight + at)));
    if (bias) v128.store(bias + at, f32x4.add(v128.load(bias + at), upstream));
  }
  for (; at < bytes; at += 4) {
    const upstream = v128.load32_splat(dy + at);
    const n = normed(v128.load32_splat(x + at), means, corrections, factors);
    v128.store32_lane(weight + at, multiplyAdd(upstream, n, v128.load32_splat(weight + at)), 0);
    if (bias) store<f32>(bias + at, load<f32>(bias + at) + load<f32>(dy + at));
  }
}

function writeInputGradients(
  p: NormBackwardParameters, x: usize, dy: usize, dx: usize, bytes: usize, clipped: bool, scratch: usize,
): void {
  sumGradients(p, x, dy, bytes, scratch);
  const count = p.kind == L2_NORM ? 1 : <f64>p.channels;
  const shift = f32x4.splat(p.kind == LAYER_NORM ? <f32>(load<f64>(scratch, SUM) / count) : 0);
  const slope = f32x4.splat(clipped ? 0 : <f32>(load<f64>(scratch, SUM_WITH_NORMED) / count));
  const means = v128.load32_splat(scratch, MEAN);
  const corrections = v128.load32_splat(scratch, CORRECTION);
  const factors = v128.load32_splat(scratch, FACTOR);
  const offsets = f32x4.splat(p.weight ? p.weightOffset : 0);
  let weight = p.weight || scratch;
  const weightStep: usize = p.weight ? 16 : 0;
  // What is added to: the gradient that is there, or zeros.
  let before = p.adding ? dx : scratch + 16;
  const step: usize = p.adding ? 16 : 0;
  const end = dx + bytes;
  for (const whole = dx + (bytes & ~15); dx < whole; x += 16, dy += 16, dx += 16, weight += weightStep, before += step) {
    const g = f32x4.mul(v128.load(dy), f32x4.add(v128.load(weight), offsets));
    const n = normed(v128.load(x), means, corrections, factors);
    const inner = f32x4.sub(f32x4.sub(g, shift), f32x4.mul(n, slope));
    v128.store(dx, multiplyAdd(inner, factors, v128.load(before)));
  }
  for (; dx < end; x += 4, dy += 4, dx += 4, weight += weightStep >> 2, before += step >> 2) {
    const g = f32x4.mul(v128.load32_splat(dy), f32x4.add(v128.load32_splat(weight), offsets));
    const n = normed(v128.load32_splat(x), means, corrections, factors);
    const inner = f32x4.sub(f32x4.sub(g, shift), f32x4.mul(n, slope));
    v128.store32_lane(dx, multiplyAdd(inner, factors, v128.load32_splat(before)), 0);
  }
}

/** The sums of g and of g n, to scratch. */
function sumGradients(p: NormBackwardParameters, x: usize, dy: usize, bytes: usize, scratch: usize): void {
  const means = v128.load32_splat(scratch, MEAN);
  const corrections = v128.load32_splat(scratch, CORRECTION);
  const factors = v128.load32_splat(scratch, FACTOR);
  const offsets = f32x4.splat(p.weight ? p.weightOffset : 0);
  let weight = p.weight || scratch;
  const weightStep: usize = p.weight ? 16 : 0;
  const end = x + bytes;
  const whole = x + (bytes & ~15);
  let sum: f64 = 0;
  let sumWithNormed: f64 = 0;
  while (x < whole) {
    let chain0 = f32x4.splat(0);
    let chain1 = chain0;
    let withNormed0 = chain0;
    let withNormed1 = chain0;
    const last = min(whole, x + CHAIN_BYTES);
    for (; x + 32 <= last; x += 32, dy += 32, weight += weightStep) {
      const g0 = f32x4.mul(v128.load(dy), f32x4.add(v128.load(weight), offsets));
      chain0 = f32x4.add(chain0, g0);
      withNormed0 = multiplyAdd(g0, normed(v128.load(x), means, corrections, factors), withNormed0);
      weight += weightStep;
      const g1 = f32x4.mul(v128.load(dy, 16), f32x4.add(v128.load(weight), offsets));
      chain1 = f32x4.add(chain1, g1);
      withNormed1 = multiplyAdd(g1, normed(v128.load(x, 16), means, corrections, factors), withNormed1);
    }
    for (; x < last; x += 16, dy += 16, weight += weightStep) {
      const g = f32x4.mul(v128.load(dy), f32x4.add(v128.load(weight), offsets));
      chain0 = f32x4.add(chain0, g);
      withNormed0 = multiplyAdd(g, normed(v128.load(x), means, corrections, factors), withNormed0);
    }
    sum += <f64>horizontalSum(f32x4.add(chain0, chain1));
    sumWithNormed += <f64>horizontalSum(f32x4.add(withNormed0, withNormed1));
  }
  for (; x < end; x += 4, dy += 4, weight += weightStep >> 2) {
    const g = f32x4.mul(v128.load32_splat(dy), f32x4.add(v128.load32_splat(weight), offsets));
    const product = f32x4.mul(g, normed(v128.load32_splat(x), means, corrections, factors));
    sum += <f64>f32x4.extract_lane(g, 0);
    sumWithNormed += <f64>f32x4.extract_lane(product, 0);
  }
  store<f64>(scratch, sum, SUM);
  store<f64>(scratch, sumWithNormed, SUM_WITH_NORMED);
}
