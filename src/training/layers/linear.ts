// A product with weights, kept for the way back.

import { runFusedLinear } from '../../ops/linear/fused-linear.js';
import type { BoundMatrix } from '../bound.js';
import { runLinearBackward } from '../ops/linear-backward.js';
import { runAdd } from '../ops/add.js';
import { zero } from '../tape.js';
import type { Tape, Value } from '../tape.js';

export class TrainedLinear {
  readonly bound: BoundMatrix;

  constructor(bound: BoundMatrix) {
    this.bound = bound;
  }

  get outFeatures(): number {
    return this.bound.weights.outFeatures;
  }

  /** factor * (x W^T + b) + residual. */
  run(
    tape: Tape,
    x: Value,
    { residual, factor = 1 }: { residual?: Value | undefined; factor?: number } = {},
  ): Value {
    const { weights, gradient } = this.bound;
    const { outFeatures } = weights;
    const trained = x.trained || gradient !== undefined;
    const y = tape.place(x.rows, outFeatures, trained || (residual?.trained ?? false));
    if (x.rows === 0) return y;
    runFusedLinear(tape.scope, x, weights, { from: 0, to: outFeatures }, y, { residual, factor });
    tape.note(y, (back) => {
      const dy = back.of(y);
      if (!dy) return;
      if (trained) {
        const gradients = { x, weights, dx: x.trained ? back.to(x) : undefined, gradient: gradient?.address };
        if (factor === 1) runLinearBackward(back.scope, { ...gradients, dy });
        else {
          back.with(dy.rows, outFeatures, (scaled) => {
            zero(back.scope, scaled.address, dy.rows * outFeatures);
            runAdd(back.scope, dy, scaled, outFeatures, factor);
            runLinearBackward(back.scope, { ...gradients, dy: scaled });
          });
        }
      }
      if (residual) back.pass(y, residual);
      else back.end(y);
    });
    return y;
  }
}
