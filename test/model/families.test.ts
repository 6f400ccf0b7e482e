// Families: what they make of configs and names. That a description means what transformers computes is shown by the reference of
// test/reference/model.ts, which follows it in float64.

import { describe, expect, it } from 'vitest';
import { ConfigReader, findFamily } from '../../src/model/config.js';
import type { CheckpointNames, ModelDescription, Source } from '../../src/model/description.js';
import { allFamilies } from '../../src/model/families/all.js';
import { referenceModel } from '../reference/model.js';
import type { ReferenceInput, ReferenceOutputs } from '../reference/model.js';
import { checkpointNames, numbersOf, readCheckpoint } from '../support/model-checkpoints.js';
import type { ModelCase, ModelCheckpoint, StoredTensor } from '../support/model-checkpoints.js';
import { needs } from '../support/needs.js';
import { publishedConfigs } from './published-configs.js';

const namesOf = (shapes: ReadonlyMap<string, readonly number[]>): CheckpointNames => ({
  has: (name) => shapes.has(name),
  shape: (name) => shapes.get(name),
});

function describeModel(
  config: object,
  shapes: ReadonlyMap<string, readonly number[]> = new Map(),
): ModelDescription {
  const reader = new ConfigReader(config);
  const model = findFamily(reader, allFamilies).describe(reader, namesOf(shapes));
  reader.finish();
  return model;
}

/** Everything that is named anywhere in a description. */
function sourcesOf(value: unknown): Source[] {
  if (typeof value !== 'object' || value === null || value instanceof RegExp) return [];
  if ('name' in value && 'shape' in value) return [value as Source];
  return Object.values(value).flatMap(sourcesOf);
}

/** One of a batch. */
function ownRow(tensor: StoredTensor, b: number): Float32Array | Int32Array {
  const all = numbersOf(tensor);
  const size = all.length / tensor.dims[0]!;
  return all.subarray(b * size, (b + 1) * size);
}

/** What transformers gave, one row of the batch after the other. */
function compareCase(
  checkpoint: ModelCheckpoint,
  model: ModelDescription,
  { inputs, outputs, tolerance_hint }: ModelCase,
): void {
  const batch = Math.max(...Object.values(inputs).map(({ dims }) => dims[0]!));
  const rowOf = (name: string, b: number): number[] | undefined => {
    const tensor = inputs[name];
    return tensor && b < tensor.dims[0]! ? [...ownRow(tensor, b)] : undefined;
  };
  const compared = new Set<string>();
  for (let b = 0; b < batch; b++) {
    const mask = rowOf('attention_mask', b);
    const input = {
      ids: rowOf('input_ids', b),
      types: rowOf('token_type_ids', b),
      positions: rowOf('position_ids', b),
      mask,
      decoderIds: rowOf('decoder_input_ids', b),
      pixels: rowOf('pixel_values', b),
      features: rowOf('input_features', b),
    } as ReferenceInput;
    const computed = referenceModel(model, checkpoint.values, input);
    for (const [name, expected] of Object.entries(outputs)) {
      const actual = valuesOf(computed, name);
      if (!actual) continue;
      const own = ownRow(expected, b);
      const limit = 1e-6 + 2 * (tolerance_hint[name] ?? 0);
      const padded =
        mask && actual.tokens === mask.length && !/decoder_|cross_/.test(name) ? mask : undefined;
      let most = 0;
      actual.values.forEach((row, i) => {
        if (padded?.[i % actual.tokens] === 0) return;
        row.forEach((value, j) => (most = Math.max(most, Math.abs(value - own[i * row.length + j]!))));
      });
      expect(actual.values.length * actual.values[0]!.length, name).toBe(own.length);
      expect(most, name).toBeLessThan(limit);
      compared.add(name);
    }
  }
  // What follows from these by normalisation and products alone is not the families'.
  const others =
    /^(sentence_embedding|(text|image)_embeds|logits_per_image|(encoder_|text_|vision_|decoder_)?hidden_states\.\d+)$/;
  for (const name of Object.keys(outputs)) if (!others.test(name)) expect(compared, name).toContain(name);
}

/** Rows of an output in one list; of attention weights those of all heads. */
function valuesOf(computed: ReferenceOutputs, name: string) {
  const found = computed.get(name);
  if (!found) return undefined;
  const values = found.flat() as Float64Array[];
  return { values, tokens: Array.isArray(found[0]) ? found[0].length : found.length };
}

needs('model-checkpoints').describe('families of the checkpoints beside this project', () => {
  for (const name of checkpointNames()) {
    describe(name, () => {
      it('names every tensor of the file once, by its shape, and nothing else', () => {
        const { configs, shapes } = readCheckpoint(name);
        for (const config of Object.values(configs)) {
          const model = describeModel(config, shapes);
          const sources = sourcesOf(model);
          for (const source of sources) expect(shapes.get(source.name), source.name).toEqual(source.shape);
          const named = new Set(sources.map((source) => source.name));
          const others = [...shapes.keys()].filter((tensor) => !named.has(tensor));
          expect(others.filter((tensor) => !model.buffers?.some((buffer) => buffer.test(tensor)))).toEqual(
            [],
          );
          expect([...named].filter((tensor) => /position_ids|\.attn\.(masked_)?bias$/.test(tensor))).toEqual(
            [],
          );
        }
      });

      it('means the same in both forms of its config', () => {
        const { configs, shapes } = readCheckpoint(name);
        const [first, ...others] = Object.values(configs).map((config) => describeModel(config, shapes));
        for (const other of others) expect(other).toEqual(first);
      });

      it('describes what transformers computes', () => {
        const checkpoint = readCheckpoint(name);
        const model = describeModel(checkpoint.configs['config.json']!, checkpoint.shapes);
        for (const one of checkpoint.cases) compareCase(checkpoint, model, one);
      }, 60_000);
    });
  }
});

/** Heads as `name(rows)width`, of a checkpoint that has the given tensors. */
function headsOf(config: object, tensors: Readonly<Record<string, readonly number[]>> = {}): string[] {
  const model = describeModel(config, new Map(Object.entries(tensors)));
  const heads = model.kind === 'dual' ? [...model.textHeads, ...model.visionHeads] : model.heads;
  return heads.map(({ name, of, steps }) => {
    const last = steps.filter((step) => step.kind === 'matrix').at(-1);
    return `${name}(${typeof of === 'string' ? of : of.head})${last?.matrix.outFeatures ?? ''}`;
  });
}

const BERT = publishedConfigs['bert-base-uncased']!;
const ROBERTA = publishedConfigs['roberta-base']!;
const DISTILBERT = publishedConfigs['distilbert-base-uncased-finetuned-sst-2-english']!;
const LLAMA = publishedConfigs['Llama-3.2-1B']!;
const MODERNBERT = publishedConfigs['ModernBERT-base']!;
const pooler = { 'bert.pooler.dense.weight': [768, 768] };
const classifier = (count: number) => ({ 'classifier.weight': [count, 768], 'classifier.bias': [count] });

describe('heads are those that the checkpoint has', () => {
  const of = (architecture: string) => ({ architectures: [architecture] });

  it.each([
    ['an encoder alone', BERT, {}, []],
    ['a pooler', BERT, pooler, ['poolerOutput(first)768']],
    [
      'a reranker',
      { ...BERT, ...of('BertForSequenceClassification') },
      { ...pooler, ...classifier(1) },
      ['poolerOutput(first)768', 'logits(poolerOutput)1'],
    ],
    [
      'tokens, and a pooler that is left over',
      { ...BERT, ...of('BertForTokenClassification') },
      { ...pooler, ...classifier(9) },
      ['poolerOutput(first)768', 'logits(tokens)9'],
    ],
    ['answers', BERT, { 'qa_outputs.weight': [2, 768] }, ['logits(tokens)2']],
    [
      'guessed words beside the next sentence of a model for the first',
      BERT,
      {
        ...pooler,
        'cls.predictions.transform.dense.weight': [768, 768],
        'cls.seq_relationship.weight': [2, 768],
      },
      ['poolerOutput(first)768', 'logits(tokens)30522', 'seqRelationshipLogits(poolerOutput)2'],
    ],
    [
      'the next sentence alone',
      { ...BERT, ...of('BertForNextSentencePrediction') },
      { ...pooler, 'cls.seq_relationship.weight': [2, 768] },
      ['poolerOutput(first)768', 'logits(poolerOutput)2'],
    ],
    [
      'RoBERTa for sequences',
      ROBERTA,
      { 'classifier.dense.weight': [768, 768], 'classifier.out_proj.weight': [3, 768] },
      ['logits(first)3'],
    ],
    ['RoBERTa for tokens', ROBERTA, classifier(5), ['logits(tokens)5']],
    [
      'DistilBERT for sequences',
      DISTILBERT,
      { 'pre_classifier.weight': [768, 768], ...classifier(2) },
      ['logits(first)2'],
    ],
    [
      'DistilBERT for tokens',
      { ...DISTILBERT, ...of('DistilBertForTokenClassification') },
      classifier(9),
      ['logits(tokens)9'],
    ],
    ['ModernBERT for sequences', MODERNBERT, classifier(3), ['logits(mean)3']],
    [
      'ModernBERT by its first token',
      { ...MODERNBERT, classifier_pooling: 'cls' },
      classifier(3),
      ['logits(first)3'],
    ],
    [
      'ModernBERT for tokens',
      { ...MODERNBERT, ...of('ModernBertForTokenClassification') },
      classifier(3),
      ['logits(tokens)3'],
    ],
    ['a tied language model', LLAMA, {}, ['logits(tokens)128256']],
    ['a decoder for sequences', LLAMA, { 'score.weight': [1, 2048] }, ['logits(last)1']],
    ['a decoder for tokens', LLAMA, { 'score.weight': [7, 2048], 'score.bias': [7] }, ['logits(tokens)7']],
    ['a decoder without head', { ...LLAMA, tie_word_embeddings: false, ...of('LlamaModel') }, {}, []],
    [
      'BART for sequences',
      publishedConfigs['bart-large-cnn']!,
      { 'classification_head.out_proj.weight': [3, 1024] },
      ['logits(lastEnd)3'],
    ],
    [
      'ViT with a pooler',
      publishedConfigs['vit-base-patch16-224']!,
      { 'vit.pooler.dense.weight': [768, 768] },
      ['poolerOutput(first)768'],
    ],
    [
      'DeiT without a teacher',
      { ...publishedConfigs['deit-base-distilled-patch16-224']! },
      classifier(1000),
      ['logits(first)1000'],
    ],
    ['DINOv2 alone', publishedConfigs['dinov2-small']!, {}, ['poolerOutput(first)']],
    ['CLIP', publishedConfigs['clip-vit-base-patch32']!, {}, ['features(end)512', 'features(first)512']],
    [
      "CLIP's texts alone",
      { ...publishedConfigs['clip-vit-base-patch32']!.text_config!, eos_token_id: 2 },
      {},
      ['poolerOutput(end)'],
    ],
    [
      "CLIP's pictures alone",
      publishedConfigs['clip-vit-base-patch32']!.vision_config as object,
      { 'visual_projection.weight': [512, 768] },
      ['features(first)512'],
    ],
  ])('%s', (_, config, tensors, expected) => {
    expect(headsOf(config, tensors as never)).toEqual(expected);
  });

  it('an encoder of T5 alone', () => {
    const config = { ...publishedConfigs['flan-t5-small']!, architectures: ['T5EncoderModel'] };
    expect(describeModel(config)).toMatchObject({ kind: 'encoder', heads: [] });
  });

  it('a language model that is not tied wants its own weight', () => {
    const config = { ...LLAMA, tie_word_embeddings: false };
    expect(sourcesOf(describeModel(config)).map(({ name }) => name)).toContain('lm_head.weight');
    const copies = describeModel(LLAMA).buffers!;
    expect(copies.some((copy) => copy.test('lm_head.weight'))).toBe(true);
    expect(copies.some((copy) => copy.test('lm_headxweight'))).toBe(false);
  });
});

describe('names', () => {
  const first = (config: object, tensors: Readonly<Record<string, readonly number[]>>): string =>
    sourcesOf(describeModel(config, new Map(Object.entries(tensors))))[0]!.name;

  it('may have a prefix or not', () => {
    const name = 'embeddings.word_embeddings.weight';
    expect(first(BERT, {})).toBe(`bert.${name}`);
    expect(first(BERT, { [name]: [1] })).toBe(name);
    expect(first(LLAMA, { 'transformer.embed_tokens.weight': [1] })).toBe('transformer.embed_tokens.weight');
    expect(first(publishedConfigs['opt-125m']!, { 'decoder.embed_tokens.weight': [1] })).toBe(
      'decoder.embed_tokens.weight',
    );
    expect(first(publishedConfigs['t5-small']!, { 'encoder.embed_tokens.weight': [1] })).toBe(
      'encoder.embed_tokens.weight',
    );
  });

  it('of norms may be gamma and beta', () => {
    const model = describeModel(BERT, new Map([['bert.embeddings.LayerNorm.gamma', [768]]]));
    const names = sourcesOf(model).map((source) => source.name);
    expect(names).toContain('bert.embeddings.LayerNorm.beta');
    expect(names).toContain('bert.encoder.layer.0.output.LayerNorm.weight');
  });
});

describe('settings', () => {
  const blocksOf = (config: object) => {
    const model = describeModel(config);
    if (model.kind === 'dual' || model.kind === 'encoder-decoder') throw new Error('not one stack');
    return model.stack.blocks;
  };
  const windowsOf = (config: object) => blocksOf(config).map(({ attention }) => attention.window?.left);

  it('say where windows are', () => {
    const mistral = publishedConfigs['Mistral-7B-v0.1']!;
    expect(windowsOf({ ...mistral, num_hidden_layers: 2 })).toEqual([4095, 4095]);
    expect(windowsOf({ ...mistral, num_hidden_layers: 2, sliding_window: null })).toEqual([
      undefined,
      undefined,
    ]);
    const qwen = {
      ...publishedConfigs['Qwen2.5-0.5B']!,
      num_hidden_layers: 3,
      max_window_layers: 1,
      sliding_window: 8,
    };
    expect(windowsOf(qwen)).toEqual([undefined, undefined, undefined]);
    expect(windowsOf({ ...qwen, use_sliding_window: true })).toEqual([undefined, 7, 7]);
    const gemma = { ...publishedConfigs['gemma-3-1b-it']!, num_hidden_layers: 4, sliding_window_pattern: 2 };
    expect(windowsOf(gemma)).toEqual([511, undefined, 511, undefined]);
    const modernbert = { ...MODERNBERT, num_hidden_layers: 4 };
    expect(windowsOf(modernbert)).toEqual([undefined, 64, 64, undefined]);
    const types = ['full_attention', 'sliding_attention', 'full_attention', 'sliding_attention'];
    expect(windowsOf({ ...gemma, layer_types: types })).toEqual([undefined, 511, undefined, 511]);
    expect(windowsOf({ ...gemma, use_bidirectional_attention: true })[0]).toBe(256);
  });

  it('say how positions rotate, in both forms', () => {
    const rotaryOf = (config: object) => blocksOf(config)[0]!.attention.rotary;
    const { rope_theta, rope_scaling, ...plain } = LLAMA;
    expect(rotaryOf(LLAMA)).toEqual(
      rotaryOf({ ...plain, rope_parameters: { ...(rope_scaling as object), rope_theta } }),
    );
    expect(rotaryOf({ ...plain, rope_theta: 5 })).toEqual({ rotaryDim: 64, base: 5, scaling: undefined });
    const yarn = { type: 'yarn', factor: 4, original_max_position_embeddings: 32768, beta_fast: 16 };
    expect(rotaryOf({ ...LLAMA, rope_scaling: yarn })?.scaling).toMatchObject({
      type: 'yarn',
      factor: 4,
      originalLength: 32768,
      betaFast: 16,
    });
    const mscale = rotaryOf({ ...LLAMA, rope_scaling: { ...yarn, mscale: 1, mscale_all_dim: 0.5 } })?.scaling;
    expect(mscale).toHaveProperty('attentionFactor', (0.1 * Math.log(4) + 1) / (0.05 * Math.log(4) + 1));
    expect(rotaryOf({ ...LLAMA, rope_scaling: { type: 'dynamic', factor: 2 } })?.scaling).toEqual({
      type: 'dynamic',
      factor: 2,
      originalLength: 131072,
    });
    const gemma = { ...publishedConfigs['gemma-3-1b-it']!, rope_scaling: { rope_type: 'linear', factor: 8 } };
    const [near, far] = [0, 5].map((layer) => blocksOf(gemma)[layer]!.attention.rotary);
    expect(near).toEqual({ rotaryDim: 256, base: 10000, scaling: undefined });
    expect(far).toEqual({ rotaryDim: 256, base: 1e6, scaling: { type: 'linear', factor: 8 } });
  });

  it('change what they say', () => {
    const gpt2 = publishedConfigs['gpt2']!;
    const scalesOf = (config: object) =>
      blocksOf({ ...config, n_layer: 2 }).map(({ attention }) => attention.scale);
    expect(scalesOf(gpt2)).toEqual([0.125, 0.125]);
    expect(scalesOf({ ...gpt2, scale_attn_by_inverse_layer_idx: true })).toEqual([0.125, 0.0625]);
    expect(scalesOf({ ...gpt2, scale_attn_weights: false })).toEqual([1, 1]);
    const opt350 = {
      ...publishedConfigs['opt-125m']!,
      do_layer_norm_before: false,
      word_embed_proj_dim: 512,
      layer_norm_elementwise_affine: false,
      enable_bias: false,
    };
    const model = describeModel(opt350);
    if (model.kind !== 'decoder') throw new Error(model.kind);
    const { input, norm, projection, blocks } = model.stack;
    expect(input).toMatchObject({
      projection: { inFeatures: 512, outFeatures: 768 },
      positions: { afterProjection: true },
    });
    expect([norm, projection?.outFeatures, blocks[0]!.attention.before]).toEqual([undefined, 512, undefined]);
    expect(blocks[0]!.attention.after).toMatchObject({ weight: undefined, bias: undefined });
    expect(sourcesOf(blocks).filter(({ name }) => name.endsWith('.bias'))).toEqual([]);
    const dinov2 = blocksOf({ ...publishedConfigs['dinov2-small']!, use_swiglu_ffn: true })[0]!.feedForward!;
    expect(dinov2.gate!.parts[0]!.weight).toMatchObject({ shape: [2048, 384], from: 0, rows: 1024 });
    expect(dinov2.up.parts[0]!.bias).toMatchObject({ shape: [2048], from: 1024, rows: 1024 });
  });
});
