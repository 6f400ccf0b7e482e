// BART: encoder and decoder with learned positions and norms after each sublayer.

import type { Family, StackDescription } from '../description.js';
import { bartBlocks } from './bart-like.js';
import type { StackName } from './bart-like.js';
import { headsOf } from './blocks.js';
import { logitsHead, matrixStep, present, tiedCopies, twoStepClassifier } from './heads.js';
import { activationOf, generationOf, layersOf } from './settings.js';
import { matrixOf, Tensors } from './tensors.js';

/** Row of the first position. */
const OFFSET = 2;

export const bart: Family = {
  modelTypes: ['bart'],
  describe(config, names) {
    const root = new Tensors(names);
    const tensors = Tensors.find(names, ['model.', ''], 'encoder.layernorm_embedding.weight');
    const embedDim = config.integer('d_model|hidden_size');
    const maxLength = config.integer('max_position_embeddings');
    const activation = activationOf(config, 'activation_function', 'gelu');
    const factor = config.boolean('scale_embedding', false) ? Math.sqrt(embedDim) : undefined;
    const vocabulary = config.integer('vocab_size');
    const shared = ['shared', 'encoder.embed_tokens', 'decoder.embed_tokens'].find((name) =>
      tensors.has(`${name}.weight`),
    );
    const table = tensors.source(`${shared ?? 'shared'}.weight`, vocabulary, embedDim);
    const tied = config.boolean('tie_word_embeddings', true);
    // What other models of the same code had otherwise.
    config.only('normalize_before', false);
    config.only('add_final_layer_norm', false);
    config.only('normalize_embedding', true);
    config.only('static_position_embeddings', false);
    config.only('extra_pos_embeddings', OFFSET);
    // Both stacks have their own.
    config.skip('num_hidden_layers', 'is_encoder_decoder', 'add_bias_logits', 'replacing_rate');

    const stackOf = (name: StackName): StackDescription => {
      const own = tensors.under(`${name}.`);
      const settings = {
        sizes: headsOf(config, 'd_model|hidden_size', `${name}_attention_heads`),
        inner: config.integer(`${name}_ffn_dim`),
        epsilon: 1e-5,
        activation,
        causal: name === 'decoder',
      };
      return {
        embedDim,
        input: {
          kind: 'tokens',
          table,
          factor,
          positions: {
            table: own.source('embed_positions.weight', maxLength + OFFSET, embedDim),
            offset: OFFSET,
            count: 'index',
          },
          norm: own.layerNorm('layernorm_embedding', embedDim, settings.epsilon),
        },
        blocks: bartBlocks(own, layersOf(config, `${name}_layers`), settings, 'after'),
        maxLength,
      };
    };

    const generation = generationOf(config);
    const others = present(
      twoStepClassifier(root, 'classification_head', 'lastEnd', embedDim, generation.endTokenIds[0]),
      logitsHead(root, 'qa_outputs', 'tokens', embedDim),
    );
    const weight = tied ? table : root.source('lm_head.weight', vocabulary, embedDim);
    const bias = root.has('final_logits_bias') ? root.source('final_logits_bias', 1, vocabulary) : undefined;
    return {
      kind: 'encoder-decoder',
      family: 'bart',
      encoder: stackOf('encoder'),
      decoder: stackOf('decoder'),
      heads: others.length
        ? others
        : [{ name: 'logits', of: 'tokens', steps: [matrixStep(matrixOf(weight, bias))] }],
      buffers: [
        /(^|\.)(en|de)coder\.embed_tokens\.weight$/,
        ...tiedCopies(tied, 'lm_head.weight'),
        /^final_logits_bias$/,
      ],
      generation,
    };
  },
};
