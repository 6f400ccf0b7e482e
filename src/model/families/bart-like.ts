// Encoders and decoders with BART's names: BART and Whisper. Touch: what they share.

import type { BlockDescription, StackDescription } from '../description.js';
import { BART_BLOCK, layerNormBlock, separateCrossAttention } from './blocks.js';
import type { BlockSettings } from './blocks.js';
import { forLayers } from './settings.js';
import type { Tensors } from './tensors.js';

/** What a stack's names in a config begin with. */
export type StackName = 'encoder' | 'decoder';

/** Blocks of a stack; those of a decoder look at an encoder, too. */
export function bartBlocks(
  tensors: Tensors,
  count: number,
  settings: BlockSettings,
  where: 'before' | 'after',
): StackDescription['blocks'] {
  const { sizes, causal, epsilon } = settings;
  return forLayers(count, (layer): BlockDescription => {
    const block = tensors.under(`layers.${layer}.`);
    const own = layerNormBlock(block, BART_BLOCK, settings, where);
    if (!causal) return own;
    return {
      ...own,
      crossAttention: {
        ...separateCrossAttention(
          block.under('encoder_attn.'),
          ['q_proj', 'k_proj', 'v_proj', 'out_proj'],
          sizes,
          settings,
        ),
        [where]: block.layerNorm('encoder_attn_layer_norm', sizes.embedDim, epsilon),
      },
    };
  });
}
