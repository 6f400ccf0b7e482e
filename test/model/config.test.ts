// ConfigReader: settings of every kind, what is left unread, hostile configs. And configs as published repositories have them.

import { describe, expect, it } from 'vitest';
import { ConfigReader, findFamily } from '../../src/model/config.js';
import type { CheckpointNames, ModelDescription } from '../../src/model/description.js';
import { allFamilies } from '../../src/model/families/all.js';
import { bert, gpt2, llama } from '../../src/model/families/index.js';
import { AttentionError } from '../../src/runtime/errors.js';
import { publishedConfigs } from './published-configs.js';

const NONE: CheckpointNames = { has: () => false, shape: () => undefined };

function describeModel(config: unknown, ignored: readonly string[] = []): ModelDescription {
  const reader = new ConfigReader(config, ignored);
  const model = findFamily(reader, allFamilies).describe(reader, NONE);
  reader.finish();
  return model;
}

/** The error of a call, which has to be one of the package's. */
function errorOf(call: () => unknown): AttentionError {
  try {
    call();
  } catch (error) {
    if (error instanceof AttentionError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const BERT = publishedConfigs['bert-base-uncased']!;
const LLAMA = publishedConfigs['Llama-3.2-1B']!;

describe('ConfigReader', () => {
  it.each([
    ['a list', []],
    ['null', null],
    ['text', '{}'],
    ['nothing', undefined],
    ['a number', 3],
  ])('refuses %s in place of settings', (_, config) => {
    expect(errorOf(() => new ConfigReader(config))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      argument: 'config',
    });
  });

  it('reads settings of each kind, and fallbacks where they are absent or null', () => {
    const config = new ConfigReader({
      width: 8,
      factor: 0.5,
      flag: true,
      word: 'b',
      nothing: null,
      names: ['x', 'y'],
      one: 3,
      some: [4, 5],
    });
    expect(config.integer('width')).toBe(8);
    expect(config.integer('nothing', 2)).toBe(2);
    expect(config.integer('missing|width')).toBe(8);
    expect(config.number('factor')).toBe(0.5);
    expect(config.boolean('flag')).toBe(true);
    expect(config.boolean('other', false)).toBe(false);
    expect(config.choice('word', { a: 1, b: 2 })).toBe(2);
    expect(config.choice('nothing', { a: 1, b: 2 }, 'a')).toBe(1);
    expect(config.words('names')).toEqual(['x', 'y']);
    expect(config.words('nothing')).toBeUndefined();
    expect([config.integers('one'), config.integers('some'), config.integers('nothing')]).toEqual([
      [3],
      [4, 5],
      [],
    ]);
    expect([
      config.optional('factor', 9),
      config.optional('nothing', 9),
      config.optional('missing', 9),
    ]).toEqual([0.5, undefined, 9]);
    config.finish();
  });

  it.each([
    ['an integer as text', (c: ConfigReader) => c.integer('text'), 'config.text', '"8"'],
    ['a fraction for an integer', (c: ConfigReader) => c.integer('half'), 'config.half', '0.5'],
    ['too small', (c: ConfigReader) => c.integer('zero'), 'config.zero', '0'],
    ['absurd', (c: ConfigReader) => c.integer('huge'), 'config.huge', '1e+300'],
    ['missing', (c: ConfigReader) => c.integer('missing'), 'config.missing', 'undefined'],
    ['not finite', (c: ConfigReader) => c.number('infinite'), 'config.infinite', 'Infinity'],
    ['negative', (c: ConfigReader) => c.number('negative'), 'config.negative', '-1'],
    ['a number for a flag', (c: ConfigReader) => c.boolean('zero'), 'config.zero', '0'],
    ['a number for a word', (c: ConfigReader) => c.choice('zero', { a: 1 }), 'config.zero', '0'],
    ['a word for a list', (c: ConfigReader) => c.words('text'), 'config.text', '"8"'],
    ['text for ids', (c: ConfigReader) => c.integers('text'), 'config.text', '"8"'],
    ['a list for a section', (c: ConfigReader) => c.section('list'), 'config.list', '[1]'],
  ])('names a value that is %s', (_, read, argument, received) => {
    const config = {
      text: '8',
      half: 0.5,
      zero: 0,
      huge: 1e300,
      infinite: Infinity,
      negative: -1,
      list: [1],
    };
    expect(errorOf(() => read(new ConfigReader(config)))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      argument,
      received,
    });
  });

  it('tells words that it does not know from values that are no words', () => {
    const error = errorOf(() => new ConfigReader({ act: 'mish' }).choice('act', { relu: 1, gelu: 2 }));
    expect(error).toMatchObject({
      code: 'UNSUPPORTED',
      argument: 'config.act',
      expected: 'one of relu, gelu',
    });
    for (const word of ['__proto__', 'constructor', 'toString'])
      expect(errorOf(() => new ConfigReader({ act: word }).choice('act', { relu: 1 })).code).toBe(
        'UNSUPPORTED',
      );
  });

  it('refuses two names for one setting that contradict each other', () => {
    expect(new ConfigReader({ a: 1, b: 1 }).integer('a|b')).toBe(1);
    expect(errorOf(() => new ConfigReader({ a: 1, b: 2 }).integer('a|b'))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      argument: 'config.b',
    });
  });

  it('names every setting that nobody read, those of sections too, and says how to go on', () => {
    const config = new ConfigReader({
      width: 1,
      strange: 3,
      other: 'x',
      off: false,
      none: null,
      section: { a: 1, b: 2 },
    });
    config.integer('width');
    config.section('section')!.integer('a');
    const error = errorOf(() => config.finish());
    expect(error.code).toBe('UNSUPPORTED');
    expect(error.argument).toBe('config.strange, config.other, config.section.b');
    expect(error.message).toContain(`ignoreSettings: ['strange', 'other', 'section.b']`);
    expect(() => {
      const again = new ConfigReader({ width: 1, strange: 3, section: { b: 2 } }, ['strange', 'section.b']);
      again.integer('width');
      again.section('section');
      again.finish();
    }).not.toThrow();
  });

  it('ignores the settings that are named, and no others of that name', () => {
    const config = new ConfigReader({ type: 'a', section: { type: 'b' } }, ['section.type']);
    expect(config.choice('type', { a: 1 })).toBe(1);
    expect(config.section('section')!.has('type')).toBe(false);
    expect(errorOf(() => new ConfigReader({}, 'type' as never))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      argument: 'ignoreSettings',
    });
  });

  it('passes over what has no effect', () => {
    const settings = {
      transformers_version: '4.57.6',
      torch_dtype: 'bfloat16',
      dtype: 'float32',
      _name_or_path: '/somewhere',
      hidden_dropout_prob: 0.1,
      attn_pdrop: 0.1,
      layerdrop: 0.2,
      initializer_range: 0.02,
      bos_token_id: 1,
      num_beams: 4,
      output_attentions: true,
      pruned_heads: {},
      id2label: { 0: 'A' },
      suppress_tokens: [1, 2],
    };
    expect(() => new ConfigReader(settings).finish()).not.toThrow();
  });

  it('takes nothing from prototypes, and names what JSON puts there', () => {
    const config = Object.create({ hidden_size: 4 }) as object;
    expect(errorOf(() => new ConfigReader(config).integer('hidden_size')).received).toBe('undefined');
    const hostile = JSON.parse('{ "__proto__": { "hidden_size": 4 }, "constructor": 1 }') as object;
    const reader = new ConfigReader(hostile);
    expect(reader.has('hidden_size')).toBe(false);
    expect(errorOf(() => reader.finish()).argument).toBe('config.__proto__, config.constructor');
  });
});

describe('findFamily', () => {
  it('finds by model_type', () => {
    expect(findFamily(new ConfigReader({ model_type: 'llama' }), allFamilies)).toBe(llama);
    expect(allFamilies.length).toBe(new Set(allFamilies).size);
    const types = allFamilies.flatMap(({ modelTypes }) => modelTypes);
    expect(new Set(types).size).toBe(types.length);
  });

  it('lists those it has been given where there is another', () => {
    const error = errorOf(() => findFamily(new ConfigReader({ model_type: 'mamba' }), [bert, gpt2]));
    expect(error).toMatchObject({
      code: 'UNSUPPORTED',
      argument: 'config.model_type',
      expected: 'one of bert, gpt2',
      received: '"mamba"',
    });
    expect(errorOf(() => findFamily(new ConfigReader({ model_type: '__proto__' }), [bert])).code).toBe(
      'UNSUPPORTED',
    );
    expect(errorOf(() => findFamily(new ConfigReader({}), [bert]))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      argument: 'config.model_type',
    });
  });
});

describe('published configs', () => {
  it.each(Object.entries(publishedConfigs))('%s is accepted as it stands', (_, config) => {
    const { kind } = describeModel(config);
    expect(['encoder', 'decoder', 'encoder-decoder', 'vision', 'dual']).toContain(kind);
  });

  it('refuses whatever else might change the result', () => {
    const error = errorOf(() =>
      describeModel({ ...BERT, hidden_sizes: [3], quantization_config: { bits: 4 } }),
    );
    expect(error).toMatchObject({
      code: 'UNSUPPORTED',
      argument: 'config.hidden_sizes, config.quantization_config',
    });
    expect(() => describeModel({ ...BERT, hidden_sizes: [3] }, ['hidden_sizes'])).not.toThrow();
  });

  it.each([
    [BERT, { position_embedding_type: 'relative_key' }, 'config.position_embedding_type'],
    [BERT, { pruned_heads: { 0: [1] } }, 'config.pruned_heads'],
    [BERT, { add_cross_attention: true }, 'config.add_cross_attention'],
    [BERT, { hidden_act: 'mish' }, 'config.hidden_act'],
    [LLAMA, { rope_scaling: { rope_type: 'longrope', factor: 2 } }, 'config.rope_scaling.rope_type'],
    [
      LLAMA,
      { rope_scaling: { rope_type: 'yarn', factor: 2, truncate: false } },
      'config.rope_scaling.truncate',
    ],
    [
      LLAMA,
      { rope_scaling: { rope_type: 'linear', factor: 2, mrope_section: [1] } },
      'config.rope_scaling.mrope_section',
    ],
    [LLAMA, { rope_interleaved: true }, 'config.rope_interleaved'],
    [LLAMA, { partial_rotary_factor: 0.5 }, 'config.partial_rotary_factor'],
    [LLAMA, { sliding_window: 8 }, 'config.sliding_window'],
    [publishedConfigs['gpt2']!, { add_cross_attention: true }, 'config.add_cross_attention'],
    [publishedConfigs['whisper-tiny']!, { scale_embedding: true }, 'config.scale_embedding'],
    [publishedConfigs['whisper-tiny']!, { use_weighted_layer_sum: true }, 'config.use_weighted_layer_sum'],
    [publishedConfigs['gemma-3-1b-it']!, { attn_logit_softcapping: 50 }, 'config.attn_logit_softcapping'],
    [
      publishedConfigs['gemma-2-2b']!,
      { layer_types: Array(26).fill('chunked_attention') },
      'config.layer_types',
    ],
    [publishedConfigs['bart-large-cnn']!, { normalize_embedding: false }, 'config.normalize_embedding'],
  ])('a setting that is not supported is named (%#)', (config, change, argument) => {
    expect(errorOf(() => describeModel({ ...config, ...change }))).toMatchObject({
      code: 'UNSUPPORTED',
      argument,
    });
  });

  it.each([
    [BERT, { hidden_size: '768' }, 'config.hidden_size'],
    [BERT, { hidden_size: 770 }, 'config.hidden_size'],
    [BERT, { num_attention_heads: 0 }, 'config.num_attention_heads'],
    [BERT, { num_hidden_layers: 1e9 }, 'config.num_hidden_layers'],
    [BERT, { layer_norm_eps: -1 }, 'config.layer_norm_eps'],
    [BERT, { vocab_size: undefined }, 'config.vocab_size'],
    [BERT, { architectures: 'BertModel' }, 'config.architectures'],
    [LLAMA, { num_key_value_heads: 5 }, 'config.num_key_value_heads'],
    [LLAMA, { head_dim: [64] }, 'config.head_dim'],
    [LLAMA, { rope_scaling: 'linear' }, 'config.rope_scaling'],
    [LLAMA, { rope_scaling: { type: 'linear', factor: '2' } }, 'config.rope_scaling.factor'],
    [
      LLAMA,
      { rope_scaling: { rope_type: 'llama3', factor: 8 } },
      'config.rope_scaling.original_max_position_embeddings',
    ],
    [LLAMA, { eos_token_id: [1, 'x'] }, 'config.eos_token_id'],
    [publishedConfigs['gemma-2-2b']!, { layer_types: ['full_attention'] }, 'config.layer_types'],
    [publishedConfigs['vit-base-patch16-224']!, { patch_size: 500 }, 'config.patch_size'],
    [publishedConfigs['vit-base-patch16-224']!, { image_size: [1, 2, 3] }, 'config.image_size'],
    [
      publishedConfigs['clip-vit-base-patch32']!,
      { text_config: { hidden_size: 'x' } },
      'config.text_config.hidden_size',
    ],
  ])('a value that makes no sense is named (%#)', (config, change, argument) => {
    expect(errorOf(() => describeModel({ ...config, ...change }))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      argument,
    });
  });
});
