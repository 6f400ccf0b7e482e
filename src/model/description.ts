// What a model is made of, as data: sizes, kinds, and for every parameter the name it has in the checkpoint. A family
// (families/) writes one from a config; the model (model.ts) is built from it, loaded by it and saved by it. Nothing else knows
// what a checkpoint calls its tensors.
//
//   config -> family -> ModelDescription -> parameters (what to read) and layers (what to compute)

import type { ActivationName } from '../ops/activations/names.js';
import type { RotaryOptions } from '../ops/rotary/rotary.js';

export type { ActivationName };

/** A tensor of a checkpoint, or some of its rows. */
export interface Source {
  /** Its name there. */
  readonly name: string;
  /** Its shape there. */
  readonly shape: readonly number[];
  /** The axes are [in, out], as GPT-2 stores them. */
  readonly transposed?: boolean;
  /** Of a tensor that packs several matrices: the first output feature of this one. Default 0. */
  readonly from?: number;
  /** How many of its output features. Default: all from there on. */
  readonly rows?: number;
  /** What stands in for a tensor that the checkpoint may lack; without it, it must be there. */
  readonly absent?: number;
}

/** y = x W^T + b, where W may be several tensors, one below the other. */
export interface MatrixDescription {
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly parts: readonly {
    /** [rows, inFeatures], more axes than two flattened from the second on. */
    readonly weight: Source;
    /** [rows]; none: zeros. */
    readonly bias?: Source | undefined;
  }[];
}

export interface NormDescription {
  readonly kind: 'layer' | 'rms';
  /** Channels that are normalised together. */
  readonly channels: number;
  readonly epsilon: number;
  /** [channels]; none: ones. */
  readonly weight?: Source | undefined;
  /** [channels]; none: zeros. */
  readonly bias?: Source | undefined;
  /** Times 1 + weight (Gemma). */
  readonly unitOffset?: boolean | undefined;
}

/** What the scores of an attention are. */
export interface ScoreDescription {
  readonly heads: number;
  readonly keyValueHeads: number;
  /** Channels per head of queries and keys, and of values. */
  readonly headDim: number;
  /** Default 1 / sqrt(headDim). */
  readonly scale?: number | undefined;
  readonly softcap?: number | undefined;
  readonly causal: boolean;
  /** Keys beside the own one that a query sees, on either side. */
  readonly window?: { readonly left: number; readonly right: number } | undefined;
  readonly rotary?: RotaryOptions | undefined;
  /** ALiBi with the usual slopes. */
  readonly alibi?: boolean | undefined;
  /** Bucketed relative positions: a table [buckets or more, heads]. */
  readonly relativePositions?:
    | {
        readonly table: Source;
        readonly buckets: number;
        readonly maxDistance: number;
        readonly bidirectional: boolean;
      }
    | undefined;
  /** Norms of queries and keys before the rotation, over each head's channels or over those of all heads together. */
  readonly queryNorm?: NormDescription | undefined;
  readonly keyNorm?: NormDescription | undefined;
}

/** Attention of tokens over themselves. */
export interface SelfAttentionDescription extends ScoreDescription {
  /** Queries, keys and values of a token, in one product. */
  readonly projection: MatrixDescription;
  /**
   * How they lie in a row of that product: `stacked` [all queries | all keys | all values], `perHead` [query, key, value of head 0 |
   * of head 1 | ...].
   */
  readonly order: 'stacked' | 'perHead';
  readonly output: MatrixDescription;
}

/** Attention of tokens over those of an encoder. */
export interface CrossAttentionDescription extends ScoreDescription {
  readonly query: MatrixDescription;
  /** [all keys | all values]. */
  readonly keyValue: MatrixDescription;
  readonly output: MatrixDescription;
}

export interface FeedForwardDescription {
  /** down(activation(up x)), or with a gate down(activation(gate x) * up x). */
  readonly activation: ActivationName;
  readonly up: MatrixDescription;
  readonly gate?: MatrixDescription | undefined;
  readonly down: MatrixDescription;
}

/** The norms around a sublayer F: x' = after(x + layerScale * inner(F(before(x)))); each may be missing. */
export interface Placement {
  readonly before?: NormDescription | undefined;
  /** On what the sublayer gives, before the residual is added. */
  readonly inner?: NormDescription | undefined;
  /** On the sum. */
  readonly after?: NormDescription | undefined;
  /** [embedDim], a factor for each channel of what the sublayer gives. */
  readonly layerScale?: Source | undefined;
  /** The residual is what `before` gave, not what it was given (BLOOM's option). */
  readonly residualAfterNorm?: boolean | undefined;
}

export interface BlockDescription {
  readonly attention: SelfAttentionDescription & Placement;
  readonly crossAttention?: (CrossAttentionDescription & Placement) | undefined;
  /** None in models of attention only. */
  readonly feedForward?: (FeedForwardDescription & Placement) | undefined;
  /** x + A(norm x) + F(norm x): both sublayers of the same x. Without feedForward.before F gets what A got. */
  readonly parallel?: boolean | undefined;
}

/** What enters the first block. */
export interface TokenInput {
  readonly kind: 'tokens';
  /** [vocabulary, channels]. */
  readonly table: Source;
  /** Factor on token embeddings. Default 1. */
  readonly factor?: number | undefined;
  /** [token types, channels]. */
  readonly types?: Source | undefined;
  readonly positions?:
    | {
        /** [positions, channels]. */
        readonly table: Source;
        /** Row of position 0. */
        readonly offset: number;
        /**
         * `index` counts tokens; `mask` counts tokens that the attention mask keeps (OPT), `padding` those that are not the padding id
         * (RoBERTa), whose own position is row `paddingRow` of the table.
         */
        readonly count: 'index' | 'mask' | 'padding';
        /** They are as wide as the blocks, and added after `projection` (OPT). */
        readonly afterProjection?: boolean | undefined;
      }
    | undefined;
  /** For `count: 'padding'`. */
  readonly paddingId?: number | undefined;
  readonly norm?: NormDescription | undefined;
  /** From narrow embeddings to the width of the blocks. */
  readonly projection?: MatrixDescription | undefined;
}

export interface PatchInput {
  readonly kind: 'patches';
  readonly imageSize: readonly [height: number, width: number];
  readonly patchSize: readonly [height: number, width: number];
  readonly channels: number;
  /** [embedDim, channels * patch height * patch width]. */
  readonly projection: MatrixDescription;
  /** Tokens before the patches (class, distillation), [.., embedDim] each. */
  readonly first: readonly Source[];
  /** [tokens, embedDim], those before the patches included. */
  readonly positions: Source;
  readonly norm?: NormDescription | undefined;
}

/** Whisper's: two convolutions over frames, each with GELU, and positions. */
export interface FrameInput {
  readonly kind: 'frames';
  readonly melBins: number;
  readonly convolutions: readonly {
    /** [out, in * kernel]. */
    readonly matrix: MatrixDescription;
    readonly kernel: number;
    readonly stride: number;
    readonly padding: number;
    readonly activation: ActivationName;
  }[];
  /** [frames after the convolutions, embedDim]. */
  readonly positions: Source;
}

export type InputDescription = TokenInput | PatchInput | FrameInput;

/** Embedding, blocks and last norm. */
export interface StackDescription {
  readonly embedDim: number;
  readonly input: InputDescription;
  /** Blocks whose parameters have the same names share them (ALBERT). */
  readonly blocks: readonly BlockDescription[];
  readonly norm?: NormDescription | undefined;
  /** After the last norm, to another width (OPT). */
  readonly projection?: MatrixDescription | undefined;
  /** Most tokens that positions are known for; undefined where there is no limit. */
  readonly maxLength?: number | undefined;
}

/** Which rows a head reads. */
export type HeadInput =
  | 'tokens' // every token
  | 'first' // the first token
  | 'second' // the second (DeiT's distillation token)
  | 'last' // the last token that is no padding
  | 'lastEnd' // the last token that is the end token (BART)
  | 'end' // the first end token, or the highest id where endTokenId is 2: CLIP's pooling
  | 'mean' // mean over tokens that are no padding
  | 'firstAndMean'; // the first token beside the mean of those after it (DINOv2)

export type HeadStep =
  | { readonly kind: 'matrix'; readonly matrix: MatrixDescription; readonly activation?: ActivationName }
  | { readonly kind: 'norm'; readonly norm: NormDescription };

/** Something computed from the last hidden state. */
export interface HeadDescription {
  /** What the model's output calls it. */
  readonly name:
    | 'logits'
    | 'poolerOutput'
    | 'predictionLogits'
    | 'seqRelationshipLogits'
    | 'clsLogits'
    | 'distillationLogits'
    | 'features'; // CLIP's textFeatures or visionFeatures
  /** A set of rows, or what an earlier head gave. */
  readonly of: HeadInput | { readonly head: HeadDescription['name'] };
  /** The end token of `end` and `lastEnd`. */
  readonly endTokenId?: number | undefined;
  readonly steps: readonly HeadStep[];
  /** Factor on the result of the last matrix. Default 1. */
  readonly factor?: number | undefined;
  /** cap * tanh(x / cap) on the result. */
  readonly softcap?: number | undefined;
}

/** The mean of two heads is the output `logits` (DeiT with its teacher). */
export interface MeanOfHeads {
  readonly meanOf: readonly [HeadDescription['name'], HeadDescription['name']];
}

/** How generation begins and ends, where the config says. */
export interface GenerationDefaults {
  readonly endTokenIds: readonly number[];
  readonly paddingId?: number | undefined;
  readonly decoderStartId?: number | undefined;
}

interface CommonDescription {
  /** The family's name, as `model_type` has it. */
  readonly family: string;
  /** Names in checkpoints that are no parameters, such as buffers: RegExp on the whole name. */
  readonly buffers?: readonly RegExp[] | undefined;
  readonly generation?: GenerationDefaults | undefined;
}

/** One stack: encoders, decoders, models of pictures. */
export interface SingleDescription extends CommonDescription {
  readonly kind: 'encoder' | 'decoder' | 'vision';
  readonly stack: StackDescription;
  readonly heads: readonly HeadDescription[];
  readonly logits?: MeanOfHeads | undefined;
}

/** Encoder and decoder. Heads read the decoder. */
export interface EncoderDecoderDescription extends CommonDescription {
  readonly kind: 'encoder-decoder';
  readonly encoder: StackDescription;
  readonly decoder: StackDescription;
  readonly heads: readonly HeadDescription[];
}

/** Text and pictures in one space. */
export interface DualDescription extends CommonDescription {
  readonly kind: 'dual';
  readonly text: StackDescription;
  readonly vision: StackDescription;
  /** `features` of each. */
  readonly textHeads: readonly HeadDescription[];
  readonly visionHeads: readonly HeadDescription[];
  /** A scalar; logits are its exponential times the products of normalised features. */
  readonly logitScale: Source;
}

export type ModelDescription = SingleDescription | EncoderDecoderDescription | DualDescription;

/** What a family sees of a checkpoint while it writes the description: published checkpoints differ in prefixes and heads. */
export interface CheckpointNames {
  has(name: string): boolean;
  /** Shape of a tensor; undefined where there is none. */
  shape(name: string): readonly number[] | undefined;
}

/** A family: which configs are its own, and what they mean. */
export interface Family {
  /** Values of `model_type`. */
  readonly modelTypes: readonly string[];
  /** Reads every setting of the config that changes the result; those it does not know are refused by name. */
  describe(config: ConfigReader, names: CheckpointNames): ModelDescription;
}

/** The settings of a config, each of which has to be read: what nobody has read in the end is an error (config.ts). */
export type ConfigReader = import('./config.js').ConfigReader;
