// The layer against float64: projections, heads, masks, contexts, and what it refuses.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { MultiHeadAttention } from 'wasm-attention';
import { referenceMultiHead } from '../reference/attention.js';
import { Random } from '../reference/random.js';
import { eachBuild } from '../support/runtimes.js';

const size = (most: number) => fc.integer({ min: 1, max: most });

await eachBuild('MultiHeadAttention', (runtime) => {
  it('equals the reference for self- and cross-attention of any sizes', () => {
    const sizes = fc.record({
      batch: size(3),
      queries: size(20),
      keys: size(20),
      embedDim: size(30),
      keyHeads: size(3),
      group: size(3),
      headDim: size(12),
      valueHeadDim: size(12),
      kdim: size(20),
      vdim: size(20),
      cross: fc.boolean(),
      bias: fc.boolean(),
      causal: fc.boolean(),
      seed: fc.integer(),
    });
    fc.assert(
      fc.property(sizes, (s) => {
        const random = new Random(s.seed);
        const heads = s.keyHeads * s.group;
        const { embedDim } = s;
        const kdim = s.cross ? s.kdim : embedDim;
        const vdim = s.cross ? s.vdim : embedDim;
        const keys = s.cross ? s.keys : s.queries;
        const causal = s.causal && keys === s.queries;
        const projection = (out: number, inFeatures: number) => ({
          weight: random.array(out * inFeatures, 'normal').map((x) => x / Math.sqrt(inFeatures)),
          ...(s.bias && { bias: random.array(out, 'normal') }),
        });
        const weights = {
          query: projection(heads * s.headDim, embedDim),
          key: projection(s.keyHeads * s.headDim, kdim),
          value: projection(s.keyHeads * s.valueHeadDim, vdim),
          output: projection(embedDim, heads * s.valueHeadDim),
        };
        const layer = new MultiHeadAttention(runtime, {
          ...{ embedDim, numHeads: heads, numKeyValueHeads: s.keyHeads, headDim: s.headDim },
          ...{ valueHeadDim: s.valueHeadDim, kdim, vdim, bias: s.bias, causal },
        });
        const stateDict: Record<string, { data: Float32Array; shape: number[] }> = {};
        const names = { query: 'q_proj', key: 'k_proj', value: 'v_proj', output: 'out_proj' } as const;
        let count = 0;
        for (const [part, name] of Object.entries(names)) {
          const { weight, bias } = weights[part as keyof typeof weights] as {
            weight: Float32Array;
            bias?: Float32Array;
          };
          const out =
            part === 'output'
              ? embedDim
              : part === 'query'
                ? heads * s.headDim
                : s.keyHeads * (part === 'key' ? s.headDim : s.valueHeadDim);
          stateDict[`${name}.weight`] = { data: weight, shape: [out, weight.length / out] };
          if (bias) stateDict[`${name}.bias`] = { data: bias, shape: [out] };
          count += weight.length + (bias?.length ?? 0);
        }
        layer.load(stateDict);
        expect(layer.parameterCount).toBe(count);
        const x = random.array(s.batch * s.queries * embedDim, 'normal');
        const context = s.cross ? random.array(s.batch * keys * kdim, 'normal') : undefined;
        const valueContext = s.cross ? random.array(s.batch * keys * vdim, 'normal') : undefined;
        const lengths = Array.from({ length: s.batch }, () => random.integer(0, keys));
        const { used } = runtime.memory;
        const result = layer.forward(
          { data: x, dims: [s.batch, s.queries, embedDim] },
          {
            keyLengths: lengths,
            returnWeights: true,
            ...(context && { context: { data: context, shape: [s.batch, keys, kdim] } }),
            ...(valueContext && { valueContext: { data: valueContext, shape: [s.batch, keys, vdim] } }),
          },
        );
        const expected = referenceMultiHead(
          { query: x, ...(context && { key: context }), ...(valueContext && { value: valueContext }) },
          weights,
          {
            ...{ batch: s.batch, queries: s.queries, keys, embedDim, keyDim: kdim, valueDim: vdim },
            ...{ queryHeads: heads, keyHeads: s.keyHeads, headDim: s.headDim, valueHeadDim: s.valueHeadDim },
          },
          { keyLengths: lengths, ...(causal && { causalOffset: 0 }) },
        );
        let worst = 0;
        result.output.data.forEach((y, i) => (worst = Math.max(worst, Math.abs(y - expected.output[i]!))));
        result.weights.data.forEach(
          (y, i) => (worst = Math.max(worst, Math.abs(y - expected.attention.weights[i]!))),
        );
        expect(worst).toBeLessThan(3e-5);
        result.dispose();
        expect(runtime.memory.used).toBe(used);
        layer.dispose();
      }),
      { numRuns: 60 },
    );
  });

  it('averages weights over heads, takes inputs without a batch, keeps weights when a load fails', () => {
    const layer = new MultiHeadAttention(runtime, { embedDim: 8, numHeads: 2, bias: false });
    const x = { data: new Random(1).array(40, 'normal'), shape: [5, 8] };
    expect(() => layer.forward(x)).toThrow(/no weights/);
    const matrix = (seed: number) => ({ data: new Random(seed).array(64, 'normal'), shape: [8, 8] });
    const names = ['q_proj', 'k_proj', 'v_proj', 'o_proj'];
    layer.load(Object.fromEntries(names.map((name, i) => [`${name}.weight`, matrix(i)])));
    const one = layer.forward(x, { returnWeights: true });
    expect(one.output.shape).toEqual([5, 8]);
    expect(() => layer.load({ 'q_proj.weight': matrix(1) })).toThrow(/q_proj/);
    const two = layer.forward(x, { averageWeights: true });
    expect(two.output.data).toEqual(one.output.data);
    const heads = one.weights.data;
    two.weights.data.forEach((mean, i) => {
      expect(mean).toBeCloseTo((heads[i]! + heads[25 + i]!) / 2, 6);
    });
    expect(() => layer.forward({ data: new Float32Array(7), shape: [1, 7] })).toThrow(/x: expected/);
    expect(() => layer.forward(x, { context: { data: new Float32Array(9), shape: [1, 3, 3] } })).toThrow(
      /context: expected/,
    );
    layer.dispose();
    expect(() => layer.forward(x)).toThrow(/disposed/);
  });

  it('refuses sizes that do not fit', () => {
    const make = (options: object) => () =>
      new MultiHeadAttention(runtime, { embedDim: 8, numHeads: 2, ...options });
    expect(make({ numHeads: 3 })).toThrow(/headDim: expected/);
    expect(make({ numKeyValueHeads: 4 })).toThrow(/numKeyValueHeads: expected/);
    expect(make({ embedDim: 0 })).toThrow(/embedDim: expected/);
    expect(make({ rotary: { rotaryDim: 3 } })).toThrow(/rotaryDim: expected/);
  });
});
