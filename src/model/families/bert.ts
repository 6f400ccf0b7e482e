// BERT and what has its form: MiniLM, E5, BGE, GTE, cross-encoders. With its heads: pooler, guessed words, next sentence, classifiers.

import type { Family } from '../description.js';
import {
  BERT_BLOCK,
  bertLike,
  blockSettings,
  classifierHeads,
  maskedHead,
  poolerHead,
  pretrainingHeads,
} from './bert-like.js';
import { headsOf } from './blocks.js';
import { logitsHead, present } from './heads.js';

/** BERT and what has its form: MiniLM, E5, BGE, GTE, cross-encoders. */
export const bert: Family = {
  modelTypes: ['bert'],
  describe(config, names) {
    const settings = {
      ...blockSettings(config, headsOf(config)),
      causal: config.boolean('is_decoder', false),
    };
    const { embedDim } = settings.sizes;
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
      heads({ tensors, root, table }) {
        const pooler = poolerHead(tensors, 'pooler.dense', embedDim);
        const pooled = pooler ? ({ head: 'poolerOutput' } as const) : 'tokens';
        const words = maskedHead(config, root, {
          dense: 'cls.predictions.transform.dense',
          norm: 'cls.predictions.transform.LayerNorm',
          decoder: 'cls.predictions.decoder',
          bias: 'cls.predictions.bias',
          table,
          width: embedDim,
          settings,
        });
        return [
          ...present(pooler),
          ...pretrainingHeads(config, words, logitsHead(root, 'cls.seq_relationship', pooled, embedDim)),
          ...classifierHeads(config, root, embedDim, pooled),
        ];
      },
    });
  },
};
