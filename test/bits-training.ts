// Training for the suite of bits: fifty steps of AdamW on a small decoder like GPT-2 and on a small encoder like BERT, from weights of
// integers alone; the loop, from random weights, over random data with dropout; and the first fifty steps of what learns induction. What
// is compared are all parameters afterwards. Only types are imported from the package, and nothing of Node: it runs in pages and in workers
// too.

import type { Runtime } from 'wasm-attention';
import type { Trainable } from 'wasm-attention/training';
import { config, data, optimizerOf, SEED } from '../learned/induction/settings.mjs';
import { Random } from './reference/random.js';

/** The package, and its entries `model` and `training`. */
export type TrainingLibrary = typeof import('wasm-attention') &
  typeof import('wasm-attention/model') &
  typeof import('wasm-attention/training');

type Shapes = readonly (readonly [name: string, ...shape: number[]])[];

interface Example {
  readonly family: 'gpt2' | 'bert';
  readonly config: object;
  readonly shapes: Shapes;
  readonly vocabulary: number;
}

const withBias = (name: string, ins: number, outs: number): Shapes => [
  [`${name}.weight`, outs, ins],
  [`${name}.bias`, outs],
];
/** GPT-2 stores its matrices the other way round. */
const turned = (name: string, ins: number, outs: number): Shapes => [
  [`${name}.weight`, ins, outs],
  [`${name}.bias`, outs],
];
const norm = (name: string, channels: number): Shapes => [
  [`${name}.weight`, channels],
  [`${name}.bias`, channels],
];

/** A width of 24 and 4 heads of 6 channels: odd sizes in all kernels. */
const WIDTH = 24;

const GPT2: Example = {
  family: 'gpt2',
  config: {
    ...{ model_type: 'gpt2', architectures: ['GPT2LMHeadModel'], vocab_size: 29, n_embd: WIDTH, n_head: 4 },
    ...{ n_layer: 2, n_positions: 32, n_inner: 50, activation_function: 'gelu_new' },
    layer_norm_epsilon: 1e-5,
  },
  shapes: [
    ['transformer.wte.weight', 29, WIDTH],
    ['transformer.wpe.weight', 32, WIDTH],
    ...[0, 1].flatMap((layer) => {
      const own = `transformer.h.${layer}`;
      return [
        ...norm(`${own}.ln_1`, WIDTH),
        ...turned(`${own}.attn.c_attn`, WIDTH, 3 * WIDTH),
        ...turned(`${own}.attn.c_proj`, WIDTH, WIDTH),
        ...norm(`${own}.ln_2`, WIDTH),
        ...turned(`${own}.mlp.c_fc`, WIDTH, 50),
        ...turned(`${own}.mlp.c_proj`, 50, WIDTH),
      ];
    }),
    ...norm('transformer.ln_f', WIDTH),
  ],
  vocabulary: 29,
};

const BERT: Example = {
  family: 'bert',
  config: {
    ...{ model_type: 'bert', architectures: ['BertForMaskedLM'], vocab_size: 31, hidden_size: WIDTH },
    ...{ intermediate_size: 50, num_hidden_layers: 2, num_attention_heads: 4, hidden_act: 'gelu' },
    ...{ layer_norm_eps: 1e-12, max_position_embeddings: 32, type_vocab_size: 2 },
  },
  shapes: [
    ['bert.embeddings.word_embeddings.weight', 31, WIDTH],
    ['bert.embeddings.position_embeddings.weight', 32, WIDTH],
    ['bert.embeddings.token_type_embeddings.weight', 2, WIDTH],
    ...norm('bert.embeddings.LayerNorm', WIDTH),
    ...[0, 1].flatMap((layer) => {
      const own = `bert.encoder.layer.${layer}`;
      return [
        ...['query', 'key', 'value'].flatMap((part) =>
          withBias(`${own}.attention.self.${part}`, WIDTH, WIDTH),
        ),
        ...withBias(`${own}.attention.output.dense`, WIDTH, WIDTH),
        ...norm(`${own}.attention.output.LayerNorm`, WIDTH),
        ...withBias(`${own}.intermediate.dense`, WIDTH, 50),
        ...withBias(`${own}.output.dense`, 50, WIDTH),
        ...norm(`${own}.output.LayerNorm`, WIDTH),
      ];
    }),
    ...withBias('cls.predictions.transform.dense', WIDTH, WIDTH),
    ...norm('cls.predictions.transform.LayerNorm', WIDTH),
    ['cls.predictions.bias', 31],
  ],
  vocabulary: 31,
};

export const TRAINED: Readonly<Record<string, Example>> = { decoder: GPT2, encoder: BERT };

/** How the steps are taken: in any way the bits are the same. */
export interface TrainingWay {
  readonly threads?: number;
  /** By calls that work in slices. */
  readonly asynchronous?: boolean;
  readonly recompute?: boolean;
  /** Is told every loss. */
  readonly onLoss?: (loss: number) => void;
}

/** Makes threads share every work, however small. */
function shareAll(runtime: Runtime): void {
  const { threads } = runtime as unknown as { threads?: { leastCost: number } };
  if (threads) threads.leastCost = 0;
}

/** Values from -0.25 to 0.25; weights of norms are around 1. */
function values(random: Random, name: string, size: number): Float32Array {
  const shift = /(norm|ln_\w)\.weight$/i.test(name) ? 1 : 0;
  return Float32Array.from(random.array(size, 'uniform'), (x) => shift + 0.5 * (x - 0.5));
}

/** All parameters after fifty steps, as bytes of a safetensors file. */
export async function train(
  library: TrainingLibrary,
  { family, config, shapes, vocabulary }: Example,
  { threads = 1, asynchronous = false, recompute = false, onLoss = () => {} }: TrainingWay = {},
): Promise<Uint8Array> {
  const random = new Random(50);
  const weights = await library.writeSafetensors(
    shapes.map(([name, ...shape]) => {
      const size = shape.reduce((product, length) => product * length, 1);
      return [name, { dtype: 'F32', shape, data: values(random, name, size) }] as const;
    }),
  );
  const runtime = await library.createRuntime({ build: 'simd', threads });
  await runtime.load(library.training);
  shareAll(runtime);
  const families = [library[family]];
  const model = await library.loadModel({ config, weights, runtime, families });
  const learner: Trainable = new library.Trainable(model, { recompute });
  const optimizer = new library.AdamW(learner, {
    learningRate: library.linearWarmup(library.cosine(0.01, { steps: 40 }), { steps: 10 }),
    groups: [{ match: /bias|norm|ln_/i, weightDecay: 0 }],
  });
  const ids = (count: number) => Array.from({ length: count }, () => random.integer(0, vocabulary - 1));
  for (let step = 0; step < 50; step++) {
    const inputIds = [ids(21), ids(13)];
    const labels = inputIds.map((row) => [
      ...row.slice(1),
      -100,
      ...Array<number>(21 - row.length).fill(-100),
    ]);
    if (asynchronous) {
      const output = await learner.forwardAsync({ inputIds });
      const { loss, gradient } = await library.crossEntropyAsync(output.logits, labels.flat());
      (await learner.backwardAsync(output.record, { logits: gradient! })).dispose();
      output.dispose();
      gradient!.dispose();
      await library.clipGradientsAsync(learner, 1);
      await optimizer.stepAsync();
      onLoss(loss);
    } else {
      const output = learner.forward({ inputIds });
      const { loss, gradient } = library.crossEntropy(output.logits, labels.flat());
      learner.backward(output.record, { logits: gradient! }).dispose();
      output.dispose();
      gradient!.dispose();
      library.clipGradients(learner, 1);
      optimizer.step();
      onLoss(loss);
    }
    learner.zeroGradients();
  }
  const file = await bytesOf(model.save());
  runtime.dispose();
  return file;
}

async function bytesOf(parts: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const bytes: number[] = [];
  for await (const part of parts) for (const byte of part) bytes.push(byte);
  return Uint8Array.from(bytes);
}

/** All parameters of what learns induction after fifty steps, as bytes of a safetensors file. */
async function learnInduction(library: TrainingLibrary): Promise<Uint8Array> {
  const runtime = await library.createRuntime({ build: 'simd' });
  const families = [library.attentionOnly];
  const weights = await library.initialWeights({ config, seed: SEED, families });
  const model = await library.loadModel({ config, weights, runtime, families });
  const training = library.train({ model, data, steps: 50, seed: SEED, optimizer: optimizerOf(library) });
  for await (const { loss } of training) if (!(loss > 0)) throw new Error(`a loss is ${loss}`);
  const file = await bytesOf(model.save());
  runtime.dispose();
  return file;
}

/** Attention alone with rotary positions, from a seed. */
const CONFIG = {
  ...{ model_type: 'attention_only', vocab_size: 29, n_embd: WIDTH, n_head: 4, n_layer: 2 },
  position_embedding: 'rotary',
};

/** The checkpoint after eight steps of the loop, and how well the model does then; stopped on the way, and not. */
export async function loop(
  library: TrainingLibrary,
  { threads = 1, stops = [] }: { readonly threads?: number; readonly stops?: readonly number[] } = {},
): Promise<Uint8Array> {
  const runtime = await library.createRuntime({ build: 'simd', threads });
  const families = [library.attentionOnly];
  let resume: Uint8Array | undefined;
  let numbers: number[] = [];
  for (const stop of [...stops, 8]) {
    const weights = await library.initialWeights({ config: CONFIG, families, seed: resume ? 2 : 1 });
    const model = await library.loadModel({ config: CONFIG, weights, families, runtime });
    const training = library.train({
      ...{
        model,
        steps: 8,
        seed: 2 ** 40 + 3,
        resume,
        maxNorm: 0.5,
        dropout: { hidden: 0.1, attention: 0.1 },
      },
      learningRate: library.linearWarmup(library.cosine(0.03, { steps: 6 }), { steps: 2 }),
      data(_, random) {
        const inputIds = [21, 13].map((length) => Array.from({ length }, () => random.integer(29)));
        return { inputs: { inputIds }, labels: inputIds.map((ids) => random.shuffle(ids)) };
      },
    });
    if (threads > 1) shareAll(runtime);
    for await (const { step } of training) if (step === stop) break;
    resume = await training.checkpoint();
    const labels = [1, 2, 3, 4];
    const { loss, accuracy } = await library.evaluate(model, [{ inputs: { inputIds: labels }, labels }]);
    numbers = [loss, accuracy];
    training.dispose();
    model.dispose();
  }
  runtime.dispose();
  const measured = new Uint8Array(Float64Array.from(numbers).buffer);
  return Uint8Array.from([...resume!, ...measured]);
}

/** Records what training gives. */
export async function trainingBits(
  library: TrainingLibrary,
  record: (name: string, result: { data: ArrayBufferView }) => void,
): Promise<void> {
  for (const [name, example] of Object.entries(TRAINED))
    record(`training, ${name}`, { data: await train(library, example) });
  record('training, loop', { data: await loop(library) });
  record('training, induction', { data: await learnInduction(library) });
}
