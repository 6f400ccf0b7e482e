// Rollout against the product of all layers' matrices in float64; attention with other values against the weights.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { attentionWeights, createRuntime, KeyValueCache, scaledDotProductAttention } from 'wasm-attention';
import type { AttentionRecord, Runtime, Tensor } from 'wasm-attention';
import {
  attentionRollout,
  attentionRolloutAsync,
  weightedValues,
  weightedValuesAsync,
} from 'wasm-attention/measures';
import type { RolloutOptions, Span } from 'wasm-attention/measures';
import { Random } from '../reference/random.js';
import { eachBuild } from '../support/runtimes.js';

/** The whole matrix of a batch row, [tokens][tokens]: a product of one for each layer. */
function wholeRollout(layers: readonly Tensor[], batch: number, residual: number): number[][] {
  const n = layers[0]!.shape[2]!;
  let product = Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => Number(i === j)));
  for (const weights of layers) {
    const { data } = weights;
    const heads = weights.shape[1]!;
    const mixing = product.map((_, i) =>
      product.map((_, j) => {
        let sum = 0;
        for (let h = 0; h < heads; h++) sum += data[((batch * heads + h) * n + i) * n + j]!;
        return ((1 - residual) * sum) / heads + (i === j ? residual : 0);
      }),
    );
    const before = product;
    product = mixing.map((row) =>
      before.map((_, j) => row.reduce((sum, part, k) => sum + part * before[k]![j]!, 0)),
    );
  }
  return product;
}

const boundsOf = (span: Span) => (typeof span === 'number' ? [span, span + 1] : span) as [number, number];

/** Random records of as many tokens, with other heads in each layer. */
function layersOf(
  runtime: Runtime,
  random: Random,
  batch: number,
  tokens: number,
  count: number,
  options = {},
) {
  return Array.from({ length: count }, () => {
    const keyHeads = random.integer(1, 2);
    const heads = keyHeads * random.integer(1, 3);
    const make = (of: number) =>
      runtime.tensor(random.array(batch * of * tokens * 4, 'normal'), [batch, of, tokens, 4]);
    const [q, k] = [make(heads), make(keyHeads)];
    const { record, output } = scaledDotProductAttention(q, k, k, {
      returnRecord: true,
      scale: 1.5,
      ...options,
    });
    for (const each of [q, k, output]) each.dispose();
    return record;
  });
}

function close(values: ArrayLike<number>, expected: readonly number[], tolerance = 1e-6): void {
  expect(values.length).toBe(expected.length);
  expected.forEach((exact, i) =>
    expect(Math.abs(values[i]! - exact), `element ${i}`).toBeLessThan(tolerance),
  );
}

await eachBuild('rollout', (runtime) => {
  it('gives rows and columns of the product of all layers, of records and of weights', () => {
    fc.assert(
      fc.property(
        fc.record({
          seed: fc.integer(),
          batch: fc.integer({ min: 1, max: 2 }),
          tokens: fc.integer({ min: 1, max: 30 }),
          count: fc.integer({ min: 1, max: 4 }),
          spans: fc.integer({ min: 1, max: 80 }),
          causal: fc.boolean(),
          padding: fc.boolean(),
          residual: fc.constantFrom(0, 0.25, 0.5, 1),
        }),
        ({ seed, batch, tokens, count, spans, causal, padding, residual }) => {
          const random = new Random(seed);
          const keyLengths = Array.from({ length: batch }, () => random.integer(0, tokens));
          const options = { causal, ...(padding && { keyLengths }) };
          const records = layersOf(runtime, random, batch, tokens, count, options);
          const weights = records.map((record) => attentionWeights(record));
          const chosen = Array.from({ length: spans }, (): Span => {
            const from = random.integer(0, tokens - 1);
            return random.boolean() ? from : [from, random.integer(from + 1, tokens)];
          });
          const whole = Array.from({ length: batch }, (_, b) => wholeRollout(weights, b, residual));
          const mean = (list: readonly number[]) => list.reduce((a, b) => a + b, 0) / list.length;
          const rows = whole.flatMap((matrix) =>
            chosen.flatMap((span) => {
              const part = matrix.slice(...boundsOf(span));
              return matrix.map((_, j) => mean(part.map((row) => row[j]!)));
            }),
          );
          const columns = whole.flatMap((matrix) =>
            chosen.flatMap((span) =>
              matrix.map((row) => row.slice(...boundsOf(span)).reduce((a, b) => a + b, 0)),
            ),
          );
          const mixed = records.map((record, i) => (i % 2 ? weights[i]! : record));
          for (const layers of [records, weights, mixed]) {
            const outputs = attentionRollout(layers, { outputs: chosen, residual });
            expect(outputs.shape).toEqual([batch, spans, tokens]);
            close(outputs.data, rows);
            const inputs = attentionRollout(layers, { inputs: chosen, residual });
            expect(inputs.shape).toEqual([batch, spans, tokens]);
            close(inputs.data, columns, 2e-6);
          }
          for (const each of [...records, ...weights]) each.dispose();
        },
      ),
      { numRuns: 40 },
    );
  });

  it('rows sum to one, and a causal model takes nothing from later tokens', () => {
    const records = layersOf(runtime, new Random(2), 1, 25, 3, { causal: true });
    const { data } = attentionRollout(records, { outputs: [11] });
    expect(data.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6);
    expect(data.slice(12).every((share) => share === 0)).toBe(true);
    for (const record of records) record.dispose();
  });

  it('needs memory for some blocks, not for all tokens against all', () => {
    const n = 3000;
    const records = layersOf(runtime, new Random(4), 1, n, 2, { causal: true });
    const before = runtime.memory.peak;
    attentionRollout(records, { outputs: [n - 1] });
    attentionRollout(records, { inputs: [0] });
    // A matrix of one head would be 36 MB.
    expect(runtime.memory.peak - before).toBeLessThan(8e6);
    for (const record of records) record.dispose();
  });

  it('sees what a cache holds', () => {
    const cache = new KeyValueCache(runtime, { numKeyValueHeads: 1, headDim: 4 });
    const x = runtime.tensor(new Random(5).array(6 * 4, 'normal'), [1, 1, 6, 4]);
    cache.append(0, x, x);
    const result = cache.attend(0, x, { returnRecord: true });
    const weights = attentionWeights(result.record);
    const whole = wholeRollout([weights, weights], 0, 0.5);
    const layers = [result.record, result.record];
    close(
      attentionRollout(layers, { inputs: [1] }).data,
      whole.map((row) => row[1]!),
    );
    close(attentionRollout(layers, { outputs: [4] }).data, whole[4]!);
    expect(() => weightedValues(result.record, x)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
    for (const each of [result, weights, x, cache]) each.dispose();
  });

  it('is NaN where what it is made of is', () => {
    const weights = { data: [1, 0, 0, NaN, 0.5, 0, 0.2, 0.3, 0.5], shape: [3, 3] };
    const of = (options: RolloutOptions) => [...attentionRollout(weights, { ...options, runtime }).data];
    expect(of({ outputs: [0] })).toEqual([1, 0, 0]);
    expect(of({ outputs: [1] })[0]).toBeNaN();
    expect(of({ inputs: [0] })).toEqual([1, NaN, Math.fround(0.1)]);
  });

  it('gives the same in slices, with progress and an end', async () => {
    const records = layersOf(runtime, new Random(6), 2, 80, 3);
    for (const options of [{ outputs: [3, [5, 70] as const] }, { inputs: [0, 79] }]) {
      const shares: number[] = [];
      const onProgress = ({ done, total }: { done: number; total: number }) => void shares.push(done / total);
      expect(await attentionRolloutAsync(records, { ...options, onProgress })).toEqual(
        attentionRollout(records, options),
      );
      expect(shares.at(-1)).toBe(1);
      const signal = AbortSignal.abort(new Error('enough'));
      await expect(attentionRolloutAsync(records, { ...options, signal })).rejects.toThrow('enough');
    }
    for (const record of records) record.dispose();
  });

  it('leaves nothing behind, whatever is wrong', async () => {
    const [record] = layersOf(runtime, new Random(7), 1, 5, 1) as [AttentionRecord];
    const [other] = layersOf(runtime, new Random(7), 1, 6, 1) as [AttentionRecord];
    const wide = { data: new Float32Array(10), shape: [1, 1, 2, 5] };
    const used = runtime.memory.used;
    const wrong: [unknown, RolloutOptions, string, RegExp][] = [
      [[], { runtime, outputs: [0] }, 'INVALID_ARGUMENT', /attentions: .*at least one/],
      [record, {}, 'INVALID_ARGUMENT', /outputs: .*a list/],
      [record, { outputs: [0], inputs: [0] }, 'INVALID_ARGUMENT', /inputs: .*nothing beside outputs/],
      [record, { outputs: [5] }, 'INVALID_ARGUMENT', /outputs\[0\]: .*<= 5/],
      [record, { inputs: [0, [2, 2]] }, 'INVALID_ARGUMENT', /inputs\[1\]/],
      [record, { inputs: ['1'] } as never, 'INVALID_ARGUMENT', /inputs\[0\]/],
      [record, { outputs: [0], residual: 1.5 }, 'INVALID_ARGUMENT', /residual: .*0 to 1/],
      [record, { outputs: [0], residual: NaN }, 'INVALID_ARGUMENT', /residual/],
      [[record, other], { outputs: [0] }, 'INVALID_SHAPE', /attention\[1\]: .*\[1, 5\]/],
      [[record, wide], { outputs: [0] }, 'INVALID_ARGUMENT', /queryOffset/],
      [record, { output: [0] } as never, 'INVALID_ARGUMENT', /output: unknown option; did you mean outputs/],
    ];
    for (const [attentions, options, code, message] of wrong) {
      expect(() => attentionRollout(attentions as never, options)).toThrow(message);
      expect(() => attentionRollout(attentions as never, options)).toThrow(expect.objectContaining({ code }));
      await expect(attentionRolloutAsync(attentions as never, options)).rejects.toThrow(message);
    }
    expect(attentionRollout(record, { outputs: [] })).toEqual({
      data: new Float32Array(0),
      shape: [1, 0, 5],
    });
    attentionRollout(record, { outputs: [1] });
    attentionRollout([record, record], { inputs: [1] });
    await attentionRolloutAsync([record, record], { inputs: [1] });
    expect(runtime.memory.used).toBe(used);
    for (const each of [record, other]) each.dispose();
  });
});

await eachBuild('weighted values', (runtime) => {
  it('are the weights times the values', async () => {
    const random = new Random(11);
    const tensor = (...shape: number[]) =>
      runtime.tensor(
        random.array(
          shape.reduce((a, b) => a * b),
          'normal',
        ),
        shape,
      );
    const [q, k, v, other] = [
      tensor(2, 4, 9, 8),
      tensor(2, 2, 13, 8),
      tensor(2, 2, 13, 5),
      tensor(2, 2, 13, 70),
    ];
    const options = {
      queryOffset: 4,
      causal: true,
      keyLengths: [13, 6],
      softcap: 3,
      returnRecord: true,
    } as const;
    const { output, record } = scaledDotProductAttention(q, k, v, options);
    expect(weightedValues(record, v).data).toEqual(output.data);
    const weights = attentionWeights(record).data;
    const found = weightedValues(record, other);
    expect(found.shape).toEqual([2, 4, 9, 70]);
    for (let row = 0; row < 2 * 4 * 9; row++) {
      const first = Math.floor(row / 18) * 13; // of the key head
      for (let c = 0; c < 70; c++) {
        let sum = 0;
        for (let key = 0; key < 13; key++)
          sum += weights[row * 13 + key]! * other.data[(first + key) * 70 + c]!;
        expect(Math.abs(found.data[row * 70 + c]! - sum)).toBeLessThan(1e-5);
      }
    }
    expect((await weightedValuesAsync(record, other)).data).toEqual(found.data);
  });

  it('leave nothing behind, whatever is wrong', async () => {
    const x = { data: new Float32Array(24), shape: [1, 2, 3, 4] };
    const { record, output } = scaledDotProductAttention(x, x, x, { runtime, returnRecord: true });
    const used = runtime.memory.used;
    const wrong: [unknown, unknown, string, RegExp][] = [
      [x, x, 'INVALID_ARGUMENT', /record: .*AttentionRecord/],
      [record, { data: new Float32Array(12), shape: [1, 1, 3, 4] }, 'INVALID_SHAPE', /value/],
      [record, { data: new Int32Array(24), shape: [1, 2, 3, 4] }, 'INVALID_DTYPE', /value/],
    ];
    for (const [given, value, code, message] of wrong) {
      expect(() => weightedValues(given as never, value as never)).toThrow(message);
      expect(() => weightedValues(given as never, value as never)).toThrow(expect.objectContaining({ code }));
      await expect(weightedValuesAsync(given as never, value as never)).rejects.toThrow(message);
    }
    weightedValues(record, x).dispose();
    expect(runtime.memory.used).toBe(used);
    record.dispose();
    expect(() => weightedValues(record, x)).toThrow(expect.objectContaining({ code: 'DISPOSED' }));
    output.dispose();
  });
});

it('threads change nothing', async () => {
  const alone = await createRuntime({ build: 'simd' });
  const two = await createRuntime({ build: 'simd', threads: 2 });
  const rolled = (runtime: Runtime) => {
    const records = layersOf(runtime, new Random(13), 1, 200, 2, { causal: true });
    return [attentionRollout(records, { inputs: [0, 9] }), attentionRollout(records, { outputs: [199] })];
  };
  expect(rolled(two)).toEqual(rolled(alone));
  alone.dispose();
  two.dispose();
});
