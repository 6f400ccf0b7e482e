// DistilBERT: BERT without token types and pooler, by names of its own.

import type { Family, HeadDescription } from '../description.js';
import { bertLike, classifierHeads, maskedHead } from './bert-like.js';
import { headsOf } from './blocks.js';
import type { BlockNames } from './blocks.js';
import { matrixStep, present } from './heads.js';
import { activationOf, forLayers, layersOf } from './settings.js';

const BLOCK: BlockNames = {
  attention: ['attention.q_lin', 'attention.k_lin', 'attention.v_lin', 'attention.out_lin'],
  attentionNorm: 'sa_layer_norm',
  feedForward: ['ffn.lin1', 'ffn.lin2'],
  feedForwardNorm: 'output_layer_norm',
};

/** DistilBERT. */
export const distilbert: Family = {
  modelTypes: ['distilbert'],
  describe(config, names) {
    const sizes = headsOf(config, 'dim|hidden_size', 'n_heads|num_attention_heads');
    const { embedDim } = sizes;
    const settings = {
      sizes,
      inner: config.integer('hidden_dim'),
      epsilon: 1e-12,
      activation: activationOf(config, 'activation', 'gelu'),
    };
    config.skip('tie_weights_');
    return bertLike(config, names, {
      family: 'distilbert',
      prefix: 'distilbert.',
      block: BLOCK,
      blockNames: forLayers(
        layersOf(config, 'n_layers|num_hidden_layers'),
        (layer) => `transformer.layer.${layer}.`,
      ),
      settings,
      types: false,
      sinusoidal: config.boolean('sinusoidal_pos_embds', false),
      decoder: 'vocab_projector',
      heads({ root, table }) {
        const words = maskedHead(config, root, {
          dense: 'vocab_transform',
          norm: 'vocab_layer_norm',
          decoder: 'vocab_projector',
          table,
          width: embedDim,
          settings,
        });
        const dense =
          root.has('pre_classifier.weight') &&
          matrixStep(root.matrix('pre_classifier', embedDim, embedDim), 'relu');
        const others = classifierHeads(config, root, embedDim, dense ? 'first' : 'tokens');
        const withDense = (head: HeadDescription): HeadDescription =>
          dense && head.of === 'first' ? { ...head, steps: [dense, ...head.steps] } : head;
        return [...present(words), ...others.map(withDense)];
      },
    });
  },
};
