// Gradients of activations (activation.ts), alone and gated:
//
//   y = f(x)         dx = dy f'(x)
//   y = f(g) u       dg = dy u f'(g)        du = dy f(g)
//
// Rows go through scratch in blocks, so that the functions over them need no remainders: a value's result does not depend on its place.

import { activateRow, differentiateRow } from '../math/activations';
import { multiplyAdd } from '../math/vector';

/** Channels of a block of scratch. */
const BLOCK: i32 = 1024;
const BLOCK_BYTES: usize = <usize>BLOCK << 2;
/** Bytes of scratch: blocks of slopes and of values. */
export const ACTIVATION_BACKWARD_SCRATCH_BYTES: usize = 2 * BLOCK_BYTES;

/** What one call of `activationBackward` or `gatedForward` does. Each result may lie where anything that is read lies. */
@unmanaged
export class ActivationBackwardParameters {
  /** Rows of `channels` floats: what entered the activation. */
  x: usize;
  xStride: usize;
  /** What the activation was multiplied by; 0: nothing. */
  up: usize;
  upStride: usize;
  dy: usize;
  dyStride: usize;
  dx: usize;
  dxStride: usize;
  /** With `up`: its gradient. */
  dUp: usize;
  dUpStride: usize;
  /** With `up`: f(x) up; 0: not wanted. */
  product: usize;
  productStride: usize;
  /** Without `up`: whether dx is added to. */
  adding: i32;
  channels: i32;
  /** Code of the activation. */
  activation: i32;
  /** That of SOFTCAP. */
  parameter: f32;
}

/** Rows [rowFrom, rowTo). */
export function activationBackward(parameters: usize, scratch: usize, rowFrom: i32, rowTo: i32): void {
  const p = changetype<ActivationBackwardParameters>(parameters);
  for (let row = <usize>rowFrom; row < <usize>rowTo; row++) {
    for (let channel = 0; channel < p.channels; channel += BLOCK) {
      const at = <usize>channel << 2;
      const bytes = <usize>min(BLOCK, p.channels - channel) << 2;
      const x = p.x + row * p.xStride + at;
      const dy = p.dy + row * p.dyStride + at;
      const dx = p.dx + row * p.dxStride + at;
      const filled = copyFilled(scratch, x, bytes);
      if (p.up) copyFilled(scratch + BLOCK_BYTES, x, bytes);
      differentiateRow(scratch, filled, p.activation, p.parameter);
      if (!p.up) {
        multiplyInto(scratch, dy, dx, bytes, p.adding);
        continue;
      }
      activateRow(scratch + BLOCK_BYTES, filled, p.activation, p.parameter);
      const product = p.product ? p.product + row * p.productStride + at : 0;
      gatedGradients(scratch, p.up + row * p.upStride + at, dy, dx, p.dUp + row * p.dUpStride + at, product, bytes);
    }
  }
}

/** product = f(x) up, rows [rowFrom, rowTo). */
export function gatedForward(parameters: usize, scratch: usize, rowFrom: i32, rowTo: i32): void {
  const p = changetype<ActivationBackwardParameters>(parameters);
  for (let row = <usize>rowFrom; row < <usize>rowTo; row++) {
    for (let channel = 0; channel < p.channels; channel += BLOCK) {
      const at = <usize>channel << 2;
      const bytes = <usize>min(BLOCK, p.channels - channel) << 2;
      const filled = copyFilled(scratch, p.x + row * p.xStride + at, bytes);
      activateRow(scratch, filled, p.activation, p.parameter);
      multiplyInto(scratch, p.up + row * p.upStride + at, p.product + row * p.productStride + at, bytes, 0);
    }
  }
}

/** Copies floats, fills the last vector up with zeros, and returns the bytes of whole vectors. */
function copyFilled(target: usize, source: usize, bytes: usize): usize {
  const filled = (bytes + 15) & ~15;
  v128.store(target + filled - 16, f32x4.splat(0));
  memory.copy(target, source, bytes);
  return filled;
}

/** y = factors * x, or that added to y. */
function multiplyInto(factors: usize, x: usize, y: usize, bytes: usize, adding: i32): void {
  const kept = i32x4.splat(-adding);
  const whole = bytes & ~15;
  let at: usize = 0;
  for (; at < whole; at += 16) {
    const before = v128.and(v128.load(y + at), kept);
    v128.store(y + at, multiplyAdd(v128.load(factors + at), v128.load(x + at), before));
  }
  for (; at < bytes; at += 4) {
    const before = v128.and(v128.load32_splat(y + at), kept);
    v128.store32_lane(y + at, multiplyAdd(v128.load32_splat(factors + at), v128.load32_splat(x + at), before), 0);
  }
}

/** All gradients of f(x) up, of which scratch has f'(x), and f(x) behind it. */
function gatedGradients(scratch: usize, up: usize, dy: usize, dx: usize, dUp: usize, product: usize, bytes: usize): void {
  const whole = bytes & ~15;
  let at: usize = 0;
  for (; at < whole; at += 16) {
    const value = v128.load(scratch + at, BLOCK_BYTES);
    const factor = v128.load(up + at);
    const upstream = v128.load(dy + at);
    v128.store(dx + at, f32x4.mul(f32x4.mul(upstream, factor), v128.load(scratch + at)));
    v128.store(dUp + at, f32x4.mul(upstream, value));
    // As `gatedForward` has it, to the sign of zeros.
    if (product) v128.store(product + at, f32x4.add(f32x4.mul(value, factor), f32x4.splat(0)));
  }
  for (; at < bytes; at += 4) {
    const value = load<f32>(scratch + at, BLOCK_BYTES);
    const factor = load<f32>(up + at);
    const upstream = load<f32>(dy + at);
    store<f32>(dx + at, upstream * factor * load<f32>(scratch + at));
    store<f32>(dUp + at, upstream * value);
    if (product) store<f32>(product + at, value * factor + 0);
  }
}
