// The place of the largest number along the last axis.

import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { NamesOf } from '../../runtime/checks.js';
import { shapeError } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Tensor } from '../../runtime/tensor.js';

/** @internal An integer at y for each row of x. */
function runArgmax(
  scope: CallScope,
  x: { address: number; rowBytes: number; rows: number },
  columns: number,
  y: number,
): void {
  scope.run({
    pack: 'model',
    kernel: 'argmaxRows',
    args: [x.address, x.rowBytes, columns, y],
    tiles: x.rows,
    scratchBytes: 0,
    cost: 10 * x.rows * columns,
  });
}

/** Options of `argmax`. */
export interface ArgmaxOptions {
  /** Needed only if the input is not a Tensor. */
  readonly runtime?: Runtime | undefined;
}

export const argmaxOperation: Operation<[input: TensorLike], ArgmaxOptions, Tensor<'int32'>> = {
  inputs: ['input'],
  options: { runtime: 1 } satisfies NamesOf<ArgmaxOptions>,
  run(scope, [input]) {
    const given = scope.tensor('input', input);
    checkDataType('input', given, 'float32');
    const columns = given.shape.at(-1) ?? 0;
    if (columns === 0) throw shapeError('input', '[..., columns], at least one', given.shape);
    const y = scope.make(given.shape.slice(0, -1), 'int32');
    const x = scope.contiguous(given);
    runArgmax(scope, { address: x.address, rowBytes: columns * 4, rows: y.size }, columns, y.address);
    return y;
  },
};

/**
 * The place of the largest number along the last axis: of equal ones the first; NaN is larger than all others, as in PyTorch. The
 * runtime needs the pack `model`.
 *
 * @param input [..., columns], float32
 * @returns the input's shape without its last axis, int32
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * argmax(runtime.tensor([1, 7, 7, 5, 4, 3], [2, 3])).data; // [1, 0]
 * ```
 */
export function argmax(input: TensorLike, options: ArgmaxOptions = {}): Tensor<'int32'> {
  return callNow(argmaxOperation, [input], options);
}

/**
 * {@link argmax} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const y = await argmaxAsync(runtime.tensor([1, 7, 7], [1, 3]));
 * y.data; // [1]
 * ```
 */
export function argmaxAsync(
  input: TensorLike,
  options: ArgmaxOptions & AsyncOptions = {},
): Promise<Tensor<'int32'>> {
  return callAsync(argmaxOperation, [input], options);
}
