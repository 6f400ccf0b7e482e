// A product with weights, kept for the way back.

import { runFusedLinear } from '../../ops/linear/fused-linear.js';
import type { Rows } from '../../model/pass.js';
import { AttentionError } from '../../runtime/errors.js';
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
    const { weights, gradient, adapters } = this.bound;
    const { outFeatures } = weights;
    if (factor !== 1 && adapters.length > 0)
      throw new AttentionError({
        code: 'UNSUPPORTED',
        argument: 'adapters',
        expected: 'layers without a factor on what they give',
        received: 'logits that are scaled',
      });
    const trained = x.trained || gradient !== undefined || adapters.length > 0;
    const y = tape.place(x.rows, outFeatures, trained || (residual?.trained ?? false));
    if (x.rows === 0) return y;
    runFusedLinear(tape.scope, x, weights, { from: 0, to: outFeatures }, y, { residual, factor });
    const narrows = adapters.map(({ adapter, firstOut }) => {
      const narrow = tape.place(x.rows, adapter.rank, true);
      adapter.runForward(tape.scope, x, narrow, columnsFrom(y, firstOut));
      return narrow;
    });
    tape.note(y, (back) => {
      const dy = back.of(y);
      if (!dy) return;
      const dx = x.trained ? back.to(x) : undefined;
      if (dx || gradient) {
        const gradients = { x, weights, dx, gradient: gradient?.address };
        if (factor === 1) runLinearBackward(back.scope, { ...gradients, dy });
        else {
          back.with(dy.rows, outFeatures, (scaled) => {
            zero(back.scope, scaled.address, dy.rows * outFeatures);
            runAdd(back.scope, dy, scaled, outFeatures, factor);
            runLinearBackward(back.scope, { ...gradients, dy: scaled });
          });
        }
      }
      adapters.forEach(({ adapter, firstOut }, i) =>
        adapter.runBackward(back.scope, { x, narrow: narrows[i]!, dy: columnsFrom(dy, firstOut), dx }),
      );
      if (residual) back.pass(y, residual);
      else back.end(y);
    });
    return y;
  }
}

/** Rows from one of their columns on. */
function columnsFrom({ address, rowBytes, rows }: Rows, column: number): Rows {
  return { address: address + column * 4, rowBytes, rows };
}
