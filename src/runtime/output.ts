// Tensors that a caller gives for results: checked in one place, for every operation.

import { AttentionError, describe, shapeError } from './errors.js';
import { checkDataType, checkTensor } from './inputs.js';
import type { CallScope } from './call-scope.js';
import { isTensor } from './tensor.js';
import type { Tensor } from './tensor.js';

/**
 * The caller's tensor for a result, once all inputs are known: it must be of this runtime, float32, of the shape, with
 * rows of one piece (or wholly contiguous), and have no element in common with an input, because rows of the result are
 * written while others are still to be read.
 */
export function givenOutput(
  scope: CallScope,
  output: Tensor,
  shape: readonly number[],
  contiguous = false,
): Tensor<'float32'> {
  if (!isTensor(output)) throw problem('INVALID_ARGUMENT', 'a Tensor', describe(output));
  checkTensor('output', output, scope.runtime);
  checkDataType('output', output, 'float32');
  const same =
    output.shape.length === shape.length && shape.every((length, axis) => length === output.shape[axis]);
  if (!same) throw shapeError('output', describe(shape), output.shape);
  const wanted = contiguous ? output.contiguous : shape.at(-1)! <= 1 || output.strides.at(-1) === 1;
  if (!wanted) {
    const expected = contiguous ? 'a contiguous tensor' : 'a contiguous last axis';
    throw problem('INVALID_SHAPE', expected, `strides ${describe(output.strides)}`);
  }
  if (scope.reads(output)) {
    throw problem('INVALID_ARGUMENT', 'memory that no input lies in', 'an input, or what overlaps one');
  }
  scope.use(output);
  return output;
}

function problem(
  code: 'INVALID_ARGUMENT' | 'INVALID_SHAPE',
  expected: string,
  received: string,
): AttentionError {
  return new AttentionError({ code, argument: 'output', expected, received });
}
