// Cross entropy of rows of logits with one label each, fused with its softmax p, and its gradient, which may lie where the logits do:
//
//   loss = (1 - smoothing) (log sum exp x - x[label]) + smoothing (log sum exp x - mean of x)
//   dx   = factor (p - (1 - smoothing) [label] - smoothing / vocabulary)
//
// Logits are taken relative to their maximum, so that huge ones do not overflow; -Infinity has p = 0. A row that holds NaN, +Infinity or
// nothing but -Infinity has a loss and gradients that are NaN. A row without a label has loss 0 and gradients 0.

import { exp2Row, LOG2_E, writeConstants } from '../math/exp2';
import { naturalLogarithm } from '../math/logarithm';
import { horizontalMaximum, multiplyAdd } from '../math/vector';
import { sumOf } from './norm';

/** Bytes of logits that go through scratch together: sums of so many are of single precision. */
const CHUNK_BYTES: usize = 1024;
/** Bytes of scratch: constants, and a chunk. */
export const CROSS_ENTROPY_SCRATCH_BYTES: usize = 64 + CHUNK_BYTES;

/** What one call of `crossEntropyRows` does. */
@unmanaged
export class CrossEntropyParameters {
  /** Rows of `vocabulary` floats. */
  x: usize;
  xStride: usize;
  vocabulary: i32;
  /** i32, one a row; negative: the row does not count. */
  labels: usize;
  /** Floats, one a row. */
  losses: usize;
  /** May be x; 0: not wanted. */
  gradient: usize;
  gradientStride: usize;
  /** Of all gradients. */
  factor: f32;
  /** Floats, one a row, by which its gradients are multiplied besides; 0: ones. */
  upstream: usize;
  smoothing: f32;
}

/** Rows [rowFrom, rowTo). */
export function crossEntropyRows(parameters: usize, scratch: usize, rowFrom: i32, rowTo: i32): void {
  const p = changetype<CrossEntropyParameters>(parameters);
  writeConstants(scratch);
  const bytes = <usize>p.vocabulary << 2;
  for (let row = <usize>rowFrom; row < <usize>rowTo; row++) {
    const label = load<i32>(p.labels + (row << 2));
    const gradient = p.gradient ? p.gradient + row * p.gradientStride : 0;
    if (label < 0) {
      store<f32>(p.losses + (row << 2), 0);
      if (gradient) memory.fill(gradient, 0, bytes);
      continue;
    }
    const x = p.x + row * p.xStride;
    const place = <usize>label << 2;
    const maximum = maximumOf(x, bytes);
    const own = load<f32>(x + place);
    const smoothing = <f64>p.smoothing;
    let distance = (1 - smoothing) * (<f64>maximum - <f64>own);
    if (smoothing != 0) distance -= smoothing * (sumOf(x, bytes, maximum, false) / <f64>p.vocabulary);
    const sum = sumOfExponentials(x, bytes, maximum, gradient, scratch);
    // The maximum itself counts 1. Of NaN there is no logarithm.
    store<f32>(p.losses + (row << 2), sum >= 1 ? <f32>(distance + naturalLogarithm(sum)) : NaN);
    if (!gradient) continue;
    const factor = p.upstream ? p.factor * load<f32>(p.upstream + (row << 2)) : p.factor;
    const everywhere = (factor * p.smoothing) / <f32>p.vocabulary;
    scaleRow(gradient, bytes, <f32>(<f64>factor / sum), -everywhere);
    store<f32>(gradient + place, load<f32>(gradient + place) - factor * (1 - p.smoothing));
  }
}

/** NaN is passed over. */
function maximumOf(x: usize, bytes: usize): f32 {
  const end = x + bytes;
  let maxima = f32x4.splat(-Infinity);
  for (const whole = x + (bytes & ~15); x < whole; x += 16) maxima = f32x4.pmax(maxima, v128.load(x));
  for (; x < end; x += 4) maxima = f32x4.pmax(maxima, v128.load32_splat(x));
  return horizontalMaximum(maxima);
}

/** The sum of e^(x - maximum), which are written to y if there is one. */
function sumOfExponentials(x: usize, bytes: usize, maximum: f32, y: usize, scratch: usize): f64 {
  const chunk = scratch + 64;
  const shift = f32x4.splat(maximum);
  const scale = f32x4.splat(LOG2_E);
  let sum: f64 = 0;
  for (let at: usize = 0; at < bytes; at += CHUNK_BYTES) {
    const size = min(CHUNK_BYTES, bytes - at);
    const end = chunk + ((size + 31) & ~31);
    memory.copy(chunk, x + at, size);
    // What fills up comes afterwards, as -Infinity less a maximum of -Infinity is NaN.
    for (let from = chunk; from < chunk + size; from += 16) {
      v128.store(from, f32x4.mul(f32x4.sub(v128.load(from), shift), scale));
    }
    for (let from = chunk + size; from < end; from += 4) store<f32>(from, -Infinity);
    sum += <f64>exp2Row(chunk, end, 0, scratch);
    if (y) memory.copy(y + at, chunk, size);
  }
  return sum;
}

/** y = y * factor + offset */
function scaleRow(y: usize, bytes: usize, factor: f32, offset: f32): void {
  const factors = f32x4.splat(factor);
  const offsets = f32x4.splat(offset);
  const end = y + bytes;
  for (const whole = y + (bytes & ~15); y < whole; y += 16) v128.store(y, multiplyAdd(v128.load(y), factors, offsets));
  for (; y < end; y += 4) v128.store32_lane(y, multiplyAdd(v128.load32_splat(y), factors, offsets), 0);
}
