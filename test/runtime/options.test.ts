// Names of options, everywhere: those of the interfaces are taken, any other is refused, and the one that was probably meant
// is named. What the interfaces have is asked of the compiler, so that no list here can be out of date.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { afterAll, describe, expect, it } from 'vitest';
import * as api from 'wasm-attention';
import * as slim from 'wasm-attention/slim';
import { createWorkerRuntime } from 'wasm-attention/worker-runtime';

const root = fileURLToPath(new URL('../../', import.meta.url));
const runtime = await api.createRuntime();
const remote = await createWorkerRuntime();
afterAll(() => {
  runtime.dispose();
  remote.dispose();
});

const floats = (...shape: number[]) => ({
  data: new Float32Array(shape.reduce((size, n) => size * n, 1)),
  shape,
});
const plain = { data: Float32Array.from({ length: 40 }, (_, i) => Math.sin(i)), shape: [1, 2, 5, 4] };
const x = runtime.tensor(plain.data, plain.shape);
const packed = floats(5, 2, 4);
const weights = new api.LinearWeights(runtime, floats(6, 4));
const parts = [{ output: x, logSumExp: floats(1, 2, 5) }];
const projections = {
  in_proj_weight: floats(24, 8),
  in_proj_bias: floats(24),
  'out_proj.weight': floats(8, 8),
  'out_proj.bias': floats(8),
};
const layer = new api.MultiHeadAttention(runtime, { embedDim: 8, numHeads: 2 }).load(projections);
const cache = new api.KeyValueCache(runtime, { numKeyValueHeads: 2, headDim: 4 });
cache.append(0, plain, plain);
const remoteWeights = await remote.linearWeights(floats(6, 4));
const remoteLayer = await remote.multiHeadAttention({ embedDim: 8, numHeads: 2 });
await remoteLayer.load(projections);
const remoteCache = await remote.keyValueCache({ numKeyValueHeads: 2, headDim: 4 });
await remoteCache.append(0, plain, plain);
const remoteTensor = await remote.tensor([1]);

type Call = (options: never) => unknown;

/** A call with options: what they have to hold, and their type in src/. */
type Case = readonly [call: Call, type: string, required?: object];

const cumulative = { cumulativeQueries: [0, 2, 5] };
const sizes = { embedDim: 8, numHeads: 2 };
const cacheSizes = { numKeyValueHeads: 2, headDim: 4 };

const CALLS: Readonly<Record<string, Case>> = {
  createRuntime: [(o) => api.createRuntime(o), 'RuntimeOptions'],
  'createRuntime of slim': [
    (o) => slim.createRuntime(o),
    'SlimRuntimeOptions',
    { wasm: { simd: readFileSync(`${root}dist/simd.wasm`), relaxed: undefined } },
  ],
  scaledDotProductAttention: [
    (o) => api.scaledDotProductAttention(x, x, x, o),
    'ScaledDotProductAttentionOptions',
  ],
  attentionWeights: [(o) => api.attentionWeights(x, x, o), 'AttentionWeightsOptions'],
  attentionEntropy: [(o) => api.attentionEntropy(x, x, o), 'SummaryOptions'],
  receivedWeight: [(o) => api.receivedWeight(x, x, o), 'SummaryOptions'],
  topKeys: [(o) => api.topKeys(x, x, 1, o), 'SummaryOptions'],
  mergeAttention: [(o) => api.mergeAttention(parts, o), 'MergeOptions'],
  linearAttention: [(o) => api.linearAttention(x, x, x, o), 'LinearAttentionOptions'],
  variableLengthAttention: [
    (o) => api.variableLengthAttention(packed, packed, packed, o),
    'VariableLengthOptions',
    { ...cumulative, runtime },
  ],
  linear: [(o) => api.linear(floats(3, 4), weights, o), 'LinearOptions'],
  softmax: [(o) => api.softmax(x, o), 'SoftmaxOptions'],
  rotaryEmbedding: [(o) => api.rotaryEmbedding(x, o), 'RotaryEmbeddingOptions'],
  rotaryFrequencies: [(o) => api.rotaryFrequencies(o), 'FrequencyOptions', { rotaryDim: 4 }],
  sinusoidalEncoding: [(o) => api.sinusoidalEncoding(4, 4, o), 'SinusoidalOptions'],
  slidingWindow: [(o) => api.slidingWindow(o), 'Window'],
  customMask: [(o) => api.customMask(o), 'CustomMask', { keeps: () => true }],
  MultiHeadAttention: [
    (o) => new api.MultiHeadAttention(runtime, o).dispose(),
    'MultiHeadAttentionOptions',
    sizes,
  ],
  'layer.forward': [(o) => layer.forward(floats(1, 3, 8), o), 'ForwardOptions'],
  KeyValueCache: [(o) => new api.KeyValueCache(runtime, o).dispose(), 'KeyValueCacheOptions', cacheSizes],
  'cache.append': [(o) => cache.append(0, floats(1, 2, 1, 4), floats(1, 2, 1, 4), o), 'AppendOptions'],
  'cache.attend': [(o) => cache.attend(0, floats(1, 2, 1, 4), o), 'CacheAttendOptions'],
};

/** Beside their own options these take `AsyncOptions`. */
const ASYNC: Readonly<Record<string, Case>> = {
  scaledDotProductAttentionAsync: [
    (o) => api.scaledDotProductAttentionAsync(x, x, x, o),
    'ScaledDotProductAttentionOptions',
  ],
  attentionWeightsAsync: [(o) => api.attentionWeightsAsync(x, x, o), 'AttentionWeightsOptions'],
  attentionEntropyAsync: [(o) => api.attentionEntropyAsync(x, x, o), 'SummaryOptions'],
  receivedWeightAsync: [(o) => api.receivedWeightAsync(x, x, o), 'SummaryOptions'],
  topKeysAsync: [(o) => api.topKeysAsync(x, x, 1, o), 'SummaryOptions'],
  mergeAttentionAsync: [(o) => api.mergeAttentionAsync(parts, o), 'MergeOptions'],
  linearAttentionAsync: [(o) => api.linearAttentionAsync(x, x, x, o), 'LinearAttentionOptions'],
  variableLengthAttentionAsync: [
    (o) => api.variableLengthAttentionAsync(packed, packed, packed, o),
    'VariableLengthOptions',
    { ...cumulative, runtime },
  ],
  linearAsync: [(o) => api.linearAsync(floats(3, 4), weights, o), 'LinearOptions'],
  softmaxAsync: [(o) => api.softmaxAsync(x, o), 'SoftmaxOptions'],
  rotaryEmbeddingAsync: [(o) => api.rotaryEmbeddingAsync(x, o), 'RotaryEmbeddingOptions'],
  'layer.forwardAsync': [(o) => layer.forwardAsync(floats(1, 3, 8), o), 'ForwardOptions'],
  'cache.appendAsync': [
    (o) => cache.appendAsync(0, floats(1, 2, 1, 4), floats(1, 2, 1, 4), o),
    'AppendOptions',
  ],
  'cache.attendAsync': [(o) => cache.attendAsync(0, floats(1, 2, 1, 4), o), 'CacheAttendOptions'],
};

/** Beside their own options these take `CallOptions`; `runtime` they have themselves. */
const REMOTE: Readonly<Record<string, Case>> = {
  tensor: [(o) => remote.tensor([1], [1], o), ''],
  set: [(o) => remoteTensor.set([2], o), ''],
  load: [(o) => remoteLayer.load(projections, '', o), ''],
  linearWeights: [(o) => remote.linearWeights(floats(6, 4), undefined, o), ''],
  mergeAttention: [(o) => remote.mergeAttention([{ output: plain, logSumExp: floats(1, 2, 5) }], o), ''],
  scaledDotProductAttention: [
    (o) => remote.scaledDotProductAttention(plain, plain, plain, o),
    'ScaledDotProductAttentionOptions',
  ],
  attentionWeights: [(o) => remote.attentionWeights(plain, plain, o), 'AttentionWeightsOptions'],
  attentionEntropy: [(o) => remote.attentionEntropy(plain, plain, o), 'SummaryOptions'],
  receivedWeight: [(o) => remote.receivedWeight(plain, plain, o), 'SummaryOptions'],
  topKeys: [(o) => remote.topKeys(plain, plain, 1, o), 'SummaryOptions'],
  linearAttention: [(o) => remote.linearAttention(plain, plain, plain, o), 'LinearAttentionOptions'],
  variableLengthAttention: [
    (o) => remote.variableLengthAttention(packed, packed, packed, o),
    'VariableLengthOptions',
    cumulative,
  ],
  linear: [(o) => remote.linear(floats(3, 4), remoteWeights, o), 'LinearOptions'],
  softmax: [(o) => remote.softmax(plain, o), 'SoftmaxOptions'],
  rotaryEmbedding: [(o) => remote.rotaryEmbedding(plain, o), 'RotaryEmbeddingOptions'],
  multiHeadAttention: [(o) => remote.multiHeadAttention(o), 'MultiHeadAttentionOptions', sizes],
  'layer.forward': [(o) => remoteLayer.forward(floats(1, 3, 8), o), 'ForwardOptions'],
  keyValueCache: [(o) => remote.keyValueCache(o), 'KeyValueCacheOptions', cacheSizes],
  'cache.append': [(o) => remoteCache.append(0, floats(1, 2, 1, 4), floats(1, 2, 1, 4), o), 'AppendOptions'],
  'cache.attend': [(o) => remoteCache.attend(0, floats(1, 2, 1, 4), o), 'CacheAttendOptions'],
};

const program = ts.createProgram([`${root}src/index.ts`, `${root}src/worker/index.ts`], {
  ...ts.parseJsonConfigFileContent(
    ts.readConfigFile(`${root}tsconfig.json`, (path) => ts.sys.readFile(path)).config,
    ts.sys,
    root,
  ).options,
  noEmit: true,
});
const checker = program.getTypeChecker();

/** Exported names of a file of src/. */
function exportsOf(file: string): ts.Symbol[] {
  const source = program.getSourceFile(`${root}src/${file}`)!;
  return checker.getExportsOfModule(checker.getSymbolAtLocation(source)!).map((symbol) => {
    return symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  });
}

const exported = new Map(
  [...exportsOf('slim.ts'), ...exportsOf('worker/index.ts')].map((symbol) => [symbol.name, symbol]),
);
const typeOf = (name: string) => checker.getDeclaredTypeOfSymbol(exported.get(name)!);
const namesOf = (type: ts.Type) => checker.getPropertiesOfType(type).map(({ name }) => name);

/** Options in options: where they stand, and their type. */
const NESTED: Readonly<Record<string, string>> = {
  threads: 'ThreadOptions',
  wasm: 'WasmSources',
  window: 'Window',
  relativePositionBias: 'RelativePositionBias',
  region: 'AttentionRegion',
  rotary: 'RotaryOptions',
  ring: 'CacheRing',
};

/** Objects in options that are no options: a name more is none of our business. */
const DATA = [
  'Tensor',
  'Mask',
  'Runtime',
  'KeyValueCache',
  'AbortSignal',
  'Float32Array',
  'Int32Array',
  'BigInt64Array',
  'ReadonlyArray',
  'URL',
  'Range',
];

/** What a call ends with: undefined, or an error. */
async function endOf(call: Call, options: unknown): Promise<unknown> {
  try {
    await call(options as never);
    return undefined;
  } catch (error) {
    return error;
  }
}

const UNKNOWN = /: unknown option; /;

async function expectKnown(call: Call, options: object, name: string): Promise<void> {
  const error = await endOf(call, options);
  expect(error instanceof Error && UNKNOWN.test(error.message) ? error.message : '', name).toBe('');
}

async function expectUnknown(call: Call, options: object, argument: string): Promise<void> {
  const error = (await endOf(call, options)) as api.AttentionError;
  expect(error, argument).toBeInstanceOf(api.AttentionError);
  expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', argument });
  expect(error.message).toMatch(UNKNOWN);
}

/** What options that are no options of a call are called. */
const prefixes: Record<string, string> = { slidingWindow: 'window.', customMask: 'customMask.' };

describe.each([
  ['', CALLS, [] as string[], [] as string[]],
  ['', ASYNC, ['signal', 'onProgress', 'scope'], []],
  ['in a worker: ', REMOTE, ['signal', 'onProgress', 'transfer', 'read'], ['runtime']],
])('%s', (where, calls, more, less) => {
  it.each(Object.entries(calls))(`${where}%s knows its options and no others`, async (name, call) => {
    const [use, typeName, required = {}] = call;
    const names = [...(typeName ? namesOf(typeOf(typeName)) : []), ...more].filter(
      (name) => !less.includes(name),
    );
    expect(await endOf(use, required)).toBeUndefined();
    for (const name of names) await expectKnown(use, { [name]: undefined, ...required }, name);

    class Instance {
      unheardOf = 1;
    }
    for (const options of [
      { unheardOf: 1 },
      { unheardOf: undefined },
      Object.create({ unheardOf: 1 }) as object,
      new Instance(),
    ]) {
      // Of a custom mask only plain objects are options: an instance holds what its methods need.
      if (typeName === 'CustomMask' && Object.getPrototypeOf(options) !== Object.prototype) continue;
      Object.assign(options, required);
      await expectUnknown(use, options, `${prefixes[name] ?? ''}unheardOf`);
    }
    for (const name of less) await expectUnknown(use, { ...required, [name]: 1 }, name);
    if (!more.includes('signal'))
      await expectUnknown(use, { ...required, signal: undefined }, `${prefixes[name] ?? ''}signal`);
    for (const options of [null, 5, 'causal', true]) {
      expect(await endOf(use, options)).toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
    expect(await endOf(use, Object.freeze({ ...required }))).toBeUndefined();
    expect(await endOf(use, Object.create(required))).toBeUndefined();
  });

  it.each(Object.entries(calls))(`${where}%s knows the options within its options`, async (_, call) => {
    const [use, typeName, required = {}] = call;
    for (const name of typeName ? namesOf(typeOf(typeName)) : []) {
      const nested = NESTED[name];
      if (nested === undefined) continue;
      for (const inner of namesOf(typeOf(nested))) {
        await expectKnown(use, { ...required, [name]: { [inner]: undefined } }, `${name}.${inner}`);
      }
      await expectUnknown(use, { ...required, [name]: { unheardOf: 1 } }, `${name}.unheardOf`);
    }
  });
});

describe('nested options of types without a name', () => {
  it.each([
    ['linear', ['factor']],
    ['ntk', ['factor']],
    ['dynamic', ['factor', 'originalLength']],
    ['yarn', ['factor', 'originalLength', 'betaFast', 'betaSlow', 'attentionFactor']],
    ['llama3', ['factor', 'originalLength', 'lowFrequencyFactor', 'highFrequencyFactor']],
  ])('scaling of type %s', async (type, names) => {
    const union = typeOf('RotaryScaling') as ts.UnionType;
    const own = union.types.map(namesOf).find((_, i) => {
      const property = checker.getPropertyOfType(union.types[i]!, 'type')!;
      return checker.getTypeOfSymbol(property).isStringLiteral()
        ? (checker.getTypeOfSymbol(property) as ts.StringLiteralType).value === type
        : false;
    });
    expect(own).toEqual(['type', ...names]);
    const all = new Set(union.types.flatMap(namesOf));
    const given = (more: object) => ({ type, factor: 2, originalLength: 8, ...more });
    const calls: Call[] = [
      (scaling) => api.rotaryFrequencies({ rotaryDim: 4, scaling }),
      (scaling) => api.rotaryEmbedding(x, { scaling }),
      (scaling) => new api.MultiHeadAttention(runtime, { ...sizes, rotary: { scaling } }).dispose(),
      (scaling) => new api.KeyValueCache(runtime, { ...cacheSizes, rotary: { scaling } }).dispose(),
      (scaling) => remote.multiHeadAttention({ ...sizes, rotary: { scaling } }),
    ];
    for (const call of calls) {
      const { originalLength, ...short } = given({});
      const right = names.includes('originalLength') ? { ...short, originalLength } : short;
      expect(await endOf(call, right)).toBeUndefined();
      for (const name of all) {
        if (own!.includes(name)) await expectKnown(call, { [name]: undefined, ...right }, name);
        else await expectUnknown(call, { ...right, [name]: 1 }, `scaling.${name}`);
      }
      await expectUnknown(call, { ...right, unheardOf: 1 }, 'scaling.unheardOf');
    }
  });

  it('tables of a rotary embedding, documents, the shape of positions', async () => {
    const tables = { cos: floats(5, 2), sin: floats(5, 2) };
    expect(await endOf((o) => api.rotaryEmbedding(x, o), { tables })).toBeUndefined();
    await expectUnknown((o) => api.rotaryEmbedding(x, o), { tables: { ...tables, tan: 1 } }, 'tables.tan');
    await expectUnknown((o) => api.documents(o), { ids: [0], id: 1 }, 'documents.id');
    await expectUnknown((o) => api.documents(o), { ids: [0], cumulativeLengths: [0, 1] }, 'documents.ids');
    const shape = { batch: 1, length: 1, dim: 1 };
    const add: Call = (o) => api.addPositions(new Float32Array(1), new Float32Array(1), o);
    expect(await endOf(add, shape)).toBeUndefined();
    await expectUnknown(add, { ...shape, heads: 1 }, 'shape.heads');
  });
});

it('every public function with options is tried here, and every type of options', () => {
  const tried = new Set(Object.keys({ ...CALLS, ...ASYNC }).map((name) => name.split(' ')[0]!));
  for (const [name, symbol] of exported) {
    if (!(symbol.flags & ts.SymbolFlags.Function) || name === 'createWorkerRuntime') continue;
    for (const signature of checker.getTypeOfSymbol(symbol).getCallSignatures()) {
      const has = signature.parameters.some((parameter) => parameter.name === 'options');
      if (has) expect([...tried], name).toContain(name);
    }
  }
  const types = [...Object.values({ ...CALLS, ...ASYNC }).map(([, type]) => type), ...Object.values(NESTED)];
  // Parts of others, or tried by name above; what errors are made of is for this package.
  const parts = [
    'AsyncOptions',
    'CallOptions',
    'AttentionOptions',
    'ScoreOptions',
    'TensorOptions',
    'TransferOptions',
    'WorkerOptions',
    'WorkerRuntimeOptions',
    'AttentionErrorOptions',
    'RecordSummaryOptions',
    'RecordWeightsOptions',
  ];
  const missing = [...exported.keys()].filter(
    (name) => name.endsWith('Options') && ![...types, ...parts].includes(name),
  );
  expect(missing).toEqual([]);
});

it('every object within options is known to hold options or data', () => {
  const unexplained = new Set<string>();
  for (const [, type] of Object.values(CALLS)) {
    for (const property of checker.getPropertiesOfType(typeOf(type))) {
      const given = checker.getNonNullableType(checker.getTypeOfSymbol(property));
      for (const part of given.isUnion() ? given.types : [given]) {
        if (!(part.flags & ts.TypeFlags.Object) || part.getCallSignatures().length > 0) continue;
        const name = (part.aliasSymbol ?? part.symbol).name;
        const isData = DATA.includes(name) || checker.getPropertyOfType(part, 'data') || name === '__type';
        if (!isData && NESTED[property.name] !== name) unexplained.add(`${type}.${property.name}: ${name}`);
      }
    }
  }
  expect([...unexplained].filter((line) => !/dataSync|scaling: /.test(line))).toEqual([]);
});

it('worker runtimes', async () => {
  await expectUnknown((o) => createWorkerRuntime(o), { unheardOf: 1 }, 'unheardOf');
  await expectUnknown((o) => createWorkerRuntime(o), { threads: { cuont: 1 } }, 'threads.cuont');
  await expectUnknown((o) => createWorkerRuntime(o), { wasm: {} }, 'wasm');
  for (const name of namesOf(typeOf('WorkerRuntimeOptions'))) {
    const call: Call = async (o) => (await createWorkerRuntime(o)).dispose();
    await expectKnown(call, { [name]: undefined }, name);
  }
  expect(await endOf((o) => createWorkerRuntime(o), null)).toMatchObject({ code: 'INVALID_ARGUMENT' });
});

it('an unknown name is refused before anything is given away to a worker', async () => {
  const given = floats(1, 2, 5, 4);
  await expectUnknown(
    (o) => remote.scaledDotProductAttention(given, given, given, o),
    { transfer: true, window: { lefft: 1 } },
    'window.lefft',
  );
  expect(given.data.length).toBe(40);
});

it('the embedded kernels cannot be exchanged by an option that only slim has', async () => {
  await expectUnknown((o) => api.createRuntime(o), { wasm: {} }, 'wasm');
});

it('what attention was given can be handed on as it is', async () => {
  const output = runtime.empty([1, 2, 5, 4]);
  const options = {
    causal: true,
    returnWeights: true,
    returnLogSumExp: true,
    returnStatistics: true,
    output,
  };
  const { statistics, weights: all } = api.scaledDotProductAttention(x, x, x, options);
  const again = { ...options, statistics };
  expect(api.attentionWeights(x, x, again).data).toEqual(all!.data);
  expect(api.attentionEntropy(x, x, again).shape).toEqual([1, 2, 5]);
  expect(api.receivedWeight(x, x, again).shape).toEqual([1, 2, 5]);
  expect(api.topKeys(x, x, 2, again).keys.length).toBe(20);
  expect((await api.attentionWeightsAsync(x, x, again)).data).toEqual(all!.data);
});

it('takes options with getters, without a prototype, and of a page that gives every object a property', async () => {
  class Options {
    get causal(): boolean {
      return true;
    }
    describe(): string {
      return 'methods are not options';
    }
  }
  const expected = api.scaledDotProductAttention(x, x, x, { causal: true }).output.toFloat32Array();
  for (const options of [
    new Options(),
    Object.assign(Object.create(null) as object, { causal: true }),
    JSON.parse('{ "causal": true }') as object,
  ]) {
    expect(api.scaledDotProductAttention(x, x, x, options).output.data).toEqual(expected);
    const far = await remote.scaledDotProductAttention(plain, plain, plain, options);
    expect(await far.output.read()).toEqual(expected);
  }
  Object.assign(Object.prototype, { pollution: 1 });
  try {
    expect(api.scaledDotProductAttention(x, x, x, { causal: true }).output.data).toEqual(expected);
    await expectUnknown((o) => api.softmax(x, o), { pollutoin: 1 }, 'pollutoin');
  } finally {
    delete (Object.prototype as { pollution?: number }).pollution;
  }
});

describe('the nearest name', () => {
  const attention: Call = (o) => api.scaledDotProductAttention(x, x, x, o);
  const newLayer: Call = (o) => new api.MultiHeadAttention(runtime, o);
  it.each<[Call, string, string]>([
    [attention, 'isCausal', 'causal'],
    [attention, 'is_causal', 'causal'],
    [attention, 'casual', 'causal'],
    [attention, 'CAUSAL', 'causal'],
    [attention, 'attnMask', 'mask'],
    [attention, 'attn_mask', 'mask'],
    [attention, 'masks', 'mask'],
    [attention, 'sacle', 'scale'],
    [attention, 'softmaxScale', 'scale'],
    [attention, 'softCap', 'softcap'],
    [attention, 'logits_soft_cap', 'softcap'],
    [attention, 'returnWeight', 'returnWeights'],
    [attention, 'needWeights', 'returnWeights'],
    [attention, 'windowSize', 'window'],
    [attention, 'slidingWindow', 'window'],
    [attention, 'alibiSlopes', 'alibi'],
    [attention, 'statistics', 'returnStatistics'],
    [attention, 'keyLength', 'keyLengths'],
    [newLayer, 'numKVHeads', 'numKeyValueHeads'],
    [newLayer, 'num_kv_heads', 'numKeyValueHeads'],
    [newLayer, 'numHead', 'numHeads'],
    [newLayer, 'heads', 'numHeads'],
    [newLayer, 'num_attention_heads', 'numHeads'],
    [newLayer, 'embed_dim', 'embedDim'],
    [newLayer, 'embeddingDim', 'embedDim'],
    [newLayer, 'head_dim', 'headDim'],
    [(o) => api.softmax(x, o), 'Axis', 'axis'],
    [(o) => api.createRuntime(o), 'numThreads', 'threads'],
    [(o) => api.createRuntime(o), 'maxMemory', 'maximumMemory'],
    [(o) => api.softmaxAsync(x, o), 'abortSignal', 'signal'],
  ])('%s: %s', async (call, name, meant) => {
    const error = (await endOf(call, { [name]: undefined })) as api.AttentionError;
    expect(error.message).toBe(`${name}: unknown option; did you mean ${meant}?`);
  });

  it('of every known name, misspelt', async () => {
    for (const [use, type, required] of Object.values(CALLS)) {
      for (const name of namesOf(typeOf(type)).filter((name) => name.length > 4)) {
        const middle = name.length >> 1;
        const exchanged = `${name.slice(0, middle - 1)}${name[middle]}${name[middle - 1]}${name.slice(middle + 1)}`;
        for (const wrong of [name.slice(0, -1), `${name}s`, `_${name}`, name.toUpperCase(), exchanged]) {
          if (name.length < 6 && wrong === exchanged) continue; // too short to tell
          if (namesOf(typeOf(type)).includes(wrong)) continue;
          const { message } = (await endOf(use, { ...required, [wrong]: 1 })) as Error;
          expect(message).toContain(`${wrong}: unknown option; did you mean ${name}?`);
        }
      }
    }
  });

  it('is not said where none is near: then all are listed', async () => {
    const { message } = (await endOf((o) => api.softmax(x, o), { dim: 1 })) as Error;
    expect(message).toBe('dim: unknown option; known are axis, runtime');
    for (const name of ['dropout', 'dropout_p', 'dropoutP', 'attentionDropout']) {
      const error = (await endOf(attention, { [name]: 0 })) as Error;
      expect(error.message).toBe(`${name}: unknown option; there is no dropout`);
    }
    for (const name of ['x', '', '_', '0', 'constructor2']) {
      await expectUnknown(attention, { [name]: 0 }, name);
    }
  });
});

it("names of data objects are the caller's own", () => {
  const data = { ...plain, name: 'query', dtype: 'float32', layout: 'bhnd' };
  expect(api.softmax(data, { runtime }).shape).toEqual([1, 2, 5, 4]);
  layer.load({ ...projections, 'something.else': floats(1) });
  api.mergeAttention([{ ...parts[0]!, ...{ from: 0 } }]);
  const mask = new (class {
    width = 2;
    keeps(_batch: number, _head: number, query: number, key: number): boolean {
      return Math.abs(query - key) < this.width;
    }
  })();
  expect(api.scaledDotProductAttention(x, x, x, { mask: api.customMask(mask) }).output.shape).toEqual(
    x.shape,
  );
});
