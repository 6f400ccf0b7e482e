// The public norms with weights of their own.

import type { CallScope } from '../../runtime/call-scope.js';
import { checkInteger, checkOptions } from '../../runtime/checks.js';
import type { NamesOf } from '../../runtime/checks.js';
import { invalidArgument } from '../../runtime/errors.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { NormDescription } from '../description.js';
import type { Rows } from '../pass.js';
import { Norm } from './bound-norm.js';
import { describeNorm } from './options.js';
import type { LayerDescription } from './layer.js';
import { RowLayer } from './row-layer.js';

/** Options of `LayerNorm` and `RmsNorm`. */
export interface NormOptions {
  /** Channels of a row. */
  readonly channels: number;
  /** Added to the variance. Default 1e-5. */
  readonly epsilon?: number | undefined;
}

export const NORM_NAMES = { channels: 1, epsilon: 1 } satisfies NamesOf<NormOptions>;

abstract class NormLayer extends RowLayer {
  readonly #norm: Norm;
  /** @internal */
  readonly description: LayerDescription;

  /** @internal */
  constructor(runtime: Runtime, kind: NormDescription['kind'], options: NormOptions) {
    super(runtime);
    checkOptions(options, NORM_NAMES);
    const { channels, epsilon = 1e-5 } = options;
    checkInteger('channels', channels, 1, 2 ** 24);
    if (!(Number.isFinite(epsilon) && epsilon >= 0))
      throw invalidArgument('epsilon', 'a finite number >= 0', epsilon);
    const norm = describeNorm('', kind, channels, epsilon);
    this.#norm = this.reserve((parameters) => new Norm(parameters, norm));
    this.description = { channels, norm };
  }

  /** @internal */
  protected override get channels(): number {
    return this.#norm.channels;
  }

  /** @internal */
  protected override runRows(scope: CallScope, x: Rows, y: Rows): void {
    this.#norm.run(scope, x, y);
  }
}

/**
 * (x - mean) / sqrt(variance + epsilon) * weight + bias, over the last axis. Parameters: weight, bias.
 *
 * @see Ba et al. 2016
 *
 * @example
 * ```js
 * await runtime.load(model);
 * const norm = new LayerNorm(runtime, { channels: 2 });
 * norm.load({ weight: { data: [1, 1], shape: [2] }, bias: { data: [0, 1], shape: [2] } });
 * norm.forward({ data: [1, 3], shape: [1, 2] }).shape; // [1, 2]
 * ```
 */
export class LayerNorm extends NormLayer {
  /** @throws AttentionError INVALID_ARGUMENT */
  constructor(runtime: Runtime, options: NormOptions) {
    super(runtime, 'layer', options);
  }
}

/**
 * x / sqrt(mean of x^2 + epsilon) * weight, over the last axis. Parameter: weight.
 *
 * @see Zhang and Sennrich 2019
 *
 * @example
 * ```js
 * await runtime.load(model);
 * const norm = new RmsNorm(runtime, { channels: 2, epsilon: 1e-6 });
 * norm.load({ weight: { data: [1, 1], shape: [2] } });
 * norm.forward({ data: [3, 3], shape: [1, 2] }).shape; // [1, 2]
 * ```
 */
export class RmsNorm extends NormLayer {
  /** @throws AttentionError INVALID_ARGUMENT */
  constructor(runtime: Runtime, options: NormOptions) {
    super(runtime, 'rms', options);
  }
}
