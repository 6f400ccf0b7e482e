// The gradient of a softmax, from its results.

import type { Rows } from '../../model/pass.js';
import { checkAxis } from '../../ops/rows/softmax.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { NamesOf } from '../../runtime/checks.js';
import type { SoftmaxOptions } from '../../ops/rows/softmax.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import type { Tensor } from '../../runtime/tensor.js';
import { matching } from './matching.js';

/** @internal dx of y = softmax(x), rows of so many floats; dx may be dy or y. */
function runSoftmaxBackward(
  scope: CallScope,
  y: Rows,
  dy: Omit<Rows, 'rows'>,
  dx: Omit<Rows, 'rows'>,
  columns: number,
): void {
  if (columns === 0) return;
  scope.run({
    pack: 'training',
    kernel: 'softmaxBackward',
    args: [y.address, y.rowBytes, dy.address, dy.rowBytes, dx.address, dx.rowBytes, columns],
    tiles: y.rows,
    scratchBytes: 0,
    cost: 10 * y.rows * columns,
  });
}

export const softmaxBackwardOperation: Operation<
  [output: TensorLike, upstream: TensorLike],
  SoftmaxOptions,
  Tensor<'float32'>
> = {
  inputs: ['output', 'upstream'],
  options: { axis: 1, runtime: 1 } satisfies NamesOf<SoftmaxOptions>,
  run(scope, [output, upstream], options) {
    const [y, dy] = matching(scope, 'output', output, upstream);
    const last = y.shape.length - 1;
    const axis = checkAxis(options.axis ?? -1, last);
    const dx = scope.make(y.shape);
    if (y.size === 0) return dx;
    const columns = y.shape[axis]!;
    const place = ({ address }: Tensor) => ({ address, rowBytes: columns * 4, rows: y.size / columns });
    const [lines, upstreamLines] = [y, dy].map((given) => scope.contiguous(given.transpose(axis, last))) as [
      Tensor,
      Tensor,
    ];
    const target = axis === last ? dx : scope.temporary(lines.shape);
    runSoftmaxBackward(scope, place(lines), place(upstreamLines), place(target), columns);
    if (axis !== last) scope.copy(target.transpose(axis, last), dx);
    return dx;
  },
};

/**
 * The gradient of `softmax` from its results y: y (upstream - sum of y upstream) along the axis. The runtime needs the pack `training`.
 *
 * @param output   what softmax gave, float32
 * @param upstream what flows into it, in its shape
 * @returns the gradient of the input, in its shape
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const y = softmax(runtime.tensor([0, 0]));
 * softmaxBackward(y, runtime.tensor([1, 0])).data; // [0.25, -0.25]
 * ```
 */
export function softmaxBackward(
  output: TensorLike,
  upstream: TensorLike,
  options: SoftmaxOptions = {},
): Tensor<'float32'> {
  return callNow(softmaxBackwardOperation, [output, upstream], options);
}

/**
 * {@link softmaxBackward} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const gradient = await softmaxBackwardAsync(runtime.tensor([0.5, 0.5]), runtime.tensor([1, 0]));
 * gradient.data; // [0.25, -0.25]
 * ```
 */
export function softmaxBackwardAsync(
  output: TensorLike,
  upstream: TensorLike,
  options: SoftmaxOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(softmaxBackwardOperation, [output, upstream], options);
}
