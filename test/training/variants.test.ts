// Gradients of every family with the settings, sizes and heads that published checkpoints have, against finite differences of the
// float64 reference: along random directions that move every parameter, and of every output at once.

import { expect, it } from 'vitest';
import type { Runtime, TensorLike } from 'wasm-attention';
import { loadModel } from 'wasm-attention/model';
import { Trainable } from 'wasm-attention/training';
import type { TrainableOptions, TrainingOutput } from 'wasm-attention/training';
import { counting } from '../conformance/model-cases.js';
import { referenceModel } from '../reference/transformer.js';
import type { Nested, RowInputs, WeightSource } from '../reference/transformer.js';
import { Random } from '../reference/random.js';
import { VARIANTS, inputsFor } from '../support/model-variants.js';
import type { Config } from '../support/model-variants.js';
import { RandomWeights, batchOf, expectedOutputs, safetensors } from '../support/random-checkpoint.js';
import type { Numbers } from '../support/random-checkpoint.js';
import { eachTrainingBuild } from '../support/training.js';

/** Outputs of the reference by what `Trainable` calls them. */
const OUTPUTS: Readonly<Record<string, keyof TrainingOutput>> = {
  last_hidden_state: 'lastHiddenState',
  decoder_last_hidden_state: 'lastHiddenState',
  encoder_last_hidden_state: 'encoderLastHiddenState',
  logits: 'logits',
  pooler_output: 'poolerOutput',
  prediction_logits: 'predictionLogits',
  seq_relationship_logits: 'seqRelationshipLogits',
  sop_logits: 'seqRelationshipLogits',
  cls_logits: 'clsLogits',
  distillation_logits: 'distillationLogits',
  sentence_embedding: 'sentenceEmbedding',
  text_features: 'textFeatures',
  image_features: 'visionFeatures',
  vision_features: 'visionFeatures',
  text_embeds: 'textEmbeddings',
  image_embeds: 'visionEmbeddings',
  logits_per_image: 'logitsPerImage',
};

/** Step of the differences: small enough that hardly a relu turns, large enough for float64. */
const STEP = 1e-6;
/** Of the sum of all that moves: what float32 loses, far below what a wrong gradient does. */
const LIMIT = 2e-4;

/** What a family's own code does not train: buffers, and positions that are not learned. */
function isFixed(config: Config, name: string): boolean {
  switch (config['model_type']) {
    case 'bart':
      return name === 'final_logits_bias';
    case 'whisper':
      return name.endsWith('encoder.embed_positions.weight');
    case 'distilbert':
      return config['sinusoidal_pos_embds'] === true && name.endsWith('position_embeddings.weight');
    default:
      return false;
  }
}

type Weighting = Readonly<Record<string, Float32Array>>;

/** Random factors of all elements of outputs that count; their sum is the loss. */
function weigh(expected: Readonly<Record<string, Numbers>>, inputs: Record<string, never>): Weighting {
  const random = new Random(11);
  return Object.fromEntries(
    Object.entries(expected)
      .filter(([key]) => key in OUTPUTS)
      .map(([key, values]) => {
        const counts = counting(key, values, inputs);
        const scale = 1 / Math.sqrt(values.data.length);
        return [key, values.data.map((_, i) => (counts(i) ? scale * random.normal() : 0))];
      }),
  );
}

/** The loss, in float64, of weights that are moved. */
function lossOf(
  config: Config,
  source: WeightSource,
  rows: readonly RowInputs[],
  weighting: Weighting,
): number {
  const outputs = rows.map((row) => referenceModel(config, source, row));
  let loss = 0;
  for (const [key, factors] of Object.entries(weighting)) {
    const values = (outputs.map((each) => each[key]) as Nested[] as []).flat(Infinity) as number[];
    values.forEach((value, i) => (loss += factors[i] === 0 ? 0 : factors[i]! * value));
  }
  return loss;
}

/** Weights, moved along a direction. */
class Moved implements WeightSource {
  constructor(
    readonly weights: RandomWeights,
    readonly directions: ReadonlyMap<string, Float64Array>,
    readonly step: number,
  ) {}

  tensor(...asked: Parameters<RandomWeights['tensor']>): ArrayLike<number> {
    const direction = this.directions.get(asked[0]);
    const values = Float64Array.from(this.weights.tensor(...asked));
    return direction ? values.map((value, i) => value + this.step * direction[i]!) : values;
  }
}

async function compare(
  { runtime, options }: { runtime: Runtime; options: TrainableOptions },
  config: Config,
  seed: number,
): Promise<void> {
  const rows = inputsFor(config);
  const weights = new RandomWeights(seed);
  const expected = expectedOutputs(config, weights, rows);
  const inputs = batchOf(rows) as Record<string, never>;
  const weighting = weigh(expected, inputs);
  const model = await loadModel({ config, weights: safetensors(weights.tensors), runtime });
  const learner = new Trainable(model, options);
  const output = learner.forward(inputs);
  // An output that nobody knows would not be judged.
  expect(Object.keys(weighting).length).toBeGreaterThan(0);
  const gradients = Object.fromEntries(
    Object.entries(weighting).map(([key, data]): [string, TensorLike] => [
      OUTPUTS[key] as string,
      { data, shape: expected[key]!.dims },
    ]),
  );
  learner.backward(output.record, gradients).dispose();
  const known = new Map(learner.parameterNames.map((name) => [name, learner.gradient(name).data]));
  output.dispose();
  learner.dispose();
  model.dispose();
  for (let direction = 0; direction < 2; direction++) {
    const random = new Random(100 + direction);
    // Each tensor moves the loss about as much as the others do.
    const directions = new Map(
      [...weights.tensors]
        .filter(([name]) => !isFixed(config, name))
        .map(([name, { data }]) => {
          const norm = Math.hypot(...(known.get(name) ?? [1])) + 0.1;
          return [name, Float64Array.from(data, () => random.normal() / norm)];
        }),
    );
    const [up, down] = [STEP, -STEP].map((step) =>
      lossOf(config, new Moved(weights, directions, step), rows, weighting),
    ) as [number, number];
    let actual = 0;
    let size = 0;
    for (const [name, move] of directions) {
      const gradient = known.get(name);
      expect(gradient, name).toBeDefined();
      const moved = move.reduce((sum, value, i) => sum + value * gradient![i]!, 0);
      actual += moved;
      size += Math.abs(moved);
    }
    expect(Math.abs(actual - (up - down) / (2 * STEP))).toBeLessThan(LIMIT * Math.max(1, size));
  }
}

await eachTrainingBuild('variants', (runtime) => {
  for (const [seed, { title, config }] of VARIANTS.entries()) {
    it(title, async () => {
      const used = runtime.memory.used;
      await compare({ runtime, options: { recompute: seed % 3 === 0 } }, config, seed + 1);
      expect(runtime.memory.used).toBe(used);
    });
  }
});
