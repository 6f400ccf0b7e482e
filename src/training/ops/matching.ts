// Tensors that have to fit together: an upstream gradient has the shape of what it flows into.

import { describe, shapeError } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { Tensor } from '../../runtime/tensor.js';

/** @internal A tensor of float32, and another one of its shape. */
export function matching(
  scope: CallScope,
  argument: string,
  first: TensorLike,
  second: TensorLike,
  name = 'upstream',
): [Tensor<'float32'>, Tensor<'float32'>] {
  const tensor = scope.tensor(argument, first);
  checkDataType(argument, tensor, 'float32');
  return [tensor, ofShape(scope, name, second, tensor.shape)];
}

/** @internal A tensor of float32 and of a shape. */
export function ofShape(
  scope: CallScope,
  argument: string,
  given: TensorLike,
  shape: readonly number[],
): Tensor<'float32'> {
  const tensor = scope.tensor(argument, given);
  checkDataType(argument, tensor, 'float32');
  if (tensor.shape.length !== shape.length || shape.some((length, axis) => length !== tensor.shape[axis]))
    throw shapeError(argument, describe(shape), tensor.shape);
  return tensor;
}
