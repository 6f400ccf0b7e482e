// Attention as an operation of TensorFlow.js: its gradients against those of TensorFlow.js's own operations, and a model that learns.

import { createRequire } from 'node:module';
import { afterAll, beforeAll, expect } from 'vitest';
import { createRuntime } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { training } from 'wasm-attention/training';
import { makeAttention } from '../../examples/tensorflow/attention.mjs';
import type { Attention } from '../../examples/tensorflow/attention.mjs';
import { makeModel, train } from '../../examples/tensorflow/model.mjs';
import { needs } from '../support/needs.js';

interface Numbers {
  readonly shape: number[];
  dataSync(): Float32Array;
}

type Numeric = Numbers | number;

/** What of TensorFlow.js is called here. */
interface Tensorflow {
  setBackend(name: string): Promise<boolean>;
  env(): { set(flag: string, value: boolean): void };
  memory(): { numTensors: number };
  tidy<Result>(work: () => Result): Result;
  dispose(tensors: unknown): void;
  randomNormal(shape: number[], mean: number, spread: number, dtype: string, seed: number): Numbers;
  tensor(values: ArrayLike<number>, shape: number[]): Numbers;
  matMul(a: Numbers, b: Numbers, turnA: boolean, turnB: boolean): Numbers;
  add(a: Numbers, b: Numbers): Numbers;
  mul(a: Numbers, b: Numeric): Numbers;
  softmax(x: Numbers): Numbers;
  sum(x: Numbers): Numbers;
  tile(x: Numbers, times: number[]): Numbers;
  grads(work: (...x: Numbers[]) => Numbers): (x: Numbers[]) => Numbers[];
}

let runtime: Runtime;
let tf: Tensorflow;
let attention: Attention;

const bench = needs('bench');
bench.describe('attention in TensorFlow.js', () => {
  beforeAll(async () => {
    const require = createRequire(new URL('../../bench/package.json', import.meta.url));
    tf = require('@tensorflow/tfjs-core') as Tensorflow;
    require('@tensorflow/tfjs-backend-cpu');
    const { registerGradients } = await import('../../bench/training/tensorflow-gradients.mjs');
    await registerGradients();
    tf.env().set('IS_TEST', true); // keeps its advice off the terminal
    await tf.setBackend('cpu');
    tf.env().set('IS_TEST', false);
    runtime = await createRuntime({ packs: [training] });
    attention = makeAttention(tf, runtime);
  });
  afterAll(() => runtime.dispose());

  /** The same of its own operations, with all weights at once. */
  const unfused = (q: Numbers, k: Numbers, v: Numbers, causal: boolean): Numbers => {
    const [, heads, length, width] = q.shape as [number, number, number, number];
    const [, keyHeads, keys] = k.shape as [number, number, number];
    const each = (x: Numbers) => (heads === keyHeads ? x : tf.tile(x, [1, heads, 1, 1]));
    const scores = tf.mul(tf.matMul(q, each(k), false, true), width ** -0.5);
    const removed = Float32Array.from({ length: length * keys }, (_, i) =>
      causal && i % keys > Math.floor(i / keys) ? -1e9 : 0,
    );
    return tf.matMul(tf.softmax(tf.add(scores, tf.tensor(removed, [length, keys]))), each(v), false, false);
  };

  const difference = (a: Numbers, b: Numbers) => {
    expect(a.shape).toEqual(b.shape);
    const exact = b.dataSync();
    return Math.max(...Array.from(a.dataSync(), (value, i) => Math.abs(value - exact[i]!)));
  };

  for (const { title, heads, keyHeads, causal } of [
    { title: 'all keys', heads: 3, keyHeads: 3, causal: false },
    { title: 'causal', heads: 3, keyHeads: 3, causal: true },
    { title: 'heads that share keys and values', heads: 3, keyHeads: 1, causal: true },
  ]) {
    bench.it(`output and gradients are those of its own operations: ${title}`, () => {
      const { used } = runtime.memory;
      tf.tidy(() => {
        const make = (count: number, seed: number) =>
          tf.randomNormal([2, count, 19, 8], 0, 1, 'float32', seed);
        const inputs = [make(heads, 1), make(keyHeads, 2), make(keyHeads, 3)];
        const upstream = make(heads, 4);
        const ours = (q: Numbers, k: Numbers, v: Numbers) => attention(q, k, v, { causal }) as Numbers;
        const theirs = (q: Numbers, k: Numbers, v: Numbers) => unfused(q, k, v, causal);
        const [q, k, v] = inputs as [Numbers, Numbers, Numbers];
        expect(difference(ours(q, k, v), theirs(q, k, v))).toBeLessThan(1e-5);
        const gradients = [ours, theirs].map((attend) =>
          tf.grads((a, b, c) => tf.sum(tf.mul(attend(a, b, c), upstream)))(inputs),
        );
        gradients[0]!.forEach((gradient, i) => {
          expect(Math.max(...gradient.dataSync().map(Math.abs))).toBeGreaterThan(0.01);
          expect(difference(gradient, gradients[1]![i]!)).toBeLessThan(1e-4);
        });
      });
      expect(runtime.memory.used).toBe(used);
    });
  }

  bench.it('a model learns with it what attention alone can bring, and nothing leaks', () => {
    const length = 12;
    const { used } = runtime.memory;
    const { numTensors } = tf.memory();
    const model = makeModel(tf, attention, length);
    const losses = train(tf, model, { steps: 100, batch: 16, length });
    model.dispose();
    expect(losses[0]).toBeGreaterThan(2);
    expect(losses.at(-1)).toBeLessThan(0.5);
    expect(runtime.memory.used).toBe(used);
    expect(tf.memory().numTensors).toBe(numTensors);
  });
});
