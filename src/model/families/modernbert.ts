// ModernBERT: an encoder with rotary positions, gates, and a window in most layers.

import type { BlockDescription, Family, HeadDescription } from '../description.js';
import { headsOf } from './blocks.js';
import { logitsHead, matrixStep, present, tiedCopies } from './heads.js';
import { layerTypes } from './rms-decoder.js';
import { rotaryOf } from './rotary.js';
import { activationOf, architectureOf, forLayers, generationOf, layersOf } from './settings.js';
import { matrixOf, Tensors } from './tensors.js';

/** ModernBERT: rotary positions, windows in most layers, gates. */
export const modernbert: Family = {
  modelTypes: ['modernbert'],
  describe(config, names) {
    const root = new Tensors(names);
    const tensors = Tensors.find(names, ['model.', ''], 'embeddings.tok_embeddings.weight');
    const { embedDim, ...sizes } = headsOf(config);
    const { headDim } = sizes;
    const inner = config.integer('intermediate_size');
    const epsilon = config.number('norm_eps', 1e-5);
    const normParts = config.boolean('norm_bias', false) ? 'both' : 'weight';
    const bias = config.boolean('attention_bias', false);
    const innerBias = config.boolean('mlp_bias', false);
    const activation = activationOf(config, 'hidden_activation', 'gelu');
    const layers = layersOf(config);
    const every = config.integer('global_attn_every_n_layers', 3);
    const types = layerTypes(config, layers, (layer) => layer % every !== 0);
    const half = Math.floor(config.integer('local_attention', 128) / 2);
    const far = rotaryOf(config, {
      headDim,
      layerType: 'full_attention',
      base: 'global_rope_theta',
      defaultBase: 160000,
      scaled: false,
    });
    const near = rotaryOf(config, {
      headDim,
      layerType: 'sliding_attention',
      base: 'local_rope_theta',
      defaultBase: config.optional('local_rope_theta', 10000) ?? far.base!,
      scaled: false,
    });
    const vocabulary = config.integer('vocab_size');
    const tied = config.boolean('tie_word_embeddings', true);
    const table = tensors.source('embeddings.tok_embeddings.weight', vocabulary, embedDim);
    const pooling = config.choice('classifier_pooling', { cls: 'first', mean: 'mean' } as const, 'cls');
    // What is guessed in training, how it is computed, and settings of models that this is not.
    config.skip('max_position_embeddings', 'layer_norm_eps', 'position_embedding_type', 'sparse_prediction');
    config.skip('sparse_pred_ignore_index', 'repad_logits_with_grad');

    const blocks = forLayers(layers, (layer): BlockDescription => {
      const block = tensors.under(`layers.${layer}.`);
      const sliding = types[layer] === 'sliding_attention';
      const packed = (from: number) =>
        block.matrix('mlp.Wi', embedDim, inner, innerBias, { of: 2 * inner, from, rows: inner });
      return {
        attention: {
          ...sizes,
          causal: false,
          projection: block.matrix('attn.Wqkv', embedDim, 3 * embedDim, bias),
          order: 'stacked',
          output: block.matrix('attn.Wo', embedDim, embedDim, bias),
          rotary: sliding ? near : far,
          window: sliding ? { left: half, right: half } : undefined,
          // The embeddings' norm is that of the first.
          before: layer === 0 ? undefined : block.layerNorm('attn_norm', embedDim, epsilon, normParts),
        },
        feedForward: {
          activation,
          gate: packed(0),
          up: packed(inner),
          down: block.matrix('mlp.Wo', inner, embedDim, innerBias),
          before: block.layerNorm('mlp_norm', embedDim, epsilon, normParts),
        },
      };
    });

    const headActivation = activationOf(config, 'classifier_activation', 'gelu');
    const headBias = config.boolean('classifier_bias', false);
    const prepare: () => HeadDescription['steps'] = () => [
      matrixStep(root.matrix('head.dense', embedDim, embedDim, headBias), headActivation),
      { kind: 'norm', norm: root.layerNorm('head.norm', embedDim, epsilon, normParts) },
    ];
    const ofTokens = /For(TokenClassification|QuestionAnswering)$/.test(architectureOf(config));
    const classifier = logitsHead(root, 'classifier', ofTokens ? 'tokens' : pooling, embedDim);
    const decoderBias = config.boolean('decoder_bias', true);
    const words: HeadDescription | false = !classifier &&
      root.has('head.dense.weight') && {
        name: 'logits',
        of: 'tokens',
        steps: [
          matrixStep(
            matrixOf(
              tied ? table : root.source('decoder.weight', vocabulary, embedDim),
              decoderBias ? root.source('decoder.bias', vocabulary) : undefined,
            ),
          ),
        ],
      };
    return {
      kind: 'encoder',
      family: 'modernbert',
      stack: {
        embedDim,
        input: {
          kind: 'tokens',
          table,
          norm: tensors.layerNorm('embeddings.norm', embedDim, epsilon, normParts),
        },
        blocks,
        norm: tensors.layerNorm('final_norm', embedDim, epsilon, normParts),
      },
      heads: present(classifier, words).map((head) => ({ ...head, steps: [...prepare(), ...head.steps] })),
      buffers: tiedCopies(tied, 'decoder.weight'),
      generation: generationOf(config),
    };
  },
};
