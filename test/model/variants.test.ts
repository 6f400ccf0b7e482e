// Every family with the settings, sizes and heads that published checkpoints have, against the float64 reference: random weights, all
// outputs, every build, and generation against the reference's own next token.

import { expect, it } from 'vitest';
import { loadModel } from 'wasm-attention/model';
import type { Model } from 'wasm-attention/model';
import { counting, differences, readOutput } from '../conformance/model-cases.js';
import { referenceModel } from '../reference/transformer.js';
import type { RowInputs } from '../reference/transformer.js';
import { VARIANTS, inputsFor } from '../support/model-variants.js';
import type { Config } from '../support/model-variants.js';
import { RandomWeights, batchOf, expectedOutputs, flat, safetensors } from '../support/random-checkpoint.js';
import { eachBuild } from '../support/runtimes.js';

/** Relative to the largest value: what float32 sums of this length lose at most, far below what a setting changes. */
const LIMIT = 5e-5;

function compareOutputs(
  model: Model,
  expected: ReturnType<typeof expectedOutputs>,
  rows: readonly RowInputs[],
): string[] {
  const inputs = batchOf(rows) as Record<string, never>;
  const output = model.forward(inputs, { returnWeights: true, returnHiddenStates: true });
  const wrong = Object.entries(expected).flatMap(([key, values]) => {
    const limit = LIMIT * Math.max(1, ...values.data.map(Math.abs));
    return differences(key, readOutput(output, key), values, limit, counting(key, values, inputs));
  });
  output.dispose();
  return wrong;
}

/** Of decoders of language: logits of three steps, each against a run of the reference over all of the text. */
async function compareSteps(
  model: Model,
  config: Config,
  weights: RandomWeights,
  row: RowInputs,
): Promise<string[]> {
  const wrong: string[] = [];
  const { kind } = model.description;
  const { input_ids, input_features } = row;
  const start = config['decoder_start_token_id'] as number;
  const text = input_features ? { input_features } : { input_ids: input_ids! };
  const own = kind === 'decoder' ? text : { ...text, decoder_input_ids: [start] };
  const onLogits = (logits: Float32Array, _row: number, tokens: readonly number[]) => {
    const all = { ...own, [kind === 'decoder' ? 'input_ids' : 'decoder_input_ids']: [...tokens] };
    const { dims, data } = flat(referenceModel(config, weights, all)['logits']!);
    const last = data.slice(-dims[1]!);
    const limit = LIMIT * Math.max(1, ...last.map(Math.abs));
    wrong.push(
      ...differences(
        `step ${tokens.length}`,
        { data: logits, dims: [dims[1]!] },
        { data: last, dims: [dims[1]!] },
        limit,
        () => true,
      ),
    );
  };
  let steps = 0;
  const inputs = batchOf([own]) as Record<string, never>;
  for await (const step of model.generate(inputs, { maxNewTokens: 3, stopTokens: [], onLogits }))
    steps += step.tokens.length;
  if (steps !== 3) wrong.push(`${steps} steps in place of 3`);
  return wrong;
}

await eachBuild('variants', (runtime) => {
  for (const [seed, { title, config }] of VARIANTS.entries()) {
    it(title, async () => {
      const used = runtime.memory.used;
      const rows = inputsFor(config);
      const weights = new RandomWeights(seed + 1);
      const expected = expectedOutputs(config, weights, rows);
      const model = await loadModel({ config, weights: safetensors(weights.tensors), runtime });
      expect(model.leftAside).toEqual([]);
      expect(compareOutputs(model, expected, rows)).toEqual([]);
      const [first] = rows as [RowInputs];
      // Under dynamic scaling earlier keys were rotated otherwise than in a run over all of the text.
      const isDynamic = title.includes('dynamic');
      if (
        /(LMHeadModel|ForCausalLM|ForConditionalGeneration)$/.test(
          (config['architectures'] as string[])[0]!,
        ) &&
        !isDynamic
      )
        expect(await compareSteps(model, config, weights, first)).toEqual([]);
      model.dispose();
      expect(runtime.memory.used).toBe(used);
    });
  }
});
