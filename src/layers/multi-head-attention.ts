// The attention layer: projections, heads, attention, output projection. Holds packed weights, no other state.
//
// Query, key and value projections of the same input are one product over one packed matrix. Each part begins at a
// panel of 8 columns, so that it can also be computed alone (cross-attention):
//
//   columns   | query: numHeads x headDim | pad | key: numKeyValueHeads x headDim | pad | value: ... x valueHeadDim | pad |
//
// The heads are then read where they lie in the rows of that product, and written where the output projection reads.

import { MEAN_BLOCK, PANEL } from '../../build/kernels.js';
import { checkValue, runPlan } from '../ops/attention/scaled-dot-product-attention.js';
import type { AttentionResult } from '../ops/attention/scaled-dot-product-attention.js';
import { SCORE_NAMES } from '../ops/attention/options.js';
import type { Asked, AttentionOptions, Returned, ScoreOptions } from '../ops/attention/options.js';
import { planAttention } from '../ops/attention/plan.js';
import type { ReturnedRecord } from '../ops/attention/record.js';
import { LinearWeights, rowsOf, runProduct } from '../ops/linear/linear.js';
import { callAsync, callNow } from '../runtime/call.js';
import type { AsyncOptions } from '../runtime/call.js';
import { Disposable } from '../runtime/disposable.js';
import { checkInstance, checkObject, checkOptions } from '../runtime/checks.js';
import type { IntegerList, NamesOf } from '../runtime/checks.js';
import { AttentionError, describe, invalidArgument, shapeError } from '../runtime/errors.js';
import { checkDataType, checkRuntime } from '../runtime/inputs.js';
import type { CallScope } from '../runtime/call-scope.js';
import type { TensorLike } from '../runtime/inputs.js';
import type { Operation } from '../runtime/operation.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Tensor } from '../runtime/tensor.js';
import { positionsAfter, ROTARY_NAMES } from '../ops/rotary/options.js';
import type { RotaryOptions } from '../ops/rotary/options.js';
import type { Positions } from '../ops/rotary/rotary.js';
import { KeyValueCache, readCounts } from '../cache/key-value-cache.js';
import { splitHeads } from './split-heads.js';
import { LayerRotary } from '../ops/rotary/layer-rotary.js';
import { findLayer } from '../checkpoints/matching.js';
import type { AttentionProjections, Projection, ProjectionLayout } from '../checkpoints/projections.js';
import type { StateDictTensor } from '../checkpoints/state-dict.js';

/** Sizes of a layer, defaults filled in; see `MultiHeadAttentionOptions`. */
export interface MultiHeadAttentionLayout extends ProjectionLayout {
  /** Channels of the output. */
  readonly outputDim: number;
}

/** Sizes of a layer, and what its scores are in every call. */
export interface MultiHeadAttentionOptions extends ScoreOptions {
  /** Channels of the input, and of the output. */
  readonly embedDim: number;
  /** Query heads. */
  readonly numHeads: number;
  /** Key/value heads; must divide numHeads. Default numHeads. */
  readonly numKeyValueHeads?: number | undefined;
  /** Channels per head of queries and keys. Default embedDim / numHeads. */
  readonly headDim?: number | undefined;
  /** Channels per head of values. Default headDim. */
  readonly valueHeadDim?: number | undefined;
  /** Channels of the context that keys come from. Default embedDim. */
  readonly kdim?: number | undefined;
  /** Channels of the context that values come from. Default embedDim. */
  readonly vdim?: number | undefined;
  /** Whether the projections have biases. Default true. */
  readonly bias?: boolean | undefined;
  /** Rotates queries and keys by their positions. Default: no rotary embedding. */
  readonly rotary?: RotaryOptions | undefined;
}

export const LAYER_NAMES = /* @__PURE__ */ Object.assign(
  {
    embedDim: 1,
    numHeads: 1,
    numKeyValueHeads: 1,
    headDim: 1,
    valueHeadDim: 1,
    kdim: 1,
    vdim: 1,
    bias: 1,
    rotary: ROTARY_NAMES,
  } satisfies NamesOf<Omit<MultiHeadAttentionOptions, keyof ScoreOptions>>,
  SCORE_NAMES,
);

/** Options of a call of a layer. */
export interface ForwardOptions<
  Weights extends Asked = Asked,
  Averaged extends Asked = Asked,
  LogSumExp extends Asked = Asked,
  Recorded extends Asked = Asked,
> extends Pick<AttentionOptions, 'mask' | 'keyLengths' | 'queryOffset' | 'bias' | 'causal'> {
  /** Cross-attention: keys and values come from here, [batch, keys, kdim]. Default: the input. */
  readonly context?: TensorLike | undefined;
  /** Where values come from if not from `context`, [batch, keys, vdim]. */
  readonly valueContext?: TensorLike | undefined;
  /** Position of each token for rotary embedding: [length], or [batch][length]. Default 0, 1, ... */
  readonly positions?: Positions | undefined;
  /**
   * The tokens of x are appended to this cache, and attend to all it holds: causally, whatever the layer's own `causal`.
   * Its sizes must be the layer's. Positions, also those of the rotary embedding, go on from the cache's length.
   */
  readonly cache?: KeyValueCache | undefined;
  /** Which layer of the cache is this one's. Default 0. */
  readonly cacheLayer?: number | undefined;
  /** With a cache: tokens of each batch row, the rest being padding. Default: all. */
  readonly lengths?: IntegerList | undefined;
  /** Also return the weights, [batch, heads, queries, keys]. */
  readonly returnWeights?: Weights | undefined;
  /** Return the mean of the weights over heads instead, [batch, queries, keys]. */
  readonly averageWeights?: Averaged | undefined;
  /** Also return the log-sum-exp, [batch, heads, queries]. */
  readonly returnLogSumExp?: LogSumExp | undefined;
  /** Also return a record of the attention, for `attentionWeights`, `attentionEntropy`, ... Not with the ring of a cache. */
  readonly returnRecord?: Recorded | undefined;
}

/** Whether one of two is asked for. */
export type Either<First extends Asked, Second extends Asked> = First extends true ? true : Second;

/**
 * What a layer returns; disposing it disposes all its tensors.
 *
 * @example
 * ```js
 * const { output, weights } = layer.forward(x, { averageWeights: true });
 * weights.shape; // [1, 5, 5]
 * ```
 */
export class LayerResult<
  Weights extends Asked = Asked,
  LogSumExp extends Asked = Asked,
  Recorded extends Asked = Asked,
> extends Disposable {
  /** [batch, queries, embedDim]; without a batch axis if the input had none. */
  readonly output: Tensor<'float32'>;
  /** [batch, heads, queries, keys], or [batch, queries, keys] averaged; where asked for. */
  readonly weights: Returned<Weights>;
  /** [batch, heads, queries], natural logarithm; where asked for. */
  readonly logSumExp: Returned<LogSumExp>;
  /** The attention itself, to look into; where asked for. */
  readonly record: ReturnedRecord<Recorded>;

  /** @internal */
  constructor(
    output: Tensor<'float32'>,
    weights: Tensor<'float32'> | undefined,
    { logSumExp, record }: AttentionResult,
  ) {
    super();
    this.output = output;
    this.weights = weights as Returned<Weights>;
    this.logSumExp = logSumExp as Returned<LogSumExp>;
    this.record = record as ReturnedRecord<Recorded>;
  }

  /** Frees the tensors. Safe to repeat. */
  dispose(): void {
    this.output.dispose();
    this.weights?.dispose();
    this.logSumExp?.dispose();
    this.record?.dispose();
  }
}

/** Projected tokens by heads, [batch, heads, length, dim], in temporary memory. */
interface Heads {
  readonly query: Tensor<'float32'>;
  readonly key: Tensor<'float32'>;
  readonly value: Tensor<'float32'>;
}

/** What a layer asks of attention. */
interface Wanted {
  readonly output: Tensor<'float32'>;
  readonly returnWeights: boolean | undefined;
  readonly returnLogSumExp: boolean | undefined;
  readonly returnRecord: boolean | undefined;
}

/** Some columns of packed weights. */
interface Part {
  readonly weights: LinearWeights;
  readonly from: number;
  readonly to: number;
}

export interface PackedProjections {
  readonly query: Part;
  readonly key: Part;
  readonly value: Part;
  readonly output: LinearWeights;
  /** Every packed matrix once. */
  readonly all: readonly LinearWeights[];
}

/**
 * Multi-head attention with learned projections, for self- and cross-attention, grouped heads included.
 *
 * A boolean mask is true where a query attends: torch.nn.MultiheadAttention has it the other way round.
 *
 * @see Vaswani et al. 2017; Ainslie et al. 2023 (grouped queries)
 *
 * @example
 * ```js
 * const layer = new MultiHeadAttention(runtime, { embedDim: 8, numHeads: 2, causal: true });
 * layer.load(stateDict, 'model.layers.0.self_attn'); // or of parseSafetensors(bytes)
 * const { output } = layer.forward({ data: new Float32Array(40), shape: [1, 5, 8] });
 * output.shape; // [1, 5, 8]
 * layer.dispose();
 * ```
 */
export class MultiHeadAttention extends Disposable {
  /** Where the weights are. */
  readonly runtime: Runtime;
  /** The sizes, defaults filled in. */
  readonly layout: MultiHeadAttentionLayout;
  readonly #scores: ScoreOptions;
  readonly #rotary: LayerRotary | undefined;
  #packed: PackedProjections | undefined;
  #leftAside: readonly string[] = [];
  #disposed = false;

  /** @throws AttentionError INVALID_ARGUMENT for sizes that do not fit each other */
  constructor(runtime: Runtime, options: MultiHeadAttentionOptions) {
    super();
    checkRuntime(runtime);
    this.runtime = runtime;
    this.layout = readLayout(options);
    const { scale, temperature, softcap, causal, window, alibi, relativePositionBias, sinks } = options;
    if (options.rotary !== undefined) {
      checkObject('rotary', options.rotary);
      this.#rotary = new LayerRotary(options.rotary, this.layout.headDim);
    }
    this.#scores = { scale, temperature, softcap, causal, window, alibi, relativePositionBias, sinks };
  }

  /** Number of weights and biases. */
  get parameterCount(): number {
    const { embedDim, kdim, vdim, outputDim, bias } = this.layout;
    const { queryDim, keyDim, valueDim, mergedDim } = this.#widths();
    const biases = bias ? queryDim + keyDim + valueDim + outputDim : 0;
    return queryDim * embedDim + keyDim * kdim + valueDim * vdim + outputDim * mergedDim + biases;
  }

  /**
   * Takes weights from a checkpoint, by PyTorch's or Hugging Face's names, and packs them. On an error the weights loaded
   * before stay. What the prefix holds beside the projections, such as a norm, is not applied: `leftAside` names it.
   *
   * ```js
   * const { leftAside } = layer.load(parseSafetensors(bytes), 'encoder.layers.0'); // ['encoder.layers.0.norm.weight']
   * ```
   *
   * @param stateDict tensors by name: tensors of any runtime and strides, { data, shape | dims } of any library, or the result
   *   of `parseSafetensors`; copied
   * @param prefix    of the names of this layer; found by itself if there is one attention layer only
   * @throws AttentionError INVALID_ARGUMENT for a tensor that is missing or a prefix that is not clear, INVALID_SHAPE,
   *   INVALID_DTYPE, UNSUPPORTED for weights that mean something this layer does not do
   */
  load(stateDict: Readonly<Record<string, StateDictTensor>>, prefix?: string): this {
    this.#check();
    const { projections, leftAside } = findLayer(stateDict, this.layout, prefix);
    const packed = this.#pack(projections);
    for (const weights of this.#packed?.all ?? []) weights.dispose();
    this.#packed = packed;
    this.#leftAside = leftAside;
    return this;
  }

  /** @internal What is trained: the projections, what scores are in every call, and the rotation. */
  get parts(): { packed: PackedProjections; scores: ScoreOptions; rotary: LayerRotary | undefined } {
    return { packed: this.#weights(), scores: this.#scores, rotary: this.#rotary };
  }

  /** Names under the prefix of the last `load` (or in all of the checkpoint) that this layer has no use for. */
  get leftAside(): readonly string[] {
    return this.#leftAside;
  }

  /**
   * Attention of x over itself, or over a context.
   *
   * @param x [batch, queries, embedDim] or [queries, embedDim]
   * @throws AttentionError INVALID_STATE before `load`; INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY
   */
  forward<
    Weights extends Asked = undefined,
    Averaged extends Asked = undefined,
    LogSumExp extends Asked = undefined,
    Recorded extends Asked = undefined,
  >(
    x: TensorLike,
    options: ForwardOptions<Weights, Averaged, LogSumExp, Recorded> = {},
  ): LayerResult<Either<Weights, Averaged>, LogSumExp, Recorded> {
    return callNow(forwardOperation, [this, x], options);
  }

  /** {@link forward} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on. */
  forwardAsync<
    Weights extends Asked = undefined,
    Averaged extends Asked = undefined,
    LogSumExp extends Asked = undefined,
    Recorded extends Asked = undefined,
  >(
    x: TensorLike,
    options: ForwardOptions<Weights, Averaged, LogSumExp, Recorded> & AsyncOptions = {},
  ): Promise<LayerResult<Either<Weights, Averaged>, LogSumExp, Recorded>> {
    return callAsync(forwardOperation, [this, x], options);
  }

  #weights(): PackedProjections {
    this.#check();
    const packed = this.#packed;
    if (!packed) {
      throw new AttentionError({
        code: 'INVALID_STATE',
        message: 'the layer has no weights: call load first',
      });
    }
    return packed;
  }

  /** Frees the weights. Safe to repeat. */
  dispose(): void {
    for (const weights of this.#packed?.all ?? []) weights.dispose();
    this.#packed = undefined;
    this.#rotary?.dispose();
    this.#disposed = true;
  }

  /** @internal `forward` as part of the call of another layer: its steps and its temporary memory are those of the scope. */
  run(scope: CallScope, x: TensorLike, options: ForwardOptions = {}): LayerResult {
    const packed = this.#weights();
    scope.lasting ||= options.returnRecord ?? false;
    const { embedDim, kdim, vdim, numHeads, numKeyValueHeads, headDim, valueHeadDim, outputDim } =
      this.layout;
    const input = layerInput(scope, 'x', x, embedDim);
    const keyInput =
      options.context === undefined ? input : layerInput(scope, 'context', options.context, kdim);
    const valueInput =
      options.valueContext === undefined
        ? keyInput
        : layerInput(scope, 'valueContext', options.valueContext, vdim);
    this.#checkContexts(input, keyInput, valueInput);
    const parts = project(scope, [
      { input, part: packed.query, heads: numHeads, dim: headDim },
      { input: keyInput, part: packed.key, heads: numKeyValueHeads, dim: headDim },
      { input: valueInput, part: packed.value, heads: numKeyValueHeads, dim: valueHeadDim },
    ]);
    const [query, key, value] = parts as [Tensor<'float32'>, Tensor<'float32'>, Tensor<'float32'>];
    checkValue(value, key);

    const batch = input.shape[0]!; // by index: engines take frozen arrays apart slowly
    const queries = input.shape[1]!;
    const merged = scope.temporary([batch, queries, numHeads * valueHeadDim]);
    const returned = {
      output: splitHeads(merged, numHeads, valueHeadDim),
      returnWeights: options.returnWeights || options.averageWeights,
      returnLogSumExp: options.returnLogSumExp,
      returnRecord: options.returnRecord,
    };
    const attended = options.cache
      ? this.#overCache(scope, options.cache, { query, key, value }, options, returned)
      : this.#overContext(scope, { query, key, value }, options, returned);

    const isBatched = batched(x);
    const result = scope.make(isBatched ? [batch, queries, outputDim] : [queries, outputDim]);
    if (batch * queries > 0) {
      runProduct(
        scope,
        { address: merged.address, rowBytes: merged.shape[2]! * 4, rows: batch * queries },
        packed.output,
        { from: 0, to: outputDim },
        { address: result.address, rowBytes: outputDim * 4 },
      );
    }
    const weights = options.averageWeights ? averageHeads(scope, attended.weights!) : attended.weights;
    return new LayerResult(result, weights, attended);
  }

  #overContext(
    scope: CallScope,
    { query, key, value }: Heads,
    options: ForwardOptions,
    returned: Wanted,
  ): AttentionResult {
    if (this.#rotary && query.size > 0 && key.size > 0) {
      if (options.context !== undefined) throw unsupported('context', 'self-attention', 'rotary embedding');
      const [batch, , length] = query.shape as [number, number, number];
      const placed = this.#rotary.place(scope, options.positions, batch, length);
      this.#rotary.rotate(scope, query, placed);
      this.#rotary.rotate(scope, key, placed);
    }
    const plan = planAttention(scope, query, key, { ...this.#scores, ...withoutAbsent(options) }, 4);
    return runPlan(scope, plan, value, returned);
  }

  #overCache(
    scope: CallScope,
    cache: KeyValueCache,
    { query, key, value }: Heads,
    options: ForwardOptions,
    returned: Wanted,
  ): AttentionResult {
    for (const argument of ['context', 'valueContext', 'keyLengths', 'queryOffset', 'causal'] as const) {
      if (options[argument] !== undefined) throw unsupported(argument, 'none', 'a cache');
    }
    checkCache(cache, this.runtime);
    const { cacheLayer = 0, mask, bias } = options;
    const lengths = cache.lengths(cacheLayer);
    const [batch, , length] = query.shape as [number, number, number];
    if (batch !== lengths.length)
      throw shapeError('x', `a batch of ${lengths.length}, as the cache has`, [batch]);
    const counts = readCounts(options.lengths, batch, length);
    const scores = {
      ...this.#scores,
      causal: true,
      ...(mask === undefined ? {} : { mask }),
      ...(bias === undefined ? {} : { bias }),
    };
    const placed =
      this.#rotary && query.size > 0
        ? this.#rotary.place(scope, options.positions ?? positionsAfter(lengths, length), batch, length)
        : undefined;
    if (placed) this.#rotary!.rotate(scope, query, placed);
    const rotary = placed && this.#rotary!.ofRows(placed);
    cache.appendRows(scope, cacheLayer, key, value, { counts, rotary });
    return cache.attendRows(scope, cacheLayer, query, counts, { ...scores, ...returned });
  }

  #checkContexts(input: Tensor, keyInput: Tensor, valueInput: Tensor): void {
    const { kdim, vdim } = this.layout;
    if (keyInput.shape[0] !== input.shape[0] || keyInput.shape[2] !== kdim) {
      throw shapeError('context', `[${input.shape[0]}, keys, ${kdim}]`, keyInput.shape);
    }
    if (
      valueInput.shape[0] !== input.shape[0] ||
      valueInput.shape[1] !== keyInput.shape[1] ||
      valueInput.shape[2] !== vdim
    ) {
      throw shapeError(
        'valueContext',
        `[${keyInput.shape[0]}, ${keyInput.shape[1]}, ${vdim}]`,
        valueInput.shape,
      );
    }
  }

  #widths() {
    const { numHeads, numKeyValueHeads, headDim, valueHeadDim } = this.layout;
    return {
      queryDim: numHeads * headDim,
      keyDim: numKeyValueHeads * headDim,
      valueDim: numKeyValueHeads * valueHeadDim,
      mergedDim: numHeads * valueHeadDim,
    };
  }

  #pack(given: AttentionProjections): PackedProjections {
    const projections = apart(given, this.runtime);
    const { embedDim, kdim, vdim, outputDim } = this.layout;
    const { queryDim, keyDim, valueDim, mergedDim } = this.#widths();
    const all: LinearWeights[] = [];
    const pack = (projection: Projection, out: number, inFeatures: number): LinearWeights => {
      const bias = projection.bias && { data: projection.bias, shape: [out] };
      const weights = new LinearWeights(
        this.runtime,
        { data: projection.weight, shape: [out, inFeatures] },
        bias,
      );
      all.push(weights);
      return weights;
    };
    try {
      const output = pack(projections.output, outputDim, mergedDim);
      const { query, key, value } = projections;
      if (kdim === embedDim && vdim === embedDim) {
        const fused = fuse([query, key, value], embedDim);
        const weights = pack(fused, fused.bias.length, embedDim);
        const [queryFrom, keyFrom, valueFrom] = fused.from as [number, number, number];
        return {
          query: { weights, from: queryFrom, to: queryFrom + queryDim },
          key: { weights, from: keyFrom, to: keyFrom + keyDim },
          value: { weights, from: valueFrom, to: valueFrom + valueDim },
          output,
          all,
        };
      }
      return {
        query: { weights: pack(query, queryDim, embedDim), from: 0, to: queryDim },
        key: { weights: pack(key, keyDim, kdim), from: 0, to: keyDim },
        value: { weights: pack(value, valueDim, vdim), from: 0, to: valueDim },
        output,
        all,
      };
    } catch (error) {
      for (const weights of all) weights.dispose();
      throw error;
    }
  }

  #check(): void {
    this.runtime.check();
    if (this.#disposed) throw new AttentionError({ code: 'DISPOSED', message: 'the layer was disposed' });
  }
}

export const forwardOperation: Operation<
  [layer: MultiHeadAttention, x: TensorLike],
  ForwardOptions,
  LayerResult
> = {
  inputs: ['layer', 'x'],
  options: {
    mask: 1,
    keyLengths: 1,
    queryOffset: 1,
    bias: 1,
    causal: 1,
    context: 1,
    valueContext: 1,
    positions: 1,
    cache: 1,
    cacheLayer: 1,
    lengths: 1,
    returnWeights: 1,
    averageWeights: 1,
    returnLogSumExp: 1,
    returnRecord: 1,
  } satisfies NamesOf<ForwardOptions>,
  runtime: ([layer]) => checkInstance('layer', layer, MultiHeadAttention).runtime,
  run: (scope, [layer, x], options) => layer.run(scope, x, options),
};

function unsupported(argument: string, expected: string, what: string): AttentionError {
  return new AttentionError({
    code: 'UNSUPPORTED',
    argument,
    expected: `${expected} together with ${what}`,
    received: 'a value',
  });
}

function checkCache(cache: KeyValueCache, runtime: Runtime): void {
  if (cache instanceof KeyValueCache && cache.runtime === runtime) return;
  throw new AttentionError({
    code: 'INVALID_ARGUMENT',
    argument: 'cache',
    expected: 'a KeyValueCache of the same runtime',
    received: cache instanceof KeyValueCache ? 'one of another runtime' : describe(cache),
  });
}

function readLayout(options: MultiHeadAttentionOptions): MultiHeadAttentionLayout {
  checkOptions(options, LAYER_NAMES);
  const {
    embedDim,
    numHeads,
    numKeyValueHeads = numHeads,
    kdim = embedDim,
    vdim = embedDim,
    bias = true,
  } = options;
  const { headDim = embedDim / numHeads } = options;
  const { valueHeadDim = headDim } = options;
  const sizes = { embedDim, numHeads, numKeyValueHeads, headDim, valueHeadDim, kdim, vdim };
  for (const [argument, size] of Object.entries(sizes)) {
    if (Number.isInteger(size) && size >= 1 && size < 2 ** 31) continue;
    const expected =
      argument === 'headDim' && options.headDim === undefined
        ? `an embedDim (${embedDim}) that numHeads (${numHeads}) divides, or headDim itself`
        : 'an integer >= 1';
    throw invalidArgument(argument, expected, size);
  }
  if (numHeads % numKeyValueHeads !== 0) {
    throw invalidArgument('numKeyValueHeads', `a divisor of numHeads (${numHeads})`, numKeyValueHeads);
  }
  return { ...sizes, bias, outputDim: embedDim };
}

/** Options without those that are undefined, so that a layer's own are not overwritten by nothing. */
function withoutAbsent(options: ForwardOptions): Partial<AttentionOptions> {
  const present: Record<string, unknown> = {};
  for (const name of ['mask', 'keyLengths', 'queryOffset', 'bias', 'causal'] as const) {
    if (options[name] !== undefined) present[name] = options[name];
  }
  return present;
}

function batched(x: TensorLike): boolean {
  const shape = 'dims' in x ? x.dims : x.shape;
  return shape.length === 3;
}

/** The input as [batch, length, channels], its rows one stride apart. */
function layerInput(
  scope: CallScope,
  argument: string,
  input: TensorLike,
  channels: number,
): Tensor<'float32'> {
  const tensor = scope.tensor(argument, input);
  checkDataType(argument, tensor, 'float32');
  const rank = tensor.shape.length;
  if ((rank !== 2 && rank !== 3) || tensor.shape[rank - 1] !== channels) {
    throw shapeError(argument, `[batch, length, ${channels}] or [length, ${channels}]`, tensor.shape);
  }
  const whole = tensor.withRank(3);
  if (rowsOf(whole)) return whole;
  return scope.contiguous(whole);
}

/** The projections, those of them copied that are views of linear memory: growing it would detach them. */
function apart(projections: AttentionProjections, { linearMemory }: Runtime): AttentionProjections {
  const copyOf = ({ weight, bias }: Projection): Projection => ({
    weight: linearMemory.apart(weight),
    ...(bias && { bias: linearMemory.apart(bias) }),
  });
  const { query, key, value, output } = projections;
  return { query: copyOf(query), key: copyOf(key), value: copyOf(value), output: copyOf(output) };
}

/** Weights and biases of several projections of one input as one matrix; each part begins at a panel. */
function fuse(projections: readonly Projection[], inFeatures: number) {
  const rows = projections.map(({ weight }) => weight.length / inFeatures);
  const from: number[] = [];
  let total = 0;
  for (const count of rows) {
    from.push(total);
    total += Math.ceil(count / PANEL) * PANEL;
  }
  const weight = new Float32Array(total * inFeatures);
  const bias = new Float32Array(total);
  projections.forEach((projection, i) => {
    weight.set(projection.weight, from[i]! * inFeatures);
    if (projection.bias) bias.set(projection.bias, from[i]);
  });
  return { weight, bias, from };
}

/** An input, the weights it meets, and how the product is split. */
interface Job {
  readonly input: Tensor<'float32'>;
  readonly part: Part;
  readonly heads: number;
  readonly dim: number;
}

/** Projects each input by its part; neighbouring parts of the same weights and input are one product. */
function project(scope: CallScope, jobs: readonly Job[]): Tensor<'float32'>[] {
  const results: Tensor<'float32'>[] = [];
  for (let first = 0; first < jobs.length;) {
    const { input, part } = jobs[first]!;
    let end = first + 1;
    while (end < jobs.length && jobs[end]!.input === input && jobs[end]!.part.weights === part.weights) end++;
    const { to } = jobs[end - 1]!.part;
    const width = Math.ceil(to / PANEL) * PANEL - part.from;
    const batch = input.shape[0]!;
    const length = input.shape[1]!;
    const product = scope.temporary([batch, length, width]);
    if (product.size > 0) {
      runProduct(
        scope,
        { address: input.address, rowBytes: rowsOf(input)!.rowStride * 4, rows: batch * length },
        part.weights,
        { from: part.from, to },
        { address: product.address, rowBytes: width * 4 },
      );
    }
    for (; first < end; first++) {
      const job = jobs[first]!;
      results.push(splitHeads(product, job.heads, job.dim, job.part.from - part.from));
    }
  }
  return results;
}

/** Mean over heads: [batch, heads, queries, keys] -> [batch, queries, keys]. */
function averageHeads(scope: CallScope, weights: Tensor<'float32'>): Tensor<'float32'> {
  const [batch, heads, queries, keys] = weights.shape as [number, number, number, number];
  const mean = scope.make([batch, queries, keys]);
  const size = queries * keys;
  scope.run({
    kernel: 'meansOverHeads',
    args: [weights.address, mean.address, heads, size],
    tiles: batch * Math.ceil(size / MEAN_BLOCK),
    scratchBytes: MEAN_BLOCK * 8,
    cost: 20 * weights.size,
  });
  scope.then(() => weights.dispose());
  return mean;
}
