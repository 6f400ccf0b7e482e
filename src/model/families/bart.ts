// BART: encoder and decoder with learned positions and norms after each sublayer.

import type { Family, StackDescription } from '../description.js';
import { bartStack, EPSILON, WIDTH } from './bart-like.js';
import { decodedHeads, SHARED_COPIES, sharedTable, tiedCopies } from './heads.js';
import { generationOf } from './settings.js';
import { learnedPositions, matrixOf, Tensors } from './tensors.js';

/** Row of the first position. */
const OFFSET = 2;

/** BART and its kin: encoder and decoder, learned positions. */
export const bart: Family = {
  modelTypes: ['bart'],
  describe(config, names) {
    const root = new Tensors(names);
    const tensors = Tensors.find(names, ['model.', ''], 'encoder.layernorm_embedding.weight');
    const embedDim = config.integer(WIDTH);
    const maxLength = config.integer('max_position_embeddings');
    const factor = config.boolean('scale_embedding', false) ? Math.sqrt(embedDim) : undefined;
    const vocabulary = config.integer('vocab_size');
    const table = sharedTable(tensors, vocabulary, embedDim);
    const tied = config.boolean('tie_word_embeddings', true);
    // What other models of the same code had otherwise.
    config.only('normalize_before', false);
    config.only('add_final_layer_norm', false);
    config.only('normalize_embedding', true);
    config.only('static_position_embeddings', false);
    config.only('extra_pos_embeddings', OFFSET);
    config.skip('add_bias_logits', 'replacing_rate');

    const stackOf = (name: 'encoder' | 'decoder'): StackDescription => {
      const own = tensors.under(`${name}.`);
      const positions = learnedPositions(own, 'embed_positions', [maxLength + OFFSET, embedDim], OFFSET);
      const norm = own.layerNorm('layernorm_embedding', embedDim, EPSILON);
      const input = { kind: 'tokens', table, factor, positions, norm } as const;
      return bartStack(config, { tensors: own, name, where: 'after', input, maxLength });
    };

    const generation = generationOf(config);
    const weight = tied ? table : root.source('lm_head.weight', vocabulary, embedDim);
    const bias = root.has('final_logits_bias')
      ? { ...root.source('final_logits_bias', 1, vocabulary), fixed: true }
      : undefined;
    return {
      kind: 'encoder-decoder',
      family: 'bart',
      encoder: stackOf('encoder'),
      decoder: stackOf('decoder'),
      heads: decodedHeads(root, embedDim, generation.endTokenIds[0], matrixOf(weight, bias)),
      buffers: [SHARED_COPIES, ...tiedCopies(tied, 'lm_head.weight'), /^final_logits_bias$/],
      generation,
    };
  },
};
