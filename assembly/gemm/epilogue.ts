// What is done to the sums of a product while they are in the cache, so that nothing makes a pass over memory of its own:
//
//   v = factor * (x W + bias)
//   v = activation(v), or with a gate activation(x G + gate bias) * v
//   y = v * channelScale + residual

import { activateRow } from '../math/activations';
import { PANEL, PANEL_BYTES } from './tile';

/** What is done, beside the product. */
@unmanaged
export class EpilogueParameters {
  factor: f32;
  /** A code of activations.ts, and its parameter. */
  activation: i32;
  activationParameter: f32;
  /** Panels of a second matrix of the same shape, and its bias; 0 for none. */
  gate: usize;
  gateBias: usize;
  /** A float for each column; 0 for none. */
  channelScale: usize;
  /** Rows that are added, which may be y; 0 for none. */
  residual: usize;
  residualStride: usize;
}

/**
 * Rows of `panels` panels of sums, one after the other, to columns [column, column + columns) of rows of y, of which the first
 * is row `row` of the whole. The sums are spent.
 */
export function finishRows(
  parameters: EpilogueParameters, sums: usize, gateSums: usize, rows: i32, panels: i32, row: i32, column: i32, columns: i32,
  y: usize, yStride: usize,
): void {
  const bytes = <usize>(rows * panels) * PANEL_BYTES;
  if (parameters.factor != 1) multiplyBy(sums, sums + bytes, parameters.factor);
  const activated = parameters.gate ? gateSums : sums;
  if (parameters.activation) activateRow(activated, bytes, parameters.activation, parameters.activationParameter);
  if (parameters.gate) multiply(sums, sums + bytes, gateSums);

  const at = <usize>column << 2;
  const whole = <usize>(columns & ~(PANEL - 1)) << 2;
  const end = <usize>columns << 2;
  const scale = parameters.channelScale ? parameters.channelScale + at : 0;
  let residual = parameters.residual ? parameters.residual + <usize>row * parameters.residualStride + at : 0;
  for (y += at; rows > 0; rows--, y += yStride, sums += <usize>panels * PANEL_BYTES) {
    for (let i: usize = 0; i < whole; i += PANEL_BYTES) {
      let left = v128.load(sums + i);
      let right = v128.load(sums + i, 16);
      if (scale) {
        left = f32x4.mul(left, v128.load(scale + i));
        right = f32x4.mul(right, v128.load(scale + i, 16));
      }
      if (residual) {
        left = f32x4.add(left, v128.load(residual + i));
        right = f32x4.add(right, v128.load(residual + i, 16));
      }
      v128.store(y + i, left);
      v128.store(y + i, right, 16);
    }
    // The panel that Y ends in: only the columns that exist.
    for (let i = whole; i < end; i += 4) {
      let value = load<f32>(sums + i);
      if (scale) value *= load<f32>(scale + i);
      if (residual) value += load<f32>(residual + i);
      store<f32>(y + i, value);
    }
    if (residual) residual += parameters.residualStride;
  }
}

function multiplyBy(from: usize, to: usize, factor: f32): void {
  const factors = f32x4.splat(factor);
  for (; from < to; from += 16) v128.store(from, f32x4.mul(v128.load(from), factors));
}

function multiply(from: usize, to: usize, by: usize): void {
  for (; from < to; from += 16, by += 16) v128.store(from, f32x4.mul(v128.load(from), v128.load(by)));
}
