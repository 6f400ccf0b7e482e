// Steps of optimisers against float64, their bits, what they remember, and that no step is ever half done.

import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { createRuntime } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { AdamW, cosine, linearWarmup, SGD, training, trainableTensors } from 'wasm-attention/training';
import type { Optimizer, SGDOptions } from 'wasm-attention/training';
import { LinearWeights } from '../../src/ops/linear/linear.js';
import { AdamW as InternalAdamW } from '../../src/training/optimizers.js';
import { Random } from '../reference/random.js';
import { eachInternalBuild } from '../support/internals.js';
import { bits } from '../support/operations.js';
import { eachBuild } from '../support/runtimes.js';

type Rate = (step: number) => number;

/** One parameter over some steps, in float64. */
class Reference {
  readonly values: Float64Array;
  readonly #first: Float64Array;
  readonly #second: Float64Array;

  constructor(values: Float32Array) {
    this.values = Float64Array.from(values);
    this.#first = new Float64Array(values.length);
    this.#second = new Float64Array(values.length);
  }

  adamW(
    step: number,
    gradient: Float32Array,
    rate: number,
    decay: number,
    [b1, b2]: readonly number[],
  ): void {
    this.values.forEach((value, i) => {
      const g = gradient[i]!;
      this.#first[i] = b1! * this.#first[i]! + (1 - b1!) * g;
      this.#second[i] = b2! * this.#second[i]! + (1 - b2!) * g * g;
      const mean = this.#first[i] / (1 - b1! ** step);
      const root = Math.sqrt(this.#second[i] / (1 - b2! ** step));
      this.values[i] = value - rate * decay * value - (rate * mean) / (root + 1e-8);
    });
  }

  sgd(gradient: Float32Array, rate: number, decay: number, momentum: number, nesterov: boolean): void {
    this.values.forEach((value, i) => {
      const step = gradient[i]! + decay * value;
      this.#first[i] = momentum * this.#first[i]! + step;
      this.values[i] = value - rate * (nesterov ? step + momentum * this.#first[i] : this.#first[i]);
    });
  }
}

const rates = fc.constantFrom<Rate>(
  () => 0.02,
  linearWarmup(cosine(0.05, { steps: 8, least: 0.001 }), { steps: 3 }),
);
const decay = fc.constantFrom(0, 0.1);
/** Within a tile, at its end, over it, and lanes that fill no vector. */
const count = fc.oneof(fc.integer({ min: 1, max: 70 }), fc.constantFrom(4096, 4099, 8193));

/** Parameters of these sizes, and what sets gradients of the next step. */
function parameters(runtime: Runtime, random: Random, sizes: Readonly<Record<string, number>>) {
  const tensors = Object.fromEntries(
    Object.entries(sizes).map(([name, size]) => [
      name,
      { value: runtime.tensor(random.array(size, 'uniform')), gradient: runtime.empty([size]) },
    ]),
  );
  const all = Object.values(tensors);
  return {
    tensors,
    trainable: trainableTensors(runtime, tensors),
    next: () => all.forEach(({ gradient }) => gradient.data.set(random.array(gradient.size, 'uniform'))),
    bits: () => bits(all.map(({ value }) => value)),
    dispose: () => all.forEach(({ value, gradient }) => [value, gradient].forEach((made) => made.dispose())),
  };
}

function expectNear(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  let worst = 0;
  for (let i = 0; i < actual.length; i++) worst = Math.max(worst, Math.abs(actual[i]! - expected[i]!));
  expect(worst).toBeLessThan(3e-6);
}

await eachBuild('optimizers', (runtime) => {
  beforeAll(() => runtime.load(training));

  it('AdamW equals the reference, with schedules and groups', () => {
    const betas = fc.constantFrom<readonly [number, number]>([0.9, 0.999], [0.5, 0.75], [0, 0.9]);
    fc.assert(
      fc.property(count, rates, decay, betas, fc.integer(), (size, rate, weightDecay, betas, seed) => {
        const given = parameters(runtime, new Random(seed), { weight: size, bias: 5 });
        const { tensors, next } = given;
        const optimizer = new AdamW(given.trainable, {
          ...{ learningRate: rate, weightDecay, betas },
          groups: [{ match: /bias/g, weightDecay: 0 }],
        });
        const expected = Object.entries(tensors).map(
          ([name, tensor]) => [name, tensor, new Reference(tensor.value.data)] as const,
        );
        for (let step = 1; step <= 12; step++) {
          next();
          for (const [name, { gradient }, reference] of expected) {
            const own = name === 'bias' ? 0 : weightDecay;
            reference.adamW(step, gradient.data, rate(step), own, betas);
          }
          optimizer.step();
        }
        expect(optimizer.steps).toBe(12);
        for (const [, { value }, { values }] of expected) expectNear(value.data, values);
        optimizer.dispose();
        given.dispose();
      }),
      { numRuns: 40 },
    );
  });

  it('SGD equals the reference, with momentum and Nesterov momentum', () => {
    const kinds = fc.constantFrom<SGDOptions>({}, { momentum: 0.9 }, { momentum: 0.9, nesterov: true });
    fc.assert(
      fc.property(count, rates, decay, kinds, fc.integer(), (size, rate, weightDecay, kind, seed) => {
        const given = parameters(runtime, new Random(seed), { weight: size });
        const { value, gradient } = given.tensors.weight!;
        const optimizer = new SGD(given.trainable, { ...kind, learningRate: rate, weightDecay });
        const reference = new Reference(value.data);
        for (let step = 1; step <= 12; step++) {
          given.next();
          const { momentum = 0, nesterov = false } = kind;
          reference.sgd(gradient.data, rate(step), weightDecay, momentum, nesterov);
          optimizer.step();
        }
        expectNear(value.data, reference.values);
        optimizer.dispose();
        given.dispose();
      }),
      { numRuns: 40 },
    );
  });

  it('treats a parameter as the first group says that it matches', () => {
    const given = parameters(runtime, new Random(1), { 'a.bias': 3, 'b.bias': 3, c: 3 });
    const before = Object.values(given.tensors).map(({ value }) => value.data.slice());
    for (const { gradient } of Object.values(given.tensors)) gradient.data.fill(1);
    const groups = [
      { match: (name: string) => name.startsWith('a'), learningRate: 0 },
      { match: /bias/, learningRate: (step: number) => 0.25 * step },
    ];
    const optimizer = new SGD(given.trainable, { learningRate: 1, groups });
    optimizer.step();
    Object.values(given.tensors).forEach(({ value }, i) => {
      const step = [0, 0.25, 1][i]!;
      expectNear(
        value.data,
        before[i]!.map((x) => x - step),
      );
    });
  });

  const sizes = { weight: 50_001, table: 20_000, bias: 7 };
  const makers: Record<string, (given: ReturnType<typeof parameters>) => Optimizer> = {
    AdamW: ({ trainable }) => new AdamW(trainable),
    SGD: ({ trainable }) => new SGD(trainable, { momentum: 0.5, nesterov: true, weightDecay: 0.1 }),
  };

  describe.each(Object.entries(makers))('%s', (_, make) => {
    /** The bits after some steps from a state, or from the beginning. */
    const after = async (
      runtime: Runtime,
      step: (optimizer: Optimizer, i: number) => void | Promise<void>,
    ) => {
      const given = parameters(runtime, new Random(7), sizes);
      const optimizer = make(given);
      for (let i = 0; i < 6; i++) {
        given.next();
        await step(optimizer, i);
      }
      const result = given.bits();
      optimizer.dispose();
      given.dispose();
      return result;
    };

    it('has the same bits in slices and on threads', async () => {
      const expected = await after(runtime, (optimizer) => optimizer.step());
      expect(await after(runtime, (optimizer) => optimizer.stepAsync())).toEqual(expected);
      const threaded = await createRuntime({ build: runtime.info.build, threads: 2, packs: [training] });
      try {
        expect(await after(threaded, (optimizer) => optimizer.step())).toEqual(expected);
      } finally {
        threaded.dispose();
      }
    });

    it('goes on from its state with the same bits', () => {
      const given = parameters(runtime, new Random(7), sizes);
      const [first, second] = [make(given), make(given)];
      const run = (optimizer: Optimizer) => {
        given.next();
        optimizer.step();
      };
      for (let i = 0; i < 3; i++) run(first);
      const state = first.state();
      expect(state.step!.data).toEqual(Float32Array.of(3));
      const values = Object.values(given.tensors).map(({ value }) => value.data.slice());
      const gradients = new Random(8).array(sizes.weight, 'uniform');
      const next = (optimizer: Optimizer) => {
        Object.values(given.tensors).forEach(({ value, gradient }, i) => {
          value.data.set(values[i]!);
          gradient.data.set(gradients.subarray(0, gradient.size));
        });
        optimizer.step();
        return given.bits();
      };
      const expected = next(first);
      expect(next(second)).not.toEqual(expected);
      second.load(state);
      expect(next(second)).toEqual(expected);
      expect(second.steps).toBe(4);
      for (const made of [...Object.values(state), first, second, given]) made.dispose();
    });

    it('leaves old values to an abort before the step, and new ones to one after it has begun', async () => {
      const given = parameters(runtime, new Random(3), { weight: 3_000_000 });
      const copy = parameters(runtime, new Random(3), { weight: 3_000_000 });
      const [optimizer, other] = [make(given), make(copy)];
      given.next();
      copy.next();
      other.step();
      const before = given.bits();
      await expect(optimizer.stepAsync({ signal: AbortSignal.abort() })).rejects.toThrow();
      expect(given.bits()).toEqual(before);
      expect(optimizer.steps).toBe(0);
      const controller = new AbortController();
      const step = optimizer.stepAsync({ signal: controller.signal });
      controller.abort();
      expect(() => optimizer.step()).toThrow(expect.objectContaining({ code: 'INVALID_STATE' }) as Error);
      expect(() => optimizer.state()).toThrow(expect.objectContaining({ code: 'INVALID_STATE' }) as Error);
      await step;
      expect(given.bits()).toEqual(copy.bits());
      expect(optimizer.steps).toBe(1);
      for (const made of [optimizer, other, given, copy]) made.dispose();
    });

    it('takes memory once, and gives it back', () => {
      const given = parameters(runtime, new Random(3), { weight: 1000, bias: 3 });
      const { used } = runtime.memory;
      const optimizer = make(given);
      const held = runtime.memory.used;
      for (let i = 0; i < 10_000; i++) optimizer.step();
      expect(runtime.memory.used).toBe(held);
      optimizer.dispose();
      optimizer.dispose();
      expect(runtime.memory.used).toBe(used);
      expect(() => optimizer.step()).toThrow(expect.objectContaining({ code: 'DISPOSED' }) as Error);
      given.dispose();
    });
  });

  it('names what is wrong, before anything is written', () => {
    const given = parameters(runtime, new Random(2), { weight: 6, bias: 2 });
    const { trainable, tensors } = given;
    const { weight } = tensors;
    const before = given.bits();
    const { used } = runtime.memory;
    const wrong = (argument: string, call: () => unknown) => {
      expect(call, argument).toThrow(expect.objectContaining({ name: 'AttentionError', argument }) as Error);
      expect(runtime.memory.used).toBe(used);
      expect(given.bits()).toEqual(before);
    };
    const adamW = (options: object) => () => new AdamW(trainable, options);
    const sgd = (options: object) => () => new SGD(trainable, options);
    wrong('trainable', () => new AdamW(null as never));
    wrong('runtime', () => new AdamW({} as never));
    wrong('trainable', () => new AdamW({ runtime } as never));
    wrong('trainable.parameters', () => {
      const [one] = trainable.parameters;
      return new AdamW({ runtime, parameters: [one!, one!] });
    });
    wrong('learningRate', adamW({ learningRate: -1 }));
    wrong('weightDecay', adamW({ weightDecay: NaN }));
    wrong('betas', adamW({ betas: [0.9] }));
    wrong('betas[1]', adamW({ betas: [0.9, 1] }));
    wrong('epsilon', adamW({ epsilon: -1 }));
    wrong('groups', adamW({ groups: {} }));
    wrong('groups[0].match', adamW({ groups: [{ match: 'bias' }] }));
    wrong('groups[0].decay', adamW({ groups: [{ match: /bias/, decay: 0 }] }));
    wrong('momentum', adamW({ momentum: 0.9 }));
    wrong('momentum', sgd({ momentum: 1 }));
    wrong('nesterov', sgd({ nesterov: true }));
    const { value, gradient } = weight!;
    const asTensors = (given: unknown) => () => trainableTensors(runtime, { weight: given as never });
    wrong('weight.value', asTensors(value));
    wrong('weight', asTensors(null));
    wrong('weight.gradient', asTensors({ value, gradient: [1] }));
    wrong('weight.gradient', asTensors({ value, gradient: tensors.bias!.gradient }));
    wrong('weight.value', asTensors({ value: value.slice(0, 0, 1).withLayout([2], [2]), gradient }));
    const optimizer = new AdamW(trainable, { learningRate: (step) => (step < 1 ? 1 : NaN) });
    const held = runtime.memory.used;
    expect(() => optimizer.step()).toThrow(expect.objectContaining({ argument: 'learningRate' }) as Error);
    const state = optimizer.state();
    const load = (change: object) => () => optimizer.load({ ...state, ...change });
    const refuses = (argument: string, call: () => unknown) =>
      expect(call).toThrow(expect.objectContaining({ name: 'AttentionError', argument }) as Error);
    refuses('state.weight', load({ weight: value }));
    refuses('state.step', load({ step: [1] }));
    refuses('state.step', load({ step: { data: [1.5], shape: [1] } }));
    refuses('state.weight.exp_avg', load({ 'weight.exp_avg': undefined }));
    refuses('state.bias.exp_avg_sq', load({ 'bias.exp_avg_sq': value }));
    refuses('state', () => optimizer.load(undefined as never));
    for (const tensor of Object.values(state)) tensor.dispose();
    expect(runtime.memory.used).toBe(held);
    optimizer.dispose();
    given.dispose();
  });
});

await eachInternalBuild('optimizers of packed weights', (runtime) => {
  it('update them where they lie, keep what fills up panels zero, and have a state of the shape of the matrix', () => {
    const random = new Random(4);
    const [outs, ins] = [13, 11];
    const matrix = random.array(outs * ins, 'uniform');
    const weights = new LinearWeights(runtime, { data: matrix, shape: [outs, ins] });
    const { packed } = weights;
    const gradient = runtime.empty(packed.shape);
    const upstream = random.array(outs * ins, 'uniform');
    const place = (i: number) => {
      const [out, k] = [Math.floor(i / ins), i % ins];
      return ((out >> 3) * ins + k) * 8 + (out & 7);
    };
    gradient.data.fill(0);
    upstream.forEach((value, i) => (gradient.data[place(i)] = value));
    const parameter = {
      name: 'weight',
      shape: [outs, ins],
      count: 16 * ins,
      kind: 'panels',
      address: () => packed.address,
      gradientAddress: () => gradient.address,
    } as const;
    const make = () => new InternalAdamW({ runtime, parameters: [parameter] }, { weightDecay: 0.5 });
    const optimizer = make();
    optimizer.step();
    const expected = new Reference(matrix);
    expected.adamW(1, upstream, 0.001, 0.5, [0.9, 0.999]);
    expectNear(
      matrix.map((_, i) => packed.data[place(i)]!),
      expected.values,
    );
    const ours = new Set(matrix.map((_, i) => place(i)));
    packed.data.forEach((value, at) => {
      if (!ours.has(at)) expect(value).toBe(0);
    });
    const state = optimizer.state();
    const mean = state['weight.exp_avg']!;
    expect(mean.shape).toEqual([outs, ins]);
    expectNear(
      mean.data,
      upstream.map((value) => 0.1 * value),
    );
    const other = make();
    other.load(state);
    expect(bits(other.state())).toEqual(bits(state));
  });
});
