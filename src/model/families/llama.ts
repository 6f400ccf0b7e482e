// Llama: rotary positions with its own scaling, grouped heads.

import type { Family } from '../description.js';
import { groupedHeads, rmsDecoder } from './rms-decoder.js';
import { rotaryOf } from './rotary.js';
import { layersOf } from './settings.js';

/** Llama 1 to 3, and what has its form: SmolLM, TinyLlama. */
export const llama: Family = {
  modelTypes: ['llama'],
  describe(config, names) {
    const sizes = groupedHeads(config);
    const rotary = rotaryOf(config, { headDim: sizes.headDim });
    const bias = config.boolean('attention_bias', false);
    return rmsDecoder(config, names, {
      family: 'llama',
      sizes,
      layers: layersOf(config),
      scores: () => ({ rotary }),
      bias,
      outputBias: bias,
      feedForwardBias: config.boolean('mlp_bias', false),
    });
  },
};
