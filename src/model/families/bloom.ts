// BLOOM: distances instead of positions (ALiBi), a norm of the embeddings, query, key and value of a head beside each other.

import type { BlockDescription, Family } from '../description.js';
import { headsOf, feedForward } from './blocks.js';
import { decoder } from './decoders.js';
import { forLayers, layersOf } from './settings.js';
import { Tensors } from './tensors.js';

/** BLOOM: ALiBi in place of positions. */
export const bloom: Family = {
  modelTypes: ['bloom'],
  describe(config, names) {
    const tensors = Tensors.find(names, ['transformer.', ''], 'word_embeddings.weight');
    const { embedDim, ...sizes } = headsOf(config, 'hidden_size|n_embed', 'n_head|num_attention_heads');
    const inner = 4 * embedDim;
    const epsilon = config.number('layer_norm_epsilon', 1e-5);
    const residualAfterNorm = config.boolean('apply_residual_connection_post_layernorm', false);
    const table = tensors.source('word_embeddings.weight', config.integer('vocab_size'), embedDim);
    // How it is computed, and settings of the code that trained it.
    config.skip(
      'slow_but_exact',
      'attention_softmax_in_fp32',
      'bias_dropout_fusion',
      'masked_softmax_fusion',
    );
    config.skip('offset_alibi', 'seq_length', 'skip_bias_add', 'skip_bias_add_qkv');
    return decoder(config, names, {
      family: 'bloom',
      table,
      input: {
        norm: tensors.layerNorm('word_embeddings_layernorm', embedDim, epsilon),
      },
      stack: {
        embedDim,
        blocks: forLayers(layersOf(config, 'n_layer|num_hidden_layers'), (layer): BlockDescription => {
          const block = tensors.under(`h.${layer}.`);
          return {
            attention: {
              ...sizes,
              causal: true,
              alibi: true,
              projection: block.matrix('self_attention.query_key_value', embedDim, 3 * embedDim),
              order: 'perHead',
              output: block.matrix('self_attention.dense', embedDim, embedDim),
              before: block.layerNorm('input_layernorm', embedDim, epsilon),
              residualAfterNorm,
            },
            feedForward: {
              ...feedForward(block, ['mlp.dense_h_to_4h', 'mlp.dense_4h_to_h'], embedDim, inner, 'geluTanh'),
              before: block.layerNorm('post_attention_layernorm', embedDim, epsilon),
              residualAfterNorm,
            },
          };
        }),
        norm: tensors.layerNorm('ln_f', embedDim, epsilon),
      },
      tied: true,
    });
  },
};
