// Weights of new models: the names and shapes that checkpoints have, of every family and head; values as they should begin; the same
// bits everywhere; and models that learn from them.

import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRuntime } from 'wasm-attention';
import type { Runtime, Tensor } from 'wasm-attention';
import { allFamilies } from '../../src/model/families/all.js';
import { parseSafetensors } from '../../src/checkpoints/safetensors.js';
import { bert, gpt2, inspectCheckpoint, loadModel, model as modelPack } from 'wasm-attention/model';
import { AdamW, initialWeights, meanSquaredError, Trainable, training } from 'wasm-attention/training';
import type { InitialWeightsOptions } from 'wasm-attention/training';
import { modelNames, readModelFolder } from '../conformance/model-cases.js';
import { Random } from '../reference/random.js';
import { needs } from '../support/needs.js';
import { inputsFor, VARIANTS } from '../support/model-variants.js';
import type { Config } from '../support/model-variants.js';
import { batchOf, expectedOutputs, RandomWeights } from '../support/random-checkpoint.js';

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createRuntime({ build: 'simd', packs: [modelPack, training] });
});
afterAll(() => runtime.dispose());

/** Published checkpoints may leave out what stands before all names, and old ones name norms otherwise. */
const bare = (name: string) =>
  name
    .replace(
      /^((bert|roberta|distilbert|albert|mpnet|vit|deit|dinov2|gpt_neox|transformer|text_model|vision_model)\.)+/,
      '',
    )
    .replace(/^(model\.)?(decoder\.)?/, '')
    .replace(/\.gamma$/, '.weight')
    .replace(/\.beta$/, '.bias');

const shapesOf = (file: Uint8Array) =>
  Object.fromEntries(Object.entries(parseSafetensors(file)).map(([name, { shape }]) => [name, shape]));

const ends = (shapes: Readonly<Record<string, readonly number[]>>) =>
  Object.entries(shapes)
    .map(([name, shape]) => `${bare(name)} ${String(shape)}`)
    .sort();

const hashOf = (file: Uint8Array) => createHash('sha256').update(file).digest('hex').slice(0, 16);

/** Loads them, goes forward, and learns some steps towards random outputs. */
async function learn(config: unknown, weights: Uint8Array, inputs: Record<string, never>) {
  const used = runtime.memory.used;
  const model = await loadModel({ config, weights, runtime });
  expect(model.leftAside).toEqual([]);
  const learner = new Trainable(model);
  const optimizer = new AdamW(learner, { learningRate: 3e-3 });
  const losses: number[] = [];
  let target: Float32Array | undefined;
  for (let step = 0; step < 4; step++) {
    const output = learner.forward(inputs);
    const [name, values] = Object.entries(output).find(([key]) => key !== 'record') as [
      string,
      Tensor<'float32'>,
    ];
    expect(values.data.every(Number.isFinite), name).toBe(true);
    if (!target) {
      const random = new Random(5);
      target = Float32Array.from(values.data, () => random.normal());
    }
    const { loss, gradient } = meanSquaredError(values, { data: target, shape: values.shape });
    learner.backward(output.record, { [name]: gradient }).dispose();
    for (const each of [gradient, output]) each.dispose();
    optimizer.step();
    learner.zeroGradients();
    losses.push(loss);
  }
  expect(losses.at(-1)).toBeLessThan(losses[0]!);
  for (const each of [optimizer, learner, model]) each.dispose();
  expect(runtime.memory.used).toBe(used);
}

describe('every family and head', () => {
  for (const { title, config } of VARIANTS) {
    it(title, async () => {
      const rows = inputsFor(config);
      const asked = new RandomWeights(1);
      expectedOutputs(config, asked, rows);
      const weights = await initialWeights({ config, seed: 1 });
      const shapes = Object.fromEntries([...asked.tensors].map(([name, { shape }]) => [name, shape]));
      expect(ends(shapesOf(weights))).toEqual(ends(shapes));
      await learn(config, weights, batchOf(rows) as Record<string, never>);
    });
  }

  it('is a test of each', () => {
    const tried = new Set(VARIANTS.map(({ config }) => config['model_type']));
    const missing = allFamilies.filter(({ modelTypes }) => !modelTypes.some((type) => tried.has(type)));
    expect(missing.flatMap(({ modelTypes }) => modelTypes)).toEqual([
      'clip',
      'clip_text_model',
      'clip_vision_model',
    ]);
  });
});

needs('model-checkpoints').describe('configs as they are published', () => {
  for (const name of modelNames()) {
    it(name, async () => {
      const { configs, weights: published, cases } = readModelFolder(name);
      for (const config of Object.values(configs)) {
        const weights = await initialWeights({ config, seed: 1 });
        const model = await loadModel({ config, weights: published, runtime });
        const read = Object.fromEntries(
          Object.entries(shapesOf(published)).filter(([tensor]) => !model.leftAside.includes(tensor)),
        );
        model.dispose();
        expect(ends(shapesOf(weights))).toEqual(ends(read));
        await learn(config, weights, cases[0]!.inputs as Record<string, never>);
      }
    });
  }
});

const GPT2 = { model_type: 'gpt2', vocab_size: 60, n_embd: 32, n_head: 4, n_layer: 3, n_positions: 20 };
const BERT = {
  ...{ model_type: 'bert', vocab_size: 60, hidden_size: 24, intermediate_size: 40, num_hidden_layers: 2 },
  ...{ num_attention_heads: 3, hidden_act: 'gelu', max_position_embeddings: 16, type_vocab_size: 2 },
};

/** A normal distribution of this width, as far as so many numbers show. */
function expectNormal(values: Float32Array, deviation: number) {
  const { length } = values;
  const sorted = values.map((value) => value / deviation).sort();
  // Kolmogorov and Smirnov's distance: above 2 / sqrt(n) in one case of a thousand.
  let distance = 0;
  sorted.forEach((value, i) => {
    const share = normalShare(value);
    distance = Math.max(distance, Math.abs(share - i / length), Math.abs(share - (i + 1) / length));
  });
  expect(distance).toBeLessThan(2 / Math.sqrt(length));
}

/** The part of a normal distribution below x, by summing its density. */
function normalShare(x: number): number {
  const steps = 400;
  const width = (x + 8) / steps;
  let sum = 0;
  for (let i = 0; i < steps; i++) sum += Math.exp(-((-8 + (i + 0.5) * width) ** 2) / 2);
  return (sum * width) / Math.sqrt(2 * Math.PI);
}

describe('values', () => {
  const valuesOf = async (config: Config, seed = 1) => {
    const tensors = parseSafetensors(await initialWeights({ config, seed }));
    return (name: string) => tensors[name]!.data;
  };

  it('of GPT-2: narrower where a sublayer ends in a residual', async () => {
    const values = await valuesOf(GPT2);
    expectNormal(values('transformer.wte.weight'), 0.02);
    expectNormal(values('transformer.wpe.weight'), 0.02);
    expectNormal(values('transformer.h.0.attn.c_attn.weight'), 0.02);
    expectNormal(values('transformer.h.1.mlp.c_fc.weight'), 0.02);
    expectNormal(values('transformer.h.1.mlp.c_proj.weight'), 0.02 / Math.sqrt(6));
    expectNormal(values('transformer.h.2.attn.c_proj.weight'), 0.02 / Math.sqrt(6));
    expect([...new Set(values('transformer.h.2.ln_1.weight'))]).toEqual([1]);
    expect([...new Set(values('transformer.h.2.attn.c_attn.bias'))]).toEqual([0]);
  });

  it('as wide as the config says', async () => {
    expectNormal((await valuesOf({ ...GPT2, initializer_range: 0.5 }))('transformer.wte.weight'), 0.5);
    const rms = VARIANTS.find(({ title }) => title === 'gemma2: usual')!.config;
    const values = await valuesOf({ ...rms, initializer_range: 0.1 });
    expectNormal(values('model.layers.1.mlp.down_proj.weight'), 0.1);
    expect([...new Set(values('model.norm.weight'))]).toEqual([0]); // times 1 + weight
  });

  it('of T5: by the number of inputs', async () => {
    const { config } = VARIANTS.find(({ title }) => title === 't5: usual')!;
    const { d_model: width, d_kv: headDim, d_ff: inner } = config as Record<string, number>;
    const values = await valuesOf(config);
    const block = 'decoder.block.1.layer.0.SelfAttention';
    expectNormal(values('shared.weight'), 1);
    expectNormal(values(`${block}.q.weight`), 1 / Math.sqrt(width! * headDim!));
    expectNormal(values(`${block}.k.weight`), 1 / Math.sqrt(width!));
    expectNormal(values('decoder.block.1.layer.2.DenseReluDense.wo.weight'), 1 / Math.sqrt(inner!));
  });

  it('zero rows of padding, where PyTorch has them', async () => {
    const row = (values: Float32Array, at: number) => [...values.subarray(at * 24, at * 24 + 24)];
    const zeros = new Array<number>(24).fill(0);
    const words = 'bert.embeddings.word_embeddings.weight';
    const named = (await valuesOf({ ...BERT, pad_token_id: 7 }))(words);
    const unnamed = (await valuesOf(BERT))(words);
    expect(row(named, 7)).toEqual(zeros);
    expect(row(named, 6)).toEqual(row(unnamed, 6));
    expect(row(named, 8)).toEqual(row(unnamed, 8));
    expect(row(unnamed, 7)).not.toEqual(zeros);
    const roberta = await valuesOf({ ...BERT, model_type: 'roberta', pad_token_id: 1 });
    expect(row(roberta('roberta.embeddings.position_embeddings.weight'), 1)).toEqual(zeros);
    const gpt2 = await valuesOf({ ...GPT2, pad_token_id: 3 });
    expect(gpt2('transformer.wte.weight').every((value) => value !== 0)).toBe(true);
  });

  it('what is not learned by its formula', async () => {
    const { config } = VARIANTS.find(({ title }) => title === 'whisper: usual')!;
    const table = (await valuesOf(config))('model.encoder.embed_positions.weight');
    const width = config['d_model'] as number;
    for (let row = 0; row < table.length / width; row++) {
      for (let i = 0; i < width / 2; i++) {
        const angle = row * 10000 ** (-i / (width / 2 - 1));
        expect(table[row * width + i]).toBeCloseTo(Math.sin(angle), 6);
        expect(table[row * width + width / 2 + i]).toBeCloseTo(Math.cos(angle), 6);
      }
    }
  });

  it('depend on seed and name only: more layers and a longer table leave the others as they are', async () => {
    const [two, more, other] = [
      await valuesOf(GPT2),
      await valuesOf({ ...GPT2, n_layer: 5 }),
      await valuesOf(GPT2, 2),
    ];
    for (const name of ['transformer.wte.weight', 'transformer.h.1.attn.c_attn.weight']) {
      expect(more(name)).toEqual(two(name));
      expect(other(name)).not.toEqual(two(name));
    }
    const longer = await valuesOf({ ...GPT2, vocab_size: 70 });
    const table = two('transformer.wte.weight');
    expect(longer('transformer.wte.weight').subarray(0, table.length)).toEqual(table);
    expect(two('transformer.h.0.attn.c_attn.weight')).not.toEqual(two('transformer.h.1.attn.c_attn.weight'));
  });

  it('have the bits on record', async () => {
    const hashes = await Promise.all(
      ['llama: biases everywhere', 'bert: words', 't5: usual', 'whisper: usual', 'attention_only: usual'].map(
        async (title) => {
          const { config } = VARIANTS.find((each) => each.title === title)!;
          return [title, hashOf(await initialWeights({ config, seed: 4_000_000_000 }))];
        },
      ),
    );
    expect(Object.fromEntries(hashes)).toMatchInlineSnapshot(`
      {
        "attention_only: usual": "53cbfb119959d0bc",
        "bert: words": "ebe10a89cd2ab228",
        "llama: biases everywhere": "f4320f9a2f47a068",
        "t5: usual": "cbf675055285f1f9",
        "whisper: usual": "48ae4463f56cb92d",
      }
    `);
  });

  it('are many without a page that freezes: more numbers than a turn makes', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    await initialWeights({ config: { ...GPT2, vocab_size: 20000 }, seed: 1 });
    clearInterval(timer);
    expect(turns).toBeGreaterThan(5);
  });
});

it('without architectures: a language model of a decoder, an encoder without heads', async () => {
  const names = async (config: Config) => {
    const { tensors } = await inspectCheckpoint(
      await initialWeights({ config, seed: 1, families: [gpt2, bert] }),
    );
    return [...tensors.keys()];
  };
  expect(await names({ ...GPT2, tie_word_embeddings: false })).toContain('lm_head.weight');
  expect(await names(GPT2)).not.toContain('lm_head.weight');
  expect((await names(BERT)).every((name) => name.startsWith('bert.'))).toBe(true);
});

describe('what it refuses', () => {
  const bad: readonly (readonly [what: string, options: unknown, error: object])[] = [
    ['no options', undefined, { code: 'INVALID_ARGUMENT', argument: 'options' }],
    ['no config', { seed: 1 }, { code: 'INVALID_ARGUMENT', argument: 'config' }],
    ['no seed', { config: GPT2 }, { code: 'INVALID_ARGUMENT', argument: 'seed' }],
    [
      'a seed that is too large',
      { config: GPT2, seed: 2 ** 53 },
      { code: 'INVALID_ARGUMENT', argument: 'seed' },
    ],
    ['half a seed', { config: GPT2, seed: 0.5 }, { code: 'INVALID_ARGUMENT', argument: 'seed' }],
    ['another name', { config: GPT2, seed: 1, sead: 2 }, { code: 'INVALID_ARGUMENT', argument: 'sead' }],
    [
      'an unknown family',
      { config: { model_type: 'mamba' }, seed: 1 },
      { code: 'UNSUPPORTED', argument: 'config.model_type' },
    ],
    [
      'no families',
      { config: GPT2, seed: 1, families: [bert] },
      { code: 'UNSUPPORTED', argument: 'config.model_type' },
    ],
    [
      'what are none',
      { config: GPT2, seed: 1, families: [{}] },
      { code: 'INVALID_ARGUMENT', argument: 'families' },
    ],
    [
      'a size that is missing',
      { config: { ...GPT2, n_embd: undefined }, seed: 1 },
      { code: 'INVALID_ARGUMENT', argument: 'config.n_embd' },
    ],
    [
      'a setting that is not known',
      { config: { ...GPT2, n_ears: 2 }, seed: 1 },
      { code: 'UNSUPPORTED', argument: 'config.n_ears' },
    ],
    [
      'an architecture that is not known',
      { config: { ...GPT2, architectures: ['GPT2Poet'] }, seed: 1 },
      { code: 'UNSUPPORTED', argument: 'config.architectures[0]' },
    ],
    [
      'architectures that are no names',
      { config: { ...GPT2, architectures: [1] }, seed: 1 },
      { code: 'INVALID_ARGUMENT', argument: 'config.architectures' },
    ],
    [
      'labels that are none',
      { config: { ...BERT, id2label: {} }, seed: 1 },
      { code: 'INVALID_ARGUMENT', argument: 'config.id2label' },
    ],
    [
      'half a label',
      { config: { ...BERT, num_labels: 1.5 }, seed: 1 },
      { code: 'INVALID_ARGUMENT', argument: 'config.num_labels' },
    ],
    [
      'a width below zero',
      { config: { ...GPT2, initializer_range: -1 }, seed: 1 },
      { code: 'INVALID_ARGUMENT', argument: 'config.initializer_range' },
    ],
  ];
  for (const [what, options, error] of bad)
    it(what, async () => {
      await expect(initialWeights(options as InitialWeightsOptions)).rejects.toMatchObject(error);
    });

  it('but not settings that it is told to pass over', async () => {
    const config = { ...GPT2, n_ears: 2 };
    const weights = await initialWeights({ config, seed: 1, ignoreSettings: ['n_ears'] });
    expect(weights).toEqual(await initialWeights({ config: GPT2, seed: 1 }));
  });
});
