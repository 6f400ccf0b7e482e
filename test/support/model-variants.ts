// Configs of every family with settings, sizes and heads that published checkpoints have beside the usual ones. Touch: a line each.

import { Random } from '../reference/random.js';
import type { RowInputs } from '../reference/transformer.js';

export type Config = Readonly<Record<string, unknown>>;

export interface Variant {
  /** What is special about it. */
  readonly title: string;
  readonly config: Config;
}

const LABELS = { id2label: { 0: 'A', 1: 'B', 2: 'C' }, label2id: { A: 0, B: 1, C: 2 } };

const rms = {
  vocab_size: 53,
  hidden_size: 24,
  intermediate_size: 40,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  hidden_act: 'silu',
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: false,
};
const LLAMA = { model_type: 'llama', architectures: ['LlamaForCausalLM'], ...rms };
const MISTRAL = { ...LLAMA, model_type: 'mistral', architectures: ['MistralForCausalLM'], sliding_window: 5 };
const QWEN2 = {
  ...LLAMA,
  model_type: 'qwen2',
  architectures: ['Qwen2ForCausalLM'],
  use_sliding_window: false,
  sliding_window: 4,
  max_window_layers: 1,
};
const QWEN3 = {
  ...QWEN2,
  model_type: 'qwen3',
  architectures: ['Qwen3ForCausalLM'],
  head_dim: 10,
  attention_bias: false,
};
const OLMO2 = { ...LLAMA, model_type: 'olmo2', architectures: ['Olmo2ForCausalLM'], attention_bias: false };
const gemma = {
  head_dim: 12,
  query_pre_attn_scalar: 20,
  sliding_window: 5,
  hidden_activation: 'gelu_pytorch_tanh',
  hidden_act: 'gelu_pytorch_tanh',
  tie_word_embeddings: true,
  attention_bias: false,
};
const GEMMA2 = {
  ...LLAMA,
  ...gemma,
  model_type: 'gemma2',
  architectures: ['Gemma2ForCausalLM'],
  attn_logit_softcapping: 4,
  final_logit_softcapping: 3,
};
const GEMMA3 = {
  ...LLAMA,
  ...gemma,
  model_type: 'gemma3_text',
  architectures: ['Gemma3ForCausalLM'],
  sliding_window_pattern: 2,
  rope_local_base_freq: 5000,
  rope_theta: 1e6,
  attn_logit_softcapping: null,
  final_logit_softcapping: null,
};
const GPT2 = {
  model_type: 'gpt2',
  architectures: ['GPT2LMHeadModel'],
  vocab_size: 51,
  n_embd: 20,
  n_head: 4,
  n_layer: 2,
  n_positions: 24,
  activation_function: 'gelu_new',
  layer_norm_epsilon: 1e-5,
};
const ATTENTION_ONLY = {
  model_type: 'attention_only',
  architectures: ['AttentionOnlyForCausalLM'],
  ...{ vocab_size: 51, n_embd: 20, n_head: 2, n_layer: 2, n_positions: 24, layer_norm_epsilon: 1e-5 },
};
const GPTJ = {
  ...GPT2,
  model_type: 'gptj',
  architectures: ['GPTJForCausalLM'],
  n_embd: 24,
  rotary_dim: 4,
  n_inner: null,
  tie_word_embeddings: false,
};
const layered = {
  vocab_size: 51,
  hidden_size: 24,
  intermediate_size: 36,
  num_hidden_layers: 2,
  num_attention_heads: 3,
  max_position_embeddings: 40,
};
const NEOX = {
  ...layered,
  model_type: 'gpt_neox',
  architectures: ['GPTNeoXForCausalLM'],
  hidden_act: 'gelu',
  layer_norm_eps: 1e-5,
  rotary_pct: 0.25,
  rotary_emb_base: 10000,
  use_parallel_residual: true,
  tie_word_embeddings: false,
};
const PHI = {
  ...layered,
  model_type: 'phi',
  architectures: ['PhiForCausalLM'],
  num_attention_heads: 4,
  hidden_size: 40,
  hidden_act: 'gelu_new',
  layer_norm_eps: 1e-5,
  partial_rotary_factor: 0.4,
  rope_theta: 10000,
  qk_layernorm: false,
  tie_word_embeddings: false,
};
const BLOOM = {
  model_type: 'bloom',
  architectures: ['BloomForCausalLM'],
  vocab_size: 51,
  hidden_size: 24,
  n_head: 4,
  n_layer: 2,
  layer_norm_epsilon: 1e-5,
};
const OPT = {
  model_type: 'opt',
  architectures: ['OPTForCausalLM'],
  vocab_size: 51,
  hidden_size: 24,
  ffn_dim: 36,
  num_hidden_layers: 2,
  num_attention_heads: 3,
  max_position_embeddings: 30,
  word_embed_proj_dim: 24,
  activation_function: 'relu',
  do_layer_norm_before: true,
};
const BERT = {
  ...layered,
  model_type: 'bert',
  architectures: ['BertModel'],
  hidden_act: 'gelu',
  layer_norm_eps: 1e-12,
  type_vocab_size: 2,
  pad_token_id: 0,
};
const ROBERTA = {
  ...BERT,
  model_type: 'roberta',
  architectures: ['RobertaModel'],
  layer_norm_eps: 1e-5,
  type_vocab_size: 1,
  pad_token_id: 1,
};
const MPNET = {
  ...ROBERTA,
  model_type: 'mpnet',
  architectures: ['MPNetModel'],
  type_vocab_size: undefined,
  relative_attention_num_buckets: 32,
};
const ALBERT = {
  ...BERT,
  model_type: 'albert',
  architectures: ['AlbertModel'],
  embedding_size: 10,
  num_hidden_layers: 4,
  num_hidden_groups: 1,
  inner_group_num: 1,
  hidden_act: 'gelu_new',
};
const DISTIL = {
  model_type: 'distilbert',
  architectures: ['DistilBertModel'],
  vocab_size: 51,
  dim: 24,
  hidden_dim: 36,
  n_layers: 2,
  n_heads: 3,
  max_position_embeddings: 40,
  activation: 'gelu',
  pad_token_id: 0,
};
const MODERN = {
  ...layered,
  model_type: 'modernbert',
  architectures: ['ModernBertForMaskedLM'],
  num_hidden_layers: 3,
  global_attn_every_n_layers: 2,
  local_attention: 6,
  global_rope_theta: 160000,
  local_rope_theta: 10000,
  attention_bias: false,
  mlp_bias: false,
  norm_bias: false,
  norm_eps: 1e-5,
  hidden_activation: 'gelu',
  classifier_activation: 'gelu',
  classifier_bias: false,
  classifier_pooling: 'cls',
  decoder_bias: true,
  tie_word_embeddings: true,
};
const T5 = {
  model_type: 't5',
  architectures: ['T5ForConditionalGeneration'],
  vocab_size: 51,
  d_model: 20,
  d_kv: 6,
  d_ff: 30,
  num_layers: 2,
  num_decoder_layers: 2,
  num_heads: 3,
  feed_forward_proj: 'relu',
  layer_norm_epsilon: 1e-6,
  is_encoder_decoder: true,
  tie_word_embeddings: true,
  relative_attention_num_buckets: 8,
  relative_attention_max_distance: 12,
  decoder_start_token_id: 0,
  eos_token_id: 1,
};
const BART = {
  model_type: 'bart',
  architectures: ['BartForConditionalGeneration'],
  vocab_size: 51,
  d_model: 24,
  encoder_layers: 2,
  decoder_layers: 1,
  encoder_attention_heads: 3,
  decoder_attention_heads: 4,
  encoder_ffn_dim: 32,
  decoder_ffn_dim: 28,
  max_position_embeddings: 30,
  activation_function: 'gelu',
  scale_embedding: false,
  is_encoder_decoder: true,
  eos_token_id: 2,
  decoder_start_token_id: 2,
};
const WHISPER = {
  model_type: 'whisper',
  architectures: ['WhisperForConditionalGeneration'],
  vocab_size: 51,
  d_model: 18,
  encoder_layers: 1,
  decoder_layers: 2,
  encoder_attention_heads: 2,
  decoder_attention_heads: 3,
  encoder_ffn_dim: 28,
  decoder_ffn_dim: 30,
  num_mel_bins: 7,
  max_source_positions: 9,
  max_target_positions: 20,
  activation_function: 'gelu',
  is_encoder_decoder: true,
  decoder_start_token_id: 2,
  eos_token_id: 1,
};
const VIT = {
  model_type: 'vit',
  architectures: ['ViTForImageClassification'],
  hidden_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 3,
  intermediate_size: 36,
  hidden_act: 'gelu',
  layer_norm_eps: 1e-6,
  image_size: 12,
  patch_size: 4,
  num_channels: 3,
  qkv_bias: true,
  ...LABELS,
};
const DEIT = { ...VIT, model_type: 'deit', architectures: ['DeiTForImageClassification'] };
const DINO = {
  ...VIT,
  model_type: 'dinov2',
  architectures: ['Dinov2ForImageClassification'],
  mlp_ratio: 2,
  use_swiglu_ffn: false,
  intermediate_size: undefined,
};

const as = (architecture: string, more: Config = {}): Config => ({
  architectures: [architecture],
  ...LABELS,
  ...more,
});
const yarn = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 16 };

/** Base, and changes by what they are. */
const ALL: readonly (readonly [Config, Readonly<Record<string, Config>>])[] = [
  [
    LLAMA,
    {
      'sizes that are multiples of nothing': {
        hidden_size: 21,
        num_attention_heads: 3,
        num_key_value_heads: 1,
        head_dim: 6,
        intermediate_size: 37,
        vocab_size: 29,
      },
      'one layer, one head': { num_hidden_layers: 1, num_attention_heads: 1, num_key_value_heads: 1 },
      'no shared heads, an unsaid number of them': { num_key_value_heads: undefined },
      'biases everywhere': { attention_bias: true, mlp_bias: true },
      'tied head': { tie_word_embeddings: true },
      'linear scaling': { rope_scaling: { type: 'linear', factor: 2.5 } },
      'dynamic scaling, within the length': { rope_scaling: { rope_type: 'dynamic', factor: 2 } },
      'dynamic scaling, beyond the length': {
        rope_scaling: { rope_type: 'dynamic', factor: 2 },
        max_position_embeddings: 9,
      },
      yarn: { rope_scaling: yarn },
      'yarn with its own bounds and factor': {
        rope_scaling: { ...yarn, beta_fast: 20, beta_slow: 2, attention_factor: 0.8 },
      },
      'yarn with two scales': { rope_scaling: { ...yarn, mscale: 0.7, mscale_all_dim: 0.4 } },
      'yarn of which the original length is that of the config': {
        rope_scaling: { rope_type: 'yarn', factor: 4 },
      },
      'llama3 scaling': {
        rope_scaling: {
          rope_type: 'llama3',
          factor: 8,
          low_freq_factor: 1,
          high_freq_factor: 4,
          original_max_position_embeddings: 32,
        },
      },
      gelu: { hidden_act: 'gelu' },
      'no head': as('LlamaModel'),
      'sequence classification': as('LlamaForSequenceClassification'),
      'token classification': as('LlamaForTokenClassification'),
    },
  ],
  [
    MISTRAL,
    {
      'a window': {},
      'no window': { sliding_window: null },
      'a head size of its own': { head_dim: 14 },
      'a window of one key': { sliding_window: 1 },
      'no head': as('MistralModel'),
    },
  ],
  [
    QWEN2,
    {
      'no window': {},
      'windows from a layer on': { use_sliding_window: true },
      'windows in all layers': { use_sliding_window: true, max_window_layers: 0 },
      'windows as listed': { use_sliding_window: true, layer_types: ['sliding_attention', 'full_attention'] },
      'sequence classification': as('Qwen2ForSequenceClassification'),
      yarn: { rope_scaling: yarn },
    },
  ],
  [
    QWEN3,
    {
      usual: {},
      biases: { attention_bias: true },
      windows: { use_sliding_window: true },
      'no head': as('Qwen3Model'),
    },
  ],
  [
    OLMO2,
    {
      usual: {},
      'biases, shared heads': { attention_bias: true, num_key_value_heads: 1 },
      'linear scaling': { rope_scaling: { rope_type: 'linear', factor: 2 } },
    },
  ],
  [
    GEMMA2,
    {
      usual: {},
      'no caps': { attn_logit_softcapping: null, final_logit_softcapping: null },
      'one layer, biases': { num_hidden_layers: 1, attention_bias: true },
      'windows as listed': { layer_types: ['full_attention', 'sliding_attention'] },
      'another activation': { hidden_activation: 'silu' },
      'no head': as('Gemma2Model'),
    },
  ],
  [
    GEMMA3,
    {
      usual: {},
      'linear scaling of layers without a window': {
        rope_scaling: { rope_type: 'linear', factor: 8 },
        num_hidden_layers: 3,
      },
      'every third layer without a window': { sliding_window_pattern: 3, num_hidden_layers: 4 },
      'a cap': { final_logit_softcapping: 2 },
      'no head': as('Gemma3TextModel'),
    },
  ],
  [
    GPT2,
    {
      usual: {},
      'an untied head': { tie_word_embeddings: false },
      'another inner size, odd sizes': { n_inner: 33, n_embd: 15, n_head: 3, vocab_size: 37 },
      'no scale': { scale_attn_weights: false },
      'a scale by layer': { scale_attn_by_inverse_layer_idx: true },
      relu: { activation_function: 'relu' },
      'no head': as('GPT2Model'),
      'sequence classification': as('GPT2ForSequenceClassification'),
      'token classification': as('GPT2ForTokenClassification'),
    },
  ],
  [
    ATTENTION_ONLY,
    {
      usual: {},
      'rotary positions': { position_embedding: 'rotary', rope_theta: 500 },
      'no positions, an untied head': { position_embedding: 'none', tie_word_embeddings: false },
    },
  ],
  [
    GPTJ,
    {
      usual: {},
      'all channels rotate': { rotary_dim: 6 },
      'tied, another inner size': { tie_word_embeddings: true, n_inner: 30 },
      'no head': as('GPTJModel'),
      'question answering': as('GPTJForQuestionAnswering'),
    },
  ],
  [
    NEOX,
    {
      usual: {},
      'sublayers one after the other': { use_parallel_residual: false },
      'no biases of attention': { attention_bias: false },
      'all channels rotate, another base': { rotary_pct: 1, rotary_emb_base: 500 },
      'tied head': { tie_word_embeddings: true },
      'linear scaling': { rope_scaling: { type: 'linear', factor: 2 } },
      'no head': as('GPTNeoXModel'),
    },
  ],
  [
    PHI,
    {
      usual: {},
      'norms of queries and keys': { qk_layernorm: true },
      'shared heads': { num_key_value_heads: 2 },
      'linear scaling': { rope_scaling: { type: 'linear', factor: 3 } },
      'no head': as('PhiModel'),
    },
  ],
  [
    BLOOM,
    {
      usual: {},
      'heads that are no power of two': { hidden_size: 36, n_head: 6 },
      'three heads': { n_head: 3 },
      'residual after the norm': { apply_residual_connection_post_layernorm: true },
      'sequence classification': as('BloomForSequenceClassification'),
      'no head': as('BloomModel'),
    },
  ],
  [
    OPT,
    {
      usual: {},
      'norms after sublayers, narrow embeddings': { do_layer_norm_before: false, word_embed_proj_dim: 10 },
      'no last norm': { _remove_final_layer_norm: true },
      'no biases': { enable_bias: false },
      'norms without weights': { layer_norm_elementwise_affine: false },
      gelu: { activation_function: 'gelu' },
      'no head': as('OPTModel'),
    },
  ],
  [
    BERT,
    {
      'no head': {},
      words: as('BertForMaskedLM'),
      'words, untied': as('BertForMaskedLM', { tie_word_embeddings: false }),
      pretraining: as('BertForPreTraining'),
      'next sentence': as('BertForNextSentencePrediction'),
      'sequence classification, relu': as('BertForSequenceClassification', { hidden_act: 'relu' }),
      'token classification, gelu_new': as('BertForTokenClassification', { hidden_act: 'gelu_new' }),
      'question answering': as('BertForQuestionAnswering'),
      'a decoder': as('BertLMHeadModel', { is_decoder: true }),
      'one head, odd sizes': {
        hidden_size: 15,
        num_attention_heads: 1,
        intermediate_size: 13,
        vocab_size: 31,
      },
      'three kinds of tokens': { type_vocab_size: 3 },
    },
  ],
  [
    ROBERTA,
    {
      'no head': {},
      'words, relu': as('RobertaForMaskedLM', { hidden_act: 'relu' }),
      'sequence classification': as('RobertaForSequenceClassification'),
      'token classification': as('RobertaForTokenClassification'),
      'question answering': as('RobertaForQuestionAnswering'),
    },
  ],
  [
    MPNET,
    {
      'no head': {},
      'more rows of distances than are used': { relative_attention_num_buckets: 40 },
      words: as('MPNetForMaskedLM', { hidden_act: 'relu' }),
      'sequence classification': as('MPNetForSequenceClassification'),
    },
  ],
  [
    ALBERT,
    {
      'no head': {},
      'two groups': { num_hidden_groups: 2 },
      'two layers in a group': { inner_group_num: 2, num_hidden_layers: 2 },
      'groups of unequal size': { num_hidden_groups: 3 },
      words: as('AlbertForMaskedLM'),
      pretraining: as('AlbertForPreTraining'),
      'sequence classification': as('AlbertForSequenceClassification'),
      'token classification': as('AlbertForTokenClassification'),
      'question answering': as('AlbertForQuestionAnswering'),
    },
  ],
  [
    DISTIL,
    {
      'no head': {},
      'sinusoidal positions, which are stored': { sinusoidal_pos_embds: true },
      'words, relu': as('DistilBertForMaskedLM', { activation: 'relu' }),
      'sequence classification': as('DistilBertForSequenceClassification'),
      'token classification': as('DistilBertForTokenClassification'),
      'question answering': as('DistilBertForQuestionAnswering'),
    },
  ],
  [
    MODERN,
    {
      words: {},
      'biases everywhere': { attention_bias: true, mlp_bias: true, norm_bias: true, classifier_bias: true },
      'untied words without a bias': { tie_word_embeddings: false, decoder_bias: false },
      'no head, other windows': as('ModernBertModel', { local_attention: 3, global_attn_every_n_layers: 3 }),
      'one base for all': { local_rope_theta: null },
      'classification of the first token': as('ModernBertForSequenceClassification'),
      'classification of the mean, relu': as('ModernBertForSequenceClassification', {
        classifier_pooling: 'mean',
        classifier_activation: 'relu',
      }),
      'token classification': as('ModernBertForTokenClassification'),
    },
  ],
  [
    T5,
    {
      usual: {},
      'gates, untied, other counts': {
        feed_forward_proj: 'gated-gelu',
        tie_word_embeddings: false,
        num_decoder_layers: 1,
      },
      'silu with a gate': { feed_forward_proj: 'gated-silu', tie_word_embeddings: false },
      'usual buckets and odd sizes': {
        relative_attention_num_buckets: 32,
        relative_attention_max_distance: 128,
        d_model: 17,
        num_heads: 2,
        d_kv: 5,
      },
      'no head': as('T5Model'),
      'the encoder alone': as('T5EncoderModel', { is_encoder_decoder: false, num_decoder_layers: undefined }),
    },
  ],
  [
    BART,
    {
      usual: {},
      'scaled embeddings, relu': { scale_embedding: true, activation_function: 'relu' },
      'no head': as('BartModel'),
      'sequence classification': as('BartForSequenceClassification'),
      'question answering': as('BartForQuestionAnswering'),
    },
  ],
  [WHISPER, { usual: {}, 'no head': as('WhisperModel') }],
  [
    VIT,
    {
      usual: {},
      'no biases of queries, keys and values': { qkv_bias: false },
      'oblong pictures and patches': { image_size: [8, 15], patch_size: [4, 5] },
      'no head': as('ViTModel'),
      'no head, a pooler of its own': as('ViTModel', { pooler_act: 'gelu', pooler_output_size: 13 }),
      'one channel, relu': { num_channels: 1, hidden_act: 'relu' },
      'a picture that is no multiple of its patches': { image_size: 14 },
    },
  ],
  [
    DEIT,
    {
      'without a teacher': {},
      'with a teacher': as('DeiTForImageClassificationWithTeacher'),
      'no head': as('DeiTModel'),
    },
  ],
  [
    DINO,
    {
      usual: {},
      gates: { use_swiglu_ffn: true, mlp_ratio: 4 },
      'no head, no biases': as('Dinov2Model', { qkv_bias: false }),
    },
  ],
];

/** All of them. */
export const VARIANTS: readonly Variant[] = ALL.flatMap(([base, changes]) =>
  Object.entries(changes).map(([title, change]) => ({
    title: `${String(base['model_type'])}: ${title}`,
    config: Object.fromEntries(
      Object.entries({ ...base, ...change }).filter(([, value]) => value !== undefined),
    ),
  })),
);

/** Inputs that suit a config: two rows, the second padded where there is a mask. */
export function inputsFor(config: Config, seed = 7): RowInputs[] {
  const random = new Random(seed);
  const get = (...names: string[]) => names.map((name) => config[name]).find((value) => value !== undefined);
  const vocabulary = get('vocab_size') as number;
  const ids = (count: number) => Array.from({ length: count }, () => random.integer(5, vocabulary - 1));
  const padding = (get('pad_token_id') as number | undefined) ?? 0;
  const values = (...dims: number[]): never =>
    (dims.length === 0
      ? random.normal()
      : Array.from({ length: dims[0]! }, () => values(...dims.slice(1)))) as never;
  const both = [0, 1];
  if (get('image_size') !== undefined) {
    const size = config['image_size'] as number | [number, number];
    const [height, width] = Array.isArray(size) ? size : [size, size];
    return both.map(() => ({ pixel_values: values(config['num_channels'] as number, height, width) }));
  }
  const decoder = () => ({
    decoder_input_ids: [
      config['decoder_start_token_id'] as number,
      ...ids(4),
      config['eos_token_id'] as number,
    ],
  });
  if (get('num_mel_bins') !== undefined)
    return both.map(() => ({
      input_features: values(
        config['num_mel_bins'] as number,
        2 * (config['max_source_positions'] as number),
      ),
      ...decoder(),
    }));
  const length = 13;
  return both.map((row) => {
    const kept = row === 0 ? length : 8;
    const types = config['type_vocab_size'] as number | undefined;
    return {
      input_ids: [...ids(kept), ...Array<number>(length - kept).fill(padding)],
      attention_mask: Array.from({ length }, (_, i) => Number(i < kept)),
      ...(types &&
        types > 1 && { token_type_ids: Array.from({ length }, (_, i) => (i > 3 ? types - 1 : 0)) }),
      ...(config['is_encoder_decoder'] === true && decoder()),
    };
  });
}
