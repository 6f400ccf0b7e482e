// Whisper: an encoder of sound, and a decoder like BART's with norms before each sublayer.

import type { ConfigReader } from '../config.js';
import type { Family, FrameInput, InputDescription, StackDescription } from '../description.js';
import { bartStack, WIDTH } from './bart-like.js';
import { matrixStep, tiedCopies } from './heads.js';
import { generationOf } from './settings.js';
import { learnedPositions, matrixOf, Tensors } from './tensors.js';

/** Whisper: spectrograms to text. */
export const whisper: Family = {
  modelTypes: ['whisper'],
  describe(config, names) {
    const tensors = Tensors.find(names, ['model.', ''], 'encoder.conv1.weight');
    const embedDim = config.integer(WIDTH);
    const vocabulary = config.integer('vocab_size');
    const decoder = tensors.under('decoder.');
    const encoder = tensors.under('encoder.');
    const table = decoder.source('embed_tokens.weight', vocabulary, embedDim);
    const tied = config.boolean('tie_word_embeddings', true);
    const maxLength = config.integer('max_target_positions');
    config.only('scale_embedding', false);
    // Of a classifier of sound, and of the times of words.
    config.skip('classifier_proj_size', 'median_filter_width');

    const stackOf = (
      name: 'encoder' | 'decoder',
      own: Tensors,
      input: InputDescription,
      maxLength?: number,
    ): StackDescription =>
      bartStack(config, { tensors: own, name, where: 'before', keyBias: false, input, maxLength });
    const positions = learnedPositions(decoder, 'embed_positions', [maxLength, embedDim]);
    const weight = tied ? table : new Tensors(names).source('proj_out.weight', vocabulary, embedDim);
    return {
      kind: 'encoder-decoder',
      family: 'whisper',
      encoder: stackOf('encoder', encoder, frameInput(config, encoder, embedDim)),
      decoder: stackOf('decoder', decoder, { kind: 'tokens', table, positions }, maxLength),
      heads: [{ name: 'logits', of: 'tokens', steps: [matrixStep(matrixOf(weight))] }],
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
    positions: {
      ...tensors.source('embed_positions.weight', config.integer('max_source_positions'), embedDim),
      fixed: true,
    },
  };
}
