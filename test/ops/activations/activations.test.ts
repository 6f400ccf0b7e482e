// Activations against double precision: the errors that assembly/math/activations.ts states, their limits, and their bits.

import { beforeAll, describe, expect, it } from 'vitest';
import { createRuntime } from 'wasm-attention';
import type { Tensor } from 'wasm-attention';
import {
  gelu,
  geluAsync,
  model,
  quickGelu,
  quickGeluAsync,
  relu,
  reluAsync,
  silu,
  siluAsync,
  tanh,
  tanhAsync,
} from 'wasm-attention/model';
import { ACTIVATION_BLOCK, SOFTCAP } from '../../../build/kernels.js';
import { Random } from '../../reference/random.js';
import { builds, eachBuild } from '../../support/runtimes.js';

/** P(X > a) of a standard normal X, a >= 0, to some 14 digits of the result. */
function normalTail(a: number): number {
  const density = Math.exp((-a * a) / 2) / Math.sqrt(2 * Math.PI);
  if (a > 3) {
    let fraction = 0;
    for (let n = 200; n > 0; n--) fraction = n / (a + fraction);
    return density / (a + fraction);
  }
  let [term, sum] = [a, a];
  for (let n = 1; term > sum * 1e-18; n++) sum += term *= (a * a) / (2 * n + 1);
  return 0.5 - density * sum;
}

/** x / (1 + e^-g) without losing digits. */
const gated = (x: number, g: number) =>
  x < 0 ? (x * Math.exp(g)) / (1 + Math.exp(g)) : x / (1 + Math.exp(-g));

const EXACT = {
  gelu: (x: number) => (x < 0 ? x * normalTail(-x) : x * (1 - normalTail(x))),
  geluTanh: (x: number) => gated(x, 2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)),
  quickGelu: (x: number) => gated(x, 1.702 * x),
  silu: (x: number) => gated(x, x),
  relu: (x: number) => Math.max(x, 0),
  tanh: Math.tanh,
};

const FORMS = {
  gelu: [gelu, geluAsync],
  geluTanh: [
    (x: Tensor) => gelu(x, { approximate: 'tanh' }),
    (x: Tensor) => geluAsync(x, { approximate: 'tanh' }),
  ],
  quickGelu: [quickGelu, quickGeluAsync],
  silu: [silu, siluAsync],
  relu: [relu, reluAsync],
  tanh: [tanh, tanhAsync],
} as const;
const names = Object.keys(FORMS) as (keyof typeof FORMS)[];

/** From a number on: largest error in units of the last place where results are above 1e-3, and largest of the others. */
function errors(x: Float32Array, y: Float32Array, exact: (x: number) => number, from: number) {
  let [ulp, absolute] = [0, 0];
  x.forEach((value, i) => {
    if (value <= from) return;
    const expected = exact(value);
    const error = Math.abs(y[i]! - expected);
    if (Math.abs(expected) <= 1e-3) absolute = Math.max(absolute, error);
    else ulp = Math.max(ulp, error / 2 ** (Math.floor(Math.log2(Math.abs(expected))) - 23));
  });
  return { ulp, absolute };
}

/** Evenly over [-14, 14], and around 0 at every size. */
const POINTS = Float32Array.from({ length: 400_000 }, (_, i) =>
  i % 4 === 0 ? (i & 4 ? 1 : -1) * 2 ** ((-30 * i) / 400_000) : (28 * i) / 400_000 - 14,
);

await eachBuild('activations', (runtime) => {
  beforeAll(() => runtime.load(model));

  it.each([
    ['gelu', [5, 11, 16], 3e-8],
    ['geluTanh', [5, 11, 16], 3e-8],
    ['quickGelu', [2, 2, 2], 2e-10],
    ['silu', [2, 2, 2], 2e-10],
    ['relu', [1e-9, 1e-9, 1e-9], 1e-30],
    ['tanh', [1.4, 1.4, 1.4], 1e-10],
  ] as const)('%s is as exact as is stated', (name, ulps, absolute) => {
    const x = runtime.tensor(POINTS);
    const y = FORMS[name][0](x);
    [-1, -2, -Infinity].forEach((from, i) => {
      const error = errors(POINTS, y.data, EXACT[name], from);
      expect(error.ulp, `ulp from ${from}`).toBeLessThan(ulps[i]!);
      expect(error.absolute, `absolute error from ${from}`).toBeLessThan(absolute);
    });
    x.dispose();
    y.dispose();
  });

  it.each(names)('%s keeps its limits and NaN', (name) => {
    const at = (...values: number[]) => Array.from(FORMS[name][0](runtime.tensor(values)).data);
    const large = [20, 1e6, 3e38, Infinity].map(Math.fround);
    expect(at(...large)).toEqual(name === 'tanh' ? [1, 1, 1, 1] : large);
    const low = name === 'tanh' ? -1 : 0;
    expect(at(-200, -1e6, -3e38, -Infinity).map((y) => y + 0)).toEqual([low, low, low, low]);
    expect(at(0, -0).map((y) => y + 0)).toEqual([0, 0]);
    expect(at(NaN, 1)[0]).toBeNaN();
    const payloads = new Float32Array(Uint32Array.of(0x7fc00000, 0xffc00000, 0x7fc00001, 0x7fffffff).buffer);
    expect(FORMS[name][0](runtime.tensor(payloads)).data.every(Number.isNaN)).toBe(true);
  });

  it.each(names)('%s rises from its lowest point on, and never goes above x', (name) => {
    const x = Float32Array.from({ length: 200_000 }, (_, i) => -0.7 + i / 20_000);
    const y = FORMS[name][0](runtime.tensor(x)).data;
    // Rounding may lower a value by a unit or two of its last place.
    const wrong = x.filter(
      (value, i) => y[i]! > Math.max(value, 0) + 1e-7 || y[i]! - y[Math.max(i - 1, 0)]! < -1e-6,
    );
    expect(wrong).toEqual(new Float32Array());
  });

  it.each(names)('%s gives a value the same bits wherever it stands, in both forms', async (name) => {
    const random = new Random(3);
    const data = random.array(9001, 'normal').map((x) => 3 * x);
    const [now, later] = FORMS[name];
    const expected = now(runtime.tensor(data)).toFloat32Array();
    for (const [from, to] of [
      [0, 1],
      [1, 7],
      [4093, 4099],
      [8999, 9001],
      [17, 9001],
    ] as const) {
      expect(now(runtime.tensor(data.slice(from, to))).toFloat32Array()).toEqual(expected.slice(from, to));
    }
    expect((await later(runtime.tensor(data))).toFloat32Array()).toEqual(expected);
    const spread = runtime
      .tensor(new Float32Array(2 * 9001), [9001, 2])
      .slice(1, 1, 2)
      .set(data);
    expect(now(spread as never).toFloat32Array()).toEqual(expected);
  });

  it('softcap is as exact as is stated, and keeps its limits', () => {
    const data = new Random(4).array(100_000, 'normal').map((x) => 60 * x);
    const x = runtime.tensor([...data, Infinity, -Infinity, NaN]);
    const [cap, scratch] = [runtime.tensor([30]), runtime.empty([4])];
    runtime
      .kernelsOf('model')
      .activationRows(
        ...([x.address, x.address, x.size, SOFTCAP, cap.address, scratch.address] as const),
        ...([0, Math.ceil(x.size / ACTIVATION_BLOCK)] as const),
      );
    const y = x.data;
    const error = errors(data, y.subarray(0, data.length), (value) => 30 * Math.tanh(value / 30), -Infinity);
    expect(error.ulp).toBeLessThan(2.4);
    expect(error.absolute).toBeLessThan(1e-10);
    expect(Array.from(y.subarray(data.length))).toEqual([30, -30, NaN]);
  });

  it('refuse what does not fit', () => {
    expect(() => gelu(runtime.tensor([1]), { approximate: 'erf' } as never)).toThrow(/approximate: expected/);
    expect(() => silu(runtime.tensor(Int32Array.of(1)) as never)).toThrow(/input: expected/);
    expect(() => relu({ data: [1], shape: [1] })).toThrow(/runtime: expected/);
    const x = runtime.tensor([1, 2]);
    expect(() => tanh(x, { output: x })).toThrow(/output: expected/);
    expect(tanh(runtime.empty([0])).shape).toEqual([0]);
    expect(Array.from(relu(runtime.tensor([-2], [])).data)).toEqual([0]);
  });
});

describe.each(builds)('activations on threads (%s)', async (build) => {
  const alone = await createRuntime({ build, packs: [model] });
  const threaded = await createRuntime({ build, packs: [model], threads: { count: 3, required: true } });
  threaded.threads!.leastCost = 0;

  it.each(names)('%s has the same bits', (name) => {
    const data = new Random(5).array(50_001, 'normal').map((x) => 3 * x);
    const [first, second] = [alone, threaded].map((runtime) =>
      FORMS[name][0](runtime.tensor(data)).toFloat32Array(),
    );
    expect(second).toEqual(first);
  });
});
