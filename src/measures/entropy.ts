// Entropy of rows of weights.

import { logarithm } from '../math/elementary.js';
import { runOverRegion } from '../ops/attention/run.js';
import type { CallScope } from '../runtime/call-scope.js';
import type { Opened } from './attention.js';

/** The entropy of a row: of a record by its kernel, which runs before what comes after it; of weights from the row. In nats. */
export function entropiesOf(
  scope: CallScope,
  { batch, heads, queries, keys, plan, statistics }: Opened,
): (
  weights: Float32Array,
  row: number,
  place: readonly [batch: number, head: number, query: number],
) => number {
  if (!plan) return (weights, row) => entropyOfRow(weights.subarray(row, row + keys));
  const entropies = scope.temporary([batch, heads, queries]);
  const region = { headFrom: 0, headTo: heads, queryFrom: 0, queryTo: queries };
  const { address, strides } = entropies;
  const [batchStride, headStride] = strides as [number, number, number];
  runOverRegion(scope, 'entropies', plan.parameters, { statistics }, region, {
    output: address,
    outputBatchStride: batchStride * 4,
    outputHeadStride: headStride * 4,
    outputRowStride: 4,
  });
  return (_weights, _row, [b, head, query]) => entropies.data[b * batchStride + head * headStride + query]!;
}

function entropyOfRow(row: Float32Array): number {
  let nats = 0;
  for (const weight of row) if (weight !== 0) nats -= weight * logarithmOf(weight);
  return nats;
}

/** NaN of what is no weight. */
function logarithmOf(weight: number): number {
  return weight > 0 && weight < Infinity ? logarithm(weight) : NaN;
}
