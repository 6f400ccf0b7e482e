// Models of random weights in folders as they are published, for examples that load one. Touch: a model is an entry of CONFIGS.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { referenceModel } from '../reference/transformer.js';
import { inputsFor } from './model-variants.js';
import type { Config } from './model-variants.js';
import { RandomWeights, safetensors } from './random-checkpoint.js';

const SIZES = { num_hidden_layers: 2, num_attention_heads: 2, max_position_embeddings: 64 };

/** By what examples call them. */
const CONFIGS = {
  bert: {
    ...{ model_type: 'bert', architectures: ['BertModel'], ...SIZES, vocab_size: 16, hidden_size: 8 },
    ...{
      intermediate_size: 32,
      hidden_act: 'gelu',
      layer_norm_eps: 1e-12,
      type_vocab_size: 2,
      pad_token_id: 0,
    },
  },
  gpt2: {
    ...{ model_type: 'gpt2', architectures: ['GPT2LMHeadModel'], vocab_size: 16, n_embd: 8, n_head: 2 },
    ...{ n_layer: 2, n_positions: 64, activation_function: 'gelu_new', layer_norm_epsilon: 1e-5 },
  },
  llama: {
    ...{
      model_type: 'llama',
      architectures: ['LlamaForCausalLM'],
      ...SIZES,
      vocab_size: 300,
      hidden_size: 16,
    },
    ...{ intermediate_size: 40, num_key_value_heads: 1, hidden_act: 'silu', rms_norm_eps: 1e-5 },
    ...{ rope_theta: 10000, tie_word_embeddings: true },
  },
  t5: {
    ...{
      model_type: 't5',
      architectures: ['T5ForConditionalGeneration'],
      vocab_size: 300,
      d_model: 16,
      d_kv: 8,
    },
    ...{
      d_ff: 40,
      num_layers: 2,
      num_heads: 2,
      feed_forward_proj: 'relu',
      relative_attention_num_buckets: 8,
      layer_norm_epsilon: 1e-6,
    },
    ...{ is_encoder_decoder: true, tie_word_embeddings: true, decoder_start_token_id: 0, eos_token_id: 1 },
  },
  vit: {
    ...{ model_type: 'vit', architectures: ['ViTForImageClassification'], ...SIZES, hidden_size: 8 },
    ...{ intermediate_size: 32, hidden_act: 'gelu', layer_norm_eps: 1e-12, image_size: 32, patch_size: 16 },
    ...{ num_channels: 3, qkv_bias: true, id2label: { 0: 'cat', 1: 'dog' }, label2id: { cat: 0, dog: 1 } },
  },
} satisfies Record<string, Config>;

/** config.json and model.safetensors, and files beside them that are given by name. */
export function writeModel(
  folder: string,
  name: keyof typeof CONFIGS,
  { config = {}, files = {} }: { config?: Config; files?: Readonly<Record<string, unknown>> } = {},
): void {
  const all: Config = { ...CONFIGS[name], ...config };
  const weights = new RandomWeights(11);
  referenceModel(all, weights, inputsFor(all)[0]!); // asks for every weight
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'model.safetensors'), safetensors(weights.tensors));
  for (const [file, content] of Object.entries({ 'config.json': all, ...files })) {
    mkdirSync(join(folder, file, '..'), { recursive: true });
    writeFileSync(join(folder, file), JSON.stringify(content));
  }
}

/** Files of a tokenizer whose tokens are bytes below a number, and after them special ones. */
export function byteTokenizer(special: readonly string[], bytes = 256): Readonly<Record<string, unknown>> {
  const vocabulary = [...Array(bytes).keys()].map(letterOf);
  const shown = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    'tokenizer_config.json': {
      tokenizer_class: 'PreTrainedTokenizerFast',
      clean_up_tokenization_spaces: false,
    },
    'tokenizer.json': {
      ...{ version: '1.0', truncation: null, padding: null, normalizer: null, post_processor: null },
      added_tokens: special.map((content, i) => ({ id: bytes + i, content, ...shown })),
      ...{ pre_tokenizer: byteLevel, decoder: byteLevel },
      model: {
        type: 'BPE',
        vocab: Object.fromEntries(vocabulary.map((letter, byte) => [letter, byte])),
        merges: [],
      },
    },
  };
}

/** The letter that byte-level tokenizers write for a byte: its own where that can be seen, others from 256 on. */
function letterOf(byte: number): string {
  const isShown = (code: number) => (code > 32 && code < 127) || (code > 160 && code !== 173);
  const hidden = [...Array(256).keys()].filter((code) => !isShown(code));
  return String.fromCharCode(isShown(byte) ? byte : 256 + hidden.indexOf(byte));
}
