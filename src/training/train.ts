// The loop of a training: batches, forward and back, clipping, updates, step by step; with checkpoints from which it goes on as if it
// had never stopped. Touch: the order of things in a step, which decides the bits. What a checkpoint holds is in training-checkpoint.ts,
// what a batch is in batch.ts.
//
//   data -> zero gradients -> forward, loss, backward of each batch -> norm, clipping -> update -> the step counts
//
// Parameters change in the update only, which goes to its end: whatever fails or is aborted before leaves them as they were.

import { checkAsyncOptions } from '../runtime/call.js';
import { checkInteger, checkObject, checkOptions } from '../runtime/checks.js';
import type { NamesOf } from '../runtime/checks.js';
import { Disposable } from '../runtime/disposable.js';
import { AttentionError, invalidArgument } from '../runtime/errors.js';
import { isTensor } from '../runtime/tensor.js';
import type { FileSource } from '../checkpoints/source.js';
import { countOf, labelsOf, readBatches, tokensIn } from './batch.js';
import type { Batch } from './batch.js';
import { clipGradientsAsync } from './clip.js';
import { crossEntropyAsync } from './losses/cross-entropy.js';
import { dropoutOf } from './given.js';
import type { Network, TrainingDropout } from './network.js';
import { AdamW, Optimizer } from './optimizers.js';
import { training as pack } from './pack.js';
import { Random } from './random.js';
import { scheduleOf } from './schedules.js';
import type { Schedule } from './schedules.js';
import { Trainable } from './trainable.js';
import type { OutputGradients, TrainingOutput } from './trainable.js';

/** A loss of one's own: its value and its gradients by the outputs. Tensors among these are disposed after use. */
export type Loss = (output: TrainingOutput, batch: Batch) => LossAndGradients | Promise<LossAndGradients>;

/** What a loss gives. */
export interface LossAndGradients {
  /** The value, to be made small. */
  readonly loss: number;
  /** Its gradients by the names of outputs; of a layer's one output by itself. */
  readonly gradients: OutputGradients;
}

/** Options of `train`. */
export interface TrainOptions {
  /** What learns; a `Trainable` where something is frozen, recomputed or adapted. */
  readonly model: Network | Trainable;
  /**
   * The batch of a step, of which the first is 1, or several, which make one step together: each counts by its labels; losses of
   * one's own are added up. What it returns should depend on its arguments only; then a training that was stopped goes on with the
   * same bits.
   */
  readonly data: (
    step: number,
    random: Random,
  ) => Batch | readonly Batch[] | Promise<Batch | readonly Batch[]>;
  /** Steps in all, those before a checkpoint included. */
  readonly steps: number;
  /** Of the random numbers of data and dropout: an integer from 0 to 2^53 - 1. Default 0. */
  readonly seed?: number | undefined;
  /** Of AdamW as PyTorch has it: a number, or a function of the step. Default 0.001. An `optimizer` has its own. */
  readonly learningRate?: number | Schedule | undefined;
  /** Makes another optimiser, or one with groups; the training disposes it. */
  readonly optimizer?: ((learner: Trainable) => Optimizer) | undefined;
  /** Gradients with a larger norm are scaled down to it. Default 1; Infinity leaves them alone. */
  readonly maxNorm?: number | undefined;
  /** Default the cross entropy of logits and labels, over all labels that are not -100. */
  readonly loss?: Loss | undefined;
  /** Parts that are left out at random, others in each step: a function of seed and step. Default none. */
  readonly dropout?: Omit<TrainingDropout, 'seed'> | undefined;
  /** A checkpoint to go on from, made with the same model, seed and kind of optimiser: bytes, a Blob, an address. */
  readonly resume?: FileSource | undefined;
  /** Ends the training within milliseconds, also in the middle of a step; parameters then are those of the last whole step. */
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
  /** Of the update, for parameters that no group of the optimiser matches. */
  readonly learningRate: number;
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
  /** Once it has begun: with the kernels there, and the checkpoint read. */
  #begun: Promise<Optimizer> | undefined;
  #optimizer: Optimizer | undefined;
  #step = 0;
  #iterated = false;
  #stepping = false;
  /** Settles when checkpoints that are being made have read what they hold. */
  #reading: Promise<unknown> = Promise.resolve();
  #disposed = false;

  /** @internal */
  constructor(options: TrainOptions) {
    super();
    checkTrainOptions(options);
    const { model } = options;
    this.#options = options;
    this.#ownsLearner = !(model instanceof Trainable);
    this.learner = model instanceof Trainable ? model : new Trainable(model);
  }

  /** Steps that were taken, those before a checkpoint included. */
  get step(): number {
    return this.#step;
  }

  /** What changes the parameters; undefined before the first step. */
  get optimizer(): Optimizer | undefined {
    return this.#optimizer;
  }

  /** Takes the steps that are left. */
  async *[Symbol.asyncIterator](): AsyncGenerator<TrainingStep, void, undefined> {
    if (this.#iterated) throw invalidState('the training is under way already');
    this.#iterated = true;
    try {
      const optimizer = await this.#begin();
      while (this.#step < this.#options.steps) {
        await this.#reading;
        this.#check();
        this.#stepping = true;
        let taken: TrainingStep;
        try {
          taken = await this.#take(optimizer);
        } finally {
          this.#stepping = false;
        }
        yield taken;
      }
    } finally {
      this.#iterated = false;
    }
  }

  /**
   * All that is needed to go on elsewhere: a safetensors file with the weights under their names, what the optimiser remembers under
   * `optimizer.`, adapters under `adapters.`, step and seed in its metadata. `loadModel` reads the weights with `leftOver: 'ignore'`.
   *
   * @throws AttentionError INVALID_STATE in the middle of a step, DISPOSED, OUT_OF_MEMORY
   */
  async checkpoint(): Promise<Uint8Array> {
    const optimizer = await this.#begin();
    if (this.#stepping) throw invalidState('the training is in the middle of a step');
    const { seed = 0 } = this.#options;
    const { learner } = this;
    const step = this.#step;
    const writing = import('./training-checkpoint.js').then(({ writeCheckpoint }) =>
      writeCheckpoint({ learner, optimizer, seed }, step),
    );
    const before = this.#reading;
    this.#reading = writing.then(
      () => before,
      () => before,
    );
    return writing;
  }

  /** Frees gradients and what the optimiser remembers; the network stays. Ends a step under way. Safe to repeat. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#optimizer?.dispose();
    if (this.#ownsLearner) this.learner.dispose();
  }

  #check(): void {
    this.#options.signal?.throwIfAborted();
    if (this.#disposed) throw new AttentionError({ code: 'DISPOSED', message: 'the training was disposed' });
  }

  /** Kernels, the optimiser, and the checkpoint to go on from: once, but again after a failure. */
  #begin(): Promise<Optimizer> {
    if (this.#disposed) this.#begun = undefined;
    return (this.#begun ??= this.#prepare().catch((error: unknown) => {
      this.#begun = undefined;
      throw error;
    }));
  }

  async #prepare(): Promise<Optimizer> {
    const { learner } = this;
    const { learningRate, resume, seed = 0, signal } = this.#options;
    this.#check();
    await learner.runtime.load(pack);
    this.#check();
    const make = this.#options.optimizer ?? (() => new AdamW(learner, { learningRate }));
    const optimizer = make(learner);
    if (!(optimizer instanceof Optimizer))
      throw invalidArgument('optimizer', 'a function that makes an Optimizer', optimizer);
    try {
      if (resume !== undefined) {
        const { readCheckpoint } = await import('./training-checkpoint.js');
        this.#step = await readCheckpoint(resume, { learner, optimizer, seed }, () => this.#check(), signal);
      }
      this.#check();
    } catch (error) {
      optimizer.dispose();
      throw error;
    }
    return (this.#optimizer = optimizer);
  }

  async #take(optimizer: Optimizer): Promise<TrainingStep> {
    const { data, seed = 0, maxNorm = 1, signal } = this.#options;
    const { learner } = this;
    const step = this.#step + 1;
    const start = performance.now();
    const batches = readBatches(await untilAborted(data(step, new Random(seed, step)), signal));
    this.#check();
    learner.zeroGradients();
    const loss = await this.#learn(step, batches);
    const gradientNorm = await clipGradientsAsync(learner, maxNorm, { signal });
    if (!Number.isFinite(gradientNorm)) throw this.#notFinite(step, 'norm of the gradients');
    this.#check();
    await optimizer.stepAsync();
    this.#step = step;
    const tokens = batches.reduce((sum, batch) => sum + tokensIn(batch), 0);
    const tokensPerSecond = (tokens / (performance.now() - start)) * 1000;
    return { step, loss, gradientNorm, learningRate: optimizer.learningRate!, tokens, tokensPerSecond };
  }

  /** Forward and back over all batches of a step; their loss together. */
  async #learn(step: number, batches: readonly Batch[]): Promise<number> {
    const { loss: own, dropout, seed = 0, signal } = this.#options;
    const { learner } = this;
    const labels = own ? [] : batches.map((batch) => labelsOf(batch));
    const counted = labels.reduce((sum, each) => sum + countOf(each), 0);
    let sum = 0;
    for (const [index, batch] of batches.entries()) {
      const output = await learner.forwardAsync(batch.inputs, {
        ...batch.options,
        ...(dropout && { dropout: { ...dropout, seed: new Random(seed, step).integer(2 ** 32) + index } }),
        signal,
      });
      let gradients: OutputGradients | undefined;
      try {
        const found = own
          ? await untilAborted(own(output, batch), signal, (late) => disposeAll(late?.gradients))
          : await crossEntropyOf(output, labels[index]!, 1 / Math.max(1, counted), signal);
        checkObject('loss()', found, 'an object with loss and gradients');
        gradients = found.gradients;
        if (typeof found.loss !== 'number') throw invalidArgument('loss().loss', 'a number', found.loss);
        if (!Number.isFinite(found.loss)) throw this.#notFinite(step, 'loss', output);
        sum += found.loss;
        (await learner.backwardAsync(output.record, gradients, { signal })).dispose();
      } finally {
        disposeAll(gradients);
        output.dispose();
      }
    }
    return sum;
  }

  /** Names the first tensor that holds NaN or infinity: parameters come before what is computed from them. */
  #notFinite(step: number, what: string, output?: TrainingOutput): AttentionError {
    const { learner } = this;
    const isBad = (values: Float32Array) => !values.every(Number.isFinite);
    const parameter = learner.kept.find((kept) => isBad(kept.read()))?.name;
    const adapter = learner.keptAdapters.find((kept) => isBad(kept.read()))?.name;
    const ofOutput = Object.entries(output ?? {}).find(
      ([, tensor]) => isTensor(tensor) && isBad(tensor.toFloat32Array()),
    )?.[0];
    const gradient = () => learner.parameterNames.find((name) => isBad(learner.gradient(name).data));
    const bad = parameter ?? adapter ?? ofOutput ?? gradient();
    const kind = bad === ofOutput ? 'output' : bad === (parameter ?? adapter) ? 'parameter' : 'gradient of';
    return new AttentionError({
      code: 'INVALID_STATE',
      argument: bad ?? what,
      message:
        `step ${step}: the ${what} is not finite` +
        (bad === undefined ? '' : `; the ${kind} ${bad} holds NaN or infinity`),
    });
  }
}

function checkTrainOptions(options: TrainOptions): void {
  checkOptions(options, TRAIN_NAMES, {}, '');
  const { data, steps, seed = 0, optimizer, learningRate, loss, maxNorm = 1, dropout } = options;
  if (typeof data !== 'function') throw invalidArgument('data', 'a function of the step', data);
  checkInteger('steps', steps, 0, Number.MAX_SAFE_INTEGER);
  checkInteger('seed', seed, 0, Number.MAX_SAFE_INTEGER);
  for (const [name, value] of Object.entries({ optimizer, loss }))
    if (value !== undefined && typeof value !== 'function') throw invalidArgument(name, 'a function', value);
  if (learningRate !== undefined) {
    scheduleOf('learningRate', learningRate);
    if (optimizer)
      throw invalidArgument('learningRate', 'nothing beside an optimizer, which has its own', learningRate);
  }
  if (!(typeof maxNorm === 'number' && maxNorm > 0))
    throw invalidArgument('maxNorm', 'a number above 0', maxNorm);
  if (dropout !== undefined) {
    checkOptions(dropout, { hidden: 1, attention: 1 } satisfies NamesOf<typeof dropout>, {}, 'dropout');
    dropoutOf({ dropout: { ...dropout, seed: 0 } });
  }
  checkAsyncOptions(options);
}

const invalidState = (message: string) => new AttentionError({ code: 'INVALID_STATE', message });

/** The cross entropy of the logits, a share of each label's. */
async function crossEntropyOf(
  { logits }: TrainingOutput,
  labels: Int32Array,
  factor: number,
  signal: AbortSignal | undefined,
): Promise<LossAndGradients> {
  if (!logits) throw invalidArgument('loss', 'a function, where the network has no logits', undefined);
  const options = { reduction: 'sum', factor, signal } as const;
  const { loss, gradient } = await crossEntropyAsync(logits, labels, options);
  return { loss: loss * factor, gradients: { logits: gradient! } };
}

/**
 * What callers' code gives, unless the signal comes first.
 *
 * @param discard what comes too late
 */
async function untilAborted<Given>(
  given: Given | Promise<Given>,
  signal: AbortSignal | undefined,
  discard: (late: Given) => void = () => {},
): Promise<Given> {
  if (!signal || !(given instanceof Promise)) return given;
  let abort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- a signal's reason may be anything
    abort = () => reject(signal.reason);
  });
  signal.addEventListener('abort', abort);
  try {
    signal.throwIfAborted();
    return await Promise.race([given, aborted]);
  } catch (error) {
    if (signal.aborted) given.then(discard, () => {});
    throw error;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function disposeAll(gradients: OutputGradients | undefined): void {
  if (typeof gradients !== 'object' || gradients === null) return;
  const tensors = 'data' in gradients ? [gradients] : Object.values(gradients);
  for (const tensor of tensors) if (isTensor(tensor)) tensor.dispose();
}
