// The options of attention, shared by every operation and layer that attends. One meaning each, everywhere.

import { WINDOW_NAMES } from '../../masks/intervals.js';
import type { Window } from '../../masks/intervals.js';
import type { Mask } from '../../masks/mask.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { IntegerList, NamesOf } from '../../runtime/checks.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Tensor } from '../../runtime/tensor.js';

/** Whether something is asked for, as far as the compiler knows: true, not, or what only the program knows (boolean). */
export type Asked = boolean | undefined;

/** A tensor that is there if it was asked for. */
export type Returned<Wanted extends Asked> = Wanted extends true ? Tensor<'float32'> : undefined;

/** Bucketed relative-position bias (T5). */
export interface RelativePositionBias {
  /** [buckets, heads], in order of that shape: one learned bias a bucket and head, within +-2^100. */
  readonly table: Float32Array | readonly number[];
  /** Number of buckets. Default 32. */
  readonly buckets?: number | undefined;
  /** Distance from which on all share the last bucket. Default 128. */
  readonly maxDistance?: number | undefined;
  /** Whether keys after the query have buckets of their own (encoders). Default true. */
  readonly bidirectional?: boolean | undefined;
}

/**
 * What changes scores and removes keys, in this order: scale, softcap, biases (ALiBi, relative positions, `bias`), masks,
 * softmax (with sinks), weighted sum. Several masks at once must all hold.
 */
export interface AttentionOptions {
  /** Factor on q . k. Any number within +-2^127. Default 1 / sqrt(headDim). */
  readonly scale?: number | undefined;
  /** Divides the scaled score: softmax(score / temperature). A number > 0, at least scale / 2^127. Default 1. */
  readonly temperature?: number | undefined;
  /** s becomes softcap * tanh(s / softcap), after the scale and before biases and masks. 2^-100 to 2^100; default none. */
  readonly softcap?: number | undefined;
  /**
   * Query i keeps keys up to its own position. With another number of keys than queries, say where the queries stand:
   * 'upper-left' (query i at key i: PyTorch's is_causal), 'lower-right' (the last query at the last key of its row, which
   * `keyLengths` may shorten: FlashAttention), or `queryOffset`. All that depends on positions follows the same rule:
   * `window`, `alibi`, `relativePositionBias` and masks such as causal() or slidingWindow() take the positions given here
   * or by `queryOffset`; without them, and with another number of keys than queries, they are an error.
   */
  readonly causal?: boolean | 'upper-left' | 'lower-right' | undefined;
  /** Keys kept on each side besides the query's own. Positions as for `causal`. */
  readonly window?: Window | undefined;
  /** Position of query 0 among the keys, for all or for each batch row (the length of a cache). May be negative. */
  readonly queryOffset?: number | IntegerList | undefined;
  /**
   * Mask values, or a dense mask: 'bool' (true attends; torch.nn.MultiheadAttention has it the other way round) or
   * 'float32' (added to the score; -Infinity removes, a finite value never does: where all keys have the lowest float,
   * the row is their mean. Biased scores end at +-2.3586e38). Dense masks broadcast from the right to [batch, heads,
   * queries, keys].
   */
  readonly mask?: Mask | TensorLike | readonly (Mask | TensorLike)[] | undefined;
  /** Keys at or beyond it are removed, per batch row; 0..keys. */
  readonly keyLengths?: IntegerList | undefined;
  /** float32, added to the score; broadcasts like a mask. */
  readonly bias?: TensorLike | undefined;
  /** ALiBi, -slope * |distance|: true for the usual slopes, or one slope per head, or [batch][heads]; within +-2^64. */
  readonly alibi?: boolean | Float32Array | readonly number[] | readonly (readonly number[])[] | undefined;
  /** Learned biases by the distance of key and query (T5). Default none. */
  readonly relativePositionBias?: RelativePositionBias | undefined;
  /** One score per query head that joins the softmax's denominator without a value. */
  readonly sinks?: Float32Array | readonly number[] | undefined;
  /** Needed only if no input is a Tensor. */
  readonly runtime?: Runtime | undefined;
}

/** What scores are in every call of a layer. */
export type ScoreOptions = Pick<
  AttentionOptions,
  'scale' | 'temperature' | 'softcap' | 'causal' | 'window' | 'alibi' | 'relativePositionBias' | 'sinks'
>;

export const SCORE_NAMES = {
  scale: 1,
  temperature: 1,
  softcap: 1,
  causal: 1,
  window: WINDOW_NAMES,
  alibi: 1,
  relativePositionBias: {
    table: 1,
    buckets: 1,
    maxDistance: 1,
    bidirectional: 1,
  } satisfies NamesOf<RelativePositionBias>,
  sinks: 1,
} satisfies NamesOf<ScoreOptions>;

/** Options of `scaledDotProductAttention`: those of all attention, and what to return. */
export interface ScaledDotProductAttentionOptions<
  Weights extends Asked = Asked,
  LogSumExp extends Asked = Asked,
  Statistics extends Asked = Asked,
  Recorded extends Asked = Asked,
> extends AttentionOptions {
  /** Also return the weights, [batch, heads, queries, keys]. For part of them, or later, see `attentionWeights`. */
  readonly returnWeights?: Weights | undefined;
  /** Also return the log-sum-exp, [batch, heads, queries]. */
  readonly returnLogSumExp?: LogSumExp | undefined;
  /** Also return what `attentionWeights`, `attentionEntropy`, ... need to give the exact weights afterwards. */
  readonly returnStatistics?: Statistics | undefined;
  /** Also return a record, by which they look at this attention without being given its inputs and options again. */
  readonly returnRecord?: Recorded | undefined;
  /**
   * A contiguous or strided float32 tensor of the output's shape to write to. It must not share an element with an input;
   * it may lie between inputs, as heads of a packed tensor do.
   */
  readonly output?: Tensor | undefined;
}

/** What comes after attention takes its options as they are, and has no use for some. */
export const SCALED_DOT_PRODUCT_ATTENTION_NAMES = /* @__PURE__ */ Object.assign(
  {
    queryOffset: 1,
    mask: 1,
    keyLengths: 1,
    bias: 1,
    runtime: 1,
    returnWeights: 1,
    returnLogSumExp: 1,
    returnStatistics: 1,
    returnRecord: 1,
    output: 1,
  } satisfies NamesOf<Omit<ScaledDotProductAttentionOptions, keyof ScoreOptions>>,
  SCORE_NAMES,
);
