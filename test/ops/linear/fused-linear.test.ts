// Products with an epilogue: what is added to `linear` is checked bit for bit, the whole against float64.

import fc from 'fast-check';
import { beforeAll, expect, it } from 'vitest';
import { createRuntime, linear, LinearWeights } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { fusedLinear, fusedLinearAsync, model } from 'wasm-attention/model';
import { referenceLinear } from '../../reference/attention.js';
import { Random } from '../../reference/random.js';
import { eachBuild } from '../../support/runtimes.js';

const size = (most: number) => fc.integer({ min: 1, max: most });

interface Case {
  readonly rows: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly activation: boolean;
  readonly gated: boolean;
  readonly added: boolean;
  readonly seed: number;
}

const cases = fc.record<Case>({
  rows: fc.oneof(size(70), fc.constantFrom(1, 130, 481)),
  inFeatures: fc.oneof(size(70), fc.constantFrom(512, 513, 1024, 1025, 2100)),
  outFeatures: fc.oneof(size(70), fc.constantFrom(256, 300)),
  activation: fc.boolean(),
  gated: fc.boolean(),
  added: fc.boolean(),
  seed: fc.integer(),
});

function weightsOf(runtime: Runtime, random: Random, n: number, k: number): LinearWeights {
  return new LinearWeights(
    runtime,
    { data: random.array(n * k, 'normal'), shape: [n, k] },
    { data: random.array(n, 'normal'), shape: [n] },
  );
}

/** By its series, which is enough to 5. */
function erf(x: number): number {
  let [term, sum] = [x, x];
  for (let i = 1; i < 120; i++) {
    term *= (-x * x) / i;
    sum += term / (2 * i + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

await eachBuild('fusedLinear', (runtime) => {
  beforeAll(() => runtime.load(model));

  it('is linear, then each part of the epilogue, bit for bit', () => {
    fc.assert(
      fc.property(cases, ({ rows: m, inFeatures: k, outFeatures: n, activation, gated, added, seed }) => {
        const random = new Random(seed);
        const weights = weightsOf(runtime, random, n, k);
        const gate = gated ? weightsOf(runtime, random, n, k) : undefined;
        const x = runtime.tensor(random.array(m * k, 'normal'), [m, k]);
        const residual = added ? runtime.tensor(random.array(m * n, 'normal'), [m, n]) : undefined;
        const relu = (v: number) => (activation ? Math.max(v, 0) : v);
        const sums = linear(x, weights).toFloat32Array();
        const gates = gate && linear(x, gate).toFloat32Array();
        const before = residual?.toFloat32Array();
        const expected = sums.map((v, i) => {
          const activated = gates ? Math.fround(relu(gates[i]!) * v) : relu(v);
          return before ? activated + before[i]! : activated;
        });
        // A row of guard after the output must stay as it is.
        const guarded = runtime.empty([m + 1, n]);
        guarded.data.fill(7);
        const options = { activation: activation ? 'relu' : undefined, gate, residual } as const;
        fusedLinear(x, weights, { ...options, output: guarded.slice(0, 0, m) });
        expect(Buffer.from(guarded.data.slice(0, m * n).buffer).equals(Buffer.from(expected.buffer))).toBe(
          true,
        );
        expect(guarded.data.slice(m * n).every((y) => y === 7)).toBe(true);
        if (residual) {
          fusedLinear(x, weights, { ...options, output: residual });
          expect(Buffer.from(residual.toFloat32Array().buffer).equals(Buffer.from(expected.buffer))).toBe(
            true,
          );
        }
        for (const one of [weights, gate, x, residual, guarded]) one?.dispose();
      }),
      { numRuns: 80 },
    );
  });

  it('gives a row the same bits alone, in company, from strided rows, in slices and on threads', async () => {
    const random = new Random(3);
    const [m, k, n] = [53, 1100, 37];
    const weights = weightsOf(runtime, random, n, k);
    const gate = weightsOf(runtime, random, n, k);
    const x = runtime.tensor(random.array(m * 2 * k, 'normal'), [m, 2 * k]).slice(1, 0, k);
    const residual = runtime.tensor(random.array(m * n, 'normal'), [n, m]).transpose(0, 1);
    const whole = fusedLinear(x, weights, { activation: 'relu', gate, residual }).toFloat32Array();
    for (const [from, to] of [
      [0, 1],
      [7, 9],
      [10, 13],
      [20, 24],
      [46, 53],
    ] as const) {
      // prettier-ignore
      const some = { activation: 'relu', gate, residual: residual.slice(0, from, to) } as const;
      expect(fusedLinear(x.slice(0, from, to), weights, some).data).toEqual(whole.slice(from * n, to * n));
    }
    const later = await fusedLinearAsync(x, weights, { activation: 'relu', gate, residual });
    expect(later.data).toEqual(whole);

    const threaded = await createRuntime({ build: runtime.info.build, threads: 2, packs: [model] });
    try {
      const again = new Random(3);
      const own = weightsOf(threaded, again, n, k);
      const ownGate = weightsOf(threaded, again, n, k);
      const y = fusedLinear({ data: x.toFloat32Array(), shape: [m, k] }, own, {
        activation: 'relu',
        gate: ownGate,
        residual: { data: residual.toFloat32Array(), shape: [m, n] },
      });
      expect(y.data).toEqual(whole);
    } finally {
      threaded.dispose();
    }
  });

  it('equals the reference', () => {
    const random = new Random(5);
    const [m, k, n] = [40, 300, 50];
    const x = random.array(m * k, 'normal');
    const matrix = () => random.array(n * k, 'normal').map((w) => w / Math.sqrt(k));
    const [up, gate] = [matrix(), matrix()];
    const bias = random.array(n, 'normal');
    const residual = random.array(m * n, 'normal');
    const sizes = { rows: m, inFeatures: k, outFeatures: n };
    const ups = referenceLinear(x, { weight: up, bias }, sizes);
    const gates = referenceLinear(x, { weight: gate }, sizes);
    const packed = (weight: Float32Array, vector?: Float32Array) =>
      new LinearWeights(runtime, { data: weight, shape: [n, k] }, vector && { data: vector, shape: [n] });
    const sigmoid = (v: number) => 1 / (1 + Math.exp(-v));
    const functions = {
      gelu: (v: number) => 0.5 * v * (1 + erf(v / Math.SQRT2)),
      quickGelu: (v: number) => v * sigmoid(1.702 * v),
      silu: (v: number) => v * sigmoid(v),
      relu: (v: number) => Math.max(v, 0),
      tanh: Math.tanh,
      geluTanh: (v: number) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))),
    } as const;
    for (const [name, of] of Object.entries(functions)) {
      const activation = name as keyof typeof functions;
      const shape = [m, n];
      const input = { data: x, shape: [m, k] };
      const plain = fusedLinear(input, packed(up, bias), {
        activation,
        residual: { data: residual, shape },
      });
      plain.data.forEach((y, i) => expect(y, name).toBeCloseTo(of(ups[i]!) + residual[i]!, 4));
      const gated = fusedLinear(input, packed(up, bias), { activation, gate: packed(gate) });
      gated.data.forEach((y, i) => expect(y, name).toBeCloseTo(of(gates[i]!) * ups[i]!, 4));
    }
  });

  it('names the argument that is wrong, before anything is written', async () => {
    const weights = weightsOf(runtime, new Random(1), 2, 3);
    const other = weightsOf(runtime, new Random(1), 2, 4);
    const shared = runtime.tensor([1, 2, 3, 4, 5, 6], [3, 2]);
    const x = shared.slice(0, 0, 3).reshape([2, 3]);
    const { used } = runtime.memory;
    const wrong = (argument: string, call: () => unknown) => {
      expect(call).toThrow(expect.objectContaining({ name: 'AttentionError', argument }) as Error);
      expect(runtime.memory.used).toBe(used);
      expect(Array.from(shared.data)).toEqual([1, 2, 3, 4, 5, 6]);
    };
    const input = { data: new Float32Array(6), shape: [2, 3] };
    wrong('input', () => fusedLinear({ data: new Float32Array(4), shape: [1, 4] }, weights));
    wrong('weights', () => fusedLinear(input, {} as never));
    wrong('activation', () => fusedLinear(input, weights, { activation: 'swish' as never }));
    wrong('activation', () => fusedLinear(input, weights, { activation: 'toString' as never }));
    wrong('gate', () => fusedLinear(input, weights, { gate: other }));
    wrong('gate', () => fusedLinear(input, weights, { gate: {} as never }));
    wrong('residual', () => fusedLinear(input, weights, { residual: { data: [1, 2], shape: [1, 2] } }));
    wrong('residual', () =>
      fusedLinear(input, weights, { residual: { data: new Int32Array(4), shape: [2, 2] } }),
    );
    wrong('output', () => fusedLinear(x, weights, { output: shared.slice(0, 0, 2) }));
    const [above, below] = [shared.slice(0, 0, 2), shared.slice(0, 1, 3)];
    wrong('output', () => fusedLinear(input, weights, { residual: above, output: below }));
    wrong('output', () => fusedLinear(input, weights, { residual: above.transpose(0, 1), output: above }));
    const bare = await createRuntime({ build: runtime.info.build });
    const own = weightsOf(bare, new Random(1), 2, 3);
    expect(() => fusedLinear(input, own, { activation: 'relu' })).toThrow(/'model' is not loaded/);
    bare.dispose();
  });
});
