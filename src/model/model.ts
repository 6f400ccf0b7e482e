// A model: stacks and heads over loaded parameters, and its calls.

import type { KeyValueCache, KeyValueCacheOptions } from '../cache/key-value-cache.js';
import { callAsync, callNow } from '../runtime/call.js';
import type { AsyncOptions } from '../runtime/call.js';
import type { CallScope } from '../runtime/call-scope.js';
import { checkInstance } from '../runtime/checks.js';
import type { NamesOf } from '../runtime/checks.js';
import { Disposable } from '../runtime/disposable.js';
import { AttentionError, invalidArgument } from '../runtime/errors.js';
import type { Operation } from '../runtime/operation.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Tensor } from '../runtime/tensor.js';
import type { GenerationDefaults, ModelDescription, TokenInput } from './description.js';
import type { GenerateOptions, GenerationStep } from './generation/generate.js';
import type { Head, PooledTokens } from './heads.js';
import { namedInputs, readTokens } from './inputs.js';
import type { ModelInputs } from './inputs.js';
import { rowsOfTensor, Stack } from './layers/stack.js';
import { ModelOutput } from './output.js';
import type { ModelResults } from './output.js';
import type { Parameters } from './parameters.js';
import type { Parts } from './parts.js';
import type { SaveOptions } from './save.js';
import { countsOf, IDS, runSignals, runTokens } from './run.js';
import type { Ran, WantedOfStack } from './run.js';
import type { SentencePooling } from './sentence.js';

/** Options of a call of a model. */
export interface ModelForwardOptions {
  /** Logits of all tokens (default), of the last token of each row only, or none. Of language models. */
  readonly logits?: 'all' | 'last' | 'none' | undefined;
  /** Also return what enters each block. */
  readonly returnHiddenStates?: boolean | undefined;
  /** Also return a record of each block's attention, for `attentionWeights`, `attentionEntropy`, `topKeys`, `receivedWeight`. */
  readonly returnRecord?: boolean | undefined;
  /** Also return the weights of each block, [batch, heads, queries, keys]: memory grows with the square of the length. */
  readonly returnWeights?: boolean | undefined;
  /** Tokens go on after those it holds, and are appended to it: `model.createCache()`. Of decoders. */
  readonly cache?: KeyValueCache | undefined;
}

const FORWARD_NAMES = {
  logits: 1,
  returnHiddenStates: 1,
  returnRecord: 1,
  returnWeights: 1,
  cache: 1,
} satisfies NamesOf<ModelForwardOptions>;

/** What stands over the parameters of a model. */
export interface BuiltModel {
  readonly stacks: readonly Stack[];
  readonly heads: readonly Head[];
  readonly visionHeads: readonly Head[];
  readonly sentence: SentencePooling | undefined;
  readonly logitScale: Tensor<'float32'> | undefined;
}

/**
 * A transformer with its weights, made by `loadModel`.
 *
 * @example
 * ```js
 * const { logits } = gpt2.forward({ inputIds: [[5, 6, 7]] });
 * logits.shape; // [1, 3, 16]
 * ```
 */
export class Model extends Disposable {
  /** Where the weights are. */
  readonly runtime: Runtime;
  /** What it is made of, and what its checkpoint calls it. */
  readonly description: ModelDescription;
  /** Names in the checkpoint that the model has no use for. */
  leftAside: readonly string[] = [];
  /** @internal */
  readonly parameters: Parameters;
  /** @internal */
  readonly built: BuiltModel;
  /** @internal */
  readonly parts: Parts;
  readonly #ownsRuntime: boolean;
  #disposed = false;

  /** @internal */
  constructor(
    parameters: Parameters,
    description: ModelDescription,
    built: BuiltModel,
    { parts, ownsRuntime }: { readonly parts: Parts; readonly ownsRuntime: boolean },
  ) {
    super();
    this.runtime = parameters.runtime;
    this.parameters = parameters;
    this.description = description;
    this.built = built;
    this.parts = parts;
    this.#ownsRuntime = ownsRuntime;
  }

  /** The family, as `model_type` in configs calls it. */
  get family(): string {
    return this.description.family;
  }

  /** Weights and biases, those that are used twice counted once. */
  get parameterCount(): number {
    return this.parameters.count;
  }

  /** Bytes of linear memory that the weights take. */
  get bytes(): number {
    return this.parameters.bytes;
  }

  /** @internal How generation begins and ends. */
  get generationDefaults(): GenerationDefaults {
    return this.description.generation ?? { endTokenIds: [] };
  }

  /** @internal The stack that speaks. */
  get decoder(): Stack {
    return this.built.stacks.at(-1)!;
  }

  /**
   * Runs the model.
   *
   * @throws AttentionError INVALID_ARGUMENT, INVALID_SHAPE, INVALID_DTYPE, INVALID_STATE, OUT_OF_MEMORY
   */
  forward(inputs: ModelInputs, options: ModelForwardOptions = {}): ModelOutput {
    return callNow(modelOperation, [this, inputs], options);
  }

  /** {@link forward} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on. */
  forwardAsync(inputs: ModelInputs, options: ModelForwardOptions & AsyncOptions = {}): Promise<ModelOutput> {
    return callAsync(modelOperation, [this, inputs], options);
  }

  /**
   * A key/value cache with this model's sizes, for `forward` of decoders.
   *
   * @throws AttentionError UNSUPPORTED of a model that is no decoder
   */
  createCache(options: Pick<KeyValueCacheOptions, 'batch' | 'capacity' | 'storage'> = {}): KeyValueCache {
    this.check();
    const { decoding } = this.parts;
    if (decoding) return decoding.createCache(this, options);
    throw new AttentionError({
      code: 'UNSUPPORTED',
      argument: 'createCache',
      expected: 'a decoder',
      received: `${this.family}, which reads all of its input at once`,
    });
  }

  /**
   * Goes on with texts, a token at a time: prompts of any lengths side by side, greedily or by chance (temperature, topK, topP, seed).
   * Of encoders with decoders the encoder's input is given, and where the decoder begins, if not as the config says.
   *
   * ```js
   * for await (const { tokens } of gpt2.generate({ inputIds: [[5, 6, 7]] }, { maxNewTokens: 20 })) console.log(tokens[0]);
   * ```
   *
   * @throws AttentionError INVALID_ARGUMENT, UNSUPPORTED of a model that is no decoder, INVALID_STATE, OUT_OF_MEMORY: all when the first
   *   token is asked for
   */
  async *generate(
    inputs: ModelInputs,
    options: GenerateOptions = {},
  ): AsyncGenerator<GenerationStep, void, undefined> {
    const { generate } = await import('./generation/generate.js');
    yield* generate(this, inputs, options);
  }

  /** Reads the beginning of a prompt once, for the option `prefix` of any number of calls of `generate`. */
  async readPrompt(
    inputs: ModelInputs,
    options: Pick<GenerateOptions, 'prefix' | 'storage' | 'signal'> = {},
  ): Promise<KeyValueCache> {
    const { readPrompt } = await import('./generation/generate.js');
    return readPrompt(this, inputs, options);
  }

  /** @internal `forward` as part of a call. */
  run(
    scope: CallScope,
    inputs: ModelInputs,
    options: ModelForwardOptions & Pick<WantedOfStack, 'interveneIn'>,
  ): ModelOutput {
    this.check();
    const { logits } = options;
    if (logits !== undefined && logits !== 'all' && logits !== 'last' && logits !== 'none')
      throw invalidArgument('logits', "'all', 'last' or 'none'", logits);
    scope.lasting ||= options.returnRecord ?? false;
    this.parameters.hold(scope);
    const { both, dual } = this.parts;
    return new ModelOutput(
      both?.runBoth(this, scope, inputs, options) ??
        dual?.runDual(this, scope, inputs, options) ??
        this.#runSingle(scope, inputs, options),
    );
  }

  #runSingle(scope: CallScope, given: ModelInputs, options: ModelForwardOptions): ModelResults {
    const [stack] = this.built.stacks as [Stack];
    if (stack.signals) {
      const ran = runSignals(scope, stack, namedInputs(given, ['pixelValues']), options);
      return { ...ran.output, ...this.runHeads(ran, {}, options) };
    }
    const input = stack.description.input as TokenInput;
    const allowed = ['inputIds', 'attentionMask', 'positionIds'] as const;
    const inputs = namedInputs(given, input.types ? [...allowed, 'tokenTypeIds'] : allowed);
    const tokens = readTokens(input, IDS, inputs, this.past(options.cache));
    const cached = options.cache && { cache: options.cache, counts: countsOf(tokens) };
    const ran = runTokens(scope, stack, { tokens, wanted: options, cached });
    const sentence = this.built.sentence?.run(ran.pass, ran.hidden, tokens);
    return {
      ...ran.output,
      ...this.runHeads(ran, tokens, options),
      ...(sentence && { sentenceEmbedding: sentence }),
    };
  }

  /** @internal What heads make of rows that came out. */
  runHeads(
    { pass, hidden }: Ran,
    tokens: PooledTokens,
    { logits = 'all' }: ModelForwardOptions,
    heads = this.built.heads,
  ): ModelResults {
    const results: Record<string, Tensor<'float32'>> = {};
    const { scope, batch, length } = pass;
    for (const head of heads) {
      const perToken = head.of === 'tokens';
      if (perToken && logits === 'none') continue;
      const lastOnly = perToken && logits === 'last';
      const rows =
        typeof head.of === 'object'
          ? rowsOfTensor(results[head.of.head]!)
          : head.choose(pass, hidden, lastOnly ? 'last' : head.of, tokens);
      const channels = head.channels(rows.channels);
      const target = scope.make(perToken && !lastOnly ? [batch, length, channels] : [batch, channels]);
      head.run(pass, rows, rowsOfTensor(target));
      results[head.name] = target;
    }
    const { description } = this;
    if ('logits' in description && description.logits) {
      const [first, second] = description.logits.meanOf.map((name) => results[name]!) as [Tensor, Tensor];
      const mean = (results.logits = scope.make(first.shape));
      scope.then(() => {
        for (let i = 0; i < mean.size; i++) mean.data[i] = (first.data[i]! + second.data[i]!) / 2;
      });
    }
    return results;
  }

  /**
   * The weights as chunks of a safetensors file, in the names they were read by: for `fs.promises.writeFile`, a stream, or the parts
   * of a Blob.
   *
   * ```js
   * await writeFile('model.safetensors', gpt2.save());
   * ```
   *
   * @throws AttentionError INVALID_ARGUMENT when the first chunk is asked for
   */
  async *save(options: SaveOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const { saveParameters } = await import('./save.js');
    this.check();
    yield* saveParameters(this.parameters, options);
  }

  /** @internal Tokens that a cache holds, of each row. */
  past(cache: KeyValueCache | undefined): number[] | undefined {
    if (cache === undefined) return undefined;
    this.checkCache('cache', cache);
    return cache.lengths();
  }

  /** @internal Throws for a cache that is not of this model's sizes, or elsewhere. */
  checkCache(argument: string, cache: KeyValueCache): void {
    if (!this.parts.decoding?.isOwn(this, argument, cache))
      throw invalidArgument(argument, 'one that createCache() of this model made', cache);
  }

  /** Frees the weights, and the runtime if `loadModel` made it. Safe to repeat. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const stack of this.built.stacks) stack.dispose();
    this.parameters.dispose();
    if (this.#ownsRuntime) this.runtime.dispose();
  }

  /** @internal Throws DISPOSED. */
  check(): void {
    if (this.#disposed) throw new AttentionError({ code: 'DISPOSED', message: 'the model was disposed' });
    this.runtime.check();
  }
}

export const modelOperation: Operation<
  [model: Model, inputs: ModelInputs],
  ModelForwardOptions,
  ModelOutput
> = {
  inputs: ['model', 'inputs'],
  options: FORWARD_NAMES,
  runtime: ([model]) => checkInstance('model', model, Model).runtime,
  run: (scope, [model, inputs], options) => model.run(scope, inputs, options),
};
