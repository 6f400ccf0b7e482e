// The asynchronous forms of operations: the same bits, slices, progress, cancellation, and company.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  AttentionError,
  createRuntime,
  scaledDotProductAttention,
  scaledDotProductAttentionAsync,
  softmaxAsync,
} from 'wasm-attention';
import type { Progress, Runtime, Tensor } from 'wasm-attention';
import { Random } from '../reference/random.js';
import { bits, operations, randomTensor } from '../support/operations.js';

let runtime: Runtime;
let random: Random;

beforeEach(async () => {
  runtime = await createRuntime();
  random = new Random(7);
});
afterEach(() => runtime.dispose());

const tensor = (...shape: number[]): Tensor => randomTensor(runtime, random, ...shape);

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
    for (const [name, [now, later]] of Object.entries(operations(runtime, random))) {
      const expected = bits(now());
      const result = await later({});
      expect(bits(result), name).toEqual(expected);
    }
  });

  it('rejects with the reason of a signal that was aborted before, and keeps no memory', async () => {
    const reason = new Error('enough');
    for (const [name, [, later]] of Object.entries(operations(runtime, random))) {
      const { used } = runtime.memory;
      expect(await rejection(later({ signal: AbortSignal.abort(reason) })), name).toBe(reason);
      expect(runtime.memory.used, name).toBe(used);
    }
  });

  it('tells its progress up to the end', async () => {
    for (const [name, [, later]] of Object.entries(operations(runtime, random))) {
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
    const pairs = Object.entries(operations(runtime, random));
    const expected = [bits(scaledDotProductAttention(q, k, v)), ...pairs.map(([, [now]]) => bits(now()))];
    const calls = [scaledDotProductAttentionAsync(q, k, v), ...pairs.map(([, [, later]]) => later({}))];
    // A synchronous call in the middle.
    await new Promise((resolve) => setImmediate(resolve));
    expect(bits(scaledDotProductAttention(q, k, v))).toEqual(expected[0]);
    expect((await Promise.all(calls)).map(bits)).toEqual(expected);
  });
});
