// Evaluation: the mean loss and the accuracy over labels that count, against arithmetic over the model's own logits.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { createRuntime } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { loadModel, model as modelPack, LayerNorm } from 'wasm-attention/model';
import type { Model } from 'wasm-attention/model';
import { evaluate, initialWeights, Trainable } from 'wasm-attention/training';
import type { Batch } from 'wasm-attention/training';

const CONFIG = {
  ...{ model_type: 'gpt2', vocab_size: 19, n_embd: 8, n_head: 2, n_layer: 1, n_positions: 8 },
  initializer_range: 0.5,
};

let runtime: Runtime;
let model: Model;
beforeAll(async () => {
  // The kernels of training come by themselves.
  runtime = await createRuntime({ build: 'simd', packs: [modelPack] });
  model = await loadModel({
    config: CONFIG,
    weights: await initialWeights({ config: CONFIG, seed: 1 }),
    runtime,
  });
});
afterAll(() => {
  model.dispose();
  expect(runtime.memory.used).toBe(0);
  runtime.dispose();
});

const BATCHES: Batch[] = [
  {
    inputs: {
      inputIds: [
        [1, 2, 3],
        [4, 5],
      ],
    },
    labels: [
      [2, 3, 4],
      [5, -100],
    ],
  },
  { inputs: { inputIds: [[7, 8, 9, 10]] }, labels: [8, 9, 10, 11] },
  { inputs: { inputIds: [[7]] }, labels: [-100] },
];

/** Sum of losses, right answers and labels that count, in float64. */
function expected(ignored = -100) {
  let [loss, right, tokens] = [0, 0, 0];
  for (const { inputs, labels } of BATCHES) {
    const output = model.forward(inputs as never);
    const logits = output.logits!;
    const [batch, length, classes] = logits.shape as [number, number, number];
    const rows = Array.isArray(labels![0]) ? (labels as number[][]) : [labels as number[]];
    for (let b = 0; b < batch; b++) {
      for (let i = 0; i < length; i++) {
        const label = rows[b]![i] ?? ignored;
        if (label === ignored) continue;
        const row = [...logits.data.subarray((b * length + i) * classes, (b * length + i + 1) * classes)];
        const most = Math.max(...row);
        loss += most + Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0)) - row[label]!;
        right += row.indexOf(most) === label ? 1 : 0;
        tokens++;
      }
    }
    output.dispose();
  }
  return { loss: loss / tokens, accuracy: right / tokens, tokens };
}

it('is that of the logits', async () => {
  const { used } = runtime.memory;
  const { loss, accuracy, tokens } = expected();
  expect(tokens).toBe(8);
  const found = await evaluate(model, BATCHES);
  expect(found.loss).toBeCloseTo(loss, 5);
  expect([found.accuracy, found.tokens]).toEqual([accuracy, tokens]);
  expect(runtime.memory.used).toBe(used);
});

it('counts right answers', async () => {
  const output = model.forward({ inputIds: [[3, 1, 4]] });
  const { data } = output.logits!;
  const best = [0, 1, 2].map((row) => {
    const logits = [...data.subarray(row * 19, row * 19 + 19)];
    return logits.indexOf(Math.max(...logits));
  });
  output.dispose();
  const wrong = (label: number) => (label + 1) % 19;
  const labels = [best[0]!, wrong(best[1]!), best[2]!];
  expect((await evaluate(model, [{ inputs: { inputIds: [[3, 1, 4]] }, labels }])).accuracy).toBeCloseTo(
    2 / 3,
    10,
  );
});

it('takes batches one by one, sooner or later, and a Trainable, whose adapters count', async () => {
  const first = await evaluate(model, BATCHES);
  async function* later() {
    for (const batch of BATCHES) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      yield batch;
    }
  }
  expect(await evaluate(model, later())).toEqual(first);
  const learner = new Trainable(model, { adapters: { match: /attn/, rank: 2 } });
  expect((await evaluate(learner, new Set(BATCHES))).loss).toBeCloseTo(first.loss, 5);
  const state = learner.adapterState();
  for (const tensor of Object.values(state)) tensor.data.forEach((_, i, data) => (data[i] = Math.sin(i)));
  learner.loadAdapters(state);
  expect(Math.abs((await evaluate(learner, BATCHES)).loss - first.loss)).toBeGreaterThan(1e-3);
  for (const tensor of Object.values(state)) tensor.dispose();
  learner.dispose();
});

it('counts another label as none where it is told to', async () => {
  const batch = {
    inputs: {
      inputIds: [
        [1, 2, 3],
        [4, 5],
      ],
    },
    labels: [[2, 3, 4], [5]],
  };
  const other = { ...batch, labels: [[2, 3, 0], [5]] };
  const { tokens } = await evaluate(model, [other], { ignoreIndex: 0 });
  expect(tokens).toBe(3);
  expect((await evaluate(model, [batch])).tokens).toBe(4);
});

it('of nothing is nothing', async () => {
  expect(await evaluate(model, [])).toEqual({ loss: 0, accuracy: 0, tokens: 0 });
});

it('refuses what it cannot read, and ends when it is told to; nothing stays', async () => {
  const { used } = runtime.memory;
  const bad: [unknown, unknown, unknown, object][] = [
    [{}, BATCHES, {}, { code: 'INVALID_ARGUMENT', argument: 'network' }],
    [model, 7, {}, { code: 'INVALID_ARGUMENT', argument: 'batches' }],
    [model, [{ input: 1 }], {}, { code: 'INVALID_ARGUMENT', argument: 'batch.input' }],
    [model, [{ inputs: { inputIds: [1] } }], {}, { code: 'INVALID_ARGUMENT', argument: 'labels' }],
    [
      model,
      [{ inputs: { inputIds: [1, 2] }, labels: [1] }],
      {},
      { code: 'INVALID_SHAPE', argument: 'labels' },
    ],
    [
      model,
      [{ inputs: { inputIds: [1] }, labels: [19] }],
      {},
      { code: 'INVALID_ARGUMENT', argument: 'labels[0]' },
    ],
    [model, BATCHES, { ignoreIndex: 0.5 }, { code: 'INVALID_ARGUMENT', argument: 'ignoreIndex' }],
    [model, BATCHES, { signal: 1 }, { code: 'INVALID_ARGUMENT', argument: 'signal' }],
    [model, BATCHES, { seed: 1 }, { code: 'INVALID_ARGUMENT', argument: 'seed' }],
  ];
  for (const [network, batches, options, error] of bad)
    await expect(evaluate(network as never, batches as never, options as never)).rejects.toMatchObject(error);
  const signal = AbortSignal.abort(new Error('enough'));
  await expect(evaluate(model, BATCHES, { signal })).rejects.toThrow('enough');
  const norm = new LayerNorm(runtime, { channels: 2 });
  norm.load({ weight: { data: [1, 1], shape: [2] }, bias: { data: [0, 0], shape: [2] } });
  const learner = new Trainable(norm);
  const batch = { inputs: { data: [3, 5], shape: [1, 2] }, labels: [1] };
  await expect(evaluate(learner, [batch])).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    argument: 'network',
  });
  learner.dispose();
  norm.dispose();
  expect(runtime.memory.used).toBe(used);
});
