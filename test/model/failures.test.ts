// What goes wrong around models: damaged files, configs that lie, wrong inputs, aborted calls, full memory. Each is an AttentionError (or
// the signal's reason), memory is as before, and the model still gives what it gave.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { AttentionError, createRuntime, KeyValueCache } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { loadModel, measureModel } from 'wasm-attention/model';
import type { LoadModelOptions, Model } from 'wasm-attention/model';
import { Faults } from '../support/faults.js';
import { VARIANTS } from '../support/model-variants.js';
import type { Config } from '../support/model-variants.js';
import { smallModel } from '../support/small-models.js';
import type { SmallModel } from '../support/small-models.js';

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createRuntime({ build: 'simd' });
});
afterAll(() => runtime.dispose());
let used = 0;
beforeEach(() => {
  used = runtime.memory.used;
});
afterEach(() => {
  expect(runtime.memory.used).toBe(used);
});

async function failureOf(action: () => unknown): Promise<AttentionError> {
  let result: unknown;
  try {
    result = await action();
  } catch (error) {
    if (error instanceof AttentionError) return error;
    throw new Error(`not an AttentionError: ${String(error)}`, { cause: error });
  }
  (result as { dispose?: () => void } | undefined)?.dispose?.();
  throw new Error(`no error, but ${String(result)}`);
}

const load = (model: Partial<SmallModel>, more: Partial<LoadModelOptions> = {}): Promise<Model> =>
  loadModel({ config: model.config, weights: model.weights, runtime, ...more });

// Files

interface Header {
  [name: string]: { dtype: string; shape: number[]; data_offsets: [number, number] };
}

/** The same file with another header. */
function withHeader(file: Uint8Array, change: (header: Header) => void): Uint8Array<ArrayBuffer> {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length))) as Header;
  change(header);
  const bytes = new TextEncoder().encode(JSON.stringify(header));
  const values = file.subarray(8 + length);
  const changed = new Uint8Array(8 + bytes.length + values.length);
  new DataView(changed.buffer).setBigUint64(0, BigInt(bytes.length), true);
  changed.set(bytes, 8);
  changed.set(values, 8 + bytes.length);
  return changed;
}

describe('files', () => {
  const llama = smallModel('llama: tied head');
  const { weights } = llama;

  it('that are cut off anywhere', async () => {
    const ends = [0, 1, 7, 8, 9, 100, weights.length >> 1, weights.length - 4, weights.length - 1];
    for (const end of ends) {
      for (const form of [weights.slice(0, end), new Blob([weights.slice(0, end)])]) {
        const error = await failureOf(() => load({ ...llama, weights: form as never }));
        expect(error.code, `${end}`).toBe('INVALID_FILE');
      }
    }
    const longer = new Uint8Array(weights.length + 3);
    longer.set(weights);
    expect((await failureOf(() => load({ ...llama, weights: longer }))).code).toBe('INVALID_FILE');
  });

  const NAMES = ['model.norm.weight', 'model.layers.1.mlp.down_proj.weight'] as const;
  it.each<[string, string, (header: Header) => void]>([
    [
      'overlap',
      'INVALID_FILE',
      (header) =>
        (header[NAMES[0]]!.data_offsets = header[NAMES[0]]!.data_offsets.map((at) => at - 4) as never),
    ],
    ['lie outside', 'INVALID_FILE', (header) => (header[NAMES[0]]!.data_offsets = [2 ** 40, 2 ** 40 + 96])],
    ['have a negative offset', 'INVALID_FILE', (header) => (header[NAMES[0]]!.data_offsets = [-96, 0])],
    ['are of integers', 'INVALID_FILE', (header) => (header[NAMES[0]]!.dtype = 'I32')],
    ['are of an unknown type', 'INVALID_FILE', (header) => (header[NAMES[0]]!.dtype = 'Q4')],
    ['have half the width that was said', 'INVALID_FILE', (header) => (header[NAMES[0]]!.dtype = 'F16')],
    ['have a shape of other size', 'INVALID_FILE', (header) => (header[NAMES[0]]!.shape = [25])],
    ['have a shape with a negative side', 'INVALID_FILE', (header) => (header[NAMES[1]]!.shape = [-24, -40])],
    ['have another shape of the same size', 'INVALID_FILE', (header) => header[NAMES[1]]!.shape.reverse()],
  ])('with tensors that %s', async (_, code, change) => {
    const error = await failureOf(() => load({ ...llama, weights: withHeader(weights, change) }));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(/model\.(norm|layers\.1\.mlp\.down_proj)\.weight/);
  });

  it('whose tensors do not fit the config: all of them are named, missing, left over, of another shape or type', async () => {
    const file = withHeader(weights, (header) => {
      header['model.layers.0.mlp.extra.weight'] = header['model.layers.0.mlp.up_proj.weight']!;
      delete header['model.layers.0.mlp.up_proj.weight'];
      header['model.layers.1.mlp.down_proj.weight']!.shape.reverse();
      header['model.norm.weight']!.dtype = 'I32';
    });
    const error = await failureOf(() => load({ ...llama, weights: file }));
    for (const name of ['layers.0.mlp.up_proj', 'layers.1.mlp.down_proj', 'model.norm', 'layers.0.mlp.extra'])
      expect(error.message).toContain(name);
    expect((await failureOf(() => measureModel({ config: llama.config, weights: file }))).message).toBe(
      error.message,
    );
  });

  it('with tensors left over, which can be left aside', async () => {
    const file = withHeader(weights, (header) => {
      header['vision.weight'] = {
        ...header['model.norm.weight']!,
        shape: [0],
        data_offsets: [weights.length, weights.length],
      };
      const ends = Object.values(header).map(({ data_offsets }) => data_offsets[1]);
      const end = ends.filter((at) => at < weights.length).reduce((a, b) => Math.max(a, b));
      header['vision.weight'].data_offsets = [end, end];
    });
    expect((await failureOf(() => load({ ...llama, weights: file }))).message).toContain('vision.weight');
    const model = await load({ ...llama, weights: file }, { leftOver: 'ignore' });
    expect(model.leftAside).toEqual(['vision.weight']);
    model.dispose();
  });

  it('of shards of which one is missing or not one of them', async () => {
    const index = {
      weight_map: { 'model.norm.weight': 'a.safetensors', 'model.embed_tokens.weight': 'b.safetensors' },
    };
    const shards = { index, files: { 'a.safetensors': weights } };
    expect((await failureOf(() => load({ ...llama, weights: shards as never }))).message).toContain(
      'b.safetensors',
    );
    const wrong = { index, files: { 'a.safetensors': weights, 'b.safetensors': weights } };
    await failureOf(() => load({ ...llama, weights: wrong as never }));
    await failureOf(() => load({ ...llama, weights: [weights, weights] as never }));
    await failureOf(() => load({ ...llama, weights: [] as never }));
  });

  it('of another family', async () => {
    for (const title of [
      'bert: no head',
      'gpt2: usual',
      't5: usual',
      'vit: usual',
      'opt: usual',
      'whisper: usual',
    ]) {
      const error = await failureOf(() => load({ config: smallModel(title).config, weights }));
      expect(error.code, title).toBe('INVALID_FILE');
      expect(error.message).toMatch(/missing/);
    }
  });

  it('that are no files', async () => {
    for (const wrong of [
      null,
      1,
      'no such file',
      {},
      [],
      new Uint8Array(0),
      new ArrayBuffer(4),
      new Float32Array(4),
      Symbol('x'),
      () => 1,
    ])
      await failureOf(() => load({ ...llama, weights: wrong as never }));
  });
});

// Configs

const deep = (levels: number): unknown => JSON.parse('['.repeat(levels) + ']'.repeat(levels)) as unknown;

/** What a setting should never be, and what it might be by mistake. */
const WRONG: readonly unknown[] = [
  ...[null, true, false, 0, -1, 1, 2, 3, 0.5, -0.5, 1e-320, 1e9, 2 ** 31, 2 ** 53, 1e308, Infinity, NaN],
  ...['', 'x', 'NaN', '12', '__proto__', 'constructor', 'toString', 'gelu'],
  ...[
    [],
    [[]],
    [1, 2],
    ['a'],
    {},
    { type: 'x' },
    { rope_type: 'yarn' },
    { rope_type: '__proto__' },
    deep(2000),
  ],
  JSON.parse('{"__proto__": {"rope_type": "linear"}}'),
];

describe('configs', () => {
  it.each([
    null,
    undefined,
    1,
    'llama',
    [],
    {},
    { model_type: 1 },
    { model_type: '__proto__' },
    { model_type: 'constructor' },
    { model_type: 'toString' },
    { model_type: ['llama'] },
  ])('%j is none', async (config) => {
    const { weights } = smallModel('llama: tied head');
    await failureOf(() => load({ config: config as never, weights }));
  });

  it('own settings count, those of a prototype do not', async () => {
    const { config, weights } = smallModel('llama: tied head');
    const inherited = Object.create(config) as Config;
    await failureOf(() => load({ config: inherited, weights }));
    const text = JSON.stringify(config).replace('{', '{"__proto__": {"hidden_size": 4},');
    const error = await failureOf(() => load({ config: JSON.parse(text) as Config, weights }));
    expect(error.message).toContain('__proto__');
    expect(({} as Config)['hidden_size']).toBeUndefined();
  });

  // One of each family is enough: settings are read in one place.
  const families = [...new Map(VARIANTS.map((variant) => [variant.config['model_type'], variant])).values()];
  for (const { title } of families) {
    it(`${title}, with each setting wrong in every way: a model or an AttentionError`, async () => {
      const { config, weights, inputs } = smallModel(title);
      const own = [
        ...Object.keys(config),
        'rope_scaling',
        'rope_parameters',
        'layer_types',
        'head_dim',
        'n_inner',
        'num_key_value_heads',
      ];
      for (const name of own) {
        for (const value of WRONG) {
          const changed = { ...config, [name]: value };
          let model: Model | undefined;
          try {
            model = await load({ config: changed, weights });
            model.forward(inputs).dispose();
          } catch (error) {
            if (!(error instanceof AttentionError))
              throw new Error(`${name}: ${JSON.stringify(value)?.slice(0, 60)} gives ${String(error)}`, {
                cause: error,
              });
          }
          model?.dispose();
          expect(runtime.memory.used, `${name}: ${JSON.stringify(value)?.slice(0, 60)}`).toBe(used);
        }
      }
    });
  }
});

// Calls

/** A model of a title for a suite, which has to give at the end what it gave at first. */
function suiteOf(title: string, suite: (model: () => Model, small: SmallModel) => void): void {
  describe(title, () => {
    const small = smallModel(title);
    let model: Model;
    let first: string;
    const bits = () => {
      const output = model.forward(small.inputs);
      const numbers = [output.lastHiddenState ?? output.text!.lastHiddenState].map((state) =>
        state.toFloat32Array(),
      );
      output.dispose();
      return String(numbers[0]);
    };
    beforeAll(async () => {
      model = await load(small);
      first = bits();
    });
    afterAll(() => model.dispose());
    afterEach(() => expect(bits()).toBe(first));
    suite(() => model, small);
  });
}

const LISTS: readonly unknown[] = [
  ...[
    null,
    1,
    'abc',
    true,
    {},
    [],
    [[]],
    [[], []],
    [null],
    [[null]],
    [['1']],
    [[1.5]],
    [[-1]],
    [[51]],
    [[2 ** 31]],
    [[2 ** 32]],
    [[NaN]],
    [[Infinity]],
  ],
  ...[
    [[[1]]],
    [[1, 2], 3],
    [1, [2]],
    [[1], new Float32Array([0.5])],
    new Float64Array([1.5]),
    new Float32Array([NaN]),
  ],
  ...[
    { data: [1, 2], shape: [3] },
    { data: [1, 2], shape: [2, 2] },
    { data: [1], shape: [1, 1, 1] },
    { data: [1], shape: [] },
    { data: [1], shape: ['1'] },
    { data: [1], shape: [-1, -1] },
    { data: [1], shape: null },
    { data: null, shape: [1] },
    { shape: [1] },
    { data: [], dims: [0] },
    { data: [], dims: [0, 5] },
    { data: [], dims: [5, 0] },
  ],
  new BigInt64Array([100n]),
  [[51n]],
];

const isList = (value: unknown) =>
  JSON.stringify(value, (_, item: unknown) => (typeof item === 'bigint' ? `${item}n` : item));

suiteOf('gpt2: usual', (model) => {
  const right = { inputIds: [[5, 6, 7]] };

  it('token ids of every wrong form', async () => {
    for (const inputIds of LISTS) {
      const error = await failureOf(() => model().forward({ inputIds } as never)).catch((reason: unknown) => {
        // What is empty is no error: nothing comes out.
        if (
          /no error/.test(String(reason)) &&
          isList(inputIds)
            ?.replace(/[^0-9]/g, '')
            .replace(/[05]/g, '') === ''
        )
          return undefined;
        throw new Error(isList(inputIds), { cause: reason });
      });
      if (error) expect(error.message, isList(inputIds)).toMatch(/inputIds/);
    }
  });

  it.each(['attentionMask', 'positionIds'])('%s of every wrong form', async (name) => {
    for (const wrong of [
      ...LISTS,
      [[1, 1]],
      [[1, 1, 1, 1]],
      [
        [1, 1, 1],
        [1, 1, 1],
      ],
      [[2, 2, 2]].map((row) => row.map((x) => x * 50)),
    ]) {
      if (wrong === null) continue;
      const error = await failureOf(() => model().forward({ ...right, [name]: wrong })).catch(
        (reason: unknown) => {
          throw new Error(isList(wrong), { cause: reason });
        },
      );
      expect(error.message, isList(wrong)).toContain(name);
    }
  });

  it('masks with anything but 0 and 1, and no token at all', async () => {
    expect(
      (await failureOf(() => model().forward({ ...right, attentionMask: [[1, 2, 1]] }))).message,
    ).toContain('attentionMask');
    // A row of padding is nothing but padding: it is computed, and means nothing.
    model()
      .forward({ ...right, attentionMask: [[0, 0, 0]] })
      .dispose();
  });

  it('inputs that it does not read, and unknown options', async () => {
    for (const inputs of [
      null,
      undefined,
      1,
      [],
      [[5]],
      new Int32Array([5]),
      {},
      { ids: [5] },
      { pixelValues: [1] },
      { ...right, tokenTypeIds: [[0, 0, 0]] },
      { ...right, decoderInputIds: [[1]] },
      { ...right, toString: [[1]] },
    ])
      await failureOf(() => model().forward(inputs as never));
    for (const options of [
      { cached: true },
      { logits: 'some' },
      { logits: 1 },
      { cache: {} },
      { cache: null },
      1,
      'x',
    ])
      await failureOf(() => model().forward(right, options as never));
    for (const options of [
      { maxTokens: 1 },
      { maxNewTokens: -1 },
      { maxNewTokens: 1.5 },
      { maxNewTokens: NaN },
      { stopTokens: [-1] },
      { stopTokens: 'x' },
      { stopTokens: [1.5] },
      { stopSequences: [1] },
      { stopSequences: 1 },
      { temperature: -1 },
      { temperature: NaN },
      { temperature: 'x' },
      { topK: 0 },
      { topP: 2 },
      { seed: -1 },
      { contextEnd: 'x' },
      { onLogits: 1 },
      { prefix: {} },
      { storage: 'float64' },
      { signal: {} },
      1,
    ])
      await failureOf(() =>
        model()
          .generate(right, options as never)
          .next(),
      ).catch((reason: unknown) => {
        throw new Error(JSON.stringify(options), { cause: reason });
      });
  });

  it('more tokens than there are positions', async () => {
    const ids = (count: number) => [Array<number>(count).fill(5)];
    model()
      .forward({ inputIds: ids(24) })
      .dispose();
    expect((await failureOf(() => model().forward({ inputIds: ids(25) }))).message).toMatch(/24/);
    expect(
      (
        await failureOf(() =>
          model()
            .generate({ inputIds: ids(25) })
            .next(),
        )
      ).message,
    ).toMatch(/24/);
    const cache = model().createCache();
    model()
      .forward({ inputIds: ids(20) }, { cache })
      .dispose();
    await failureOf(() => model().forward({ inputIds: ids(5) }, { cache }));
    expect(cache.lengths()).toEqual([20]);
    model()
      .forward({ inputIds: ids(4) }, { cache })
      .dispose();
    cache.dispose();
  });

  it('caches of other models, of other sizes, disposed, full', async () => {
    const other = await load(smallModel('gpt2: another inner size, odd sizes'));
    const elsewhere = await createRuntime({ build: 'simd' });
    const caches: [string, KeyValueCache][] = [
      ['of another model', other.createCache()],
      ['of another batch', model().createCache({ batch: 2 })],
      ['of another head size', new KeyValueCache(runtime, { layers: 2, numKeyValueHeads: 4, headDim: 6 })],
      ['of other heads', new KeyValueCache(runtime, { layers: 2, numKeyValueHeads: 2, headDim: 5 })],
      [
        'of other values',
        new KeyValueCache(runtime, { layers: 2, numKeyValueHeads: 4, headDim: 5, valueHeadDim: 7 }),
      ],
      ['of more layers', new KeyValueCache(runtime, { layers: 3, numKeyValueHeads: 4, headDim: 5 })],
      ['of another runtime', new KeyValueCache(elsewhere, { layers: 2, numKeyValueHeads: 4, headDim: 5 })],
    ];
    for (const [name, cache] of caches) {
      const message = (reason: unknown) => {
        throw new Error(name, { cause: reason });
      };
      await failureOf(() => model().forward(right, { cache })).catch(message);
      await failureOf(() => model().forwardAsync(right, { cache })).catch(message);
      await failureOf(() => model().generate(right, { prefix: cache }).next()).catch(message);
      expect(
        [...cache.lengths()].every((length) => length === 0),
        name,
      ).toBe(true);
      cache.dispose();
    }
    const disposed = model().createCache();
    disposed.dispose();
    expect((await failureOf(() => model().forward(right, { cache: disposed }))).code).toBe('DISPOSED');
    expect((await failureOf(() => model().generate(right, { prefix: disposed }).next())).code).toBe(
      'DISPOSED',
    );
    const full = model().createCache({ capacity: 2 });
    await failureOf(() => model().forward(right, { cache: full }));
    expect(full.lengths()).toEqual([0]);
    full.dispose();
    await failureOf(() => model().createCache({ batch: 0 }));
    await failureOf(() => model().createCache({ layers: 2 } as never));
    other.dispose();
    elsewhere.dispose();
  });

  it('padding on the left, with a cache', async () => {
    const cache = model().createCache();
    const error = await failureOf(() => model().forward({ ...right, attentionMask: [[0, 1, 1]] }, { cache }));
    expect(error.message).toContain('attentionMask');
    cache.dispose();
  });

  it('an iterator that is left early gives everything back', async () => {
    const options = { maxNewTokens: 9, stopTokens: [] };
    const before = runtime.memory.used;
    for await (const { step } of model().generate(
      {
        inputIds: [
          [5, 6],
          [7, 8, 9],
        ],
      },
      options,
    ))
      if (step === 2) break;
    expect(runtime.memory.used).toBe(before);
    const steps = model().generate(right, options);
    await steps.next();
    await steps.return();
    expect(runtime.memory.used).toBe(before);
    const never = model().generate(right, options);
    await never.return();
    const thrown = model().generate(right, options);
    await thrown.next();
    await expect(thrown.throw(new Error('enough'))).rejects.toThrow('enough');
    expect(runtime.memory.used).toBe(before);
    const failing = model().generate(right, {
      ...options,
      onLogits: () => {
        throw new Error('not that one');
      },
    });
    await expect(failing.next()).rejects.toThrow('not that one');
    const ruined = model().generate(right, { ...options, onLogits: (logits) => void logits.fill(NaN) });
    await failureOf(() => ruined.next());
  });

  it('aborted before, between and during steps', async () => {
    const reason = new Error('enough');
    for (const after of [0, 1, 3]) {
      const controller = new AbortController();
      const steps = model().generate(right, { maxNewTokens: 9, stopTokens: [], signal: controller.signal });
      for (let i = 0; i < after; i++) await steps.next();
      controller.abort(reason);
      await expect(steps.next()).rejects.toBe(reason);
      expect(await steps.next()).toEqual({ done: true, value: undefined });
    }
    await expect(model().forwardAsync(right, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  it('aborted in the middle of a call, at every turn of the event loop', async () => {
    const reason = new Error('enough');
    const before = runtime.memory.used;
    // A clock on which everything takes far longer than a slice.
    let time = performance.now();
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => (time += 1e6));
    const cache = model().createCache();
    model().forward(right, { cache }).dispose();
    const held = runtime.memory.used;
    let aborted = 0;
    try {
      for (let after = 1; ; after++) {
        const controller = new AbortController();
        let turns = 0;
        const onProgress = () => {
          if (++turns === after) controller.abort(reason);
        };
        const asked = { cache, signal: controller.signal, onProgress, returnRecord: true };
        const output = await model()
          .forwardAsync({ inputIds: [[8, 9, 10, 11]] }, asked)
          .catch((error: unknown) => {
            expect(error).toBe(reason);
          });
        output?.dispose();
        if (output) break;
        aborted++;
        expect(runtime.memory.used).toBe(held);
        expect(cache.lengths()).toEqual([3]);
      }
    } finally {
      clock.mockRestore();
    }
    expect(aborted).toBeGreaterThan(10);
    expect(cache.lengths()).toEqual([7]);
    cache.dispose();
    expect(runtime.memory.used).toBe(before);
  });

  it('disposed in the middle of a call, which ends as it would have', async () => {
    const other = await load(smallModel('gpt2: usual'));
    const expected = other.forward(right);
    const held = runtime.memory.used;
    // A clock on which everything takes far longer than a slice.
    let time = performance.now();
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => (time += 1e6));
    const over: { dispose(): void }[] = [];
    try {
      const output = await other.forwardAsync(right, {
        onProgress: () => {
          if (over.length > 0) return;
          other.dispose();
          // Whatever memory is free now gets another content.
          while (over.length < 200) over.push(runtime.tensor(new Float32Array(512).fill(NaN)));
        },
      });
      expect(output.logits!.toFloat32Array()).toEqual(expected.logits!.toFloat32Array());
      output.dispose();
    } finally {
      clock.mockRestore();
      for (const tensor of over) tensor.dispose();
    }
    expected.dispose();
    expect(runtime.memory.used).toBeLessThan(held);
  });

  it('disposed while it generates', async () => {
    const other = await load(smallModel('gpt2: usual'));
    const steps = other.generate(right, { maxNewTokens: 9, stopTokens: [] });
    await steps.next();
    other.dispose();
    expect((await failureOf(() => steps.next())).code).toBe('DISPOSED');
    expect((await failureOf(() => other.forward(right))).code).toBe('DISPOSED');
    expect((await failureOf(() => other.createCache())).code).toBe('DISPOSED');
    expect((await failureOf(() => other.generate(right).next())).code).toBe('DISPOSED');
    other.dispose();
  });
});

suiteOf('bert: sequence classification, relu', (model, { inputs }) => {
  it('types out of range or of another shape', async () => {
    for (const tokenTypeIds of [[[2, 0, 0]], [[0, 0]], [[-1, 0, 0]], [[0.5, 0, 0]], LISTS[0] ?? 1])
      expect(
        (await failureOf(() => model().forward({ inputIds: [[5, 6, 7]], tokenTypeIds } as never))).message,
      ).toMatch(/tokenTypeIds|token_type/);
  });
  it('has no cache and generates nothing', async () => {
    expect((await failureOf(() => model().createCache())).code).toBe('UNSUPPORTED');
    expect(
      (
        await failureOf(() =>
          model()
            .generate({ inputIds: [[5]] })
            .next(),
        )
      ).code,
    ).toBe('UNSUPPORTED');
    expect((await failureOf(() => model().readPrompt({ inputIds: [[5]] }))).code).toBe('UNSUPPORTED');
    const cache = new KeyValueCache(runtime, { layers: 2, numKeyValueHeads: 3, headDim: 8 });
    await failureOf(() => model().forward(inputs, { cache }));
    cache.dispose();
  });
});

for (const title of [
  'gptj: no head',
  'gpt2: sequence classification',
  'gpt2: token classification',
  'gptj: question answering',
]) {
  suiteOf(title, (model) => {
    it('generates nothing, having no head for words', async () => {
      expect(
        (
          await failureOf(() =>
            model()
              .generate({ inputIds: [[5, 6]] })
              .next(),
          )
        ).code,
      ).toBe('UNSUPPORTED');
    });
  });
}

for (const title of [
  'bert: sequence classification, relu',
  'llama: sequence classification',
  'modernbert: classification of the mean, relu',
]) {
  suiteOf(title, (model) => {
    it('no token to read, and rows of nothing but padding', async () => {
      expect((await failureOf(() => model().forward({ inputIds: [[]] }))).message).toContain('inputIds');
      const mask = [
        [1, 1],
        [0, 0],
      ];
      for (const inputs of [
        { inputIds: [[5, 6], []] },
        {
          inputIds: [
            [5, 6],
            [7, 8],
          ],
          attentionMask: mask,
        },
        { inputIds: [[], [5, 6]] },
      ]) {
        const output = model().forward(inputs);
        const data = output.logits!.toFloat32Array();
        const alone = model().forward({ inputIds: [[5, 6]] });
        const full = inputs.inputIds[0]!.length ? 0 : 1;
        expect(data.subarray(full * 3, full * 3 + 3)).toEqual(alone.logits!.toFloat32Array());
        expect(data.every(Number.isFinite)).toBe(true);
        alone.dispose();
        output.dispose();
      }
    });
  });
}

it('options of loading of wrong types', async () => {
  const { config, weights } = smallModel('gpt2: usual');
  const wrong = [
    ...[
      { weight: 1 },
      { runtime: {} },
      { runtime: 1 },
      { families: 1 },
      { families: [1] },
      { ignoreSettings: 'x' },
      { ignoreSettings: [1] },
    ],
    ...[
      { leftOver: 'x' },
      { modules: 1 },
      { modules: [1] },
      { modules: [{}] },
      { modules: [{ type: 'x' }] },
      { generationConfig: 1 },
      { generationConfig: { eos_token_id: 'x' } },
    ],
    ...[
      { cache: 5 },
      { fetch: 1 },
      { signal: {} },
      { onProgress: 1 },
      { folder: 1 },
      { folder: 'http://localhost:1/' },
      { runtime: undefined, runtimeOptions: { threads: -1 } },
    ],
  ];
  for (const options of wrong) {
    const all = { config, weights, runtime, ...options } as never;
    await failureOf(() => loadModel(all)).catch((reason: unknown) => {
      throw new Error(JSON.stringify(options), { cause: reason });
    });
  }
  for (const options of [undefined, null, 1, [], {}]) await failureOf(() => loadModel(options as never));
});

suiteOf('t5: usual', (model) => {
  it('wrong inputs of either side', async () => {
    const right = { inputIds: [[5, 6, 7]], decoderInputIds: [[0, 8]] };
    model().forward(right).dispose();
    for (const inputs of [
      { inputIds: [[5]] },
      { decoderInputIds: [[5]] },
      { ...right, decoderInputIds: [[0], [0]] },
      { ...right, decoderInputIds: [[51]] },
      { ...right, inputIds: [[51]] },
      { ...right, attentionMask: [[1]] },
      { ...right, decoderAttentionMask: [[1]] },
      { ...right, positionIds: [[0, 1, 2]] },
    ])
      await failureOf(() => model().forward(inputs));
    for (const inputs of [
      { ...right, decoderInputIds: [[0], [0]] },
      { inputIds: [[51]] },
      {},
      null,
      { ...right, decoderInputIds: [[51]] },
      { ...right, decoderInputIds: [[]] },
    ])
      await failureOf(() =>
        model()
          .generate(inputs as never)
          .next(),
      ).catch((reason: unknown) => {
        throw new Error(JSON.stringify(inputs), { cause: reason });
      });
    expect((await failureOf(() => model().readPrompt({ inputIds: [[5]] }))).code).toBe('UNSUPPORTED');
  });
  it('left early and aborted', async () => {
    const before = runtime.memory.used;
    const inputs = {
      inputIds: [
        [5, 6, 7],
        [8, 9],
      ],
    };
    for await (const { step } of model().generate(inputs, { maxNewTokens: 5, stopTokens: [] }))
      if (step === 1) break;
    expect(runtime.memory.used).toBe(before);
    const controller = new AbortController();
    const steps = model().generate(inputs, { maxNewTokens: 5, stopTokens: [], signal: controller.signal });
    await steps.next();
    controller.abort();
    await expect(steps.next()).rejects.toThrow();
    expect(runtime.memory.used).toBe(before);
    await expect(model().generate(inputs, { signal: AbortSignal.abort() }).next()).rejects.toThrow();
  });
  it('a config that does not say how a decoder begins', async () => {
    const { config, weights } = smallModel('t5: usual');
    const others = { ...config, decoder_start_token_id: null };
    const other = await load({ config: others, weights });
    const before = runtime.memory.used;
    expect((await failureOf(() => other.generate({ inputIds: [[5]] }).next())).message).toContain(
      'decoderInputIds',
    );
    expect(runtime.memory.used).toBe(before);
    other.dispose();
  });
});

for (const title of ['whisper: usual', 'vit: usual']) {
  suiteOf(title, (model, { inputs }) => {
    const name = title.startsWith('vit') ? 'pixel_values' : 'input_features';
    const right = inputs[name] as unknown as { data: Float32Array; dims: number[] };
    it('pixels or frames of other shapes and types', async () => {
      const { data, dims } = right;
      const wrong: unknown[] = [
        null,
        1,
        [],
        {},
        [[1]],
        data,
        { data, shape: [1] },
        { data: data.slice(1), shape: dims },
        { data, shape: [data.length] },
        { data: data.subarray(0, 24), shape: [1, 1, 4, 6] },
        { data: new Int32Array(data.length), shape: dims },
        { data, shape: dims.map((side, i) => (i === 0 ? side : -side)) },
        { data: data.slice(0, data.length / 2), shape: [1, dims[2], dims[1], ...dims.slice(3)] },
        {
          data: data.slice(0, data.length / 2),
          shape: [1, ...dims.slice(1, -1).reverse(), dims.at(-1)],
        }.shape.join() === [1, ...dims.slice(1)].join()
          ? 2
          : { data: 1, shape: dims },
      ];
      for (const value of wrong) {
        const error = await failureOf(() => model().forward({ ...inputs, [name]: value as never })).catch(
          (reason: unknown) => {
            throw new Error(JSON.stringify(value)?.slice(0, 200), { cause: reason });
          },
        );
        expect(error.code).toMatch(/INVALID/);
      }
    });
    it('no picture at all', () => {
      const empty = { data: new Float32Array(0), shape: [0, ...right.dims.slice(1)] };
      const others = title.startsWith('vit') ? {} : { decoder_input_ids: { data: [], shape: [0, 6] } };
      const output = model().forward({ [name]: empty, ...others } as never);
      expect(output.lastHiddenState!.shape[0]).toBe(0);
      output.dispose();
    });
  });
}

// Ends

describe('an aborted load', () => {
  const { config, weights } = smallModel('llama: biases everywhere');
  const reason = new Error('enough');

  it('leaves nothing, wherever it is', async () => {
    await expect(load({ config, weights }, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    let finished = false;
    for (let turns = 0; !finished && turns < 200; turns++) {
      const controller = new AbortController();
      const loading = load(
        { config, weights: new Blob([weights]) as never },
        { signal: controller.signal },
      ).then(
        (model) => {
          finished = true;
          model.dispose();
        },
        (error: unknown) => expect(error).toBe(reason),
      );
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      controller.abort(reason);
      await loading;
      expect(runtime.memory.used).toBe(used);
    }
    expect(finished || used === runtime.memory.used).toBe(true);
  });

  it('leaves nothing, at each piece that comes', async () => {
    let calls = 0;
    const model = await load({ config, weights }, { onProgress: () => calls++ });
    model.dispose();
    expect(calls).toBeGreaterThan(3);
    for (let after = 1; after < calls; after++) {
      const controller = new AbortController();
      let seen = 0;
      const onProgress = () => {
        if (++seen === after) controller.abort(reason);
      };
      await expect(
        load({ config, weights }, { signal: controller.signal, onProgress }),
        `${after} of ${calls}`,
      ).rejects.toBe(reason);
      expect(runtime.memory.used).toBe(used);
    }
  });

  it('leaves nothing where a callback throws', async () => {
    const onProgress = () => {
      throw reason;
    };
    await expect(load({ config, weights }, { onProgress })).rejects.toBe(reason);
  });
});

describe('a full memory', () => {
  for (const title of [
    'gpt2: usual',
    'bert: pretraining',
    't5: usual',
    'whisper: usual',
    'vit: usual',
    'mpnet: no head',
    'modernbert: words',
  ]) {
    it(`${title}: at every request`, async () => {
      const own = await createRuntime({ build: 'simd' });
      const faults = new Faults(own);
      const { config, weights, inputs } = smallModel(title);
      const attempt = async (call: () => Promise<unknown>) => {
        const before = own.memory.used;
        for (const withoutStack of [false, true]) {
          let failed = true;
          for (let count = 0; failed; count++) {
            faults.arm(count, withoutStack);
            const error: unknown = await call().then(
              () => undefined,
              (thrown: unknown) => thrown,
            );
            faults.disarm();
            failed = faults.struck;
            if (failed) expect(error, `request ${count}`).toMatchObject({ code: 'OUT_OF_MEMORY' });
            else expect(error).toBeUndefined();
            expect(own.memory.used, `request ${count}`).toBe(before);
            if (count > 2000) throw new Error('no end');
          }
        }
      };
      await attempt(async () => (await loadModel({ config, weights, runtime: own })).dispose());
      const model = await loadModel({ config, weights, runtime: own });
      const asked = { returnWeights: true, returnHiddenStates: true, returnRecord: true };
      // Tables of rotations are kept from the first call on.
      model.forward(inputs).dispose();
      await attempt(() => model.forwardAsync(inputs, asked).then((output) => output.dispose()));
      if (model.description.kind === 'decoder') {
        const cache = model.createCache();
        await attempt(async () => {
          await Promise.resolve();
          const fork = cache.fork();
          try {
            model.forward({ inputIds: [[5, 6, 7, 8]] }, { cache: fork }).dispose();
          } finally {
            fork.dispose();
          }
        });
        cache.dispose();
        const prompts = [
          [5, 6],
          [5, 6, 7],
        ];
        await attempt(async () => {
          for await (const { step } of model.generate(
            { inputIds: prompts },
            { maxNewTokens: 2, stopTokens: [] },
          ))
            void step;
        });
      }
      if (model.description.kind === 'encoder-decoder') {
        const { decoder_input_ids: start, ...given } = inputs;
        expect(start).toBeDefined();
        await attempt(async () => {
          for await (const { step } of model.generate(given, { maxNewTokens: 2, stopTokens: [] })) void step;
        });
      }
      model.dispose();
      own.dispose();
    });
  }
});
