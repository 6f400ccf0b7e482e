// Gradients of all parameters as one vector: its length, and what limits it.

import { UPDATED_TOGETHER } from '../../build/kernels.js';
import { callAsync, callNow, checkAsyncOptions } from '../runtime/call.js';
import type { AsyncOptions } from '../runtime/call.js';
import type { CallScope } from '../runtime/call-scope.js';
import { checkOptions } from '../runtime/checks.js';
import { invalidArgument } from '../runtime/errors.js';
import type { Operation } from '../runtime/operation.js';
import { checkTrainable } from './parameter.js';
import type { TrainableParameters } from './parameter.js';

/** So small against any norm that is clipped that it only keeps a division by zero away; PyTorch adds the same. */
const LEAST_NORM = 1e-6;

const clipOperation: Operation<
  [trainable: TrainableParameters, maxNorm: number],
  Record<string, never>,
  { norm: number }
> = {
  inputs: ['trainable', 'maxNorm'],
  options: {},
  runtime: ([trainable]) => {
    checkTrainable(trainable);
    return trainable.runtime;
  },
  run: clip,
};

/**
 * Scales all gradients down together so that their norm, the root of the sum of all squares, is at most `maxNorm`: by
 * min(1, maxNorm / (norm + 1e-6)), as PyTorch does. Gradients that hold NaN or infinity stay as they are. Needs the kernels of
 * `wasm-attention/training`.
 *
 * @param maxNorm above 0; Infinity measures and changes nothing
 * @returns the norm before; NaN or Infinity says that a gradient is not finite, and that a step would spoil the parameters
 * @throws AttentionError INVALID_ARGUMENT, DISPOSED, OUT_OF_MEMORY, INVALID_STATE (kernels not loaded), before anything is written
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const weight = { value: runtime.tensor([1, 1]), gradient: runtime.tensor([3, 4]) };
 * clipGradients(trainableTensors(runtime, { weight }), 2.5); // 5
 * weight.gradient.data; // about [1.5, 2]
 * ```
 */
export function clipGradients(trainable: TrainableParameters, maxNorm: number): number {
  return callNow(clipOperation, [trainable, maxNorm], {}).norm;
}

/**
 * {@link clipGradients} in slices of some milliseconds between turns of the event loop. A signal that is aborted before it begins
 * ends it; once begun it goes to its end.
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const weight = { value: runtime.tensor([1, 1]), gradient: runtime.tensor([3, 4]) };
 * await clipGradientsAsync(trainableTensors(runtime, { weight }), 10); // 5
 * ```
 */
export async function clipGradientsAsync(
  trainable: TrainableParameters,
  maxNorm: number,
  options: Pick<AsyncOptions, 'signal'> = {},
): Promise<number> {
  checkOptions(options, { signal: 1 });
  checkAsyncOptions(options);
  options.signal?.throwIfAborted();
  return (await callAsync(clipOperation, [trainable, maxNorm], {})).norm;
}

function clip(
  scope: CallScope,
  [{ parameters }, maxNorm]: readonly [TrainableParameters, number],
): { norm: number } {
  if (!(typeof maxNorm === 'number' && maxNorm > 0))
    throw invalidArgument('maxNorm', 'a number above 0', maxNorm);
  const { linearMemory } = scope.runtime;
  const arrays = parameters.map((parameter) => {
    const { count } = parameter;
    return { address: parameter.gradientAddress(scope), count, tiles: Math.ceil(count / UPDATED_TOGETHER) };
  });
  const tiles = arrays.reduce((sum, { tiles }) => sum + tiles, 0);
  const sums = scope.allocate(tiles * 8);
  const factor = scope.allocate(4);
  const result = { norm: 0 };
  let at = sums;
  for (const { address, count, tiles } of arrays) {
    scope.run({
      pack: 'training',
      kernel: 'sumSquares',
      args: [address, count, at],
      ...{ tiles, scratchBytes: 0, cost: 20 * count },
    });
    at += tiles * 8;
  }
  scope.then(() => {
    let sum = 0;
    for (const square of new Float64Array(linearMemory.buffer, sums, tiles)) sum += square;
    result.norm = Math.sqrt(sum);
    const scaled = Number.isFinite(result.norm) ? Math.min(1, maxNorm / (result.norm + LEAST_NORM)) : 1;
    linearMemory.words.floats[factor >>> 2] = scaled;
  });
  for (const { address, count, tiles } of arrays) {
    scope.run({
      pack: 'training',
      kernel: 'scaleValues',
      args: [address, count, factor],
      ...{ tiles, scratchBytes: 0, cost: 20 * count },
    });
  }
  return result;
}
