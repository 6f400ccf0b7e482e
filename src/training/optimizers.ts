// Optimisers: steps that change parameters where they lie. What they remember of earlier steps lies in linear memory, laid out as the
// parameters are, so that a step is one pass over flat arrays.
//
// A step plans everything first: what can fail fails before anything is written. Once it has begun it goes to its end, in slices too:
// an abort comes before it or after it, and parameters are the old ones or the new ones.

import { adamWParameters, sgdParameters, UPDATED_TOGETHER } from '../../build/kernels.js';
import { power } from '../math/elementary.js';
import { packPiece, unpackPiece } from '../ops/linear/packing.js';
import { callAsync, checkAsyncOptions, runInScope } from '../runtime/call.js';
import type { AsyncOptions } from '../runtime/call.js';
import type { CallScope } from '../runtime/call-scope.js';
import { checkObject, checkOptions } from '../runtime/checks.js';
import type { Names, NamesOf } from '../runtime/checks.js';
import { Disposable } from '../runtime/disposable.js';
import { AttentionError, describe, invalidArgument, shapeError } from '../runtime/errors.js';
import { checkDataType } from '../runtime/inputs.js';
import type { TensorLike } from '../runtime/inputs.js';
import { sameShape, sizeOf } from '../runtime/layout.js';
import type { Operation } from '../runtime/operation.js';
import { ParameterBlock } from '../runtime/parameters.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Tensor } from '../runtime/tensor.js';
import type { Work } from '../runtime/tiles.js';
import { keptIn } from './kept-values.js';
import type { KeptValues } from './kept-values.js';
import { checkTrainable } from './parameter.js';
import type { TrainableParameters, TrainableParameter } from './parameter.js';
import { checkRate, scheduleOf } from './schedules.js';
import type { Schedule } from './schedules.js';

/** Parameters that are treated in a way of their own. */
export interface ParameterGroup {
  /** Which ones, by their names. A parameter belongs to the first group that it matches. */
  readonly match: RegExp | ((name: string) => boolean);
  /** Default: that of the optimiser. */
  readonly learningRate?: number | Schedule | undefined;
  /** Default: that of the optimiser. */
  readonly weightDecay?: number | undefined;
}

/** What all optimisers take. */
export interface OptimizerOptions {
  /** A number, or a function of the step, of which the first is 1: see `linearWarmup` and `cosine`. Default 0.001. */
  readonly learningRate?: number | Schedule | undefined;
  /** Of all parameters that no group says otherwise of: biases and norms too. */
  readonly weightDecay?: number | undefined;
  /** Default none. For no decay of biases and norms: `[{ match: /bias|norm/i, weightDecay: 0 }]`. */
  readonly groups?: readonly ParameterGroup[] | undefined;
}

/** Names and values of what an optimiser remembers, as `writeSafetensors` takes it and a checkpoint holds it. */
export type OptimizerState = Readonly<Record<string, TensorLike>>;

interface Group {
  readonly rate: Schedule;
  readonly weightDecay: number;
}

/** A parameter, how it is treated, and what is remembered of it: by names, each laid out as the parameter. */
interface Slot {
  readonly parameter: TrainableParameter;
  readonly group: Group;
  readonly memory: ReadonlyMap<string, Tensor<'float32'>>;
}

/** What a step of one parameter is made of. */
interface Step {
  readonly values: number;
  readonly gradients: number;
  readonly count: number;
  /** Address of what is remembered under a name. */
  readonly memory: (name: string) => number;
  readonly learningRate: number;
  readonly weightDecay: number;
  /** The first is 1. */
  readonly number: number;
}

/**
 * What optimisers have in common. Made by `new AdamW(...)` and `new SGD(...)`.
 *
 * @example
 * ```js
 * const weights = { value: runtime.tensor([1, 2]), gradient: runtime.tensor([1, 1]) };
 * const optimizer = new SGD(trainableTensors(runtime, { weights }), { learningRate: 0.5 });
 * optimizer instanceof Optimizer; // true
 * optimizer.steps; // 0
 * ```
 */
export abstract class Optimizer extends Disposable {
  /** Where the parameters are. */
  readonly runtime: Runtime;
  /** @internal Which optimiser it is, whatever a bundler makes of the name of its class. */
  abstract readonly kind: 'AdamW' | 'SGD';
  readonly #slots: readonly Slot[];
  /** Parameters that no group matches. */
  readonly #others: Group;
  #steps = 0;
  #learningRate: number | undefined;
  #busy = false;
  #disposed = false;

  /** @internal @param names of what is remembered of each parameter */
  protected constructor(trainable: TrainableParameters, options: OptimizerOptions, names: readonly string[]) {
    super();
    checkTrainable(trainable);
    const { groupOf, others } = readGroups(options);
    this.#others = others;
    const { runtime, parameters } = trainable;
    checkNames(parameters);
    this.runtime = runtime;
    this.#slots = runInScope(runtime, (scope) =>
      parameters.map((parameter) => ({
        parameter,
        group: groupOf(parameter.name),
        memory: new Map(names.map((name) => [name, zeros(scope, parameter.count)])),
      })),
    );
  }

  /** Steps taken so far. */
  get steps(): number {
    return this.#steps;
  }

  /** That of the last step, for parameters that no group matches; undefined before the first. */
  get learningRate(): number | undefined {
    return this.#learningRate;
  }

  /**
   * Changes every parameter by its gradient. Needs the kernels of `wasm-attention/training`.
   *
   * @throws AttentionError INVALID_ARGUMENT (a learning rate that is none), INVALID_STATE, DISPOSED, OUT_OF_MEMORY, before anything is
   *   written
   */
  step(): void {
    runInScope(this.runtime, (scope) => this.plan(scope));
  }

  /**
   * {@link step} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on. A signal that
   * is aborted before the step begins ends it; a step that has begun goes to its end.
   */
  async stepAsync(options: Pick<AsyncOptions, 'signal'> = {}): Promise<void> {
    checkOptions(options, { signal: 1 });
    checkAsyncOptions(options);
    options.signal?.throwIfAborted();
    await callAsync(stepOperation, [this], {});
  }

  /** @internal */
  plan(scope: CallScope): void {
    this.#begin(scope);
    const number = this.#steps + 1;
    const rates = new Map<Group, number>();
    const rateOf = (group: Group) => {
      const learningRate = rates.get(group) ?? checkRate('learningRate', group.rate(number));
      rates.set(group, learningRate);
      return learningRate;
    };
    const usual = rateOf(this.#others);
    const works = this.#slots.map(({ parameter, group, memory }) => {
      const learningRate = rateOf(group);
      return this.work(scope, {
        values: parameter.address(scope),
        gradients: parameter.gradientAddress(scope),
        count: parameter.count,
        memory: (name) => scope.use(memory.get(name)!).address,
        ...{ learningRate, weightDecay: group.weightDecay, number },
      });
    });
    for (const work of works) scope.run(work);
    scope.then(() => {
      this.#steps = number;
      this.#learningRate = usual;
    });
  }

  /** @internal What one step does to one parameter. */
  protected abstract work(scope: CallScope, step: Step): Work;

  /**
   * What the optimiser remembers: `step`, and for each parameter what PyTorch calls the same, of the parameter's shape. With it and
   * the parameters a training goes on with the same bits.
   *
   * @returns new tensors, which are the caller's
   * @throws AttentionError OUT_OF_MEMORY, DISPOSED, INVALID_STATE (kernels not loaded)
   */
  state(): Readonly<Record<string, Tensor<'float32'>>> {
    return runInScope(this.runtime, (scope) => {
      this.#begin(scope);
      const step = scope.make([1]);
      step.data[0] = this.#steps;
      const state: Record<string, Tensor<'float32'>> = { step };
      for (const [name, shape, remembered, matrix] of this.#remembered(scope)) {
        const tensor = scope.make(shape);
        state[name] = tensor;
        if (matrix) unpackPiece(scope, matrix, { address: tensor.address, dtype: 'F32' });
        else tensor.data.set(remembered.data);
      }
      return state;
    });
  }

  /**
   * Goes on from a state of `state`.
   *
   * @throws AttentionError INVALID_ARGUMENT (a name that is missing or unknown), INVALID_SHAPE, INVALID_DTYPE, OUT_OF_MEMORY, DISPOSED,
   *   INVALID_STATE (kernels not loaded), before anything is written
   */
  load(state: OptimizerState): void {
    runInScope(
      this.runtime,
      (scope) => {
        this.#begin(scope);
        checkObject('state', state);
        const places = [...this.#remembered(scope)];
        const names = new Set(['step', ...places.map(([name]) => name)]);
        for (const name of Object.keys(state)) {
          if (!names.has(name))
            throw invalidArgument(`state.${name}`, 'the name of something remembered', name);
        }
        const given = new Map([...names].map((name) => [name, stateTensor(scope, state, name)]));
        const step = given.get('step')!;
        const steps = step.size === 1 ? step.data[0]! : -1;
        if (!(Number.isInteger(steps) && steps >= 0))
          throw invalidArgument('state.step', 'one integer >= 0', steps);
        for (const [name, shape] of places) {
          const tensor = given.get(name)!;
          if (!sameShape(tensor.shape, shape))
            throw shapeError(`state.${name}`, describe(shape), tensor.shape);
        }
        if (places.some(([, , , matrix]) => matrix)) this.runtime.kernelsOf('model');
        for (const [name, , remembered, matrix] of places) {
          const tensor = given.get(name)!;
          if (matrix) packPiece(scope, matrix, { address: tensor.address, dtype: 'F32' });
          else remembered.data.set(tensor.data);
        }
        this.#steps = steps;
      },
      [state],
    );
  }

  /** @internal The same as `state`, one array after the other, for a checkpoint. */
  get kept(): KeptValues[] {
    const step: KeptValues = {
      name: 'step',
      shape: [1],
      read: () => Float32Array.of(this.#steps),
      write: ([steps]) => (this.#steps = steps!),
    };
    const remembered = this.#slots.flatMap(({ parameter, memory }) =>
      [...memory].map(([name, tensor]) =>
        keptIn(this.runtime, `${parameter.name}.${name}`, parameter, tensor),
      ),
    );
    return [step, ...remembered];
  }

  /** Names, shapes and places of what is remembered; of matrices how they are packed. */
  *#remembered(scope: CallScope) {
    for (const { parameter, memory } of this.#slots) {
      for (const [name, tensor] of memory) {
        const { shape, kind } = parameter;
        const outFeatures = shape[0]!;
        const inFeatures = sizeOf(shape) / outFeatures;
        const packed = scope.use(tensor);
        const matrix = kind === 'panels' ? { inFeatures, outFeatures, packed } : undefined;
        yield [`${parameter.name}.${name}`, shape, packed, matrix] as const;
      }
    }
  }

  /** Throws unless the optimiser is there and idle, and keeps others away until the call is over. */
  #begin(scope: CallScope): void {
    if (this.#disposed) throw new AttentionError({ code: 'DISPOSED', message: 'the optimizer was disposed' });
    if (this.#busy) {
      throw new AttentionError({
        code: 'INVALID_STATE',
        message: 'the optimizer is in the middle of a step',
      });
    }
    this.#busy = true;
    scope.onEnd(() => (this.#busy = false));
  }

  /** Frees what is remembered; the parameters stay. Safe to repeat. */
  dispose(): void {
    this.#disposed = true;
    for (const { memory } of this.#slots) for (const tensor of memory.values()) tensor.dispose();
  }
}

const stepOperation: Operation<[Optimizer], Record<string, never>, void> = {
  inputs: ['optimizer'],
  options: {},
  runtime: ([optimizer]) => optimizer.runtime,
  run: (scope, [optimizer]) => optimizer.plan(scope),
};

function zeros(scope: CallScope, count: number): Tensor<'float32'> {
  const tensor = scope.makeApart([count]);
  tensor.data.fill(0);
  return tensor;
}

function stateTensor(scope: CallScope, state: OptimizerState, name: string): Tensor<'float32'> {
  const argument = `state.${name}`;
  if (!Object.hasOwn(state, name)) throw invalidArgument(argument, 'a tensor', undefined);
  const tensor = scope.tensor(argument, state[name]!);
  checkDataType(argument, tensor, 'float32');
  return scope.contiguous(tensor);
}

function checkNames(parameters: readonly TrainableParameter[]): void {
  const names = new Set<string>();
  for (const { name } of parameters) {
    if (names.has(name)) throw invalidArgument('trainable.parameters', 'names of their own', name);
    names.add(name);
  }
}

/** Finds the group of a parameter, and that of parameters which no group matches. */
function readGroups({ learningRate = 0.001, weightDecay = 0, groups = [] }: OptimizerOptions) {
  const others: Group = {
    rate: scheduleOf('learningRate', learningRate),
    weightDecay: checkRate('weightDecay', weightDecay),
  };
  if (!Array.isArray(groups)) throw invalidArgument('groups', 'a list of groups', groups);
  const known = (groups as readonly ParameterGroup[]).map((group, i) => {
    const argument = `groups[${i}]`;
    checkOptions(group, GROUP_NAMES, {}, argument);
    return {
      matches: readMatch(`${argument}.match`, group.match),
      rate:
        group.learningRate === undefined
          ? others.rate
          : scheduleOf(`${argument}.learningRate`, group.learningRate),
      weightDecay: checkRate(`${argument}.weightDecay`, group.weightDecay ?? weightDecay),
    };
  });
  const groupOf = (name: string): Group => known.find(({ matches }) => matches(name)) ?? others;
  return { groupOf, others };
}

const GROUP_NAMES = { match: 1, learningRate: 1, weightDecay: 1 } satisfies NamesOf<ParameterGroup>;

function readMatch(argument: string, match: ParameterGroup['match']): (name: string) => boolean {
  if (typeof match === 'function') return match;
  if (match instanceof RegExp) return (name) => name.search(match) >= 0;
  throw invalidArgument(argument, 'a regular expression or a function of the name', match);
}

const OPTIMIZER_NAMES = { learningRate: 1, weightDecay: 1, groups: 1 } satisfies NamesOf<OptimizerOptions>;

/** The options, known by their names, before anything else looks at them. */
function named<Options extends object>(options: Options, more: Names): Options {
  checkOptions(options, OPTIMIZER_NAMES, more);
  return options;
}

/** A share that is kept from step to step. */
function checkShare(argument: string, share: unknown): void {
  if (typeof share === 'number' && share >= 0 && share < 1) return;
  throw invalidArgument(argument, 'a number from 0 to below 1', share);
}

/** Options of `AdamW`. */
export interface AdamWOptions extends OptimizerOptions {
  /** Shares of the mean of gradients, and of that of their squares, that are kept at each step. Default [0.9, 0.999]. */
  readonly betas?: readonly [number, number] | undefined;
  /** Added to the root of the mean square. Default 1e-8. */
  readonly epsilon?: number | undefined;
  /** Default 0.01. */
  readonly weightDecay?: number | undefined;
}

const adamWBlock = /* @__PURE__ */ new ParameterBlock(adamWParameters);

/**
 * Adam with decoupled weight decay, as PyTorch computes it: at step t
 *
 * - value = (1 - learningRate * weightDecay) * value
 * - mean = beta1 * mean + (1 - beta1) * gradient; square = beta2 * square + (1 - beta2) * gradient^2
 * - value = value - learningRate * (mean / (1 - beta1^t)) / (sqrt(square / (1 - beta2^t)) + epsilon)
 *
 * Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019).
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const value = runtime.tensor([1, 1]);
 * const gradient = runtime.tensor([0.5, -0.25]);
 * const optimizer = new AdamW(trainableTensors(runtime, { weight: { value, gradient } }), {
 *   learningRate: linearWarmup(cosine(0.5, { steps: 100 }), { steps: 2 }),
 *   groups: [{ match: /bias|norm/i, weightDecay: 0 }],
 * });
 * optimizer.step();
 * value.data; // about [0.7475, 1.2475]
 * ```
 */
export class AdamW extends Optimizer {
  /** @internal */
  readonly kind = 'AdamW';
  readonly #betas: readonly [number, number];
  readonly #epsilon: number;
  /** What is missing from the means at a step, which is the same for all parameters. */
  #corrections = { number: 0, mean: 1, square: 1 };

  /**
   * @param trainable what has parameters: see `trainableTensors`
   * @throws AttentionError INVALID_ARGUMENT, OUT_OF_MEMORY, DISPOSED
   */
  constructor(trainable: TrainableParameters, options: AdamWOptions = {}) {
    const { betas = [0.9, 0.999], epsilon = 1e-8, ...common } = named(options, { betas: 1, epsilon: 1 });
    if (!Array.isArray(betas) || betas.length !== 2) throw invalidArgument('betas', 'two numbers', betas);
    betas.forEach((beta, i) => checkShare(`betas[${i}]`, beta));
    checkRate('epsilon', epsilon);
    super(trainable, { ...common, weightDecay: common.weightDecay ?? 0.01 }, ['exp_avg', 'exp_avg_sq']);
    this.#betas = [betas[0], betas[1]];
    this.#epsilon = epsilon;
  }

  /** @internal */
  protected work(scope: CallScope, step: Step): Work {
    const { values, gradients, count, memory, learningRate, weightDecay, number } = step;
    const [ofMean, ofSquare] = this.#betas;
    const corrections = this.#correctionsAt(number);
    const parameters = scope.allocate(adamWBlock.bytes);
    adamWBlock.write(scope.runtime.linearMemory, parameters, [
      {
        ...{ values, gradients, count },
        means: memory('exp_avg'),
        squares: memory('exp_avg_sq'),
        kept: 1 - learningRate * weightDecay,
        meanShare: 1 - ofMean,
        squaresKept: ofSquare,
        squareShare: 1 - ofSquare,
        stepSize: learningRate / corrections.mean,
        rootFactor: 1 / Math.sqrt(corrections.square),
        epsilon: this.#epsilon,
      },
    ]);
    return {
      pack: 'training',
      kernel: 'stepAdamW',
      args: [parameters],
      tiles: Math.ceil(count / UPDATED_TOGETHER),
      scratchBytes: 0,
      cost: 60 * count,
    };
  }

  #correctionsAt(number: number) {
    if (this.#corrections.number !== number) {
      const [mean, square] = this.#betas.map((beta) => 1 - power(beta, number)) as [number, number];
      this.#corrections = { number, mean, square };
    }
    return this.#corrections;
  }
}

/** Options of `SGD`. */
export interface SGDOptions extends OptimizerOptions {
  /** Share of the velocity that is kept at each step. Default 0. */
  readonly momentum?: number | undefined;
  /** Look ahead along the velocity; needs momentum. Default false. */
  readonly nesterov?: boolean | undefined;
  /** Default 0. */
  readonly weightDecay?: number | undefined;
}

const sgdBlock = /* @__PURE__ */ new ParameterBlock(sgdParameters);

/**
 * Gradient descent with momentum, as PyTorch computes it:
 *
 * - step = gradient + weightDecay * value
 * - velocity = momentum * velocity + step; step = velocity, or with `nesterov` step + momentum * velocity
 * - value = value - learningRate * step
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const value = runtime.tensor([1, 2]);
 * const gradient = runtime.tensor([1, -1]);
 * const optimizer = new SGD(trainableTensors(runtime, { weight: { value, gradient } }), {
 *   learningRate: 0.5,
 *   momentum: 0.5,
 * });
 * optimizer.step(); // to [0.5, 2.5]
 * optimizer.step();
 * value.data; // [-0.25, 3.25]
 * ```
 */
export class SGD extends Optimizer {
  /** @internal */
  readonly kind = 'SGD';
  readonly #momentum: number;
  readonly #nesterov: boolean;

  /**
   * @param trainable what has parameters: see `trainableTensors`
   * @throws AttentionError INVALID_ARGUMENT, OUT_OF_MEMORY, DISPOSED
   */
  constructor(trainable: TrainableParameters, options: SGDOptions = {}) {
    const { momentum = 0, nesterov = false, ...common } = named(options, { momentum: 1, nesterov: 1 });
    checkShare('momentum', momentum);
    if (nesterov && momentum === 0) throw invalidArgument('nesterov', 'false without momentum', nesterov);
    super(trainable, common, momentum > 0 ? ['momentum_buffer'] : []);
    this.#momentum = momentum;
    this.#nesterov = nesterov;
  }

  /** @internal */
  protected work(scope: CallScope, step: Step): Work {
    const { values, gradients, count, memory, learningRate, weightDecay } = step;
    const parameters = scope.allocate(sgdBlock.bytes);
    sgdBlock.write(scope.runtime.linearMemory, parameters, [
      {
        ...{ values, gradients, count, learningRate, weightDecay },
        velocities: this.#momentum > 0 ? memory('momentum_buffer') : 0,
        momentum: this.#momentum,
        nesterov: this.#nesterov ? 1 : 0,
      },
    ]);
    return {
      pack: 'training',
      kernel: 'stepSgd',
      args: [parameters],
      tiles: Math.ceil(count / UPDATED_TOGETHER),
      scratchBytes: 0,
      cost: 40 * count,
    };
  }
}
