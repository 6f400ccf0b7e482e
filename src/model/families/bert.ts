// BERT and what has its form: MiniLM, E5, BGE, GTE, cross-encoders. With its heads: pooler, guessed words, next sentence, classifiers.

import type { ConfigReader } from '../config.js';
import type { Family } from '../description.js';
import { blockSettings, classifierHeads, embeddingsOf, maskedHead, poolerHead } from './bert-like.js';
import { headsOf, layerNormBlock } from './blocks.js';
import type { BlockNames } from './blocks.js';
import { logitsHead, present } from './heads.js';
import { architectureOf, forLayers, generationOf, layersOf } from './settings.js';
import { Tensors } from './tensors.js';

/** Modules of a block, which RoBERTa has too. */
export const BERT_BLOCK: BlockNames = {
  attention: ['attention.self.query', 'attention.self.key', 'attention.self.value', 'attention.output.dense'],
  attentionNorm: 'attention.output.LayerNorm',
  feedForward: ['intermediate.dense', 'output.dense'],
  feedForwardNorm: 'output.LayerNorm',
};

/** Positions that are not added to embeddings are another model's. */
export function onlyAbsolutePositions(config: ConfigReader): void {
  config.only('position_embedding_type', 'absolute');
}

export const bert: Family = {
  modelTypes: ['bert'],
  describe(config, names) {
    const root = new Tensors(names);
    const tensors = Tensors.find(names, ['bert.', ''], 'embeddings.word_embeddings.weight');
    const sizes = headsOf(config);
    const causal = config.boolean('is_decoder', false);
    const settings = { ...blockSettings(config, sizes), causal };
    const { embedDim } = sizes;
    const { input, maxLength } = embeddingsOf(
      config,
      tensors.under('embeddings.'),
      embedDim,
      settings.epsilon,
    );
    onlyAbsolutePositions(config);
    // Of the pooler of Google's own code.
    config.skip('directionality', 'pooler_fc_size', 'pooler_num_attention_heads', 'pooler_num_fc_layers');
    config.skip('pooler_size_per_head', 'pooler_type');

    const pooler = poolerHead(tensors, 'pooler.dense', embedDim);
    const pooled = { head: 'poolerOutput' } as const;
    const nextSentence = pooler && logitsHead(root, 'cls.seq_relationship', pooled, embedDim);
    const both = nextSentence && !architectureOf(config).endsWith('LM');
    const words = maskedHead(config, root, {
      dense: 'cls.predictions.transform.dense',
      norm: 'cls.predictions.transform.LayerNorm',
      decoder: 'cls.predictions.decoder',
      bias: 'cls.predictions.bias',
      table: input.table,
      width: embedDim,
      settings,
      name: both ? 'predictionLogits' : 'logits',
    });
    return {
      kind: causal ? 'decoder' : 'encoder',
      family: 'bert',
      stack: {
        embedDim,
        input,
        blocks: forLayers(layersOf(config), (layer) =>
          layerNormBlock(tensors.under(`encoder.layer.${layer}.`), BERT_BLOCK, settings, 'after'),
        ),
        maxLength,
      },
      heads: [
        ...present(
          pooler,
          words,
          nextSentence && { ...nextSentence, name: words ? 'seqRelationshipLogits' : 'logits' },
        ),
        ...classifierHeads(config, root, embedDim, pooler ? pooled : 'tokens'),
      ],
      buffers: [/embeddings\.(position_ids|token_type_ids)$/, /^cls\.predictions\.decoder\.(weight|bias)$/],
      generation: generationOf(config),
    };
  },
};
