// ALBERT: BERT with narrow embeddings and layers that share their weights.

import type { Family } from '../description.js';
import { bertHeads, bertLike, blockSettings } from './bert-like.js';
import { headsOf } from './blocks.js';
import type { BlockNames } from './blocks.js';
import { forLayers, layersOf } from './settings.js';

const BLOCK: BlockNames = {
  attention: ['attention.query', 'attention.key', 'attention.value', 'attention.dense'],
  attentionNorm: 'attention.LayerNorm',
  feedForward: ['ffn', 'ffn_output'],
  feedForwardNorm: 'full_layer_layer_norm',
};

/** ALBERT: layers that share their weights, narrow embeddings. */
export const albert: Family = {
  modelTypes: ['albert'],
  describe(config, names) {
    const settings = blockSettings(config, headsOf(config));
    const layers = layersOf(config);
    const groups = config.integer('num_hidden_groups', 1, 1, layers);
    const inGroup = config.integer('inner_group_num', 1, 1, 64);
    // Of Google's own code.
    config.skip('down_scale_factor', 'gap_size', 'net_structure_type', 'num_memory_blocks');
    return bertLike(config, names, {
      family: 'albert',
      prefix: 'albert.',
      block: BLOCK,
      blockNames: forLayers(layers, (layer) => {
        const group = Math.floor(layer / (layers / groups));
        return forLayers(inGroup, (inner) => `encoder.albert_layer_groups.${group}.albert_layers.${inner}.`);
      }).flat(),
      settings,
      narrow: { channels: config.integer('embedding_size'), matrix: 'encoder.embedding_hidden_mapping_in' },
      types: true,
      decoder: 'predictions.decoder',
      heads: (tensors) =>
        bertHeads(config, tensors, settings, {
          pooler: 'pooler',
          words: 'predictions',
          dense: '',
          pair: 'sop_classifier.classifier',
        }),
    });
  },
};
