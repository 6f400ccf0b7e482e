// What each kind of network makes of its inputs on a tape.

import type { TensorLike } from '../runtime/inputs.js';
import { integers } from '../runtime/checks.js';
import type { IntegerList } from '../runtime/checks.js';
import { invalidArgument, shapeError } from '../runtime/errors.js';
import { positionsAfter } from '../ops/rotary/options.js';
import type {
  DualDescription,
  EncoderDecoderDescription,
  ModelDescription,
  SingleDescription,
  TokenInput,
} from '../model/description.js';
import { namedInputs, readTokens } from '../model/inputs.js';
import type { ModelInputs, ReadTokens } from '../model/inputs.js';
import type { PooledTokens } from '../model/heads.js';
import type { LayerDescription } from '../model/layers/layer.js';
import type { Model } from '../model/model.js';
import type { KeptKeys } from '../model/pass.js';
import { stacksOf } from '../model/parts.js';
import { checkLength, IDS, keptKeys } from '../model/run.js';
import type { Binder, BoundVector } from './bound.js';
import { Flow } from './flow.js';
import { held, kept, rowsOf } from './given.js';
import type { FlowContext } from './flow.js';
import type { Ran, Shaped, TrainedNetwork, TrainingForwardOptions, TrainingInputs } from './network.js';
import { drop } from './layers/dropout.js';
import { TrainedFeedForward } from './layers/feed-forward.js';
import { TrainedTokenEmbedding } from './layers/input.js';
import { TrainedHead, TrainedSentence, toUnitLength } from './layers/head.js';
import { bindNorm } from './layers/norm.js';
import { compareAll } from './layers/similarity.js';
import type { TrainedNorm } from './layers/norm.js';
import { TrainedBlocks, TrainedStack } from './layers/stack.js';
import { runAdd } from './ops/add.js';
import { zero } from './tape.js';
import type { Tape, Value } from './tape.js';

/** Heads come first, as where the model was built: a matrix can serve as a table, too. */
export class TrainedModel implements TrainedNetwork {
  readonly #description: ModelDescription;
  readonly #heads: readonly TrainedHead[];
  readonly #visionHeads: readonly TrainedHead[];
  readonly #sentence: TrainedSentence | undefined;
  readonly #logitScale: BoundVector | undefined;
  readonly #stacks: readonly TrainedStack[];

  constructor(binder: Binder, { description, built, parts }: Model, recompute: boolean) {
    this.#description = description;
    const dual = description.kind === 'dual';
    this.#heads = (dual ? description.textHeads : description.heads).map(
      (head) => new TrainedHead(binder, head),
    );
    this.#visionHeads = dual ? description.visionHeads.map((head) => new TrainedHead(binder, head)) : [];
    this.#sentence = built.sentence && new TrainedSentence(binder, built.sentence.description);
    this.#logitScale = dual ? binder.vector(description.logitScale) : undefined;
    this.#stacks = stacksOf(description).map(
      (stack) => new TrainedStack(binder, stack, recompute, parts.Rotary),
    );
  }

  run(tape: Tape, inputs: TrainingInputs): Ran {
    const description = this.#description;
    switch (description.kind) {
      case 'encoder-decoder':
        return ran(this.#runBoth(tape, description, inputs as ModelInputs));
      case 'dual':
        return ran(this.#runDual(tape, description, inputs as ModelInputs));
      default:
        return ran(this.#runSingle(tape, description, inputs as ModelInputs));
    }
  }

  #runSingle(tape: Tape, description: SingleDescription, given: ModelInputs): Record<string, Shaped> {
    const [stack] = this.#stacks as [TrainedStack];
    if (stack.patches) {
      const passed = runPictures(tape, stack, namedInputs(given, ['pixelValues']).pixelValues);
      return { ...lastState(passed), ...this.#finish(passed, this.#heads, {}, description.logits?.meanOf) };
    }
    const input = description.stack.input as TokenInput;
    const allowed = ['inputIds', 'attentionMask', 'positionIds'] as const;
    const inputs = namedInputs(given, input.types ? [...allowed, 'tokenTypeIds'] : allowed);
    const tokens = readTokens(input, IDS, inputs);
    const passed = runTokens(tape, stack, tokens);
    const sentence = this.#sentence?.run(passed.flow, passed.hidden, tokens);
    return {
      ...lastState(passed),
      ...this.#finish(passed, this.#heads, tokens, description.logits?.meanOf),
      ...(sentence && { sentenceEmbedding: { value: sentence, shape: [sentence.rows, sentence.channels] } }),
    };
  }

  #runBoth(tape: Tape, { decoder }: EncoderDecoderDescription, given: ModelInputs): Record<string, Shaped> {
    const [encoder, stack] = this.#stacks as [TrainedStack, TrainedStack];
    const own = encoder.frames ? (['inputFeatures'] as const) : (['inputIds', 'attentionMask'] as const);
    const inputs = namedInputs(given, [...own, 'decoderInputIds', 'decoderAttentionMask']);
    const encoded = encoder.frames
      ? runFrames(tape, encoder, inputs.inputFeatures)
      : runTokens(tape, encoder, readTokens(encoder.description.input as TokenInput, IDS, inputs));
    const names = { ids: 'decoderInputIds', mask: 'decoderAttentionMask' } as const;
    const tokens = readTokens(decoder.input as TokenInput, names, inputs);
    const { flow, hidden } = encoded;
    if (tokens.batch !== flow.batch)
      throw invalidArgument('decoderInputIds', `a batch of ${flow.batch}, as the encoder's`, tokens.batch);
    const passed = runTokens(tape, stack, tokens, { hidden, length: flow.length, kept: flow.kept });
    return {
      ...lastState(passed),
      encoderLastHiddenState: lastState(encoded).lastHiddenState,
      ...this.#finish(passed, this.#heads, tokens),
    };
  }

  #runDual(tape: Tape, { text }: DualDescription, given: ModelInputs): Record<string, Shaped> {
    const inputs = namedInputs(given, ['inputIds', 'attentionMask', 'positionIds', 'pixelValues']);
    const [textStack, visionStack] = this.#stacks as [TrainedStack, TrainedStack];
    const tower = (passed: Passed, name: string, heads: readonly TrainedHead[], tokens: PooledTokens) => {
      const features = this.#finish(passed, heads, tokens).features!;
      const embeddings = toUnitLength(tape, features.value);
      return { [`${name}Features`]: features, [`${name}Embeddings`]: { ...features, value: embeddings } };
    };
    const results: Record<string, Shaped> = {};
    if (inputs.inputIds !== undefined) {
      const tokens = readTokens(text.input as TokenInput, IDS, inputs);
      Object.assign(results, tower(runTokens(tape, textStack, tokens), 'text', this.#heads, tokens));
    }
    if (inputs.pixelValues !== undefined) {
      const passed = runPictures(tape, visionStack, inputs.pixelValues);
      Object.assign(results, tower(passed, 'vision', this.#visionHeads, {}));
    }
    const { textEmbeddings, visionEmbeddings } = results;
    if (!textEmbeddings && !visionEmbeddings)
      throw invalidArgument('inputs', 'inputIds, pixelValues or both', given);
    if (textEmbeddings && visionEmbeddings) {
      const value = compareAll(tape, visionEmbeddings.value, textEmbeddings.value, this.#logitScale!);
      results['logitsPerImage'] = { value, shape: [value.rows, value.channels] };
    }
    return results;
  }

  /** What heads make of the rows that came out. */
  #finish(
    { flow, hidden }: Passed,
    heads: readonly TrainedHead[],
    tokens: PooledTokens,
    meanOf?: readonly [string, string],
  ): Record<string, Shaped> {
    const results: Record<string, Shaped> = {};
    for (const head of heads) {
      const rows =
        typeof head.of === 'object'
          ? results[head.of.head]!.value
          : head.choose(flow, hidden, head.of, tokens);
      const value = head.run(flow.tape, rows);
      const shape = head.of === 'tokens' ? [flow.batch, flow.length] : [flow.batch];
      results[head.name] = { value, shape: [...shape, value.channels] };
    }
    if (meanOf) {
      const [first, second] = meanOf.map((name) => results[name]!) as [Shaped, Shaped];
      results['logits'] = { ...first, value: mean(flow.tape, first.value, second.value) };
    }
    return results;
  }

  dispose(): void {
    for (const stack of this.#stacks) stack.dispose();
  }
}

/** (a + b) / 2. */
function mean(tape: Tape, a: Value, b: Value): Value {
  const y = tape.place(a.rows, a.channels, a.trained || b.trained);
  zero(tape.scope, y.address, a.rows * a.channels);
  for (const part of [a, b]) runAdd(tape.scope, part, y, a.channels, 0.5);
  tape.note(y, (back) => {
    const dy = back.of(y);
    if (!dy) return;
    for (const part of [a, b]) if (part.trained) runAdd(back.scope, dy, back.toSome(part), a.channels, 0.5);
    back.end(y);
  });
  return y;
}

/** A block, a stack of blocks, a norm, a feed-forward layer or an embedding. */
export class TrainedLayer implements TrainedNetwork {
  readonly #description: LayerDescription;
  readonly #blocks: TrainedBlocks | undefined;
  readonly #feedForward: TrainedFeedForward | undefined;
  readonly #norm: TrainedNorm | undefined;
  readonly #input: TrainedTokenEmbedding | undefined;

  constructor(binder: Binder, description: LayerDescription, recompute: boolean) {
    this.#description = description;
    const { blocks, feedForward, norm, input, Rotary } = description;
    this.#blocks = blocks && new TrainedBlocks(binder, blocks, recompute, Rotary);
    this.#feedForward = feedForward && new TrainedFeedForward(binder, feedForward);
    this.#norm = bindNorm(binder, norm);
    this.#input = input && new TrainedTokenEmbedding(binder, input);
  }

  run(tape: Tape, given: TrainingInputs, options: TrainingForwardOptions, wantsInput: boolean): Ran {
    if (this.#input) return ran(this.#embed(tape, this.#input, given as ModelInputs));
    const x = rowsOf(tape, 'x', given as TensorLike, this.#description.channels, wantsInput);
    if (!this.#blocks) {
      const y = this.#feedForward ? this.#feedForward.run(tape, x.value) : this.#norm!.run(tape, x.value);
      return { inputs: { x }, outputs: { output: { value: y, shape: x.shape } } };
    }
    const { shape } = x;
    const [batch, length] = [1, ...shape].slice(-3) as [number, number];
    if (shape.length !== 2 && shape.length !== 3)
      throw shapeError('x', `[batch, length, ${x.value.channels}] or [length, ${x.value.channels}]`, shape);
    const lengths = readLengths('keyLengths', options.keyLengths, batch, length);
    const mask = held(tape, options.mask);
    const context = this.#description.blocks!.some((block) => block.crossAttention)
      ? this.#context(tape, options, batch, wantsInput)
      : undefined;
    const flow = new Flow(tape, {
      batch,
      length,
      positions: options.positions ?? positionsAfter(new Array<number>(batch).fill(0), length),
      kept: () => ({ mask, keyLengths: lengths }),
      context: context && {
        hidden: context.value,
        length: context.shape.at(-2)!,
        kept: () => ({
          keyLengths: readLengths('contextLengths', options.contextLengths, batch, context.shape.at(-2)!),
        }),
      },
    });
    let y = this.#blocks.run(flow, x.value);
    if (this.#norm) y = this.#norm.run(tape, y);
    return {
      inputs: { x, ...(context && { context }) },
      outputs: { output: { value: y, shape } },
    };
  }

  #embed(tape: Tape, input: TrainedTokenEmbedding, given: ModelInputs): Record<string, Shaped> {
    const inputs = namedInputs(given, ['inputIds', 'positionIds', 'tokenTypeIds']);
    const tokens = readTokens(this.#description.input!, IDS, inputs);
    const value = input.run(tape, tokens);
    return { output: { value, shape: [tokens.batch, tokens.length, value.channels] } };
  }

  #context(tape: Tape, { context }: TrainingForwardOptions, batch: number, wantsInput: boolean): Shaped {
    const { channels } = this.#description;
    if (context === undefined)
      throw invalidArgument('context', `the tokens of an encoder, [batch, keys, ${channels}]`, context);
    const given = rowsOf(tape, 'context', context, channels, wantsInput);
    if (([1, ...given.shape].slice(-3)[0] as number) === batch) return given;
    throw shapeError('context', `a batch of ${batch}, as x has`, given.shape);
  }

  dispose(): void {
    this.#blocks?.dispose();
  }
}

interface Passed {
  readonly flow: Flow;
  readonly hidden: Value;
}

const ran = (outputs: Record<string, Shaped>): Ran => ({ outputs, inputs: {} });

function lastState({ flow: { batch, length }, hidden }: Passed): Record<'lastHiddenState', Shaped> {
  return { lastHiddenState: { value: hidden, shape: [batch, length, hidden.channels] } };
}

function runTokens(tape: Tape, stack: TrainedStack, tokens: ReadTokens, context?: FlowContext): Passed {
  checkLength(stack, tokens);
  const { batch, length, rotations: positions } = tokens;
  const flow = new Flow(tape, {
    batch,
    length,
    positions,
    kept: (scope) => keptKeys(scope, tokens),
    context,
  });
  return { flow, hidden: stack.run(flow, drop(flow, stack.tokens!.run(tape, tokens), stack.site)) };
}

function runPictures(tape: Tape, stack: TrainedStack, given: ModelInputs['pixelValues']): Passed {
  if (given === undefined) throw invalidArgument('pixelValues', '[batch, channels, height, width]', given);
  const pixels = kept(tape, 'pixelValues', given);
  const x = stack.patches!.run(tape, pixels);
  return runBare(tape, stack, x, pixels.shape[0]!, stack.patches!.tokens);
}

function runFrames(tape: Tape, stack: TrainedStack, given: ModelInputs['inputFeatures']): Passed {
  if (given === undefined) throw invalidArgument('inputFeatures', '[batch, melBins, frames]', given);
  const features = kept(tape, 'inputFeatures', given);
  const x = stack.frames!.run(tape, features);
  return runBare(tape, stack, x, features.shape[0]!, stack.frames!.lengthOf(features.shape[2]!));
}

/** Without padding and positions. */
function runBare(tape: Tape, stack: TrainedStack, x: Value, batch: number, length: number): Passed {
  const flow = new Flow(tape, {
    batch,
    length,
    positions: [],
    kept: (): KeptKeys => ({}),
    context: undefined,
  });
  return { flow, hidden: stack.run(flow, drop(flow, x, stack.site)) };
}

function readLengths(
  argument: string,
  lengths: IntegerList | undefined,
  batch: number,
  most: number,
): Int32Array | undefined {
  if (lengths === undefined) return undefined;
  const read = integers(argument, lengths, 0, most);
  if (read.length === batch) return read;
  throw shapeError(argument, `${batch} numbers, one per batch row`, [read.length]);
}
