// What training adds to a model: elements that are left out, and low-rank adapters beside its layers.

import { expect, it } from 'vitest';
import type { Runtime } from 'wasm-attention';
import { loadModel } from 'wasm-attention/model';
import type { Model } from 'wasm-attention/model';
import { AdamW, crossEntropy, Trainable } from 'wasm-attention/training';
import type { TrainableOptions, TrainingForwardOptions } from 'wasm-attention/training';
import { smallModel } from '../support/small-models.js';
import { eachTrainingBuild } from '../support/training.js';

const inputs = { inputIds: [[5, 9, 12, 7, 20, 6, 11, 8]] };
const labels = [9, 12, 7, 20, 6, 11, 8, -100];

const load = (runtime: Runtime, title = 'gpt2: usual') => {
  const { config, weights } = smallModel(title);
  return loadModel({ config, weights, runtime });
};

/** Loss and, unless it is not wanted, what its way back adds to gradients. */
function lossOf(learner: Trainable, options: TrainingForwardOptions = {}, back = true): number {
  const output = learner.forward(inputs, options);
  const { loss, gradient } = crossEntropy(output.logits, labels);
  if (back) learner.backward(output.record, { logits: gradient }).dispose();
  gradient!.dispose();
  output.dispose();
  return loss;
}

function train(learner: Trainable, steps: number): number[] {
  const optimizer = new AdamW(learner, { learningRate: 0.02, weightDecay: 0 });
  const losses = Array.from({ length: steps }, () => {
    learner.zeroGradients();
    const loss = lossOf(learner);
    optimizer.step();
    return loss;
  });
  optimizer.dispose();
  return losses;
}

const logitsOf = (model: Model): Float32Array => {
  const output = model.forward(inputs);
  const logits = output.logits!.toFloat32Array();
  output.dispose();
  return logits;
};

const learnersLogits = (learner: Trainable, options: TrainingForwardOptions = {}): Float32Array => {
  const output = learner.forward(inputs, options);
  const logits = output.logits.toFloat32Array();
  output.dispose();
  return logits;
};

const farthest = (a: Float32Array, b: Float32Array): number =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);

await eachTrainingBuild('what training adds', (runtime) => {
  it.each(['gpt2: usual', 'llama: no shared heads, an unsaid number of them', 'gpt_neox: no head'])(
    'leaves out the same for the same seed, and on the way back: %s',
    async (title) => {
      const model = await load(runtime, title);
      for (const recompute of [false, true]) {
        const learner = new Trainable(model, { recompute });
        const name =
          model.description.kind === 'decoder' && title.includes('no head') ? 'lastHiddenState' : 'logits';
        const options = (seed: number) => ({ dropout: { hidden: 0.2, attention: 0.3, seed } });
        const run = (seed?: number) => {
          const output = learner.forward(inputs, seed === undefined ? {} : options(seed));
          const values = output[name].toFloat32Array();
          output.dispose();
          return values;
        };
        expect(run(3)).toEqual(run(3));
        expect(run(3)).not.toEqual(run(4));
        expect(run(3)).not.toEqual(run());
        expect(learnerOutput(learner, name, { dropout: { seed: 3 } })).toEqual(run());
        learner.dispose();
      }
      model.dispose();
    },
  );

  it('goes back through what is left in', async () => {
    const model = await load(runtime);
    const options = { dropout: { hidden: 0.2, attention: 0.3, seed: 5 } };
    for (const recompute of [false, true]) {
      const learner = new Trainable(model, { recompute });
      lossOf(learner, options);
      // One step of gradient descent, forth and back: the loss changes by the square of the gradient's length.
      const step = (by: number) => {
        for (const parameter of learner.parameters) {
          for (const [to, from] of addressesOf(runtime, parameter))
            to.forEach((_, i) => (to[i]! += by * from[i]!));
        }
      };
      const square = learner.parameterNames.reduce(
        (sum, name) => learner.gradient(name).data.reduce((all, value) => all + value * value, sum),
        0,
      );
      const by = 0.003 / Math.sqrt(square);
      step(by);
      const above = lossOf(learner, options, false);
      step(-2 * by);
      const below = lossOf(learner, options, false);
      step(by);
      expect((above - below) / (2 * by) / square).toBeCloseTo(1, 1.5);
      learner.dispose();
    }
    model.dispose();
  });

  it('adapters change nothing at first, learn while all else stays, and are merged', async () => {
    const { used } = runtime.memory;
    const model = await load(runtime);
    const before = logitsOf(model);
    const options: TrainableOptions = {
      adapters: { match: /c_attn|c_fc|c_proj/, rank: 3, alpha: 6, seed: 2 },
    };
    const learner = new Trainable(model, options);
    expect(learner.parameterNames.every((name) => /lora_[AB]\.weight$/.test(name))).toBe(true);
    expect(learnersLogits(learner)).toEqual(before);
    const losses = train(learner, 12);
    expect(losses.at(-1)).toBeLessThan(0.7 * losses[0]!);
    expect(logitsOf(model)).toEqual(before);
    const learnt = learnersLogits(learner);
    expect(farthest(learnt, before)).toBeGreaterThan(0.1);

    const state = learner.adapterState();
    const other = new Trainable(model, options);
    other.loadAdapters(state);
    expect(learnersLogits(other)).toEqual(learnt);
    for (const tensor of Object.values(state)) tensor.dispose();

    learner.mergeAdapters();
    expect(farthest(logitsOf(model), learnt)).toBeLessThan(1e-4);
    expect(learnersLogits(learner)).toEqual(logitsOf(model));
    other.dispose();
    learner.dispose();
    model.dispose();
    expect(runtime.memory.used).toBe(used);
  });

  it('adapters of parts of one matrix learn apart, beside what is trained as a whole', async () => {
    const model = await load(runtime, 'llama: no shared heads, an unsaid number of them');
    const learner = new Trainable(model, {
      adapters: { match: /q_proj|v_proj/, rank: 2 },
      frozen: (name) => !name.includes('norm'),
    });
    expect(learner.parameterNames.some((name) => name.includes('k_proj'))).toBe(false);
    expect(learner.parameterNames.some((name) => name.endsWith('norm.weight'))).toBe(true);
    lossOf(learner);
    for (const name of learner.parameterNames.filter((each) => each.includes('lora'))) {
      const { data, shape } = learner.gradient(name);
      expect(data.length).toBe(shape[0]! * shape[1]!);
      // B is zero, so only its own gradient is not.
      expect(data.some((value) => value !== 0)).toBe(name.includes('lora_B'));
    }
    const losses = train(learner, 12);
    expect(losses.at(-1)).toBeLessThan(losses[0]!);
    learner.mergeAdapters();
    expect(farthest(logitsOf(model), learnersLogits(learner))).toBeLessThan(1e-5);
    learner.dispose();
    model.dispose();
  });

  it('refuses what cannot be', async () => {
    const { used } = runtime.memory;
    const model = await load(runtime);
    const held = runtime.memory.used;
    const wrong = (argument: string, options: object) => {
      expect(() => new Trainable(model, options)).toThrow(
        expect.objectContaining({ name: 'AttentionError', argument }) as Error,
      );
      expect(runtime.memory.used).toBe(held);
    };
    wrong('adapters.match', { adapters: { rank: 2 } });
    wrong('adapters.match', { adapters: { match: /nothing/, rank: 2 } });
    wrong('rank', { adapters: { match: /c_attn/, rank: 0 } });
    wrong('alpha', { adapters: { match: /c_attn/, rank: 2, alpha: -1 } });
    wrong('frozen', { frozen: 'wte' });
    const learner = new Trainable(model);
    for (const [argument, dropout] of [
      ['dropout.hidden', { hidden: 1, seed: 1 }],
      ['dropout.attention', { attention: -0.1, seed: 1 }],
      ['dropout.seed', { hidden: 0.1 }],
      ['dropout.seed', { hidden: 0.1, seed: 0.5 }],
    ] as const)
      expect(() => learner.forward(inputs, { dropout: dropout as never })).toThrow(
        expect.objectContaining({ name: 'AttentionError', argument }) as Error,
      );
    learner.dispose();
    model.dispose();
    expect(runtime.memory.used).toBe(used);
  });
});

function learnerOutput(
  learner: Trainable,
  name: 'logits' | 'lastHiddenState',
  options: TrainingForwardOptions,
): Float32Array {
  const output = learner.forward(inputs, options);
  const values = output[name].toFloat32Array();
  output.dispose();
  return values;
}

/** A parameter and its gradient as they lie in memory. */
function addressesOf(
  runtime: Runtime,
  { address, gradientAddress, count }: Trainable['parameters'][number],
): [Float32Array, Float32Array][] {
  const scope = { use: <Held>(held: Held) => held };
  const { buffer } = (runtime as unknown as { linearMemory: { buffer: ArrayBuffer } }).linearMemory;
  return [
    [address(scope as never), gradientAddress(scope as never)].map(
      (at) => new Float32Array(buffer, at, count),
    ) as [Float32Array, Float32Array],
  ];
}
