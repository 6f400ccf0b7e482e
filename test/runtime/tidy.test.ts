// What is made together is freed together: tidy, tidyAsync, scopes, and what is reported where nothing was freed.

import { afterAll, afterEach, describe, expect, it } from 'vitest';
import {
  AttentionError,
  attentionWeights,
  createRuntime,
  KeyValueCache,
  linear,
  LinearWeights,
  MultiHeadAttention,
  scaledDotProductAttention,
  scaledDotProductAttentionAsync,
  softmax,
  softmaxAsync,
  TensorScope,
  tidy,
  tidyAsync,
} from 'wasm-attention';
import type { Tensor } from 'wasm-attention';

const runtime = await createRuntime();
afterAll(() => runtime.dispose());
const start = runtime.memory.used;
afterEach(() => expect(runtime.memory.used).toBe(start));

function errorOf(call: () => unknown): AttentionError {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(AttentionError);
    return error as AttentionError;
  }
  throw new Error('expected an error');
}

const sines = (...shape: number[]) => ({
  data: Float32Array.from({ length: shape.reduce((size, length) => size * length, 1) }, (_, i) =>
    Math.sin(i),
  ),
  shape,
});
const tensor = (...shape: number[]) => runtime.tensor(sines(...shape).data, shape);

describe('tidy', () => {
  it('frees everything made in it but what it returns', () => {
    const made: Tensor[] = [];
    const result = tidy(runtime, () => {
      const x = tensor(1, 2, 5, 8);
      const empty = runtime.empty([10]);
      const { output, weights } = scaledDotProductAttention(x, x, x, { returnWeights: true });
      made.push(x, empty, output, weights, output.toContiguous());
      return softmax(output);
    });
    expect(made.map(({ disposed }) => disposed)).toEqual([true, true, true, true, true]);
    expect(result.shape).toEqual([1, 2, 5, 8]);
    expect(result.data[0]).toBeGreaterThan(0);
    result.dispose();
  });

  it('keeps results, lists and records of tensors, and gives back anything else', () => {
    const kept = tidy(runtime, () => {
      const x = tensor(1, 2, 5, 8);
      const result = scaledDotProductAttention(x, x, x, { returnLogSumExp: true });
      return {
        result,
        weights: attentionWeights(x, x),
        list: [tensor(2), { deep: tensor(3) }] as const,
        x: 5,
      };
    });
    expect(kept.result.output.disposed || kept.result.logSumExp.disposed).toBe(false);
    expect(kept.weights.disposed).toBe(false);
    expect(kept.list[1].deep.size).toBe(3);
    kept.result.dispose();
    kept.weights.dispose();
    kept.list[0].dispose();
    kept.list[1].deep.dispose();
    const numbers = tidy(runtime, () => softmax(tensor(4)).toFloat32Array());
    expect(numbers.reduce((sum, value) => sum + value)).toBeCloseTo(1, 6);
    expect(tidy(runtime, () => undefined)).toBe(undefined);
  });

  it('returns a view that has the memory of what it is a view of', () => {
    const view = tidy(runtime, () => tensor(2, 3).transpose(0, 1));
    expect([...view.toFloat32Array()]).toHaveLength(6);
    view.dispose();
    const [one, other] = tidy(runtime, () => {
      const whole = tensor(4, 2);
      return [whole.slice(0, 0, 2), whole.slice(0, 2, 4)];
    });
    one.dispose();
    one.dispose();
    expect(other.data).toHaveLength(4);
    other.dispose();
    // With the whole its views end, as ever.
    const { whole, part } = tidy(runtime, () => {
      const tall = tensor(4);
      return { part: tall.slice(0, 0, 2), whole: tall };
    });
    whole.dispose();
    expect(part.disposed).toBe(true);
  });

  it('frees everything if it throws, and leaves alone what was there before', () => {
    const before = tensor(3);
    expect(() =>
      tidy(runtime, () => {
        softmax(before);
        throw new RangeError('mine');
      }),
    ).toThrow(RangeError);
    expect(tidy(runtime, () => before)).toBe(before);
    expect(before.disposed).toBe(false);
    before.dispose();
  });

  it('nests: what an inner one keeps belongs to the outer one', () => {
    let inner: Tensor | undefined;
    const result = tidy(runtime, () => {
      inner = tidy(runtime, () => tensor(3));
      expect(inner.disposed).toBe(false);
      const view = tidy(runtime, () => tensor(4).reshape([2, 2]));
      const handed = tidy(runtime, (scope) => void scope.keep(tensor(5)));
      expect([view.disposed, handed]).toEqual([false, undefined]);
      return tidy(runtime, () => tidy(runtime, () => tensor(2)));
    });
    expect([inner!.disposed, result.disposed]).toEqual([true, false]);
    result.dispose();
  });

  it('keeps what it is told to', () => {
    let state: Tensor | undefined;
    tidy(runtime, (scope) => {
      state = scope.keep(softmax(tensor(3)));
    });
    expect(state!.data).toHaveLength(3);
    state!.dispose();
  });

  it('does not free layers, caches and packed weights, nor what they make for themselves', () => {
    const sizes = { embedDim: 8, numHeads: 2, bias: false, rotary: {} };
    const [layer, cache, weights] = tidy(runtime, () => {
      const cache = new KeyValueCache(runtime, {
        numKeyValueHeads: 2,
        headDim: 4,
        capacity: 200,
        rotary: {},
      });
      cache.append(0, sines(1, 2, 3, 4), sines(1, 2, 3, 4));
      const layer = new MultiHeadAttention(runtime, sizes);
      const weight = sines(8, 8);
      layer.load({
        'q_proj.weight': weight,
        'k_proj.weight': weight,
        'v_proj.weight': weight,
        'o_proj.weight': weight,
      });
      return [layer, cache, new LinearWeights(runtime, sines(4, 8))] as const;
    });
    // Tables of positions grow within a call.
    const forward = (length: number) =>
      tidy(runtime, () => layer.forward(sines(1, length, 8)).output.toFloat32Array());
    expect(forward(150)).toEqual(forward(150));
    tidy(runtime, () => void cache.attend(0, sines(1, 2, 1, 4)));
    tidy(runtime, () => void linear(sines(1, 8), weights));
    layer.dispose();
    cache.dispose();
    weights.dispose();
  });

  it('refuses what is asynchronous, and says what is for that', async () => {
    const error = errorOf(() =>
      tidy(runtime, async () => {
        const x = tensor(3);
        await Promise.resolve();
        x.data.fill(0); // disposed by now: a rejection that nobody hears
      }),
    );
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'tidy' });
    expect(error.message).toMatch(/tidyAsync/);
    await new Promise((resolve) => setTimeout(resolve, 5));
    for (const body of [undefined, null, 3, {}]) {
      expect(errorOf(() => tidy(runtime, body as never)).code).toBe('INVALID_ARGUMENT');
    }
  });

  it('leaves results of asynchronous calls alone', async () => {
    const x = tensor(1, 2, 5, 8);
    let running: ReturnType<typeof scaledDotProductAttentionAsync> | undefined;
    tidy(runtime, () => {
      running = scaledDotProductAttentionAsync(x, x, x);
    });
    const { output } = await running!;
    expect(output.disposed).toBe(false);
    output.dispose();
    x.dispose();
  });
});

describe('tidyAsync', () => {
  const pause = () => new Promise((resolve) => setTimeout(resolve, 1));

  it('frees what was made through its scope but what it returns', async () => {
    const made: Tensor[] = [];
    const result = await tidyAsync(runtime, async (scope) => {
      const x = scope.tensor(sines(1, 2, 5, 8).data, [1, 2, 5, 8]);
      const { output } = await scaledDotProductAttentionAsync(x, x, x, { scope });
      const empty = scope.empty([5], 'int32');
      const view = scope.run(() => softmax(output).reshape([80]));
      await pause();
      made.push(x, output, empty, view);
      return softmaxAsync(output, { scope });
    });
    expect(made.every(({ disposed }) => disposed)).toBe(true);
    expect(result.disposed).toBe(false);
    result.dispose();
  });

  it('keeps interleaved calls apart', async () => {
    const job = (n: number) =>
      tidyAsync(runtime, async (scope) => {
        let x: Tensor = scope.tensor(sines(n, 4).data, [n, 4]);
        for (let i = 0; i < n; i++) {
          x = await softmaxAsync(x, { scope });
          await pause();
          expect(x.disposed).toBe(false);
        }
        return x.toFloat32Array();
      });
    const together = await Promise.all([3, 1, 2].map(job));
    expect(together.map(({ length }) => length)).toEqual([12, 4, 8]);
    expect(await job(3)).toEqual(together[0]);
  });

  it('frees what belongs to it if it rejects, or ends before a call does', async () => {
    let running: Promise<Tensor> | undefined;
    const rejected = tidyAsync(runtime, async (scope) => {
      const x = scope.tensor([1, 2, 3]);
      running = softmaxAsync(x, { scope });
      await Promise.resolve();
      throw new RangeError('mine');
    });
    await expect(rejected).rejects.toThrow(RangeError);
    expect((await running!).disposed).toBe(true);
  });

  it('takes functions that are not asynchronous too', async () => {
    const kept = await tidyAsync(runtime, (scope) => scope.tensor([1]));
    kept.dispose();
    await expect(tidyAsync(runtime, 5 as never)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});

describe('a scope', () => {
  it('lives until it is disposed', () => {
    const scope: TensorScope = new TensorScope(runtime);
    const x = scope.tensor([1, 2, 3]);
    const y = scope.run(() => softmax(x));
    const kept = scope.keep(scope.run(() => softmax(y)));
    const elsewhere = softmax(x);
    scope.dispose();
    scope.dispose();
    expect([x, y, kept, elsewhere].map(({ disposed }) => disposed)).toEqual([true, true, false, false]);
    kept.dispose();
    elsewhere.dispose();
    expect(errorOf(() => scope.tensor([1])).code).toBe('DISPOSED');
    expect(errorOf(() => scope.run(() => 1)).code).toBe('DISPOSED');
    expect(Symbol.dispose === undefined || Symbol.dispose in scope).toBe(true);
  });

  it('is of one runtime, and checked before anything is done', async () => {
    const other = await createRuntime();
    const foreign = new TensorScope(other);
    const ended = new TensorScope(runtime);
    ended.dispose();
    for (const scope of [foreign, ended, {}, null, 'x']) {
      const call = softmaxAsync({ data: [1], shape: [1] }, { runtime, scope: scope as TensorScope });
      await expect(call).rejects.toMatchObject({ argument: 'scope' });
    }
    other.dispose();
    foreign.dispose();
  });
});

describe('running out of memory', () => {
  it('tells how many tensors there are and since when', async () => {
    const small = await createRuntime({ maximumMemory: 6 << 20 });
    const tensors: Tensor[] = [small.empty([10])];
    const error = errorOf(() => {
      for (;;) tensors.push(small.empty([50_000]));
    });
    expect(error.code).toBe('OUT_OF_MEMORY');
    expect(error.message).toContain(`live tensors: ${tensors.length}, `);
    expect(error.message).toMatch(/ \d+ more than \d+\.\d s ago, when memory last grew/);
    for (const each of tensors.splice(1)) each.dispose();
    const live = errorOf(() => small.empty([5 << 20]));
    expect(live.message).toContain('live tensors: 1, ');
    small.dispose();
  });
});
