// The tokens that flow through a stack in one pass: how many, where they stand, which of them are padding, and whom they attend to.

import type { LayerRotary } from '../ops/rotary/layer-rotary.js';
import type { PlacedRotary, Positions } from '../ops/rotary/rotary.js';
import type { CallScope } from '../runtime/call-scope.js';
import type { KeptKeys } from '../model/pass.js';
import type { Tape, TapeDropout, Value } from './tape.js';

/** Tokens of an encoder, for cross-attention. */
export interface FlowContext {
  readonly hidden: Value;
  readonly length: number;
  /** Which of them are no padding, in a call. */
  readonly kept: (scope: CallScope) => KeptKeys;
}

export class Flow {
  readonly tape: Tape;
  readonly batch: number;
  /** Tokens of each batch row, padding included. */
  readonly length: number;
  readonly positions: Positions;
  /** Which tokens are no padding, in a call. */
  readonly kept: (scope: CallScope) => KeptKeys;
  readonly context: FlowContext | undefined;
  /** What rotations read, by call: the way back is another one. */
  #placed = new WeakMap<CallScope, Map<LayerRotary, PlacedRotary>>();

  constructor(tape: Tape, more: Pick<Flow, 'batch' | 'length' | 'positions' | 'kept' | 'context'>) {
    this.tape = tape;
    this.batch = more.batch;
    this.length = more.length;
    this.positions = more.positions;
    this.kept = more.kept;
    this.context = more.context;
  }

  /** What is left out on the way. */
  get dropout(): TapeDropout | undefined {
    return this.tape.dropout;
  }

  get rows(): number {
    return this.batch * this.length;
  }

  /** The same tokens on another tape. */
  on(tape: Tape): Flow {
    const flow = new Flow(tape, this);
    flow.#placed = this.#placed;
    return flow;
  }

  /** What rotations at the positions of the tokens read. */
  rotation(scope: CallScope, rotary: LayerRotary): PlacedRotary {
    const ofCall = this.#placed.get(scope) ?? new Map<LayerRotary, PlacedRotary>();
    this.#placed.set(scope, ofCall);
    const placed = ofCall.get(rotary) ?? rotary.place(scope, this.positions, this.batch, this.length);
    ofCall.set(rotary, placed);
    return placed;
  }
}
