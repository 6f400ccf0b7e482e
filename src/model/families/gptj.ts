// GPT-J: attention and feed-forward side by side after one norm, rotary positions of neighbouring channels.

import type { BlockDescription, Family } from '../description.js';
import { feedForward, headsOf, MATRICES, separateAttention } from './blocks.js';
import { skipSummary } from './gpt2.js';
import { decoder } from './decoders.js';
import { activationOf, forLayers, layersOf } from './settings.js';
import { Tensors } from './tensors.js';

/** GPT-J: parallel residual, rotation of neighbouring channels. */
export const gptj: Family = {
  modelTypes: ['gptj'],
  describe(config, names) {
    const tensors = Tensors.find(names, ['transformer.', ''], 'wte.weight');
    const sizes = headsOf(config, 'n_embd|hidden_size', 'n_head|num_attention_heads');
    const { embedDim, headDim } = sizes;
    const inner = config.integer('n_inner', 4 * embedDim);
    const epsilon = config.number('layer_norm_epsilon', 1e-5);
    const activation = activationOf(config, 'activation_function', 'gelu_new');
    const rotaryDim = config.integer('rotary_dim', 64, 2, headDim);
    if (rotaryDim % 2 !== 0) throw config.invalid('rotary_dim', 'an even number', rotaryDim);
    const table = tensors.source('wte.weight', config.integer('vocab_size'), embedDim);
    config.only('rotary', true);
    config.only('scale_attn_weights', true);
    // Rotary positions go on beyond the length it was trained with.
    config.skip('n_positions', 'n_ctx', 'max_position_embeddings');
    skipSummary(config);
    return decoder(config, names, {
      family: 'gptj',
      table,
      stack: {
        embedDim,
        blocks: forLayers(layersOf(config, 'n_layer|num_hidden_layers'), (layer): BlockDescription => {
          const block = tensors.under(`h.${layer}.`);
          return {
            attention: {
              ...separateAttention(block.under('attn.'), MATRICES, sizes, {
                bias: false,
              }),
              causal: true,
              rotary: { rotaryDim, base: 10000, interleaved: true },
              before: block.layerNorm('ln_1', embedDim, epsilon),
            },
            feedForward: feedForward(block, ['mlp.fc_in', 'mlp.fc_out'], embedDim, inner, activation),
            parallel: true,
          };
        }),
        norm: tensors.layerNorm('ln_f', embedDim, epsilon),
      },
      headBias: true,
      tied: false,
      buffers: [/(^|\.)h\.\d+\.attn\.(masked_bias|bias|embed_positions)$/],
    });
  },
};
