// A model or a layer that learns: calls that keep what their way back needs, and gradients of the parameters by their names.

import { callAsync, callNow } from '../runtime/call.js';
import type { AsyncOptions } from '../runtime/call.js';
import type { CallScope } from '../runtime/call-scope.js';
import { checkInstance, checkOptions } from '../runtime/checks.js';
import type { NamesOf } from '../runtime/checks.js';
import { Disposable } from '../runtime/disposable.js';
import { AttentionError, describe, invalidArgument, shapeError } from '../runtime/errors.js';
import { checkDataType, checkRuntime } from '../runtime/inputs.js';
import type { TensorLike } from '../runtime/inputs.js';
import { sameShape, sizeOf } from '../runtime/layout.js';
import type { Operation } from '../runtime/operation.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Tensor } from '../runtime/tensor.js';
import { Parameters } from '../model/parameters.js';
import type { AdapterOptions } from './adapters.js';
import { Binder } from './bound.js';
import type { Adapting, BoundAdapter } from './bound.js';
import { dropoutOf } from './given.js';
import type {
  Network,
  Ran,
  Shaped,
  TrainedNetwork,
  TrainingForwardOptions,
  TrainingInputs,
} from './network.js';
import { TrainedMultiHeadAttention } from './layers/multi-head-attention.js';
import { TrainedLayer, TrainedModel } from './networks.js';
import type { KeptValues } from './kept-values.js';
import type { TrainableParameter, TrainableParameters } from './parameter.js';
import { Backward, Pool, Tape } from './tape.js';
import { placesIn, trainedParameters } from './trained-parameters.js';

/** Options of `Trainable`. */
export interface TrainableOptions {
  /** Parameters that stay as they are: an expression that their names match, or a function of the name. Default none. */
  readonly frozen?: RegExp | ((name: string) => boolean) | undefined;
  /**
   * Keep only what enters each block, and compute the rest again on the way back: a third more work, and memory of one block in
   * place of all. Default false.
   */
  readonly recompute?: boolean | undefined;
  /**
   * Low-rank adapters beside linear layers whose weights have names that match; everything else is frozen unless `frozen` says
   * otherwise. See `adapterState` and `mergeAdapters`.
   */
  readonly adapters?:
    | (AdapterOptions & {
        /** Names of the weights that get one: an expression that they match, or a function of the name. */
        readonly match: RegExp | ((name: string) => boolean);
      })
    | undefined;
}

const TRAINABLE_NAMES = { frozen: 1, recompute: 1, adapters: 1 } satisfies NamesOf<TrainableOptions>;

const FORWARD_NAMES = {
  context: 1,
  contextLengths: 1,
  keyLengths: 1,
  mask: 1,
  positions: 1,
  valueContext: 1,
  bias: 1,
  queryOffset: 1,
  causal: 1,
  dropout: 1,
} satisfies NamesOf<TrainingForwardOptions>;

/** Values of a parameter or of its gradient. */
export interface NamedValues {
  /** In order of the shape. */
  readonly data: Float32Array;
  /** As the checkpoint has it. */
  readonly shape: readonly number[];
}

/** Gradients by names of outputs; that of a layer's one output by itself. */
export type OutputGradients = TensorLike | Readonly<Record<string, TensorLike | undefined>>;

/**
 * What a forward pass keeps for the way back: disposing it frees the memory of what was computed.
 *
 * @example
 * ```js
 * const { logits, record } = learner.forward({ inputIds: [[5, 6, 7]] });
 * const { gradient } = crossEntropy(logits, [6, 7, 8]);
 * learner.backward(record, { logits: gradient });
 * record.dispose();
 * record.disposed; // true
 * ```
 */
export class TrainingRecord extends Disposable {
  /** @internal */
  readonly owner: Trainable;
  /** @internal */
  readonly tape: Tape;
  /** @internal */
  readonly ran: Ran;
  readonly #memory: readonly Tensor[];
  #disposed = false;

  /** @internal */
  constructor(owner: Trainable, tape: Tape, ran: Ran, memory: readonly Tensor[]) {
    super();
    this.owner = owner;
    this.tape = tape;
    this.ran = ran;
    this.#memory = memory;
  }

  /** True once disposed. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** @internal Keeps the memory until a call is over. */
  hold(scope: CallScope): void {
    if (this.#disposed) throw new AttentionError({ code: 'DISPOSED', message: 'the record was disposed' });
    for (const tensor of this.#memory) scope.use(tensor);
  }

  /** Frees what was kept. Safe to repeat. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.tape.dispose();
    for (const tensor of this.#memory) tensor.dispose();
  }
}

/**
 * What a forward pass gives: of these what the model has, and the record. The tensors lie in the memory that the record keeps.
 * Disposing it disposes all.
 *
 * @example
 * ```js
 * const output = learner.forward({ inputIds: [[5, 6, 7]] });
 * output.logits.shape; // [1, 3, 16]
 * output.lastHiddenState.shape; // [1, 3, 8]
 * output.dispose();
 * ```
 */
export class TrainingOutput extends Disposable {
  /** For `backward`. */
  readonly record: TrainingRecord;
  /** Of a layer. */
  declare readonly output: Tensor<'float32'>;
  /** After the last norm, [batch, length, channels]; of the decoder where there is one. */
  declare readonly lastHiddenState: Tensor<'float32'>;
  /** Of the encoder of a model that has both. */
  declare readonly encoderLastHiddenState: Tensor<'float32'>;
  /** Of a language model [batch, length, vocabulary]; of a classifier [batch, labels]. */
  declare readonly logits: Tensor<'float32'>;
  /** [batch, channels]. */
  declare readonly poolerOutput: Tensor<'float32'>;
  /** Of masked words, [batch, length, vocabulary] (BERT with both of its heads). */
  declare readonly predictionLogits: Tensor<'float32'>;
  /** Of the next sentence, [batch, 2] (BERT with both of its heads). */
  declare readonly seqRelationshipLogits: Tensor<'float32'>;
  /** [batch, labels] (DeiT). */
  declare readonly clsLogits: Tensor<'float32'>;
  /** [batch, labels] (DeiT). */
  declare readonly distillationLogits: Tensor<'float32'>;
  /** Of a sentence encoder, [batch, channels]. */
  declare readonly sentenceEmbedding: Tensor<'float32'>;
  /** Of a text, projected, [batch, channels] (CLIP). */
  declare readonly textFeatures: Tensor<'float32'>;
  /** Of a text, of length one. */
  declare readonly textEmbeddings: Tensor<'float32'>;
  /** Of a picture, projected, [batch, channels]. */
  declare readonly visionFeatures: Tensor<'float32'>;
  /** Of a picture, of length one. */
  declare readonly visionEmbeddings: Tensor<'float32'>;
  /** Of pictures and texts together, [pictures, texts]; logits by texts are its transpose. */
  declare readonly logitsPerImage: Tensor<'float32'>;
  readonly #tensors: readonly Tensor[];

  /** @internal */
  constructor(record: TrainingRecord, tensors: Readonly<Record<string, Tensor<'float32'>>>) {
    super();
    this.record = record;
    Object.assign(this, tensors);
    this.#tensors = Object.values(tensors);
  }

  /** Frees the tensors and the record. Safe to repeat. */
  dispose(): void {
    for (const tensor of this.#tensors) tensor.dispose();
    this.record.dispose();
  }
}

/**
 * What comes out of the way back: gradients of a layer's inputs. A model has none. Disposing it disposes its tensors.
 *
 * @example
 * ```js
 * const block = new Trainable(layer); // a MultiHeadAttention of width 8
 * const { output, record } = block.forward(x); // x [1, 5, 8]
 * const gradients = block.backward(record, output); // of half the sum of squares
 * gradients.x.shape; // [1, 5, 8]
 * gradients.dispose();
 * ```
 */
export class InputGradients extends Disposable {
  /** Of a layer's input, of its shape. */
  declare readonly x: Tensor<'float32'>;
  /** Of the tokens of an encoder, where the layer reads them. */
  declare readonly context: Tensor<'float32'>;
  /** Of what values come from, where that is something else. */
  declare readonly valueContext: Tensor<'float32'>;
  readonly #tensors: readonly Tensor[];

  /** @internal */
  constructor(tensors: Readonly<Record<string, Tensor<'float32'>>>) {
    super();
    Object.assign(this, tensors);
    this.#tensors = Object.values(tensors);
  }

  /** Frees the tensors. Safe to repeat. */
  dispose(): void {
    for (const tensor of this.#tensors) tensor.dispose();
  }
}

/**
 * A model or a layer that learns. It works on the very weights of the model, which goes on to be usable beside it; what it adds are
 * gradients, as much memory as the parameters that are trained.
 *
 * Backward adds to the gradients: several calls accumulate, until `zeroGradients`. A backward that was aborted, or ran
 * out of memory, may have added some of them: set them to zero and begin anew. Parameters change in an optimiser's step only.
 *
 * @example
 * ```js
 * const learner = new Trainable(gpt2, { frozen: /wte|wpe/ });
 * const optimizer = new AdamW(learner, { learningRate: 1e-3 });
 * const output = learner.forward({ inputIds: [[5, 6, 7]] });
 * const { loss, gradient } = crossEntropy(output.logits, [6, 7, 8]);
 * learner.backward(output.record, { logits: gradient });
 * output.dispose();
 * gradient.dispose();
 * optimizer.step();
 * learner.zeroGradients();
 * learner.parameterNames.includes('transformer.ln_f.weight'); // true
 * learner.gradient('transformer.ln_f.weight').shape; // [8]
 * ```
 */
export class Trainable extends Disposable implements TrainableParameters {
  /** Where the parameters are. */
  readonly runtime: Runtime;
  /** What is trained. */
  readonly network: Network;
  /** Names of the parameters that are trained, as the checkpoint or the layer has them. */
  readonly parameterNames: readonly string[];
  /** What optimisers and `clipGradients` take. */
  readonly parameters: readonly TrainableParameter[];
  readonly #parameters: Parameters;
  readonly #gradients: Parameters;
  readonly #trained: TrainedNetwork;
  #adapters: ReadonlyMap<string, BoundAdapter> = new Map();
  #disposed = false;

  /** @throws AttentionError INVALID_ARGUMENT, OUT_OF_MEMORY, INVALID_STATE of a layer without weights */
  constructor(network: Network, options: TrainableOptions = {}) {
    super();
    if (!isNetwork(network)) throw invalidArgument('network', 'a Model or a layer', network);
    checkRuntime(network.runtime);
    checkOptions(options, TRAINABLE_NAMES);
    checkUsable(network);
    const { recompute = false, adapters } = options;
    const { runtime } = network;
    const parameters = 'layout' in network ? new Parameters(runtime) : network.parameters;
    this.#parameters = parameters;
    this.network = network;
    this.runtime = runtime;
    this.#gradients = new Parameters(runtime);
    try {
      const frozen =
        options.frozen === undefined && adapters ? () => true : readMatch('frozen', options.frozen);
      const binder = new Binder(parameters, this.#gradients, frozen, adapters && readAdapting(adapters));
      this.#adapters = binder.adapters;
      this.#trained =
        'built' in network
          ? new TrainedModel(binder, network, recompute)
          : 'layout' in network
            ? new TrainedMultiHeadAttention(binder, network)
            : new TrainedLayer(binder, network.description, recompute);
      if (adapters && this.#adapters.size === 0)
        throw invalidArgument('adapters.match', 'what matches the weights of a linear layer', adapters.match);
      const added = [...this.#adapters.values()].flatMap(({ adapter }) => adapter.parameters);
      this.parameters = [...trainedParameters(this.#gradients, binder), ...added];
      const learnt = placesIn(this.#gradients).filter(({ source }) => binder.learns(source));
      this.parameterNames = [...new Set(learnt.map(({ name }) => name)), ...added.map(({ name }) => name)];
    } catch (error) {
      this.#gradients.dispose();
      for (const { adapter } of this.#adapters.values()) adapter.dispose();
      throw error;
    }
    this.zeroGradients();
  }

  /**
   * Runs the network and keeps what the way back needs.
   *
   * @param inputs of a model what its `forward` takes, of a layer [..., channels]
   * @throws AttentionError INVALID_ARGUMENT, INVALID_SHAPE, INVALID_DTYPE, INVALID_STATE, OUT_OF_MEMORY, before anything is written
   */
  forward(inputs: TrainingInputs, options: TrainingForwardOptions = {}): TrainingOutput {
    return callNow(trainingForwardOperation, [this, inputs], options);
  }

  /** {@link forward} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on. */
  forwardAsync(
    inputs: TrainingInputs,
    options: TrainingForwardOptions & AsyncOptions = {},
  ): Promise<TrainingOutput> {
    return callAsync(trainingForwardOperation, [this, inputs], options);
  }

  /**
   * Goes back from gradients of outputs, and adds to the gradients of the parameters.
   *
   * @param gradients of the loss by each output, of its shape; those that are not named are zero
   * @returns gradients of a layer's inputs
   * @throws AttentionError INVALID_ARGUMENT, INVALID_SHAPE, INVALID_DTYPE, DISPOSED, before anything is written; OUT_OF_MEMORY, after
   *   which some gradients may have been added
   */
  backward(record: TrainingRecord, gradients: OutputGradients): InputGradients {
    return callNow(trainingBackwardOperation, [this, record, gradients], {});
  }

  /** {@link backward} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on. */
  backwardAsync(
    record: TrainingRecord,
    gradients: OutputGradients,
    options: AsyncOptions = {},
  ): Promise<InputGradients> {
    return callAsync(trainingBackwardOperation, [this, record, gradients], options);
  }

  /** Sets all gradients of parameters to zero. */
  zeroGradients(): void {
    this.check();
    for (const tensor of this.#gradients.tensors) tensor.data.fill(0);
    for (const { adapter } of this.#adapters.values()) adapter.zeroGradients();
  }

  /**
   * The gradient of a parameter, in the shape that the checkpoint has. A copy.
   *
   * @throws AttentionError INVALID_ARGUMENT of a name that is not trained, DISPOSED
   */
  gradient(name: string): NamedValues {
    this.check();
    if (!this.parameterNames.includes(name))
      throw invalidArgument('name', 'the name of a parameter that is trained: see parameterNames', name);
    for (const { adapter } of this.#adapters.values()) {
      const found = adapter.gradient(name);
      if (found) return found;
    }
    return valuesOf(this.#gradients, name);
  }

  /**
   * A parameter as it is now, frozen or not, in the shape that the checkpoint has, without what adapters add. A copy, which `load` of
   * the layer takes, and `writeSafetensors` with a `dtype` beside it; models have `save`.
   *
   * @throws AttentionError INVALID_ARGUMENT of a name that the network does not have, DISPOSED
   */
  value(name: string): NamedValues {
    this.check();
    checkUsable(this.network);
    if (!this.#parameters.names.includes(name))
      throw invalidArgument('name', 'the name of a parameter of the network', name);
    return valuesOf(this.#parameters, name);
  }

  /**
   * The adapters' matrices by the names that PEFT gives them, such as 'model.layers.0.self_attn.q_proj.lora_A.weight', to be saved
   * apart.
   *
   * @returns new tensors, which are the caller's
   */
  adapterState(): Readonly<Record<string, Tensor<'float32'>>> {
    this.check();
    return Object.assign({}, ...[...this.#adapters.values()].map(({ adapter }) => adapter.state())) as Record<
      string,
      Tensor<'float32'>
    >;
  }

  /**
   * Goes on from matrices of `adapterState`.
   *
   * @throws AttentionError INVALID_ARGUMENT (a name that is missing), INVALID_SHAPE, INVALID_DTYPE
   */
  loadAdapters(state: Readonly<Record<string, TensorLike>>): void {
    this.check();
    for (const { adapter } of this.#adapters.values()) adapter.load(state);
  }

  /** Adds the adapters to the weights that they stand beside: the network then gives by itself what it gave with them. They begin anew. */
  mergeAdapters(): void {
    this.check();
    for (const { adapter, weights, firstOut } of this.#adapters.values()) adapter.merge(weights, firstOut);
  }

  /** Frees the gradients and the adapters; the network stays. Safe to repeat. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#gradients.dispose();
    for (const { adapter } of this.#adapters.values()) adapter.dispose();
    this.#trained.dispose();
  }

  /** @internal All parameters of the network, frozen ones too, for a checkpoint. */
  get kept(): KeptValues[] {
    this.check();
    const parameters = this.#parameters;
    return parameters.names.map((name) => ({
      name,
      shape: parameters.entry(name).shape,
      read: () => valuesOf(parameters, name).data,
      write: ({ buffer, byteOffset, byteLength }) =>
        parameters.write({
          ...{ name, dtype: 'F32', from: 0 },
          bytes: new Uint8Array(buffer, byteOffset, byteLength),
        }),
    }));
  }

  /** @internal The adapters' matrices, for a checkpoint. */
  get keptAdapters(): KeptValues[] {
    return [...this.#adapters.values()].flatMap(({ adapter }) => adapter.kept);
  }

  /** @internal */
  runForward(scope: CallScope, inputs: TrainingInputs, options: TrainingForwardOptions): TrainingOutput {
    this.#hold(scope);
    const memory: Tensor[] = [];
    const pool = new Pool((floats) => {
      const tensor = scope.makeApart([floats]);
      memory.push(tensor);
      return tensor;
    });
    const tape = new Tape(scope, pool, dropoutOf(options));
    const ran = this.#trained.run(tape, inputs, options, true);
    const record = scope.hand(new TrainingRecord(this, tape, ran, memory));
    const tensors = Object.entries(ran.outputs).map(([name, shaped]) => [
      name,
      scope.hand(view(shaped).share()),
    ]);
    return new TrainingOutput(record, Object.fromEntries(tensors) as Record<string, Tensor<'float32'>>);
  }

  /** @internal */
  runBackward(scope: CallScope, record: TrainingRecord, gradients: OutputGradients): InputGradients {
    this.#hold(scope);
    checkInstance('record', record, TrainingRecord);
    if (record.owner !== this)
      throw invalidArgument('record', 'one of a forward pass of this Trainable', record);
    record.hold(scope);
    const { tape, ran } = record;
    const back = new Backward(scope);
    for (const [name, given] of Object.entries(named(gradients, ran))) {
      const shaped = ran.outputs[name]!;
      const tensor = scope.tensor(`gradients.${name}`, given);
      checkDataType(`gradients.${name}`, tensor, 'float32');
      if (!sameShape(tensor.shape, shaped.shape))
        throw shapeError(`gradients.${name}`, describe(shaped.shape), tensor.shape);
      if (!shaped.value.trained || tensor.size === 0) continue;
      const target = back.tensorOf(shaped.value);
      scope.copy(tensor, target.withLayout(tensor.shape, view(shaped).strides));
    }
    tape.run(back);
    const tensors = Object.entries(ran.inputs).map(([name, { value, shape }]) => {
      const tensor = scope.make(shape);
      const gradient = back.has(value) ? back.tensorOf(value) : undefined;
      if (gradient) scope.copy(gradient.withLayout(shape, tensor.strides), tensor);
      else scope.then(() => tensor.data.fill(0));
      return [name, tensor];
    });
    return new InputGradients(Object.fromEntries(tensors) as Record<string, Tensor<'float32'>>);
  }

  /** Keeps what a call reads and writes until it is over. */
  #hold(scope: CallScope): void {
    this.check();
    checkUsable(this.network);
    this.#parameters.hold(scope);
    this.#gradients.hold(scope);
  }

  /** @internal Throws DISPOSED. */
  check(): void {
    this.runtime.check();
    if (this.#disposed) throw new AttentionError({ code: 'DISPOSED', message: 'the Trainable was disposed' });
  }
}

function valuesOf(parameters: Parameters, name: string): NamedValues {
  const { shape } = parameters.entry(name);
  const bytes = parameters.read(name, 0, sizeOf(shape), 'F32');
  return { data: new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4), shape };
}

/** Models, layers and `MultiHeadAttention` are told by what they have: a program that trains one of them loads none of the others. */
function isNetwork(given: unknown): boolean {
  if (typeof given !== 'object' || given === null) return false;
  return 'parts' in given || ('parameters' in given && 'description' in given);
}

function checkUsable(network: Network): void {
  if ('built' in network) network.check();
  else if ('layout' in network)
    void network.parts; // throws
  else network.checkLoaded();
}

/** What a caller sees of a value. */
function view({ value, shape }: Shaped): Tensor<'float32'> {
  const strides = shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
  return value.tensor.withLayout(shape, strides);
}

/** Whether names are meant. */
function readMatch(argument: string, match: TrainableOptions['frozen']): (name: string) => boolean {
  if (match === undefined) return () => false;
  if (match instanceof RegExp) {
    const expression = new RegExp(match.source, match.flags.replace(/[gy]/g, ''));
    return (name) => expression.test(name);
  }
  if (typeof match === 'function') return (name) => match(name);
  throw invalidArgument(argument, 'a regular expression or a function of the name', match);
}

function readAdapting({ match, ...options }: TrainableOptions['adapters'] & object): Adapting {
  if (match === undefined)
    throw invalidArgument('adapters.match', 'a regular expression or a function', match);
  return { ...options, matches: readMatch('adapters.match', match) };
}

/** Gradients by the names of outputs. */
function named(gradients: OutputGradients, { outputs }: Ran): Record<string, TensorLike> {
  if (gradients === null || typeof gradients !== 'object')
    throw invalidArgument(
      'gradients',
      'a tensor, or an object of tensors by the names of outputs',
      gradients,
    );
  if ('data' in gradients) return { output: gradients as TensorLike };
  const given: Record<string, TensorLike> = {};
  for (const [name, tensor] of Object.entries(gradients as Record<string, TensorLike | undefined>)) {
    if (tensor === undefined) continue;
    if (!Object.hasOwn(outputs, name))
      throw invalidArgument('gradients', `names among ${Object.keys(outputs).join(', ')}`, name);
    given[name] = tensor;
  }
  return given;
}

const trainingForwardOperation: Operation<
  [trainable: Trainable, inputs: TrainingInputs],
  TrainingForwardOptions,
  TrainingOutput
> = {
  inputs: ['trainable', 'inputs'],
  options: FORWARD_NAMES,
  runtime: ([trainable]) => checkInstance('trainable', trainable, Trainable).runtime,
  run: (scope, [trainable, inputs], options) => trainable.runForward(scope, inputs, options),
};

const trainingBackwardOperation: Operation<
  [trainable: Trainable, record: TrainingRecord, gradients: OutputGradients],
  object,
  InputGradients
> = {
  inputs: ['trainable', 'record', 'gradients'],
  options: {},
  runtime: ([trainable]) => checkInstance('trainable', trainable, Trainable).runtime,
  run: (scope, [trainable, record, gradients]) => trainable.runBackward(scope, record, gradients),
};
