// A worker runtime gives what the sync one gives, bit for bit. Every case is written once, against handles that both kinds
// of runtime are made to have.

import { afterAll, describe, expect, it } from 'vitest';
import * as sync from 'wasm-attention';
import type { Build, Runtime, TensorData } from 'wasm-attention';
import * as masks from 'wasm-attention/worker-runtime';
import { createWorkerRuntime } from 'wasm-attention/worker-runtime';
import type { WorkerRuntime, WorkerTensor } from 'wasm-attention/worker-runtime';
import { Random } from '../reference/random.js';
import { builds } from '../support/runtimes.js';

/** Some calls on a runtime; what they give is compared. */
type Case = (runtime: WorkerRuntime, numbers: (...shape: number[]) => Input) => Promise<Part[]>;
type Input = { data: Float32Array; shape: number[] };
type Part = WorkerTensor | TensorData | undefined;

const [batch, heads, queries, keys, dim] = [2, 4, 37, 41, 24];

const attention =
  (options: object, otherKeys = queries): Case =>
  async (runtime, numbers) => {
    const q = await runtime.tensor(...split(numbers(batch, heads, queries, dim)));
    const k = await runtime.tensor(...split(numbers(batch, heads / 2, otherKeys, dim)));
    const v = await runtime.tensor(...split(numbers(batch, heads / 2, otherKeys, dim)));
    const wanted = { returnWeights: true, returnLogSumExp: true, returnStatistics: true };
    const result = await runtime.scaledDotProductAttention(q, k, v, { ...options, ...wanted });
    const region = { heads: [1, 3], queries: [5, 30], keys: [2, 20] } as const;
    const given = { ...options, statistics: result.statistics };
    const block = await runtime.attentionWeights(q, k, { ...given, region });
    const raw = await runtime.attentionWeights(q, k, { ...given, region, stage: 'masked' });
    const entropy = await runtime.attentionEntropy(q, k, given);
    const received = await runtime.receivedWeight(q, k, { ...options, queries: [3, 20] });
    const top = await runtime.topKeys(q, k, 4, given);
    const { output, weights, logSumExp, statistics } = result;
    return [output, weights, logSumExp, statistics, block, raw, entropy, received, top.weights, top.keys];
  };

const cases: Record<string, Case> = {
  'attention, plain': attention({}, keys),
  'attention, causal, window and ALiBi': attention({ causal: true, window: { left: 9 }, alibi: true }),
  'attention, biases, sinks and softcap': attention({
    ...{ softcap: 3, sinks: [0.1, 0.2, 0.3, 0.4], scale: 0.3, keyLengths: [20, 37] },
    relativePositionBias: { table: new Float32Array(32 * heads).fill(0.25), buckets: 32 },
    bias: { data: new Float32Array(queries).fill(-0.5), shape: [1, queries] },
  }),
  'masks combined': attention({
    mask: masks.and(
      masks.or(masks.causal(), masks.prefix([3, 8]), masks.globalTokens(Int32Array.of(0, 12))),
      masks.keyLengths([30, 37]),
      masks.or(masks.strided(2), masks.slidingWindow({ left: 4, right: 1 })),
    ),
  }),
  'masks of documents, blocks and bytes': attention({
    mask: [
      masks.documents({ ids: Int32Array.from({ length: queries }, (_, i) => i >> 4) }),
      masks.blockSparse([[true, false, true], [1, 1, 1], [0, 1, 1]] as never, 16), // prettier-ignore
      { data: Uint8Array.from({ length: queries }, (_, i) => Number(i % 5 > 0)), dims: [1, 1, 1, queries] },
      masks.denseMask(
        Array.from({ length: queries }, (_, i) => i % 7 > 0),
        [queries],
      ),
    ],
  }),
  'a mask of the main entry': attention({ mask: sync.and(sync.causal(), sync.strided(3)) }),
  'plain arrays, with an output of their own': async (runtime, numbers) => {
    const [q, k] = [numbers(1, 2, 9, 8), numbers(1, 2, 9, 8)];
    const output = await runtime.empty([1, 2, 9, 8]);
    const result = await runtime.scaledDotProductAttention(q, k, k, { causal: 'upper-left', output });
    expect(result.output).toBe(output);
    result.dispose(); // leaves what it was given
    return [output];
  },
  'variable lengths': async (runtime, numbers) => {
    const x = numbers(60, 2, 16);
    return [
      await runtime.variableLengthAttention(x, x, x, { cumulativeQueries: [0, 20, 60], causal: true }),
      await runtime.linearAttention(numbers(1, 2, 20, 8), numbers(1, 1, 20, 8), numbers(1, 1, 20, 8), {
        featureMap: 'relu',
        causal: true,
      }),
    ];
  },
  'parts merged': async (runtime, numbers) => {
    const q = numbers(1, 2, 10, 16);
    const part = () =>
      runtime.scaledDotProductAttention(q, numbers(1, 2, 30, 16), numbers(1, 2, 30, 16), {
        returnLogSumExp: true,
      });
    const merged = await runtime.mergeAttention([await part(), await part()]);
    return [merged.output, merged.logSumExp];
  },
  'products and softmax': async (runtime, numbers) => {
    const weights = await runtime.linearWeights(numbers(19, 33), numbers(19));
    expect([weights.inFeatures, weights.outFeatures]).toEqual([33, 19]);
    const product = await runtime.linear(numbers(3, 7, 33), weights);
    const rotated = await runtime.rotaryEmbedding(numbers(1, 2, 9, 16), { offset: 5, interleaved: true });
    return [product, await runtime.softmax(product, { axis: 1 }), rotated];
  },
  'in place': async (runtime, numbers) => {
    const x = await runtime.tensor(...split(numbers(2, 9, 16)));
    expect(await runtime.rotaryEmbedding(x, { inPlace: true })).toBe(x);
    const before = await x.read();
    return [before, await x.set(new Float32Array(x.size).fill(3))];
  },
  'the layer': async (runtime, numbers) => {
    const options = { embedDim: 48, numHeads: 4, numKeyValueHeads: 2, kdim: 20, vdim: 20, rotary: {} };
    const self = await runtime.multiHeadAttention({ ...options, kdim: 48, vdim: 48, causal: true });
    const cross = await runtime.multiHeadAttention({ ...options, rotary: undefined });
    const dict = (wide: number) => ({
      'a.q_proj.weight': numbers(48, 48),
      'a.k_proj.weight': numbers(24, wide),
      'a.v_proj.weight': numbers(24, wide),
      'a.out_proj.weight': numbers(48, 48),
      'a.out_proj.bias': numbers(48),
    });
    await self.load({ ...dict(48), 'b.in_proj_weight': numbers(3) }, 'a');
    expect(await cross.load(dict(20))).toBe(cross);
    const positions = Int32Array.from({ length: 11 }, (_, i) => 3 * i);
    const one = await self.forward(numbers(11, 48), { positions, returnWeights: true });
    const two = await cross.forward(numbers(2, 11, 48), {
      context: numbers(2, 13, 20),
      mask: masks.keyLengths([5, 13]),
      averageWeights: true,
      returnLogSumExp: true,
    });
    return [one.output, one.weights, two.output, two.weights, two.logSumExp];
  },
  'a cache': async (runtime, numbers) => {
    const options = { numKeyValueHeads: 2, headDim: 12, capacity: 200, layers: 2 };
    const cache = await runtime.keyValueCache(options);
    for (const layer of [0, 1]) await cache.append(layer, numbers(1, 2, 140, 12), numbers(1, 2, 140, 12));
    const fork = await cache.fork();
    await fork.append(1, numbers(1, 2, 3, 12), numbers(1, 2, 3, 12));
    const attended = await fork.attend(1, numbers(1, 4, 3, 12), { returnLogSumExp: true });
    await cache.crop(20);
    expect([await cache.lengths(1), await fork.lengths(1)]).toEqual([[20], [143]]);
    const snapshot = await fork.snapshot();
    await cache.restore(snapshot);
    await fork.reset();
    await fork.reorder([0]);
    expect([await cache.lengths(1), await fork.lengths(1)]).toEqual([[143], [0]]);

    const layer = await runtime.multiHeadAttention({ embedDim: 48, numHeads: 4, numKeyValueHeads: 2 });
    await layer.load({
      'q_proj.weight': numbers(48, 48),
      'k_proj.weight': numbers(24, 48),
      'v_proj.weight': numbers(24, 48),
      'o_proj.weight': numbers(48, 48),
    });
    const { output } = await layer.forward(numbers(1, 5, 48), { cache, cacheLayer: 0 });
    return [attended.output, attended.logSumExp, snapshot, output];
  },
  'integers and booleans': async (runtime) => [
    await runtime.tensor(BigInt64Array.of(5n, -1n)),
    await runtime.tensor([true, false, true]),
    await runtime.tensor(Float64Array.of(0.1, 0.2)),
  ],
};

describe.each(builds)('a worker runtime (%s)', async (build: Build) => {
  const outside = await createWorkerRuntime({ build });
  const inside = await sync.createRuntime({ build });
  afterAll(() => {
    outside.dispose();
    inside.dispose();
  });

  it.each(Object.keys(cases))('gives the same bits: %s', async (name) => {
    const expected = await contents(cases[name]!(asWorkerRuntime(inside), numbersFrom(1)));
    const received = await contents(cases[name]!(outside, numbersFrom(1)));
    expect(received.length).toBe(expected.length);
    received.forEach((values, index) => {
      expect(values?.constructor, `part ${index}`).toBe(expected[index]?.constructor);
      if (values) expect(bytes(values).equals(bytes(expected[index]!)), `part ${index}`).toBe(true);
    });
  });

  it('says what it is', () => {
    expect(outside.info).toEqual(inside.info);
  });

  it('has every operation that takes time', () => {
    const names = Object.keys(sync).filter((name) => name.endsWith('Async') && name !== 'tidyAsync');
    expect(names.length).toBeGreaterThan(9);
    for (const name of names) expect(outside).toHaveProperty(name.slice(0, -'Async'.length));
  });

  it('gives the same bits with threads of its own', async () => {
    const threaded = await createWorkerRuntime({ build, threads: 3 });
    expect(threaded.info.threads).toBe(3);
    for (const name of ['masks combined', 'the layer', 'products and softmax', 'a cache']) {
      const expected = await contents(cases[name]!(outside, numbersFrom(2)));
      const received = await contents(cases[name]!(threaded, numbersFrom(2)));
      received.forEach((values, i) => {
        if (values) expect(bytes(values).equals(bytes(expected[i]!)), `part ${i} of ${name}`).toBe(true);
      });
    }
    threaded.dispose();
  });
});

function numbersFrom(seed: number): (...shape: number[]) => Input {
  const random = new Random(seed);
  return (...shape) => ({
    data: random.array(
      shape.reduce((a, b) => a * b, 1),
      'uniform',
    ),
    shape,
  });
}

function split({ data, shape }: Input): [Float32Array, number[]] {
  return [data, shape];
}

async function contents(parts: Promise<Part[]>): Promise<(TensorData | undefined)[]> {
  return Promise.all((await parts).map(async (part) => (part && 'read' in part ? part.read() : part)));
}

function bytes(values: TensorData): Buffer {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength);
}

/** The sync API in the clothes of the other: functions become methods, results promises. */
function asWorkerRuntime(runtime: Runtime): WorkerRuntime {
  const withRead = <T>(value: T): T => {
    for (const tensor of [value, ...(Object.values(value as object) as unknown[])]) {
      if (tensor instanceof sync.Tensor) {
        const given = tensor as sync.Tensor; // of whatever kind
        Object.assign(given, { read: () => Promise.resolve(given.data.slice()) });
      }
    }
    return value;
  };
  const reading = (cache: sync.KeyValueCache): object => {
    const [attend, fork] = [cache.attend.bind(cache), cache.fork.bind(cache)];
    return Object.assign(cache, {
      attend: (...given: Parameters<typeof attend>) => withRead(attend(...given)),
      fork: () => reading(fork()),
    });
  };
  const methods: Record<string, (...given: never[]) => unknown> = {
    tensor: runtime.tensor.bind(runtime),
    empty: runtime.empty.bind(runtime),
    linearWeights: (weight, bias) => new sync.LinearWeights(runtime, weight, bias),
    keyValueCache: (options) => reading(new sync.KeyValueCache(runtime, options)),
    multiHeadAttention: (options) => {
      const layer = new sync.MultiHeadAttention(runtime, options);
      const forward = layer.forward.bind(layer);
      return Object.assign(layer, {
        forward: (...given: Parameters<typeof forward>) => withRead(forward(...given)),
      });
    },
  };
  return new Proxy({} as WorkerRuntime, {
    get:
      (_, name: string) =>
      async (...given: never[]) => {
        const method = methods[name];
        if (method) return withRead(await Promise.resolve(method(...given)));
        const operation = sync[name as 'softmax'] as unknown as (...given: unknown[]) => unknown;
        const last = given.at(-1);
        const [inputs, options] = isOptions(last) ? [given.slice(0, -1), last] : [given, {}];
        const own = name === 'linear' ? {} : { runtime }; // its weights say which
        return withRead(operation(...inputs, { ...(options as object), ...own }));
      },
  });
}

/** The last argument of an operation, as against a tensor or packed weights. */
function isOptions(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    !(value instanceof sync.Tensor) &&
    !(value instanceof sync.LinearWeights) &&
    !Array.isArray(value) &&
    !('data' in value)
  );
}
