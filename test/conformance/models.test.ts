// Whole checkpoints judged by what transformers computes from the same files: a test for each folder, on every build, with one and
// two threads. WASM_ATTENTION_MODELS names another folder of such folders.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRuntime } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { loadModel } from 'wasm-attention/model';
import type { Model } from 'wasm-attention/model';
import { needs } from '../support/needs.js';
import { builds } from '../support/runtimes.js';
import {
  counting,
  differences,
  limitOf,
  modelNames,
  readModelFolder,
  readOutput,
  weightsOfRecord,
} from './model-cases.js';
import type { GenerationCase, Inputs, ModelCase, ModelFolder, Numbers } from './model-cases.js';

/** What is wrong with the outputs of a case. */
function compareCase(model: Model, { name, inputs, outputs, hints }: ModelCase): string[] {
  const wrong: string[] = [];
  const compare = (
    how: string,
    read: (output: never, key: string) => Numbers | undefined,
    keys: string[],
    options: object,
  ) => {
    const output = model.forward(inputs, options);
    for (const key of keys) {
      const expected = outputs[key]!;
      const counts = counting(key, expected, inputs);
      const actual = read(output as never, key);
      wrong.push(...differences(`${name}, ${key}${how}`, actual, expected, limitOf(hints[key]), counts));
    }
    output.dispose();
  };
  const keys = Object.keys(outputs);
  compare('', readOutput, keys, { returnWeights: true, returnHiddenStates: true });
  const attentions = keys.filter((key) => /attentions\.\d+$/.test(key));
  compare(' from its record', weightsOfRecord, attentions, { returnRecord: true });
  return wrong;
}

interface Generated {
  readonly tokens: number[];
  readonly logits: Float32Array[];
}

/** Greedy tokens and the logits of each step, of each row of the inputs. */
async function generated(model: Model, inputs: unknown, rows: number, steps: number): Promise<Generated[]> {
  const all = Array.from({ length: rows }, (): Generated => ({ tokens: [], logits: [] }));
  const onLogits = (logits: Float32Array, row: number) => void all[row]!.logits.push(logits.slice());
  for await (const { tokens } of model.generate(inputs as never, {
    maxNewTokens: steps,
    stopTokens: [],
    onLogits,
  })) {
    tokens.forEach((token, row) => all[row]!.tokens.push(token));
  }
  return all;
}

function compareGeneration(
  how: string,
  { tokens, logits: all }: Generated,
  expected: GenerationCase,
): string[] {
  const { tokens: wanted, logits, hint } = expected;
  const [steps, width] = logits.dims as [number, number];
  const wrong =
    String(tokens) === String(wanted) ? [] : [`${how}: tokens ${tokens.join()} in place of ${wanted.join()}`];
  for (let step = 0; step < steps; step++) {
    const data = logits.data.subarray(step * width, (step + 1) * width);
    const own = all[step];
    const actual = own && { data: own, dims: [width] };
    wrong.push(
      ...differences(
        `${how}, logits of step ${step}`,
        actual,
        { data, dims: [width] },
        limitOf(hint),
        () => true,
      ),
    );
  }
  return wrong;
}

const rowsOf = ({ data, dims }: Numbers): number[][] =>
  Array.from({ length: dims[0]! }, (_, b) => Array.from(data.subarray(b * dims[1]!, (b + 1) * dims[1]!)));

/** All prompts as one batch: lists of tokens of different lengths; sound, which has one length, one after the other. */
function together(cases: readonly GenerationCase[]): Record<string, unknown> {
  const names = Object.keys(cases[0]!.inputs);
  return Object.fromEntries(
    names.map((name): [string, unknown] => {
      const tensors = cases.map(({ inputs }) => inputs[name]!);
      if (tensors[0]!.data instanceof Int32Array) return [name, tensors.flatMap(rowsOf)];
      const data = Float32Array.from(tensors.flatMap((tensor) => [...tensor.data]));
      return [name, { data, dims: [tensors.length, ...tensors[0]!.dims.slice(1)] }];
    }),
  );
}

/** The logits of each prompt's last token where it is read whole, and by chunks into a cache. */
function chunked(model: Model, inputs: Inputs): { whole: Numbers; chunks: Numbers } {
  const whole = model.forward(inputs);
  const length = inputs['input_ids']!.dims[1]!;
  const cache = model.createCache({});
  const parts: Float32Array[] = [];
  for (let from = 0; from < length;) {
    const to = Math.min(length, from + 1 + ((from * 3) % 4));
    const ids = Array.from(inputs['input_ids']!.data.subarray(from, to));
    const output = model.forward({ inputIds: [ids] }, { cache });
    parts.push(output.logits!.toFloat32Array());
    output.dispose();
    from = to;
  }
  cache.dispose();
  const dims = whole.logits!.shape;
  const result = {
    whole: { data: whole.logits!.toFloat32Array(), dims },
    chunks: { data: Float32Array.from(parts.flatMap((part) => [...part])), dims },
  };
  whole.dispose();
  return result;
}

async function compareGenerations(model: Model, cases: readonly GenerationCase[]): Promise<string[]> {
  const wrong: string[] = [];
  for (const [i, each] of cases.entries()) {
    const [one] = await generated(model, each.inputs, 1, each.tokens.length);
    wrong.push(...compareGeneration(`prompt ${i}`, one!, each));
    if (model.description.kind !== 'decoder') continue;
    const { whole, chunks } = chunked(model, each.inputs);
    const limit = model.runtime.info.build === 'simd' ? 0 : limitOf(each.hint);
    wrong.push(...differences(`prompt ${i} by chunks`, chunks, whole, limit, () => true));
  }
  if (cases.length === 0) return wrong;
  // Beside a copy of itself where it is the only prompt.
  const batch = cases.length > 1 ? cases : [cases[0]!, cases[0]!];
  const steps = Math.max(...batch.map(({ tokens }) => tokens.length));
  const rows = await generated(model, together(batch), batch.length, steps);
  rows.forEach((row, i) => {
    const { length } = batch[i]!.tokens;
    const own = { tokens: row.tokens.slice(0, length), logits: row.logits };
    wrong.push(...compareGeneration(`row ${i} of a batch`, own, batch[i]!));
  });
  return wrong;
}

async function compareFolder(
  runtime: Runtime,
  { configs, weights, modules, cases, generation }: ModelFolder,
): Promise<string[]> {
  const wrong: string[] = [];
  for (const [file, config] of Object.entries(configs)) {
    const model = await loadModel({ config, weights, runtime, modules });
    const found = [
      ...cases.flatMap((each) => compareCase(model, each)),
      ...(await compareGenerations(model, generation)),
    ];
    wrong.push(...found.map((message) => `${file}: ${message}`));
    model.dispose();
  }
  return wrong;
}

needs('model-checkpoints').describe('checkpoints', () => {
  const names = modelNames();
  it('are there', () => expect(names).not.toEqual([]));
  for (const build of builds) {
    for (const threads of [1, 2]) {
      describe(`${build}, ${threads === 1 ? 'one thread' : 'two threads'}`, () => {
        let runtime: Runtime;
        beforeAll(async () => {
          runtime = await createRuntime({ build, threads });
        });
        afterAll(() => runtime.dispose());
        for (const name of names) {
          it(name, async () => {
            const used = runtime.memory.used;
            expect(await compareFolder(runtime, readModelFolder(name))).toEqual([]);
            expect(runtime.memory.used).toBe(used);
          });
        }
      });
    }
  }
});
