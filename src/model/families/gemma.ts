// Gemma 2 and the text models of Gemma 3: norms on both sides of each sublayer, a scale of its own, windows in some layers, caps on
// scores and logits (2), head norms and a second base of rotary positions for layers with a window (3).

import type { ConfigReader } from '../config.js';
import type { Family, ScoreDescription } from '../description.js';
import { groupedHeads, lastKeys, layerTypes, rmsDecoder } from './rms-decoder.js';
import type { RmsDecoder } from './rms-decoder.js';
import { rotaryOf } from './rotary.js';
import { layersOf } from './settings.js';

/** Gemma 2: norms around, softcaps, windows in every other layer. */
export const gemma2: Family = {
  modelTypes: ['gemma2'],
  describe(config, names) {
    const own = gemma(config, 'gemma2', 2);
    const rotary = rotaryOf(config, { headDim: own.sizes.headDim });
    const softcap = config.optional('attn_logit_softcapping', 50);
    return rmsDecoder(config, names, {
      ...own,
      scores: (layer) => ({ ...own.scores(layer), rotary, softcap }),
      softcap: config.optional('final_logit_softcapping', 30),
    });
  },
};

/** Gemma 3 (text): norms of heads, windows in most layers. */
export const gemma3: Family = {
  modelTypes: ['gemma3_text'],
  describe(config, names) {
    const causal = !config.boolean('use_bidirectional_attention', false);
    const own = gemma(
      config,
      'gemma3_text',
      config.integer('sliding_window_pattern|_sliding_window_pattern', 6),
      causal,
    );
    const { headDim } = own.sizes;
    const far = rotaryOf(config, { headDim, layerType: 'full_attention', defaultBase: 1e6 });
    const near = rotaryOf(config, {
      headDim,
      layerType: 'sliding_attention',
      base: 'rope_local_base_freq',
      scaled: false,
    });
    config.only('attn_logit_softcapping');
    return rmsDecoder(config, names, {
      ...own,
      causal,
      headNorms: 'each',
      scores: (layer) => {
        const scores = own.scores(layer);
        return { ...scores, rotary: scores.window ? near : far };
      },
      softcap: config.optional('final_logit_softcapping'),
    });
  },
};

/** @param pattern every such layer sees everything, the others a window */
function gemma(config: ConfigReader, family: string, pattern: number, causal = true): RmsDecoder {
  const sizes = groupedHeads(config, 256);
  const layers = layersOf(config);
  const types = layerTypes(config, layers, (layer) => (layer + 1) % pattern !== 0);
  const keys = config.integer('sliding_window', 4096);
  const half = Math.floor(keys / 2);
  const window: ScoreDescription['window'] = causal ? lastKeys(keys) : { left: half, right: half };
  const scale = 1 / Math.sqrt(config.number('query_pre_attn_scalar', 256));
  const bias = config.boolean('attention_bias', false);
  // hidden_activation counts.
  config.skip('hidden_act');
  return {
    family,
    sizes,
    layers,
    gemma: true,
    tied: true,
    bias,
    outputBias: bias,
    activation: ['hidden_activation', 'gelu_pytorch_tanh'],
    norms: (norm) => ({
      attention: { before: norm('input_layernorm'), inner: norm('post_attention_layernorm') },
      feedForward: { before: norm('pre_feedforward_layernorm'), inner: norm('post_feedforward_layernorm') },
    }),
    scores: (layer) => ({ scale, window: types[layer] === 'sliding_attention' ? window : undefined }),
  };
}
