// The feed-forward layer: down(activation(up x)), or with a gate down(activation(gate x) * up x).

import type { FeedForwardDescription } from '../../model/description.js';
import type { Binder } from '../bound.js';
import type { Tape, Value } from '../tape.js';
import { activate, gate } from './activation.js';
import { TrainedLinear } from './linear.js';

export class TrainedFeedForward {
  readonly #description: FeedForwardDescription;
  readonly #up: TrainedLinear;
  readonly #gate: TrainedLinear | undefined;
  readonly #down: TrainedLinear;

  constructor(binder: Binder, description: FeedForwardDescription) {
    this.#description = description;
    this.#up = new TrainedLinear(binder.matrix(description.up));
    this.#gate = description.gate && new TrainedLinear(binder.matrix(description.gate));
    this.#down = new TrainedLinear(binder.matrix(description.down));
  }

  run(tape: Tape, x: Value, residual?: Value): Value {
    const { activation } = this.#description;
    const up = this.#up.run(tape, x);
    const hidden = this.#gate
      ? gate(tape, activation, this.#gate.run(tape, x), up)
      : activate(tape, up, activation);
    return this.#down.run(tape, hidden, { residual });
  }
}
