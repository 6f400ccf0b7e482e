// Qwen 2 and 3: Llama with biases of queries, keys and values (2) or with norms of every head's queries and keys (3).

import type { ConfigReader } from '../config.js';
import type { Family, ScoreDescription } from '../description.js';
import type { HeadSizes } from './blocks.js';
import { groupedHeads, lastKeys, layerTypes, rmsDecoder } from './rms-decoder.js';
import { rotaryOf } from './rotary.js';
import { layersOf } from './settings.js';

/** Qwen 2 and 2.5: biases of queries, keys and values. */
export const qwen2: Family = {
  modelTypes: ['qwen2'],
  describe(config, names) {
    const sizes = groupedHeads(config);
    return rmsDecoder(config, names, {
      family: 'qwen2',
      bias: true,
      sizes,
      ...layersWithWindows(config, sizes),
    });
  },
};

/** Qwen 3: norms of heads. */
export const qwen3: Family = {
  modelTypes: ['qwen3'],
  describe(config, names) {
    const sizes = groupedHeads(config, 128);
    const bias = config.boolean('attention_bias', false);
    return rmsDecoder(config, names, {
      family: 'qwen3',
      bias,
      outputBias: bias,
      headNorms: 'each',
      sizes,
      ...layersWithWindows(config, sizes),
    });
  },
};

interface Layers {
  readonly layers: number;
  readonly scores: (layer: number) => Partial<ScoreDescription>;
}

/** Where windows are used at all, the first `max_window_layers` go without. */
function layersWithWindows(config: ConfigReader, { headDim }: HeadSizes): Layers {
  const layers = layersOf(config);
  const rotary = rotaryOf(config, { headDim });
  const used = config.boolean('use_sliding_window', false) && config.has('sliding_window');
  const first = config.integer('max_window_layers', 28, 0);
  const types = layerTypes(config, layers, (layer) => used && layer >= first);
  const slides = types.includes('sliding_attention');
  if (slides && !used) throw config.invalid('use_sliding_window', 'true, as layer_types want', false);
  // Where it is not used it says nothing.
  const window = slides ? lastKeys(config.integer('sliding_window')) : undefined;
  config.skip('sliding_window');
  return {
    layers,
    scores: (layer) => ({ rotary, window: types[layer] === 'sliding_attention' ? window : undefined }),
  };
}
