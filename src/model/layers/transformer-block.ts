// The public layers that attend: a block, and stacks of blocks.

import { KeyValueCache } from '../../cache/key-value-cache.js';
import type { AttentionOptions } from '../../ops/attention/options.js';
import type { AttentionRecord } from '../../ops/attention/record.js';
import { LayerRotary } from '../../ops/rotary/layer-rotary.js';
import { positionsAfter } from '../../ops/rotary/options.js';
import type { Positions } from '../../ops/rotary/rotary.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import { checkInstance, checkInteger, checkOptions, integers } from '../../runtime/checks.js';
import type { IntegerList, NamesOf } from '../../runtime/checks.js';
import { Disposable } from '../../runtime/disposable.js';
import { invalidArgument, shapeError } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Tensor } from '../../runtime/tensor.js';
import { Pass } from '../pass.js';
import type { Context } from '../pass.js';
import { Rotations } from './attention.js';
import { Block } from './block.js';
import { CrossAttention } from './cross-attention.js';
import { Layer } from './layer.js';
import type { LayerDescription } from './layer.js';
import { Norm } from './bound-norm.js';
import { BLOCK_NAMES, describeBlock, describeNorm } from './options.js';
import type { TransformerBlockOptions } from './options.js';
import { rowsOfTensor } from './stack.js';

/** Options of a call of a block, or of a stack of them. */
export interface BlockForwardOptions {
  /** Tokens of each batch row; those after them are padding. Default: all. */
  readonly keyLengths?: IntegerList | undefined;
  /** See `AttentionOptions`. */
  readonly mask?: AttentionOptions['mask'];
  /** Position of each token for rotary embedding: [length], or [batch][length]. Default 0, 1, ... */
  readonly positions?: Positions | undefined;
  /** Tokens of an encoder, for cross-attention, [batch, keys, embedDim]. */
  readonly context?: TensorLike | undefined;
  /** Tokens of each row of the context. Default: all. */
  readonly contextLengths?: IntegerList | undefined;
  /** The tokens of x are appended to this cache, and attend to all it holds. Of causal blocks; see `createCache`. */
  readonly cache?: KeyValueCache | undefined;
  /** Also return a record of each attention, to look into. */
  readonly returnRecord?: boolean | undefined;
  /** Also return the weights of each attention, [batch, heads, queries, keys]. */
  readonly returnWeights?: boolean | undefined;
}

const FORWARD_NAMES = {
  keyLengths: 1,
  mask: 1,
  positions: 1,
  context: 1,
  contextLengths: 1,
  cache: 1,
  returnRecord: 1,
  returnWeights: 1,
} satisfies NamesOf<BlockForwardOptions>;

/**
 * What blocks return; disposing it disposes all its tensors and records.
 *
 * @example
 * ```js
 * const { output, records } = block.forward(x, { returnRecord: true });
 * output.shape; // [1, 5, 8]
 * topKeys(records[0], 1).keys.length; // 10: of each head and token
 * ```
 */
export class BlockResult extends Disposable {
  /** [batch, length, embedDim]; without a batch axis if the input had none. */
  readonly output: Tensor<'float32'>;
  /** The attention of each block, to look into; where asked for. */
  readonly records: readonly AttentionRecord[];
  /** The same over the context. */
  readonly crossRecords: readonly AttentionRecord[];
  /** The weights of each block; where asked for. */
  readonly attentions: readonly Tensor<'float32'>[];
  /** The same over the context. */
  readonly crossAttentions: readonly Tensor<'float32'>[];

  /** @internal */
  constructor(output: Tensor<'float32'>, { self, cross }: Pass) {
    super();
    this.output = output;
    this.records = self.records;
    this.crossRecords = cross.records;
    this.attentions = self.weights;
    this.crossAttentions = cross.weights;
  }

  /** Frees the tensors. Safe to repeat. */
  dispose(): void {
    const { output, records, crossRecords, attentions, crossAttentions } = this;
    for (const held of [output, ...records, ...crossRecords, ...attentions, ...crossAttentions])
      held.dispose();
  }
}

/** What a block and a stack have in common. */
export abstract class BlockLayer extends Layer {
  /** @internal */
  protected readonly rotations = new Rotations(LayerRotary);
  /** @internal */
  protected blocks: readonly Block[] = [];
  /** @internal */
  protected norm: Norm | undefined;
  /** @internal */
  abstract override readonly description: LayerDescription;
  readonly #options: TransformerBlockOptions;

  /** @internal */
  constructor(runtime: Runtime, options: TransformerBlockOptions) {
    super(runtime);
    this.#options = options;
  }

  /**
   * Runs the layer.
   *
   * @param x [batch, length, embedDim] or [length, embedDim]
   * @throws AttentionError INVALID_STATE before `load`; INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY
   */
  forward(x: TensorLike, options: BlockForwardOptions = {}): BlockResult {
    return callNow(blockOperation, [this, x], options);
  }

  /** {@link forward} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on. */
  forwardAsync(x: TensorLike, options: BlockForwardOptions & AsyncOptions = {}): Promise<BlockResult> {
    return callAsync(blockOperation, [this, x], options);
  }

  /** A key/value cache with this layer's sizes. */
  createCache(options: { readonly batch?: number; readonly capacity?: number } = {}): KeyValueCache {
    this.checkLive();
    checkOptions(options, { batch: 1, capacity: 1 });
    const { embedDim, numHeads, numKeyValueHeads = numHeads, headDim = embedDim / numHeads } = this.#options;
    return new KeyValueCache(this.runtime, {
      layers: this.blocks.length,
      numKeyValueHeads,
      headDim,
      ...options,
    });
  }

  override dispose(): void {
    this.rotations.dispose();
    super.dispose();
  }

  /** @internal `forward` as part of a call. */
  run(scope: CallScope, x: TensorLike, options: BlockForwardOptions): BlockResult {
    this.checkLoaded();
    this.parameters.hold(scope);
    scope.lasting ||= options.returnRecord ?? false;
    const { embedDim, causal = false, crossAttention = false } = this.#options;
    const { cache, positions } = options;
    const input = this.#input(scope, 'x', x);
    const [batch, length] = input.shape as [number, number];
    if (
      cache !== undefined &&
      (checkInstance('cache', cache, KeyValueCache).runtime !== this.runtime || !causal)
    )
      throw invalidArgument('cache', 'a cache of this runtime, and causal blocks', cache);
    const lengths = this.#lengths('keyLengths', options.keyLengths, batch, length);
    const past = cache?.lengths();
    if (past && past.length !== batch)
      throw shapeError('x', `a batch of ${past.length}, as the cache has`, [batch]);
    const counts = lengths ?? new Int32Array(batch).fill(length);
    const pass = new Pass(
      scope,
      {
        batch,
        length,
        positions: positions ?? positionsAfter(past ?? new Array<number>(batch).fill(0), length),
      },
      {
        wanted: { returnRecord: options.returnRecord, returnWeights: options.returnWeights },
        kept: { mask: options.mask, keyLengths: cache ? undefined : lengths },
        cached: cache && { cache, counts },
        context: crossAttention ? this.#context(scope, options, batch) : undefined,
      },
    );
    const output = scope.make(rankOf(x) === 2 ? [length, embedDim] : [batch, length, embedDim]);
    const flowing = this.norm ? scope.temporary([batch, length, embedDim]) : output;
    scope.copy(input, flowing);
    const rows = rowsOfTensor(flowing);
    if (rows.rows > 0) {
      this.blocks.forEach((block, i) => block.run(pass, i, rows));
      this.norm?.run(scope, rows, rowsOfTensor(output));
    }
    return new BlockResult(output, pass);
  }

  #input(scope: CallScope, argument: string, given: TensorLike): Tensor<'float32'> {
    const { embedDim } = this.#options;
    const tensor = scope.tensor(argument, given);
    checkDataType(argument, tensor, 'float32');
    const rank = tensor.shape.length;
    if ((rank === 2 || rank === 3) && tensor.shape[rank - 1] === embedDim) return tensor.withRank(3);
    throw shapeError(argument, `[batch, length, ${embedDim}] or [length, ${embedDim}]`, tensor.shape);
  }

  #lengths(
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

  #context(scope: CallScope, { context, contextLengths }: BlockForwardOptions, batch: number): Context {
    if (context === undefined)
      throw invalidArgument('context', 'the tokens of an encoder, [batch, keys, embedDim]', context);
    const tensor = scope.contiguous(this.#input(scope, 'context', context));
    const length = tensor.shape[1]!;
    if (tensor.shape[0] !== batch) throw shapeError('context', `a batch of ${batch}, as x has`, tensor.shape);
    const keyLengths = this.#lengths('contextLengths', contextLengths, batch, length);
    return { hidden: rowsOfTensor(tensor), length, keyLengths };
  }
}

export const blockOperation: Operation<[layer: BlockLayer, x: TensorLike], BlockForwardOptions, BlockResult> =
  {
    inputs: ['layer', 'x'],
    options: FORWARD_NAMES,
    runtime: ([layer]) => checkInstance('layer', layer, BlockLayer).runtime,
    run: (scope, [layer, x], options) => layer.run(scope, x, options),
  };

function rankOf(x: TensorLike): number {
  return ('dims' in x ? x.dims : x.shape).length;
}

/**
 * A transformer block: attention and feed-forward, with norms and residuals.
 *
 * @see Vaswani et al. 2017
 *
 * @example
 * ```js
 * await runtime.load(model);
 * const block = new TransformerBlock(runtime, { embedDim: 8, numHeads: 2, feedForwardDim: 32, causal: true });
 * block.load(tensors); // attention.query.weight, attention.norm.weight, feedForward.up.weight, ...: block.parameterNames
 * const { output } = block.forward({ data: new Float32Array(40), shape: [1, 5, 8] });
 * output.shape; // [1, 5, 8]
 * ```
 */
export class TransformerBlock extends BlockLayer {
  /** @internal */
  readonly description: LayerDescription;

  /** @throws AttentionError INVALID_ARGUMENT for sizes that do not fit each other */
  constructor(runtime: Runtime, options: TransformerBlockOptions) {
    super(runtime, options);
    const block = describeBlock('', options);
    this.blocks = this.reserve((parameters) => [
      new Block(parameters, block, this.rotations, CrossAttention),
    ]);
    this.description = { channels: options.embedDim, blocks: [block], Rotary: LayerRotary };
  }
}

/** What a stack of blocks is made of. */
export interface TransformerOptions extends TransformerBlockOptions {
  /** Blocks. */
  readonly numLayers: number;
  /** A norm after the last block. Default: with norms before or around sublayers. */
  readonly finalNorm?: boolean | undefined;
}

export const TRANSFORMER_NAMES = /* @__PURE__ */ Object.assign(
  { numLayers: 1, finalNorm: 1 } satisfies NamesOf<Omit<TransformerOptions, keyof TransformerBlockOptions>>,
  BLOCK_NAMES,
);

/**
 * A stack of blocks: an encoder, with `causal` a decoder, with `crossAttention` the decoder of an encoder. Its parameters are those of
 * its blocks, layers.0.attention.query.weight, ..., and norm.weight.
 *
 * @example
 * ```js
 * await runtime.load(model);
 * const encoder = new Transformer(runtime, { numLayers: 2, embedDim: 8, numHeads: 2, feedForwardDim: 32 });
 * encoder.parameterNames.length; // 34
 * encoder.dispose();
 * ```
 */
export class Transformer extends BlockLayer {
  /** @internal */
  readonly description: LayerDescription;

  /** @throws AttentionError INVALID_ARGUMENT for sizes that do not fit each other */
  constructor(runtime: Runtime, options: TransformerOptions) {
    checkOptions(options, TRANSFORMER_NAMES);
    const { numLayers, finalNorm, ...block } = options;
    super(runtime, block);
    checkInteger('numLayers', numLayers, 1, 65536);
    const { norm = 'layer', normPlacement = 'before', embedDim, epsilon = 1e-5 } = block;
    const blocks = Array.from({ length: numLayers }, (_, i) => describeBlock(`layers.${i}.`, block));
    const hasNorm = finalNorm ?? (normPlacement === 'before' || normPlacement === 'around');
    const last = hasNorm ? { norm: describeNorm('norm.', norm, embedDim, epsilon) } : {};
    this.reserve((parameters) => {
      this.blocks = blocks.map(
        (described) => new Block(parameters, described, this.rotations, CrossAttention),
      );
      if (last.norm) this.norm = new Norm(parameters, last.norm);
    });
    this.description = { channels: embedDim, blocks, Rotary: LayerRotary, ...last };
  }
}
