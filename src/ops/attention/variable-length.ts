// Attention over sequences packed one after the other, each on its own: no padding is computed or stored.

import { checkCumulative } from '../../masks/mask.js';
import type { IntegerList } from '../../masks/mask.js';
import { AttentionError, describe } from '../../runtime/errors.js';
import { CallScope, checkDataType, findRuntime, shapeError } from '../../runtime/inputs.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Tensor } from '../../runtime/tensor.js';
import type { AttentionOptions } from './options.js';
import { scaledDotProductAttention } from './scaled-dot-product-attention.js';

export interface VariableLengthOptions extends Pick<
  AttentionOptions,
  | 'scale'
  | 'temperature'
  | 'softcap'
  | 'causal'
  | 'window'
  | 'alibi'
  | 'relativePositionBias'
  | 'sinks'
  | 'runtime'
> {
  /** [0, end of the first sequence, ..., total queries]. */
  readonly cumulativeQueries: IntegerList;
  /** The same for keys. Default cumulativeQueries. */
  readonly cumulativeKeys?: IntegerList | undefined;
}

/**
 * Attention of packed sequences, each aligned on its own (FlashAttention's varlen).
 *
 * @param query [total queries, heads, headDim]
 * @param key   [total keys, keyValueHeads, headDim]
 * @param value [total keys, keyValueHeads, valueHeadDim]
 * @returns [total queries, heads, valueHeadDim]
 */
export function variableLengthAttention(
  query: TensorLike,
  key: TensorLike,
  value: TensorLike,
  options: VariableLengthOptions,
): Tensor {
  const runtime = findRuntime(options.runtime, [query, key, value]);
  const scope = new CallScope(runtime);
  let output: Tensor | undefined;
  try {
    const [q, k, v] = [
      packed(scope, 'query', query),
      packed(scope, 'key', key),
      packed(scope, 'value', value),
    ] as const;
    const { cumulativeQueries, cumulativeKeys, ...rest } = options;
    const queryBounds = bounds('cumulativeQueries', cumulativeQueries, q);
    const keyBounds = bounds('cumulativeKeys', cumulativeKeys ?? cumulativeQueries, k);
    if (queryBounds.length !== keyBounds.length) {
      throw shapeError('cumulativeKeys', `${queryBounds.length} bounds like cumulativeQueries`, [
        keyBounds.length,
      ]);
    }
    if (v.shape[0] !== k.shape[0] || v.shape[1] !== k.shape[1]) {
      throw shapeError('value', `[${k.shape[0]}, ${k.shape[1]}, valueHeadDim]`, v.shape);
    }
    output = runtime.empty([q.shape[0]!, q.shape[1]!, v.shape[2]!]);
    for (let i = 1; i < queryBounds.length; i++) {
      const queries = sequence(q, queryBounds[i - 1]!, queryBounds[i]!);
      const keys = sequence(k, keyBounds[i - 1]!, keyBounds[i]!);
      const values = sequence(v, keyBounds[i - 1]!, keyBounds[i]!);
      const place = sequence(output, queryBounds[i - 1]!, queryBounds[i]!);
      if (place.size > 0) scaledDotProductAttention(queries, keys, values, { ...rest, output: place });
    }
    return output;
  } catch (error) {
    output?.dispose();
    throw error;
  } finally {
    scope.release();
  }
}

function packed(scope: CallScope, argument: string, input: TensorLike): Tensor {
  const tensor = scope.tensor(argument, input);
  checkDataType(argument, tensor, 'float32');
  if (tensor.shape.length !== 3) throw shapeError(argument, '[total, heads, dim]', tensor.shape);
  return tensor;
}

function bounds(argument: string, cumulative: IntegerList, tensor: Tensor): Int32Array {
  const checked = checkCumulative(argument, cumulative);
  const total = tensor.shape[0]!;
  if (checked.at(-1) === total) return checked;
  throw new AttentionError({
    code: 'INVALID_ARGUMENT',
    argument,
    expected: `a last bound of ${total}, the packed length`,
    received: describe(checked.at(-1)),
  });
}

/** Tokens [from, to) as [1, heads, length, dim]. */
function sequence(tensor: Tensor, from: number, to: number): Tensor {
  const part = tensor.slice(0, from, to).transpose(0, 1);
  return part.withLayout([1, ...part.shape], [0, ...part.strides]);
}
