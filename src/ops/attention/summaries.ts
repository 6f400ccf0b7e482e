// What the weights say, without holding them: received weight of each key, entropy of each row, top keys of each row.
// Memory is that of the answer, at any length.

import { AttentionError, describe } from '../../runtime/errors.js';
import { CallScope, findRuntime } from '../../runtime/inputs.js';
import type { TensorLike } from '../../runtime/inputs.js';
import { disposeSymbol } from '../../runtime/tensor.js';
import type { Tensor } from '../../runtime/tensor.js';
import type { AttentionOptions } from './options.js';
import { PARAMETER_BYTES, writeParameters } from './parameters.js';
import type { Parameters } from './parameters.js';
import { attentionInput, planAttention } from './plan.js';
import { checkRegion, statisticsAddress } from './weights.js';
import type { Range } from './weights.js';

export interface SummaryOptions extends AttentionOptions {
  /** What the fused pass returned for `returnStatistics`, with the same options. Computed anew if absent. */
  readonly statistics?: Tensor | undefined;
}

export interface ReceivedWeightOptions extends SummaryOptions {
  /** Only these queries count. Default all. */
  readonly queries?: Range | undefined;
}

/** How much weight each key receives: the sum over queries, [batch, heads, keys]. */
export function receivedWeight(
  query: TensorLike,
  key: TensorLike,
  options: ReceivedWeightOptions = {},
): Tensor {
  return summarize(query, key, options, (scope, parameters, sizes) => {
    const output = scope.runtime.empty([sizes.batch, sizes.heads, sizes.keys]);
    const region = checkRegion({ queries: options.queries }, sizes);
    if (output.size > 0 && sizes.queries === 0) output.data.fill(0);
    const run = {
      ...region,
      output: output.address,
      outputBatchStride: sizes.heads * sizes.keys * 4,
      outputHeadStride: sizes.keys * 4,
    };
    return { output, parameters: { ...parameters, ...run }, kernel: 'columnSums' };
  });
}

/** Entropy of each row of weights in nats, [batch, heads, queries]: 0 looks at one key, ln(keys) at all alike. */
export function attentionEntropy(query: TensorLike, key: TensorLike, options: SummaryOptions = {}): Tensor {
  return summarize(query, key, options, (scope, parameters, sizes) => {
    const output = scope.runtime.empty([sizes.batch, sizes.heads, sizes.queries]);
    const run = {
      output: output.address,
      outputBatchStride: sizes.heads * sizes.queries * 4,
      outputHeadStride: sizes.queries * 4,
      outputRowStride: 4,
    };
    return { output, parameters: { ...parameters, ...run }, kernel: 'entropies' };
  });
}

/** The largest weights of each row and the keys they belong to. */
export class TopKeys {
  /** [batch, heads, queries, count], falling; 0 where a row has fewer keys. */
  readonly weights: Float32Array;
  /** [batch, heads, queries, count]; -1 where a row has fewer keys. Of equal weights the lower key comes first. */
  readonly keys: Int32Array;

  /** @internal */
  constructor(weights: Float32Array, keys: Int32Array) {
    this.weights = weights;
    this.keys = keys;
  }
}

/** The `count` keys with the largest weights of each row. */
export function topKeys(
  query: TensorLike,
  key: TensorLike,
  count: number,
  options: SummaryOptions = {},
): TopKeys {
  if (!Number.isInteger(count) || count < 1) {
    throw new AttentionError({
      code: 'INVALID_ARGUMENT',
      argument: 'count',
      expected: 'an integer >= 1',
      received: describe(count),
    });
  }
  const packed = summarize(query, key, options, (scope, parameters, sizes) => {
    const output = scope.runtime.empty([sizes.batch, sizes.heads, sizes.queries, 2 * count]);
    const rowBytes = 8 * count;
    const run = {
      output: output.address,
      outputBatchStride: sizes.heads * sizes.queries * rowBytes,
      outputHeadStride: sizes.queries * rowBytes,
      outputRowStride: rowBytes,
      count,
    };
    return { output, parameters: { ...parameters, ...run }, kernel: 'topKeys' };
  });
  const { data } = packed;
  const words = new Int32Array(data.buffer, data.byteOffset, data.length);
  const weights = new Float32Array(data.length / 2);
  const keys = new Int32Array(data.length / 2);
  for (let row = 0; row * count < weights.length; row++) {
    weights.set((data as Float32Array).subarray(2 * row * count, (2 * row + 1) * count), row * count);
    keys.set(words.subarray((2 * row + 1) * count, (2 * row + 2) * count), row * count);
  }
  packed[disposeSymbol]();
  return new TopKeys(weights, keys);
}

type Sizes = ReturnType<typeof planAttention>['sizes'];

interface Run {
  readonly output: Tensor;
  readonly parameters: Parameters;
  readonly kernel: 'columnSums' | 'entropies' | 'topKeys';
}

function summarize(
  query: TensorLike,
  key: TensorLike,
  options: SummaryOptions,
  prepare: (scope: CallScope, parameters: Parameters, sizes: Sizes) => Run,
): Tensor {
  const runtime = findRuntime(options.runtime, [query, key]);
  const scope = new CallScope(runtime);
  let output: Tensor | undefined;
  try {
    const q = attentionInput(scope, 'query', query);
    const k = attentionInput(scope, 'key', key);
    const plan = planAttention(scope, q, k, options, 4);
    const statistics = statisticsAddress(scope, plan, options.statistics);
    const run = prepare(scope, { ...plan.parameters, statistics }, plan.sizes);
    output = run.output;
    if (output.size === 0 || plan.sizes.queries === 0) return output;
    const { kernels, linearMemory } = runtime;
    const block = scope.allocate(PARAMETER_BYTES);
    writeParameters(linearMemory.buffer, block, run.parameters);
    const scratch = scope.allocate(kernels.workspaceBytes(block));
    const tiles = run.kernel === 'columnSums' ? kernels.columnTiles(block) : kernels.attentionTiles(block);
    kernels[run.kernel](block, scratch, 0, tiles);
    return output;
  } catch (error) {
    output?.dispose();
    throw error;
  } finally {
    scope.release();
  }
}
