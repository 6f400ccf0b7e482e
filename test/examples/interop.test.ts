// Tensors of other libraries: look-alikes always, the libraries themselves where bench/ has them installed.

import { createRequire } from 'node:module';
import { afterAll, describe, expect, it } from 'vitest';
import { createRuntime, scaledDotProductAttention } from 'wasm-attention';
import type { TensorLike } from 'wasm-attention';
import * as interop from '../../examples/interop/interop.mjs';
import { needs } from '../support/needs.js';

const require = createRequire(new URL('../../bench/package.json', import.meta.url));
const runtime = await createRuntime();
afterAll(() => {
  runtime.dispose();
});

const dims = [1, 2, 3, 4];
const numbers = Float32Array.from({ length: 24 }, (_, i) => Math.round(Math.sin(i) * 64) / 64); // exact in half floats
const allowed = [1, 0, 0, 1, 1, 0, 1, 1, 1];
const own = runtime.tensor(numbers, dims);
const expected = scaledDotProductAttention(own, own, own, { causal: true }).output.toFloat32Array();

/** The bits of a number that a half float holds exactly. */
function half(value: number): number {
  if (value === 0) return 0;
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0]!;
  return ((bits >>> 16) & 0x8000) | ((((bits >>> 23) & 0xff) - 112) << 10) | ((bits >>> 13) & 0x3ff);
}

function attend(x: TensorLike, mask: TensorLike): Float32Array {
  return scaledDotProductAttention(x, x, x, { mask, runtime }).output.toFloat32Array();
}

describe('look-alikes', () => {
  const mask = { data: Uint8Array.from(allowed), dims: [3, 3], type: 'bool' };

  it.each<[string, TensorLike]>([
    ['data and dims', { data: numbers, dims }],
    ['half floats by their bits', { data: Uint16Array.from(numbers, half), dims, type: 'float16' }],
    [
      'a method called data, and dataSync',
      { data: () => Promise.resolve(numbers), dataSync: () => numbers, shape: dims } as TensorLike,
    ],
    [
      'getters of a class',
      new (class {
        get data() {
          return numbers;
        }
        get dims() {
          return dims;
        }
      })(),
    ],
  ])('%s', (_, x) => {
    const { used } = runtime.memory;
    const result = scaledDotProductAttention(x, x, x, { mask, runtime });
    expect(result.output.toFloat32Array()).toEqual(expected);
    result.dispose();
    expect(runtime.memory.used).toBe(used);
  });

  needs('Float16Array').it('Float16Array', () => {
    const { Float16Array } = globalThis as unknown as { Float16Array: { from(data: object): Float32Array } };
    expect(attend({ data: Float16Array.from(numbers), dims }, mask)).toEqual(expected);
  });

  it('refuses by name what it cannot read', () => {
    const promising = { data: () => Promise.resolve(numbers), shape: dims } as unknown as TensorLike;
    expect(() => attend(promising, mask)).toThrow(/query.*dataSync.*data is a function/);
    const bare = { data: Uint16Array.from(numbers, half), dims } as unknown as TensorLike;
    expect(() => attend(bare, mask)).toThrow(/query\.data.*Uint16Array/);
  });
});

interface Tensorflow {
  setBackend(name: string): Promise<boolean>;
  tensor(values: unknown, shape: number[], dtype?: string): TensorLike;
}
needs('bench').it('onnxruntime-web: tensors in, one out', () => {
  const ort = require('onnxruntime-web') as { Tensor: new (...args: unknown[]) => TensorLike };
  const x = new ort.Tensor('float32', numbers, dims);
  const mask = new ort.Tensor('bool', allowed.map(Boolean), [3, 3]);
  const y = interop.attendOnnxruntime(ort, runtime, x, x, x, { mask });
  expect(y).toMatchObject({ dims, type: 'float32', data: expected });
  const halves = new ort.Tensor('float16', Uint16Array.from(numbers, half), dims);
  expect(attend(halves, mask)).toEqual(expected);
});

needs('bench').it('TensorFlow.js: tensors in, one out', async () => {
  const tf = require('@tensorflow/tfjs-core') as Tensorflow;
  require('@tensorflow/tfjs-backend-cpu');
  await tf.setBackend('cpu');
  const x = tf.tensor(numbers, dims);
  const y = interop.attendTensorflow(tf, runtime, x, x, x, { mask: tf.tensor(allowed, [3, 3], 'bool') }) as {
    shape: number[];
    dataSync(): Float32Array;
  };
  expect(y.shape).toEqual(dims);
  expect(y.dataSync()).toEqual(expected);
});
