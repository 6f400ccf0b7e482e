// Where the weights of a layer may come from beside plain arrays: tensors with any strides, of any runtime, and views of the
// memory that grows while they are packed.

import { describe, expect, it, vi } from 'vitest';
import { createRuntime, MultiHeadAttention } from 'wasm-attention';
import type { Runtime, StateDictTensor, Tensor } from 'wasm-attention';
import { Random } from '../reference/random.js';
import { Faults } from '../support/faults.js';

const WIDTH = 64;
const NAMES = ['q_proj', 'k_proj', 'v_proj', 'o_proj'].flatMap((name) => [`${name}.weight`, `${name}.bias`]);
const shapeOf = (name: string) => (name.endsWith('bias') ? [WIDTH] : [WIDTH, WIDTH]);

type Make = (data: Float32Array, shape: readonly number[]) => StateDictTensor;

/** A state dict whose tensors are made one way or another, of the same numbers. */
function stateDictOf(make: Make): Record<string, StateDictTensor> {
  const random = new Random(4);
  return Object.fromEntries(
    NAMES.map((name) => {
      const shape = shapeOf(name);
      const size = shape.reduce((product, length) => product * length, 1);
      return [name, make(random.array(size, 'normal'), shape)];
    }),
  );
}

const layerIn = (runtime: Runtime) => new MultiHeadAttention(runtime, { embedDim: WIDTH, numHeads: 4 });

function outputOf(layer: MultiHeadAttention): Float32Array {
  const result = layer.forward({ data: new Random(9).array(5 * WIDTH, 'normal'), shape: [5, WIDTH] });
  const output = result.output.toFloat32Array();
  result.dispose();
  return output;
}

function transposed(data: Float32Array, [rows, columns]: readonly number[]): Float32Array {
  return Float32Array.from(data, (_, at) => data[(at % rows!) * columns! + Math.floor(at / rows!)]!);
}

describe('load', async () => {
  const expected = await (async () => {
    const runtime = await createRuntime();
    const output = outputOf(layerIn(runtime).load(stateDictOf((data, shape) => ({ data, shape }))));
    runtime.dispose();
    return output;
  })();

  const forms: Record<string, (runtime: Runtime, other: Runtime) => Make> = {
    tensors: (runtime) => (data, shape) => runtime.tensor(data, shape),
    'tensors of another runtime': (_, other) => (data, shape) => other.tensor(data, shape),
    'transposed tensors': (runtime) => (data, shape) =>
      shape.length === 1
        ? runtime.tensor(data)
        : runtime.tensor(transposed(data, shape), [...shape].reverse()).transpose(0, 1),
    'parts of tensors': (runtime) => (data, shape) => {
      const whole = runtime.empty([...shape.slice(0, -1), WIDTH + 3]);
      return whole.slice(-1, 2, WIDTH + 2).set(data);
    },
    'views of the memory': (runtime) => (data, shape) => ({ data: runtime.tensor(data, shape).data, shape }),
  };

  it.each(Object.keys(forms))('takes %s, however full the memory is', async (form) => {
    const other = await createRuntime();
    for (const room of [64, 20_000, 60_000, 1 << 20]) {
      for (const threads of [1, 2]) {
        const runtime = await createRuntime({ threads });
        const stateDict = stateDictOf(forms[form]!(runtime, other));
        fill(runtime, room);
        const { capacity, used } = runtime.memory;
        const layer = layerIn(runtime).load(stateDict);
        if (room < 20_000) expect(runtime.memory.capacity).toBeGreaterThan(capacity);
        expect(outputOf(layer)).toEqual(expected);
        layer.dispose();
        expect(runtime.memory.used).toBe(used);
        runtime.dispose();
      }
    }
    other.dispose();
  });

  it('refuses tensors that hold no floats or are gone, and says which', async () => {
    const runtime = await createRuntime();
    const stateDict = stateDictOf((data, shape) => ({ data, shape }));
    const [integers, gone] = [runtime.empty([WIDTH, WIDTH], 'int32'), runtime.empty([WIDTH, WIDTH])];
    gone.dispose();
    const wrong: [string, Tensor][] = [
      ['INVALID_DTYPE', integers],
      ['INVALID_DTYPE', integers.transpose(0, 1)],
      ['DISPOSED', gone],
    ];
    for (const [code, tensor] of wrong) {
      expect(() => layerIn(runtime).load({ ...stateDict, 'k_proj.weight': tensor })).toThrow(
        expect.objectContaining({ code, argument: 'tensor "k_proj.weight"' }),
      );
    }
    runtime.dispose();
  });

  it('says what it has left aside, until the next time', async () => {
    const runtime = await createRuntime();
    const layer = layerIn(runtime);
    expect(layer.leftAside).toEqual([]);
    const stateDict = stateDictOf((data, shape) => ({ data, shape }));
    const under = Object.fromEntries(Object.entries(stateDict).map(([name, one]) => [`0.${name}`, one]));
    const norm = { '0.norm.weight': { data: [1], shape: [1] }, '1.norm.weight': { data: [1], shape: [1] } };
    const { leftAside } = layer.load({ ...under, ...norm }, '0');
    expect(leftAside).toEqual(['0.norm.weight']);
    expect(() => layer.load(norm)).toThrow();
    expect(layer.leftAside).toBe(leftAside);
    expect(layer.load(stateDict).leftAside).toEqual([]);
    runtime.dispose();
  });

  it('keeps the weights from before where memory is refused, anywhere', async () => {
    const runtime = await createRuntime();
    const faults = new Faults(runtime);
    const layer = layerIn(runtime).load(stateDictOf((data, shape) => ({ data, shape })));
    const { used } = runtime.memory;
    const halved = stateDictOf((data, shape) => ({ data: data.map((x) => x / 2), shape }));
    for (const bare of [false, true]) {
      for (let at = 0; ; at++) {
        faults.arm(at, bare);
        try {
          layer.load(halved);
        } catch (error) {
          expect(error).toMatchObject({ code: 'OUT_OF_MEMORY' });
        }
        faults.disarm();
        expect(runtime.memory.used).toBe(used);
        if (!faults.struck) break;
        if (!bare) expect(outputOf(layer)).toEqual(expected);
      }
    }
    expect(outputOf(layer)).not.toEqual(expected);
    runtime.dispose();
  });
});

/** Takes memory until less than this is free, without letting it grow. */
function fill(runtime: Runtime, room: number): void {
  const grow = vi.spyOn(runtime.linearMemory.memory, 'grow').mockImplementation(() => {
    throw new RangeError('not now');
  });
  for (let bytes = runtime.memory.capacity; bytes >= room; bytes /= 2) {
    try {
      for (;;) runtime.empty([Math.floor(bytes / 4)]);
    } catch (error) {
      expect(error).toMatchObject({ code: 'OUT_OF_MEMORY' });
    }
  }
  grow.mockRestore();
}
