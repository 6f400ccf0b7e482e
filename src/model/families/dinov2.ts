// DINOv2: ViT with a factor for each channel of each sublayer; in its largest size with a gate.

import type { BlockDescription, Family, FeedForwardDescription } from '../description.js';
import { feedForward, headsOf, separateAttention } from './blocks.js';
import { logitsHead, present } from './heads.js';
import { activationOf, forLayers, layersOf } from './settings.js';
import { Tensors } from './tensors.js';
import { firstTokens, patchInput, VIT_ATTENTION } from './vit-like.js';

/** DINOv2: pictures, features without labels. */
export const dinov2: Family = {
  modelTypes: ['dinov2'],
  describe(config, names) {
    const tensors = Tensors.find(names, ['dinov2.', ''], 'embeddings.cls_token');
    const embeddings = tensors.under('embeddings.');
    const sizes = headsOf(config);
    const { embedDim } = sizes;
    const epsilon = config.number('layer_norm_eps', 1e-6);
    const activation = activationOf(config, 'hidden_act', 'gelu');
    const bias = config.boolean('qkv_bias', true);
    const inner = Math.trunc(embedDim * config.number('mlp_ratio', 4));
    const gated = config.boolean('use_swiglu_ffn', false);
    // How it is initialised and masked in training, and what of it is handed to detectors and the like.
    config.skip('layerscale_value', 'use_mask_token', 'apply_layernorm', 'reshape_hidden_states');
    config.skip('out_features', 'out_indices', 'stage_names');

    const feedForwardOf = (block: Tensors): FeedForwardDescription => {
      if (!gated) return feedForward(block, ['mlp.fc1', 'mlp.fc2'], embedDim, inner, activation);
      const width = Math.floor((Math.trunc((inner * 2) / 3) + 7) / 8) * 8;
      const packed = (from: number) =>
        block.matrix('mlp.weights_in', embedDim, width, true, { of: 2 * width, from, rows: width });
      return {
        activation: 'silu',
        gate: packed(0),
        up: packed(width),
        down: block.matrix('mlp.weights_out', width, embedDim),
      };
    };
    return {
      kind: 'vision',
      family: 'dinov2',
      stack: {
        embedDim,
        input: patchInput(config, embeddings, embedDim, firstTokens(embeddings, embedDim, ['cls_token']), {
          projection: 'patch_embeddings.projection',
          positions: 'position_embeddings',
        }),
        blocks: forLayers(layersOf(config), (layer): BlockDescription => {
          const block = tensors.under(`encoder.layer.${layer}.`);
          return {
            attention: {
              ...separateAttention(block, VIT_ATTENTION, sizes, { bias, outputBias: true }),
              causal: false,
              before: block.layerNorm('norm1', embedDim, epsilon),
              layerScale: block.source('layer_scale1.lambda1', embedDim),
            },
            feedForward: {
              ...feedForwardOf(block),
              before: block.layerNorm('norm2', embedDim, epsilon),
              layerScale: block.source('layer_scale2.lambda1', embedDim),
            },
          };
        }),
        norm: tensors.layerNorm('layernorm', embedDim, epsilon),
      },
      heads: [
        { name: 'poolerOutput', of: 'first', steps: [] },
        ...present(logitsHead(new Tensors(names), 'classifier', 'firstAndMean', 2 * embedDim)),
      ],
      buffers: [/embeddings\.mask_token$/],
    };
  },
};
