// The mean squared error.

import { ERROR_BLOCK } from '../../../build/kernels.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { NamesOf } from '../../runtime/checks.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import type { Tensor } from '../../runtime/tensor.js';
import { matching } from '../ops/matching.js';
import { factorOf, whenSummed } from './loss.js';
import type { LossOptions } from './loss.js';

/** Result of `meanSquaredError`. */
export interface SquaredErrorResult {
  /** 0 where there are no elements. */
  readonly loss: number;
  /** The gradient of the input, in its shape; that of the target is its negative. */
  readonly gradient: Tensor<'float32'>;
}

export const meanSquaredErrorOperation: Operation<
  [input: TensorLike, target: TensorLike],
  LossOptions,
  SquaredErrorResult
> = {
  inputs: ['input', 'target'],
  options: { factor: 1, runtime: 1 } satisfies NamesOf<LossOptions>,
  run(scope, [input, target], options) {
    const [given, wanted] = matching(scope, 'input', input, target, 'target');
    const factor = factorOf(options);
    const gradient = scope.make(given.shape);
    const count = given.size;
    const [x, y] = [scope.contiguous(given), scope.contiguous(wanted)];
    const sums = scope.temporary([Math.ceil(count / ERROR_BLOCK)]);
    scope.run({
      pack: 'training',
      kernel: 'squaredErrors',
      args: [
        ...([x.address, y.address, count, sums.address, gradient.address] as const),
        scope.floats([(2 * factor) / count]),
      ],
      tiles: sums.size,
      scratchBytes: 0,
      cost: 5 * count,
    });
    const result = { loss: 0, gradient };
    whenSummed(scope, sums, (sum) => (result.loss = sum / Math.max(1, count)));
    return result;
  },
};

/**
 * The mean of (input - target)^2 over all elements, and its gradient. The runtime needs the pack `training`.
 *
 * @param input  any shape, float32
 * @param target of the input's shape
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const { loss, gradient } = meanSquaredError(runtime.tensor([1, 5]), runtime.tensor([1, 3]));
 * loss; // 2
 * gradient.data; // [0, 2]
 * ```
 */
export function meanSquaredError(
  input: TensorLike,
  target: TensorLike,
  options: LossOptions = {},
): SquaredErrorResult {
  return callNow(meanSquaredErrorOperation, [input, target], options);
}

/**
 * {@link meanSquaredError} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const { loss } = await meanSquaredErrorAsync(runtime.tensor([1, 5]), runtime.tensor([1, 3]));
 * loss; // 2
 * ```
 */
export function meanSquaredErrorAsync(
  input: TensorLike,
  target: TensorLike,
  options: LossOptions & AsyncOptions = {},
): Promise<SquaredErrorResult> {
  return callAsync(meanSquaredErrorOperation, [input, target], options);
}
