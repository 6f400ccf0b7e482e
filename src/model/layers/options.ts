// Options of public layers, and the descriptions that they stand for: what a block is made of, its parameters under plain names.
//
//   attention.{query,key,value,output}.{weight,bias}    attention.{queryNorm,keyNorm}.weight
//   feedForward.{up,gate,down}.{weight,bias}            {attention,crossAttention,feedForward}.{norm,innerNorm}.{weight,bias}

import type { RotaryOptions } from '../../ops/rotary/options.js';
import { ROTARY_NAMES } from '../../ops/rotary/options.js';
import { WINDOW_NAMES } from '../../masks/intervals.js';
import { checkInteger, checkOptions } from '../../runtime/checks.js';
import type { NamesOf } from '../../runtime/checks.js';
import { invalidArgument } from '../../runtime/errors.js';
import { ACTIVATIONS } from '../../ops/activations/names.js';
import type {
  ActivationName,
  BlockDescription,
  FeedForwardDescription,
  MatrixDescription,
  NormDescription,
  Placement,
} from '../description.js';

/** Sizes and kind of a feed-forward layer. */
export interface FeedForwardOptions {
  /** Channels of the input, and of the output. */
  readonly embedDim: number;
  /** Channels between the two products. */
  readonly hiddenDim: number;
  /** Default 'gelu', by the error function. */
  readonly activation?: ActivationName | undefined;
  /** down(activation(gate x) * up x) in place of down(activation(up x)). Default false. */
  readonly gated?: boolean | undefined;
  /** Whether the products have biases. Default true. */
  readonly bias?: boolean | undefined;
}

/** What a block is made of. */
export interface TransformerBlockOptions extends Omit<FeedForwardOptions, 'hiddenDim'> {
  /** Query heads. */
  readonly numHeads: number;
  /** Heads of keys and values; must divide numHeads. Default numHeads. */
  readonly numKeyValueHeads?: number | undefined;
  /** Channels per head. Default embedDim / numHeads. */
  readonly headDim?: number | undefined;
  /** Channels between the products of the feed-forward layer; 0 for a block of attention only. */
  readonly feedForwardDim: number;
  /** Default 'layer'. */
  readonly norm?: 'layer' | 'rms' | undefined;
  /**
   * Where norms stand, with F a sublayer: 'before' (default) x + F(norm x), 'after' norm(x + F(x)), 'around' x + norm F(norm x),
   * 'inside' x + norm F(x).
   */
  readonly normPlacement?: 'before' | 'after' | 'around' | 'inside' | undefined;
  /** Added to the variance. Default 1e-5. */
  readonly epsilon?: number | undefined;
  /** x + A(norm x) + F(norm x): both sublayers of the same norm of x. Default false. */
  readonly parallel?: boolean | undefined;
  /** Tokens see those before them, and themselves. Default false. */
  readonly causal?: boolean | undefined;
  /** Keys beside the own one that a token sees, on either side. Default all. */
  readonly window?:
    | {
        /** Keys before it. */
        readonly left: number;
        /** Keys after it. */
        readonly right: number;
      }
    | undefined;
  /** Default 1 / sqrt(headDim). */
  readonly scale?: number | undefined;
  /** See `AttentionOptions`. */
  readonly softcap?: number | undefined;
  /** Rotates queries and keys by their positions. Default: no rotary embedding. */
  readonly rotary?: RotaryOptions | undefined;
  /** ALiBi with the usual slopes. Default false. */
  readonly alibi?: boolean | undefined;
  /** RMS norms of queries and keys, of each head's channels or of those of all heads. Default none. */
  readonly queryKeyNorm?: 'head' | 'all' | undefined;
  /** Attention over the tokens of an encoder between the two. Default false. */
  readonly crossAttention?: boolean | undefined;
}

export const FEED_FORWARD_NAMES = {
  embedDim: 1,
  hiddenDim: 1,
  activation: 1,
  gated: 1,
  bias: 1,
} satisfies NamesOf<FeedForwardOptions>;

export const BLOCK_NAMES = {
  embedDim: 1,
  numHeads: 1,
  numKeyValueHeads: 1,
  headDim: 1,
  feedForwardDim: 1,
  activation: 1,
  gated: 1,
  bias: 1,
  norm: 1,
  normPlacement: 1,
  epsilon: 1,
  parallel: 1,
  causal: 1,
  window: WINDOW_NAMES,
  scale: 1,
  softcap: 1,
  rotary: ROTARY_NAMES,
  alibi: 1,
  queryKeyNorm: 1,
  crossAttention: 1,
} satisfies NamesOf<TransformerBlockOptions>;

const MOST = 2 ** 24;

/** One of some words. */
function checkWord(argument: string, value: unknown, ...words: readonly string[]): void {
  if (value === undefined || words.includes(value as string)) return;
  throw invalidArgument(argument, words.map((word) => `'${word}'`).join(' or '), value);
}

/** A matrix of one tensor, or of several below each other. */
function matrix(
  prefix: string,
  names: readonly [string, number][],
  inFeatures: number,
  bias: boolean,
): MatrixDescription {
  return {
    inFeatures,
    outFeatures: names.reduce((sum, [, rows]) => sum + rows, 0),
    parts: names.map(([name, rows]) => ({
      weight: { name: `${prefix}${name}.weight`, shape: [rows, inFeatures] },
      ...(bias && { bias: { name: `${prefix}${name}.bias`, shape: [rows] } }),
    })),
  };
}

/** Of a norm by itself, or in a block. */
export function describeNorm(
  prefix: string,
  kind: 'layer' | 'rms',
  channels: number,
  epsilon: number,
): NormDescription {
  return {
    kind,
    channels,
    epsilon,
    weight: { name: `${prefix}weight`, shape: [channels] },
    ...(kind === 'layer' && { bias: { name: `${prefix}bias`, shape: [channels] } }),
  };
}

export function describeFeedForward(prefix: string, options: FeedForwardOptions): FeedForwardDescription {
  const { embedDim, hiddenDim, activation = 'gelu', gated = false, bias = true } = options;
  checkInteger('embedDim', embedDim, 1, MOST);
  checkInteger('hiddenDim', hiddenDim, 1, MOST);
  checkWord('activation', activation, ...Object.keys(ACTIVATIONS));
  return {
    activation,
    up: matrix(prefix, [['up', hiddenDim]], embedDim, bias),
    gate: gated ? matrix(prefix, [['gate', hiddenDim]], embedDim, bias) : undefined,
    down: matrix(prefix, [['down', embedDim]], hiddenDim, bias),
  };
}

export function describeBlock(prefix: string, options: TransformerBlockOptions): BlockDescription {
  checkOptions(options, BLOCK_NAMES);
  const { embedDim, numHeads: heads, numKeyValueHeads: keyValueHeads = heads, feedForwardDim } = options;
  const { bias = true, norm = 'layer', normPlacement = 'before' } = options;
  const { epsilon = 1e-5, causal = false, queryKeyNorm, parallel, activation, gated } = options;
  const { window, scale, softcap, rotary, alibi, crossAttention } = options;
  checkInteger('embedDim', embedDim, 1, MOST);
  checkInteger('numHeads', heads, 1, MOST);
  checkInteger('numKeyValueHeads', keyValueHeads, 1, heads);
  const { headDim = embedDim / heads } = options;
  checkInteger('headDim', headDim, 1, MOST);
  checkInteger('feedForwardDim', feedForwardDim, 0, MOST);
  if (heads % keyValueHeads !== 0)
    throw invalidArgument('numKeyValueHeads', `a divisor of numHeads (${heads})`, keyValueHeads);
  if (!(Number.isFinite(epsilon) && epsilon >= 0))
    throw invalidArgument('epsilon', 'a finite number >= 0', epsilon);
  checkWord('norm', norm, 'layer', 'rms');
  checkWord('normPlacement', normPlacement, 'before', 'after', 'around', 'inside');
  checkWord('queryKeyNorm', queryKeyNorm, 'head', 'all');
  const [queryDim, keyDim] = [heads * headDim, keyValueHeads * headDim];
  const around = (name: string): Placement => {
    const describe = (which: string) => describeNorm(`${prefix}${name}.${which}.`, norm, embedDim, epsilon);
    return {
      ...((normPlacement === 'before' || normPlacement === 'around') && { before: describe('norm') }),
      ...((normPlacement === 'inside' || normPlacement === 'around') && { inner: describe('innerNorm') }),
      ...(normPlacement === 'after' && { after: describe('norm') }),
    };
  };
  const headNorm = (name: string, channels: number) =>
    queryKeyNorm &&
    describeNorm(`${prefix}attention.${name}.`, 'rms', queryKeyNorm === 'head' ? headDim : channels, epsilon);
  const scores = { heads, keyValueHeads, headDim, scale, softcap };
  const feedForward = parallel ? {} : around('feedForward');
  return {
    parallel,
    attention: {
      ...scores,
      ...around('attention'),
      causal,
      window,
      rotary,
      alibi,
      queryNorm: headNorm('queryNorm', queryDim),
      keyNorm: headNorm('keyNorm', keyDim),
      order: 'stacked',
      projection: matrix(
        `${prefix}attention.`,
        [
          ['query', queryDim],
          ['key', keyDim],
          ['value', keyDim],
        ],
        embedDim,
        bias,
      ),
      output: matrix(`${prefix}attention.`, [['output', embedDim]], queryDim, bias),
    },
    crossAttention: crossAttention
      ? {
          ...scores,
          ...around('crossAttention'),
          causal: false,
          query: matrix(`${prefix}crossAttention.`, [['query', queryDim]], embedDim, bias),
          keyValue: matrix(
            `${prefix}crossAttention.`,
            [
              ['key', keyDim],
              ['value', keyDim],
            ],
            embedDim,
            bias,
          ),
          output: matrix(`${prefix}crossAttention.`, [['output', embedDim]], queryDim, bias),
        }
      : undefined,
    feedForward:
      feedForwardDim > 0
        ? {
            ...feedForward,
            ...describeFeedForward(`${prefix}feedForward.`, {
              embedDim,
              hiddenDim: feedForwardDim,
              activation,
              gated,
              bias,
            }),
          }
        : undefined,
  };
}
