// A transformer block: attention, perhaps over an encoder as well, and feed-forward, each with its norms and its residual. The rows
// that flow through a stack are changed where they lie.

import type { Tensor } from '../../runtime/tensor.js';
import type { BlockDescription, Placement } from '../description.js';
import type { Parameters } from '../parameters.js';
import type { Pass, Rows } from '../pass.js';
import { SelfAttention } from './attention.js';
import type { Rotations } from './attention.js';
import { FeedForwardLayer } from './bound-feed-forward.js';
import { bindNorm } from './bound-norm.js';
import type { Norm } from './bound-norm.js';
import type { CrossAttention } from './cross-attention.js';
import type { Residual } from './residual.js';

/** A layer whose last product writes y, with what is done to it on the way. */
type Layer = (x: Rows, y: Rows, residual: Residual) => void;

/** The norms and the residual around a layer. */
class Sublayer {
  readonly before: Norm | undefined;
  readonly #inner: Norm | undefined;
  readonly #after: Norm | undefined;
  readonly #scale: Tensor<'float32'> | undefined;
  readonly #residualAfterNorm: boolean;

  constructor(parameters: Parameters, placement: Placement) {
    this.before = bindNorm(parameters, placement.before);
    this.#inner = bindNorm(parameters, placement.inner);
    this.#after = bindNorm(parameters, placement.after);
    this.#scale = parameters.vector(placement.layerScale);
    this.#residualAfterNorm = placement.residualAfterNorm ?? false;
  }

  /** What the layer is given: x, or its norm in a buffer of that name. */
  enter(pass: Pass, x: Rows, channels: number, name = 'normed'): Rows {
    if (!this.before) return x;
    const normed = pass.buffer(name, channels);
    this.before.run(pass.scope, x, normed);
    return normed;
  }

  /** x becomes after(x + scale * inner(layer(entered))). */
  leave(pass: Pass, x: Rows, entered: Rows, channels: number, layer: Layer): void {
    const residual = this.#residualAfterNorm ? entered : x;
    if (this.#inner) {
      const branch = pass.buffer('branch', channels);
      layer(entered, branch, { scale: this.#scale?.address });
      this.#inner.run(pass.scope, branch, x, residual);
    } else {
      layer(entered, x, { residual, scale: this.#scale?.address });
    }
    this.#after?.run(pass.scope, x, x);
  }
}

export class Block {
  readonly #channels: number;
  readonly #parallel: boolean;
  readonly #attention: SelfAttention;
  readonly #aroundAttention: Sublayer;
  readonly #cross: CrossAttention | undefined;
  readonly #aroundCross: Sublayer | undefined;
  readonly #feedForward: FeedForwardLayer | undefined;
  readonly #aroundFeedForward: Sublayer | undefined;

  /** @param Cross of blocks that attend to an encoder as well */
  constructor(
    parameters: Parameters,
    description: BlockDescription,
    rotations: Rotations,
    Cross: typeof CrossAttention | undefined,
  ) {
    const { attention, crossAttention, feedForward, parallel = false } = description;
    this.#channels = attention.output.outFeatures;
    this.#parallel = parallel;
    this.#attention = new SelfAttention(parameters, attention, rotations);
    this.#aroundAttention = new Sublayer(parameters, attention);
    if (crossAttention) {
      this.#cross = new Cross!(parameters, crossAttention, rotations);
      this.#aroundCross = new Sublayer(parameters, crossAttention);
    }
    if (feedForward) {
      this.#feedForward = new FeedForwardLayer(parameters, feedForward);
      this.#aroundFeedForward = new Sublayer(parameters, feedForward);
    }
  }

  /** The cross-attention, whose keys and values can be computed beforehand. */
  get cross(): CrossAttention | undefined {
    return this.#cross;
  }

  /** @param layer which layer of the cache is this block's */
  run(pass: Pass, layer: number, x: Rows): void {
    const channels = this.#channels;
    const entered = this.#aroundAttention.enter(pass, x, channels);
    // Of the same x as attention: computed before x changes.
    const after = this.#aroundFeedForward;
    const beside = !this.#parallel
      ? undefined
      : after?.before
        ? after.enter(pass, x, channels, 'normedBeside')
        : entered;
    this.#aroundAttention.leave(pass, x, entered, channels, (from, to, residual) =>
      this.#attention.run(pass, layer, from, to, residual),
    );
    if (this.#cross) {
      const around = this.#aroundCross!;
      around.leave(pass, x, around.enter(pass, x, channels), channels, (from, to, residual) =>
        this.#cross!.run(pass, layer, from, to, residual),
      );
    }
    after?.leave(pass, x, beside ?? after.enter(pass, x, channels), channels, (from, to, residual) =>
      this.#feedForward!.run(pass, from, to, residual),
    );
  }
}
