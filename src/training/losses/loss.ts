// What losses have in common.

import type { CallScope } from '../../runtime/call-scope.js';
import { invalidArgument } from '../../runtime/errors.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Tensor } from '../../runtime/tensor.js';

/** Options that all losses have. */
export interface LossOptions {
  /** What the gradients are multiplied by: the gradient that flows into the loss. Default 1. */
  readonly factor?: number | undefined;
  /** Needed only if no input is a Tensor. */
  readonly runtime?: Runtime | undefined;
}

/** @internal */
export function checkNumber(
  argument: string,
  value: unknown,
  least: number,
  below: number,
  expected: string,
): void {
  if (typeof value === 'number' && value >= least && value < below) return;
  throw invalidArgument(argument, expected, value);
}

/** @internal The factor of the gradients, checked. */
export function factorOf({ factor = 1 }: LossOptions): number {
  if (typeof factor !== 'number' || !Number.isFinite(factor))
    throw invalidArgument('factor', 'a finite number', factor);
  return factor;
}

/** @internal Once the kernels are done: the sum of floats, in their order, in double precision. */
export function whenSummed(scope: CallScope, values: Tensor<'float32'>, use: (sum: number) => void): void {
  scope.then(() => {
    let sum = 0;
    for (const value of values.data) sum += value;
    use(sum);
  });
}
