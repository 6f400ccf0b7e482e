// Sublayers and blocks of which families differ in names only: attention of separate matrices, feed-forward with and without a gate,
// blocks with layer norms before or after. Touch: what several families share; rms-decoder.ts has Llama's kin.

import type { ConfigReader } from '../config.js';
import type {
  ActivationName,
  BlockDescription,
  CrossAttentionDescription,
  FeedForwardDescription,
  MatrixDescription,
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
  readonly keyBias?: boolean | undefined;
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
  ...given: Parameters<typeof separateAttention>
): Pick<CrossAttentionDescription, 'query' | 'keyValue' | 'output' | 'causal'> & Omit<HeadSizes, 'embedDim'> {
  const { projection, output, heads, keyValueHeads, headDim } = separateAttention(...given);
  const matrix = (...parts: MatrixDescription['parts']): MatrixDescription => ({
    ...projection,
    outFeatures: parts.length * heads * headDim,
    parts,
  });
  const [query, key, value] = projection.parts;
  return {
    heads,
    keyValueHeads,
    headDim,
    causal: false,
    query: matrix(query!),
    keyValue: matrix(key!, value!),
    output,
  };
}

/** Up, activation, down; with a gate where it has a name. */
export function feedForward(
  tensors: Tensors,
  [up, down, gate]: readonly [up: string, down: string, gate?: string],
  embedDim: number,
  inner: number,
  activation: ActivationName,
  bias = true,
): FeedForwardDescription {
  const widen = (name: string): MatrixDescription => tensors.matrix(name, embedDim, inner, bias);
  return {
    activation,
    up: widen(up),
    gate: gate === undefined ? undefined : widen(gate),
    down: tensors.matrix(down, inner, embedDim, bias),
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
      ...feedForward(tensors, names.feedForward, embedDim, inner, activation, settings.feedForwardBias),
      ...norm(names.feedForwardNorm),
    },
  };
}

/** What BART calls the matrices of an attention, and many after it. */
export const MATRICES = ['q_proj', 'k_proj', 'v_proj', 'out_proj'] as const;

export const SELF_ATTENTION = MATRICES.map(
  (name) => `self_attn.${name}`,
) as unknown as BlockNames['attention'];

/** BART's names, which OPT and Whisper have too. */
export const BART_BLOCK: BlockNames = {
  attention: SELF_ATTENTION,
  attentionNorm: 'self_attn_layer_norm',
  feedForward: ['fc1', 'fc2'],
  feedForwardNorm: 'final_layer_norm',
};
