// RoBERTa, XLM-RoBERTa and CamemBERT: BERT whose positions pass over padding.

import type { Family } from '../description.js';
import { BERT_BLOCK, bertLike, blockSettings, robertaHeads } from './bert-like.js';
import { headsOf } from './blocks.js';

/** RoBERTa, XLM-RoBERTa and what has their form. */
export const roberta: Family = {
  modelTypes: ['roberta', 'xlm-roberta', 'camembert'],
  describe(config, names) {
    const settings = {
      ...blockSettings(config, headsOf(config)),
      causal: config.boolean('is_decoder', false),
    };
    return bertLike(config, names, {
      family: 'roberta',
      prefix: 'roberta.',
      block: BERT_BLOCK,
      settings,
      types: true,
      paddingId: config.integer('pad_token_id', 1, 0),
      decoder: 'lm_head.decoder',
      heads: (from) => robertaHeads(config, from, settings),
    });
  },
};
