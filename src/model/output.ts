// What a call of a model returns.

import type { AttentionRecord } from '../ops/attention/record.js';
import { Disposable } from '../runtime/disposable.js';
import type { Tensor } from '../runtime/tensor.js';

/** What one stack of blocks gave: the whole of a model with one, or the encoder of a model with two. */
export interface StackOutput {
  /** After the last norm, [batch, length, channels]. */
  readonly lastHiddenState: Tensor<'float32'>;
  /** What entered each block, and what came out of the last one, before the last norm; where asked for. */
  readonly hiddenStates?: readonly Tensor<'float32'>[] | undefined;
  /** The attention of each block, to look into; where asked for. */
  readonly records?: readonly AttentionRecord[] | undefined;
  /** The same over the encoder's tokens, of a decoder that has one. */
  readonly crossRecords?: readonly AttentionRecord[] | undefined;
  /** The weights of each block, [batch, heads, queries, keys]; where asked for. */
  readonly attentions?: readonly Tensor<'float32'>[] | undefined;
  /** The same over the encoder's tokens, of a decoder that has one. */
  readonly crossAttentions?: readonly Tensor<'float32'>[] | undefined;
}

/** What a tower of a model of text and pictures gave. */
export interface TowerOutput extends StackOutput {
  /** The pooled token, projected to the space that both share, [batch, channels]. */
  readonly features: Tensor<'float32'>;
  /** The same with a length of one. */
  readonly embeddings: Tensor<'float32'>;
}

/** Everything that a model may return. */
export interface ModelResults extends Partial<StackOutput> {
  readonly logits?: Tensor<'float32'> | undefined;
  readonly poolerOutput?: Tensor<'float32'> | undefined;
  readonly predictionLogits?: Tensor<'float32'> | undefined;
  readonly seqRelationshipLogits?: Tensor<'float32'> | undefined;
  readonly clsLogits?: Tensor<'float32'> | undefined;
  readonly distillationLogits?: Tensor<'float32'> | undefined;
  readonly sentenceEmbedding?: Tensor<'float32'> | undefined;
  readonly encoder?: StackOutput | undefined;
  readonly text?: TowerOutput | undefined;
  readonly vision?: TowerOutput | undefined;
  readonly logitsPerImage?: Tensor<'float32'> | undefined;
  readonly logitsPerText?: Tensor<'float32'> | undefined;
}

/**
 * What a call of a model returns: of these what the model has. Disposing it disposes all its tensors and records.
 *
 * @example
 * ```js
 * const { lastHiddenState, poolerOutput } = bert.forward({ inputIds: [2, 5, 7, 3] });
 * lastHiddenState.shape; // [1, 4, 8]
 * poolerOutput.shape; // [1, 8]
 * ```
 */
export class ModelOutput extends Disposable {
  /** After the last norm, [batch, length, channels]; of the decoder where there is one. */
  declare readonly lastHiddenState: Tensor<'float32'> | undefined;
  /** What entered each block, and what came out of the last one; where asked for. */
  declare readonly hiddenStates: readonly Tensor<'float32'>[] | undefined;
  /** The attention of each block, to look into; where asked for. */
  declare readonly records: readonly AttentionRecord[] | undefined;
  /** The same over the encoder's tokens. */
  declare readonly crossRecords: readonly AttentionRecord[] | undefined;
  /** The weights of each block, [batch, heads, queries, keys]; where asked for. */
  declare readonly attentions: readonly Tensor<'float32'>[] | undefined;
  /** The same over the encoder's tokens. */
  declare readonly crossAttentions: readonly Tensor<'float32'>[] | undefined;
  /** Of a language model [batch, length, vocabulary]; of a classifier [batch, labels]. */
  declare readonly logits: Tensor<'float32'> | undefined;
  /** [batch, channels]. */
  declare readonly poolerOutput: Tensor<'float32'> | undefined;
  /** Of masked words, [batch, length, vocabulary] (BERT with both of its heads). */
  declare readonly predictionLogits: Tensor<'float32'> | undefined;
  /** Of the next sentence, [batch, 2] (BERT with both of its heads). */
  declare readonly seqRelationshipLogits: Tensor<'float32'> | undefined;
  /** [batch, labels] (DeiT). */
  declare readonly clsLogits: Tensor<'float32'> | undefined;
  /** [batch, labels] (DeiT). */
  declare readonly distillationLogits: Tensor<'float32'> | undefined;
  /** Pooled and normalised as the model's sentence-transformers modules say, [batch, channels]. */
  declare readonly sentenceEmbedding: Tensor<'float32'> | undefined;
  /** The encoder of a model with both. */
  declare readonly encoder: StackOutput | undefined;
  /** Of text, where a model has text and pictures. */
  declare readonly text: TowerOutput | undefined;
  /** Of pictures. */
  declare readonly vision: TowerOutput | undefined;
  /** [pictures, texts]. */
  declare readonly logitsPerImage: Tensor<'float32'> | undefined;
  /** [texts, pictures]. */
  declare readonly logitsPerText: Tensor<'float32'> | undefined;

  /** @internal */
  constructor(results: ModelResults) {
    super();
    Object.assign(this, results);
  }

  /** Frees the tensors and records. Safe to repeat. */
  dispose(): void {
    disposeAll(this);
  }
}

/** Frees everything in it that can be freed. */
export function disposeAll(value: object): void {
  for (const item of Object.values(value)) {
    if (item === null || typeof item !== 'object') continue;
    if (typeof (item as Disposable).dispose === 'function') (item as Disposable).dispose();
    else disposeAll(item as object);
  }
}
