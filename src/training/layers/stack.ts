// A stack, kept for the way back: what makes rows of the input, the blocks, and the last norm.

import type { StackDescription } from '../../model/description.js';
import { Rotations } from '../../model/layers/attention.js';
import type { LayerRotary } from '../../ops/rotary/layer-rotary.js';
import type { Binder } from '../bound.js';
import type { Flow } from '../flow.js';
import { Tape } from '../tape.js';
import type { Backward, Value } from '../tape.js';
import { TrainedBlock } from './block.js';
import { TrainedFrameEmbedding, TrainedPatchEmbedding, TrainedTokenEmbedding } from './input.js';
import { TrainedLinear } from './linear.js';
import { bindNorm } from './norm.js';
import type { TrainedNorm } from './norm.js';

export class TrainedStack {
  readonly description: StackDescription;
  readonly tokens: TrainedTokenEmbedding | undefined;
  readonly patches: TrainedPatchEmbedding | undefined;
  readonly frames: TrainedFrameEmbedding | undefined;
  readonly #blocks: TrainedBlocks;
  readonly #norm: TrainedNorm | undefined;
  readonly #projection: TrainedLinear | undefined;
  /** Of what enters the first block, where elements are left out. */
  readonly site: number;

  constructor(
    binder: Binder,
    description: StackDescription,
    recompute: boolean,
    Rotary: typeof LayerRotary | undefined,
  ) {
    this.description = description;
    this.site = binder.site();
    const { input } = description;
    if (input.kind === 'tokens') this.tokens = new TrainedTokenEmbedding(binder, input);
    else if (input.kind === 'patches') this.patches = new TrainedPatchEmbedding(binder, input);
    else this.frames = new TrainedFrameEmbedding(binder, input);
    this.#blocks = new TrainedBlocks(binder, description.blocks, recompute, Rotary);
    this.#norm = bindNorm(binder, description.norm);
    this.#projection = description.projection && new TrainedLinear(binder.matrix(description.projection));
  }

  /** The blocks, the last norm and projection. */
  run(flow: Flow, x: Value): Value {
    const { tape } = flow;
    let y = this.#blocks.run(flow, x);
    if (this.#norm) y = this.#norm.run(tape, y);
    return this.#projection ? this.#projection.run(tape, y) : y;
  }

  dispose(): void {
    this.#blocks.dispose();
  }
}

/** Blocks one after the other. */
export class TrainedBlocks {
  readonly #blocks: readonly TrainedBlock[];
  readonly #rotations: Rotations;
  readonly #recompute: boolean;

  /** @param recompute keeps what enters each block, and computes the rest again on the way back */
  constructor(
    binder: Binder,
    blocks: StackDescription['blocks'],
    recompute: boolean,
    Rotary: typeof LayerRotary | undefined,
  ) {
    this.#rotations = new Rotations(Rotary);
    this.#blocks = blocks.map((block) => new TrainedBlock(binder, block, this.#rotations));
    this.#recompute = recompute;
  }

  run(flow: Flow, x: Value): Value {
    return this.#blocks.reduce(
      (y, block) => (this.#recompute ? runAgain(block, flow, y) : block.run(flow, y)),
      x,
    );
  }

  dispose(): void {
    this.#rotations.dispose();
  }
}

/** A block of which only what enters and what comes out is kept. */
function runAgain(block: TrainedBlock, flow: Flow, x: Value): Value {
  const { tape } = flow;
  const { scope } = tape;
  const compute = (back: Backward | undefined) => {
    const inner = new Tape(back?.scope ?? scope, back?.pool ?? tape.passing, tape.dropout);
    return { inner, result: block.run(flow.on(inner), x) };
  };
  const { inner, result } = compute(undefined);
  const y = tape.place(result.rows, result.channels, result.trained);
  if (y.rows > 0) scope.copy(result.tensor, y.tensor);
  inner.giveBack();
  tape.note(y, (back) => {
    if (!back.has(y)) return;
    const again = compute(back);
    back.pass(y, again.result);
    again.inner.run(back);
    again.inner.giveBack();
  });
  return y;
}
