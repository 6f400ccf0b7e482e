// Runtimes and tensors: what is chosen and why, what is freed, what happens when memory ends.

import { describe, expect, expectTypeOf, it } from 'vitest';
import {
  AttentionError,
  createRuntime,
  customMask,
  linear,
  LinearWeights,
  probeFeatures,
  scaledDotProductAttention,
} from 'wasm-attention';
import type { Tensor } from 'wasm-attention';

/** The error a call ends with. */
function errorOf(call: () => unknown): AttentionError {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(AttentionError);
    return error as AttentionError;
  }
  throw new Error('expected an error');
}

describe('createRuntime', () => {
  it('chooses the fastest build of the engine and says why', async () => {
    const { info } = await createRuntime();
    const { fusedMultiplyAdd } = probeFeatures();
    expect(info.build).toBe(fusedMultiplyAdd ? 'relaxed' : 'simd');
    expect(info.reason).toMatch(/multiply-add|relaxed SIMD/);
    expect(info.threads).toBe(1);
    expect((await createRuntime({ deterministic: true })).info.build).toBe('simd');
  });

  it('refuses what it cannot do', async () => {
    await expect(createRuntime({ build: 'fast' as 'simd' })).rejects.toMatchObject({ argument: 'build' });
    await expect(createRuntime({ maximumMemory: 5 })).rejects.toMatchObject({ argument: 'maximumMemory' });
    await expect(createRuntime({ build: 'relaxed', deterministic: true })).rejects.toBeInstanceOf(
      AttentionError,
    );
    if (!probeFeatures().relaxedMultiplyAdd) {
      await expect(createRuntime({ build: 'relaxed' })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    }
  });
});

describe('memory', () => {
  it('ends in a typed error after which the runtime works', async () => {
    const runtime = await createRuntime({ maximumMemory: 4 << 20 });
    const kept = runtime.tensor([1, 2, 3]);
    const { used } = runtime.memory;
    expect(errorOf(() => runtime.empty([2 << 20])).code).toBe('OUT_OF_MEMORY');
    expect(runtime.memory.used).toBe(used);
    const big = runtime.empty([1, 1, 600, 64]);
    big.data.fill(0.5);
    // Room for the inputs, not for weights of 600 x 600 and what else is needed.
    const filler = runtime.empty([650_000]);
    expect(errorOf(() => scaledDotProductAttention(big, big, big, { returnWeights: true })).code).toBe(
      'OUT_OF_MEMORY',
    );
    filler.dispose();
    const { output } = scaledDotProductAttention(big, big, big);
    expect(output.data[0]).toBeCloseTo(0.5, 6);
    expect(kept.toFloat32Array()).toEqual(Float32Array.of(1, 2, 3));
  });

  it('gives fresh views after growth', async () => {
    const runtime = await createRuntime();
    const tensor = runtime.tensor([1, 2, 3]);
    const before = tensor.data;
    runtime.empty([3 << 20]);
    expect(before.length).toBe(0);
    expect(Array.from(tensor.data)).toEqual([1, 2, 3]);
  });

  it('is counted exactly and returned by dispose', async () => {
    const runtime = await createRuntime();
    const start = runtime.memory.used;
    const weights = new LinearWeights(runtime, { data: new Float32Array(30).fill(1), shape: [5, 6] });
    const output = linear({ data: new Float32Array(12).fill(1), dims: [2, 6] }, weights);
    expect(Array.from(output.data)).toEqual(new Array(10).fill(6));
    output.dispose();
    output.dispose();
    weights.dispose();
    expect(runtime.memory.used).toBe(start);
    expect(runtime.memory.peak).toBeGreaterThan(start);
  });
});

describe('temporary memory', () => {
  it('of a call within a call is apart', async () => {
    const runtime = await createRuntime();
    const values = Float32Array.from({ length: 40 * 8 }, (_, i) => Math.sin(i));
    const x = { data: values, shape: [1, 1, 40, 8] };
    const attend = (keeps: () => boolean) => {
      const mask = customMask({ keeps });
      return scaledDotProductAttention(x, x, x, { runtime, mask }).output.toFloat32Array();
    };
    const alone = attend(() => true);
    let calls = 0;
    const nested = attend(() => {
      if (calls++ % 100 === 0) expect(attend(() => true)).toEqual(alone);
      return true;
    });
    expect(calls).toBeGreaterThan(1000);
    expect(nested).toEqual(alone);
  });

  it('is returned by calls that fail', async () => {
    const runtime = await createRuntime();
    const ones = new Float32Array(64 * 64).fill(1);
    const x = { data: ones, shape: [64, 64] };
    const weights = new LinearWeights(runtime, x);
    const expected = linear(x, weights).toFloat32Array();
    // Each call copies its input in before it finds fault with the output: more than there is room for, were it kept.
    const output = runtime.empty([1]);
    const { peak } = runtime.memory;
    for (let i = 0; i < 100; i++) {
      expect(errorOf(() => linear(x, weights, { output })).argument).toBe('output');
    }
    expect(runtime.memory.peak).toBe(peak);
    const { used } = runtime.memory;
    const result = linear(x, weights);
    expect(result.toFloat32Array()).toEqual(expected);
    result.dispose();
    expect(runtime.memory.used).toBe(used);
  });
});

describe('types', () => {
  it('know the array of a kind of elements', async () => {
    const runtime = await createRuntime();
    expectTypeOf(runtime.tensor([1]).data).toEqualTypeOf<Float32Array>();
    expectTypeOf(runtime.tensor(new Float64Array(1)).reshape([1, 1]).data).toEqualTypeOf<Float32Array>();
    expectTypeOf(runtime.tensor([true]).transpose(0, 0).data).toEqualTypeOf<Uint8Array>();
    expectTypeOf(runtime.tensor(new BigInt64Array(1)).slice(0, 0, 1).data).toEqualTypeOf<Int32Array>();
    expectTypeOf(runtime.empty([1]).data).toEqualTypeOf<Float32Array>();
    expectTypeOf(runtime.empty([1], 'bool').data).toEqualTypeOf<Uint8Array>();
    expectTypeOf(runtime.empty([1])).toExtend<Tensor>(); // any kind, where it does not matter
    expectTypeOf<Tensor['data']>().toEqualTypeOf<Float32Array | Int32Array | Uint8Array>();
    expect(runtime.empty([1], 'int32').data).toBeInstanceOf(Int32Array);
    runtime.dispose();
  });
});

describe('disposal', () => {
  it('ends tensors, their views, and everything with the runtime', async () => {
    const runtime = await createRuntime();
    const tensor = runtime.tensor([1, 2, 3, 4], [2, 2]);
    const view = tensor.slice(0, 1, 2);
    expect(Array.from(view.toFloat32Array())).toEqual([3, 4]);
    tensor.dispose();
    expect(errorOf(() => view.data).code).toBe('DISPOSED');
    expect(errorOf(() => scaledDotProductAttention(tensor, tensor, tensor)).code).toBe('DISPOSED');
    const other = runtime.tensor([1]);
    runtime.dispose();
    runtime.dispose();
    expect(errorOf(() => other.data).code).toBe('DISPOSED');
    expect(errorOf(() => runtime.empty([1])).code).toBe('DISPOSED');
  });

  it('keeps runtimes apart', async () => {
    const [one, two] = [await createRuntime(), await createRuntime()];
    const [a, b] = [one.tensor([1, 1], [1, 2]), two.tensor([1, 1], [1, 2])];
    const error = errorOf(() => scaledDotProductAttention(a, b, a));
    expect(error.argument).toBe('key');
    one.dispose();
    expect(Array.from(b.data)).toEqual([1, 1]);
  });
});

describe('tensor', () => {
  it('reads and writes through strides', async () => {
    const runtime = await createRuntime();
    const tensor = runtime.tensor(
      Float32Array.from({ length: 24 }, (_, i) => i),
      [2, 3, 4],
    );
    expect(Array.from(tensor.transpose(1, 2).slice(1, 1, 2).toFloat32Array())).toEqual([1, 5, 9, 13, 17, 21]);
    tensor.transpose(0, 2).slice(0, 3, 4).set([90, 91, 92, 93, 94, 95]);
    expect(Array.from(tensor.slice(2, 3, 4).toFloat32Array())).toEqual([90, 92, 94, 91, 93, 95]);
    expect(tensor.reshape([2, 3, 2, 2]).shape).toEqual([2, 3, 2, 2]);
    expect(tensor.slice(2, 0, 2).reshape([2, 3, 1, 2]).contiguous).toBe(false);
    expect(errorOf(() => tensor.transpose(0, 3)).argument).toBe('second');
    expect(errorOf(() => tensor.slice(0, 1, 3)).argument).toBe('slice');
    expect(errorOf(() => tensor.reshape([5])).argument).toBe('shape');
    expect(errorOf(() => tensor.transpose(0, 1).data).code).toBe('INVALID_STATE');
    expect(errorOf(() => tensor.set([1])).argument).toBe('values');
    expect(errorOf(() => runtime.tensor('text' as never)).argument).toBe('data');
    expect(errorOf(() => runtime.tensor([1, 2], [3])).argument).toBe('shape');
    expect(runtime.tensor([true, false]).dtype).toBe('bool');
    expect(Array.from(runtime.tensor(BigInt64Array.of(5n, -1n)).data)).toEqual([5, -1]);
  });
});
