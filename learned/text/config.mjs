// What the model of `text` is, and what it reads in a step. Benchmarks read this file, too: it imports nothing.

/** Tokens of a window, and windows of a step. */
export const LENGTH = 128;
export const BATCH = 8;

/** GPT-2, but small. */
export const config = {
  model_type: 'gpt2',
  architectures: ['GPT2LMHeadModel'],
  vocab_size: 2048,
  n_positions: LENGTH,
  n_embd: 128,
  n_head: 4,
  n_layer: 4,
  n_inner: 512,
  activation_function: 'gelu_new',
  layer_norm_epsilon: 1e-5,
  tie_word_embeddings: true,
};
