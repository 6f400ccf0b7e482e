// Generation: a prompt is read at once, and then one token after the other is chosen and appended. A row that has ended leaves the
// batch. The caller takes tokens at its own pace, and may stop at any time: everything is freed then.

import type { KeyValueCache } from '../../cache/key-value-cache.js';
import { callAsync } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import { checkInteger, checkObject, checkOptions, integers } from '../../runtime/checks.js';
import type { IntegerList, NamesOf } from '../../runtime/checks.js';
import { AttentionError, invalidArgument } from '../../runtime/errors.js';
import type { Operation } from '../../runtime/operation.js';
import type { Tensor } from '../../runtime/tensor.js';
import type { TokenInput } from '../description.js';
import { namedInputs, readTokens } from '../inputs.js';
import type { ModelInputs } from '../inputs.js';
import type { Model } from '../model.js';
import type { Context } from '../pass.js';
import { countsOf, IDS, runTokens } from '../run.js';
import { checkSampling, chooseToken, SAMPLING_NAMES } from './sampling.js';
import type { SamplingOptions } from './sampling.js';

/** Options of `model.generate`. */
export interface GenerateOptions extends SamplingOptions {
  /** Tokens to generate at most, for each row. Default 256. */
  readonly maxNewTokens?: number | undefined;
  /** Tokens that end a row; they are the last that it gets. Default those of the config; [] for none. */
  readonly stopTokens?: IntegerList | undefined;
  /** Sequences of tokens that end a row. Default none. */
  readonly stopSequences?: readonly IntegerList[] | undefined;
  /**
   * What happens where a model with learned positions knows no more of them: 'stop' (default) ends the row, 'error' throws, 'slide'
   * reads the last half of the text anew as if it had begun there.
   */
  readonly contextEnd?: 'stop' | 'error' | 'slide' | undefined;
  /** Sees the logits of a row before a token is chosen, and may change them. */
  readonly onLogits?: ((logits: Float32Array, row: number, tokens: readonly number[]) => void) | undefined;
  /** What comes before every row of the prompt: a cache of one row, which is left as it is. See `model.readPrompt`. */
  readonly prefix?: KeyValueCache | undefined;
  /** How the cache keeps keys and values: see `KeyValueCacheOptions`. */
  readonly storage?: 'float32' | 'float16' | 'int8' | undefined;
  /** Ends generation: the iterator throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export const GENERATE_NAMES = /* @__PURE__ */ Object.assign(
  {
    maxNewTokens: 1,
    stopTokens: 1,
    stopSequences: 1,
    contextEnd: 1,
    onLogits: 1,
    prefix: 1,
    storage: 1,
    signal: 1,
  } satisfies NamesOf<Omit<GenerateOptions, keyof SamplingOptions>>,
  SAMPLING_NAMES,
);

/** One more token of each row that goes on. */
export interface GenerationStep {
  /** Number of the step, from 0. */
  readonly step: number;
  /** The token of each row; -1 where a row ended before. */
  readonly tokens: readonly number[];
  /** Natural logarithm of each token's probability by the logits, after `onLogits` and before penalties, temperature and cuts. */
  readonly logProbabilities: readonly number[];
  /** Which rows are at their end. */
  readonly ended: readonly boolean[];
}

/** Prompts that begin alike are read once where they share at least as many tokens. */
const LEAST_SHARED = 16;

const stepOperation: Operation<[model: Model], StepOptions, Tensor<'float32'>> = {
  inputs: ['model'],
  options: { ids: 1, cache: 1, context: 1 } satisfies NamesOf<StepOptions>,
  runtime: ([model]) => model.runtime,
  run: (scope, [model], options) => runStep(scope, model, options),
};

interface StepOptions {
  /** New tokens of each row. */
  readonly ids: readonly IntegerList[];
  readonly cache: KeyValueCache;
  readonly context: Context | undefined;
}

/** Logits after the last new token of each row, [batch, vocabulary]. */
function runStep(scope: CallScope, model: Model, { ids, cache, context }: StepOptions): Tensor<'float32'> {
  model.check();
  model.parameters.hold(scope);
  const stack = model.decoder;
  const input = stack.description.input as TokenInput;
  const tokens = readTokens(input, IDS, { inputIds: ids }, cache.lengths());
  const ran = runTokens(scope, stack, { tokens, cached: { cache, counts: countsOf(tokens) }, context });
  const { logits, ...others } = model.runHeads(ran, tokens, { logits: 'last' });
  scope.then(() => {
    for (const each of [ran.output.lastHiddenState, ...Object.values(others)]) (each as Tensor).dispose();
  });
  return logits!;
}

const encodeOperation: Operation<
  [model: Model, inputs: ModelInputs],
  object,
  { context: Context; batch: number }
> = {
  inputs: ['model', 'inputs'],
  options: {},
  runtime: ([model]) => model.runtime,
  run: (scope, [model, inputs]) => encode(scope, model, inputs),
};

/** Encodes once for all that is to be generated: keys and values of the encoder, by layers of the decoder. */
function encode(scope: CallScope, model: Model, inputs: ModelInputs): { context: Context; batch: number } {
  model.check();
  model.parameters.hold(scope);
  const { ran, context } = model.parts.both!.runEncoder(model, scope, inputs);
  const { batch } = ran.pass;
  const cache = scope.hand(model.parts.decoding!.newCache(model, 'crossAttention', { batch }));
  model.decoder.blocks.forEach((block, layer) => block.cross!.fill(ran.pass, layer, context, cache));
  const mask = context.mask && scope.make(context.mask.shape, 'bool');
  if (mask) scope.copy(context.mask, mask);
  scope.then(() => ran.output.lastHiddenState.dispose());
  return { batch, context: { length: context.length, mask, cached: cache } };
}

/** Sequences in the making, and what the model holds of them. */
class Batch {
  readonly #model: Model;
  readonly #options: GenerateOptions;
  readonly #stopTokens: ReadonlySet<number>;
  readonly #stopSequences: readonly Int32Array[];
  /** Tokens that positions are known for. */
  readonly #most: number;
  /** Numbers of the rows that go on. */
  #rows: number[];
  /** Prompt and generated tokens of each of them, without a prefix. */
  #tokens: number[][];
  /** How many of them the cache holds. */
  #read: number[];
  readonly #promptLengths: readonly number[];
  #cache: KeyValueCache;
  #context: Context | undefined;

  constructor(model: Model, prompts: number[][], context: Context | undefined, options: GenerateOptions) {
    const { stopTokens, prefix, storage } = options;
    const stopSequences: unknown = options.stopSequences ?? [];
    this.#model = model;
    this.#options = options;
    if (!Array.isArray(stopSequences))
      throw invalidArgument('stopSequences', 'a list of lists of tokens', stopSequences);
    const ends = stopTokens && integers('stopTokens', stopTokens, 0, 2 ** 31 - 1);
    this.#stopTokens = new Set(ends ?? model.generationDefaults.endTokenIds);
    this.#stopSequences = stopSequences.map((sequence, i) =>
      integers(`stopSequences[${i}]`, sequence as IntegerList, 0, 2 ** 31 - 1),
    );
    this.#most = model.decoder.description.maxLength ?? Infinity;
    const held = prefix?.lengths()[0] ?? 0;
    prompts.forEach((prompt, b) => {
      if (prompt.length === 0 || held + prompt.length > this.#most)
        throw invalidArgument(`inputIds[${b}]`, `1 to ${this.#most - held} tokens`, `${prompt.length}`);
    });
    this.#rows = prompts.map((_, b) => b);
    this.#tokens = prompts;
    this.#promptLengths = prompts.map(({ length }) => length);
    this.#read = prompts.map(() => 0);
    this.#context = context;
    this.#cache = prefix
      ? prefix.fork(new Int32Array(prompts.length))
      : model.createCache({ batch: prompts.length, ...(storage && { storage }) });
  }

  get size(): number {
    return this.#rows.length;
  }

  /** Reads what prompts have in common once, for all rows. */
  async share(asked: AsyncOptions): Promise<void> {
    const [first = [], ...others] = this.#tokens;
    // The last token of a prompt is read by each row: its logits are wanted.
    let shared = Math.min(...this.#tokens.map(({ length }) => length)) - 1;
    for (const other of others) {
      for (let i = 0; i < shared; i++) if (other[i] !== first[i]) shared = i;
    }
    if (others.length === 0 || shared < LEAST_SHARED || this.#context) return;
    const one = this.#cache.fork([0]);
    try {
      await readTokensInto(this.#model, [first.slice(0, shared)], one, undefined, asked);
      this.#replace(one.fork(new Int32Array(this.size)));
    } finally {
      one.dispose();
    }
    this.#read = this.#read.map(() => shared);
  }

  /** One more token of each row. */
  async next(step: number, total: number, last: boolean, asked: AsyncOptions): Promise<GenerationStep> {
    const { onLogits, contextEnd = 'stop' } = this.#options;
    const ids = this.#tokens.map((tokens, i) => tokens.slice(this.#read[i]));
    const logits = await readTokensInto(this.#model, ids, this.#cache, this.#context, asked);
    this.#read = this.#tokens.map(({ length }) => length);
    const result = {
      step,
      tokens: new Array<number>(total).fill(-1),
      logProbabilities: new Array<number>(total).fill(0),
      ended: new Array<boolean>(total).fill(true),
    };
    const lengths = this.#cache.lengths();
    const going: number[] = [];
    this.#rows.forEach((row, i) => {
      const own = logits[i]!;
      const tokens = this.#tokens[i]!;
      onLogits?.(own, row, tokens);
      const { token, logProbability } = chooseToken(own, tokens, this.#options, step, row);
      tokens.push(token);
      const full = lengths[i]! >= this.#most;
      if (full && contextEnd === 'error' && !this.#ends(row, tokens) && !last) throw contextFull(this.#most);
      const ended = this.#ends(row, tokens) || (full && contextEnd === 'stop') || last;
      result.tokens[row] = token;
      result.logProbabilities[row] = logProbability;
      result.ended[row] = ended;
      if (!ended) going.push(i);
    });
    this.#keep(going);
    if (going.some((i) => lengths[i]! >= this.#most)) this.#slide();
    return result;
  }

  #ends(row: number, tokens: readonly number[]): boolean {
    if (this.#stopTokens.has(tokens.at(-1)!)) return true;
    const generated = tokens.length - this.#promptLengths[row]!;
    return this.#stopSequences.some(
      (sequence) =>
        sequence.length > 0 &&
        sequence.length <= generated &&
        sequence.every((token, i) => tokens[tokens.length - sequence.length + i] === token),
    );
  }

  /** Rows that have ended leave. */
  #keep(going: readonly number[]): void {
    if (going.length === this.size) return;
    this.#rows = going.map((i) => this.#rows[i]!);
    this.#tokens = going.map((i) => this.#tokens[i]!);
    this.#read = going.map((i) => this.#read[i]!);
    if (going.length === 0) return;
    this.#replace(this.#cache.fork(going));
    if (this.#context) this.#context = keepRows(this.#context, going);
  }

  /** The last half of each text is read anew, as if it had begun there. */
  #slide(): void {
    const kept = Math.max(1, Math.floor(this.#most / 2));
    const { storage } = this.#options;
    this.#replace(this.#model.createCache({ batch: this.size, ...(storage && { storage }) }));
    this.#read = this.#tokens.map(({ length }) => Math.max(0, length - kept));
  }

  #replace(cache: KeyValueCache): void {
    this.#cache.dispose();
    this.#cache = cache;
  }

  dispose(): void {
    this.#cache.dispose();
    if (this.#context) disposeContext(this.#context);
  }
}

/** Appends tokens, and returns the logits after the last one of each row. */
async function readTokensInto(
  model: Model,
  ids: readonly IntegerList[],
  cache: KeyValueCache,
  context: Context | undefined,
  asked: AsyncOptions,
): Promise<Float32Array[]> {
  const logits = await callAsync(stepOperation, [model], { ids, cache, context, ...asked });
  const vocabulary = logits.shape[1]!;
  const all = logits.toFloat32Array();
  logits.dispose();
  return ids.map((_, i) => all.subarray(i * vocabulary, (i + 1) * vocabulary));
}

/** Some rows of an encoder's tokens. Keys and values are shared, not copied. */
function keepRows(context: Context, rows: readonly number[]): Context {
  const { mask, cached } = context;
  const fork = cached!.fork(rows);
  const { runtime } = fork;
  const { length } = context;
  const bytes = Uint8Array.from(
    rows.flatMap((row) => [...(mask?.data.subarray(row * length, (row + 1) * length) ?? [])]),
  );
  const kept = mask && runtime.tensor(bytes, [rows.length, 1, 1, length]);
  disposeContext(context);
  return { length, cached: fork, mask: kept };
}

function disposeContext({ cached, mask }: Context): void {
  cached?.dispose();
  mask?.dispose();
}

function contextFull(most: number): AttentionError {
  return new AttentionError({
    code: 'INVALID_STATE',
    argument: 'contextEnd',
    message: `contextEnd: the model knows ${most} positions, and a row has used them all`,
  });
}

/** @internal See `Model.generate`. */
export async function* generate(
  model: Model,
  inputs: ModelInputs,
  options: GenerateOptions,
): AsyncGenerator<GenerationStep, void, undefined> {
  const { maxNewTokens = 256, signal } = readOptions(model, options);
  checkSpeaks(model);
  const asked = signal ? { signal } : {};
  let context: Context | undefined;
  let batch: Batch | undefined;
  try {
    let given = inputs;
    let encoded: number | undefined;
    if (model.description.kind === 'encoder-decoder') {
      checkObject('inputs', inputs);
      const { decoderInputIds, decoder_input_ids: alias, ...encoder } = inputs as Record<string, unknown>;
      ({ context, batch: encoded } = await callAsync(
        encodeOperation,
        [model, encoder as ModelInputs],
        asked,
      ));
      given = { inputIds: (decoderInputIds ?? alias ?? startOf(model, encoded)) as never };
    }
    const prompts = readPrompts(model, given);
    if (encoded !== undefined && prompts.length !== encoded)
      throw invalidArgument('decoderInputIds', `a batch of ${encoded}, as the encoder's`, prompts.length);
    batch = new Batch(model, prompts, context, options);
    context = undefined;
    const total = batch.size;
    await batch.share(asked);
    for (let step = 0; step < maxNewTokens && batch.size > 0; step++) {
      yield await batch.next(step, total, step + 1 === maxNewTokens, asked);
    }
  } finally {
    batch?.dispose();
    if (context) disposeContext(context);
  }
}

/** Reads a prompt into a cache of one row. */
export async function readPrompt(
  model: Model,
  inputs: ModelInputs,
  options: Pick<GenerateOptions, 'prefix' | 'storage' | 'signal'>,
): Promise<KeyValueCache> {
  model.check();
  checkOptions(options, { prefix: 1, storage: 1, signal: 1 });
  const { prefix, storage, signal } = options;
  checkSpeaks(model);
  if (model.description.kind !== 'decoder') {
    throw new AttentionError({
      code: 'UNSUPPORTED',
      argument: 'readPrompt',
      expected: 'a model of a decoder alone',
      received: model.family,
    });
  }
  checkPrefix(model, prefix);
  const [prompt, ...others] = readPrompts(model, inputs) as [number[], ...number[][]];
  if (prompt.length === 0 || others.length > 0)
    throw invalidArgument('inputIds', 'one prompt of at least one token', `${others.length + 1}`);
  const cache = prefix ? prefix.fork() : model.createCache(storage && { storage });
  try {
    await readTokensInto(model, [prompt], cache, undefined, signal ? { signal } : {});
    return cache;
  } catch (error) {
    cache.dispose();
    throw error;
  }
}

/** Throws for a model that gives no words, one after the other. */
function checkSpeaks(model: Model): void {
  const { description, family } = model;
  const unsupported = (expected: string, received: string): AttentionError =>
    new AttentionError({ code: 'UNSUPPORTED', argument: 'generate', expected, received });
  if (description.kind !== 'decoder' && description.kind !== 'encoder-decoder')
    throw unsupported('a decoder', `${family}, which reads all of its input at once`);
  const [vocabulary] = (model.decoder.description.input as TokenInput).table.shape;
  const speaks = description.heads.some(({ name, of, steps }) => {
    const last = steps.at(-1);
    return (
      name === 'logits' &&
      of === 'tokens' &&
      last?.kind === 'matrix' &&
      last.matrix.outFeatures === vocabulary
    );
  });
  if (!speaks) throw unsupported('a model with a head for words', `${family} without one`);
}

function checkPrefix(model: Model, prefix: KeyValueCache | undefined): void {
  if (prefix === undefined) return;
  model.checkCache('prefix', prefix);
  if (prefix.layout.batch !== 1)
    throw invalidArgument('prefix', 'a cache of one row', `one of ${prefix.layout.batch} rows`);
}

/** Prompts of any lengths, without their padding. */
function readPrompts(model: Model, inputs: ModelInputs): number[][] {
  const stack = model.decoder;
  const tokens = readTokens(
    stack.description.input as TokenInput,
    IDS,
    namedInputs(inputs, ['inputIds', 'attentionMask']),
  );
  const { batch, length, ids, mask, lengths } = tokens;
  if (batch === 0) throw invalidArgument('inputIds', 'at least one prompt', 'none');
  return Array.from({ length: batch }, (_, b) => {
    const row = [...ids.subarray(b * length, b * length + (lengths?.[b] ?? length))];
    return mask ? row.filter((_, i) => mask[b * length + i] === 1) : row;
  });
}

/** How a decoder begins that was given nothing. */
function startOf(model: Model, batch: number): number[][] {
  const { decoderStartId } = model.generationDefaults;
  if (decoderStartId === undefined)
    throw invalidArgument(
      'decoderInputIds',
      'the first tokens of the decoder: the config has no decoder_start_token_id',
      undefined,
    );
  return Array.from({ length: batch }, () => [decoderStartId]);
}

function readOptions(model: Model, options: GenerateOptions): GenerateOptions {
  model.check();
  checkOptions(options, GENERATE_NAMES);
  const { maxNewTokens = 256, contextEnd = 'stop', prefix } = options;
  checkInteger('maxNewTokens', maxNewTokens, 0, 2 ** 31 - 1);
  if (contextEnd !== 'stop' && contextEnd !== 'error' && contextEnd !== 'slide')
    throw invalidArgument('contextEnd', "'stop', 'error' or 'slide'", contextEnd);
  checkPrefix(model, prefix);
  if (options.onLogits !== undefined && typeof options.onLogits !== 'function')
    throw invalidArgument('onLogits', 'a function', options.onLogits);
  checkSampling(options);
  return options;
}
