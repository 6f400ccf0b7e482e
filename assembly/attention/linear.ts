// Linear attention: another function than softmax attention, in time and memory linear in the length.
//
//   output[i] = phi(q_i) . S / phi(q_i) . z       S = sum_j phi(k_j) v_j^T,  z = sum_j phi(k_j)
//
// Causal: S and z take in key i before query i reads them. phi is elu(x) + 1 (Katharopoulos et al. 2020) or relu.
//
//   state     | constants 64 | z: headDim, phi: headDim | S: headDim x valueDim (valueHeadDim filled up to 4), sums: valueDim |

import { exp2Scalar, writeConstants } from '../math/exp2';
import { multiplyAdd } from '../math/vector';

const LOG2_E: f32 = 1.4426950408889634;

/** Feature maps. */
export const ELU: i32 = 0;
export const POSITIVE: i32 = 1;

/** What a call is. Strides are bytes; element [batch, head, row, 0] lies at pointer + batch, head and row strides. */
@unmanaged
export class LinearAttentionParameters {
  query: usize;
  queryBatchStride: usize;
  queryHeadStride: usize;
  queryRowStride: usize;
  key: usize;
  keyBatchStride: usize;
  keyHeadStride: usize;
  keyRowStride: usize;
  value: usize;
  valueBatchStride: usize;
  valueHeadStride: usize;
  valueRowStride: usize;
  output: usize;
  outputBatchStride: usize;
  outputHeadStride: usize;
  outputRowStride: usize;
  queryHeads: i32;
  keyHeads: i32;
  keys: i32;
  headDim: i32;
  valueHeadDim: i32;
  /** i32 [batch]: keys of a batch row; 0 where all have `keys`. */
  keyLengths: usize;
  /** One per tile, of `linearAttentionStateBytes`. */
  states: usize;
  /** ELU (plus 1) or POSITIVE. */
  featureMap: i32;
  /** 1 where query i reads keys up to i. */
  causal: i32;
  /** The part of the sequence that a call is about. */
  keyFrom: i32;
  keyTo: i32;
  queryFrom: i32;
  queryTo: i32;
}

/** Bytes of the state of a tile. */
export function linearAttentionStateBytes(headDim: i32, valueHeadDim: i32): usize {
  const valueDim = (valueHeadDim + 3) & ~3;
  return (64 + <usize>(((2 * headDim + 3) & ~3) + (headDim + 2) * valueDim) * 4 + 63) & ~63;
}

/**
 * Tiles [tileFrom, tileTo) of batch x keyHeads. Long sequences take several calls, which pass the state on: keys
 * [keyFrom, keyTo) are taken in, then queries [queryFrom, queryTo) read out; causal, each query right after its key.
 * `scratch` is not needed.
 */
export function linearAttention(parameters: usize, scratch: usize, tileFrom: i32, tileTo: i32): void {
  const p = changetype<LinearAttentionParameters>(parameters);
  const bytes = linearAttentionStateBytes(p.headDim, p.valueHeadDim);
  const group = p.queryHeads / p.keyHeads;
  for (let index = tileFrom; index < tileTo; index++) {
    const batch = index / p.keyHeads;
    const keyHead = index % p.keyHeads;
    const keys = p.keyLengths ? load<i32>(p.keyLengths + (<usize>batch << 2)) : p.keys;
    const space = p.states + <usize>index * bytes;
    if (p.keyFrom == 0) {
      memory.fill(space, 0, bytes);
      writeConstants(space);
    }
    for (let j = p.keyFrom; j < p.keyTo; j++) {
      if (j < keys) takeIn(p, space, batch, keyHead, j);
      if (!p.causal) continue;
      for (let head = keyHead * group; head < (keyHead + 1) * group; head++) readOut(p, space, batch, head, j);
    }
    if (p.causal) continue;
    for (let head = keyHead * group; head < (keyHead + 1) * group; head++) {
      for (let i = p.queryFrom; i < p.queryTo; i++) readOut(p, space, batch, head, i);
    }
  }
}

// @ts-ignore: decorator
@inline
function normalizer(scratch: usize): usize {
  return scratch + 64;
}

// @ts-ignore: decorator
@inline
function state(p: LinearAttentionParameters, scratch: usize): usize {
  return scratch + 64 + (<usize>((2 * p.headDim + 3) & ~3) << 2);
}

function feature(p: LinearAttentionParameters, scratch: usize, x: f32): f32 {
  // Written so that NaN stays.
  if (p.featureMap != ELU) return x < 0 ? 0 : x;
  return x > 0 ? x + 1 : exp2Scalar(x * LOG2_E, scratch);
}

/** S += phi(k) v^T, z += phi(k). */
function takeIn(p: LinearAttentionParameters, scratch: usize, batch: i32, head: i32, j: i32): void {
  const key = p.key + <usize>batch * p.keyBatchStride + <usize>head * p.keyHeadStride + <usize>j * p.keyRowStride;
  const value = p.value + <usize>batch * p.valueBatchStride + <usize>head * p.valueHeadStride + <usize>j * p.valueRowStride;
  const valueDim = (p.valueHeadDim + 3) & ~3;
  // The row of values, filled up with zeros, so that whole vectors can be read.
  const padded = state(p, scratch) + (<usize>((p.headDim + 1) * valueDim) << 2);
  memory.copy(padded, value, <usize>p.valueHeadDim << 2);
  let row = state(p, scratch);
  for (let d: usize = 0; d < <usize>p.headDim; d++) {
    const phi = feature(p, scratch, load<f32>(key + (d << 2)));
    const z = normalizer(scratch) + (d << 2);
    store<f32>(z, load<f32>(z) + phi);
    const factor = f32x4.splat(phi);
    for (let c: usize = 0; c < <usize>valueDim << 2; c += 16) {
      v128.store(row + c, multiplyAdd(factor, v128.load(padded + c), v128.load(row + c)));
    }
    row += <usize>valueDim << 2;
  }
}

/** output = phi(q) S / phi(q) z; zeros where the denominator is 0. */
function readOut(p: LinearAttentionParameters, scratch: usize, batch: i32, head: i32, i: i32): void {
  const query = p.query + <usize>batch * p.queryBatchStride + <usize>head * p.queryHeadStride + <usize>i * p.queryRowStride;
  const output = p.output + <usize>batch * p.outputBatchStride + <usize>head * p.outputHeadStride + <usize>i * p.outputRowStride;
  const valueDim = (p.valueHeadDim + 3) & ~3;
  const rowBytes = <usize>valueDim << 2;
  const sums = state(p, scratch) + <usize>p.headDim * rowBytes;
  memory.fill(sums, 0, rowBytes);
  let row = state(p, scratch);
  let denominator: f32 = 0;
  for (let d: usize = 0; d < <usize>p.headDim; d++) {
    const phi = feature(p, scratch, load<f32>(query + (d << 2)));
    denominator += phi * load<f32>(normalizer(scratch) + (d << 2));
    const factor = f32x4.splat(phi);
    for (let c: usize = 0; c < rowBytes; c += 16) {
      v128.store(sums + c, multiplyAdd(factor, v128.load(row + c), v128.load(sums + c)));
    }
    row += rowBytes;
  }
  const reciprocal: f32 = denominator == 0 ? 0 : 1 / denominator;
  for (let c: usize = 0; c < <usize>p.valueHeadDim << 2; c += 4) store<f32>(output + c, load<f32>(sums + c) * reciprocal);
}
