// MPNet: RoBERTa's positions, and relative ones that all layers share.

import type { Family } from '../description.js';
import { bertLike, blockSettings, robertaHeads } from './bert-like.js';
import { headsOf } from './blocks.js';
import type { BlockNames } from './blocks.js';
import { Tensors } from './tensors.js';

const BLOCK: BlockNames = {
  attention: ['attention.attn.q', 'attention.attn.k', 'attention.attn.v', 'attention.attn.o'],
  attentionNorm: 'attention.LayerNorm',
  feedForward: ['intermediate.dense', 'output.dense'],
  feedForwardNorm: 'output.LayerNorm',
};

/** Kinds of distances. */
const BUCKETS = 32;

/** MPNet: relative positions beside learned ones. */
export const mpnet: Family = {
  modelTypes: ['mpnet'],
  describe(config, names) {
    const sizes = headsOf(config);
    // The table may have more rows than the code, which always counts so, reads.
    const rows = config.integer('relative_attention_num_buckets', BUCKETS, BUCKETS);
    const table = 'encoder.relative_attention_bias.weight';
    const settings = {
      ...blockSettings(config, sizes),
      relativePositions: {
        table: Tensors.find(names, ['mpnet.', ''], table).source(table, rows, sizes.heads),
        buckets: BUCKETS,
        maxDistance: 128,
        bidirectional: true,
      },
    };
    return bertLike(config, names, {
      family: 'mpnet',
      prefix: 'mpnet.',
      block: BLOCK,
      settings,
      types: false,
      // Whatever pad_token_id says.
      paddingId: 1,
      decoder: 'lm_head.decoder',
      heads: (from) => robertaHeads(config, from, settings),
    });
  },
};
