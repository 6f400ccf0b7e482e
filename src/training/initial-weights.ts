// Weights for a model that has none yet. What makes them is loaded when it is asked for (initial/).

import type { Family } from '../model/description.js';
import { checkInteger, checkOptions } from '../runtime/checks.js';
import type { NamesOf } from '../runtime/checks.js';

/** What `initialWeights` is given. */
export interface InitialWeightsOptions {
  /** What a config.json holds: sizes, and with `architectures` what the model is for. */
  readonly config: unknown;
  /** An integer from 0 to 2^53 - 1. */
  readonly seed: number;
  /** The families that the program knows. Default: all, which bundlers keep in a file of their own. */
  readonly families?: readonly Family[] | undefined;
  /** Settings of the config to pass over, whatever they say. */
  readonly ignoreSettings?: readonly string[] | undefined;
}

const NAMES = {
  config: 1,
  seed: 1,
  families: 1,
  ignoreSettings: 1,
} satisfies NamesOf<InitialWeightsOptions>;

/**
 * Weights for a new model, which `loadModel` reads with the same config: every tensor that it asks for, random by a seed.
 *
 * The first of `architectures` says which heads there are, as transformers calls its classes (`GPT2LMHeadModel`, `BertForMaskedLM`,
 * `LlamaForSequenceClassification` with `num_labels` or `id2label`, `BertModel`); a config without it is a language model's where the
 * family is a decoder's, and bare where it is not. Tensors have the names that transformers writes, tied ones once, all float32.
 *
 * Values begin as they do in transformers: weights and tables normal with `initializer_range` (`init_std`; 0.02 where the config does not
 * say), narrower by the root of the number of sublayers where a matrix ends in a residual of GPT-2, of attention_only and of ModernBERT,
 * and by T5's own rule in T5; norms ones, biases zeros, padding rows zeros; what is not learned by its formula. Of what
 * transformers has beyond that, truncated distributions and CLIP's widths of each kind are left out.
 *
 * A tensor is a function of the seed, its name and its shape, with the same bits in every engine: more layers leave those before them as
 * they are.
 *
 * @returns a safetensors file
 * @throws AttentionError INVALID_ARGUMENT, UNSUPPORTED for a family, a setting or an architecture that this package does not know
 *
 * @example
 * ```js
 * const config = { model_type: 'gpt2', vocab_size: 16, n_embd: 8, n_head: 2, n_layer: 1, n_positions: 4 };
 * const weights = await initialWeights({ config, seed: 1 });
 * const fresh = await loadModel({ config, weights, runtime });
 * fresh.parameterCount > 0; // true
 * fresh.dispose();
 * ```
 */
export async function initialWeights(options: InitialWeightsOptions): Promise<Uint8Array> {
  checkOptions(options, NAMES, {}, '');
  checkInteger('seed', options.seed, 0, Number.MAX_SAFE_INTEGER);
  const { makeWeights } = await import('./initial/weights.js');
  return makeWeights(options);
}
