// OLMo 2: Llama with norms after each sublayer, and of the queries and keys of all heads together.

import type { Family } from '../description.js';
import { groupedHeads, rmsDecoder } from './rms-decoder.js';
import { rotaryOf } from './rotary.js';
import { layersOf } from './settings.js';

/** OLMo 2: norms after the sublayers. */
export const olmo2: Family = {
  modelTypes: ['olmo2'],
  describe(config, names) {
    const sizes = groupedHeads(config);
    const rotary = rotaryOf(config, { headDim: sizes.headDim });
    const bias = config.boolean('attention_bias', false);
    return rmsDecoder(config, names, {
      family: 'olmo2',
      sizes,
      layers: layersOf(config),
      defaultEpsilon: 1e-5,
      bias,
      outputBias: bias,
      headNorms: 'all',
      paddingId: 1,
      norms: (norm) => ({
        attention: { inner: norm('post_attention_layernorm') },
        feedForward: { inner: norm('post_feedforward_layernorm') },
      }),
      scores: () => ({ rotary }),
    });
  },
};
