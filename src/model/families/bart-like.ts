// Encoders and decoders with BART's names: BART and Whisper. Touch: what they share.

import type { ConfigReader } from '../config.js';
import type { BlockDescription, InputDescription, StackDescription } from '../description.js';
import { BART_BLOCK, headsOf, layerNormBlock, MATRICES, separateCrossAttention } from './blocks.js';
import { activationOf, forLayers, layersOf } from './settings.js';
import type { Tensors } from './tensors.js';

interface BartStack {
  /** Tensors of the stack. */
  readonly tensors: Tensors;
  /** What its settings begin with. */
  readonly name: 'encoder' | 'decoder';
  readonly where: 'before' | 'after';
  readonly keyBias?: boolean | undefined;
  readonly input: InputDescription;
  readonly maxLength?: number | undefined;
}

export const WIDTH = 'd_model|hidden_size';

/** The epsilon of all norms. */
export const EPSILON = 1e-5;

/** Blocks of a stack, and its last norm where they have theirs before; those of a decoder look at an encoder, too. */
export function bartStack(config: ConfigReader, own: BartStack): StackDescription {
  const { tensors, name, where, keyBias, input, maxLength } = own;
  const causal = name === 'decoder';
  const sizes = headsOf(config, WIDTH, `${name}_attention_heads`);
  const { embedDim } = sizes;
  const settings = {
    sizes,
    inner: config.integer(`${name}_ffn_dim`),
    epsilon: EPSILON,
    activation: activationOf(config, 'activation_function', 'gelu'),
    causal,
    keyBias,
  };
  // Both stacks have their own.
  config.skip('num_hidden_layers', 'is_encoder_decoder');
  return {
    embedDim,
    input,
    blocks: forLayers(layersOf(config, `${name}_layers`), (layer): BlockDescription => {
      const block = tensors.under(`layers.${layer}.`);
      return {
        ...layerNormBlock(block, BART_BLOCK, settings, where),
        crossAttention: causal
          ? {
              ...separateCrossAttention(block.under('encoder_attn.'), MATRICES, sizes, settings),
              [where]: block.layerNorm('encoder_attn_layer_norm', embedDim, EPSILON),
            }
          : undefined,
      };
    }),
    norm: where === 'before' ? tensors.layerNorm('layer_norm', embedDim, EPSILON) : undefined,
    maxLength,
  };
}
