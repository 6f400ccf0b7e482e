// GPT-2: learned positions, norms before, weights stored [in, out].

import type { ConfigReader } from '../config.js';
import type { Family, MatrixDescription } from '../description.js';
import { headsOf } from './blocks.js';
import { decoder } from './decoders.js';
import { activationOf, forLayers, layersOf } from './settings.js';
import { Tensors } from './tensors.js';

/** GPT-2 and what has its form. */
export const gpt2: Family = {
  modelTypes: ['gpt2'],
  describe(config, names) {
    const tensors = Tensors.find(names, ['transformer.', ''], 'wte.weight');
    const { embedDim, ...sizes } = headsOf(config, 'n_embd|hidden_size', 'n_head|num_attention_heads');
    const inner = config.integer('n_inner', 4 * embedDim);
    const epsilon = config.number('layer_norm_epsilon', 1e-5);
    const activation = activationOf(config, 'activation_function', 'gelu_new');
    const positions = config.integer('n_positions|max_position_embeddings');
    const table = tensors.source('wte.weight', config.integer('vocab_size'), embedDim);
    const scaleOf = scales(config, sizes.headDim);
    // How scores are computed, and another name of n_positions.
    config.skip('reorder_and_upcast_attn', 'n_ctx');
    skipSummary(config);
    return decoder(config, names, {
      family: 'gpt2',
      table,
      input: {
        positions: { table: tensors.source('wpe.weight', positions, embedDim), offset: 0, count: 'index' },
      },
      stack: {
        embedDim,
        blocks: forLayers(layersOf(config, 'n_layer|num_hidden_layers'), (layer) => {
          const block = tensors.under(`h.${layer}.`);
          return {
            attention: {
              ...sizes,
              scale: scaleOf(layer),
              ...attentionOf(block, embedDim, epsilon),
            },
            feedForward: {
              activation,
              up: transposed(block, 'mlp.c_fc', embedDim, inner),
              down: transposed(block, 'mlp.c_proj', inner, embedDim),
              before: block.layerNorm('ln_2', embedDim, epsilon),
            },
          };
        }),
        norm: tensors.layerNorm('ln_f', embedDim, epsilon),
        maxLength: positions,
      },
      tied: true,
      buffers: [/(^|\.)h\.\d+\.attn\.(masked_)?bias$/],
    });
  },
};

/** Settings of a head for two tasks that GPT-2 and GPT-J write down and hardly any checkpoint has. */
export function skipSummary(config: ConfigReader): void {
  config.skip('summary_type', 'summary_use_proj', 'summary_activation', 'summary_proj_to_logits');
}

/** The attention of a block, by its names. */
export const attentionOf = (block: Tensors, embedDim: number, epsilon: number) =>
  ({
    causal: true,
    projection: transposed(block, 'attn.c_attn', embedDim, 3 * embedDim),
    order: 'stacked',
    output: transposed(block, 'attn.c_proj', embedDim, embedDim),
    before: block.layerNorm('ln_1', embedDim, epsilon),
  }) as const;

function transposed(
  tensors: Tensors,
  name: string,
  inFeatures: number,
  outFeatures: number,
): MatrixDescription {
  const weight = { ...tensors.source(`${name}.weight`, inFeatures, outFeatures), transposed: true };
  return { inFeatures, outFeatures, parts: [{ weight, bias: tensors.source(`${name}.bias`, outFeatures) }] };
}

function scales(config: ConfigReader, headDim: number): (layer: number) => number {
  const all = config.boolean('scale_attn_weights', true) ? 1 / Math.sqrt(headDim) : 1;
  const byLayer = config.boolean('scale_attn_by_inverse_layer_idx', false);
  return (layer) => (byLayer ? all / (layer + 1) : all);
}
