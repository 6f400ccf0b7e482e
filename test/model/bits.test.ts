// The simd build's bits of whole models: the same for any number of threads, in any company with padding on the right, at once and in
// slices, in any chunks and steps.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRuntime } from 'wasm-attention';
import type { Runtime, Tensor } from 'wasm-attention';
import { loadModel } from 'wasm-attention/model';
import type { Model, ModelOutput } from 'wasm-attention/model';
import { Random } from '../reference/random.js';
import { smallModel } from '../support/small-models.js';

const SEEN = { returnWeights: true, returnHiddenStates: true } as const;

/** Every tensor of an output by its path. */
function tensorsOf(output: object, path = ''): [string, Tensor][] {
  return Object.entries(output).flatMap(([name, value]: [string, unknown]) => {
    if (value === null || typeof value !== 'object') return [];
    if ('dtype' in value) return [[path + name, value as Tensor]];
    return tensorsOf(value, `${path}${name}.`);
  });
}

/** The bits of all of them; the output is disposed. */
function bitsOf(output: ModelOutput): Record<string, string> {
  const bits = tensorsOf(output).map(([name, tensor]): [string, string] => [
    name,
    Buffer.from(Float32Array.from(tensor.toFloat32Array()).buffer).toString('hex'),
  ]);
  output.dispose();
  return Object.fromEntries(bits);
}

const hex = (numbers: ArrayLike<number>): string =>
  Buffer.from(Float32Array.from(numbers).buffer).toString('hex');

const ids = (random: Random, count: number): number[] =>
  Array.from({ length: count }, () => random.integer(5, 28));

/** Models of which each has something of its own: rotary, windows and caps, ALiBi, learned positions, relative ones, two stacks, patches. */
const ALL = [
  'llama: llama3 scaling',
  'mistral: a window',
  'gemma3_text: usual',
  'olmo2: biases, shared heads',
  'gpt2: another inner size, odd sizes',
  'bloom: heads that are no power of two',
  'opt: usual',
  'phi: norms of queries and keys',
  'bert: pretraining',
  'roberta: words, relu',
  'mpnet: no head',
  'modernbert: words',
  't5: gates, untied, other counts',
  'bart: usual',
  'whisper: usual',
  'vit: usual',
  'dinov2: gates',
];
const DECODERS = ALL.filter((title) => /^(llama|mistral|gemma|olmo|gpt|bloom|opt|phi)/.test(title));
const ENCODERS = ALL.filter((title) => /^(bert|roberta|mpnet|modernbert)/.test(title));

let one: Runtime;
let three: Runtime;
beforeAll(async () => {
  one = await createRuntime({ build: 'simd' });
  three = await createRuntime({ build: 'simd', threads: 3 });
});
afterAll(() => {
  one.dispose();
  three.dispose();
});

async function withModel(
  runtime: Runtime,
  title: string,
  action: (model: Model) => void | Promise<void>,
): Promise<void> {
  const { config, weights } = smallModel(title);
  const used = runtime.memory.used;
  const model = await loadModel({ config, weights, runtime });
  await action(model);
  model.dispose();
  expect(runtime.memory.used).toBe(used);
}

describe('threads, slices', () => {
  for (const title of ALL) {
    it(title, async () => {
      const { inputs } = smallModel(title);
      let expected: Record<string, string> = {};
      await withModel(one, title, async (model) => {
        expected = bitsOf(model.forward(inputs, SEEN));
        expect(bitsOf(await model.forwardAsync(inputs, SEEN))).toEqual(expected);
      });
      await withModel(three, title, async (model) => {
        expect(bitsOf(model.forward(inputs, SEEN))).toEqual(expected);
        expect(bitsOf(await model.forwardAsync(inputs, SEEN))).toEqual(expected);
      });
    });
  }
});

describe('company', () => {
  for (const title of [...DECODERS, ...ENCODERS]) {
    it(title, async () => {
      const random = new Random(4);
      const texts = [11, 4, 17, 1].map((length) => ids(random, length));
      await withModel(one, title, (model) => {
        const alone = texts.map((text) => {
          const output = model.forward({ inputIds: [text] });
          const bits = hex(output.lastHiddenState!.toFloat32Array());
          output.dispose();
          return bits;
        });
        for (const order of [
          [0, 1, 2, 3],
          [3, 2],
          [2, 0, 2, 1, 1, 0],
        ]) {
          const batch = model.forward({ inputIds: order.map((text) => texts[text]!) });
          const [, length, channels] = batch.lastHiddenState!.shape as [number, number, number];
          const data = batch.lastHiddenState!.toFloat32Array();
          order.forEach((text, row) => {
            const from = row * length * channels;
            const own = data.subarray(from, from + texts[text]!.length * channels);
            expect(hex(own), `row ${row} of ${order.join()}`).toBe(alone[text]);
          });
          batch.dispose();
        }
      });
    });
  }
});

describe('chunks and steps', () => {
  for (const title of DECODERS) {
    it(title, async () => {
      const random = new Random(9);
      const text = ids(random, 19);
      await withModel(one, title, async (model) => {
        const whole = model.forward({ inputIds: [text] });
        const logits = whole.logits!.toFloat32Array();
        const vocabulary = whole.logits!.shape[2]!;
        whole.dispose();
        for (const sizes of [[19], [1, 1, 17], [8, 8, 3], Array<number>(19).fill(1)]) {
          const cache = model.createCache();
          let from = 0;
          for (const [i, size] of sizes.entries()) {
            const inputs = { inputIds: [text.slice(from, from + size)] };
            const output =
              i % 2 ? await model.forwardAsync(inputs, { cache }) : model.forward(inputs, { cache });
            const expected = logits.subarray(from * vocabulary, (from + size) * vocabulary);
            expect(hex(output.logits!.toFloat32Array()), `${sizes.join()}, from ${from}`).toBe(hex(expected));
            output.dispose();
            from += size;
          }
          cache.dispose();
        }
      });
    });

    it(`${title}: rows of a cache that are of different lengths`, async () => {
      const random = new Random(10);
      const texts = [ids(random, 12), ids(random, 5)];
      const more = [ids(random, 3), ids(random, 6)];
      await withModel(one, title, (model) => {
        const last = (tokens: number[][]) =>
          tokens.map((text) => {
            const output = model.forward({ inputIds: [text] }, { logits: 'last' });
            const bits = hex(output.logits!.toFloat32Array());
            output.dispose();
            return bits;
          });
        const cache = model.createCache({ batch: 2 });
        model.forward({ inputIds: texts }, { cache }).dispose();
        const output = model.forward({ inputIds: more }, { cache, logits: 'last' });
        const data = output.logits!.toFloat32Array();
        const width = output.logits!.shape[1]!;
        const actual = [0, 1].map((row) => hex(data.subarray(row * width, (row + 1) * width)));
        expect(actual).toEqual(last(texts.map((text, row) => [...text, ...more[row]!])));
        output.dispose();
        cache.dispose();
      });
    });

    it(`${title}: what is generated`, async () => {
      const random = new Random(11);
      const shared = ids(random, 9);
      const prompts = [[...shared, ...ids(random, 4)], [...shared, 7], ids(random, 2)];
      const generated = async (model: Model, given: number[][], more: object = {}) => {
        const rows = given.map((): unknown[] => []);
        const options = { maxNewTokens: 6, stopTokens: [], seed: 3, temperature: 0.8, ...more };
        for await (const { tokens, logProbabilities } of model.generate({ inputIds: given }, options))
          tokens.forEach((token, row) => rows[row]!.push(token, logProbabilities[row]));
        return rows;
      };
      await withModel(one, title, async (model) => {
        const expected = await generated(model, prompts);
        // Random numbers differ by row: greedily, each row is what it is alone.
        const greedy = { temperature: 0, seed: undefined };
        const together = await generated(model, prompts, greedy);
        for (const [row, prompt] of prompts.entries())
          expect((await generated(model, [prompt], greedy))[0]).toEqual(together[row]);
        const prefix = await model.readPrompt({ inputIds: [shared] });
        const rest = prompts.slice(0, 2).map((prompt) => prompt.slice(shared.length));
        const after = await generated(model, rest, { ...greedy, prefix });
        expect(after).toEqual(together.slice(0, 2));
        prefix.dispose();
        await withModel(three, title, async (other) =>
          expect(await generated(other, prompts)).toEqual(expected),
        );
      });
    });
  }
});
