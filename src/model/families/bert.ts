// BERT and what has its form: MiniLM, E5, BGE, GTE, cross-encoders. With its heads: pooler, guessed words, next sentence, classifiers.

import type { Family } from '../description.js';
import { BERT_BLOCK, bertHeads, bertLike, blockSettings } from './bert-like.js';
import { headsOf } from './blocks.js';

/** BERT and what has its form: MiniLM, E5, BGE, GTE, cross-encoders. */
export const bert: Family = {
  modelTypes: ['bert'],
  describe(config, names) {
    const settings = {
      ...blockSettings(config, headsOf(config)),
      causal: config.boolean('is_decoder', false),
    };
    // Of the pooler of Google's own code.
    config.skip('directionality', 'pooler_fc_size', 'pooler_num_attention_heads', 'pooler_num_fc_layers');
    config.skip('pooler_size_per_head', 'pooler_type');
    return bertLike(config, names, {
      family: 'bert',
      prefix: 'bert.',
      block: BERT_BLOCK,
      settings,
      types: true,
      decoder: 'cls.predictions.decoder',
      heads: (tensors) =>
        bertHeads(config, tensors, settings, {
          pooler: 'pooler.dense',
          words: 'cls.predictions',
          dense: 'transform.',
          pair: 'cls.seq_relationship',
        }),
    });
  },
};
