// The loop of a training: batches, forward and back, clipping, updates, step by step; with checkpoints from which it goes on as if it
// had never stopped. Touch: the order of things in a step. What a checkpoint holds is in training-checkpoint.ts.

import { checkInteger, checkOptions } from '../runtime/checks.js';
import type { NamesOf } from '../runtime/checks.js';
import { Disposable } from '../runtime/disposable.js';
import { AttentionError, invalidArgument } from '../runtime/errors.js';
import type { Tensor } from '../runtime/tensor.js';
import type { FileSource } from '../checkpoints/source.js';
import { labelsOf, tokensIn } from './batch.js';
import type { Batch } from './batch.js';
import { clipGradientsAsync } from './clip.js';
import { crossEntropyAsync } from './losses/cross-entropy.js';
import type { Network, TrainingDropout } from './network.js';
import { AdamW } from './optimizers.js';
import type { Optimizer } from './optimizers.js';
import { training as pack } from './pack.js';
import { Random } from './random.js';
import type { Schedule } from './schedules.js';
import { Trainable } from './trainable.js';
import type { OutputGradients, TrainingOutput } from './trainable.js';
import { readCheckpoint, writeCheckpoint } from './training-checkpoint.js';

/** The loss of one's own: its value and its gradient by the outputs, which are disposed after use. */
export type Loss = (output: TrainingOutput, batch: Batch) => LossAndGradients | Promise<LossAndGradients>;

/** What a loss gives. */
export interface LossAndGradients {
  /** The value, to be made small. */
  readonly loss: number;
  /** Its gradients by the names of outputs. */
  readonly gradients: OutputGradients;
}

/** Options of `train`. */
export interface TrainOptions {
  /** What learns; a `Trainable` where something is frozen, recomputed or adapted. */
  readonly model: Network | Trainable;
  /** The batch of a step, of which the first is 1; several batches are one step together. A function of its arguments. */
  readonly data: (
    step: number,
    random: Random,
  ) => Batch | readonly Batch[] | Promise<Batch | readonly Batch[]>;
  /** Steps in all, those before a checkpoint included. */
  readonly steps: number;
  /** Of the random numbers of data and dropout: an integer from 0 to 2^53 - 1. Default 0. */
  readonly seed?: number | undefined;
  /** A number, or a function of the step. Default 0.001. */
  readonly learningRate?: number | Schedule | undefined;
  /** Default AdamW as PyTorch has it. */
  readonly optimizer?: ((learner: Trainable) => Optimizer) | undefined;
  /** Gradients with a larger norm are scaled down to it. Default 1; Infinity leaves them alone. */
  readonly maxNorm?: number | undefined;
  /** Default the cross entropy of logits and labels, over all labels that are not -100. */
  readonly loss?: Loss | undefined;
  /** Parts that are left out at random. Default none. */
  readonly dropout?: Omit<TrainingDropout, 'seed'> | undefined;
  /** A checkpoint to go on from: bytes, a Blob, an address. */
  readonly resume?: FileSource | undefined;
  /** Ends the training between two steps or in the middle of one; parameters then are those of the last whole step. */
  readonly signal?: AbortSignal | undefined;
}

const TRAIN_NAMES = {
  model: 1,
  data: 1,
  steps: 1,
  seed: 1,
  learningRate: 1,
  optimizer: 1,
  maxNorm: 1,
  loss: 1,
  dropout: 1,
  resume: 1,
  signal: 1,
} satisfies NamesOf<TrainOptions>;

/** What a step was. */
export interface TrainingStep {
  /** The first is 1. */
  readonly step: number;
  /** Before the update. */
  readonly loss: number;
  /** Of all gradients together, before clipping. */
  readonly gradientNorm: number;
  /** Tokens that were read. */
  readonly tokens: number;
  /** By the wall clock, over the whole step. */
  readonly tokensPerSecond: number;
}

/**
 * Trains a network: an asynchronous iterator of steps. It works in slices between turns of the event loop, so a page lives on, and ends
 * where nobody asks for the next step. In the `simd` build the weights that come out are the same, bit for bit, in every engine, for any
 * number of threads, and after any number of stops at checkpoints.
 *
 * @throws AttentionError INVALID_ARGUMENT at once; with the first step what `forward` throws, and INVALID_FILE of a checkpoint that does
 *   not fit; INVALID_STATE of a loss or a gradient that is not finite, which names the step and the tensor
 *
 * @example
 * ```js
 * const data = (step, random) => ({ inputs: { inputIds: [[5, 6, random.integer(16)]] }, labels: [6, 7, 8] });
 * const losses = [];
 * for await (const { loss } of train({ model: gpt2, data, steps: 5, seed: 1, learningRate: 0.01 })) losses.push(loss);
 * losses.length; // 5
 * ```
 */
export function train(options: TrainOptions): Training {
  return new Training(options);
}

/**
 * A training under way, made by `train`. Iterating it takes steps; leaving the loop keeps what was learnt, and the next loop goes on.
 *
 * @example
 * ```js
 * const data = () => ({ inputs: { inputIds: [[5, 6, 7]] }, labels: [6, 7, 8] });
 * const first = train({ model: gpt2, data, steps: 4 });
 * for await (const { step } of first) if (step === 2) break;
 * const checkpoint = await first.checkpoint();
 * first.dispose();
 * const second = train({ model: gpt2, data, steps: 4, resume: checkpoint });
 * for await (const { step } of second) step; // 3, then 4
 * second.dispose();
 * ```
 */
export class Training extends Disposable implements AsyncIterable<TrainingStep> {
  /** What learns. */
  readonly learner: Trainable;
  readonly #options: TrainOptions;
  readonly #ownsLearner: boolean;
  #optimizer: Optimizer | undefined;
  #step = 0;
  #busy = false;
  #disposed = false;

  /** @internal */
  constructor(options: TrainOptions) {
    super();
    checkOptions(options, TRAIN_NAMES, {}, '');
    const { model, data, steps, seed = 0, optimizer, loss, maxNorm = 1 } = options;
    if (typeof data !== 'function') throw invalidArgument('data', 'a function of the step', data);
    checkInteger('steps', steps, 0, Number.MAX_SAFE_INTEGER);
    checkInteger('seed', seed, 0, Number.MAX_SAFE_INTEGER);
    for (const [name, value] of Object.entries({ optimizer, loss }))
      if (value !== undefined && typeof value !== 'function')
        throw invalidArgument(name, 'a function', value);
    if (!(typeof maxNorm === 'number' && maxNorm > 0))
      throw invalidArgument('maxNorm', 'a number above 0', maxNorm);
    this.#options = options;
    this.#ownsLearner = !(model instanceof Trainable);
    this.learner = model instanceof Trainable ? model : new Trainable(model);
  }

  /** Steps that were taken, those before a checkpoint included. */
  get step(): number {
    return this.#step;
  }

  /** Takes the steps that are left. */
  async *[Symbol.asyncIterator](): AsyncGenerator<TrainingStep, void, undefined> {
    if (this.#busy)
      throw new AttentionError({ code: 'INVALID_STATE', message: 'the training is under way already' });
    this.#busy = true;
    try {
      await this.#begin();
      while (this.#step < this.#options.steps) yield await this.#take();
    } finally {
      this.#busy = false;
    }
  }

  /**
   * All that is needed to go on elsewhere: a safetensors file with the weights, what the optimiser remembers, step and seed.
   *
   * @throws AttentionError INVALID_STATE in the middle of a step
   */
  async checkpoint(): Promise<Uint8Array> {
    await this.#begin();
    const { seed = 0 } = this.#options;
    return writeCheckpoint(this.learner, this.#optimizer!, { step: this.#step, seed });
  }

  /** Frees gradients and what the optimiser remembers; the network stays. Safe to repeat. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#optimizer?.dispose();
    if (this.#ownsLearner) this.learner.dispose();
  }

  /** Kernels, the optimiser, and the checkpoint to go on from. */
  async #begin(): Promise<void> {
    if (this.#disposed) throw new AttentionError({ code: 'DISPOSED', message: 'the training was disposed' });
    if (this.#optimizer) return;
    const { optimizer, learningRate, resume, seed = 0, signal } = this.#options;
    signal?.throwIfAborted();
    await this.learner.runtime.load(pack);
    const made = optimizer
      ? optimizer(this.learner)
      : new AdamW(this.learner, learningRate === undefined ? {} : { learningRate });
    try {
      if (resume !== undefined)
        this.#step = await readCheckpoint(resume, this.learner, made, { seed, signal });
    } catch (error) {
      made.dispose();
      throw error;
    }
    this.#optimizer = made;
  }

  async #take(): Promise<TrainingStep> {
    const { data, seed = 0, maxNorm = 1, signal } = this.#options;
    const step = this.#step + 1;
    const start = performance.now();
    signal?.throwIfAborted();
    const given = await data(step, new Random(seed, step));
    const batches: readonly Batch[] = Array.isArray(given) ? (given as readonly Batch[]) : [given as Batch];
    if (batches.length === 0) throw invalidArgument('data', 'a batch, or several', given);
    this.learner.zeroGradients();
    const loss = await this.#learn(step, batches);
    const gradientNorm = await clipGradientsAsync(this.learner, maxNorm, { signal });
    if (!Number.isFinite(gradientNorm)) throw this.#notFinite(step, 'gradient');
    await this.#optimizer!.stepAsync({ signal });
    this.#step = step;
    const tokens = batches.reduce((sum, batch) => sum + tokensIn(batch), 0);
    const tokensPerSecond = (tokens / (performance.now() - start)) * 1000;
    return { step, loss, gradientNorm, tokens, tokensPerSecond };
  }

  /** Forward and back over all batches of a step; their mean loss. */
  async #learn(step: number, batches: readonly Batch[]): Promise<number> {
    const { loss: own, dropout, seed = 0, signal } = this.#options;
    const total = own ? batches.length : batches.reduce((sum, batch) => sum + countOf(batch), 0);
    let sum = 0;
    for (const [index, batch] of batches.entries()) {
      const output = await this.learner.forwardAsync(batch.inputs, {
        ...batch.options,
        ...(dropout && { dropout: { ...dropout, seed: new Random(seed, step).integer(2 ** 32) + index } }),
        ...(signal && { signal }),
      });
      let gradients: OutputGradients | undefined;
      try {
        const found = own ? await own(output, batch) : await this.#crossEntropy(output, batch, total);
        gradients = found.gradients;
        if (!Number.isFinite(found.loss)) throw this.#notFinite(step, 'loss', output);
        sum += own ? found.loss / total : found.loss;
        (await this.learner.backwardAsync(output.record, gradients, (signal && { signal }) ?? {})).dispose();
      } finally {
        disposeAll(gradients);
        output.dispose();
      }
    }
    return sum;
  }

  async #crossEntropy(output: TrainingOutput, batch: Batch, total: number): Promise<LossAndGradients> {
    const { signal } = this.#options;
    const factor = 1 / Math.max(1, total);
    const { loss, gradient } = await crossEntropyAsync(output.logits, labelsOf(batch), {
      ...{ reduction: 'sum', factor },
      ...(signal && { signal }),
    });
    return { loss: loss * factor, gradients: { logits: gradient! } };
  }

  /** Which tensor is the first that holds NaN or infinity: parameters come before what is computed from them. */
  #notFinite(step: number, what: string, output?: TrainingOutput): AttentionError {
    const { learner } = this;
    const isBad = (values: Float32Array) => values.some((value) => !Number.isFinite(value));
    const parameter = learner.parameterNames.find((name) => isBad(learner.value(name).data));
    const outputs = Object.entries(output ?? {}) as [string, Tensor<'float32'>][];
    const bad =
      parameter ??
      outputs.find(([name, tensor]) => name !== 'record' && isBad(tensor.data))?.[0] ??
      learner.parameterNames.find((name) => isBad(learner.gradient(name).data));
    return new AttentionError({
      code: 'INVALID_STATE',
      argument: bad ?? what,
      message: `step ${step}: the ${what} is not finite${bad === undefined ? '' : `; ${bad} holds NaN or infinity`}`,
    });
  }
}

/** Labels that count. */
function countOf(batch: Batch): number {
  let count = 0;
  for (const label of labelsOf(batch)) if (label !== -100) count++;
  return count;
}

function disposeAll(gradients: OutputGradients | undefined): void {
  if (gradients === undefined) return;
  const tensors = 'data' in gradients ? [gradients] : Object.values(gradients);
  for (const tensor of tensors) (tensor as Partial<Tensor> | undefined)?.dispose?.();
}
