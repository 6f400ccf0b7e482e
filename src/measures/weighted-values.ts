// The attention of a record once more, with other values.

import { attentionInput } from '../ops/attention/plan.js';
import { AttentionRecord } from '../ops/attention/record.js';
import { checkValue, runPlan } from '../ops/attention/scaled-dot-product-attention.js';
import { runtimeOfAttention } from '../ops/attention/weights.js';
import { callAsync, callNow } from '../runtime/call.js';
import type { AsyncOptions } from '../runtime/call.js';
import { checkInstance } from '../runtime/checks.js';
import { AttentionError } from '../runtime/errors.js';
import type { TensorLike } from '../runtime/inputs.js';
import type { Operation } from '../runtime/operation.js';
import type { Tensor } from '../runtime/tensor.js';

const weightedValuesOperation: Operation<
  [record: AttentionRecord, value: TensorLike],
  object,
  Tensor<'float32'>
> = {
  inputs: ['record', 'value'],
  options: {},
  runtime: ([record]) =>
    runtimeOfAttention([checkInstance('record', record, AttentionRecord), undefined], {}),
  run(scope, [record, given]) {
    const plan = record.plan(scope);
    if (!record.keys) {
      throw new AttentionError({
        code: 'UNSUPPORTED',
        argument: 'record',
        expected: 'a record with keys of its own',
        received: 'one whose keys lie in pages of a cache, beside their values',
      });
    }
    const value = attentionInput(scope, 'value', given);
    checkValue(value, record.keys);
    return runPlan(scope, plan, value, {}).output;
  },
};

/**
 * W V with the weights of a record and other values: where what they stand for arrives. Fused, as the attention was: the matrix of weights is
 * never held. Any function of the tokens can be a value, such as the indicator of a word or a token's part in a sum.
 *
 * @param record of an attention without a cache
 * @param value  [batch, keyValueHeads, keys, valueHeadDim]
 * @returns [batch, heads, queries, valueHeadDim]
 * @throws AttentionError INVALID_ARGUMENT, INVALID_SHAPE, INVALID_DTYPE, UNSUPPORTED, DISPOSED, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * const { record } = scaledDotProductAttention(q, k, v, { causal: true, returnRecord: true });
 * const ones = { data: new Float32Array(10).fill(1), shape: [1, 2, 5, 1] };
 * weightedValues(record, ones).shape; // [1, 2, 5, 1]: sums of the weights
 * ```
 */
export function weightedValues(record: AttentionRecord, value: TensorLike): Tensor<'float32'> {
  return callNow(weightedValuesOperation, [record, value], {});
}

/**
 * {@link weightedValues} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const { record } = scaledDotProductAttention(q, k, v, { returnRecord: true });
 * const again = await weightedValuesAsync(record, v); // what the attention itself gave
 * again.shape; // [1, 2, 5, 4]
 * ```
 */
export function weightedValuesAsync(
  record: AttentionRecord,
  value: TensorLike,
  options: AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(weightedValuesOperation, [record, value], options);
}
