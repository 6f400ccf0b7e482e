// Gradients of attention that was merged of parts.

import { checkShape, mergeInput, runtimeOfParts } from '../../ops/attention/merge.js';
import type { PartialAttention } from '../../ops/attention/merge.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import { checkObject } from '../../runtime/checks.js';
import type { NamesOf } from '../../runtime/checks.js';
import { Disposable } from '../../runtime/disposable.js';
import { runtimeAmong } from '../../runtime/operation.js';
import type { Operation } from '../../runtime/operation.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Tensor } from '../../runtime/tensor.js';
import type { AttentionUpstream } from './attention-backward.js';

/** Options of `mergeAttentionBackward`. */
export interface MergeBackwardOptions {
  /** Needed only if nothing that is given holds a Tensor. */
  readonly runtime?: Runtime | undefined;
}

/** Gradients of a part. */
export interface PartialGradient {
  /** [..., queries, valueHeadDim] */
  readonly output: Tensor<'float32'>;
  /** [..., queries] */
  readonly logSumExp: Tensor<'float32'>;
}

/**
 * Gradients of the parts of `mergeAttention`: what `scaledDotProductAttentionBackward` takes for each of them. Disposing it disposes
 * all its tensors.
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const part = scaledDotProductAttention(q, k, v, { returnLogSumExp: true });
 * const merged = mergeAttention([part]);
 * const gradients = mergeAttentionBackward([part], merged, { output: merged.output });
 * gradients.parts[0].logSumExp.shape; // [1, 2, 5]
 * ```
 */
export class MergedGradients extends Disposable {
  /** One each, in order of the parts. */
  readonly parts: readonly PartialGradient[];

  /** @internal */
  constructor(parts: readonly PartialGradient[]) {
    super();
    this.parts = parts;
  }

  /** Frees the tensors. Safe to repeat. */
  dispose(): void {
    for (const { output, logSumExp } of this.parts) {
      output.dispose();
      logSumExp.dispose();
    }
  }
}

export const mergeBackwardOperation: Operation<
  [parts: readonly PartialAttention[], merged: PartialAttention, upstream: AttentionUpstream],
  MergeBackwardOptions,
  MergedGradients
> = {
  inputs: ['parts', 'merged', 'upstream'],
  options: { runtime: 1 } satisfies NamesOf<MergeBackwardOptions>,
  runtime: ([parts, merged, upstream], options) => {
    checkObject('merged', merged);
    checkObject('upstream', upstream);
    const rest = [merged.output, merged.logSumExp, upstream.output, upstream.logSumExp];
    const list: readonly (PartialAttention | undefined)[] = Array.isArray(parts) ? parts : [];
    const among = list.flatMap((part) => [part?.output, part?.logSumExp]);
    return runtimeOfParts([parts], { runtime: runtimeAmong([...among, ...rest], options) });
  },
  run: gradeParts,
};

/**
 * Gradients of `mergeAttention`: of each part's output and log-sum-exp.
 *
 * @param parts    as given to `mergeAttention`
 * @param merged   what it returned
 * @param upstream what flows into the output and the log-sum-exp of the whole
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const parts = [scaledDotProductAttention(q, k, v, { returnLogSumExp: true, returnRecord: true })];
 * const merged = mergeAttention(parts);
 * const [upstream] = mergeAttentionBackward(parts, merged, { output: merged.output }).parts;
 * scaledDotProductAttentionBackward(parts[0].record, upstream).query.shape; // [1, 2, 5, 4]
 * ```
 */
export function mergeAttentionBackward(
  parts: readonly PartialAttention[],
  merged: PartialAttention,
  upstream: AttentionUpstream,
  options: MergeBackwardOptions = {},
): MergedGradients {
  return callNow(mergeBackwardOperation, [parts, merged, upstream], options);
}

/**
 * {@link mergeAttentionBackward} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const part = scaledDotProductAttention(q, k, v, { returnLogSumExp: true });
 * const merged = mergeAttention([part]);
 * const { parts } = await mergeAttentionBackwardAsync([part], merged, { output: merged.output });
 * parts[0].output.shape; // [1, 2, 5, 4]
 * ```
 */
export function mergeAttentionBackwardAsync(
  parts: readonly PartialAttention[],
  merged: PartialAttention,
  upstream: AttentionUpstream,
  options: MergeBackwardOptions & AsyncOptions = {},
): Promise<MergedGradients> {
  return callAsync(mergeBackwardOperation, [parts, merged, upstream], options);
}

function gradeParts(
  scope: CallScope,
  [parts, merged, upstream]: readonly [readonly PartialAttention[], PartialAttention, AttentionUpstream],
): MergedGradients {
  const shape = mergeInput(scope, 'merged.output', merged.output).shape;
  const outputOf = (name: string, given: PartialAttention) => {
    const tensor = mergeInput(scope, `${name}.output`, given.output);
    checkShape(`${name}.output`, tensor, shape);
    return tensor;
  };
  const logSumExpOf = (name: string, given: PartialAttention) => {
    const tensor = mergeInput(scope, `${name}.logSumExp`, given.logSumExp);
    checkShape(`${name}.logSumExp`, tensor, shape.slice(0, -1));
    return tensor;
  };
  const outputs = parts.map((part, i) => outputOf(`parts[${i}]`, part));
  const logSumExps = parts.map((part, i) => logSumExpOf(`parts[${i}]`, part));
  const output = outputOf('merged', merged);
  const logSumExp = logSumExpOf('merged', merged);
  const dOutput = outputOf('upstream', upstream);
  const dLogSumExp = upstream.logSumExp === undefined ? undefined : logSumExpOf('upstream', upstream);
  const gradients = parts.map(() => ({
    output: scope.make(shape),
    logSumExp: scope.make(logSumExp.shape),
  }));
  const addresses = (tensors: readonly Tensor[]) =>
    scope.integers(Int32Array.from(tensors, ({ address }) => address));
  scope.run({
    pack: 'training',
    kernel: 'mergeAttentionBackward',
    args: [
      addresses(outputs),
      addresses(logSumExps),
      output.address,
      logSumExp.address,
      dOutput.address,
      dLogSumExp?.address ?? 0,
      addresses(gradients.map((part) => part.output)),
      addresses(gradients.map((part) => part.logSumExp)),
      parts.length,
      shape.at(-1)!,
    ],
    tiles: logSumExp.size,
    scratchBytes: 64,
    cost: 60 * parts.length * output.size,
  });
  return new MergedGradients(gradients);
}
