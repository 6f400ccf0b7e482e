// The loop of a training: the same bits after any stop at a checkpoint, whatever learns and however; parameters that are those of a whole
// number of steps after every failure and every abort; and nothing that stays in memory.

import { createHash } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { createRuntime, MultiHeadAttention } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { gpt2, loadModel, model as modelPack, TransformerBlock } from 'wasm-attention/model';
import type { Model } from 'wasm-attention/model';
import {
  AdamW,
  cosine,
  initialWeights,
  linearWarmup,
  meanSquaredError,
  SGD,
  train,
  Trainable,
  training as trainingPack,
} from 'wasm-attention/training';
import type {
  Batch,
  Network,
  Random,
  TrainableOptions,
  Training,
  TrainOptions,
} from 'wasm-attention/training';
import { Random as Seeded } from '../reference/random.js';
import { Faults } from '../support/faults.js';

const CONFIG = { model_type: 'gpt2', vocab_size: 23, n_embd: 12, n_head: 2, n_layer: 2, n_positions: 8 };
const VOCABULARY = CONFIG.vocab_size;

/** Texts whose next token follows from the last two. */
function data(_step: number, random: Random): Batch {
  const inputIds = Array.from({ length: 3 }, () => {
    const text = [random.integer(VOCABULARY), random.integer(VOCABULARY)];
    while (text.length < 6) text.push((text.at(-1)! + text.at(-2)!) % VOCABULARY);
    return text;
  });
  return { inputs: { inputIds }, labels: inputIds.map((text) => [...text.slice(1), -100]) };
}

let runtimes: Readonly<Record<1 | 2, Runtime>>;
beforeAll(async () => {
  const packs = [modelPack, trainingPack];
  runtimes = {
    1: await createRuntime({ build: 'simd', packs }),
    2: await createRuntime({ build: 'simd', packs, threads: 2 }),
  };
});
afterAll(() => Object.values(runtimes).forEach((runtime) => runtime.dispose()));

const weights = new Map<number, Promise<Uint8Array>>();
function weightsOf(seed: number): Promise<Uint8Array> {
  if (!weights.has(seed)) weights.set(seed, initialWeights({ config: CONFIG, seed, families: [gpt2] }));
  return weights.get(seed)!;
}

const newModel = async (runtime: Runtime, seed = 1) =>
  loadModel({ config: CONFIG, weights: await weightsOf(seed), runtime, families: [gpt2] });

/** All parameters of a network. */
function valuesOf(network: Network): Record<string, readonly number[]> {
  const learner = new Trainable(network, { frozen: () => true });
  const values = Object.fromEntries(learner.kept.map(({ name, read }) => [name, [...read()]]));
  learner.dispose();
  return values;
}

const hashOf = (values: object) => createHash('sha256').update(JSON.stringify(values)).digest('hex');

async function losses(training: Training, until = Infinity): Promise<number[]> {
  const found: number[] = [];
  for await (const { step, loss } of training) {
    found.push(loss);
    if (step === until) break;
  }
  return found;
}

/** What learns, how, and what is made anew for each training. */
interface Case {
  readonly title: string;
  readonly network?: (runtime: Runtime, seed: number) => Promise<Network>;
  readonly learning?: TrainableOptions;
  readonly options?: Partial<TrainOptions>;
}

const random = (seed: number, ...shape: number[]) => {
  const own = new Seeded(seed);
  const size = shape.reduce((product, side) => product * side, 1);
  return { data: Float32Array.from({ length: size }, () => 0.5 * own.normal()), shape };
};

/** Towards a fixed place, by the square of the distance. */
const towards: Partial<TrainOptions> = {
  data: (_, own) => ({ inputs: random(own.integer(1000), 2, 5, 8) }),
  loss({ output }) {
    const { loss, gradient } = meanSquaredError(output, random(9, ...output.shape));
    return { loss, gradients: gradient };
  },
};

async function block(runtime: Runtime, seed: number) {
  const layer = new TransformerBlock(runtime, { embedDim: 8, numHeads: 2, feedForwardDim: 11, causal: true });
  await loaded(layer, seed);
  return layer;
}

async function loaded(layer: TransformerBlock, seed: number) {
  const shapes: Record<string, number[]> = {};
  const parts = ['query', 'key', 'value', 'output'].map((name): [string, number, number] => [
    `attention.${name}`,
    8,
    8,
  ]);
  for (const [name, outs, ins] of [
    ...parts,
    ['feedForward.up', 11, 8],
    ['feedForward.down', 8, 11],
  ] as const) {
    shapes[`${name}.weight`] = [outs, ins];
    shapes[`${name}.bias`] = [outs];
  }
  for (const name of ['attention.norm', 'feedForward.norm'])
    shapes[`${name}.weight`] = shapes[`${name}.bias`] = [8];
  const named = Object.entries(shapes).map(([name, shape], i) => [name, random(seed * 100 + i, ...shape)]);
  layer.load(Object.fromEntries(named) as never);
  return Promise.resolve(layer);
}

function attention(runtime: Runtime, seed: number): Promise<MultiHeadAttention> {
  const layer = new MultiHeadAttention(runtime, { embedDim: 8, numHeads: 2 });
  layer.load({
    in_proj_weight: random(seed * 100, 24, 8),
    in_proj_bias: random(seed * 100 + 1, 24),
    'out_proj.weight': random(seed * 100 + 2, 8, 8),
    'out_proj.bias': random(seed * 100 + 3, 8),
  });
  return Promise.resolve(layer);
}

const CASES: readonly Case[] = [
  { title: 'AdamW' },
  { title: 'a schedule', options: { learningRate: linearWarmup(cosine(0.02, { steps: 5 }), { steps: 2 }) } },
  {
    title: 'SGD with momentum and groups',
    options: {
      optimizer: (learner) =>
        new SGD(learner, {
          learningRate: 0.05,
          momentum: 0.9,
          nesterov: true,
          groups: [{ match: /ln_/, learningRate: 0.1 }],
        }),
    },
  },
  {
    title: 'SGD without memory',
    options: { optimizer: (learner) => new SGD(learner, { learningRate: 0.05 }) },
  },
  { title: 'dropout', options: { dropout: { hidden: 0.2, attention: 0.1 } } },
  { title: 'adapters', learning: { adapters: { match: /attn/, rank: 2, alpha: 4, seed: 3 } } },
  { title: 'frozen tables', learning: { frozen: /wte|wpe/ } },
  { title: 'recomputing', learning: { recompute: true } },
  {
    title: 'several batches a step, and no clipping',
    options: {
      data: (step, own) => [data(step, own), data(step, own)],
      maxNorm: Infinity,
      dropout: { hidden: 0.1 },
    },
  },
  { title: 'a block', network: block, options: towards },
  { title: 'attention', network: attention, options: towards },
];

/** A training of a new network, and how to get rid of both. */
async function begin(
  { network = newModel, learning, options }: Case,
  runtime: Runtime,
  seed: number,
  more = {},
) {
  const model = await network(runtime, seed);
  const learner = learning && new Trainable(model, learning);
  const training = train({
    ...{ model: learner ?? model, data, steps: 4, seed: 7 },
    ...(!options?.optimizer && { learningRate: 0.01 }),
    ...options,
    ...more,
  });
  const end = () => {
    training.dispose();
    learner?.dispose();
    model.dispose();
  };
  const bits = () =>
    hashOf([valuesOf(model), (learner ?? training.learner).keptAdapters.map(({ read }) => [...read()])]);
  return { model, training, end, bits };
}

describe.each([1, 2] as const)(
  'goes on from any checkpoint with the same bits, with %i threads',
  (threads) => {
    it.each(CASES.map((each) => [each.title, each] as const))('%s', async (_, each) => {
      const runtime = runtimes[threads];
      const { used } = runtime.memory;
      const whole = await begin(each, runtime, 1);
      const all = await losses(whole.training);
      const expected = whole.bits();
      whole.end();
      expect(all.length).toBe(4);
      expect(new Set(all).size).toBe(4);
      for (let stop = 0; stop < 4; stop++) {
        const first = await begin(each, runtime, 1);
        if (stop > 0) expect(await losses(first.training, stop)).toEqual(all.slice(0, stop));
        const checkpoint = await first.training.checkpoint();
        first.end();
        // Other weights: all comes from the checkpoint.
        const second = await begin(each, runtime, 2, { resume: checkpoint });
        expect(await losses(second.training)).toEqual(all.slice(stop));
        expect(second.training.step).toBe(4);
        expect(second.bits()).toBe(expected);
        second.end();
      }
      expect(runtime.memory.used).toBe(used);
    });
  },
);

it('gives the same bits with one thread and with two', async () => {
  for (const each of CASES) {
    const bits = [];
    for (const threads of [1, 2] as const) {
      const own = await begin(each, runtimes[threads], 1);
      await losses(own.training);
      bits.push(own.bits());
      own.end();
    }
    expect(bits[1], each.title).toBe(bits[0]);
  }
});

describe('a checkpoint', () => {
  let runtime: Runtime;
  let checkpoint: Uint8Array;
  let model: Model;
  beforeAll(async () => {
    runtime = runtimes[1];
    model = await newModel(runtime);
    const training = train({ model, data, steps: 2, seed: 7 });
    await losses(training);
    checkpoint = await training.checkpoint();
    training.dispose();
  });
  afterAll(() => model.dispose());

  it('holds weights that loadModel reads', async () => {
    const read = await loadModel({ config: CONFIG, weights: checkpoint, runtime, leftOver: 'ignore' });
    expect(valuesOf(read)).toEqual(valuesOf(model));
    expect(read.leftAside.every((name) => name.startsWith('optimizer.'))).toBe(true);
    read.dispose();
  });

  it('is read from a Blob, too', async () => {
    const other = await newModel(runtime, 2);
    const resume = new Blob([checkpoint as Uint8Array<ArrayBuffer>]);
    const training = train({ model: other, data, steps: 2, seed: 7, resume });
    expect(await losses(training)).toEqual([]);
    expect(valuesOf(other)).toEqual(valuesOf(model));
    expect([training.step, training.optimizer!.steps]).toEqual([2, 2]);
    training.dispose();
    other.dispose();
  });

  /** Tries to go on, and sees that nothing was written. */
  async function expectRefused(resume: unknown, error: object, options: Partial<TrainOptions> = {}) {
    const other = await newModel(runtime, 2);
    const before = hashOf(valuesOf(other));
    const { used } = runtime.memory;
    const training = train({ model: other, data, steps: 3, seed: 7, ...options, resume: resume as never });
    await expect(losses(training)).rejects.toMatchObject(error);
    training.dispose();
    expect(hashOf(valuesOf(other))).toBe(before);
    expect(runtime.memory.used).toBe(used);
    other.dispose();
  }

  const NOT_THIS = { code: 'INVALID_FILE', argument: 'resume' };

  it.each<[string, Partial<TrainOptions>, RegExp]>([
    ['another seed', { seed: 8 }, /seed is 7 in place of 8/],
    ['another optimiser', { optimizer: (learner) => new SGD(learner) }, /optimiser is AdamW in place of SGD/],
  ])('of %s is refused', (_, options, message) =>
    expectRefused(checkpoint, { ...NOT_THIS, message: expect.stringMatching(message) as string }, options),
  );

  it('of another optimiser that remembers something else is refused', async () => {
    const own = train({ model, data, steps: 0, seed: 7, optimizer: (learner) => new SGD(learner) });
    const without = await own.checkpoint();
    own.dispose();
    const optimizer = (learner: Trainable) => new SGD(learner, { momentum: 0.5 });
    await expectRefused(
      without,
      { ...NOT_THIS, message: expect.stringMatching(/momentum_buffer.* is missing/) as string },
      { optimizer },
    );
  });

  it('of another model, or of other parameters that learn, is refused', async () => {
    const config = { ...CONFIG, n_layer: 1, n_embd: 14 };
    const smaller = await loadModel({ config, weights: await initialWeights({ config, seed: 1 }), runtime });
    const others: [Network | Trainable, RegExp][] = [
      [smaller, /F32 \[23, 12\] in place of F32 \[23, 14\]/],
      [new Trainable(model, { frozen: /wte/ }), /nothing that is called optimizer\.transformer\.wte/],
      [new Trainable(model, { adapters: { match: /attn/, rank: 2 } }), /adapters\..*lora_A.* is missing/],
    ];
    const before = hashOf(valuesOf(model));
    for (const [other, message] of others) {
      const training = train({ model: other, data, steps: 3, seed: 7, resume: checkpoint });
      await expect(losses(training)).rejects.toMatchObject({
        ...NOT_THIS,
        message: expect.stringMatching(message) as string,
      });
      training.dispose();
      if (other instanceof Trainable) other.dispose();
    }
    expect(hashOf(valuesOf(model))).toBe(before);
    smaller.dispose();
  });

  it('that is plain weights, or none at all, is refused', async () => {
    await expectRefused(await weightsOf(1), {
      ...NOT_THIS,
      message: expect.stringMatching(/not one of a training/) as string,
    });
    await expectRefused(7, { code: 'INVALID_ARGUMENT', argument: 'resume' });
    await expectRefused(new Uint8Array(3), { code: 'INVALID_FILE' });
  });

  it('that is damaged is refused, wherever it is: cut off, or with a bit that is another', async () => {
    const other = await newModel(runtime, 2);
    const before = hashOf(valuesOf(other));
    const { used } = runtime.memory;
    const learner = new Trainable(other);
    const attempt = async (file: Uint8Array, what: string) => {
      const training = train({ model: learner, data, steps: 3, seed: 7, resume: file });
      await expect(losses(training), what).rejects.toMatchObject({ code: 'INVALID_FILE' });
      training.dispose();
    };
    const header = 8 + new DataView(checkpoint.buffer).getUint32(0, true);
    for (let at = 0; at < checkpoint.length; at += at < header ? 3 : 211) {
      const flipped = checkpoint.slice();
      flipped[at]! ^= 1 << (at % 8);
      await attempt(flipped, `byte ${at}`);
      await attempt(checkpoint.slice(0, at), `cut off at ${at}`);
    }
    learner.dispose();
    expect(runtime.memory.used).toBe(used);
    expect(hashOf(valuesOf(other))).toBe(before);
    other.dispose();
  });

  it('is not made in the middle of a step, and the next step waits until it is', async () => {
    const other = await newModel(runtime);
    let refused: unknown;
    const training: Training = train({
      ...{ model: other, steps: 3, seed: 7 },
      async data(step, own) {
        if (step === 2) refused = await training.checkpoint().catch((error: unknown) => error);
        return data(step, own);
      },
    });
    const files: Promise<Uint8Array>[] = [];
    for await (const { step } of training) if (step < 3) files.push(training.checkpoint());
    expect(refused).toMatchObject({ code: 'INVALID_STATE' });
    expect(Buffer.from(await files[1]!).equals(checkpoint)).toBe(true);
    training.dispose();
    other.dispose();
  });

  it('is the model that save gives, beside it', async () => {
    const parts: Uint8Array[] = [];
    for await (const part of model.save()) parts.push(part.slice());
    const read = await loadModel({ config: CONFIG, weights: Buffer.concat(parts), runtime });
    expect(valuesOf(read)).toEqual(valuesOf(model));
    read.dispose();
  });
});

describe('a step', () => {
  let runtime: Runtime;
  let model: Model;
  let used: number;
  beforeAll(() => {
    runtime = runtimes[1];
  });
  const fresh = async () => {
    used = runtime.memory.used;
    model = await newModel(runtime);
  };
  afterEach(() => {
    model.dispose();
    expect(runtime.memory.used).toBe(used);
  });

  it('is what one takes by hand', async () => {
    await fresh();
    const training = train({ model, data, steps: 1, learningRate: 0.02, maxNorm: 0.1 });
    for await (const step of training) {
      expect(step).toMatchObject({ step: 1, tokens: 18, learningRate: 0.02 });
      expect(step.gradientNorm).toBeGreaterThan(0.1);
      expect(step.loss).toBeCloseTo(Math.log(VOCABULARY), 0);
      expect(step.tokensPerSecond).toBeGreaterThan(0);
    }
    training.dispose();
  });

  it('of several batches counts each label the same, however they are dealt out', async () => {
    await fresh();
    const texts = [
      [1, 2, 3, 4],
      [5, 6, 7, 8],
    ];
    const labels = [
      [2, 3, 4, 5],
      [-100, -100, -100, 9],
    ];
    const together = { inputs: { inputIds: texts }, labels };
    const apart = texts.map((text, i) => ({ inputs: { inputIds: [text] }, labels: labels[i]! }));
    const norms: number[] = [];
    for (const given of [together, apart]) {
      const training = train({
        model,
        data: () => given,
        steps: 1,
        optimizer: (learner) => new SGD(learner, { learningRate: 0 }),
      });
      for await (const { loss, gradientNorm } of training) norms.push(loss, gradientNorm);
      training.dispose();
    }
    expect(norms[2]).toBeCloseTo(norms[0]!, 5);
    expect(norms[3]).toBeCloseTo(norms[1]!, 5);
  });

  it("adds up losses of one's own", async () => {
    await fresh();
    const options = {
      ...{ model, steps: 1, loss: () => ({ loss: 2.5, gradients: {} }) },
      optimizer: (learner: Trainable) => new SGD(learner),
    };
    const training = train({ ...options, data: (step, own) => [data(step, own), data(step, own)] });
    expect(await losses(training)).toEqual([5]);
    training.dispose();
  });

  it('reads data in any form, now or later', async () => {
    await fresh();
    const texts = [
      [1, 2, 3],
      [4, 5],
    ];
    const forms: (() => Batch | Promise<Batch>)[] = [
      () => ({
        inputs: { inputIds: texts },
        labels: [
          [2, 3, 4],
          [5, 6],
        ],
      }),
      () => Promise.resolve({ inputs: { input_ids: texts } as never, labels: [2, 3, 4, 5, 6, -100] }),
      () => ({
        inputs: { inputIds: texts.map((text) => Int32Array.from(text)) },
        labels: Int32Array.of(2, 3, 4, 5, 6, -100),
      }),
      () => ({
        inputs: {
          inputIds: { data: [1, 2, 3, 4, 5, 0], shape: [2, 3] },
          attentionMask: [
            [1, 1, 1],
            [1, 1, 0],
          ],
        },
        labels: [Int32Array.of(2, 3, 4), Int32Array.of(5, 6, -100)],
      }),
    ];
    const found: number[][] = [];
    for (const form of forms) {
      const training = train({
        model,
        data: form,
        steps: 1,
        optimizer: (learner) => new SGD(learner, { learningRate: 0 }),
      });
      found.push(await losses(training));
      training.dispose();
    }
    expect(found).toEqual(forms.map(() => found[0]));
  });

  it('draws other numbers in each step, and the same in each training', async () => {
    await fresh();
    const drawn: number[][] = [[], []];
    for (const list of drawn) {
      const training = train({
        ...{ model, steps: 3, seed: 3 },
        data(step, own) {
          list.push(own.uniform());
          return data(step, own);
        },
      });
      await losses(training);
      training.dispose();
    }
    expect(drawn[1]).toEqual(drawn[0]);
    expect(new Set(drawn[0]).size).toBe(3);
  });

  it('leaves the loop with what was learnt, and the next loop goes on', async () => {
    await fresh();
    const training = train({ model, data, steps: 4, seed: 7 });
    const first = await losses(training, 2);
    const iterator = training[Symbol.asyncIterator]();
    const third = await iterator.next();
    await expect(losses(training)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await iterator.return(undefined);
    const rest = await losses(training);
    expect([...first, third.value!.loss, ...rest].length).toBe(4);
    expect(training.step).toBe(4);
    expect(await losses(training)).toEqual([]);
    training.dispose();
    await expect(losses(training)).rejects.toMatchObject({ code: 'DISPOSED' });
    await expect(training.checkpoint()).rejects.toMatchObject({ code: 'DISPOSED' });
  });

  it('that gives NaN stops, names the tensor, and leaves all as it was', async () => {
    await fresh();
    const learner = new Trainable(model);
    const before = hashOf(valuesOf(model));
    let bad: 'loss' | 'gradient' | undefined;
    const training = train({
      ...{ model: learner, data, steps: 4 },
      loss({ logits }) {
        const { loss, gradient } = meanSquaredError(logits, random(4, ...logits.shape));
        if (bad === 'gradient') gradient.data[0] = Infinity;
        return { loss: bad === 'loss' ? NaN : loss, gradients: { logits: gradient } };
      },
    });
    bad = 'loss';
    await expect(losses(training)).rejects.toMatchObject({
      code: 'INVALID_STATE',
      argument: 'loss',
      message: /^step 1: the loss is not finite$/,
    });
    bad = 'gradient';
    await expect(losses(training)).rejects.toMatchObject({
      code: 'INVALID_STATE',
      argument: 'transformer.wte.weight',
      message:
        /^step 1: the norm of the gradients is not finite; the gradient of transformer\.wte\.weight holds NaN/,
    });
    expect(hashOf(valuesOf(model))).toBe(before);
    bad = undefined;
    expect((await losses(training, 1)).length).toBe(1);
    const name = 'transformer.h.1.ln_1.bias';
    learner.kept.find((kept) => kept.name === name)!.write(new Float32Array(12).fill(NaN));
    const spoilt = hashOf(valuesOf(model));
    await expect(losses(training)).rejects.toMatchObject({
      code: 'INVALID_STATE',
      argument: name,
      message: expect.stringContaining(
        `step 2: the loss is not finite; the parameter ${name} holds NaN`,
      ) as string,
    });
    expect(hashOf(valuesOf(model))).toBe(spoilt);
    training.dispose();
    learner.dispose();
  });

  it('that overflows names the output', async () => {
    await fresh();
    const training = train({ model, data, steps: 1 });
    for (const kept of training.learner.kept.filter(({ name }) => /ln_f|wte/.test(name)))
      kept.write(kept.read().fill(3e38));
    await expect(losses(training)).rejects.toMatchObject({
      code: 'INVALID_STATE',
      argument: expect.stringMatching(/^(logits|lastHiddenState)$/) as string,
      message: expect.stringContaining('the output') as string,
    });
    training.dispose();
  });
});

/** Calls back at the n-th time that a training asks whether it is to end; everything takes longer than a slice. */
async function atCheck(
  count: number,
  action: (controller: AbortController) => void,
  run: (signal: AbortSignal) => Promise<void>,
) {
  const controller = new AbortController();
  const { signal } = controller;
  let left = count;
  signal.throwIfAborted = () => {
    if (left-- === 0) action(controller);
    if (signal.aborted) throw signal.reason;
  };
  let time = performance.now();
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => (time += 1e6));
  try {
    await run(signal);
  } finally {
    clock.mockRestore();
  }
  return left < 0;
}

/** The bits after each step. */
async function bitsBySteps(runtime: Runtime, options: Partial<TrainOptions>) {
  const model = await newModel(runtime);
  const bits = [hashOf(valuesOf(model))];
  const training = train({ model, data, steps: 2, ...options });
  for await (const step of training) bits[step.step] = hashOf(valuesOf(model));
  training.dispose();
  model.dispose();
  return bits;
}

describe('ends in the middle', () => {
  const options = { dropout: { hidden: 0.1 }, seed: 5 };

  it.each([1, 2] as const)(
    'by an abort at any point: parameters are those of whole steps, with %i threads',
    async (threads) => {
      const runtime = runtimes[threads];
      const bits = await bitsBySteps(runtime, options);
      const { used } = runtime.memory;
      const steps = new Set<number>();
      for (let count = 0, struck = true; struck; count += 1 + (count >> 3)) {
        const model = await newModel(runtime);
        struck = await atCheck(
          count,
          (controller) => controller.abort(new Error('enough')),
          async (signal) => {
            const training = train({ model, data, steps: 2, ...options, signal });
            const error = await losses(training).then(
              () => undefined,
              (each: unknown) => each,
            );
            if (error) expect(error).toEqual(new Error('enough'));
            steps.add(training.step);
            expect(hashOf(valuesOf(model))).toBe(bits[training.step]);
            training.dispose();
          },
        );
        model.dispose();
        expect(runtime.memory.used).toBe(used);
      }
      expect([...steps].sort()).toEqual([0, 1, 2]);
    },
  );

  it.each(['training', 'model'] as const)('by disposing of the %s at any point', async (what) => {
    const runtime = runtimes[1];
    const bits = await bitsBySteps(runtime, options);
    const { used } = runtime.memory;
    for (let count = 0, struck = true; struck; count += 1 + (count >> 3)) {
      const model = await newModel(runtime);
      const training: { current?: Training } = {};
      const end = () => (what === 'model' ? model : training.current!).dispose();
      struck = await atCheck(count, end, async (signal) => {
        training.current = train({ model, data, steps: 2, ...options, signal });
        const error = await losses(training.current).then(
          () => undefined,
          (each: unknown) => each,
        );
        if (error) expect(error).toMatchObject({ code: 'DISPOSED' });
        if (what === 'training') expect(bits).toContain(hashOf(valuesOf(model)));
      });
      training.current!.dispose();
      model.dispose();
      expect(runtime.memory.used).toBe(used);
    }
  });

  it('by an abort while data or a loss is waited for, however long', async () => {
    const runtime = runtimes[1];
    const { used } = runtime.memory;
    const model = await newModel(runtime);
    let controller = new AbortController();
    let late = 0;
    const stop = () => setTimeout(() => controller.abort(new Error('enough')), 1);
    const never = () => {
      stop();
      return new Promise<never>(() => {});
    };
    const tooLate: TrainOptions['loss'] = ({ logits }) => {
      stop();
      const { loss, gradient } = meanSquaredError(logits, random(4, ...logits.shape));
      return new Promise((resolve) => {
        const answer = () => (late++, resolve({ loss, gradients: { logits: gradient } }));
        controller.signal.addEventListener('abort', () => setTimeout(answer, 5));
      });
    };
    for (const options of [{ data: never }, { data, loss: never }, { data, loss: tooLate }]) {
      controller = new AbortController();
      const training = train({ model, steps: 2, ...options, signal: controller.signal });
      await expect(losses(training)).rejects.toThrow('enough');
      training.dispose();
    }
    await vi.waitFor(() => expect(late).toBe(1));
    model.dispose();
    expect(runtime.memory.used).toBe(used);
  });

  it("by an error of the caller's own, which comes through", async () => {
    const runtime = runtimes[1];
    const { used } = runtime.memory;
    const model = await newModel(runtime);
    const own = new Error('my own');
    const fails = () => {
      throw own;
    };
    for (const options of [
      { data: fails },
      { data, loss: fails },
      { data, optimizer: fails },
      { data, learningRate: fails },
    ]) {
      const training = train({ model, steps: 2, ...options });
      await expect(losses(training)).rejects.toBe(own);
      training.dispose();
    }
    model.dispose();
    expect(runtime.memory.used).toBe(used);
  });

  it('where memory ends, at any allocation: parameters are those of whole steps', async () => {
    const runtime = await createRuntime({ build: 'simd', packs: [modelPack, trainingPack] });
    const bits = await bitsBySteps(runtime, options);
    const faults = new Faults(runtime);
    const checkpoint = await (async () => {
      const model = await newModel(runtime);
      const training = train({ model, data, steps: 1, ...options });
      await losses(training);
      const file = await training.checkpoint();
      training.dispose();
      model.dispose();
      return file;
    })();
    for (const resume of [undefined, checkpoint]) {
      const steps = new Set<number>();
      for (let before = 0; ; before += 1 + (before >> 3)) {
        const model = await newModel(runtime, resume ? 2 : 1);
        const begun = hashOf(valuesOf(model));
        const { used } = runtime.memory;
        faults.arm(before, true);
        let training: Training | undefined;
        let failure: unknown;
        try {
          training = train({ model, data, steps: 2, ...options, resume });
          await losses(training);
        } catch (error) {
          failure = error;
        }
        faults.disarm();
        const taken = training?.step ?? 0;
        steps.add(taken);
        if (failure) expect(failure).toMatchObject({ code: 'OUT_OF_MEMORY' });
        // Where a small request fails after a large one did not, as no memory does, some of a checkpoint is there.
        if (!resume || taken > 0) expect(hashOf(valuesOf(model))).toBe(taken === 0 ? begun : bits[taken]);
        // Once there is room again, it goes on.
        if (training) {
          await losses(training);
          expect(hashOf(valuesOf(model))).toBe(bits[2]);
        }
        training?.dispose();
        expect(runtime.memory.used).toBe(used);
        model.dispose();
        if (!faults.struck) break;
      }
      expect([...steps].sort()).toEqual([0, 1, 2]);
    }
    runtime.dispose();
  });
});

describe('what it refuses', () => {
  let model: Model;
  beforeAll(async () => {
    model = await newModel(runtimes[1]);
  });
  afterAll(() => model.dispose());

  it.each<[string, object, string]>([
    ['no options', undefined as never, 'options'],
    ['no model', { model: {} }, 'network'],
    ['no data', { data: [] }, 'data'],
    ['no steps', { steps: undefined }, 'steps'],
    ['half a step', { steps: 1.5 }, 'steps'],
    ['a seed below zero', { seed: -1 }, 'seed'],
    ['a learning rate below zero', { learningRate: -1 }, 'learningRate'],
    ['a learning rate beside an optimiser', { learningRate: 1, optimizer: () => 1 }, 'learningRate'],
    ['an optimiser that is no function', { optimizer: {} }, 'optimizer'],
    ['a norm of zero', { maxNorm: 0 }, 'maxNorm'],
    ['a loss that is no function', { loss: 'mse' }, 'loss'],
    ['dropout of everything', { dropout: { hidden: 1 } }, 'dropout.hidden'],
    ['a seed of dropout', { dropout: { seed: 1 } }, 'dropout.seed'],
    ['what is no signal', { signal: {} }, 'signal'],
    ['another name', { epochs: 3 }, 'epochs'],
  ])('%s, at once', (_, options, argument) => {
    const { used } = runtimes[1].memory;
    const given = options && { model, data, steps: 2, ...options };
    expect(() => train(given as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', argument }) as Error,
    );
    expect(runtimes[1].memory.used).toBe(used);
  });

  it.each<[string, object, object]>([
    ['no batch', { data: () => undefined }, { code: 'INVALID_ARGUMENT', argument: 'batch' }],
    ['no batches', { data: () => [] }, { code: 'INVALID_ARGUMENT', argument: 'data' }],
    [
      'another name in a batch',
      { data: () => ({ input: [] }) },
      { code: 'INVALID_ARGUMENT', argument: 'batch.input' },
    ],
    [
      'no labels',
      { data: () => ({ inputs: { inputIds: [1] } }) },
      { code: 'INVALID_ARGUMENT', argument: 'labels' },
    ],
    [
      'labels that are none',
      { data: () => ({ inputs: { inputIds: [1] }, labels: ['a'] }) },
      { code: 'INVALID_ARGUMENT', argument: 'labels[0]' },
    ],
    [
      'rows of labels that are none',
      { data: () => ({ inputs: { inputIds: [1] }, labels: [[0.5]] }) },
      { code: 'INVALID_ARGUMENT', argument: 'labels[0][0]' },
    ],
    [
      'too few labels',
      { data: () => ({ inputs: { inputIds: [1, 2] }, labels: [1] }) },
      { code: 'INVALID_SHAPE', argument: 'labels' },
    ],
    [
      'inputs that the model does not read',
      { data: () => ({ inputs: { pixels: [1] }, labels: [1] }) },
      { code: 'INVALID_ARGUMENT' },
    ],
    [
      'dropout in a batch',
      {
        data: () => ({ inputs: { inputIds: [1] }, labels: [1], options: { dropout: 1 } }),
        dropout: undefined,
      },
      { code: 'INVALID_ARGUMENT' },
    ],
    [
      'an optimiser that is none',
      { optimizer: () => ({}) },
      { code: 'INVALID_ARGUMENT', argument: 'optimizer' },
    ],
    [
      'a rate that is none',
      { learningRate: () => NaN },
      { code: 'INVALID_ARGUMENT', argument: 'learningRate' },
    ],
    [
      'a loss that gives nothing',
      { loss: () => undefined },
      { code: 'INVALID_ARGUMENT', argument: 'loss()' },
    ],
    [
      'a loss that is no number',
      { loss: () => ({ loss: '1', gradients: {} }) },
      { code: 'INVALID_ARGUMENT', argument: 'loss().loss' },
    ],
    [
      'a loss without gradients',
      { loss: () => ({ loss: 1 }) },
      { code: 'INVALID_ARGUMENT', argument: 'gradients' },
    ],
  ])('%s, with the step', async (_, options, error) => {
    const { used } = runtimes[1].memory;
    const before = hashOf(valuesOf(model));
    const training = train({ model, data, steps: 2, ...options });
    await expect(losses(training)).rejects.toMatchObject(error);
    training.dispose();
    expect(hashOf(valuesOf(model))).toBe(before);
    expect(runtimes[1].memory.used).toBe(used);
  });

  it('a cross entropy of what has no logits', async () => {
    const layer = await block(runtimes[1], 1);
    const training = train({
      model: layer,
      data: () => ({ inputs: random(1, 1, 2, 8), labels: [1, 2] }),
      steps: 1,
    });
    await expect(losses(training)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'loss' });
    training.dispose();
    layer.dispose();
  });
});

it('makes no optimiser of a training that was never begun, and AdamW where none is said', async () => {
  const model = await newModel(runtimes[1]);
  const training = train({ model, data, steps: 1 });
  expect(training.optimizer).toBeUndefined();
  await losses(training);
  expect(training.optimizer).toBeInstanceOf(AdamW);
  training.dispose();
  model.dispose();
});
