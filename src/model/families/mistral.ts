// Mistral: Llama with a window.

import type { Family } from '../description.js';
import { groupedHeads, lastKeys, rmsDecoder } from './rms-decoder.js';
import { rotaryOf } from './rotary.js';
import { layersOf } from './settings.js';

/** Mistral: a Llama whose queries see a window. */
export const mistral: Family = {
  modelTypes: ['mistral'],
  describe(config, names) {
    const sizes = groupedHeads(config);
    const rotary = rotaryOf(config, { headDim: sizes.headDim });
    // Null says that there is none.
    const keys = config.optional('sliding_window', 4096);
    const window = keys === undefined ? undefined : lastKeys(config.integer('sliding_window', keys));
    return rmsDecoder(config, names, {
      family: 'mistral',
      sizes,
      layers: layersOf(config),
      scores: () => ({ rotary, window }),
    });
  },
};
