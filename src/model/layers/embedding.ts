// The public embedding layer: a row of a table for each token, with positions and a norm where they are wanted.

import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import { checkInstance, checkInteger, checkOptions } from '../../runtime/checks.js';
import type { NamesOf } from '../../runtime/checks.js';
import type { Operation } from '../../runtime/operation.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Tensor } from '../../runtime/tensor.js';
import type { TokenInput } from '../description.js';
import { readTokens } from '../inputs.js';
import type { TokenList } from '../inputs.js';
import { TokenEmbedding } from './input.js';
import { Layer } from './layer.js';
import type { LayerDescription } from './layer.js';
import { describeNorm } from './options.js';
import { rowsOfTensor } from './stack.js';

/** Sizes of an embedding. */
export interface EmbeddingLayerOptions {
  /** Tokens that there are. */
  readonly vocabulary: number;
  /** Channels of a token. */
  readonly embedDim: number;
  /** Learned positions, from 0 on. Default none. */
  readonly positions?: number | undefined;
  /** Kinds of tokens (segments), each with a row of its own. Default none. */
  readonly tokenTypes?: number | undefined;
  /** Factor on the rows of tokens. Default 1. */
  readonly factor?: number | undefined;
  /** A layer norm of the sum. Default none. */
  readonly norm?: boolean | undefined;
  /** Of the norm. Default 1e-5. */
  readonly epsilon?: number | undefined;
}

export const EMBEDDING_NAMES = {
  vocabulary: 1,
  embedDim: 1,
  positions: 1,
  tokenTypes: 1,
  factor: 1,
  norm: 1,
  epsilon: 1,
} satisfies NamesOf<EmbeddingLayerOptions>;

/** Options of a call of an embedding. */
export interface EmbeddingForwardOptions {
  /** Kind of each token, [batch, length]. Default 0. */
  readonly tokenTypeIds?: TokenList | undefined;
  /** Position of each token, [batch, length]. Default 0, 1, ... */
  readonly positionIds?: TokenList | undefined;
}

/**
 * Rows of a table by token ids, with learned positions, token types and a norm where they are wanted. Parameters: weight,
 * positions.weight, types.weight, norm.weight, norm.bias.
 *
 * @example
 * ```js
 * await runtime.load(model);
 * const embedding = new Embedding(runtime, { vocabulary: 3, embedDim: 2 });
 * embedding.load({ weight: { data: [0, 1, 10, 11, 20, 21], shape: [3, 2] } });
 * embedding.forward([[2, 0]]).data; // [20, 21, 0, 1]
 * ```
 */
export class Embedding extends Layer {
  readonly #input: TokenInput;
  /** @internal */
  readonly description: LayerDescription;
  readonly #embedding: TokenEmbedding;
  readonly #channels: number;

  /** @throws AttentionError INVALID_ARGUMENT */
  constructor(runtime: Runtime, options: EmbeddingLayerOptions) {
    super(runtime);
    checkOptions(options, EMBEDDING_NAMES);
    const { vocabulary, embedDim, positions, tokenTypes, factor, norm = false, epsilon = 1e-5 } = options;
    for (const [name, size] of Object.entries({
      vocabulary,
      embedDim,
      positions: positions ?? 1,
      tokenTypes: tokenTypes ?? 1,
    }))
      checkInteger(name, size, 1, 2 ** 24);
    const table = (name: string, rows: number) => ({ name: `${name}weight`, shape: [rows, embedDim] });
    this.#input = {
      kind: 'tokens',
      table: table('', vocabulary),
      factor,
      types: tokenTypes === undefined ? undefined : table('types.', tokenTypes),
      positions:
        positions === undefined
          ? undefined
          : { table: table('positions.', positions), offset: 0, count: 'index' },
      norm: norm ? describeNorm('norm.', 'layer', embedDim, epsilon) : undefined,
    };
    this.#embedding = this.reserve((parameters) => new TokenEmbedding(parameters, this.#input));
    this.#channels = embedDim;
    this.description = { channels: embedDim, input: this.#input };
  }

  /**
   * The rows of tokens.
   *
   * @param ids [batch, length], or a list of ids
   * @returns [batch, length, embedDim]
   * @throws AttentionError INVALID_STATE before `load`; INVALID_ARGUMENT for an id that is none, INVALID_SHAPE, OUT_OF_MEMORY
   */
  forward(ids: TokenList, options: EmbeddingForwardOptions = {}): Tensor<'float32'> {
    return callNow(embeddingLayerOperation, [this, ids], options);
  }

  /** {@link forward} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on. */
  forwardAsync(
    ids: TokenList,
    options: EmbeddingForwardOptions & AsyncOptions = {},
  ): Promise<Tensor<'float32'>> {
    return callAsync(embeddingLayerOperation, [this, ids], options);
  }

  /** @internal `forward` as part of a call. */
  run(scope: CallScope, ids: TokenList, options: EmbeddingForwardOptions): Tensor<'float32'> {
    this.checkLoaded();
    this.parameters.hold(scope);
    const names = { ids: 'inputIds', mask: 'attentionMask' } as const;
    const tokens = readTokens(this.#input, names, { inputIds: ids, ...options });
    const output = scope.make([tokens.batch, tokens.length, this.#channels]);
    if (output.size > 0) this.#embedding.run(scope, tokens, rowsOfTensor(output));
    return output;
  }
}

export const embeddingLayerOperation: Operation<
  [layer: Embedding, ids: TokenList],
  EmbeddingForwardOptions,
  Tensor<'float32'>
> = {
  inputs: ['layer', 'ids'],
  options: { tokenTypeIds: 1, positionIds: 1 } satisfies NamesOf<EmbeddingForwardOptions>,
  runtime: ([layer]) => checkInstance('layer', layer, Embedding).runtime,
  run: (scope, [layer, ids], options) => layer.run(scope, ids, options),
};
