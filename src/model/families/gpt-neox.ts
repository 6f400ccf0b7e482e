// GPT-NeoX and Pythia: attention and feed-forward side by side, each with its norm; query, key and value of a head beside each other;
// rotary positions of some channels.

import type { BlockDescription, Family } from '../description.js';
import { headsOf, feedForward } from './blocks.js';
import { decoder } from './decoders.js';
import { rotaryOf } from './rotary.js';
import { activationOf, forLayers, layersOf } from './settings.js';
import { Tensors } from './tensors.js';

/** GPT-NeoX and Pythia: parallel residual, rotation of a part of the channels. */
export const gptNeox: Family = {
  modelTypes: ['gpt_neox'],
  describe(config, names) {
    const tensors = Tensors.find(names, ['gpt_neox.', 'transformer.', ''], 'embed_in.weight');
    const { embedDim, ...sizes } = headsOf(config);
    const inner = config.integer('intermediate_size');
    const epsilon = config.number('layer_norm_eps', 1e-5);
    const activation = activationOf(config, 'hidden_act', 'gelu');
    const bias = config.boolean('attention_bias', true);
    const parallel = config.boolean('use_parallel_residual', true);
    const rotary = rotaryOf(config, {
      headDim: sizes.headDim,
      base: 'rotary_emb_base|rope_theta',
      share: 'rotary_pct|partial_rotary_factor',
      defaultShare: 0.25,
    });
    const table = tensors.source('embed_in.weight', config.integer('vocab_size'), embedDim);
    // Rotary positions go on beyond the length it was trained with.
    config.skip('max_position_embeddings');
    return decoder(config, names, {
      family: 'gpt_neox',
      table,
      stack: {
        embedDim,
        blocks: forLayers(layersOf(config), (layer): BlockDescription => {
          const block = tensors.under(`layers.${layer}.`);
          return {
            attention: {
              ...sizes,
              causal: true,
              projection: block.matrix('attention.query_key_value', embedDim, 3 * embedDim, bias),
              order: 'perHead',
              output: block.matrix('attention.dense', embedDim, embedDim, bias),
              rotary,
              before: block.layerNorm('input_layernorm', embedDim, epsilon),
            },
            feedForward: {
              ...feedForward(block, ['mlp.dense_h_to_4h', 'mlp.dense_4h_to_h'], embedDim, inner, activation),
              before: block.layerNorm('post_attention_layernorm', embedDim, epsilon),
            },
            parallel,
          };
        }),
        norm: tensors.layerNorm('final_layer_norm', embedDim, epsilon),
      },
      head: 'embed_out',
      tied: false,
      buffers: [/\.attention\.(masked_bias|bias|rotary_emb\.inv_freq)$/],
    });
  },
};
