// Steps of training whole checkpoints, judged by what transformers and PyTorch compute from the same files: the losses over steps of
// AdamW on one batch, and the norm of every parameter's gradient. A test for each folder, on every build; WASM_ATTENTION_MODELS names
// another folder of such folders.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRuntime } from 'wasm-attention';
import type { Runtime, Tensor } from 'wasm-attention';
import { loadModel } from 'wasm-attention/model';
import type { Model } from 'wasm-attention/model';
import { AdamW, crossEntropy, Trainable, training } from 'wasm-attention/training';
import type { TrainableOptions, TrainingOutput } from 'wasm-attention/training';
import { needs } from '../support/needs.js';
import { builds } from '../support/runtimes.js';
import { modelNames, readModelFolder } from './model-cases.js';
import type { Inputs, ModelFolder, TrainingCase } from './model-cases.js';

/** What is predicted, by the name of the output. */
interface Task {
  readonly output: 'logits' | 'predictionLogits' | 'seqRelationshipLogits';
  readonly labels: Int32Array;
}

/** Labels of decoders are those of the next token; of all others those of the token, or of the row. */
function tasksOf(model: Model, { inputs }: TrainingCase): Task[] {
  const { data, dims } = inputs['labels']!;
  const given = Int32Array.from(data);
  const next = inputs['next_sentence_label'];
  if (next)
    return [
      { output: 'predictionLogits', labels: given },
      { output: 'seqRelationshipLogits', labels: Int32Array.from(next.data) },
    ];
  if (model.description.kind !== 'decoder') return [{ output: 'logits', labels: given }];
  const length = dims[1]!;
  const labels = given.map((_, i) => (i % length === length - 1 ? -100 : given[i + 1]!));
  return [{ output: 'logits', labels }];
}

const withoutLabels = (inputs: Inputs): Inputs =>
  Object.fromEntries(Object.entries(inputs).filter(([name]) => !/label/.test(name)));

/** The loss, and the gradients of the outputs that it is of. */
function lossOf(output: TrainingOutput, tasks: readonly Task[]) {
  let loss = 0;
  const gradients: Record<string, Tensor> = {};
  for (const { output: name, labels } of tasks) {
    const one = crossEntropy(output[name], labels);
    loss += one.loss;
    gradients[name] = one.gradient!;
  }
  return { loss, gradients };
}

/** What is wrong with the losses and the norms. */
function train(learner: Trainable, optimizer: AdamW, expected: TrainingCase, model: Model): string[] {
  const wrong: string[] = [];
  const tasks = tasksOf(model, expected);
  const inputs = withoutLabels(expected.inputs);
  for (const [step, wanted] of expected.losses.entries()) {
    const output = learner.forward(inputs);
    const { loss, gradients } = lossOf(output, tasks);
    if (!(Math.abs(loss - wanted) <= 1e-4 + 1e-4 * wanted))
      wrong.push(`loss ${step} is ${loss} in place of ${wanted}`);
    learner.backward(output.record, gradients).dispose();
    for (const gradient of Object.values(gradients)) gradient.dispose();
    output.dispose();
    if (step === 0) wrong.push(...compareNorms(learner, expected.norms));
    optimizer.step();
    learner.zeroGradients();
  }
  return wrong;
}

function compareNorms(learner: Trainable, norms: TrainingCase['norms']): string[] {
  const names = new Set(learner.parameterNames);
  return Object.entries(norms).flatMap(([name, wanted]) => {
    if (!names.has(name)) return wanted === 0 ? [] : [`${name} is not trained`];
    const norm = Math.hypot(...learner.gradient(name).data);
    return Math.abs(norm - wanted) <= 1e-4 + 1e-3 * wanted ? [] : [`${name}: ${norm} in place of ${wanted}`];
  });
}

async function compareFolder(
  runtime: Runtime,
  { configs, weights, modules, training: expected }: ModelFolder,
  options: TrainableOptions,
): Promise<string[]> {
  const model = await loadModel({ config: Object.values(configs)[0], weights, runtime, modules });
  const learner = new Trainable(model, options);
  const optimizer = new AdamW(learner, { learningRate: 1e-3, weightDecay: 0 });
  const wrong = train(learner, optimizer, expected!, model);
  optimizer.dispose();
  learner.dispose();
  model.dispose();
  return wrong;
}

needs('model-checkpoints').describe('training', () => {
  const names = modelNames().filter((name) => readModelFolder(name).training);
  it('has checkpoints', () => expect(names).not.toEqual([]));
  for (const build of builds) {
    describe(build, () => {
      let runtime: Runtime;
      beforeAll(async () => {
        runtime = await createRuntime({ build });
        await runtime.load(training);
      });
      afterAll(() => runtime.dispose());
      for (const name of names) {
        for (const recompute of [false, true]) {
          it(recompute ? `${name}, computing blocks again` : name, async () => {
            const used = runtime.memory.used;
            expect(await compareFolder(runtime, readModelFolder(name), { recompute })).toEqual([]);
            expect(runtime.memory.used).toBe(used);
          });
        }
      }
    });
  }
});
