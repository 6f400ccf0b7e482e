// What optimisers, clipping and adapters know of parameters: flat arrays of floats in linear memory that stay where they are, and
// gradients that are laid out alike. What they belong to is none of their business.
//
//   floats   in order of the shape
//   panels   [panels of 8 outs][ins][8], a matrix [outs, ins] as products read it (ops/linear/linear.ts)

import type { CallScope } from '../runtime/call-scope.js';
import { describe, invalidArgument, shapeError } from '../runtime/errors.js';
import { checkDataType, checkRuntime, checkTensor } from '../runtime/inputs.js';
import { sameShape } from '../runtime/layout.js';
import { checkObject } from '../runtime/checks.js';
import type { Runtime } from '../runtime/runtime.js';
import { isTensor } from '../runtime/tensor.js';
import type { Tensor } from '../runtime/tensor.js';

/** A parameter that is trained. */
export interface TrainableParameter {
  /** As the checkpoint calls it. */
  readonly name: string;
  /** Of `panels` [outs, ...ins]. */
  readonly shape: readonly number[];
  /** @internal Floats that lie one after the other: of `panels` those of lanes that fill up the last panel, which stay zero, too. */
  readonly count: number;
  /** @internal How the floats are laid out. */
  readonly kind: 'floats' | 'panels';
  /** @internal Where they lie. Holds their memory until the call is over. Throws DISPOSED. */
  address(scope: CallScope): number;
  /** @internal The same of the gradient. */
  gradientAddress(scope: CallScope): number;
}

/** What has parameters that are trained. */
export interface TrainableParameters {
  /** In whose memory they lie. */
  readonly runtime: Runtime;
  /** Each under a name of its own. */
  readonly parameters: readonly TrainableParameter[];
}

/** Throws unless this is something that has parameters. */
export function checkTrainable(given: TrainableParameters): void {
  checkObject('trainable', given, 'something that has parameters');
  checkRuntime(given.runtime);
  if (!Array.isArray(given.parameters)) {
    throw invalidArgument('trainable', 'something that has parameters', given);
  }
}

/** A tensor and its gradient. */
export interface TensorParameter {
  /** Contiguous, float32. */
  readonly value: Tensor;
  /** Of the same shape, contiguous, float32. */
  readonly gradient: Tensor;
}

/**
 * Tensors as parameters, for optimisers and `clipGradients`: steps change the values where they lie.
 *
 * @param tensors by their names
 * @throws AttentionError INVALID_ARGUMENT, INVALID_SHAPE, INVALID_DTYPE, DISPOSED
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const value = runtime.tensor([1, 2]);
 * const gradient = runtime.tensor([0.5, -0.5]);
 * const optimizer = new SGD(trainableTensors(runtime, { weight: { value, gradient } }), { learningRate: 1 });
 * optimizer.step();
 * value.data; // [0.5, 2.5]
 * ```
 */
export function trainableTensors(
  runtime: Runtime,
  tensors: Readonly<Record<string, TensorParameter>>,
): TrainableParameters {
  checkRuntime(runtime);
  checkObject('tensors', tensors);
  const parameters = Object.entries(tensors).map(([name, given]): TrainableParameter => {
    checkObject(name, given, '{ value, gradient }');
    const { value, gradient } = given;
    for (const [part, tensor] of Object.entries({ value, gradient })) {
      const argument = `${name}.${part}`;
      if (!isTensor(tensor)) throw invalidArgument(argument, 'a Tensor', tensor);
      checkDataType(argument, checkTensor(argument, tensor, runtime), 'float32');
      if (!tensor.contiguous) throw shapeError(argument, 'a contiguous tensor', tensor.shape);
    }
    if (!sameShape(value.shape, gradient.shape)) {
      throw shapeError(`${name}.gradient`, describe(value.shape), gradient.shape);
    }
    const addressOf = (scope: CallScope, part: string, tensor: Tensor) =>
      scope.use(checkTensor(`${name}.${part}`, tensor, runtime)).address;
    return {
      name,
      shape: value.shape,
      count: value.size,
      kind: 'floats',
      address: (scope) => addressOf(scope, 'value', value),
      gradientAddress: (scope) => addressOf(scope, 'gradient', gradient),
    };
  });
  return { runtime, parameters };
}
