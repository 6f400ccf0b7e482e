// Small models of random weights, a file and a config each, by what tests need of them.

import { VARIANTS, inputsFor } from './model-variants.js';
import type { Config } from './model-variants.js';
import { RandomWeights, batchOf, expectedOutputs, safetensors } from './random-checkpoint.js';

export interface SmallModel {
  readonly config: Config;
  readonly weights: Uint8Array<ArrayBuffer>;
  /** Two rows, the second padded on the right where there is a mask. */
  readonly inputs: Record<string, never>;
}

/** The variant of a title, as `VARIANTS` has it. */
export function smallModel(title: string, changes: Config = {}): SmallModel {
  const variant = VARIANTS.find((each) => each.title === title);
  if (!variant) throw new Error(`no variant ${title}`);
  const config = { ...variant.config, ...changes };
  const rows = inputsFor(config);
  const weights = new RandomWeights(3);
  expectedOutputs(config, weights, rows);
  return { config, weights: safetensors(weights.tensors), inputs: batchOf(rows) as Record<string, never> };
}
