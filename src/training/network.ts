// What can be trained: models, blocks and layers, each as what it makes of its inputs on a tape. One file for each kind.

import type { NamesOf } from '../runtime/checks.js';
import type { TensorLike } from '../runtime/inputs.js';
import type { Model } from '../model/model.js';
import type { ModelInputs } from '../model/inputs.js';
import type { Layer } from '../model/layers/layer.js';
import type { BlockForwardOptions } from '../model/layers/transformer-block.js';
import type { ForwardOptions, MultiHeadAttention } from '../layers/multi-head-attention.js';
import type { Tape, Value } from './tape.js';

/** What goes in or comes out, and the shape that the caller sees. */
export interface Shaped {
  readonly value: Value;
  readonly shape: readonly number[];
}

/** What one pass gave. */
export interface Ran {
  readonly outputs: Readonly<Record<string, Shaped>>;
  /** Inputs whose gradients can be asked for. */
  readonly inputs: Readonly<Record<string, Shaped>>;
}

/** What trained layers read, besides their parameters. */
export type TrainingInputs = ModelInputs | TensorLike;

/** Options of a call of a block, or of `MultiHeadAttention`: those of its `forward`. */
export type TrainingForwardOptions = Pick<
  BlockForwardOptions,
  'context' | 'contextLengths' | 'keyLengths' | 'mask' | 'positions'
> &
  Pick<ForwardOptions, 'valueContext' | 'bias' | 'queryOffset' | 'causal'> & {
    /** Parts that are left out at random, in this call and on its way back. Default: none. */
    readonly dropout?: TrainingDropout | undefined;
  };

/** Which parts a call leaves out at random; the others are divided by what is left. */
export interface TrainingDropout {
  /** Of what enters the first block, and of what sublayers give before it joins the residual: 0 to below 1. Default 0. */
  readonly hidden?: number | undefined;
  /** Of weights of attention, 0 to below 1. Default 0. */
  readonly attention?: number | undefined;
  /** An integer from 0 to 2^53 - 1: another one for each step. What is left out is a function of it and of the place. */
  readonly seed: number;
}

export const DROPOUT_NAMES = { hidden: 1, attention: 1, seed: 1 } satisfies NamesOf<TrainingDropout>;

/** What can be trained. */
export type Network = Model | Layer | MultiHeadAttention;

/** A network whose parameters are bound to their gradients. */
export interface TrainedNetwork {
  run(tape: Tape, inputs: TrainingInputs, options: TrainingForwardOptions, wantsInput: boolean): Ran;
  dispose(): void;
}
