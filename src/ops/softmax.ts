// Softmax along an axis.

import { AttentionError, describe } from '../runtime/errors.js';
import { CallScope, checkDataType, findRuntime } from '../runtime/inputs.js';
import type { TensorLike } from '../runtime/inputs.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Tensor } from '../runtime/tensor.js';

export interface SoftmaxOptions {
  /** Axis along which the results sum to 1; negative counts from the end. Default -1. */
  readonly axis?: number | undefined;
  /** Needed only if the input is not a Tensor. */
  readonly runtime?: Runtime | undefined;
}

/**
 * exp(x - max) / sum along an axis; the result has the input's shape. A line of -Infinity alone gives zeros; a line that
 * holds NaN or +Infinity gives NaN.
 */
export function softmax(input: TensorLike, options: SoftmaxOptions = {}): Tensor {
  const runtime = findRuntime(options.runtime, [input]);
  const scope = new CallScope(runtime);
  let result: Tensor | undefined;
  try {
    const x = scope.tensor('input', input);
    checkDataType('input', x, 'float32');
    const last = x.shape.length - 1;
    const axis = checkAxis(options.axis ?? -1, last);
    result = runtime.empty(x.shape);
    if (x.size === 0) return result;
    if (axis === last && x.contiguous) {
      runSoftmax(scope, x, result);
      return result;
    }
    const lines = x.transpose(axis, last);
    const moved = scope.keep(runtime.empty(lines.shape)).set(lines.toFloat32Array());
    runSoftmax(scope, moved, moved);
    return result.set(moved.transpose(axis, last).toFloat32Array());
  } catch (error) {
    result?.dispose();
    throw error;
  } finally {
    scope.release();
  }
}

function runSoftmax(scope: CallScope, x: Tensor, y: Tensor): void {
  const { kernels } = scope.runtime;
  const columns = x.shape.at(-1)!;
  const scratch = scope.allocate(kernels.softmaxScratchBytes(columns));
  kernels.softmaxRows(x.address, y.address, columns, 0, x.size / columns, scratch);
}

function checkAxis(axis: number, last: number): number {
  const positive = axis < 0 ? axis + last + 1 : axis;
  if (Number.isInteger(positive) && positive >= 0 && positive <= last) return positive;
  throw new AttentionError({
    code: 'INVALID_ARGUMENT',
    argument: 'axis',
    expected: `an axis of a tensor of rank ${last + 1}`,
    received: describe(axis),
  });
}
