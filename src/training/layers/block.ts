// A transformer block, kept for the way back: attention, perhaps over an encoder as well, and feed-forward, each with its norms and
// its residual.

import type { BlockDescription, Placement } from '../../model/description.js';
import type { Rotations } from '../../model/layers/attention.js';
import type { Binder, BoundVector } from '../bound.js';
import type { Flow } from '../flow.js';
import { runColumnSums } from '../ops/column-sums.js';
import { runAdd } from '../ops/add.js';
import type { Tape, Value } from '../tape.js';
import { TrainedCrossAttention, TrainedSelfAttention } from './attention.js';
import { add, drop } from './dropout.js';
import { TrainedFeedForward } from './feed-forward.js';
import { bindNorm } from './norm.js';
import type { TrainedNorm } from './norm.js';

/** The norms and the residual around a layer. */
class TrainedSublayer {
  readonly before: TrainedNorm | undefined;
  readonly #inner: TrainedNorm | undefined;
  readonly #after: TrainedNorm | undefined;
  readonly #scale: BoundVector | undefined;
  readonly #residualAfterNorm: boolean;
  readonly #site: number;

  constructor(binder: Binder, placement: Placement) {
    this.before = bindNorm(binder, placement.before);
    this.#inner = bindNorm(binder, placement.inner);
    this.#after = bindNorm(binder, placement.after);
    this.#scale = binder.vector(placement.layerScale);
    this.#residualAfterNorm = placement.residualAfterNorm ?? false;
    this.#site = binder.site();
  }

  /** What the layer is given. */
  enter(tape: Tape, x: Value): Value {
    return this.before ? this.before.run(tape, x) : x;
  }

  /** after(x + scale * inner(layer(entered))). */
  leave(flow: Flow, x: Value, entered: Value, layer: (entered: Value, residual?: Value) => Value): Value {
    const residual = this.#residualAfterNorm ? entered : x;
    const { tape } = flow;
    const sum = this.#sum(flow, residual, entered, layer);
    return this.#after ? this.#after.run(tape, sum) : sum;
  }

  #sum(
    flow: Flow,
    residual: Value,
    entered: Value,
    layer: (entered: Value, residual?: Value) => Value,
  ): Value {
    const { tape, dropout } = flow;
    const drops = dropout !== undefined && dropout.hidden > 0;
    if (!this.#inner && !this.#scale && !drops) return layer(entered, residual);
    const branch = drop(flow, layer(entered), this.#site);
    if (this.#scale) return addScaled(tape, branch, this.#scale, residual);
    return this.#inner ? this.#inner.run(tape, branch, residual) : add(tape, branch, residual);
  }
}

/** scale * x + residual, a factor for each channel. */
function addScaled(tape: Tape, x: Value, { tensor, gradient }: BoundVector, residual: Value): Value {
  const trained = x.trained || gradient !== undefined;
  const y = tape.place(x.rows, x.channels, trained || residual.trained);
  if (x.rows === 0) return y;
  tape.scope.copy(residual.tensor, y.tensor);
  runAdd(tape.scope, x, y, x.channels, { scale: tensor.address });
  tape.note(y, (back) => {
    const dy = back.of(y);
    if (!dy) return;
    if (x.trained) runAdd(back.scope, dy, back.toSome(x), x.channels, { scale: tensor.address });
    if (gradient) runColumnSums(back.scope, dy, x.channels, gradient.address, x);
    back.pass(y, residual);
  });
  return y;
}

export class TrainedBlock {
  readonly #parallel: boolean;
  readonly #attention: TrainedSelfAttention;
  readonly #aroundAttention: TrainedSublayer;
  readonly #cross: TrainedCrossAttention | undefined;
  readonly #aroundCross: TrainedSublayer | undefined;
  readonly #feedForward: TrainedFeedForward | undefined;
  readonly #aroundFeedForward: TrainedSublayer | undefined;

  constructor(binder: Binder, description: BlockDescription, rotations: Rotations) {
    const { attention, crossAttention, feedForward, parallel = false } = description;
    this.#parallel = parallel;
    this.#attention = new TrainedSelfAttention(binder, attention, rotations);
    this.#aroundAttention = new TrainedSublayer(binder, attention);
    if (crossAttention) {
      this.#cross = new TrainedCrossAttention(binder, crossAttention, rotations);
      this.#aroundCross = new TrainedSublayer(binder, crossAttention);
    }
    if (feedForward) {
      this.#feedForward = new TrainedFeedForward(binder, feedForward);
      this.#aroundFeedForward = new TrainedSublayer(binder, feedForward);
    }
  }

  run(flow: Flow, x: Value): Value {
    const { tape } = flow;
    const entered = this.#aroundAttention.enter(tape, x);
    const after = this.#aroundFeedForward;
    // Of the same x as attention.
    const beside = !this.#parallel ? undefined : after?.before ? after.enter(tape, x) : entered;
    let y = this.#aroundAttention.leave(flow, x, entered, (from, residual) =>
      this.#attention.run(flow, from, residual),
    );
    if (this.#cross) {
      const around = this.#aroundCross!;
      y = around.leave(flow, y, around.enter(tape, y), (from, residual) =>
        this.#cross!.run(flow, from, residual),
      );
    }
    if (!after) return y;
    return after.leave(flow, y, beside ?? after.enter(tape, y), (from, residual) =>
      this.#feedForward!.run(tape, from, residual),
    );
  }
}
