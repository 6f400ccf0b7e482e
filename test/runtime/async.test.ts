// The asynchronous forms of operations: the same bits, slices, progress, cancellation, and company.

import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  attentionEntropy,
  attentionEntropyAsync,
  AttentionError,
  attentionWeights,
  attentionWeightsAsync,
  createRuntime,
  linear,
  linearAsync,
  linearAttention,
  linearAttentionAsync,
  LinearWeights,
  mergeAttention,
  mergeAttentionAsync,
  MultiHeadAttention,
  receivedWeight,
  receivedWeightAsync,
  scaledDotProductAttention,
  scaledDotProductAttentionAsync,
  softmax,
  softmaxAsync,
  topKeys,
  topKeysAsync,
  variableLengthAttention,
  variableLengthAttentionAsync,
} from 'wasm-attention';
import type { AsyncOptions, Progress, Runtime, Tensor } from 'wasm-attention';
import { Random } from '../reference/random.js';

let runtime: Runtime;
let random: Random;

beforeEach(async () => {
  runtime = await createRuntime();
  random = new Random(7);
});
afterEach(() => runtime.dispose());

const tensor = (...shape: number[]): Tensor =>
  runtime.tensor(
    random.array(
      shape.reduce((size, length) => size * length, 1),
      'normal',
    ),
    shape,
  );

/** Hashes of everything in a result: views of memory that grows do not last. */
const bits = (result: unknown): unknown => {
  if (ArrayBuffer.isView(result))
    return createHash('md5')
      .update(Buffer.from(result.buffer, result.byteOffset, result.byteLength))
      .digest('hex');
  if (result && typeof result === 'object' && 'data' in result) return bits(result.data);
  return Object.values(result as object)
    .filter((part) => part !== undefined)
    .map(bits);
};

/** Each operation in both forms, over the same inputs. */
function operations(): Record<string, [() => unknown, (options: AsyncOptions) => Promise<unknown>]> {
  const [q, k, v] = [tensor(2, 4, 200, 24), tensor(2, 2, 300, 24), tensor(2, 2, 300, 20)] as const;
  const [x, weights] = [tensor(70, 50), new LinearWeights(runtime, tensor(30, 50), tensor(30))] as const;
  const options = { causal: 'lower-right', window: { left: 100 } } as const;
  const all = {
    causal: 'lower-right',
    returnWeights: true,
    returnLogSumExp: true,
    returnStatistics: true,
  } as const;
  const packed = [tensor(90, 4, 16), tensor(90, 2, 16), tensor(90, 2, 16)] as const;
  const sequences = { cumulativeQueries: [0, 20, 20, 90], causal: true };
  const parts = [0, 150].map((from) =>
    scaledDotProductAttention(q, k.slice(2, from, from + 150), v.slice(2, from, from + 150), {
      returnLogSumExp: true,
    }),
  );
  const layer = new MultiHeadAttention(runtime, { embedDim: 48, numHeads: 4, causal: true, rotary: {} }).load(
    {
      in_proj_weight: tensor(144, 48),
      in_proj_bias: tensor(144),
      'out_proj.weight': tensor(48, 48),
      'out_proj.bias': tensor(48),
    },
  );
  const tokens = tensor(2, 60, 48);
  return {
    attention: [
      () => scaledDotProductAttention(q, k, v, all),
      (o) => scaledDotProductAttentionAsync(q, k, v, { ...all, ...o }),
    ],
    weights: [
      () => attentionWeights(q, k, options),
      (o) => attentionWeightsAsync(q, k, { ...options, ...o }),
    ],
    received: [() => receivedWeight(q, k, options), (o) => receivedWeightAsync(q, k, { ...options, ...o })],
    entropy: [
      () => attentionEntropy(q, k, options),
      (o) => attentionEntropyAsync(q, k, { ...options, ...o }),
    ],
    'top keys': [() => topKeys(q, k, 3, options), (o) => topKeysAsync(q, k, 3, { ...options, ...o })],
    linear: [() => linear(x, weights), (o) => linearAsync(x, weights, o)],
    softmax: [() => softmax(q), (o) => softmaxAsync(q, o)],
    'softmax of another axis': [() => softmax(q, { axis: 1 }), (o) => softmaxAsync(q, { axis: 1, ...o })],
    'linear attention': [() => linearAttention(q, k, v), (o) => linearAttentionAsync(q, k, v, o)],
    'variable length': [
      () => variableLengthAttention(...packed, sequences),
      (o) => variableLengthAttentionAsync(...packed, { ...sequences, ...o }),
    ],
    merge: [() => mergeAttention(parts), (o) => mergeAttentionAsync(parts, o)],
    layer: [
      () => layer.forward(tokens, { averageWeights: true, returnLogSumExp: true }),
      (o) => layer.forwardAsync(tokens, { averageWeights: true, returnLogSumExp: true, ...o }),
    ],
  };
}

/** Attention that takes some tenths of a second. */
function longAttention(): [Tensor, Tensor, Tensor] {
  return [tensor(1, 8, 1024, 64), tensor(1, 8, 1024, 64), tensor(1, 8, 1024, 64)];
}

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => expect.fail('it did not reject'),
    (reason: unknown) => reason,
  );
}

describe('every operation', () => {
  it('has the bits of its synchronous form', async () => {
    for (const [name, [now, later]] of Object.entries(operations())) {
      const expected = bits(now());
      const result = await later({});
      expect(bits(result), name).toEqual(expected);
    }
  });

  it('rejects with the reason of a signal that was aborted before, and keeps no memory', async () => {
    const reason = new Error('enough');
    for (const [name, [, later]] of Object.entries(operations())) {
      const { used } = runtime.memory;
      expect(await rejection(later({ signal: AbortSignal.abort(reason) })), name).toBe(reason);
      expect(runtime.memory.used, name).toBe(used);
    }
  });

  it('tells its progress up to the end', async () => {
    for (const [name, [, later]] of Object.entries(operations())) {
      const told: Progress[] = [];
      await later({ onProgress: (progress) => told.push(progress) });
      expect(told.length, name).toBeGreaterThan(0);
      expect(told.at(-1)!.done, name).toBe(told.at(-1)!.total);
    }
  });

  it('rejects, and does not throw, what is wrong with its arguments', async () => {
    const wrong = scaledDotProductAttentionAsync(tensor(1, 1, 2, 3), tensor(1, 1, 2, 4), tensor(1, 1, 2, 4));
    expect(await rejection(wrong)).toMatchObject({ code: 'INVALID_SHAPE', argument: 'key' });
    expect(await rejection(softmaxAsync(tensor(3), { signal: {} as never }))).toMatchObject({
      argument: 'signal',
    });
    expect(await rejection(softmaxAsync(tensor(3), { onProgress: 1 as never }))).toMatchObject({
      argument: 'onProgress',
    });
  });
});

describe('a long call', () => {
  it('lets the event loop turn, with progress that never falls', async () => {
    const [q, k, v] = longAttention();
    const told: Progress[] = [];
    let turns = 0;
    let over = false;
    const turn = () => {
      turns++;
      if (!over) setImmediate(turn);
    };
    setImmediate(turn);
    await scaledDotProductAttentionAsync(q, k, v, { onProgress: (progress) => told.push(progress) });
    over = true;
    expect(turns).toBeGreaterThan(3);
    expect(told.length).toBeGreaterThan(3);
    expect(told.every(({ done }, i) => i === 0 || done >= told[i - 1]!.done)).toBe(true);
  });

  it('ends with the reason of its signal, frees what it held, and leaves inputs as they were', async () => {
    const [q, k, v] = longAttention();
    const before = bits(q);
    const output = runtime.empty(q.shape);
    const { used } = runtime.memory;
    const reason = { why: 'the user left' };
    for (const options of [{}, { output }]) {
      const controller = new AbortController();
      let slices = 0;
      const onProgress = () => {
        if (++slices === 2) controller.abort(reason);
      };
      const call = scaledDotProductAttentionAsync(q, k, v, {
        ...options,
        onProgress,
        signal: controller.signal,
      });
      expect(await rejection(call)).toBe(reason);
      expect(slices).toBe(2);
      expect(runtime.memory.used).toBe(used);
    }
    expect(output.disposed).toBe(false);
    expect(bits(q)).toBe(before);
  });

  it('ends with what onProgress throws', async () => {
    const { used } = runtime.memory;
    const error = new Error('of the caller');
    const onProgress = () => {
      throw error;
    };
    expect(await rejection(softmaxAsync({ data: [1, 2], shape: [2] }, { runtime, onProgress }))).toBe(error);
    expect(runtime.memory.used).toBe(used);
  });

  it('keeps tensors that are disposed meanwhile until it is over', async () => {
    const [q, k, v] = longAttention();
    const first = scaledDotProductAttention(q, k, v);
    const expected = bits(first);
    first.dispose();
    const { used } = runtime.memory;
    const call = scaledDotProductAttentionAsync(q, k, v);
    for (const input of [q, k, v]) input.dispose();
    // Would take the freed place.
    const others = [tensor(1, 8, 1024, 64), tensor(1, 8, 1024, 64)];
    const result = await call;
    expect(bits(result)).toEqual(expected);
    for (const other of others) other.dispose();
    result.dispose();
    expect(runtime.memory.used).toBe(used - 3 * q.size * 4);
  });

  it('ends with a typed error when the runtime is disposed meanwhile', async () => {
    const [q, k, v] = longAttention();
    const call = scaledDotProductAttentionAsync(q, k, v);
    runtime.dispose();
    const error = await rejection(call);
    expect(error).toBeInstanceOf(AttentionError);
    expect(error).toMatchObject({ code: 'DISPOSED' });
    expect(runtime.memory.used).toBe(0);
  });

  it('is not disturbed by others on the same runtime', async () => {
    const [q, k, v] = longAttention();
    const pairs = Object.entries(operations());
    const expected = [bits(scaledDotProductAttention(q, k, v)), ...pairs.map(([, [now]]) => bits(now()))];
    const calls = [scaledDotProductAttentionAsync(q, k, v), ...pairs.map(([, [, later]]) => later({}))];
    // A synchronous call in the middle.
    await new Promise((resolve) => setImmediate(resolve));
    expect(bits(scaledDotProductAttention(q, k, v))).toEqual(expected[0]);
    expect((await Promise.all(calls)).map(bits)).toEqual(expected);
  });
});
