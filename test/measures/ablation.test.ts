// Models without heads and edges: against the same model with other weights, against the weights of its own attention, and bit by bit.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { attentionWeights, createRuntime } from 'wasm-attention';
import type { AttentionRecord, Runtime, Tensor } from 'wasm-attention';
import { ablate, ablateAsync, ablationEffects, ablationEffectsAsync } from 'wasm-attention/measures';
import type { Ablation, AblationEffectsOptions } from 'wasm-attention/measures';
import { loadModel } from 'wasm-attention/model';
import type { Model, ModelInputs, ModelOutput } from 'wasm-attention/model';
import { initialWeights } from 'wasm-attention/training';
import { Random } from '../reference/random.js';
import { smallModel } from '../support/small-models.js';
import type { SmallModel } from '../support/small-models.js';

const MODELS = {
  gpt2: 'gpt2: usual',
  llama: 'llama: sizes that are multiples of nothing',
  bert: 'bert: no head',
  words: 'bert: words',
  albert: 'albert: no head',
  t5: 't5: usual',
  bart: 'bart: usual',
  clip: 'clip',
} as const;

type Name = keyof typeof MODELS;

/** Sizes of a model of text and pictures: four patches. */
const CLIP = {
  ...{ model_type: 'clip', architectures: ['CLIPModel'], projection_dim: 12 },
  text_config: {
    ...{ model_type: 'clip_text_model', hidden_size: 16, intermediate_size: 24, num_attention_heads: 2 },
    ...{ num_hidden_layers: 2, vocab_size: 30, max_position_embeddings: 12, eos_token_id: 29 },
  },
  vision_config: {
    ...{ model_type: 'clip_vision_model', hidden_size: 20, intermediate_size: 24, num_attention_heads: 4 },
    ...{ num_hidden_layers: 2, image_size: 8, patch_size: 4 },
  },
};

/** Config, weights and inputs of a model. */
async function modelFiles(name: Name): Promise<SmallModel> {
  if (name !== 'clip') return smallModel(MODELS[name]);
  const random = new Random(4);
  const weights = (await initialWeights({ config: CLIP, seed: 4 })) as Uint8Array<ArrayBuffer>;
  const pixelValues = { data: random.array(2 * 3 * 64, 'normal'), shape: [2, 3, 8, 8] };
  const given = {
    inputIds: [
      [5, 6, 7, 29],
      [8, 29],
    ],
    pixelValues,
  };
  return { config: CLIP, weights, inputs: given as never };
}

let runtime: Runtime;
const models = {} as Record<Name, Model>;
const inputs = {} as Record<Name, ModelInputs>;
beforeAll(async () => {
  runtime = await createRuntime({ build: 'simd' });
  for (const name of Object.keys(MODELS) as Name[]) {
    const { config, weights, inputs: given } = await modelFiles(name);
    models[name] = await loadModel({ config, weights, runtime });
    inputs[name] = given;
  }
});
afterAll(() => runtime.dispose());

/** Everything that came out, by name. */
function numbersOf(output: object, path = ''): Record<string, number[]> {
  return Object.fromEntries(
    Object.entries(output as Record<string, unknown>).flatMap(([name, value]) => {
      if (value === null || typeof value !== 'object' || /ecords$/.test(name)) return [];
      if ('toFloat32Array' in value) return [[path + name, Array.from((value as Tensor).toFloat32Array())]];
      return Object.entries(numbersOf(value, `${path}${name}.`));
    }),
  );
}

function read(output: ModelOutput): Record<string, number[]> {
  const numbers = numbersOf(output);
  output.dispose();
  return numbers;
}

function expectClose(found: Record<string, number[]>, expected: Record<string, number[]>, tolerance = 2e-5) {
  expect(Object.keys(found)).toEqual(Object.keys(expected));
  for (const [name, values] of Object.entries(expected))
    values.forEach((value, i) => {
      if (Number.isFinite(value))
        expect(Math.abs(found[name]![i]! - value), `${name}[${i}]`).toBeLessThan(
          tolerance * Math.max(1, Math.abs(value)),
        );
      else expect(found[name]![i]).toBe(value);
    });
}

/** The attention of a block as its description has it. */
function describedAttention(model: Model, { attention, layer }: { attention?: string; layer: number }) {
  const { description } = model;
  const stack =
    description.kind === 'dual'
      ? description[attention === 'vision' ? 'vision' : 'text']
      : description.kind === 'encoder-decoder'
        ? description[attention === 'encoder' ? 'encoder' : 'decoder']
        : description.stack;
  const block = stack.blocks[layer]!;
  return attention === 'cross' ? block.crossAttention! : block.attention;
}

/** The same model whose output projection has nothing for a head, and something else in its place. */
async function withoutColumns(
  name: Name,
  place: { attention?: never; layer: number; head: number },
  more: (columns: number[][]) => number[] = (columns) => columns.map(() => 0),
): Promise<Model> {
  const { config, weights } = await modelFiles(name);
  const model = await loadModel({ config, weights, runtime });
  const { output, headDim } = describedAttention(model, place);
  const [part] = output.parts;
  const bytes = weights.slice().buffer;
  const header = Number(new DataView(bytes).getBigUint64(0, true));
  const entries = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, header))) as Record<
    string,
    { shape: number[]; data_offsets: [number, number] }
  >;
  const floats = (tensor: string) => {
    const [from, to] = entries[tensor]!.data_offsets;
    const file = new Uint8Array(bytes, 8 + header + from, to - from);
    return {
      values: new Float32Array(file.slice().buffer),
      write: (values: Float32Array) => file.set(new Uint8Array(values.buffer)),
    };
  };
  const { values, write } = floats(part!.weight.name);
  const { inFeatures, outFeatures } = output;
  const at = (out: number, column: number) =>
    part!.weight.transposed ? column * outFeatures + out : out * inFeatures + column;
  const columns = Array.from({ length: outFeatures }, (_, out) =>
    Array.from({ length: headDim }, (_, c) => values[at(out, place.head * headDim + c)]!),
  );
  columns.forEach((row, out) => row.forEach((_, c) => (values[at(out, place.head * headDim + c)] = 0)));
  write(values);
  if (part!.bias) {
    const bias = floats(part!.bias.name);
    bias.write(bias.values.map((value, out) => value + more(columns)[out]!));
  }
  model.dispose();
  return loadModel({ config, weights: new Uint8Array(bytes), runtime });
}

/** Which heads are tried of each model. */
const HEADS: readonly (readonly [
  Name,
  { attention?: 'encoder' | 'decoder' | 'cross' | 'text' | 'vision'; layer: number; head: number },
])[] = [
  ['gpt2', { layer: 0, head: 1 }],
  ['gpt2', { layer: 1, head: 0 }],
  ['llama', { layer: 1, head: 2 }],
  ['bert', { layer: 0, head: 1 }],
  ['t5', { layer: 1, head: 1 }],
  ['t5', { attention: 'decoder', layer: 0, head: 0 }],
  ['t5', { attention: 'encoder', layer: 1, head: 0 }],
  ['bart', { attention: 'cross', layer: 0, head: 1 }],
  ['clip', { layer: 1, head: 1 }],
  ['clip', { attention: 'vision', layer: 0, head: 3 }],
];

describe('a head that is taken out', () => {
  it.each(HEADS)('%s %j: zeros are what a projection without its columns gives', async (name, place) => {
    const other = await withoutColumns(name, place as never);
    const expected = read(other.forward(inputs[name]));
    const found = read(ablate(models[name], inputs[name], { heads: [place] }));
    expectClose(found, expected);
    const untouched = read(models[name].forward(inputs[name]));
    expect(
      Object.keys(found).some((key) => found[key]!.some((value, i) => value !== untouched[key]![i])),
    ).toBe(true);
    other.dispose();
  });

  it.each([
    ['gpt2', { layer: 1, head: 1 }],
    ['bert', { layer: 0, head: 0 }],
  ] as const)('%s %j: the mean is a constant of the projection', async (name, place) => {
    const lengths = [6, 4];
    const ids = lengths.map((length) => Array.from({ length }, (_, i) => 5 + ((7 * i) % 11)));
    const given = { inputIds: ids };
    const whole = models[name].forward(given, { returnRecord: true });
    const { output } = whole.records![place.layer]!;
    const headDim = output.shape[3]!;
    const means = new Array<number>(headDim).fill(0);
    lengths.forEach((length, b) => {
      const own = output
        .slice(0, b, b + 1)
        .slice(1, place.head, place.head + 1)
        .toFloat32Array();
      for (let i = 0; i < length * headDim; i++) means[i % headDim]! += own[i]! / 10;
    });
    const other = await withoutColumns(name, place, (columns) =>
      columns.map((row) => row.reduce((sum, weight, c) => sum + weight * means[c]!, 0)),
    );
    const expected = read(other.forward(given));
    const found = read(ablate(models[name], given, { heads: [{ ...place, by: 'mean' }] }));
    expectClose(found, expected);
    // Padding elsewhere than on the right counts no more.
    const inputIds = ids.map((row) => [...new Array<number>(6 - row.length).fill(0), ...row]);
    const left = { inputIds, attentionMask: inputIds.map((row) => row.map((id) => Number(id > 0))) };
    const record = ablate(
      models[name],
      left,
      { heads: [{ layer: 0, head: 1, by: 'mean' }] },
      { returnRecord: true },
    );
    const untouched = models[name].forward(left, { returnRecord: true });
    const [mine, theirs] = [record, untouched].map(({ records }) =>
      records![0]!.output.slice(1, 1, 2).toFloat32Array(),
    ) as [Float32Array, Float32Array];
    for (let c = 0; c < headDim; c++) {
      const mean = [0, 1, 2, 3, 4, 5, 8, 9, 10, 11].reduce(
        (sum, row) => sum + theirs[row * headDim + c]! / 10,
        0,
      );
      for (let row = 0; row < 12; row++) expect(mine[row * headDim + c]).toBeCloseTo(mean, 5);
    }
    for (const each of [whole, record, untouched, other]) each.dispose();
  });

  it('may be taken out of some tokens, and leaves the bits of those before', () => {
    const given = { inputIds: [[5, 6, 7, 8, 9, 10]] };
    const whole = read(models.gpt2.forward(given))['logits']!;
    const vocabulary = whole.length / 6;
    for (const by of ['zero', 'mean'] as const) {
      const part = read(ablate(models.gpt2, given, { heads: [{ layer: 0, head: 0, by, queries: [3, 5] }] }));
      expect(part['logits']!.slice(0, 3 * vocabulary)).toEqual(whole.slice(0, 3 * vocabulary));
      expect(part['logits']!.slice(3 * vocabulary)).not.toEqual(whole.slice(3 * vocabulary));
    }
    const last = read(ablate(models.gpt2, given, { heads: [{ layer: 0, head: 0, queries: 5 }] }));
    const all = read(ablate(models.gpt2, given, { heads: [{ layer: 0, head: 0 }] }));
    expect(last['logits']!.slice(0, 5 * vocabulary)).toEqual(whole.slice(0, 5 * vocabulary));
    expect(all['logits']!.slice(0, vocabulary)).not.toEqual(whole.slice(0, vocabulary));
  });

  it('of a model whose layers share their weights is that of one layer', () => {
    const one = read(ablate(models.albert, inputs.albert, { heads: [{ layer: 0, head: 0 }] }));
    const two = read(ablate(models.albert, inputs.albert, { heads: [{ layer: 1, head: 0 }] }));
    expect(one['lastHiddenState']).not.toEqual(two['lastHiddenState']);
  });
});

/** Weights as they would be if some edges were not there: the others share what they had. */
function expectRemoved(
  ablated: AttentionRecord,
  untouched: AttentionRecord,
  isRemoved: (head: number, query: number, key: number) => boolean,
): void {
  const [mine, theirs] = [attentionWeights(ablated), attentionWeights(untouched)];
  const [batch, heads, queries, keys] = theirs.shape as [number, number, number, number];
  for (let row = 0; row < batch * heads * queries; row++) {
    const [head, query] = [Math.floor(row / queries) % heads, row % queries];
    const before = theirs.data.subarray(row * keys, (row + 1) * keys);
    const after = mine.data.subarray(row * keys, (row + 1) * keys);
    const left = before.map((weight, key) => (isRemoved(head, query, key) ? 0 : weight));
    const sum = left.reduce((a, b) => a + b, 0);
    if (left.every((weight, key) => weight === before[key])) expect(after).toEqual(before);
    else left.forEach((weight, key) => expect(after[key]).toBeCloseTo(sum > 0 ? weight / sum : 0, 5));
  }
  mine.dispose();
  theirs.dispose();
}

describe('an edge that is taken out', () => {
  it.each(['gpt2', 'llama', 'bert'] as const)(
    '%s: its weight goes to the other keys; other rows keep their bits',
    (name) => {
      const given = {
        inputIds: [
          [5, 6, 7, 8, 9, 10, 11],
          [12, 13, 14, 15],
        ],
      };
      const edges = [
        { layer: 0, head: 1, queries: 5, keys: 2 },
        { layer: 0, queries: [2, 4], keys: [0, 2] },
      ] as const;
      const whole = models[name].forward(given, { returnRecord: true });
      const found = ablate(models[name], given, { edges }, { returnRecord: true });
      expectRemoved(
        found.records![0]!,
        whole.records![0]!,
        (head, query, key) =>
          (head === 1 && query === 5 && key === 2) || (query >= 2 && query < 4 && key < 2),
      );
      whole.dispose();
      found.dispose();
    },
  );

  it('of all heads to all keys is what no head would give', () => {
    const given = { inputIds: [[5, 6, 7, 8, 9]] };
    const edges = [{ layer: 1, head: 0, queries: [0, 5], keys: [0, 5] }] as const;
    expect(read(ablate(models.gpt2, given, { edges }))).toEqual(
      read(ablate(models.gpt2, given, { heads: [{ layer: 1, head: 0 }] })),
    );
  });

  it('of long texts needs no matrix of all tokens', async () => {
    const { config, weights } = smallModel('llama: sizes that are multiples of nothing');
    const long = await loadModel({ config: { ...config, max_position_embeddings: 4096 }, weights, runtime });
    const given = { inputIds: [Array.from({ length: 2500 }, (_, i) => 5 + (i % 20))] };
    const options = { logits: 'none' } as const;
    long.forward(given, options).dispose();
    const before = runtime.memory.peak;
    const edges = [{ layer: 0, head: 1, queries: 2400, keys: [10, 20] }] as const;
    ablate(long, given, { edges }, options).dispose();
    // Of one head a matrix of bits would be 0.8 MB.
    expect(runtime.memory.peak - before).toBeLessThan(4e5);
    long.dispose();
  });

  it.each([
    ['t5', 'cross', 'crossRecords'],
    ['t5', 'decoder', 'records'],
    ['bart', 'encoder', 'encoder'],
  ] as const)('%s: of its %s attention', (name, attention, where) => {
    const asked = { returnRecord: true } as const;
    const edges = [{ attention, layer: 0, head: 0, queries: [1, 3], keys: 1 }] as const;
    const whole = models[name].forward(inputs[name], asked);
    const found = ablate(models[name], inputs[name], { edges }, asked);
    const recordsOf = (output: ModelOutput) =>
      where === 'encoder' ? output.encoder!.records! : output[where]!;
    const isRemoved = (head: number, query: number, key: number) =>
      head === 0 && query >= 1 && query < 3 && key === 1;
    expectRemoved(recordsOf(found)[0]!, recordsOf(whole)[0]!, isRemoved);
    whole.dispose();
    found.dispose();
  });

  it('with a cache is of the queries of the call and of all keys', () => {
    const [first, second] = [[[5, 6, 7]], [[8, 9]]];
    const cache = models.gpt2.createCache();
    models.gpt2.forward({ inputIds: first }, { cache }).dispose();
    const fork = cache.fork();
    const edges = [{ layer: 0, head: 0, queries: 1, keys: [1, 3] }] as const;
    const heads = [{ layer: 0, head: 1, by: 'mean' }] as const;
    const inOne = { edges: [{ ...edges[0], queries: 4 }] };
    const whole = read(ablate(models.gpt2, { inputIds: [[5, 6, 7, 8, 9]] }, inOne))['logits']!;
    const part = read(ablate(models.gpt2, { inputIds: second }, { edges }, { cache }))['logits']!;
    expect(part).toEqual(whole.slice(-part.length));
    read(ablate(models.gpt2, { inputIds: second }, { heads }, { cache: fork }));
    expect(fork.lengths()).toEqual([5]);
    for (const each of [cache, fork]) each.dispose();
  });
});

describe('an ablation', () => {
  it('of nothing is the model', () => {
    for (const name of Object.keys(MODELS) as Name[])
      expect(read(ablate(models[name], inputs[name], {}))).toEqual(read(models[name].forward(inputs[name])));
  });

  const all: Ablation = {
    heads: [
      { layer: 0, head: 0, by: 'mean' },
      { layer: 1, head: 1, queries: [1, 3] },
    ],
    edges: [{ layer: 1, queries: [2, 4], keys: 0 }],
  };

  it('gives the same in slices and on threads, with progress and an end', async () => {
    const given = {
      inputIds: [
        [5, 6, 7, 8, 9],
        [5, 6, 7],
      ],
    };
    const expected = read(ablate(models.gpt2, given, all));
    const shares: number[] = [];
    const onProgress = ({ done, total }: { done: number; total: number }) => void shares.push(done / total);
    expect(read(await ablateAsync(models.gpt2, given, all, { onProgress }))).toEqual(expected);
    expect(shares.at(-1)).toBe(1);
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(ablateAsync(models.gpt2, given, all, { signal })).rejects.toThrow('enough');
    const two = await createRuntime({ build: 'simd', threads: 2 });
    const { config, weights } = smallModel(MODELS.gpt2);
    const other = await loadModel({ config, weights, runtime: two });
    (two as unknown as { threads?: { leastCost: number } }).threads!.leastCost = 0;
    expect(read(ablate(other, given, all))).toEqual(expected);
    two.dispose();
  });

  it('leaves nothing behind, whatever is wrong', async () => {
    const given = { inputIds: [[5, 6, 7, 8]] };
    const wrong: [Name, unknown, string, RegExp][] = [
      ['gpt2', 5, 'INVALID_ARGUMENT', /ablation/],
      ['gpt2', { head: [] }, 'INVALID_ARGUMENT', /ablation\.head: unknown option; did you mean heads/],
      ['gpt2', { heads: {} }, 'INVALID_ARGUMENT', /ablation\.heads: .*a list/],
      ['gpt2', { heads: [3] }, 'INVALID_ARGUMENT', /ablation\.heads\[0\]/],
      [
        'gpt2',
        { heads: [{ layer: 2, head: 0 }] },
        'INVALID_ARGUMENT',
        /ablation\.heads\[0\]\.layer: .*0 to 1/,
      ],
      ['gpt2', { heads: [{ layer: 0, head: 9 }] }, 'INVALID_ARGUMENT', /ablation\.heads\[0\]\.head/],
      ['gpt2', { heads: [{ layer: 0 }] }, 'INVALID_ARGUMENT', /ablation\.heads\[0\]\.head/],
      [
        'gpt2',
        { heads: [{ layer: 0, head: 0, by: 'median' }] },
        'INVALID_ARGUMENT',
        /\.by: .*'zero' or 'mean'/,
      ],
      [
        'gpt2',
        { heads: [{ layer: 0, head: 0, queries: [2, 9] }] },
        'INVALID_ARGUMENT',
        /heads\[0\]\.queries: .*4 tokens/,
      ],
      ['gpt2', { edges: [{ layer: 0, queries: 1 }] }, 'INVALID_ARGUMENT', /edges\[0\]\.keys/],
      [
        'gpt2',
        { edges: [{ layer: 0, queries: [3, 3], keys: 0 }] },
        'INVALID_ARGUMENT',
        /edges\[0\]\.queries/,
      ],
      [
        'gpt2',
        { edges: [{ layer: 1, queries: 4, keys: 0 }] },
        'INVALID_ARGUMENT',
        /edges\[0\]\.queries: .*4 tokens/,
      ],
      [
        'gpt2',
        { edges: [{ layer: 1, queries: 0, keys: [0, 5] }] },
        'INVALID_ARGUMENT',
        /edges\[0\]\.keys: .*4 keys/,
      ],
      [
        'gpt2',
        { edges: [{ layer: 0, head: -1, queries: 0, keys: 0 }] },
        'INVALID_ARGUMENT',
        /edges\[0\]\.head/,
      ],
      [
        'gpt2',
        { heads: [{ attention: 'cross', layer: 0, head: 0 }] },
        'INVALID_ARGUMENT',
        /attention: .*one kind/,
      ],
      [
        't5',
        { heads: [{ attention: 'text', layer: 0, head: 0 }] },
        'INVALID_ARGUMENT',
        /'encoder' or 'decoder' or 'cross'/,
      ],
    ];
    const inputsOf = (name: Name) => (name === 'gpt2' ? given : inputs[name]);
    const used = runtime.memory.used;
    for (const [name, ablation, code, message] of wrong) {
      const call = () => ablate(models[name], inputsOf(name), ablation as never);
      expect(call).toThrow(message);
      expect(call).toThrow(expect.objectContaining({ code }));
      await expect(ablateAsync(models[name], inputsOf(name), ablation as never)).rejects.toThrow(message);
      expect(() => ablationEffects(models[name], inputsOf(name), [{}, ablation as never])).toThrow(
        expect.objectContaining({ code }),
      );
    }
    expect(() => ablate({} as never, given, {})).toThrow(/model: .*a Model/);
    expect(() => ablate(models.gpt2, given, {}, { logit: 'all' } as never)).toThrow(/logit: unknown option/);
    ablate(models.gpt2, given, all, { returnRecord: true }).dispose();
    (await ablateAsync(models.gpt2, given, all)).dispose();
    expect(runtime.memory.used).toBe(used);
    const { config, weights } = smallModel(MODELS.gpt2);
    const gone = await loadModel({ config, weights, runtime });
    gone.dispose();
    expect(() => ablate(gone, given, {})).toThrow(expect.objectContaining({ code: 'DISPOSED' }));
  });
});

/** Losses of logits in float64, one a row; undefined where no label counts. */
function lossesOf(logits: readonly number[], labels: readonly number[]) {
  const classes = logits.length / labels.length;
  return labels.map((label, row) => {
    if (label < 0) return undefined;
    const own = logits.slice(row * classes, (row + 1) * classes);
    const most = Math.max(...own);
    return most + Math.log(own.reduce((sum, logit) => sum + Math.exp(logit - most), 0)) - own[label]!;
  });
}

describe('effects of ablations', () => {
  const ablations: Ablation[] = [
    { heads: [{ layer: 0, head: 1 }] },
    { heads: [{ layer: 1, head: 0, by: 'mean' }] },
    { edges: [{ layer: 0, queries: [2, 4], keys: 1 }] },
  ];
  const mean = (losses: readonly (number | undefined)[]) => {
    const counted = losses.filter((loss) => loss !== undefined);
    return counted.reduce((a, b) => a + b, 0) / counted.length;
  };

  /** Against losses of what `forward` and `ablate` return. */
  function expectEffects(
    name: Name,
    given: ModelInputs,
    labels: readonly number[],
    options: AblationEffectsOptions,
  ) {
    const found = ablationEffects(models[name], given, ablations, options);
    const whole = lossesOf(read(models[name].forward(given))['logits']!, labels);
    const compare = (values: Float64Array, expected: readonly (number | undefined)[]) =>
      expected.forEach((value, i) => {
        if (value === undefined) expect(values[i]).toBeNaN();
        else expect(values[i]).toBeCloseTo(value, 10);
      });
    expect(found.lossPerToken.length).toBe(labels.length);
    compare(found.lossPerToken, whole);
    expect(found.loss).toBeCloseTo(mean(whole), 10);
    expect(found.effects.length).toBe(ablations.length);
    found.effects.forEach((effect, i) => {
      const losses = lossesOf(read(ablate(models[name], given, ablations[i]!))['logits']!, labels);
      compare(
        effect.changePerToken,
        losses.map((loss, token) => (loss === undefined ? loss : loss - whole[token]!)),
      );
      expect(effect.loss).toBeCloseTo(mean(losses), 10);
      expect(effect.change).toBeCloseTo(effect.loss - found.loss, 12);
    });
    return found;
  }

  it('are those of the next tokens of a decoder, without padding', () => {
    const rows = [
      [5, 6, 7, 8, 9],
      [10, 11, 12],
    ];
    const labels = [6, 7, 8, 9, -1, 11, 12, -1, -1, -1];
    const ragged = expectEffects('gpt2', { inputIds: rows }, labels, {});
    const inputIds = { data: [...rows[0]!, ...rows[1]!, 0, 0], shape: [2, 5] };
    const attentionMask = [1, 1].map((_, b) => [1, 1, 1, Number(b === 0), Number(b === 0)]);
    expect(ablationEffects(models.gpt2, { inputIds, attentionMask }, ablations)).toEqual(ragged);
    expect(
      ablationEffects(
        models.gpt2,
        { input_ids: inputIds, attention_mask: attentionMask } as never,
        ablations,
      ),
    ).toEqual(ragged);
    // A token's loss does not depend on what comes after it.
    expect([...ragged.effects[2]!.changePerToken.slice(0, 2)]).toEqual([0, 0]);
  });

  it('are those of the decoder of a model with an encoder', () => {
    const inputIds = [[5, 6, 7, 8]];
    const decoderInputIds = [[0, 9, 10, 11]];
    expectEffects('t5', { inputIds, decoderInputIds }, [9, 10, 11, -1], {});
  });

  it('are those of labels, in any form', () => {
    const given = {
      inputIds: [
        [5, 6, 7, 8],
        [9, 10, 11],
      ],
    };
    const labels = [-1, 3, -1, 4, 8, -1, 9, -1];
    const flat = labels.map((label) => (label < 0 ? -100 : label));
    const found = expectEffects('words', given, labels, { labels: flat });
    for (const form of [
      [flat.slice(0, 4), flat.slice(4, 7)],
      { data: Int32Array.from(flat), shape: [2, 4] },
      BigInt64Array.from(flat, BigInt),
    ])
      expect(ablationEffects(models.words, given, ablations, { labels: form })).toEqual(found);
    const none = ablationEffects(models.words, given, ablations, { labels: flat.map(() => -100) });
    expect(none.loss).toBeNaN();
    expect(none.effects[0]!.change).toBeNaN();
  });

  it('come the same in slices, with progress over all passes', async () => {
    const given = { inputIds: [[5, 6, 7, 8, 9]] };
    const seen: [number, number][] = [];
    const onProgress = ({ done, total }: { done: number; total: number }) => void seen.push([done, total]);
    const used = runtime.memory.used;
    expect(await ablationEffectsAsync(models.gpt2, given, ablations, { onProgress })).toEqual(
      ablationEffects(models.gpt2, given, ablations),
    );
    expect(seen.at(-1)).toEqual([4, 4]);
    expect(seen.every(([done], i) => i === 0 || done >= seen[i - 1]![0])).toBe(true);
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(ablationEffectsAsync(models.gpt2, given, ablations, { signal })).rejects.toThrow('enough');
    expect(runtime.memory.used).toBe(used);
  });

  it('leave nothing behind, whatever is wrong', async () => {
    const given = { inputIds: [[5, 6, 7]] };
    const used = runtime.memory.used;
    const wrong: [Name, unknown, AblationEffectsOptions, string, RegExp][] = [
      ['bert', [], {}, 'UNSUPPORTED', /model: .*logits/],
      ['words', [], {}, 'INVALID_ARGUMENT', /labels: .*does not say the next token/],
      ['gpt2', {}, {}, 'INVALID_ARGUMENT', /ablations: .*a list/],
      [
        'gpt2',
        [{ heads: [{ layer: 7, head: 0 }] }],
        {},
        'INVALID_ARGUMENT',
        /ablations\[0\]\.heads\[0\]\.layer/,
      ],
      ['gpt2', [], { labels: [1, 2] }, 'INVALID_SHAPE', /labels: .*\[1, 3\]/],
      ['gpt2', [], { labels: [[1, 2, 3, 4]] }, 'INVALID_SHAPE', /labels\[0\]/],
      ['gpt2', [], { labels: [1, 2, 9999] }, 'INVALID_ARGUMENT', /labels\[2\]/],
      ['gpt2', [], { labels: [1, 2, -3] }, 'INVALID_ARGUMENT', /labels\[2\]/],
      ['gpt2', [], { label: [1] } as never, 'INVALID_ARGUMENT', /label: unknown option; did you mean labels/],
    ];
    for (const [name, ablations, options, code, message] of wrong) {
      const call = () => ablationEffects(models[name], given, ablations as never, options);
      expect(call).toThrow(message);
      expect(call).toThrow(expect.objectContaining({ code }));
      await expect(ablationEffectsAsync(models[name], given, ablations as never, options)).rejects.toThrow(
        message,
      );
    }
    expect(() => ablationEffects({} as never, given, [])).toThrow(/model: .*a Model/);
    expect(runtime.memory.used).toBe(used);
  });
});
