// Phi 1, 1.5 and 2: attention and feed-forward side by side after one norm, rotary positions of some channels, biases everywhere.

import type { BlockDescription, Family, NormDescription } from '../description.js';
import { feedForward, separateAttention } from './blocks.js';
import { decoder } from './decoders.js';
import { groupedHeads } from './rms-decoder.js';
import { rotaryOf } from './rotary.js';
import { activationOf, forLayers, layersOf } from './settings.js';
import { Tensors } from './tensors.js';

/** Phi 1 to 2: parallel residual, biases. */
export const phi: Family = {
  modelTypes: ['phi'],
  describe(config, names) {
    const tensors = Tensors.find(names, ['model.', ''], 'embed_tokens.weight');
    const sizes = groupedHeads(config);
    const { embedDim, headDim } = sizes;
    const inner = config.integer('intermediate_size', 4 * embedDim);
    const epsilon = config.number('layer_norm_eps', 1e-5);
    const activation = activationOf(config, 'hidden_act', 'gelu_new');
    const headNorms = config.boolean('qk_layernorm', false);
    const rotary = rotaryOf(config, { headDim, share: 'partial_rotary_factor', defaultShare: 0.5 });
    const table = tensors.source('embed_tokens.weight', config.integer('vocab_size'), embedDim);
    // Rotary positions go on beyond the length it was trained with.
    config.skip('max_position_embeddings');
    return decoder(config, names, {
      family: 'phi',
      table,
      stack: {
        embedDim,
        blocks: forLayers(layersOf(config), (layer): BlockDescription => {
          const block = tensors.under(`layers.${layer}.`);
          const attention = block.under('self_attn.');
          const headNorm = (name: string): NormDescription | undefined =>
            headNorms ? attention.layerNorm(name, headDim, epsilon) : undefined;
          return {
            attention: {
              ...separateAttention(attention, ['q_proj', 'k_proj', 'v_proj', 'dense'], sizes),
              causal: true,
              rotary,
              queryNorm: headNorm('q_layernorm'),
              keyNorm: headNorm('k_layernorm'),
              before: block.layerNorm('input_layernorm', embedDim, epsilon),
            },
            feedForward: feedForward(block, ['mlp.fc1', 'mlp.fc2'], embedDim, inner, activation),
            parallel: true,
          };
        }),
        norm: tensors.layerNorm('final_layernorm', embedDim, epsilon),
      },
      headBias: true,
      tied: false,
      buffers: [/\.rotary_emb\.inv_freq$/],
    });
  },
};
