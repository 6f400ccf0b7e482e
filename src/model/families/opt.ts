// OPT: learned positions that are counted by the mask, norms before each sublayer; in its second smallest size after it, with
// embeddings narrower than the blocks.

import type { Family } from '../description.js';
import { BART_BLOCK, headsOf, layerNormBlock } from './blocks.js';
import type { BlockSettings } from './blocks.js';
import { decoder } from './decoders.js';
import { activationOf, forLayers, layersOf } from './settings.js';
import { learnedPositions, Tensors } from './tensors.js';

/** Row of the first position. */
const OFFSET = 2;

/** OPT. */
export const opt: Family = {
  modelTypes: ['opt'],
  describe(config, names) {
    const tensors = Tensors.find(names, ['model.decoder.', 'decoder.', ''], 'embed_tokens.weight');
    const sizes = headsOf(config);
    const { embedDim } = sizes;
    const width = config.integer('word_embed_proj_dim', embedDim);
    const bias = config.boolean('enable_bias', true);
    const normsBefore = config.boolean('do_layer_norm_before', true);
    const settings: BlockSettings = {
      sizes,
      inner: config.integer('ffn_dim'),
      epsilon: 1e-5,
      activation: activationOf(config, 'activation_function', 'relu'),
      causal: true,
      bias,
      feedForwardBias: bias,
      normParts: config.boolean('layer_norm_elementwise_affine', true) ? 'both' : 'none',
    };
    const maxLength = config.integer('max_position_embeddings');
    const table = tensors.source('embed_tokens.weight', config.integer('vocab_size'), width);
    const lastNorm = normsBefore && !config.boolean('_remove_final_layer_norm', false);
    const narrow = width !== embedDim;
    return decoder(config, names, {
      family: 'opt',
      table,
      input: {
        positions: {
          ...learnedPositions(tensors, 'embed_positions', [maxLength + OFFSET, embedDim], OFFSET, 'mask'),
          afterProjection: narrow,
        },
        projection: narrow ? tensors.matrix('project_in', width, embedDim, false) : undefined,
      },
      stack: {
        embedDim,
        blocks: forLayers(layersOf(config), (layer) =>
          layerNormBlock(
            tensors.under(`layers.${layer}.`),
            BART_BLOCK,
            settings,
            normsBefore ? 'before' : 'after',
          ),
        ),
        norm: lastNorm
          ? tensors.layerNorm('final_layer_norm', embedDim, settings.epsilon, settings.normParts)
          : undefined,
        projection: narrow ? tensors.matrix('project_out', embedDim, width, false) : undefined,
        maxLength,
      },
      tied: true,
    });
  },
};
