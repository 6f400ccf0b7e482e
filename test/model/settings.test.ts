// Every setting of a config counts: another value changes what comes out, or is an error that names it. What changes nothing is listed
// here, by hand and with a reason, so that a setting that is overlooked shows.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AttentionError, createRuntime } from 'wasm-attention';
import type { Runtime, Tensor } from 'wasm-attention';
import { loadModel } from 'wasm-attention/model';
import { modelNames, readModelFolder } from '../conformance/model-cases.js';
import { needs } from '../support/needs.js';
import type { Config } from '../support/model-variants.js';
import { smallModel } from '../support/small-models.js';

/** Settings that change no output of `forward`, whatever the family. */
const BOOKKEEPING = new RegExp(
  [
    // Written down for the library.
    '^(architectures|torch_dtype|dtype|transformers_version|_name_or_path|id2label|label2id|return_dict)$',
    // Training.
    '^(.*drop.*|.*_range|init_std|initializer_.*|layerdrop|drop_path_rate|layerscale_value|logit_scale_init_value|tie_weights_)$',
    // How it is computed; tokens and generation. Families in which a token counts are below.
    '^(use_cache|pretraining_tp|slow_but_exact|reference_compile|deterministic_flash_attn|encoder_stride)$',
    '^(.*_token_id|.*suppress_tokens)$',
  ].join('|'),
);

/** Settings that change nothing in a family. */
const WITHOUT_EFFECT: Readonly<Record<string, readonly string[]>> = {
  // Rotary positions go on beyond it.
  ...Object.fromEntries(
    [
      'llama',
      'mistral',
      'qwen2',
      'qwen3',
      'olmo2',
      'gemma2',
      'gemma3_text',
      'gpt_neox',
      'phi',
      'modernbert',
    ].map((type) => [type, ['max_position_embeddings']]),
  ),
  gptj: ['n_positions', 'n_ctx', 'rotary'],
  gpt2: ['n_ctx'],
  // hidden_activation counts.
  gemma2: ['max_position_embeddings', 'hidden_act'],
  gemma3_text: ['max_position_embeddings', 'hidden_act'],
  // norm_eps counts; the model has rotary positions.
  modernbert: ['max_position_embeddings', 'layer_norm_eps', 'position_embedding_type'],
  // Both stacks have their own.
  bart: ['num_hidden_layers', 'is_encoder_decoder'],
  whisper: ['num_hidden_layers', 'is_encoder_decoder'],
  // feed_forward_proj counts.
  t5: ['dense_act_fn', 'is_gated_act', 'is_encoder_decoder'],
  // Stored like learned ones.
  distilbert: ['sinusoidal_pos_embds'],
  clip: [
    'text_config.projection_dim',
    'vision_config.projection_dim',
    'text_config.model_type',
    'vision_config.model_type',
  ],
};

/** Token ids that are part of the model. */
const TOKENS: Readonly<Record<string, readonly string[]>> = {
  roberta: ['pad_token_id'],
  clip: ['text_config.eos_token_id'],
};

/** Whether rotary positions are scaled by the length of the config. */
function needsLength(config: Config): boolean {
  const scaling = (config['rope_scaling'] ?? config['rope_parameters'] ?? {}) as Config;
  const type = scaling['rope_type'] ?? scaling['type'];
  return type === 'dynamic' || (type === 'yarn' && scaling['original_max_position_embeddings'] === undefined);
}

/** Settings that count only beside others, which another model has. */
function isIdle(config: Config, path: string): boolean {
  const windows = config['use_sliding_window'] === true;
  switch (path) {
    case 'use_sliding_window':
      return (
        config['sliding_window'] == null ||
        Number(config['max_window_layers']) >= Number(config['num_hidden_layers'])
      );
    case 'sliding_window':
      return String(config['model_type']).startsWith('qwen') && !windows;
    case 'global_attn_every_n_layers':
      return Array.isArray(config['layer_types']);
    case 'sparse_prediction':
      return true; // Of training.
    case 'max_window_layers':
      return config['use_sliding_window'] !== true || Array.isArray(config['layer_types']);
    case 'partial_rotary_factor':
      return config['rope_parameters'] !== undefined;
    case 'rotary_emb_base':
      // One pair of channels rotates by its position, whatever the base.
      return (
        Number(config['rotary_pct']) * Number(config['hidden_size']) <
        4 * Number(config['num_attention_heads'])
      );
    case 'hidden_act':
      return config['use_swiglu_ffn'] === true;
    case 'tie_word_embeddings':
      return /(SequenceClassification|Model)$/.test(String(config['architectures']));
    case 'max_position_embeddings':
      return (
        !needsLength(config) &&
        !/^(bert|roberta|distilbert|albert|mpnet|opt|bart)$/.test(String(config['model_type']))
      );
    case 'n_positions':
      return config['position_embedding'] === 'rotary';
    case 'classifier_pooling':
      return !String(config['architectures']).endsWith('SequenceClassification');
    case 'decoder_bias':
      return !String(config['architectures']).endsWith('MaskedLM');
    default:
      return false;
  }
}

/** Other values of a setting, each of which has to count. */
function otherValues(name: string, value: unknown): unknown[] {
  if (typeof value === 'boolean') return [!value];
  if (typeof value === 'string') {
    if (/act|feed_forward_proj/.test(name))
      return ['relu', 'silu', 'gelu', 'gelu_new', 'quick_gelu', 'sin'].filter(
        (word) => word !== value && !(value.startsWith('gelu_') && word === 'gelu_new'),
      );
    return [`${value}x`];
  }
  if (typeof value === 'number') {
    if (/eps/.test(name)) return [0.3];
    // Far enough away for what counts in whole pairs or halves.
    return Number.isInteger(value)
      ? [value * 2, Math.floor(value / 2)].filter((other) => other > 0 && other !== value)
      : [value * 1.5];
  }
  if (value === null) {
    if (name === 'rope_scaling') return [{ rope_type: 'linear', factor: 2 }];
    return [3];
  }
  if (Array.isArray(value))
    return [value.slice(1), [...(value as unknown[])].reverse()].filter(
      (other) => String(other) !== String(value),
    );
  return [];
}

/** Every setting with its path and a config in which it has another value. */
function changesOf(config: Config): { path: string; value: unknown; changed: Config }[] {
  return Object.entries(config).flatMap(([name, value]) => {
    if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
      return changesOf(value as Config).map((change) => ({
        ...change,
        path: `${name}.${change.path}`,
        changed: { ...config, [name]: change.changed },
      }));
    }
    return otherValues(name, value).map((other) => ({
      path: name,
      value: other,
      changed: { ...config, [name]: other },
    }));
  });
}

function isExempt(config: Config, path: string): boolean {
  const type = String(config['model_type']);
  if (TOKENS[type]?.includes(path)) return false;
  if (isIdle(config, path)) return true;
  if (WITHOUT_EFFECT[type]?.includes(path))
    return !(path === 'max_position_embeddings' && needsLength(config));
  const own = path.split('.');
  return BOOKKEEPING.test(own.at(-1)!) || /^(id2label|label2id)\./.test(path);
}

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createRuntime({ build: 'simd' });
});
afterAll(() => runtime.dispose());

interface Loadable {
  readonly config: Config;
  readonly weights: unknown;
  readonly inputs: unknown;
}

function numbersOf(value: unknown): number[] {
  if (value === null || typeof value !== 'object') return [];
  if ('dtype' in value) return [...(value as Tensor).toFloat32Array()];
  return Object.values(value).flatMap(numbersOf);
}

/** Everything that comes out, or the error. */
async function outcomeOf({ config, weights, inputs }: Loadable): Promise<string> {
  try {
    const model = await loadModel({ config, weights: weights as never, runtime });
    try {
      const output = model.forward(inputs as never, { returnWeights: true, returnHiddenStates: true });
      const bits = Buffer.from(Float32Array.from(numbersOf(output)).buffer).toString('base64');
      output.dispose();
      return bits;
    } finally {
      model.dispose();
    }
  } catch (error) {
    if (error instanceof AttentionError) return `${error.code} ${error.message}`;
    throw error;
  }
}

async function ignoredSettings(model: Loadable): Promise<string[]> {
  const usual = await outcomeOf(model);
  expect(usual).not.toMatch(/^[A-Z]+_?[A-Z]* /);
  const ignored: string[] = [];
  for (const { path, value, changed } of changesOf(model.config)) {
    if (isExempt(model.config, path)) continue;
    if ((await outcomeOf({ ...model, config: changed })) === usual)
      ignored.push(`${path}: ${JSON.stringify(value)}`);
  }
  return ignored;
}

/** Models in which all settings of their family are in use between them. */
const TITLES = [
  'llama: biases everywhere',
  'llama: linear scaling',
  'llama: dynamic scaling, beyond the length',
  'mistral: a window',
  'mistral: no window',
  ...[
    'qwen2: windows from a layer on',
    'qwen2: windows as listed',
    'qwen3: windows',
    'olmo2: biases, shared heads',
  ],
  ...[
    'gemma2: usual',
    'gemma2: windows as listed',
    'gemma3_text: usual',
    'gemma3_text: linear scaling of layers without a window',
  ],
  ...[
    'gpt2: usual',
    'gpt2: no scale',
    'gpt2: a scale by layer',
    'gpt2: another inner size, odd sizes',
    'gptj: usual',
    'attention_only: usual',
    'attention_only: rotary positions',
  ],
  ...[
    'gpt_neox: usual',
    'gpt_neox: no biases of attention',
    'phi: norms of queries and keys',
    'bloom: usual',
  ],
  ...[
    'bloom: residual after the norm',
    'opt: usual',
    'opt: norms after sublayers, narrow embeddings',
    'opt: norms without weights',
  ],
  ...[
    'bert: words',
    'bert: a decoder',
    'roberta: words, relu',
    'mpnet: words',
    'albert: two groups',
    'albert: two layers in a group',
  ],
  ...[
    'distilbert: words, relu',
    'modernbert: words',
    'modernbert: biases everywhere',
    'modernbert: classification of the mean, relu',
  ],
  ...[
    't5: usual',
    't5: gates, untied, other counts',
    'bart: usual',
    'whisper: usual',
    'vit: usual',
    'vit: no head, a pooler of its own',
  ],
  ...['vit: oblong pictures and patches', 'deit: with a teacher', 'dinov2: usual', 'dinov2: gates'],
];

/** Scalings over many pairs of channels, so that there are some on each part of a ramp. */
const SCALINGS: readonly Config[] = [
  {
    ...{ rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4 },
    original_max_position_embeddings: 256,
  },
  {
    ...{ rope_type: 'yarn', factor: 4, original_max_position_embeddings: 512 },
    ...{ beta_fast: 20, beta_slow: 2, attention_factor: 0.8 },
  },
  {
    ...{ rope_type: 'yarn', factor: 4, original_max_position_embeddings: 512 },
    mscale: 0.7,
    mscale_all_dim: 0.4,
  },
];

describe('each setting counts', () => {
  for (const scaling of SCALINGS) {
    it(`llama: ${JSON.stringify(scaling)}`, async () => {
      const changes = { head_dim: 64, max_position_embeddings: 2048, rope_scaling: scaling };
      expect(await ignoredSettings(smallModel('llama: biases everywhere', changes))).toEqual([]);
    });
  }
  for (const title of TITLES)
    it(title, async () => expect(await ignoredSettings(smallModel(title))).toEqual([]));
});

needs('model-checkpoints').describe('each setting of a published config counts', () => {
  for (const name of modelNames()) {
    it(name, async () => {
      const { configs, weights, cases } = readModelFolder(name);
      for (const [file, config] of Object.entries(configs)) {
        const ignored = await ignoredSettings({
          config: config as Config,
          weights,
          inputs: cases[0]!.inputs,
        });
        expect(ignored, file).toEqual([]);
      }
    });
  }
});
