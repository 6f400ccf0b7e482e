// Decoders with RMS norms, rotary positions and a gated feed-forward: Llama and its kin. Touch: what they share; by what one differs
// is for its own file to say (RmsDecoder).

import type { ConfigReader } from '../config.js';
import type {
  BlockDescription,
  CheckpointNames,
  ModelDescription,
  NormDescription,
  Placement,
  ScoreDescription,
} from '../description.js';
import { feedForward, separateAttention } from './blocks.js';
import type { HeadSizes } from './blocks.js';
import { decoder } from './decoders.js';
import { activationOf, forLayers } from './settings.js';
import { Tensors } from './tensors.js';

type NormOf = (name: string, channels?: number) => NormDescription;

interface Placements {
  readonly attention: Placement;
  readonly feedForward: Placement;
}

/** What a family has of its own. */
export interface RmsDecoder {
  readonly family: string;
  readonly sizes: HeadSizes;
  readonly layers: number;
  /** What a layer's scores are. */
  readonly scores: (layer: number) => Partial<ScoreDescription>;
  /** Query, key and value have biases. */
  readonly bias?: boolean;
  readonly outputBias?: boolean;
  readonly feedForwardBias?: boolean;
  /** The setting of the activation, and which it is where that is absent. Default hidden_act, silu. */
  readonly activation?: readonly [setting: string, fallback: string];
  readonly defaultEpsilon?: number;
  /** Whether the head is tied where the config does not say. */
  readonly tied?: boolean;
  /** Norms multiply by 1 + weight, and embeddings are scaled by the root of their width (Gemma). */
  readonly gemma?: boolean;
  readonly norms?: (norm: NormOf) => Placements;
  /** Norms of queries and keys: over each head's channels, or over those of all. */
  readonly headNorms?: 'each' | 'all';
  readonly softcap?: number | undefined;
  /** The padding id where the config does not say. */
  readonly paddingId?: number;
  readonly causal?: boolean;
}

/** Heads of which some may share keys and values, of a size of their own. */
export function groupedHeads(config: ConfigReader, defaultHeadDim?: number): HeadSizes {
  const embedDim = config.integer('hidden_size');
  const heads = config.integer('num_attention_heads');
  const keyValueHeads = config.integer('num_key_value_heads', heads);
  const headDim = config.integer('head_dim', defaultHeadDim ?? embedDim / heads);
  if (heads % keyValueHeads === 0) return { embedDim, heads, keyValueHeads, headDim };
  throw config.invalid('num_key_value_heads', `a divisor of the ${heads} heads`, keyValueHeads);
}

export type LayerType = 'full_attention' | 'sliding_attention';

const LAYER_TYPES = { full_attention: true, sliding_attention: true } as const;

/** Which layers see a window only: as the config lists them, else by the family's rule. */
export function layerTypes(
  config: ConfigReader,
  layers: number,
  isSliding: (layer: number) => boolean,
): readonly LayerType[] {
  const listed = config.words('layer_types');
  if (!listed)
    return forLayers(layers, (layer) => (isSliding(layer) ? 'sliding_attention' : 'full_attention'));
  if (listed.length !== layers)
    throw config.invalid('layer_types', `one for each of ${layers} layers`, listed);
  const unknown = listed.find((type) => !Object.hasOwn(LAYER_TYPES, type));
  if (unknown === undefined) return listed as LayerType[];
  throw config.unsupported('layer_types', `of ${Object.keys(LAYER_TYPES).join(' and ')} only`, unknown);
}

/** The last keys that a query sees, its own among them. */
export const lastKeys = (count: number): ScoreDescription['window'] => ({ left: count - 1, right: 0 });

const beforeEach = (norm: NormOf): Placements => ({
  attention: { before: norm('input_layernorm') },
  feedForward: { before: norm('post_attention_layernorm') },
});

export function rmsDecoder(config: ConfigReader, names: CheckpointNames, own: RmsDecoder): ModelDescription {
  const { sizes, layers, gemma, causal = true } = own;
  const { embedDim, heads, keyValueHeads, headDim } = sizes;
  const { norms = beforeEach, headNorms, activation: [setting, usual] = ['hidden_act', 'silu'] } = own;
  const tensors = Tensors.find(names, ['model.', 'transformer.', ''], 'embed_tokens.weight');
  const epsilon = config.number('rms_norm_eps', own.defaultEpsilon ?? 1e-6);
  const inner = config.integer('intermediate_size');
  const activation = activationOf(config, setting, usual);
  const table = tensors.source('embed_tokens.weight', config.integer('vocab_size'), embedDim);
  // Rotary positions go on beyond the length a model was trained with.
  config.skip('max_position_embeddings');

  const blocks = forLayers(layers, (layer): BlockDescription => {
    const block = tensors.under(`layers.${layer}.`);
    const norm: NormOf = (name, channels = embedDim) => block.rmsNorm(name, channels, epsilon, gemma);
    const headNorm = (name: string, count: number): NormDescription | undefined =>
      headNorms && norm(`self_attn.${name}`, headNorms === 'all' ? count * headDim : headDim);
    const placed = norms(norm);
    return {
      attention: {
        ...separateAttention(block.under('self_attn.'), ['q_proj', 'k_proj', 'v_proj', 'o_proj'], sizes, {
          bias: own.bias ?? false,
          outputBias: own.outputBias ?? false,
        }),
        causal,
        queryNorm: headNorm('q_norm', heads),
        keyNorm: headNorm('k_norm', keyValueHeads),
        ...own.scores(layer),
        ...placed.attention,
      },
      feedForward: {
        ...feedForward(
          block.under('mlp.'),
          ['up_proj', 'down_proj', 'gate_proj'],
          embedDim,
          inner,
          activation,
          own.feedForwardBias ?? false,
        ),
        ...placed.feedForward,
      },
    };
  });

  return decoder(config, names, {
    ...own,
    table,
    tied: own.tied ?? false,
    input: { factor: gemma ? Math.sqrt(embedDim) : undefined },
    stack: { embedDim, blocks, norm: tensors.rmsNorm('norm', embedDim, epsilon, gemma) },
    buffers: [/\.rotary_emb\.inv_freq$/],
  });
}
