// Sublayers and blocks of which families differ in names only: attention of separate matrices, feed-forward with and without a gate,
// blocks with layer norms before or after. Touch: what several families share; rms-decoder.ts has Llama's kin.

import type { ConfigReader } from '../config.js';
import type {
  ActivationName,
  BlockDescription,
  CrossAttentionDescription,
  FeedForwardDescription,
  Placement,
  SelfAttentionDescription,
} from '../description.js';
import { stack } from './tensors.js';
import type { NormParts, Tensors } from './tensors.js';

export interface HeadSizes {
  readonly embedDim: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
}

/** Heads that share the width of the blocks. */
export function headsOf(
  config: ConfigReader,
  widthNames = 'hidden_size',
  headsNames = 'num_attention_heads',
  [usualWidth, usualHeads]: readonly number[] = [],
): HeadSizes {
  const embedDim = config.integer(widthNames, usualWidth);
  const heads = config.integer(headsNames, usualHeads);
  if (embedDim % heads !== 0) throw config.invalid(widthNames, `a multiple of the ${heads} heads`, embedDim);
  return { embedDim, heads, keyValueHeads: heads, headDim: embedDim / heads };
}

interface AttentionBiases {
  readonly bias?: boolean;
  readonly keyBias?: boolean;
  readonly outputBias?: boolean;
}

type Projections = Pick<SelfAttentionDescription, 'projection' | 'order' | 'output'> &
  Omit<HeadSizes, 'embedDim'>;

/** Self-attention whose query, key, value and output are matrices of their own. */
export function separateAttention(
  tensors: Tensors,
  [query, key, value, output]: readonly [string, string, string, string],
  { embedDim, ...sizes }: HeadSizes,
  { bias = true, keyBias = bias, outputBias = bias }: AttentionBiases = {},
): Projections {
  const width = sizes.heads * sizes.headDim;
  const narrow = sizes.keyValueHeads * sizes.headDim;
  return {
    ...sizes,
    projection: stack(
      tensors.matrix(query, embedDim, width, bias),
      tensors.matrix(key, embedDim, narrow, keyBias),
      tensors.matrix(value, embedDim, narrow, bias),
    ),
    order: 'stacked',
    output: tensors.matrix(output, width, embedDim, outputBias),
  };
}

/** Cross-attention whose matrices are its own. */
export function separateCrossAttention(
  tensors: Tensors,
  [query, key, value, output]: readonly [string, string, string, string],
  { embedDim, ...sizes }: HeadSizes,
  { bias = true, keyBias = bias }: AttentionBiases = {},
): Pick<CrossAttentionDescription, 'query' | 'keyValue' | 'output' | 'causal'> & Omit<HeadSizes, 'embedDim'> {
  const width = sizes.heads * sizes.headDim;
  return {
    ...sizes,
    causal: false,
    query: tensors.matrix(query, embedDim, width, bias),
    keyValue: stack(
      tensors.matrix(key, embedDim, width, keyBias),
      tensors.matrix(value, embedDim, width, bias),
    ),
    output: tensors.matrix(output, width, embedDim, bias),
  };
}

/** Up, activation, down. */
export function plainFeedForward(
  tensors: Tensors,
  [up, down]: readonly [string, string],
  embedDim: number,
  inner: number,
  activation: ActivationName,
  bias = true,
): FeedForwardDescription {
  return {
    activation,
    up: tensors.matrix(up, embedDim, inner, bias),
    down: tensors.matrix(down, inner, embedDim, bias),
  };
}

/** Gate and up, activation, down. */
export function gatedFeedForward(
  tensors: Tensors,
  [gate, up, down]: readonly [string, string, string],
  embedDim: number,
  inner: number,
  activation: ActivationName,
  bias = false,
): FeedForwardDescription {
  return {
    ...plainFeedForward(tensors, [up, down], embedDim, inner, activation, bias),
    gate: tensors.matrix(gate, embedDim, inner, bias),
  };
}

/** What the modules of a block are called. */
export interface BlockNames {
  /** Query, key, value, output. */
  readonly attention: readonly [string, string, string, string];
  readonly attentionNorm: string;
  readonly feedForward: readonly [up: string, down: string];
  readonly feedForwardNorm: string;
}

export interface BlockSettings extends AttentionBiases {
  readonly sizes: HeadSizes;
  readonly inner: number;
  readonly epsilon: number;
  readonly activation: ActivationName;
  readonly causal?: boolean;
  readonly relativePositions?: SelfAttentionDescription['relativePositions'];
  readonly normParts?: NormParts;
  readonly feedForwardBias?: boolean;
}

/** Attention and a plain feed-forward, with a layer norm before each or after each. */
export function layerNormBlock(
  tensors: Tensors,
  names: BlockNames,
  settings: BlockSettings,
  where: 'before' | 'after',
): BlockDescription {
  const { sizes, inner, epsilon, activation, causal = false, relativePositions, normParts } = settings;
  const { embedDim } = sizes;
  const norm = (name: string): Placement => ({
    [where]: tensors.layerNorm(name, embedDim, epsilon, normParts),
  });
  return {
    attention: {
      ...separateAttention(tensors, names.attention, sizes, settings),
      causal,
      relativePositions,
      ...norm(names.attentionNorm),
    },
    feedForward: {
      ...plainFeedForward(tensors, names.feedForward, embedDim, inner, activation, settings.feedForwardBias),
      ...norm(names.feedForwardNorm),
    },
  };
}

/** BART's names, which OPT and Whisper have too. */
export const BART_BLOCK: BlockNames = {
  attention: ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj', 'self_attn.out_proj'],
  attentionNorm: 'self_attn_layer_norm',
  feedForward: ['fc1', 'fc2'],
  feedForwardNorm: 'final_layer_norm',
};
