// Gradients of products against sums in float64, over odd sizes, and their bits.

import fc from 'fast-check';
import { beforeAll, expect, it } from 'vitest';
import { createRuntime, LinearWeights } from 'wasm-attention';
import type { Runtime, Tensor } from 'wasm-attention';
import { model } from 'wasm-attention/model';
import { linearBackward, linearBackwardAsync, training } from 'wasm-attention/training';
import { LinearWeights as InternalWeights } from '../../src/ops/linear/linear.js';
import { runInScope } from '../../src/runtime/call.js';
import { runLinearBackward } from '../../src/training/ops/linear-backward.js';
import { Random } from '../reference/random.js';
import { eachInternalBuild } from '../support/internals.js';
import { bits } from '../support/operations.js';
import { eachBuild } from '../support/runtimes.js';

const size = (most: number) => fc.integer({ min: 1, max: most });
const sizes = [
  fc.oneof(size(70), fc.constantFrom(128, 129, 300)),
  fc.oneof(size(70), fc.constantFrom(240, 241, 500)),
  fc.oneof(size(70), fc.constantFrom(129, 1200)),
] as const;

interface Gradients {
  readonly input: Float64Array;
  readonly weight: Float64Array;
  readonly bias: Float64Array;
}

/** Those of y = x W^T + b, in float64. */
function reference(
  x: Float32Array,
  weight: Float32Array,
  dy: Float32Array,
  [m, k, n]: readonly [number, number, number],
): Gradients {
  const gradients = {
    input: new Float64Array(m * k),
    weight: new Float64Array(n * k),
    bias: new Float64Array(n),
  };
  for (let row = 0; row < m; row++) {
    for (let out = 0; out < n; out++) {
      const upstream = dy[row * n + out]!;
      gradients.bias[out]! += upstream;
      for (let i = 0; i < k; i++) {
        gradients.input[row * k + i]! += upstream * weight[out * k + i]!;
        gradients.weight[out * k + i]! += upstream * x[row * k + i]!;
      }
    }
  }
  return gradients;
}

/** Sums of `terms` products of normal numbers, in single precision. */
function expectNear(actual: ArrayLike<number>, expected: ArrayLike<number>, terms: number): void {
  let worst = 0;
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < actual.length; i++) worst = Math.max(worst, Math.abs(actual[i]! - expected[i]!));
  expect(worst).toBeLessThan(3e-6 * Math.max(8, terms));
}

await eachBuild('linearBackward', (runtime) => {
  beforeAll(() => Promise.all([runtime.load(model), runtime.load(training)]));

  it('equals the reference at any size, of rows at any distance', () => {
    fc.assert(
      fc.property(...sizes, fc.integer(), fc.boolean(), (m, k, n, seed, strided) => {
        const random = new Random(seed);
        const weight = random.array(n * k, 'normal');
        const weights = new LinearWeights(runtime, { data: weight, shape: [n, k] });
        const wide = strided ? 3 : 0;
        const x = runtime
          .tensor(random.array(m * (k + wide), 'normal'), [m, k + wide])
          .slice(1, wide, k + wide);
        const dy = runtime.tensor(random.array((n + wide) * m, 'normal'), [m, n + wide]).slice(1, 0, n);
        const expected = reference(x.toFloat32Array(), weight, dy.toFloat32Array(), [m, k, n]);
        const gradients = linearBackward(x, weights, dy);
        expect(gradients.input.shape).toEqual([m, k]);
        expect(gradients.weight.shape).toEqual([n, k]);
        expect(gradients.bias.shape).toEqual([n]);
        expectNear(gradients.input.data, expected.input, n);
        expectNear(gradients.weight.data, expected.weight, m);
        expectNear(gradients.bias.data, expected.bias, m);
        for (const made of [...Object.values(gradients), weights, x.owner, dy.owner]) made.dispose();
      }),
      { numRuns: 60 },
    );
  });

  it('of no rows is zero', () => {
    const weights = new LinearWeights(runtime, { data: [1, 2, 3, 4, 5, 6], shape: [2, 3] });
    const { input, weight, bias } = linearBackward(runtime.empty([0, 3]), weights, runtime.empty([0, 2]));
    expect(input.shape).toEqual([0, 3]);
    expect([...weight.data]).toEqual([0, 0, 0, 0, 0, 0]);
    expect([...bias.data]).toEqual([0, 0]);
  });

  it('computes what is wanted', () => {
    const weights = new LinearWeights(runtime, { data: [1, 2, 3, 4, 5, 6], shape: [2, 3] });
    const [x, dy] = [runtime.tensor([1, 2, 3], [1, 3]), runtime.tensor([1, 1], [1, 2])];
    for (const name of ['input', 'weight', 'bias'] as const) {
      expect(Object.keys(linearBackward(x, weights, dy, { wanted: [name] }))).toEqual([name]);
    }
    expect(linearBackward(x, weights, dy, { wanted: [] })).toEqual({});
  });

  it('has the same bits in slices and on threads', async () => {
    const random = new Random(5);
    const given = [
      { data: random.array(700 * 510, 'uniform'), shape: [700, 510] },
      { data: random.array(330 * 510, 'uniform'), shape: [330, 510] },
      { data: random.array(700 * 330, 'uniform'), shape: [700, 330] },
    ] as const;
    const backward = (runtime: Runtime) => {
      const [x, weight, dy] = given;
      return linearBackward(x, new LinearWeights(runtime, weight), dy);
    };
    const expected = bits(backward(runtime));
    const [x, weight, dy] = given;
    expect(bits(await linearBackwardAsync(x, new LinearWeights(runtime, weight), dy))).toEqual(expected);
    const threaded = await createRuntime({ build: runtime.info.build, threads: 2, packs: [model, training] });
    try {
      expect(bits(backward(threaded))).toEqual(expected);
    } finally {
      threaded.dispose();
    }
  });

  it('names the argument that is wrong, before anything is written', () => {
    const weights = new LinearWeights(runtime, { data: new Float32Array(6), shape: [2, 3] });
    const x = { data: new Float32Array(3), shape: [1, 3] };
    const dy = { data: new Float32Array(2), shape: [1, 2] };
    const { used } = runtime.memory;
    const wrong = (argument: string, call: () => unknown) => {
      expect(call).toThrow(expect.objectContaining({ name: 'AttentionError', argument }) as Error);
      expect(runtime.memory.used).toBe(used);
    };
    wrong('input', () => linearBackward(dy, weights, dy));
    wrong('input', () => linearBackward({ data: [1], shape: [] }, weights, dy));
    wrong('input', () => linearBackward({ data: new Uint8Array(3), shape: [1, 3] }, weights, dy));
    wrong('gradient', () => linearBackward(x, weights, x));
    wrong('gradient', () => linearBackward(x, weights, { data: [1, 1], shape: [2] }));
    wrong('weights', () => linearBackward(x, {} as never, dy));
    wrong('wanted', () => linearBackward(x, weights, dy, { wanted: ['inputs' as 'input'] }));
    wrong('want', () => linearBackward(x, weights, dy, { want: [] } as never));
  });
});

await eachInternalBuild('runLinearBackward', (runtime) => {
  it('adds to what is there, and writes nothing else, where the transpose is made in parts', () => {
    const random = new Random(9);
    const [m, k, n] = [40, 150, 9000] as const;
    const weight = random.array(n * k, 'normal');
    const weights = new InternalWeights(runtime, { data: weight, shape: [n, k] });
    const tensor = (rows: number, columns: number) =>
      runtime.tensor(random.array(rows * columns, 'normal'), [rows, columns]);
    const [x, dy, before] = [tensor(m, k), tensor(m, n), tensor(m, k + 2)];
    const gradient = runtime.tensor(random.array(weights.packed.size, 'normal'));
    const [gradientBefore, given] = [gradient.toFloat32Array(), before.toFloat32Array()];
    const rowsOf = (tensor: Tensor | typeof x) => {
      const { address, strides } = tensor as typeof x;
      return { address, rowBytes: strides[0]! * 4, rows: m };
    };
    const { used } = runtime.memory;
    runInScope(runtime, (scope) =>
      runLinearBackward(scope, {
        ...{ x: rowsOf(x), weights, dy: rowsOf(dy) },
        dx: { ...rowsOf(before), adding: true },
        gradient: gradient.address,
      }),
    );
    expect(runtime.memory.used).toBe(used);
    const expected = reference(x.data, weight, dy.data, [m, k, n]);
    const after = before.data;
    for (let row = 0; row < m; row++) {
      const [from, to] = [row * (k + 2), row * (k + 2) + k];
      const sums = given.slice(from, to).map((value, i) => value + expected.input[row * k + i]!);
      expectNear(after.subarray(from, to), sums, n);
      expect(after.subarray(to, to + 2)).toEqual(given.subarray(to, to + 2));
    }
    const own = gradient.data;
    let worst = 0;
    for (let out = 0; out < n; out++) {
      for (let i = 0; i < k; i++) {
        const place = ((out >> 3) * k + i) * 8 + (out & 7);
        worst = Math.max(
          worst,
          Math.abs(own[place]! - gradientBefore[place]! - expected.weight[out * k + i]!),
        );
      }
    }
    expect(worst).toBeLessThan(1e-4);
    const biases = n * k;
    expectNear(
      own.subarray(biases),
      gradientBefore.slice(biases).map((value, out) => value + expected.bias[out]!),
      m,
    );
  });
});
