// Transformers of attention alone: GPT-2 without feed-forward layers, with its names, for what one wants to see attention learn by
// itself. No library publishes them: the settings are GPT-2's, and `position_embedding` beside them.

import type { Family } from '../description.js';
import { headsOf } from './blocks.js';
import { decoder } from './decoders.js';
import { attentionOf } from './gpt2.js';
import { rotaryOf } from './rotary.js';
import { forLayers, layersOf } from './settings.js';
import { learnedPositions, Tensors } from './tensors.js';

/** Attention without feed-forward layers, by GPT-2's names: positions learned (as a rule), rotary, or none. */
export const attentionOnly: Family = {
  modelTypes: ['attention_only'],
  describe(config, names) {
    const tensors = Tensors.find(names, ['transformer.', ''], 'wte.weight');
    const { embedDim, ...sizes } = headsOf(config, 'n_embd|hidden_size', 'n_head|num_attention_heads');
    const epsilon = config.number('layer_norm_epsilon', 1e-5);
    const kind = config.choice(
      'position_embedding',
      { learned: 'learned', rotary: 'rotary', none: 'none' },
      'learned',
    );
    const learned = kind === 'learned' ? config.integer('n_positions|max_position_embeddings') : undefined;
    const rotary = kind === 'rotary' ? rotaryOf(config, { headDim: sizes.headDim }) : undefined;
    // Others go on beyond the length that a model was trained with.
    config.skip('n_positions', 'max_position_embeddings');
    return decoder(config, names, {
      family: 'attention_only',
      table: tensors.source('wte.weight', config.integer('vocab_size'), embedDim),
      input: {
        positions: learned === undefined ? undefined : learnedPositions(tensors, 'wpe', [learned, embedDim]),
      },
      stack: {
        embedDim,
        blocks: forLayers(layersOf(config, 'n_layer|num_hidden_layers'), (layer) => ({
          attention: { ...sizes, rotary, ...attentionOf(tensors.under(`h.${layer}.`), embedDim, epsilon) },
        })),
        norm: tensors.layerNorm('ln_f', embedDim, epsilon),
        maxLength: learned,
      },
      tied: true,
    });
  },
};
