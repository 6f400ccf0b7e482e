// What some models have and others do not. It is loaded with those that do: programs of the others never download it.
// Touch: a part that few families need; what it costs the others is in scripts/sizes.mjs.

import type { LayerRotary } from '../ops/rotary/layer-rotary.js';
import type { ModelDescription, StackDescription } from './description.js';
import type { signalInput } from './layers/signals.js';

/** Parts that are not in every model; undefined where this one does without. */
export interface Parts {
  /** Caches of decoders. */
  readonly decoding: typeof import('./decoding.js') | undefined;
  /** Rotary embedding. */
  readonly Rotary: typeof LayerRotary | undefined;
  /** Makes rows of pictures or sound. */
  readonly signalInput: typeof signalInput | undefined;
  /** Of an encoder with a decoder. */
  readonly both: typeof import('./both.js') | undefined;
  /** Of text and pictures in one space. */
  readonly dual: typeof import('./dual.js') | undefined;
}

/** The stacks of a model, in the order in which its parameters are placed. */
export function stacksOf(description: ModelDescription): readonly StackDescription[] {
  switch (description.kind) {
    case 'dual':
      return [description.text, description.vision];
    case 'encoder-decoder':
      return [description.encoder, description.decoder];
    default:
      return [description.stack];
  }
}

/** Loads what a model needs beside what all have. */
export async function loadParts(description: ModelDescription): Promise<Parts> {
  const { kind } = description;
  const stacks = stacksOf(description);
  const rotates = stacks.some(({ blocks }) =>
    blocks.some(({ attention, crossAttention }) => attention.rotary ?? crossAttention?.rotary),
  );
  const [decoding, rotary, signals, both, dual] = await Promise.all([
    kind === 'decoder' || kind === 'encoder-decoder' ? import('./decoding.js') : undefined,
    rotates ? import('../ops/rotary/layer-rotary.js') : undefined,
    stacks.some(({ input }) => input.kind !== 'tokens') ? import('./layers/signals.js') : undefined,
    kind === 'encoder-decoder' ? import('./both.js') : undefined,
    kind === 'dual' ? import('./dual.js') : undefined,
  ]);
  return {
    decoding,
    Rotary: rotary?.LayerRotary,
    signalInput: signals?.signalInput,
    both,
    dual,
  };
}
