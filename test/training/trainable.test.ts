// What a `Trainable` promises: gradients add up, what is frozen stays and costs nothing, the same bits in whatever way a step is taken,
// and whatever goes wrong, parameters are the old ones or the new ones, memory is as before, and the next step works.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { AttentionError, createRuntime, MultiHeadAttention } from 'wasm-attention';
import type { Runtime, Tensor } from 'wasm-attention';
import {
  FeedForward,
  LayerNorm,
  loadModel,
  model as modelPack,
  TransformerBlock,
} from 'wasm-attention/model';
import type { Model } from 'wasm-attention/model';
import {
  AdamW,
  clipGradients,
  clipGradientsAsync,
  crossEntropy,
  Trainable,
  training,
} from 'wasm-attention/training';
import type { TrainableOptions, TrainingOutput } from 'wasm-attention/training';
import { Random } from '../reference/random.js';
import { Faults } from '../support/faults.js';
import { smallModel } from '../support/small-models.js';

const PACKS = [modelPack, training];
let runtime: Runtime;
beforeAll(async () => {
  runtime = await createRuntime({ build: 'simd', packs: PACKS });
});
afterAll(() => runtime.dispose());
let used = 0;
beforeEach(() => {
  used = runtime.memory.used;
});
afterEach(() => {
  expect(runtime.memory.used).toBe(used);
});

const { config, weights } = smallModel('gpt2: usual');
const load = (on = runtime): Promise<Model> => loadModel({ config, weights, runtime: on });

const IDS = [
  [5, 6, 7, 8, 9],
  [11, 3, 11, 20, 2],
];
const LABELS = IDS.flatMap((row) => [...row.slice(1), -100]);

const hex = (numbers: ArrayLike<number>): string =>
  Buffer.from(Float32Array.from(numbers).buffer).toString('hex');

/** Bits of all gradients. */
const gradientsOf = (learner: Trainable): Record<string, string> =>
  Object.fromEntries(learner.parameterNames.map((name) => [name, hex(learner.gradient(name).data)]));

/** Bits of all parameters. */
async function parametersOf(model: Model): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of model.save()) parts.push(part.slice());
  return Buffer.concat(parts).toString('hex');
}

/** Makes threads share every work, however small. */
function shareAll(on: Runtime): void {
  (on as unknown as { threads: { leastCost: number } }).threads.leastCost = 0;
}

/** Forward, loss and backward at once. */
function learn(learner: Trainable, inputIds = IDS, labels: readonly number[] = LABELS): number {
  const output = learner.forward({ inputIds });
  const loss = backFrom(learner, output, labels);
  output.dispose();
  return loss;
}

function backFrom(learner: Trainable, output: TrainingOutput, labels = LABELS as readonly number[]): number {
  const { loss, gradient } = crossEntropy(output.logits, labels, { reduction: 'sum' });
  learner.backward(output.record, { logits: gradient! }).dispose();
  gradient!.dispose();
  return loss;
}

async function withLearner(
  action: (learner: Trainable, model: Model) => void | Promise<void>,
  options: TrainableOptions = {},
  on = runtime,
): Promise<void> {
  const model = await load(on);
  const learner = new Trainable(model, options);
  try {
    await action(learner, model);
  } finally {
    learner.dispose();
    model.dispose();
  }
}

async function failureOf(action: () => unknown): Promise<AttentionError> {
  let result: unknown;
  try {
    result = await action();
  } catch (error) {
    if (error instanceof AttentionError) return error;
    throw new Error(`not an AttentionError: ${String(error)}`, { cause: error });
  }
  (result as { dispose?: () => void } | undefined)?.dispose?.();
  throw new Error(`no error, but ${String(result)}`);
}

/** A clock on which everything takes far longer than a slice; `onTurn` is told how often it was looked at. */
async function inTurns<Result>(
  action: () => Promise<Result>,
  onTurn: (turn: number) => void,
): Promise<Result> {
  let time = performance.now();
  let turn = 0;
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => {
    onTurn(++turn);
    return (time += 1e6);
  });
  try {
    return await action();
  } finally {
    clock.mockRestore();
  }
}

describe('gradients', () => {
  it('are of the shapes that the checkpoint has, and begin with zeros', () =>
    withLearner((learner, model) => {
      expect([...learner.parameterNames].sort()).toEqual(
        [...(model as unknown as { parameters: { names: string[] } }).parameters.names].sort(),
      );
      for (const name of learner.parameterNames) {
        const { data, shape } = learner.gradient(name);
        expect(data.length).toBe(shape.reduce((size, side) => size * side, 1));
        expect(data.every((value) => value === 0)).toBe(true);
      }
      expect(learner.gradient('transformer.h.0.attn.c_attn.weight').shape).toEqual([20, 60]);
    }));

  it('of micro-batches add up to those of the batch', () =>
    withLearner((learner) => {
      learn(learner);
      const whole = new Map(learner.parameterNames.map((name) => [name, learner.gradient(name).data]));
      learner.zeroGradients();
      IDS.forEach((row, i) => learn(learner, [row], LABELS.slice(i * 5, i * 5 + 5)));
      for (const [name, wanted] of whole) {
        const { data } = learner.gradient(name);
        const norm = Math.hypot(...wanted);
        expect(norm, name).toBeGreaterThan(1e-3);
        expect(Math.hypot(...data.map((value, i) => value - wanted[i]!)), name).toBeLessThan(2e-6 * norm);
      }
    }));

  it('of one record asked for again are added again; alone they have the same bits', async () => {
    for (const recompute of [false, true]) {
      await withLearner(
        (learner) => {
          const output = learner.forward({ inputIds: IDS });
          backFrom(learner, output);
          const first = gradientsOf(learner);
          const name = 'transformer.h.1.mlp.c_fc.weight';
          const once = learner.gradient(name).data;
          backFrom(learner, output);
          const twice = learner.gradient(name).data;
          twice.forEach((value, i) => expect(value).toBeCloseTo(2 * once[i]!, 4));
          learner.zeroGradients();
          backFrom(learner, output);
          expect(gradientsOf(learner)).toEqual(first);
          output.dispose();
        },
        { recompute },
      );
    }
  });

  it('are zero where nothing is given, and add up over outputs', () =>
    withLearner((learner) => {
      const output = learner.forward({ inputIds: IDS });
      const zeros = gradientsOf(learner);
      learner.backward(output.record, {}).dispose();
      expect(gradientsOf(learner)).toEqual(zeros);
      const random = new Random(2);
      const like = (tensor: Tensor) => ({
        data: Float32Array.from({ length: tensor.size }, () => random.normal()),
        shape: tensor.shape,
      });
      const upstream = { logits: like(output.logits), lastHiddenState: like(output.lastHiddenState) };
      learner.backward(output.record, upstream).dispose();
      const name = 'transformer.h.0.ln_1.weight';
      const together = learner.gradient(name).data;
      learner.zeroGradients();
      learner.backward(output.record, { logits: upstream.logits }).dispose();
      learner.backward(output.record, { lastHiddenState: upstream.lastHiddenState }).dispose();
      learner.gradient(name).data.forEach((value, i) => expect(value).toBeCloseTo(together[i]!, 4));
      expect(Math.hypot(...together)).toBeGreaterThan(0.01);
      output.dispose();
    }));

  it('come from tensors of any strides', () => {
    const layer = new FeedForward(runtime, { embedDim: 6, hiddenDim: 9 });
    const random = new Random(4);
    const drawn = (...shape: number[]) => ({
      data: Float32Array.from({ length: shape.reduce((size, side) => size * side, 1) }, () =>
        random.normal(),
      ),
      shape,
    });
    layer.load({
      'up.weight': drawn(9, 6),
      'up.bias': drawn(9),
      'down.weight': drawn(6, 9),
      'down.bias': drawn(6),
    });
    const learner = new Trainable(layer);
    const { data } = drawn(6, 5);
    const wide = runtime.tensor(data, [6, 5]);
    const turned = wide.transpose(0, 1);
    const plain = turned.toContiguous();
    const bits = [turned, plain].map((tensor) => {
      const { output, record } = learner.forward(tensor);
      const { x } = learner.backward(record, tensor);
      const seen = [hex(output.toFloat32Array()), hex(x.toFloat32Array()), gradientsOf(learner)];
      for (const held of [x, output, record]) held.dispose();
      learner.zeroGradients();
      return seen;
    });
    expect(bits[0]).toEqual(bits[1]);
    for (const held of [wide, turned, plain, learner, layer]) held.dispose();
  });

  it('of nothing are none', () => {
    const layer = new TransformerBlock(runtime, { embedDim: 8, numHeads: 2, feedForwardDim: 12 });
    layer.load(zerosFor(layer));
    const learner = new Trainable(layer);
    const zeros = gradientsOf(learner);
    for (const shape of [
      [0, 4, 8],
      [2, 0, 8],
      [0, 8],
    ]) {
      const { output, record } = learner.forward({ data: new Float32Array(0), shape });
      expect(output.shape).toEqual(shape);
      const gradients = learner.backward(record, { data: new Float32Array(0), shape });
      expect(gradients.x.shape).toEqual(shape);
      for (const held of [gradients, output, record]) held.dispose();
    }
    expect(gradientsOf(learner)).toEqual(zeros);
    learner.dispose();
    layer.dispose();
  });
});

/** Zeros for every parameter of a layer. */
function zerosFor(layer: LayerNorm | FeedForward | TransformerBlock) {
  const { parameters } = layer as unknown as {
    parameters: { entry(name: string): { shape: readonly number[] } };
  };
  return Object.fromEntries(
    layer.parameterNames.map((name) => {
      const { shape } = parameters.entry(name);
      return [name, { data: new Float32Array(shape.reduce((size, side) => size * side, 1)), shape }];
    }),
  );
}

describe('values', () => {
  const random = new Random(12);
  const drawn = ({ shape }: { shape: readonly number[] }) => ({
    data: Float32Array.from({ length: shape.reduce((size, side) => size * side, 1) }, () => random.normal()),
    shape,
  });
  const zeros = (...shape: number[]) => ({ data: new Float32Array(0), shape });

  it.each(['TransformerBlock', 'MultiHeadAttention'])(
    'of a %s are those that were loaded, until a step',
    async (kind) => {
      const make = () =>
        kind === 'TransformerBlock'
          ? new TransformerBlock(runtime, { embedDim: 12, numHeads: 2, feedForwardDim: 10 })
          : new MultiHeadAttention(runtime, { embedDim: 12, numHeads: 2, headDim: 5, kdim: 7 });
      const layer = make();
      const shapes =
        layer instanceof TransformerBlock
          ? zerosFor(layer)
          : {
              ...{
                'q_proj.weight': zeros(10, 12),
                'k_proj.weight': zeros(10, 7),
                'v_proj.weight': zeros(10, 12),
              },
              ...{ 'q_proj.bias': zeros(10), 'k_proj.bias': zeros(10), 'v_proj.bias': zeros(10) },
              ...{ 'out_proj.weight': zeros(12, 10), 'out_proj.bias': zeros(12) },
            };
      const tensors = Object.fromEntries(Object.entries(shapes).map(([name, of]) => [name, drawn(of)]));
      layer.load(tensors);
      const learner = new Trainable(layer, { frozen: /bias/ });
      for (const [name, { data, shape }] of Object.entries(tensors)) {
        expect(learner.value(name).shape, name).toEqual(shape);
        expect(hex(learner.value(name).data), name).toBe(hex(data));
      }
      const x = drawn({ shape: [2, 4, 12] });
      const options =
        kind === 'TransformerBlock'
          ? {}
          : { context: drawn({ shape: [2, 3, 7] }), valueContext: drawn({ shape: [2, 3, 12] }) };
      const { output, record } = learner.forward(x, options);
      learner.backward(record, output).dispose();
      for (const held of [output, record]) held.dispose();
      const optimizer = new AdamW(learner, { learningRate: 0.1, weightDecay: 0 });
      optimizer.step();
      const learnt = Object.fromEntries(Object.keys(tensors).map((name) => [name, learner.value(name)]));
      for (const [name, { data }] of Object.entries(learnt)) {
        if (/bias/.test(name)) expect(hex(data)).toBe(hex(tensors[name]!.data));
        else expect(hex(data), name).not.toBe(hex(tensors[name]!.data));
      }
      // Another layer that loads them is the same.
      const other = make();
      other.load(learnt);
      const bits = [layer, other].map((each) => {
        const result = each.forward(x, options);
        const seen = hex(result.output.toFloat32Array());
        result.dispose();
        return seen;
      });
      expect(bits[1]).toBe(bits[0]);
      expect(await failureOf(() => learner.value('nothing'))).toMatchObject({
        ...{ code: 'INVALID_ARGUMENT', argument: 'name' },
      });
      for (const held of [optimizer, learner, layer, other]) held.dispose();
      expect((await failureOf(() => learner.value('out_proj.weight'))).code).toBe('DISPOSED');
    },
  );
});

describe('frozen parameters', () => {
  it('stay as they are, and have no gradient', () =>
    withLearner(
      async (learner, model) => {
        expect(learner.parameterNames.every((name) => /ln_/.test(name))).toBe(true);
        expect(learner.parameters.length).toBe(learner.parameterNames.length);
        const error = await failureOf(() => learner.gradient('transformer.wte.weight'));
        expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'name' });
        const before = await readParameters(model);
        const optimizer = new AdamW(learner, { learningRate: 0.1 });
        learn(learner);
        optimizer.step();
        const after = await readParameters(model);
        for (const [name, bits] of before) {
          if (/ln_/.test(name)) expect(after.get(name), name).not.toBe(bits);
          else expect(after.get(name), name).toBe(bits);
        }
        optimizer.dispose();
      },
      { frozen: (name) => !/ln_/.test(name) },
    ));

  it('take no memory for gradients, nor for what optimisers remember, nor for the way back before what is trained', async () => {
    const model = await load();
    const measure = (frozen: RegExp) => {
      const before = runtime.memory.used;
      const learner = new Trainable(model, { frozen });
      const own = runtime.memory.used - before;
      const optimizer = new AdamW(learner);
      const remembered = runtime.memory.used - before - own;
      optimizer.dispose();
      learner.dispose();
      return { own, remembered };
    };
    const floats = model.parameterCount * 4;
    const all = measure(/^nothing$/);
    expect(all.own).toBeGreaterThanOrEqual(floats);
    expect(all.remembered).toBeGreaterThanOrEqual(2 * floats);
    const norms = measure(/^(?!.*ln_)/);
    expect(norms.own).toBeLessThan(floats / 20);
    expect(norms.remembered).toBeLessThan(floats / 10);
    expect(measure(/./)).toEqual({ own: 0, remembered: 0 });
    model.dispose();
  });

  it('change nothing of the gradients of the others', async () => {
    let all: Record<string, string> = {};
    await withLearner((learner) => {
      learn(learner);
      all = gradientsOf(learner);
    });
    for (const frozen of [/wte|wpe/, /h\.0\./, /weight$/, /c_attn/, /^(?!.*ln_f)/]) {
      await withLearner(
        (learner) => {
          learn(learner);
          const some = gradientsOf(learner);
          expect(Object.keys(some).length).toBeGreaterThan(0);
          expect(Object.keys(some).length).toBeLessThan(Object.keys(all).length);
          for (const [name, bits] of Object.entries(some)) expect(bits, name).toBe(all[name]);
        },
        { frozen },
      );
    }
  });

  it('all of them leave a model that only computes', () =>
    withLearner(
      (learner) => {
        expect(learner.parameterNames).toEqual([]);
        expect(learn(learner)).toBeGreaterThan(0);
        expect(clipGradients(learner, 1)).toBe(0);
      },
      { frozen: /(?:)/ },
    ));

  it('are matched by an expression with a state of its own as by any other', async () => {
    const names = async (frozen: RegExp) => {
      let found: readonly string[] = [];
      await withLearner((learner) => void (found = learner.parameterNames), { frozen });
      return found;
    };
    expect(await names(/bias/g)).toEqual(await names(/bias/));
  });
});

/** Bits of parameters by their names. */
async function readParameters(model: Model): Promise<Map<string, string>> {
  const file = Buffer.from(await parametersOf(model), 'hex');
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, 8 + length)) as Record<
    string,
    { data_offsets: number[] }
  >;
  return new Map(
    Object.entries(header)
      .filter(([name]) => name !== '__metadata__')
      .map(([name, { data_offsets }]) => {
        const [from, to] = data_offsets.map((at) => 8 + length + at);
        return [name, file.toString('hex', from, to)];
      }),
  );
}

describe('ways of taking a step', () => {
  it('blocks computed again give the same bits, and their records take less', async () => {
    const seen: { bits: object; held: number }[] = [];
    for (const recompute of [false, true]) {
      await withLearner(
        (learner) => {
          const before = runtime.memory.used;
          const output = learner.forward({ inputIds: IDS });
          const held = runtime.memory.used - before;
          backFrom(learner, output);
          output.dispose();
          seen.push({ bits: gradientsOf(learner), held });
        },
        { recompute },
      );
    }
    expect(seen[1]!.bits).toEqual(seen[0]!.bits);
    expect(seen[1]!.held).toBeLessThan(seen[0]!.held / 2);
  });

  it('two threads and slices give the bits of one thread at once', async () => {
    const two = await createRuntime({ build: 'simd', threads: 2, packs: PACKS });
    shareAll(two);
    const seen: object[] = [];
    for (const on of [runtime, two]) {
      for (const recompute of [false, true]) {
        await withLearner(
          async (learner) => {
            learn(learner);
            seen.push(gradientsOf(learner));
            learner.zeroGradients();
            await inTurns(
              async () => {
                const output = await learner.forwardAsync({ inputIds: IDS });
                const { gradient } = crossEntropy(output.logits, LABELS, { reduction: 'sum' });
                (await learner.backwardAsync(output.record, { logits: gradient! })).dispose();
                gradient!.dispose();
                output.dispose();
              },
              () => {},
            );
            seen.push(gradientsOf(learner));
          },
          { recompute },
          on,
        );
      }
    }
    two.dispose();
    expect(seen).toHaveLength(8);
    for (const bits of seen) expect(bits).toEqual(seen[0]);
  });

  it('the model goes on to be usable, with what was learnt', () =>
    withLearner((learner, model) => {
      const logits = () => {
        const output = model.forward({ inputIds: IDS });
        const bits = hex(output.logits!.toFloat32Array());
        output.dispose();
        return bits;
      };
      const first = logits();
      const optimizer = new AdamW(learner, { learningRate: 0.01, weightDecay: 0 });
      const losses = Array.from({ length: 10 }, () => {
        const loss = learn(learner);
        optimizer.step();
        learner.zeroGradients();
        return loss;
      });
      expect(losses.at(-1)).toBeLessThan(losses[0]! / 2);
      expect(logits()).not.toBe(first);
      const output = learner.forward({ inputIds: IDS });
      expect(hex(output.logits.toFloat32Array())).toBe(logits());
      output.dispose();
      optimizer.dispose();
    }));
});

describe('aborted at every turn', () => {
  const reason = new Error('enough');

  /** Calls an action with a signal that is aborted at turn 1, then at turn 2, and so on, until it is not aborted any more. */
  async function atEveryTurn(
    action: (signal: AbortSignal) => Promise<{ dispose(): void } | void>,
    afterwards: (aborted: boolean) => void | Promise<void>,
  ): Promise<number> {
    for (let at = 1; ; at++) {
      const control = new AbortController();
      const outcome = await inTurns(
        () =>
          action(control.signal).then(
            (result) => ({ result }),
            (error: unknown) => {
              expect(error).toBe(reason);
              return undefined;
            },
          ),
        (turn) => {
          if (turn === at) control.abort(reason);
        },
      );
      outcome?.result?.dispose();
      await afterwards(outcome === undefined);
      if (outcome !== undefined) return at - 1;
    }
  }

  it('forward leaves nothing behind', () =>
    withLearner(async (learner, model) => {
      const before = runtime.memory.used;
      const parameters = await parametersOf(model);
      const aborted = await atEveryTurn(
        (signal) => learner.forwardAsync({ inputIds: IDS }, { signal }),
        () => expect(runtime.memory.used).toBe(before),
      );
      expect(aborted).toBeGreaterThan(10);
      expect(await parametersOf(model)).toBe(parameters);
      expect(learn(learner)).toBeGreaterThan(0);
    }));

  it.each([false, true])(
    'backward leaves parameters, and a record that can be used again; recompute: %s',
    (recompute) =>
      withLearner(
        async (learner, model) => {
          const parameters = await parametersOf(model);
          const output = learner.forward({ inputIds: IDS });
          const { gradient } = crossEntropy(output.logits, LABELS, { reduction: 'sum' });
          learner.backward(output.record, { logits: gradient! }).dispose();
          const wanted = gradientsOf(learner);
          learner.zeroGradients();
          const held = runtime.memory.used;
          const aborted = await atEveryTurn(
            (signal) => learner.backwardAsync(output.record, { logits: gradient! }, { signal }),
            (wasAborted) => {
              expect(runtime.memory.used).toBe(held);
              if (!wasAborted) expect(gradientsOf(learner)).toEqual(wanted);
              learner.zeroGradients();
            },
          );
          expect(aborted).toBeGreaterThan(10);
          expect(await parametersOf(model)).toBe(parameters);
          gradient!.dispose();
          output.dispose();
        },
        { recompute },
      ),
  );

  it('a step is taken or not', async () => {
    /** Parameters before a step and after it. */
    const step = async (take: (optimizer: AdamW, learner: Trainable) => Promise<boolean>) => {
      let seen = { before: '', after: '', taken: false, steps: 0 };
      await withLearner(async (learner, model) => {
        learn(learner);
        const optimizer = new AdamW(learner, { learningRate: 0.1 });
        const before = await parametersOf(model);
        const held = runtime.memory.used;
        const taken = await take(optimizer, learner);
        expect(runtime.memory.used).toBe(held);
        seen = { before, after: await parametersOf(model), taken, steps: optimizer.steps };
        optimizer.dispose();
      });
      return seen;
    };
    const whole = await step(async (optimizer, learner) => {
      clipGradients(learner, 1);
      optimizer.step();
      return Promise.resolve(true);
    });
    expect(whole.after).not.toBe(whole.before);
    let takenIn = 0;
    for (let at = 0; takenIn < 3; at++) {
      const control = new AbortController();
      if (at === 0) control.abort(reason);
      const { after, taken, steps } = await step((optimizer, learner) =>
        inTurns(
          async () => {
            try {
              await clipGradientsAsync(learner, 1, { signal: control.signal });
              await optimizer.stepAsync({ signal: control.signal });
              return true;
            } catch (error) {
              expect(error).toBe(reason);
              return false;
            }
          },
          (turn) => {
            if (turn === at) control.abort(reason);
          },
        ),
      );
      expect(after).toBe(taken ? whole.after : whole.before);
      expect(steps).toBe(Number(taken));
      takenIn += Number(taken);
      expect(at, 'turns').toBeLessThan(500);
    }
  });
});

/** Fills whatever memory is free with NaN, in pieces. */
function spoilFreeMemory(over: { dispose(): void }[]): void {
  while (over.length < 300) over.push(runtime.tensor(new Float32Array(256).fill(NaN)));
}

describe('disposed', () => {
  const disposed = async (action: () => unknown) =>
    expect((await failureOf(action)).code, String(action)).toBe('DISPOSED');

  it('records, learners, optimisers and models say so', () =>
    withLearner(async (learner, model) => {
      const output = learner.forward({ inputIds: IDS });
      const { gradient } = crossEntropy(output.logits, LABELS);
      const upstream = { logits: gradient! };
      const zeros = gradientsOf(learner);
      output.dispose();
      output.dispose();
      expect(output.record.disposed).toBe(true);
      await disposed(() => learner.backward(output.record, upstream));
      await disposed(() => learner.backwardAsync(output.record, upstream));
      expect(gradientsOf(learner)).toEqual(zeros);
      const other = learner.forward({ inputIds: IDS });
      await disposed(() => learner.backward(other.record, { logits: output.logits }));
      const optimizer = new AdamW(learner);
      optimizer.dispose();
      await disposed(() => optimizer.step());
      const second = new AdamW(learner);
      learner.dispose();
      learner.dispose();
      await disposed(() => learner.forward({ inputIds: IDS }));
      await disposed(() => learner.forwardAsync({ inputIds: IDS }));
      await disposed(() => learner.backward(other.record, upstream));
      await disposed(() => learner.zeroGradients());
      await disposed(() => learner.gradient('transformer.ln_f.weight'));
      await disposed(() => second.step());
      await disposed(() => second.stepAsync());
      await disposed(() => clipGradients(learner, 1));
      // The model is as usable as before.
      model.forward({ inputIds: IDS }).dispose();
      second.dispose();
      other.dispose();
      gradient!.dispose();
    }));

  it('a model before its learner', async () => {
    const model = await load();
    const learner = new Trainable(model);
    const output = learner.forward({ inputIds: IDS });
    const { gradient } = crossEntropy(output.logits, LABELS);
    const optimizer = new AdamW(learner);
    model.dispose();
    await disposed(() => learner.forward({ inputIds: IDS }));
    await disposed(() => learner.backward(output.record, { logits: gradient! }));
    await disposed(() => optimizer.step());
    await disposed(() => new Trainable(model));
    for (const held of [output, gradient!, optimizer, learner]) held.dispose();
  });

  it('a runtime before all of them', async () => {
    const other = await createRuntime({ build: 'simd', packs: PACKS });
    const model = await load(other);
    const learner = new Trainable(model);
    const output = learner.forward({ inputIds: IDS });
    const optimizer = new AdamW(learner);
    other.dispose();
    await disposed(() => learner.forward({ inputIds: IDS }));
    await disposed(() => learner.backward(output.record, {}));
    await disposed(() => learner.zeroGradients());
    await disposed(() => optimizer.step());
    for (const held of [output, optimizer, learner, model]) held.dispose();
  });

  it.each([false, true])(
    'in the middle of a call, which ends as it would have; recompute: %s',
    async (recompute) => {
      const make = () => {
        const layer = new TransformerBlock(runtime, { embedDim: 8, numHeads: 2, feedForwardDim: 12 });
        const random = new Random(6);
        for (const { data } of Object.values(zerosFor(layer)))
          data.forEach((_, i) => (data[i] = random.normal()));
        const tensors = zerosFor(layer);
        for (const { data } of Object.values(tensors)) data.forEach((_, i) => (data[i] = random.normal()));
        return { layer: layer.load(tensors), learner: new Trainable(layer, { recompute }) };
      };
      const x = { data: Float32Array.from({ length: 80 }, (_, i) => Math.sin(i)), shape: [2, 5, 8] };
      const { layer, learner } = make();
      const wanted = learner.forward(x);
      const gradients = learner.backward(wanted.record, x);
      const bits = [hex(wanted.output.toFloat32Array()), hex(gradients.x.toFloat32Array())];
      for (const held of [gradients, wanted, learner, layer]) held.dispose();

      const over: { dispose(): void }[] = [];
      const other = make();
      const end = (turn: number) => {
        if (turn !== 3) return;
        other.learner.dispose();
        other.layer.dispose();
        spoilFreeMemory(over);
      };
      const output = await inTurns(() => other.learner.forwardAsync(x), end);
      expect(hex(output.output.toFloat32Array())).toBe(bits[0]);
      output.dispose();
      for (const held of over.splice(0)) held.dispose();

      const third = make();
      const kept = third.learner.forward(x);
      const back = await inTurns(
        () => third.learner.backwardAsync(kept.record, x),
        (turn) => {
          if (turn !== 3) return;
          for (const held of [kept, third.learner, third.layer]) held.dispose();
          spoilFreeMemory(over);
        },
      );
      expect(hex(back.x.toFloat32Array())).toBe(bits[1]);
      back.dispose();
      for (const held of over) held.dispose();
    },
  );
});

describe('wrong', () => {
  it.each([
    ['network', () => new Trainable({} as never)],
    ['network', () => new Trainable(null as never)],
    ['network', () => new Trainable(runtime as never)],
  ])('%s', async (argument, action) => {
    expect(await failureOf(action)).toMatchObject({ code: 'INVALID_ARGUMENT', argument });
  });

  it('options', async () => {
    const model = await load();
    const held = runtime.memory.used;
    for (const [argument, options] of [
      ['frozen', { frozen: 'wte' }],
      ['frozen', { frozen: 1 }],
      ['frozn', { frozn: /x/ }],
      ['options', 1],
    ] as const) {
      const error = await failureOf(() => new Trainable(model, options as never));
      expect(error.code).toBe('INVALID_ARGUMENT');
      expect(error.message).toContain(argument);
      expect(runtime.memory.used).toBe(held);
    }
    model.dispose();
  });

  it('layers without weights, or with other ones than at first', async () => {
    const block = new TransformerBlock(runtime, { embedDim: 8, numHeads: 2, feedForwardDim: 12 });
    expect((await failureOf(() => new Trainable(block))).code).toBe('INVALID_STATE');
    const attention = new MultiHeadAttention(runtime, { embedDim: 4, numHeads: 2, bias: false });
    expect((await failureOf(() => new Trainable(attention))).code).toBe('INVALID_STATE');
    const weight = { data: new Float32Array(16), shape: [4, 4] };
    const tensors = Object.fromEntries(['q', 'k', 'v', 'out'].map((name) => [`${name}_proj.weight`, weight]));
    attention.load(tensors);
    const learner = new Trainable(attention);
    attention.load(tensors);
    const x = { data: new Float32Array(8), shape: [1, 2, 4] };
    expect((await failureOf(() => learner.forward(x))).code).toBe('INVALID_STATE');
    for (const held of [learner, attention, block]) held.dispose();
  });

  it('inputs', () =>
    withLearner(async (learner) => {
      const held = runtime.memory.used;
      for (const [argument, inputs] of [
        ['inputIds', {}],
        ['inputIds', { inputIds: [[99]] }],
        ['inputIds', { inputIds: [[0.5]] }],
        ['inputIds', { inputIds: [Array(25).fill(1)] }],
        ['inputs', null],
        ['labels', { inputIds: IDS, labels: IDS }],
        ['attentionMask', { inputIds: IDS, attentionMask: [[1]] }],
      ] as const) {
        for (const call of [
          () => learner.forward(inputs as never),
          () => learner.forwardAsync(inputs as never),
        ]) {
          const error = await failureOf(call);
          expect(error.message, JSON.stringify(inputs)).toContain(argument);
          expect(runtime.memory.used).toBe(held);
        }
      }
      const error = await failureOf(() => learner.forward({ inputIds: IDS }, { caual: true } as never));
      expect(error.message).toMatch(/caual.*causal/);
    }));

  it('inputs of layers', async () => {
    const block = new TransformerBlock(runtime, {
      ...{ embedDim: 8, numHeads: 2, feedForwardDim: 12, crossAttention: true },
    });
    block.load(zerosFor(block));
    const learner = new Trainable(block);
    const x = (...shape: number[]) => ({
      data: new Float32Array(shape.reduce((size, side) => size * side, 1)),
      shape,
    });
    const held = runtime.memory.used;
    for (const [argument, input, options] of [
      ['x', x(2, 3, 7), {}],
      ['x', x(8), {}],
      ['x', x(1, 2, 3, 8), {}],
      ['x', 'x', {}],
      ['x', { data: new Int32Array(16), shape: [2, 8] }, {}],
      ['context', x(2, 3, 8), {}],
      ['context', x(2, 3, 8), { context: x(3, 3, 8) }],
      ['context', x(2, 3, 8), { context: x(2, 3, 9) }],
      ['keyLengths', x(2, 3, 8), { context: x(2, 3, 8), keyLengths: [3] }],
      ['keyLengths', x(2, 3, 8), { context: x(2, 3, 8), keyLengths: [3, 4] }],
      ['contextLengths', x(2, 3, 8), { context: x(2, 3, 8), contextLengths: [1, -1] }],
      ['mask', x(2, 3, 8), { context: x(2, 3, 8), mask: x(5, 5) }],
    ] as const) {
      const error = await failureOf(() => learner.forward(input as never, options));
      expect(error.message, `${argument} ${JSON.stringify(options)}`).toContain(argument);
      expect(runtime.memory.used).toBe(held);
    }
    learner.dispose();
    block.dispose();
  });

  it('records and gradients', () =>
    withLearner((learner, model) =>
      withLearner(async (other) => {
        const sibling = new Trainable(model);
        const { record, logits, lastHiddenState } = learner.forward({ inputIds: IDS });
        const held = runtime.memory.used;
        const zeros = gradientsOf(learner);
        const right = { data: new Float32Array(logits.size), shape: logits.shape };
        for (const [argument, action] of [
          ['record', () => other.backward(record, { logits: right })],
          ['record', () => sibling.backward(record, { logits: right })],
          ['record', () => learner.backward({} as never, { logits: right })],
          ['record', () => learner.backward(undefined as never, { logits: right })],
          ['gradients', () => learner.backward(record, undefined as never)],
          ['gradients', () => learner.backward(record, { logit: right })],
          ['gradients', () => learner.backward(record, { toString: right })],
          [
            'gradients.logits',
            () => learner.backward(record, { logits: { ...right, shape: [2, right.data.length / 2] } }),
          ],
          [
            'gradients.logits',
            () =>
              learner.backward(record, {
                logits: { data: new Int32Array(logits.size), shape: logits.shape },
              }),
          ],
          ['gradients.logits', () => learner.backward(record, { logits: null as never })],
          [
            'gradients.lastHiddenState',
            () => learner.backward(record, { logits: right, lastHiddenState: right }),
          ],
        ] as const) {
          const error = await failureOf(action);
          expect(error.message, String(action)).toContain(argument);
          expect(runtime.memory.used).toBe(held);
          expect(gradientsOf(learner)).toEqual(zeros);
        }
        for (const tensor of [record, logits, lastHiddenState, sibling]) tensor.dispose();
      }),
    ));

  it('gradients of tensors of another runtime', () =>
    withLearner(async (learner) => {
      const elsewhere = await createRuntime({ build: 'simd' });
      const output = learner.forward({ inputIds: IDS });
      const foreign = elsewhere.empty(output.logits.shape);
      const error = await failureOf(() => learner.backward(output.record, { logits: foreign }));
      expect(error.message).toContain('logits');
      output.dispose();
      elsewhere.dispose();
    }));
});

describe('memory that is full at any request', () => {
  it.each([1, 2])('nothing is changed and nothing leaks; threads: %i', async (threads) => {
    const own = await createRuntime({ build: 'simd', threads, packs: PACKS });
    if (threads > 1) shareAll(own);
    const faults = new Faults(own);
    const model = await load(own);
    /** Lets each request of an action fail in turn, until none is left. */
    const everywhere = async (
      action: () => unknown,
      check: () => void | Promise<void>,
      least: number,
    ): Promise<void> => {
      for (const withoutStack of [false, true]) {
        for (let before = 0; ; before++) {
          const held = own.memory.used;
          faults.arm(before, withoutStack);
          let failed: unknown;
          try {
            const result = (await action()) as { dispose?: () => void } | undefined;
            result?.dispose?.();
          } catch (error) {
            failed = error;
          }
          const { struck } = faults;
          faults.disarm();
          expect(own.memory.used).toBe(held);
          if (!struck) {
            expect(failed).toBeUndefined();
            expect(before).toBeGreaterThanOrEqual(withoutStack ? least : 0);
            break;
          }
          expect((failed as AttentionError).code).toBe('OUT_OF_MEMORY');
          await check();
        }
      }
    };
    await everywhere(
      () => new Trainable(model),
      () => {},
      10,
    );
    for (const recompute of [false, true]) {
      const learner = new Trainable(model, { recompute });
      const parameters = await parametersOf(model);
      await everywhere(
        () => learner.forward({ inputIds: IDS }),
        () => {},
        20,
      );
      const output = learner.forward({ inputIds: IDS });
      const { gradient } = crossEntropy(output.logits, LABELS);
      learner.backward(output.record, { logits: gradient! }).dispose();
      const wanted = gradientsOf(learner);
      learner.zeroGradients();
      await everywhere(
        () => {
          const gradients = learner.backward(output.record, { logits: gradient! });
          learner.zeroGradients();
          return gradients;
        },
        () => learner.zeroGradients(),
        20,
      );
      await everywhere(
        async () => {
          const gradients = await learner.backwardAsync(output.record, { logits: gradient! });
          learner.zeroGradients();
          return gradients;
        },
        () => learner.zeroGradients(),
        20,
      );
      learner.backward(output.record, { logits: gradient! }).dispose();
      const full = gradientsOf(learner);
      expect(full).toEqual(wanted);
      await everywhere(
        () => clipGradients(learner, 1e9),
        () => expect(gradientsOf(learner)).toEqual(full),
        1,
      );
      await everywhere(
        () => new AdamW(learner),
        () => {},
        10,
      );
      const optimizer = new AdamW(learner, { learningRate: 0.1 });
      let known = { steps: 0, parameters };
      await everywhere(
        async () => {
          optimizer.step();
          faults.disarm();
          known = { steps: known.steps + 1, parameters: await parametersOf(model) };
        },
        async () => {
          expect({ steps: optimizer.steps, parameters: await parametersOf(model) }).toEqual(known);
        },
        1,
      );
      for (const held of [optimizer, output, gradient!, learner]) held.dispose();
    }
    model.dispose();
    own.dispose();
  });
});

describe('ten thousand steps', () => {
  it.each([false, true])('take no more memory than ten; recompute: %s', async (recompute) => {
    const own = await createRuntime({ build: 'simd', packs: PACKS });
    const layer = new TransformerBlock(own, { embedDim: 4, numHeads: 1, feedForwardDim: 4, causal: true });
    const tensors = zerosFor(layer);
    const random = new Random(8);
    for (const { data } of Object.values(tensors)) data.forEach((_, i) => (data[i] = random.normal()));
    layer.load(tensors);
    const learner = new Trainable(layer, { recompute });
    const optimizer = new AdamW(learner, { learningRate: 1e-4 });
    const x = own.tensor(
      Float32Array.from({ length: 12 }, (_, i) => Math.sin(i)),
      [1, 3, 4],
    );
    const step = () => {
      const output = learner.forward(x);
      learner.backward(output.record, output.output).dispose();
      output.dispose();
      clipGradients(learner, 1);
      optimizer.step();
      learner.zeroGradients();
    };
    for (let i = 0; i < 10; i++) step();
    const { used, capacity, peak } = own.memory;
    for (let i = 0; i < 10_000; i++) step();
    expect(own.memory).toEqual({ used, capacity, peak });
    expect(optimizer.steps).toBe(10_010);
    own.dispose();
    await Promise.resolve();
  });
});
