// Every public function with one argument or option replaced by anything at all: it gives a result or an AttentionError,
// never another error, and leaves no memory behind.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as api from 'wasm-attention';
import type { Tensor } from 'wasm-attention';
import * as models from 'wasm-attention/model';
import { modelCalls } from './model-calls.js';

const runtime = await api.createRuntime();
const floats = (...shape: number[]) => ({
  data: Float32Array.from({ length: shape.reduce((size, n) => size * n, 1) }, (_, i) => Math.sin(i)),
  shape,
});
const heads = runtime.tensor(floats(1, 2, 5, 4).data, [1, 2, 5, 4]);
const other = await api.createRuntime();
const stranger = other.tensor([1, 2, 3, 4]);
const disposed = runtime.tensor([1, 2, 3, 4]);
disposed.dispose();
const { statistics } = api.scaledDotProductAttention(heads, heads, heads, { returnStatistics: true });
const weights = new api.LinearWeights(runtime, floats(6, 4), floats(6));
const layer = new api.MultiHeadAttention(runtime, { embedDim: 8, numHeads: 2 });
layer.load({
  in_proj_weight: floats(24, 8),
  in_proj_bias: floats(24),
  'out_proj.weight': floats(8, 8),
  'out_proj.bias': floats(8),
});

const ofModels = await modelCalls(runtime);

/** Objects by name: printed whole, a counterexample with one of them would take minutes. */
class Named {
  constructor(readonly name: keyof typeof OBJECTS) {}
}
const OBJECTS = { stranger, disposed, heads, weights, runtime, other, ...ofModels.objects };
const resolve = (value: unknown): unknown => (value instanceof Named ? OBJECTS[value.name] : value);

/** Anything, with a liking for what is nearly right. */
const anything = fc.oneof(
  fc.anything({ withTypedArray: true, withBigInt: true, withNullPrototype: true, maxDepth: 2 }),
  fc.constantFrom<unknown>(
    undefined,
    null,
    NaN,
    Infinity,
    -1,
    0,
    0.5,
    1,
    2,
    3,
    2 ** 31,
    2 ** 53,
    '',
    '1',
    true,
    false,
  ),
  fc.constantFrom<unknown>(
    [],
    {},
    [0],
    [1],
    [-1],
    [NaN],
    [0, 0],
    [[0]],
    [1, 2, 5, 4],
    () => 1,
    Symbol('s'),
    1n,
  ),
  fc.constantFrom<unknown>(new Float32Array(3), new Uint8Array(5)),
  fc.constantFrom(...(Object.keys(OBJECTS) as (keyof typeof OBJECTS)[])).map((name) => new Named(name)),
  fc.record({
    data: fc.anything({ maxDepth: 1, withTypedArray: true }),
    shape: fc.anything({ maxDepth: 1 }),
  }),
  fc
    .array(fc.integer({ min: -3, max: 6 }), { maxLength: 5 })
    .map((shape) => ({ data: new Float32Array(20), shape })),
  fc.array(fc.integer({ min: -3, max: 6 }), { maxLength: 5 }),
);

const scores = {
  scale: 1,
  temperature: 1,
  softcap: 5,
  causal: true,
  window: { left: 2, right: 0 },
  queryOffset: 0,
  mask: [api.causal()],
  keyLengths: [5],
  bias: floats(5, 5),
  alibi: true,
  relativePositionBias: { table: new Float32Array(64), buckets: 32, maxDistance: 128, bidirectional: true },
  sinks: [0, 0],
};
const cacheOptions = {
  layers: 1,
  batch: 1,
  numKeyValueHeads: 2,
  headDim: 4,
  valueHeadDim: 4,
  capacity: 20,
  storage: 'int8',
} as const;
const cached = (use: (cache: api.KeyValueCache) => unknown) => {
  const cache = new api.KeyValueCache(runtime, cacheOptions);
  try {
    cache.append(0, floats(1, 2, 3, 4), floats(1, 2, 3, 4));
    return use(cache);
  } finally {
    cache.dispose();
  }
};

type Call = (...args: never[]) => unknown;

/** Each public function with arguments that are right; objects that are not tensors are options, replaced one by one. */
const CALLS: Readonly<Record<string, [Call, unknown[]]>> = {
  scaledDotProductAttention: [
    api.scaledDotProductAttention,
    [
      heads,
      heads,
      heads,
      { ...scores, returnWeights: true, returnLogSumExp: true, output: undefined, runtime },
    ],
  ],
  attentionWeights: [
    api.attentionWeights,
    [
      heads,
      heads,
      {
        ...scores,
        stage: 'weights',
        statistics: undefined,
        region: { heads: [0, 1], queries: [0, 5], keys: [0, 5] },
        runtime,
      },
    ],
  ],
  attentionEntropy: [api.attentionEntropy, [heads, heads, { ...scores, statistics, runtime }]],
  receivedWeight: [api.receivedWeight, [heads, heads, { ...scores, statistics, runtime }]],
  topKeys: [api.topKeys, [heads, heads, 2, { ...scores, statistics, runtime }]],
  linearAttention: [
    api.linearAttention,
    [heads, heads, heads, { causal: false, featureMap: 'elu', runtime }],
  ],
  variableLengthAttention: [
    api.variableLengthAttention,
    [
      floats(5, 2, 4),
      floats(5, 2, 4),
      floats(5, 2, 4),
      { cumulativeQueries: [0, 2, 5], cumulativeKeys: [0, 2, 5], causal: true, runtime },
    ],
  ],
  mergeAttention: [api.mergeAttention, [[{ output: heads, logSumExp: floats(1, 2, 5) }], { runtime }]],
  softmax: [api.softmax, [heads, { axis: -1, runtime }]],
  linear: [api.linear, [floats(3, 4), weights, { output: undefined }]],
  LinearWeights: [
    (...args) => new api.LinearWeights(...(args as unknown as [api.Runtime, Tensor])),
    [runtime, floats(6, 4), floats(6)],
  ],
  rotaryEmbedding: [
    api.rotaryEmbedding,
    [
      heads,
      {
        rotaryDim: 4,
        base: 10000,
        scaling: { type: 'linear', factor: 2 },
        interleaved: false,
        positions: [0, 1, 2, 3, 4],
        offset: 0,
        tables: undefined,
        inPlace: false,
        runtime,
      },
    ],
  ],
  rotaryFrequencies: [
    api.rotaryFrequencies,
    [{ rotaryDim: 4, base: 10000, scaling: { type: 'yarn', factor: 4, originalLength: 32 }, length: 10 }],
  ],
  sinusoidalEncoding: [api.sinusoidalEncoding, [5, 8, { base: 10000, offset: 0 }]],
  addPositions: [
    api.addPositions,
    [new Float32Array(12), new Float32Array(20), { batch: 1, length: 3, dim: 4 }, [0, 1, 2]],
  ],
  alibiSlopes: [api.alibiSlopes, [8]],
  relativeBucket: [api.relativeBucket, [3, 32, 128, true]],
  parseSafetensors: [api.parseSafetensors, [new Uint8Array(16)]],
  causal: [api.causal, []],
  slidingWindow: [api.slidingWindow, [{ left: 1, right: 1 }]],
  prefix: [api.prefix, [[3]]],
  documents: [api.documents, [{ ids: [0, 0, 1, 1, 1] }]],
  keyLengths: [api.keyLengths, [[3]]],
  globalTokens: [api.globalTokens, [[0]]],
  strided: [api.strided, [2]],
  blockSparse: [api.blockSparse, [[[true]], 128]],
  denseMask: [api.denseMask, [new Uint8Array(25), [5, 5]]],
  customMask: [api.customMask, [{ keeps: () => true }]],
  and: [api.and, [api.causal(), api.slidingWindow({ left: 1, right: 0 })]],
  or: [api.or, [api.causal(), api.slidingWindow({ left: 1, right: 0 })]],
  'runtime.tensor': [runtime.tensor.bind(runtime), [new Float32Array(4), [2, 2]]],
  'runtime.empty': [runtime.empty.bind(runtime), [[2, 2], 'float32']],
  'tensor.reshape': [heads.reshape.bind(heads), [[2, 20]]],
  'tensor.transpose': [heads.transpose.bind(heads), [0, 1]],
  'tensor.slice': [heads.slice.bind(heads), [2, 1, 3]],
  tidy: [(...args) => void api.tidy(...(args as unknown as [api.Runtime, () => number])), [runtime, () => 1]],
  'tensor.set': [(values) => void heads.set(values), [floats(40).data]],
  MultiHeadAttention: [
    (...args) =>
      new api.MultiHeadAttention(...(args as unknown as [api.Runtime, api.MultiHeadAttentionOptions])),
    [
      runtime,
      {
        embedDim: 8,
        numHeads: 2,
        numKeyValueHeads: 2,
        headDim: 4,
        valueHeadDim: 4,
        kdim: 8,
        vdim: 8,
        bias: true,
        rotary: {},
      },
    ],
  ],
  'layer.forward': [
    layer.forward.bind(layer),
    [
      floats(1, 3, 8),
      {
        mask: floats(3, 3),
        keyLengths: [3],
        queryOffset: 0,
        bias: floats(3, 3),
        causal: true,
        context: undefined,
        valueContext: undefined,
        positions: undefined,
        returnWeights: true,
        averageWeights: false,
        returnLogSumExp: true,
        cache: undefined,
        cacheLayer: 0,
        lengths: undefined,
      },
    ],
  ],
  'layer.load': [
    layer.load.bind(layer),
    [
      {
        in_proj_weight: floats(24, 8),
        in_proj_bias: floats(24),
        'out_proj.weight': floats(8, 8),
        'out_proj.bias': floats(8),
      },
      '',
    ],
  ],
  KeyValueCache: [
    (options) => new api.KeyValueCache(runtime, options),
    [{ ...cacheOptions, ring: undefined, rotary: {} }],
  ],
  'cache.append': [
    (...args) => cached((cache) => cache.append(...(args as unknown as [number, Tensor, Tensor]))),
    [0, floats(1, 2, 1, 4), floats(1, 2, 1, 4), { lengths: [1] }],
  ],
  'cache.attend': [
    (...args) => cached((cache) => cache.attend(...(args as unknown as [number, Tensor]))),
    [
      0,
      floats(1, 4, 2, 4),
      {
        lengths: [2],
        causal: true,
        scale: 1,
        softcap: 3,
        mask: undefined,
        sinks: undefined,
        window: undefined,
        bias: undefined,
        alibi: undefined,
        output: undefined,
      },
    ],
  ],
  'cache.fork': [(rows) => cached((cache) => cache.fork(rows).dispose()), [[0]]],
  'cache.reorder': [(rows) => cached((cache) => cache.reorder(rows)), [[0]]],
  'cache.crop': [(length) => cached((cache) => cache.crop(length)), [2]],
  'cache.restore': [(bytes) => cached((cache) => cache.restore(bytes)), [new Uint8Array(3)]],
  ...ofModels.calls,
};

function isOptions(value: unknown): value is Record<string, unknown> {
  return (
    value !== null &&
    typeof value === 'object' &&
    Object.getPrototypeOf(value) === Object.prototype &&
    !('data' in value)
  );
}

/** Places in the arguments that can be replaced: an argument, or an option of one. */
function places(args: readonly unknown[]): [number, string | undefined][] {
  return args.flatMap((argument, i): [number, string | undefined][] => [
    [i, undefined],
    ...(isOptions(argument) ? Object.keys(argument).map((name): [number, string] => [i, name]) : []),
  ]);
}

function replaced(
  args: readonly unknown[],
  [index, name]: [number, string | undefined],
  value: unknown,
): unknown[] {
  return args.map((argument, i) => {
    if (i !== index) return argument;
    return name === undefined ? value : { ...(argument as object), [name]: value };
  });
}

/** Ends whatever a call has made. */
function disposeAll(result: unknown): void {
  if (Object.values<unknown>(OBJECTS).includes(result) || result === layer) return;
  if (result instanceof Promise) throw new Error('no public function tried here is asynchronous');
  const { dispose } = (result ?? {}) as { dispose?: () => void };
  if (typeof dispose === 'function') dispose.call(result);
}

const WRONG = [
  null,
  undefined,
  0,
  -1,
  0.5,
  NaN,
  Infinity,
  2 ** 53,
  '',
  'x',
  true,
  false,
  [],
  [null],
  new Array<number>(1),
  'float64',
  ['6'],
  {},
  () => 0,
];

describe.each(Object.entries(CALLS))('%s', (_, [call, args]) => {
  it('takes its arguments', () => {
    if (call === api.parseSafetensors || call === CALLS['cache.restore']![0]) return;
    disposeAll(call(...(args as never[])));
  });

  const choices = places(args);
  const attempt = (place: [number, string | undefined], value: unknown) => {
    const used = runtime.memory.used;
    try {
      disposeAll(call(...(replaced(args, place, value) as never[])));
    } catch (error) {
      if (!(error instanceof api.AttentionError)) throw error;
      expect(error.message).not.toBe('');
    }
    expect(runtime.memory.used).toBe(used);
  };

  it('gives a result or an AttentionError for what is wrong most often', () => {
    for (const place of choices) {
      for (const value of WRONG) {
        try {
          attempt(place, value);
        } catch (error) {
          throw new Error(`argument ${place.join('.')} as ${JSON.stringify(value)}`, { cause: error });
        }
      }
    }
  });

  it('gives a result or an AttentionError for anything', () => {
    if (choices.length === 0) return;
    fc.assert(
      fc.property(fc.nat(choices.length - 1), anything, (which, value) => {
        attempt(choices[which]!, resolve(value));
      }),
      { numRuns: 60 * Math.min(10, choices.length) },
    );
  });
});

it('the list names every public function', () => {
  const named = new Set(Object.keys(CALLS));
  const elsewhere =
    /Async$|^create|^probe|^measure|^run|^read|^load|^open|^inspect|^write|^safetensorsChunks|^[A-Z]/; // other tests, or classes tried above
  const missing = Object.entries({ ...api, ...models })
    .filter(([name, value]) => typeof value === 'function' && !named.has(name) && !elsewhere.test(name))
    .map(([name]) => name);
  expect(missing).toEqual([]);
});
