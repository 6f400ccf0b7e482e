// A norm with its parameters.

import { runNorm } from '../../ops/norms/norm.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { Tensor } from '../../runtime/tensor.js';
import type { NormDescription } from '../description.js';
import type { Parameters } from '../parameters.js';
import type { Rows } from '../pass.js';

export class Norm {
  readonly channels: number;
  readonly #description: NormDescription;
  readonly #weight: Tensor<'float32'> | undefined;
  readonly #bias: Tensor<'float32'> | undefined;

  constructor(parameters: Parameters, description: NormDescription) {
    this.channels = description.channels;
    this.#description = description;
    this.#weight = parameters.vector(description.weight);
    this.#bias = parameters.vector(description.bias);
  }

  /** Of rows of x, which may hold several groups of channels beside each other, to y, which may be x, plus the residual, which may be y. */
  run(
    scope: CallScope,
    x: Rows & { readonly groups?: number },
    y: Omit<Rows, 'rows'>,
    residual?: Omit<Rows, 'rows'>,
  ): void {
    const { kind, channels, epsilon, unitOffset } = this.#description;
    if (x.rows === 0) return;
    runNorm(scope, kind, x, y, {
      channels,
      epsilon,
      unitOffset,
      weight: this.#weight?.address,
      bias: this.#bias?.address,
      residual,
    });
  }
}

export function bindNorm(parameters: Parameters, description: NormDescription | undefined): Norm | undefined {
  return description && new Norm(parameters, description);
}
