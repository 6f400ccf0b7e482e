// Settings that families read alike: activations, how many layers, what the model is for, how generation ends. Touch: activations.

import type { ConfigReader } from '../config.js';
import type { ActivationName, GenerationDefaults } from '../description.js';

export const ACTIVATIONS: Readonly<Record<string, ActivationName>> = {
  gelu: 'gelu',
  gelu_python: 'gelu',
  gelu_new: 'geluTanh',
  gelu_fast: 'geluTanh',
  gelu_accurate: 'geluTanh',
  gelu_pytorch_tanh: 'geluTanh',
  quick_gelu: 'quickGelu',
  silu: 'silu',
  swish: 'silu',
  relu: 'relu',
  tanh: 'tanh',
};

export function activationOf(config: ConfigReader, name: string, fallback?: string): ActivationName {
  return config.choice(name, ACTIVATIONS, fallback);
}

/** How many blocks there are: as many descriptions are made. */
export function layersOf(config: ConfigReader, name = 'num_hidden_layers', fallback?: number): number {
  return config.integer(name, fallback, 1, 1024);
}

/** One of each for every block. */
export function forLayers<Item>(count: number, make: (layer: number) => Item): Item[] {
  return Array.from({ length: count }, (_, layer) => make(layer));
}

/** What the first of `architectures` says that the model is for, such as ForTokenClassification; all of its name. */
export function architectureOf(config: ConfigReader): string {
  return config.words('architectures')?.[0] ?? '';
}

/** End and padding, as far as a config names them. */
export function generationOf(config: ConfigReader, usualPadding?: number): GenerationDefaults {
  return {
    endTokenIds: config.integers('eos_token_id'),
    paddingId: config.integers('pad_token_id', -1).find((id) => id >= 0) ?? usualPadding,
    decoderStartId: config.integers('decoder_start_token_id')[0],
  };
}
