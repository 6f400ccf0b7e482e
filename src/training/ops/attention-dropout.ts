// Attention with dropout of weights, of which the backward pass knows by the record.

import type { AttentionParameters, ForwardParameters } from '../../../build/kernels.js';
import { weightDropoutParameters } from '../../../build/kernels.js';
import { SCALED_DOT_PRODUCT_ATTENTION_NAMES } from '../../ops/attention/options.js';
import type { Asked, ScaledDotProductAttentionOptions } from '../../ops/attention/options.js';
import { attentionBlock, forwardBlock } from '../../ops/attention/parameters.js';
import type { AttentionRecord } from '../../ops/attention/record.js';
import { planAndAttend } from '../../ops/attention/scaled-dot-product-attention.js';
import type { AttentionResult } from '../../ops/attention/scaled-dot-product-attention.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { NamesOf } from '../../runtime/checks.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import { ParameterBlock } from '../../runtime/parameters.js';
import { dropoutWords } from './dropout.js';
import type { Dropout } from './dropout.js';

const dropoutBlock = /* @__PURE__ */ new ParameterBlock(weightDropoutParameters);

/** Options of `droppedAttention`: those of attention, and which weights are left out. */
export interface DroppedAttentionOptions<
  Weights extends Asked = Asked,
  LogSumExp extends Asked = Asked,
  Statistics extends Asked = Asked,
  Recorded extends Asked = Asked,
> extends ScaledDotProductAttentionOptions<Weights, LogSumExp, Statistics, Recorded> {
  /** Which part of the weights is left out, 0 to below 1; the others are divided by what is left. */
  readonly dropout: number;
  /** An integer from 0 to 2^53 - 1, of which, with head, query and key, the weights that are left out are a function. */
  readonly seed: number;
}

export const droppedAttentionOperation: Operation<
  [query: TensorLike, key: TensorLike, value: TensorLike],
  DroppedAttentionOptions,
  AttentionResult
> = {
  inputs: ['query', 'key', 'value'],
  options: /* @__PURE__ */ Object.assign(
    { dropout: 1, seed: 1 } satisfies NamesOf<
      Omit<DroppedAttentionOptions, keyof ScaledDotProductAttentionOptions>
    >,
    SCALED_DOT_PRODUCT_ATTENTION_NAMES,
  ),
  run(scope, inputs, { dropout: rate, seed, ...options }) {
    const dropout = { rate, seed, site: 0 };
    const result = planAndAttend(scope, inputs, options, droppedForward(dropout));
    if (result.record) dropouts.set(result.record, dropout);
    return result;
  },
};

/** What records of attention with dropout left out. */
const dropouts = /* @__PURE__ */ new WeakMap<AttentionRecord, Dropout>();

/** @internal What the attention of a record left out. */
export function dropoutOf(record: AttentionRecord): Dropout | undefined {
  return dropouts.get(record);
}

/**
 * `scaledDotProductAttention` with dropout of its weights, for training: `scaledDotProductAttentionBackward` of its record leaves out
 * the same. Returned weights and log-sum-exps are those without dropout.
 *
 * @param query [batch, heads, queries, headDim]
 * @param key   [batch, keyValueHeads, keys, headDim]
 * @param value [batch, keyValueHeads, keys, valueHeadDim]
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const { output, record } = droppedAttention(q, k, v, { dropout: 0.1, seed: 7, returnRecord: true });
 * scaledDotProductAttentionBackward(record, { output }).value.shape; // [1, 2, 5, 4]
 * ```
 */
export function droppedAttention<
  Weights extends Asked = undefined,
  LogSumExp extends Asked = undefined,
  Statistics extends Asked = undefined,
  Recorded extends Asked = undefined,
>(
  query: TensorLike,
  key: TensorLike,
  value: TensorLike,
  options: DroppedAttentionOptions<Weights, LogSumExp, Statistics, Recorded>,
): AttentionResult<Weights, LogSumExp, Statistics, Recorded> {
  return callNow(droppedAttentionOperation, [query, key, value], options);
}

/**
 * {@link droppedAttention} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const { output } = await droppedAttentionAsync(q, k, v, { dropout: 0.1, seed: 7, causal: true });
 * ```
 */
export function droppedAttentionAsync<
  Weights extends Asked = undefined,
  LogSumExp extends Asked = undefined,
  Statistics extends Asked = undefined,
  Recorded extends Asked = undefined,
>(
  query: TensorLike,
  key: TensorLike,
  value: TensorLike,
  options: DroppedAttentionOptions<Weights, LogSumExp, Statistics, Recorded> & AsyncOptions,
): Promise<AttentionResult<Weights, LogSumExp, Statistics, Recorded>> {
  return callAsync(droppedAttentionOperation, [query, key, value], options);
}

/** @internal The address of the words of a dropout. */
export function placeDropout(scope: CallScope, dropout: Dropout): number {
  const address = scope.allocate(dropoutBlock.bytes);
  dropoutBlock.write(scope.runtime.linearMemory, address, [dropoutWords(dropout)]);
  return address;
}

/** @internal What runs the forward pass of a plan with dropout, for `runPlan`. */
export function droppedForward(dropout: Dropout) {
  return (scope: CallScope, plan: AttentionParameters, ...parts: readonly ForwardParameters[]): void => {
    const { batch, queryHeads, queries, keys, headDim } = plan;
    const words = placeDropout(scope, dropout);
    if (!batch) return;
    const { kernels, linearMemory } = scope.runtime;
    const valueHeadDim = parts.reduce((dim, part) => part.valueHeadDim ?? dim, 0);
    const parameters = scope.allocate(attentionBlock.bytes + forwardBlock.bytes);
    const own = parameters + attentionBlock.bytes;
    attentionBlock.write(linearMemory, parameters, [plan]);
    forwardBlock.write(linearMemory, own, parts);
    scope.run({
      pack: 'training',
      kernel: 'droppedAttention',
      args: [parameters, own, words],
      tiles: kernels.attentionTiles(parameters),
      scratchBytes: kernels.workspaceBytes(parameters, valueHeadDim),
      // Random words cost as much as some 30 channels.
      cost: 2 * batch * queryHeads! * queries! * (keys! + 1) * (headDim! + valueHeadDim + 30),
    });
  };
}
