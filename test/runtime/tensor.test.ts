// Tensors: what they are made of, what becomes of views when memory grows, how they are shown.

import { inspect } from 'node:util';
import { runInNewContext } from 'node:vm';
import { afterAll, describe, expect, it } from 'vitest';
import {
  addPositions,
  AttentionError,
  attentionWeights,
  createRuntime,
  denseMask,
  KeyValueCache,
  linear,
  linearAttention,
  LinearWeights,
  mergeAttention,
  MultiHeadAttention,
  parseSafetensors,
  rotaryEmbedding,
  scaledDotProductAttention,
  softmax,
} from 'wasm-attention';
import type { ArrayInput, DataType, Runtime, Tensor } from 'wasm-attention';
import { bits } from '../support/operations.js';

const runtime = await createRuntime();
afterAll(() => runtime.dispose());

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

const sizeOf = (shape: readonly number[]) => shape.reduce((size, length) => size * length, 1);
const sines = (...shape: number[]) => Float32Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(i));

describe('a view of its own memory as input', () => {
  /** From now on every allocation grows the memory, which detaches all views of it. */
  function growAlways({ linearMemory }: Runtime): void {
    const { memory } = linearMemory;
    const allocate = linearMemory.allocate.bind(linearMemory);
    const grow = memory.grow.bind(memory);
    let refuse = true;
    memory.grow = (pages) => {
      refuse = !refuse; // the first attempt of two asks for much more than is needed
      if (!refuse) throw new RangeError('refused');
      return grow(pages);
    };
    linearMemory.allocate = (bytes) => {
      const { used, capacity } = linearMemory.statistics;
      linearMemory.free(allocate(capacity - used + 64));
      return allocate(bytes);
    };
    linearMemory.push = () => 0;
  }

  type Give = (data: Float32Array | Int32Array | Uint8Array, ...shape: number[]) => ArrayInput;

  /** What is tried, and its results. `give` returns the array itself, or a view of memory that holds the same. */
  type Trial = (runtime: Runtime, give: Give) => readonly unknown[];

  const input = (give: Give, ...shape: number[]) => ({ data: give(sines(...shape)), shape });
  /** An input larger than what calls keep on their stack: to copy it in is to allocate. */
  const large = (give: Give) => input(give, 1, 2, 300, 100);
  const layerOf = (within: Runtime, sizes: object = {}) =>
    new MultiHeadAttention(within, { embedDim: 200, numHeads: 2, ...sizes });
  const stateDict = (give: Give) => ({
    'q_proj.weight': input(give, 200, 200),
    'k_proj.weight': input(give, 200, 200),
    'v_proj.weight': input(give, 200, 200),
    'out_proj.weight': input(give, 200, 200),
    'q_proj.bias': input(give, 200),
    'k_proj.bias': input(give, 200),
    'v_proj.bias': input(give, 200),
    'out_proj.bias': input(give, 200),
  });

  const trials: Record<string, Trial> = {
    'runtime.tensor': (runtime, give) => [runtime.tensor(give(sines(7, 5)), [7, 5])],
    'runtime.tensor of integers': (runtime, give) => [runtime.tensor(give(Int32Array.of(1, 2, 3)))],
    attention: (runtime, give) => {
      const [query, key, value] = [large(give), large(give), large(give)];
      return [scaledDotProductAttention(query, key, value, { runtime }).output];
    },
    'masks and biases': (runtime, give) => {
      const mask = [
        { data: give(Uint8Array.from({ length: 300 * 300 }, (_, i) => i % 3)), shape: [300, 300] },
        input(give, 300, 300),
      ];
      const options = { mask, bias: input(give, 300, 300), sinks: give(sines(2)) as Float32Array };
      const keyLengths = give(Int32Array.of(200)) as Int32Array;
      const [query, key, value] = [large(give), large(give), large(give)];
      return [scaledDotProductAttention(query, key, value, { ...options, keyLengths, runtime }).output];
    },
    'weights of a region': (runtime, give) => {
      const [query, key] = [large(give), large(give)];
      return [attentionWeights(query, key, { runtime })];
    },
    'merged results': (runtime, give) => {
      const parts = [0, 1].map(() => ({ output: large(give), logSumExp: input(give, 1, 2, 300) }));
      return [mergeAttention(parts, { runtime }).output];
    },
    'linear attention': (runtime, give) => {
      const [query, key, value] = [large(give), large(give), large(give)];
      return [linearAttention(query, key, value, { runtime })];
    },
    softmax: (runtime, give) => [softmax(large(give), { runtime })],
    'rotary embedding': (runtime, give) => {
      const positions = give(Int32Array.from({ length: 300 }, (_, i) => 3 * i)) as Int32Array;
      const tables = { cos: input(give, 900, 50), sin: input(give, 900, 50) };
      return [rotaryEmbedding(large(give), { positions, tables, runtime })];
    },
    'weights of a product': (runtime, give) => {
      const weights = new LinearWeights(runtime, input(give, 300, 200), input(give, 300));
      return [linear(input(give, 300, 200), weights)];
    },
    'a layer': (runtime, give) => {
      const [layer, x] = [layerOf(runtime, { rotary: {} }).load(stateDict(give)), input(give, 1, 300, 200)];
      const positions = give(Int32Array.from({ length: 300 }, (_, i) => 3 * i)) as Int32Array;
      return [layer.forward(x, { positions, mask: input(give, 300, 300) }).output];
    },
    'a layer with contexts': (runtime, give) => {
      const layer = layerOf(runtime, { kdim: 200, vdim: 100 }).load({
        ...stateDict(give),
        'v_proj.weight': input(give, 200, 100),
      });
      const [context, valueContext] = [input(give, 1, 300, 200), input(give, 1, 300, 100)];
      return [layer.forward(input(give, 1, 300, 200), { context, valueContext }).output];
    },
    'a cache': (runtime, give) => {
      const sizes = { numKeyValueHeads: 2, headDim: 100, capacity: 1000 };
      const cache = new KeyValueCache(runtime, sizes);
      const [keys, values] = [large(give), large(give)];
      cache.append(0, keys, values, { lengths: give(Int32Array.of(290)) as Int32Array });
      const options = { bias: input(give, 300, 290), lengths: give(Int32Array.of(290)) as Int32Array };
      const { output } = cache.attend(0, large(give), options);
      const snapshot = cache.snapshot();
      const restored = new KeyValueCache(runtime, sizes);
      restored.restore(give(snapshot) as Uint8Array);
      return [output, restored.snapshot()];
    },
  };

  it.each(Object.entries(trials))('%s', async (_, trial) => {
    const plain = await createRuntime();
    const arrays: (Float32Array | Int32Array | Uint8Array)[] = [];
    const expected = bits(
      trial(plain, (data) => {
        arrays.push(data);
        return data;
      }),
    );
    plain.dispose();
    const growing = await createRuntime();
    const tensors = arrays.map((data) => growing.tensor(data));
    growAlways(growing);
    expect(bits(trial(growing, () => tensors.shift()!.data))).toEqual(expected);
    growing.dispose();
  });

  it('that memory has outgrown is an error that says so', async () => {
    const growing = await createRuntime();
    const { data } = growing.tensor([1, 2, 3]);
    growing.empty([3 << 20]);
    for (const call of [
      () => growing.tensor(data),
      () => growing.tensor(data, [3]),
      () => softmax({ data, shape: [3] }, { runtime: growing }),
    ]) {
      expect(errorOf(call).message).toMatch(/detached/);
    }
    growing.dispose();
  });
});

describe('shapes', () => {
  it('are copies that cannot be written', () => {
    const shape = [2, 3];
    const tensor = runtime.tensor(sines(6), shape);
    const tensors: Tensor[] = [tensor, runtime.empty(shape), tensor.reshape(shape), tensor.transpose(0, 1)];
    tensors.push(tensor.slice(0, 1, 2), softmax(tensor), tensor.toContiguous());
    shape[0] = 1000;
    for (const { shape: own, strides } of tensors) {
      expect(sizeOf(own)).toBeLessThanOrEqual(6);
      for (const list of [own, strides] as number[][]) {
        expect(() => (list[0] = 1000)).toThrow(TypeError);
        expect(() => list.push(1000)).toThrow(TypeError);
      }
    }
    for (const each of tensors) each.dispose();
  });

  it('are lists of integers >= 0, whoever takes them', () => {
    const tensor = runtime.tensor(sines(6));
    const { used } = runtime.memory;
    const wrong: unknown[] = [
      new Array(1),
      Object.assign([], { length: 2, 1: 3 }),
      [-1, -6],
      [0.5, 12],
      ['6'],
    ];
    wrong.push([NaN], [Infinity], [6n], [true, 6], [null, 6], [[6]], [2 ** 53, 2 ** 53, 0], '6', {}, null, 6);
    wrong.push(new Array(100).fill(1), () => 6);
    for (const given of wrong) {
      const shape = given as number[];
      for (const call of [
        () => runtime.tensor(sines(6), shape),
        () => runtime.empty(shape),
        () => tensor.reshape(shape),
        () => softmax({ data: sines(6), shape }, { runtime }),
        () => denseMask(new Uint8Array(6), shape),
      ]) {
        const { code, argument } = errorOf(call);
        // What has no shape at all is no tensor.
        expect(code).toBe(argument === 'input' ? 'INVALID_ARGUMENT' : 'INVALID_SHAPE');
      }
    }
    expect(errorOf(() => tensor.reshape(undefined as unknown as number[])).code).toBe('INVALID_SHAPE');
    expect(errorOf(() => runtime.empty(undefined as unknown as number[])).code).toBe('INVALID_SHAPE');
    expect(runtime.memory.used).toBe(used);
    expect(softmax({ data: sines(6), dims: Int32Array.of(2, 3) as never }, { runtime }).shape).toEqual([
      2, 3,
    ]);
    tensor.dispose();
  });
});

describe('elements', () => {
  it('are of a kind there is, and fit it', () => {
    const { used } = runtime.memory;
    for (const dtype of ['float64', 'toString', '', null, 1, ['int32'], Object.create(null)]) {
      expect(errorOf(() => runtime.empty([2], dtype as DataType)).code).toBe('INVALID_DTYPE');
    }
    for (const value of [2n ** 40n, 2n ** 31n, -(2n ** 31n) - 1n]) {
      const data = BigInt64Array.of(5n, value);
      expect(errorOf(() => runtime.tensor(data)).message).toContain(`${value}n`);
    }
    const extremes = runtime.tensor(BigInt64Array.of(2n ** 31n - 1n, -(2n ** 31n)));
    expect([...extremes.data]).toEqual([2 ** 31 - 1, -(2 ** 31)]);
    extremes.dispose();
    for (const data of [
      new Array(1),
      ['1'],
      [1n],
      [null],
      Object.assign([], { length: 2, 1: 3 }),
      'x',
      null,
      {},
    ]) {
      expect(errorOf(() => runtime.tensor(data as number[])).code).toBe('INVALID_DTYPE');
    }
    expect(runtime.memory.used).toBe(used);
  });

  it('are set from arrays of numbers, and nothing else', () => {
    const tensor = runtime.tensor([1, 2, 3, 4], [2, 2]);
    for (const target of [tensor, tensor.transpose(0, 1)]) {
      for (const values of [
        undefined,
        null,
        4,
        {},
        'abcd',
        { length: 4 },
        new Array(4),
        [1, 2, 3, 'x'],
        [1n, 1n, 1n, 1n],
      ]) {
        expect(errorOf(() => target.set(values as number[])).argument).toBe('values');
      }
      expect(errorOf(() => target.set([1, 2, 3])).code).toBe('INVALID_SHAPE');
    }
    expect([...tensor.data]).toEqual([1, 2, 3, 4]);
    expect([...tensor.set([true, false, true, true]).data]).toEqual([1, 0, 1, 1]);
    expect([...tensor.set(Int16Array.of(1, 2, 3, 4)).data]).toEqual([1, 2, 3, 4]);
    tensor.dispose();
  });

  it('come from arrays of other realms too', () => {
    const foreign = <T>(code: string) => runInNewContext(code) as T;
    const kinds: Record<string, DataType> = {
      'Float32Array.of(1, 0, 2)': 'float32',
      'Float64Array.of(1, 0, 2)': 'float32',
      'Int32Array.of(1, 0, 2)': 'int32',
      'BigInt64Array.of(1n, 0n, 2n)': 'int32',
      'Uint8Array.of(1, 0, 2)': 'bool',
      '[1, 0, 2]': 'float32',
    };
    for (const [code, dtype] of Object.entries(kinds)) {
      const tensor = runtime.tensor(foreign<Float32Array>(code), foreign<number[]>('[3, 1]'));
      expect([tensor.dtype, ...tensor.data]).toEqual([dtype, 1, 0, 2]);
      tensor.dispose();
    }
    const halves = {
      data: foreign<Uint16Array>('Uint16Array.of(0x3c00)'),
      type: 'float16',
      dims: [1],
    } as const;
    expect([...softmax(halves, { runtime }).data]).toEqual([1]);
    expect(denseMask(foreign<Uint8Array>('Uint8Array.of(1)'), [1])).toBeTruthy();
    const [x, table] = [
      foreign<Float32Array>('Float32Array.of(1, 2)'),
      foreign<Float32Array>('Float32Array.of(1, 1)'),
    ];
    expect([...addPositions(x, table, { batch: 1, length: 1, dim: 2 })]).toEqual([2, 3]);
    const weights = new LinearWeights(runtime, {
      data: foreign<Float32Array>('new Float32Array(4)'),
      shape: [2, 2],
    });
    weights.dispose();
    const merged = foreign<[]>('[]') as { output: Tensor; logSumExp: Tensor }[];
    merged.push({ output: runtime.tensor([1, 2], [1, 2]), logSumExp: runtime.tensor([0]) });
    expect([...mergeAttention(merged).output.data]).toEqual([1, 2]);
  });

  it('come from files in buffers of other realms too', () => {
    const header = JSON.stringify({ x: { dtype: 'F32', shape: [2], data_offsets: [0, 8] } });
    const bytes = [
      ...new Uint8Array(new BigUint64Array([BigInt(header.length)]).buffer),
      ...Buffer.from(header),
    ];
    bytes.push(...new Uint8Array(Float32Array.of(1, 2).buffer));
    for (const code of ['Uint8Array.from(bytes)', 'Uint8Array.from(bytes).buffer']) {
      const file = parseSafetensors(runInNewContext(code, { bytes }) as Uint8Array);
      expect([...runtime.tensor(file['x']!.data).data]).toEqual([1, 2]);
    }
    const cache = new KeyValueCache(runtime, { numKeyValueHeads: 1, headDim: 4, capacity: 10 });
    cache.append(0, { data: sines(4), shape: [1, 1, 1, 4] }, { data: sines(4), shape: [1, 1, 1, 4] });
    const snapshot = [...cache.snapshot()];
    cache.restore(runInNewContext('Uint8Array.from(bytes)', { bytes: snapshot }) as Uint8Array);
    expect([...cache.snapshot()]).toEqual(snapshot);
    cache.dispose();
  });
});

describe('toContiguous', () => {
  it('copies the elements of any view, of any kind', () => {
    const ramp = Int32Array.from({ length: 24 }, (_, i) => 2 ** 30 + i);
    for (const data of [
      ramp,
      Float32Array.from(ramp, (i) => i % 1000),
      Uint8Array.from(ramp, (i) => i & 1),
    ]) {
      const tensor: Tensor = runtime.tensor(data as ArrayInput, [2, 3, 4]);
      for (const view of [tensor, tensor.transpose(0, 2), tensor.transpose(1, 2), tensor.slice(2, 1, 3)]) {
        const copy = view.toContiguous();
        expect(copy.contiguous && copy.dtype === tensor.dtype).toBe(true);
        expect(copy.shape).toEqual(view.shape);
        expect([...copy.data].map(Math.fround)).toEqual([...view.toFloat32Array()]);
        expect(new Set(copy.data).size).toBe(tensor.dtype === 'bool' ? 2 : copy.size);
        copy.dispose();
      }
      tensor.dispose();
      expect(errorOf(() => tensor.toContiguous()).code).toBe('DISPOSED');
    }
    const matrix = runtime.tensor(sines(12), [3, 4]);
    const [weights, plain] = [
      new LinearWeights(runtime, matrix.transpose(0, 1)),
      new LinearWeights(runtime, matrix.transpose(0, 1).toContiguous()),
    ];
    const x = { data: sines(6), shape: [2, 3] };
    expect(linear(x, weights).toFloat32Array()).toEqual(linear(x, plain).toFloat32Array());
    const biases = runtime.tensor(sines(8), [4, 2]);
    const strided = new LinearWeights(runtime, matrix.transpose(0, 1), biases.reshape([8]).slice(0, 1, 5));
    expect(strided.outFeatures).toBe(4);
  });
});

describe('text', () => {
  it('shows kind, shape and first values', () => {
    const tensor = runtime.tensor(
      Float32Array.from({ length: 12 }, (_, i) => i + 0.1),
      [3, 4],
    );
    expect(String(tensor)).toBe('Tensor float32 [3, 4] (0.1, 1.1, 2.1, 3.1, 4.1, 5.1, 6.1, 7.1, ...)');
    expect(String(tensor.transpose(0, 1))).toMatch(/^Tensor float32 \[4, 3\] \(0.1, 4.1, 8.1, 1.1, /);
    expect(String(tensor.slice(0, 1, 2))).toBe('Tensor float32 [1, 4] (4.1, 5.1, 6.1, 7.1)');
    expect(inspect(tensor)).toBe(String(tensor));
    expect(inspect({ output: tensor })).toContain('Tensor float32 [3, 4]');
    expect(String(runtime.tensor([true, false]))).toBe('Tensor bool [2] (1, 0)');
    expect(String(runtime.tensor([1e-9, NaN, -Infinity]))).toBe('Tensor float32 [3] (1e-9, NaN, -Infinity)');
    expect(String(runtime.empty([0, 3], 'int32'))).toBe('Tensor int32 [0, 3] ()');
    expect(String(runtime.tensor([5], []))).toBe('Tensor float32 [] (5)');
    tensor.dispose();
    expect(String(tensor)).toBe('Tensor float32 [3, 4] (disposed)');
    expect(inspect(tensor)).toBe(String(tensor));
  });

  it('of a disposed runtime never throws', async () => {
    const other = await createRuntime();
    const tensor = other.tensor([1]);
    other.dispose();
    expect(inspect(tensor)).toBe('Tensor float32 [1] (disposed)');
  });
});
