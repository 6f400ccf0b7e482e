// The feed-forward layer: down(activation(up x)), or with a gate down(activation(gate x) * up x). Its hidden rows are computed some
// at a time, so that they are still in the cache when they are read.

import { runFusedLinear } from '../../ops/linear/fused-linear.js';
import type { LinearWeights } from '../../ops/linear/linear.js';
import type { ActivationName, FeedForwardDescription } from '../description.js';
import type { Parameters } from '../parameters.js';
import type { Pass, Rows } from '../pass.js';
import type { Residual } from './residual.js';

/** Rows whose hidden channels are computed together. */
const ROWS_TOGETHER = 256;

export class FeedForwardLayer {
  readonly #up: LinearWeights;
  readonly #gate: LinearWeights | undefined;
  readonly #down: LinearWeights;
  readonly #activation: ActivationName;

  constructor(parameters: Parameters, { up, gate, down, activation }: FeedForwardDescription) {
    this.#up = parameters.matrix(up);
    this.#gate = gate && parameters.matrix(gate);
    this.#down = parameters.matrix(down);
    this.#activation = activation;
  }

  run(pass: Pass, x: Rows, y: Rows, { residual, scale }: Residual = {}): void {
    const { outFeatures: hiddenDim } = this.#up;
    const all = { from: 0, to: hiddenDim };
    const step = Math.ceil(x.rows / Math.ceil(x.rows / ROWS_TOGETHER));
    const hidden = pass.buffer('hidden', hiddenDim, Math.min(x.rows, step));
    for (let row = 0; row < x.rows; row += step) {
      const rows = Math.min(step, x.rows - row);
      const at = ({ address, rowBytes }: Omit<Rows, 'rows'>) => ({
        address: address + row * rowBytes,
        rowBytes,
        rows,
      });
      runFusedLinear(pass.scope, at(x), this.#up, all, hidden, {
        activation: this.#activation,
        gate: this.#gate,
      });
      const columns = { from: 0, to: this.#down.outFeatures };
      runFusedLinear(pass.scope, { ...hidden, rows }, this.#down, columns, at(y), {
        scale,
        residual: residual && at(residual),
      });
    }
  }
}
