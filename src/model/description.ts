// What a model is made of, as data: sizes, kinds, and for every parameter the name it has in the checkpoint. A family
// (families/) writes one from a config; the model (model.ts) is built from it, loaded by it and saved by it. Nothing else knows
// what a checkpoint calls its tensors.
//
//   config -> family -> ModelDescription -> parameters (what to read) and layers (what to compute)

import type { ActivationName } from '../ops/activations/names.js';
import type { RotaryOptions } from '../ops/rotary/options.js';
import type { ConfigReader } from './config.js';

export type { ActivationName, ConfigReader };

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
  /** Training leaves it as it is: a buffer, or positions that are not learned. */
  readonly fixed?: boolean;
}

/** y = x W^T + b, where W may be several tensors, one below the other. */
export interface MatrixDescription {
  /** Columns of W. */
  readonly inFeatures: number;
  /** Rows of W, of all parts together. */
  readonly outFeatures: number;
  /** The tensors, from the first output feature to the last. */
  readonly parts: readonly {
    /** [rows, inFeatures], more axes than two flattened from the second on. */
    readonly weight: Source;
    /** [rows]; none: zeros. */
    readonly bias?: Source | undefined;
  }[];
}

/** A norm over channels. */
export interface NormDescription {
  /** (x - mean) / deviation, or x / root mean square. */
  readonly kind: 'layer' | 'rms';
  /** Channels that are normalised together. */
  readonly channels: number;
  /** Added to the variance, or to the mean of the squares. */
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
  /** Of queries. */
  readonly heads: number;
  /** Of keys and values: each serves as many heads of queries. */
  readonly keyValueHeads: number;
  /** Channels per head of queries and keys, and of values. */
  readonly headDim: number;
  /** Default 1 / sqrt(headDim). */
  readonly scale?: number | undefined;
  /** cap * tanh(score / cap). */
  readonly softcap?: number | undefined;
  /** Whether a query sees no later key. */
  readonly causal: boolean;
  /** Keys beside the own one that a query sees, on either side. */
  readonly window?:
    | {
        /** Keys before it. */
        readonly left: number;
        /** Keys after it. */
        readonly right: number;
      }
    | undefined;
  /** How queries and keys are rotated by their positions. */
  readonly rotary?: RotaryOptions | undefined;
  /** ALiBi with the usual slopes. */
  readonly alibi?: boolean | undefined;
  /** Bucketed relative positions: a table [buckets or more, heads]. */
  readonly relativePositions?:
    | {
        /** A row for each kind of distance. */
        readonly table: Source;
        /** Kinds of distances. */
        readonly buckets: number;
        /** From here on all are of one kind. */
        readonly maxDistance: number;
        /** Whether later keys have kinds of their own. */
        readonly bidirectional: boolean;
      }
    | undefined;
  /** Norms of queries and keys before the rotation, over each head's channels or over those of all heads together. */
  readonly queryNorm?: NormDescription | undefined;
  /** The same for keys. */
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
  /** From all heads' values to the width of the block. */
  readonly output: MatrixDescription;
}

/** Attention of tokens over those of an encoder. */
export interface CrossAttentionDescription extends ScoreDescription {
  /** Queries of the decoder's tokens. */
  readonly query: MatrixDescription;
  /** [all keys | all values]. */
  readonly keyValue: MatrixDescription;
  /** From all heads' values to the width of the block. */
  readonly output: MatrixDescription;
}

/** Two products with an activation between them, or three with a gate. */
export interface FeedForwardDescription {
  /** down(activation(up x)), or with a gate down(activation(gate x) * up x). */
  readonly activation: ActivationName;
  /** From the width of the block. */
  readonly up: MatrixDescription;
  /** What the activation is of, where there is one. */
  readonly gate?: MatrixDescription | undefined;
  /** Back to the width of the block. */
  readonly down: MatrixDescription;
}

/** The norms around a sublayer F: x' = after(x + layerScale * inner(F(before(x)))); each may be missing. */
export interface Placement {
  /** Of what the sublayer reads. */
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

/** A block: attention, in decoders of encoders attention over those, and a feed-forward layer. */
export interface BlockDescription {
  /** Over its own tokens. */
  readonly attention: SelfAttentionDescription & Placement;
  /** Over an encoder's tokens. */
  readonly crossAttention?: (CrossAttentionDescription & Placement) | undefined;
  /** None in models of attention only. */
  readonly feedForward?: (FeedForwardDescription & Placement) | undefined;
  /** x + A(norm x) + F(norm x): both sublayers of the same x. Without feedForward.before F gets what A got. */
  readonly parallel?: boolean | undefined;
}

/** What enters the first block. */
export interface TokenInput {
  /** Token ids. */
  readonly kind: 'tokens';
  /** [vocabulary, channels]. */
  readonly table: Source;
  /** Factor on token embeddings. Default 1. */
  readonly factor?: number | undefined;
  /** [token types, channels]. */
  readonly types?: Source | undefined;
  /** Learned positions. */
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
  /** Of the sum. */
  readonly norm?: NormDescription | undefined;
  /** From narrow embeddings to the width of the blocks. */
  readonly projection?: MatrixDescription | undefined;
}

/** Pictures, cut into patches. */
export interface PatchInput {
  /** Patches of pictures. */
  readonly kind: 'patches';
  /** Rows and columns of a picture. */
  readonly imageSize: readonly [height: number, width: number];
  /** Rows and columns of a patch. */
  readonly patchSize: readonly [height: number, width: number];
  /** Of a picture, as a rule 3. */
  readonly channels: number;
  /** [embedDim, channels * patch height * patch width]. */
  readonly projection: MatrixDescription;
  /** Tokens before the patches (class, distillation), [.., embedDim] each. */
  readonly first: readonly Source[];
  /** [tokens, embedDim], those before the patches included. */
  readonly positions: Source;
  /** Before the first block. */
  readonly norm?: NormDescription | undefined;
}

/** Whisper's: two convolutions over frames, each with GELU, and positions. */
export interface FrameInput {
  /** Frames of spectrograms. */
  readonly kind: 'frames';
  /** Bands of a frame. */
  readonly melBins: number;
  /** One after the other, along the frames. */
  readonly convolutions: readonly {
    /** [out, in * kernel]. */
    readonly matrix: MatrixDescription;
    /** Frames that it reads. */
    readonly kernel: number;
    /** Frames from one place to the next. */
    readonly stride: number;
    /** Zeros on either side. */
    readonly padding: number;
    /** Of the result. */
    readonly activation: ActivationName;
  }[];
  /** [frames after the convolutions, embedDim]. */
  readonly positions: Source;
}

/** What enters the first block, by kind. */
export type InputDescription = TokenInput | PatchInput | FrameInput;

/** Embedding, blocks and last norm. */
export interface StackDescription {
  /** Channels of a token between blocks. */
  readonly embedDim: number;
  /** How tokens, patches or frames become rows. */
  readonly input: InputDescription;
  /** Blocks whose parameters have the same names share them (ALBERT). */
  readonly blocks: readonly BlockDescription[];
  /** After the last block. */
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

/** A product with an activation after it, or a norm. */
export type HeadStep =
  | {
      /** A product. */
      readonly kind: 'matrix';
      /** What is multiplied with. */
      readonly matrix: MatrixDescription;
      /** Of the product; none: the product itself. */
      readonly activation?: ActivationName;
    }
  | {
      /** A norm. */
      readonly kind: 'norm';
      /** Which one. */
      readonly norm: NormDescription;
    };

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
  readonly of:
    | HeadInput
    | {
        /** Name of that head. */
        readonly head: HeadDescription['name'];
      };
  /** The end token of `end` and `lastEnd`. */
  readonly endTokenId?: number | undefined;
  /** What is done with the rows, in order. */
  readonly steps: readonly HeadStep[];
  /** Factor on the result of the last matrix. Default 1. */
  readonly factor?: number | undefined;
  /** cap * tanh(x / cap) on the result. */
  readonly softcap?: number | undefined;
}

/** The mean of two heads is the output `logits` (DeiT with its teacher). */
export interface MeanOfHeads {
  /** Names of both. */
  readonly meanOf: readonly [HeadDescription['name'], HeadDescription['name']];
}

/** How generation begins and ends, where the config says. */
export interface GenerationDefaults {
  /** Tokens that end a text. */
  readonly endTokenIds: readonly number[];
  /** What shorter rows are filled up with. */
  readonly paddingId?: number | undefined;
  /** What the decoder of an encoder begins with. */
  readonly decoderStartId?: number | undefined;
}

interface CommonDescription {
  /** The family's name, as `model_type` has it. */
  readonly family: string;
  /** Names in checkpoints that are no parameters, such as buffers: RegExp on the whole name. */
  readonly buffers?: readonly RegExp[] | undefined;
  /** Of decoders. */
  readonly generation?: GenerationDefaults | undefined;
}

/** One stack: encoders, decoders, models of pictures. */
export interface SingleDescription extends CommonDescription {
  /** What goes in and comes out: text and states, text and the next token, pictures and states. */
  readonly kind: 'encoder' | 'decoder' | 'vision';
  /** All there is. */
  readonly stack: StackDescription;
  /** In the order in which they are computed. */
  readonly heads: readonly HeadDescription[];
  /** Two heads that make up the logits. */
  readonly logits?: MeanOfHeads | undefined;
}

/** Encoder and decoder. Heads read the decoder. */
export interface EncoderDecoderDescription extends CommonDescription {
  /** Two stacks, of which the second attends to the first. */
  readonly kind: 'encoder-decoder';
  /** Reads all of its input at once. */
  readonly encoder: StackDescription;
  /** Goes on token by token. */
  readonly decoder: StackDescription;
  /** In the order in which they are computed. */
  readonly heads: readonly HeadDescription[];
}

/** Text and pictures in one space. */
export interface DualDescription extends CommonDescription {
  /** Two towers whose outputs are compared. */
  readonly kind: 'dual';
  /** Of tokens. */
  readonly text: StackDescription;
  /** Of pictures. */
  readonly vision: StackDescription;
  /** `features` of each. */
  readonly textHeads: readonly HeadDescription[];
  /** The same of pictures. */
  readonly visionHeads: readonly HeadDescription[];
  /** A scalar; logits are its exponential times the products of normalised features. */
  readonly logitScale: Source;
}

/** A model, by kind. */
export type ModelDescription = SingleDescription | EncoderDecoderDescription | DualDescription;

/** What a family sees of a checkpoint while it writes the description: published checkpoints differ in prefixes and heads. */
export interface CheckpointNames {
  /** Whether there is a tensor of this name. */
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
