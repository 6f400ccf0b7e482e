// Whisper: an encoder of sound, and a decoder like BART's with norms before each sublayer.

import type { ConfigReader } from '../config.js';
import type { Family, FrameInput } from '../description.js';
import { bartBlocks } from './bart-like.js';
import type { StackName } from './bart-like.js';
import { headsOf } from './blocks.js';
import type { BlockSettings } from './blocks.js';
import { matrixStep, tiedCopies } from './heads.js';
import { activationOf, generationOf, layersOf } from './settings.js';
import { matrixOf, Tensors } from './tensors.js';

export const whisper: Family = {
  modelTypes: ['whisper'],
  describe(config, names) {
    const root = new Tensors(names);
    const tensors = Tensors.find(names, ['model.', ''], 'encoder.conv1.weight');
    const [encoder, decoder] = [tensors.under('encoder.'), tensors.under('decoder.')];
    const embedDim = config.integer('d_model|hidden_size');
    const epsilon = 1e-5;
    const vocabulary = config.integer('vocab_size');
    const table = decoder.source('embed_tokens.weight', vocabulary, embedDim);
    const tied = config.boolean('tie_word_embeddings', true);
    const maxLength = config.integer('max_target_positions');
    config.only('scale_embedding', false);
    // Both stacks have their own; the others are of a classifier of sound and of the times of words.
    config.skip('num_hidden_layers', 'is_encoder_decoder', 'classifier_proj_size', 'median_filter_width');

    const settingsOf = (name: StackName): BlockSettings => ({
      sizes: headsOf(config, 'd_model|hidden_size', `${name}_attention_heads`),
      inner: config.integer(`${name}_ffn_dim`),
      epsilon,
      activation: activationOf(config, 'activation_function', 'gelu'),
      keyBias: false,
      causal: name === 'decoder',
    });
    return {
      kind: 'encoder-decoder',
      family: 'whisper',
      encoder: {
        embedDim,
        input: frameInput(config, encoder, embedDim),
        blocks: bartBlocks(encoder, layersOf(config, 'encoder_layers'), settingsOf('encoder'), 'before'),
        norm: encoder.layerNorm('layer_norm', embedDim, epsilon),
      },
      decoder: {
        embedDim,
        input: {
          kind: 'tokens',
          table,
          positions: {
            table: decoder.source('embed_positions.weight', maxLength, embedDim),
            offset: 0,
            count: 'index',
          },
        },
        blocks: bartBlocks(decoder, layersOf(config, 'decoder_layers'), settingsOf('decoder'), 'before'),
        norm: decoder.layerNorm('layer_norm', embedDim, epsilon),
        maxLength,
      },
      heads: [
        {
          name: 'logits',
          of: 'tokens',
          steps: [matrixStep(matrixOf(tied ? table : root.source('proj_out.weight', vocabulary, embedDim)))],
        },
      ],
      buffers: tiedCopies(tied, 'proj_out.weight'),
      generation: generationOf(config),
    };
  },
};

/** Two convolutions over three frames each, of which the second takes every other. */
function frameInput(config: ConfigReader, tensors: Tensors, embedDim: number): FrameInput {
  const kernel = 3;
  const melBins = config.integer('num_mel_bins', 80);
  const convolution = (
    name: string,
    channels: number,
    stride: number,
  ): FrameInput['convolutions'][number] => {
    const weight = tensors.source(`${name}.weight`, embedDim, channels, kernel);
    return {
      matrix: {
        ...matrixOf(weight, tensors.source(`${name}.bias`, embedDim)),
        inFeatures: channels * kernel,
      },
      kernel,
      stride,
      padding: 1,
      activation: 'gelu',
    };
  };
  return {
    kind: 'frames',
    melBins,
    convolutions: [convolution('conv1', melBins, 1), convolution('conv2', embedDim, 2)],
    positions: tensors.source('embed_positions.weight', config.integer('max_source_positions'), embedDim),
  };
}
