// Gradients of attention in float64, by their formulas, written to be read: one row at a time, whole matrices, nothing from src/.

import { referenceAttention } from './attention.js';
import type { AttentionInputs, AttentionOptions, NumericArray } from './attention.js';

export interface ReferenceGradients {
  /** [B,Hq,S,Dv], with dropout. */
  readonly output: Float64Array;
  readonly query: Float64Array;
  readonly key: Float64Array;
  readonly value: Float64Array;
  /** [B,Hq,S,T]: of what was added to each score. */
  readonly scores: Float64Array;
  /** [Hq] */
  readonly sinks: Float64Array;
  /** Of the factor on q.k. */
  readonly scale: number;
}

/**
 * @param dOutput    [B,Hq,S,Dv]
 * @param dLogSumExp [B,Hq,S]
 * @param dropped    what dropout multiplies the weight of a key in a row of [B,Hq,S] by
 */
export function referenceAttentionGradients(
  inputs: AttentionInputs,
  options: AttentionOptions,
  dOutput: NumericArray,
  dLogSumExp?: NumericArray,
  dropped: (row: number, key: number) => number = () => 1,
): ReferenceGradients {
  const { batch, queryHeads, keyHeads, queries, keys, headDim, valueHeadDim } = inputs;
  const { weights, logSumExp } = referenceAttention(inputs, options);
  const scale = options.scale ?? 1 / Math.sqrt(headDim);
  const rows = batch * queryHeads * queries;
  const output = new Float64Array(rows * valueHeadDim);
  const query = new Float64Array(rows * headDim);
  const key = new Float64Array(batch * keyHeads * keys * headDim);
  const value = new Float64Array(batch * keyHeads * keys * valueHeadDim);
  const scores = new Float64Array(rows * keys);
  const sinks = new Float64Array(queryHeads);
  let ofScale = 0;
  const group = queryHeads / keyHeads;
  for (let row = 0; row < rows; row++) {
    const head = Math.floor(row / queries) % queryHeads;
    const b = Math.floor(row / (queries * queryHeads));
    const keyRowOf = (j: number) => (b * keyHeads + Math.floor(head / group)) * keys + j;
    for (let j = 0; j < keys; j++) {
      const share = weights[row * keys + j]! * dropped(row, j);
      if (share === 0) continue;
      for (let c = 0; c < valueHeadDim; c++) {
        output[row * valueHeadDim + c]! += share * inputs.value[keyRowOf(j) * valueHeadDim + c]!;
      }
    }
    let through = -(dLogSumExp?.[row] ?? 0);
    for (let c = row * valueHeadDim; c < (row + 1) * valueHeadDim; c++) through += dOutput[c]! * output[c]!;
    const sink = options.sinks?.[head];
    if (sink !== undefined) sinks[head]! -= Math.exp(sink - logSumExp[row]!) * through;
    for (let j = 0; j < keys; j++) {
      const weight = weights[row * keys + j]!;
      if (weight === 0) continue;
      const keyRow = keyRowOf(j);
      const factor = dropped(row, j);
      let toWeight = 0;
      for (let c = 0; c < valueHeadDim; c++) {
        toWeight += factor * dOutput[row * valueHeadDim + c]! * inputs.value[keyRow * valueHeadDim + c]!;
        value[keyRow * valueHeadDim + c]! += weight * factor * dOutput[row * valueHeadDim + c]!;
      }
      let toScore = weight * (toWeight - through);
      scores[row * keys + j] = toScore;
      let product = 0;
      for (let c = 0; c < headDim; c++) {
        product += inputs.query[row * headDim + c]! * inputs.key[keyRow * headDim + c]!;
      }
      if (options.softcap) toScore *= 1 - Math.tanh((product * scale) / options.softcap) ** 2;
      ofScale += toScore * product;
      for (let c = 0; c < headDim; c++) {
        query[row * headDim + c]! += toScore * scale * inputs.key[keyRow * headDim + c]!;
        key[keyRow * headDim + c]! += toScore * scale * inputs.query[row * headDim + c]!;
      }
    }
  }
  return { output, query, key, value, scores, sinks, scale: ofScale };
}
