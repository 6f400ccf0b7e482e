// Low-rank adapters: gradients against float64, merging, and training to a goal.

import { expect, it } from 'vitest';
import { LinearWeights } from '../../src/ops/linear/linear.js';
import { runProduct } from '../../src/ops/linear/linear.js';
import { runInScope } from '../../src/runtime/call.js';
import type { Runtime } from '../../src/slim.js';
import { LowRankAdapter } from '../../src/training/adapters.js';
import { AdamW } from '../../src/training/optimizers.js';
import { Random } from '../reference/random.js';
import { eachInternalBuild } from '../support/internals.js';

const [m, ins, outs, rank] = [37, 45, 29, 5] as const;
const options = { rank, alpha: 10, seed: 3 };

/** a b of float64 matrices [rows, inner] and [inner, columns]. */
function product(a: ArrayLike<number>, b: ArrayLike<number>, inner: number): Float64Array {
  const [rows, columns] = [a.length / inner, b.length / inner];
  const result = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++)
    for (let k = 0; k < inner; k++)
      for (let column = 0; column < columns; column++)
        result[row * columns + column]! += a[row * inner + k]! * b[k * columns + column]!;
  return result;
}

function transposed(a: ArrayLike<number>, columns: number): Float64Array {
  const rows = a.length / columns;
  return Float64Array.from({ length: a.length }, (_, i) => a[(i % rows) * columns + Math.floor(i / rows)]!);
}

const plus = (a: ArrayLike<number>, b: ArrayLike<number>, factor = 1) =>
  Float64Array.from({ length: a.length }, (_, i) => a[i]! + factor * b[i]!);

function expectNear(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  let worst = 0;
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < actual.length; i++) worst = Math.max(worst, Math.abs(actual[i]! - expected[i]!));
  expect(worst).toBeLessThan(2e-4);
}

/** Weights, an adapter whose matrices are both random, and rows. */
function given(runtime: Runtime) {
  const random = new Random(5);
  const matrix = random.array(outs * ins, 'normal');
  const bias = random.array(outs, 'normal');
  const weights = new LinearWeights(
    runtime,
    { data: matrix, shape: [outs, ins] },
    { data: bias, shape: [outs] },
  );
  const adapter = new LowRankAdapter(runtime, 'proj', weights, options);
  const rows = (width: number, data = random.array(m * width, 'normal')) => {
    const tensor = runtime.tensor(data, [m, width]);
    return { tensor, address: tensor.address, rowBytes: width * 4, rows: m };
  };
  const a = random.array(rank * ins, 'normal');
  const b = random.array(outs * rank, 'normal');
  const state = {
    'proj.lora_A.weight': { data: a, shape: [rank, ins] },
    'proj.lora_B.weight': { data: b, shape: [outs, rank] },
  };
  const x = rows(ins);
  const y = rows(outs, new Float32Array(m * outs));
  const forward = () =>
    runInScope(runtime, (scope) => runProduct(scope, x, weights, { from: 0, to: outs }, y));
  return { ...{ matrix, bias, weights, adapter, state, a, b, x, y, rows, forward }, narrow: rows(rank) };
}

await eachInternalBuild('LowRankAdapter', (runtime) => {
  it('changes nothing at first', () => {
    const { adapter, x, y, narrow, forward } = given(runtime);
    forward();
    const before = y.tensor.data.slice();
    runInScope(runtime, (scope) => adapter.runForward(scope, x, narrow, y));
    expect(y.tensor.data).toEqual(before);
    const first = adapter.state()['proj.lora_A.weight']!.data;
    expect(new Set(first).size).toBeGreaterThan(0.99 * rank * ins);
    expect(Math.max(...first.map(Math.abs))).toBeLessThanOrEqual(1 / Math.sqrt(ins));
    const other = new LowRankAdapter(runtime, 'proj', { inFeatures: ins, outFeatures: outs }, options, 1);
    expect(other.state()['proj.lora_A.weight']!.data).not.toEqual(first);
  });

  it('equals the reference, forward and back, and after it was merged', () => {
    const all = given(runtime);
    const { adapter, state, a, b, matrix, bias, weights, x, y, narrow, rows } = all;
    adapter.load(state);
    for (const [name, tensor] of Object.entries(adapter.state())) {
      expect(tensor.data).toEqual(state[name as keyof typeof state].data);
    }
    const factor = 2;
    const whole = plus(matrix, product(b, a, rank), factor);
    const expected = product(x.tensor.data, transposed(whole, ins), ins).map((v, i) => v + bias[i % outs]!);
    all.forward();
    runInScope(runtime, (scope) => adapter.runForward(scope, x, narrow, y));
    expectNear(y.tensor.data, expected);

    const [dy, dx] = [rows(outs), rows(ins)];
    const before = dx.tensor.data.slice();
    runInScope(runtime, (scope) => adapter.runBackward(scope, { x, narrow, dy, dx }));
    const upstream = dy.tensor.data;
    const between = product(upstream, b, outs).map((v) => factor * v);
    expectNear(dx.tensor.data, plus(before, product(between, a, rank)));
    const gradients = adapter.parameters.map((parameter) =>
      runInScope(runtime, (scope) => {
        const at = parameter.gradientAddress(scope) / 4;
        const { floats } = runtime.linearMemory.words;
        const [height, width] = parameter.shape as [number, number];
        return Float64Array.from({ length: height * width }, (_, i) => {
          const [out, k] = [Math.floor(i / width), i % width];
          return floats[at + ((out >> 3) * width + k) * 8 + (out & 7)]!;
        });
      }),
    );
    expectNear(gradients[0]!, product(transposed(between, rank), x.tensor.data, m));
    expectNear(gradients[1]!, product(transposed(upstream, outs), narrow.tensor.data, m));

    adapter.merge(weights);
    all.forward();
    expectNear(y.tensor.data, expected);
    adapter.zeroGradients();
    const { used } = runtime.memory;
    adapter.merge(weights);
    expect(runtime.memory.used).toBe(used);
  });

  it('learns what a matrix of its rank can', () => {
    const { adapter, a, b, x, narrow, rows } = given(runtime);
    const goal = product(x.tensor.data, transposed(product(b, a, rank), ins), ins).map((v) => v / 10);
    const optimizer = new AdamW(
      { runtime, parameters: adapter.parameters },
      { learningRate: 0.02, weightDecay: 0 },
    );
    const [y, dy] = [rows(outs), rows(outs)];
    const losses: number[] = [];
    for (let step = 0; step < 300; step++) {
      y.tensor.data.fill(0);
      adapter.zeroGradients();
      runInScope(runtime, (scope) => adapter.runForward(scope, x, narrow, y));
      let loss = 0;
      y.tensor.data.forEach((value, i) => {
        const apart = value - goal[i]!;
        loss += (apart * apart) / goal.length;
        dy.tensor.data[i] = (2 * apart) / goal.length;
      });
      losses.push(loss);
      runInScope(runtime, (scope) => adapter.runBackward(scope, { x, narrow, dy }));
      optimizer.step();
    }
    expect(losses.at(-1)).toBeLessThan(losses[0]! / 1000);
  });

  it('names what is wrong, before anything is written', () => {
    const { adapter, weights, state } = given(runtime);
    const { used } = runtime.memory;
    const wrong = (argument: string, call: () => unknown) => {
      expect(call).toThrow(expect.objectContaining({ name: 'AttentionError', argument }) as Error);
      expect(runtime.memory.used).toBe(used);
    };
    const make = (change: object) => () =>
      new LowRankAdapter(runtime, 'proj', weights, { ...options, ...change });
    wrong('rank', make({ rank: 0 }));
    wrong('rank', make({ rank: 30 }));
    wrong('alpha', make({ alpha: 0 }));
    wrong('seed', make({ seed: 0.5 }));
    wrong('ranks', make({ ranks: 3 }));
    wrong('weights', () => adapter.merge({} as never));
    wrong('state', () => adapter.load(null as never));
    wrong('state.proj.lora_B.weight', () =>
      adapter.load({ 'proj.lora_A.weight': state['proj.lora_A.weight'] }),
    );
    const across = { data: new Float32Array(outs * rank), shape: [rank, outs] };
    wrong('state.proj.lora_B.weight', () => adapter.load({ ...state, 'proj.lora_B.weight': across }));
  });
});
