// A norm, kept for the way back.

import { runNorm } from '../../ops/norms/norm.js';
import type { NormDescription } from '../../model/description.js';
import type { Binder, BoundVector } from '../bound.js';
import { runNormBackward } from '../ops/norm.js';
import type { Backward, Target, Tape, Value } from '../tape.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { Rows } from '../../model/pass.js';

export class TrainedNorm {
  readonly channels: number;
  readonly #description: NormDescription;
  readonly #weight: BoundVector | undefined;
  readonly #bias: BoundVector | undefined;

  constructor(binder: Binder, description: NormDescription) {
    this.channels = description.channels;
    this.#description = description;
    this.#weight = binder.vector(description.weight);
    this.#bias = binder.vector(description.bias);
  }

  /** Whether a parameter of it is trained. */
  get trained(): boolean {
    return (this.#weight?.gradient ?? this.#bias?.gradient) !== undefined;
  }

  /** norm(x) + residual. */
  run(tape: Tape, x: Value, residual?: Value): Value {
    const trained = x.trained || this.trained;
    const y = tape.place(x.rows, x.channels, trained || (residual?.trained ?? false));
    if (x.rows === 0) return y;
    this.runRows(tape.scope, x, y, residual);
    tape.note(y, (back) => {
      const dy = back.of(y);
      if (!dy) return;
      if (trained) this.runBack(back, x, dy, x.trained ? back.to(x) : undefined);
      if (residual) back.pass(y, residual);
      else back.end(y);
    });
    return y;
  }

  /** Of rows that may hold several groups of channels. */
  runRows(
    scope: CallScope,
    x: Rows & { readonly groups?: number },
    y: Omit<Rows, 'rows'>,
    residual?: Omit<Rows, 'rows'>,
  ): void {
    runNorm(scope, this.#description.kind, x, y, { ...this.#settings, residual });
  }

  /** From the gradient of its rows to that of what it is of, and to those of its parameters. */
  runBack(
    back: Backward,
    x: Rows & { readonly groups?: number },
    dy: Rows,
    dx: (Omit<Target, 'adding'> & { readonly adding?: boolean }) | undefined,
  ): void {
    runNormBackward(back.scope, this.#description.kind, x, dy, this.#settings, {
      dx,
      adding: dx?.adding ?? false,
      weightGradient: this.#weight?.gradient?.address,
      biasGradient: this.#bias?.gradient?.address,
    });
  }

  get #settings() {
    const { channels, epsilon, unitOffset } = this.#description;
    return {
      channels,
      epsilon,
      unitOffset,
      weight: this.#weight?.tensor.address,
      bias: this.#bias?.tensor.address,
    };
  }
}

export function bindNorm(binder: Binder, description: NormDescription | undefined): TrainedNorm | undefined {
  return description && new TrainedNorm(binder, description);
}
