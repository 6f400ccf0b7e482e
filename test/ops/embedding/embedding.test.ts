// Lookup in tables as they are and in packed weights.

import fc from 'fast-check';
import { beforeAll, expect, it } from 'vitest';
import { createRuntime, linear, LinearWeights } from 'wasm-attention';
import { embedding, embeddingAsync, model } from 'wasm-attention/model';
import { runEmbedding } from '../../../src/ops/embedding/embedding.js';
import { runInScope } from '../../../src/runtime/call.js';
import { Random } from '../../reference/random.js';
import { eachInternalBuild } from '../../support/internals.js';
import { eachBuild } from '../../support/runtimes.js';

await eachBuild('embedding', (runtime) => {
  beforeAll(() => runtime.load(model));

  it('gives the rows, of a table or of packed weights, times the factor', () => {
    const size = fc.integer({ min: 1, max: 40 });
    const factor = fc.constantFrom(1, Math.fround(Math.sqrt(2048)), -0.5);
    fc.assert(
      fc.property(size, size, size, factor, fc.integer(), (rows, channels, length, factor, seed) => {
        const random = new Random(seed);
        const data = random.array(rows * channels, 'normal');
        const ids = Int32Array.from({ length }, () => random.integer(0, rows - 1));
        const expected = Float32Array.from({ length: length * channels }, (_, i) => {
          return factor * data[ids[Math.floor(i / channels)]! * channels + (i % channels)]!;
        });
        const table = { data, shape: [rows, channels] };
        const weights = new LinearWeights(runtime, table);
        const tensors = [
          embedding(ids, table, { factor, runtime }),
          embedding(Array.from(ids), weights, { factor }),
          embedding({ data: BigInt64Array.from(ids, BigInt), dims: [1, length] }, weights, { factor }),
          embedding(runtime.tensor(ids, [length, 1]), runtime.tensor(data, [rows, channels]), { factor }),
        ];
        expect(tensors.map(({ shape }) => shape)).toEqual([
          [length, channels],
          [length, channels],
          [1, length, channels],
          [length, 1, channels],
        ]);
        for (const tensor of tensors) {
          expect(tensor.data).toEqual(expected);
          tensor.dispose();
        }
        weights.dispose();
      }),
      { numRuns: 50 },
    );
  });

  it('is the product with rows of the identity', () => {
    const [rows, channels] = [21, 19];
    const random = new Random(4);
    const table = { data: random.array(rows * channels, 'normal'), shape: [rows, channels] };
    const tied = new LinearWeights(runtime, table);
    const ids = [20, 0, 7, 7, 8];
    const chosen = new Float32Array(ids.length * rows);
    ids.forEach((id, i) => (chosen[i * rows + id] = 1));
    const across = new LinearWeights(runtime, runtime.tensor(table.data, table.shape).transpose(0, 1));
    const products = linear({ data: chosen, shape: [ids.length, rows] }, across);
    expect(embedding(ids, tied).data).toEqual(products.data);
  });

  it('gives the same in slices and on threads, and from strided tensors', async () => {
    const random = new Random(2);
    const [rows, channels, length] = [100, 512, 3000];
    const data = random.array(rows * channels, 'normal');
    const ids = Int32Array.from({ length }, () => random.integer(0, rows - 1));
    const table = runtime.tensor(data, [rows, channels]);
    const expected = embedding(ids, table).toFloat32Array();
    // Compared at once: element by element millions of them take a minute.
    const same = (given: Float32Array, wanted = expected) => {
      expect(Buffer.from(given.buffer).equals(Buffer.from(wanted.buffer))).toBe(true);
    };
    same((await embeddingAsync(ids, table)).toFloat32Array());
    const other = runtime.tensor(table.transpose(0, 1).toFloat32Array(), [channels, rows]).transpose(0, 1);
    same(embedding(ids, other).toFloat32Array());
    same(
      embedding(
        runtime.tensor(ids).withLayout([length], [1]),
        new LinearWeights(runtime, table),
      ).toFloat32Array(),
    );
    const threaded = await createRuntime({ build: runtime.info.build, threads: 2, packs: [model] });
    try {
      same(embedding(ids, { data, shape: [rows, channels] }, { runtime: threaded }).toFloat32Array());
      // Threads are handed integers: a factor must come through whole. Rows enough that they are worth waking.
      const many = Int32Array.from({ length: 20000 }, (_, i) => i % rows);
      const options = { factor: Math.fround(Math.sqrt(2048)) };
      const given = { data, shape: [rows, channels] };
      const alone = embedding(many, given, { ...options, runtime });
      const shared = embedding(many, given, { ...options, runtime: threaded });
      same(shared.toFloat32Array(), alone.toFloat32Array());
      alone.dispose();
    } finally {
      threaded.dispose();
    }
  });

  it('names what is wrong, before anything is written', () => {
    const table = runtime.tensor([1, 2, 3, 4, 5, 6], [3, 2]);
    const { used } = runtime.memory;
    const wrong = (argument: string, call: () => unknown) => {
      expect(call).toThrow(expect.objectContaining({ name: 'AttentionError', argument }) as Error);
      expect(runtime.memory.used).toBe(used);
    };
    wrong('ids[1]', () => embedding([0, 3], table));
    wrong('ids[0]', () => embedding([-1], table));
    wrong('ids[0]', () => embedding([0.5], table));
    wrong('ids[2]', () => embedding({ data: new Int32Array([0, 1, 9]), shape: [3] }, table));
    wrong('ids.shape', () => embedding({ data: [0, 1], shape: [3] }, table));
    wrong('ids', () => embedding(5 as never, table));
    wrong('ids', () => embedding(undefined as never, table));
    wrong('ids', () => embedding(table, table));
    wrong('table', () => embedding([0], { data: [1, 2], shape: [2] }, { runtime }));
    wrong('table', () => embedding([0], { data: new Int32Array(2), shape: [1, 2] }, { runtime }));
    wrong('factor', () => embedding([0], table, { factor: NaN }));
    wrong('runtime', () => embedding([0], { data: [1, 2], shape: [1, 2] }));
    expect(embedding([], table).shape).toEqual([0, 2]);
  });
});

await eachInternalBuild('lookup', (runtime) => {
  it('adds to rows that lie apart, and to nothing between them', () => {
    const table = runtime.tensor([1, 2, 3, 4, 5, 10, 20, 30, 40, 50], [2, 5]);
    const y = runtime.tensor(new Float32Array(21).fill(100));
    runInScope(runtime, (scope) => {
      const place = { address: table.address, channels: 5, packed: false };
      const rows = { address: y.address, rowBytes: 7 * 4 };
      runEmbedding(scope, scope.integers([1, 0, 1]), 3, place, rows, { factor: 2, add: true });
    });
    const low = [102, 104, 106, 108, 110, 100, 100];
    const high = [120, 140, 160, 180, 200, 100, 100];
    expect(Array.from(y.data)).toEqual([...high, ...low, ...high]);
  });
});
