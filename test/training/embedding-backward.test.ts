// Gradients of tables against sums in the order of the rows.

import fc from 'fast-check';
import { beforeAll, expect, it } from 'vitest';
import { createRuntime } from 'wasm-attention';
import { embeddingBackward, embeddingBackwardAsync, training } from 'wasm-attention/training';
import { runInScope } from '../../src/runtime/call.js';
import { runEmbeddingBackward } from '../../src/training/ops/embedding-backward.js';
import { Random } from '../reference/random.js';
import { eachInternalBuild } from '../support/internals.js';
import { bits } from '../support/operations.js';
import { eachBuild } from '../support/runtimes.js';

/** table[ids[row]] += factor * dy[row], in float64. */
function add(table: Float64Array, ids: Int32Array, dy: Float32Array, channels: number, factor: number) {
  dy.forEach((value, i) => {
    table[ids[Math.floor(i / channels)]! * channels + (i % channels)]! += factor * value;
  });
  return table;
}

function expectNear(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  let worst = 0;
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < actual.length; i++) worst = Math.max(worst, Math.abs(actual[i]! - expected[i]!));
  expect(worst).toBeLessThan(1e-5);
}

const size = (most: number) => fc.integer({ min: 1, max: most });

await eachBuild('embeddingBackward', (runtime) => {
  beforeAll(() => runtime.load(training));

  it('equals the reference, ids repeated and missing', () => {
    fc.assert(
      fc.property(size(30), size(70), size(40), fc.integer(), (rows, channels, length, seed) => {
        const random = new Random(seed);
        const ids = Int32Array.from({ length }, () => random.integer(0, rows - 1));
        const dy = random.array(length * channels, 'normal');
        const expected = add(new Float64Array(rows * channels), ids, dy, channels, -0.5);
        const gradient = runtime.tensor(dy, [length, 1, channels]);
        const table = embeddingBackward({ data: ids, shape: [length, 1] }, rows, gradient, { factor: -0.5 });
        expect(table.shape).toEqual([rows, channels]);
        expectNear(table.data, expected);
        gradient.dispose();
        table.dispose();
      }),
      { numRuns: 50 },
    );
  });

  it('has the same bits in slices and on threads', async () => {
    const random = new Random(2);
    const ids = Int32Array.from({ length: 4000 }, () => random.integer(0, 9));
    const gradient = { data: random.array(4000 * 130, 'uniform'), shape: [4000, 130] };
    const expected = bits(embeddingBackward(ids, 10, gradient, { runtime }));
    expect(bits(await embeddingBackwardAsync(ids, 10, gradient, { runtime }))).toEqual(expected);
    const threaded = await createRuntime({ build: runtime.info.build, threads: 2, packs: [training] });
    try {
      expect(bits(embeddingBackward(ids, 10, gradient, { runtime: threaded }))).toEqual(expected);
    } finally {
      threaded.dispose();
    }
  });

  it('names the argument that is wrong, before anything is written', () => {
    const gradient = runtime.tensor([1, 2, 3, 4], [2, 2]);
    const { used } = runtime.memory;
    const wrong = (argument: string, call: () => unknown) => {
      expect(call).toThrow(expect.objectContaining({ name: 'AttentionError', argument }) as Error);
      expect(runtime.memory.used).toBe(used);
    };
    wrong('ids[1]', () => embeddingBackward([0, 3], 3, gradient));
    wrong('ids[0]', () => embeddingBackward([-1, 0], 3, gradient));
    wrong('rows', () => embeddingBackward([0, 1], 2.5, gradient));
    wrong('gradient', () => embeddingBackward([0, 1, 2], 3, gradient));
    wrong('factor', () => embeddingBackward([0, 1], 3, gradient, { factor: NaN }));
    wrong('runtime', () => embeddingBackward([0], 3, { data: [1], shape: [1, 1] }));
  });
});

await eachInternalBuild('runEmbeddingBackward', (runtime) => {
  it('adds to tables as they are and packed alike, bit for bit', () => {
    fc.assert(
      fc.property(size(30), size(70), size(40), fc.integer(), (rows, channels, length, seed) => {
        const random = new Random(seed);
        const ids = Int32Array.from({ length }, () => random.integer(0, rows - 1));
        const dy = runtime.tensor(random.array(length * channels, 'normal'), [length, channels]);
        const before = random.array(rows * channels, 'normal');
        const plain = runtime.tensor(before);
        const panels = Math.ceil(rows / 8);
        const packed = runtime.tensor(new Float32Array(panels * 8 * channels).fill(7));
        const place = (row: number, channel: number) => ((row >> 3) * channels + channel) * 8 + (row & 7);
        before.forEach((value, i) => (packed.data[place(Math.floor(i / channels), i % channels)] = value));
        const upstream = { address: dy.address, rowBytes: channels * 4, rows: length };
        for (const [tensor, isPacked] of [
          [plain, false],
          [packed, true],
        ] as const) {
          const table = { address: tensor.address, channels, packed: isPacked };
          runInScope(runtime, (scope) =>
            runEmbeddingBackward(scope, scope.integers(ids), upstream, table, 1.25),
          );
        }
        expectNear(plain.data, add(Float64Array.from(before), ids, dy.data, channels, 1.25));
        plain.data.forEach((value, i) => {
          expect(packed.data[place(Math.floor(i / channels), i % channels)]).toBe(value);
        });
        // Lanes of rows that do not exist are nobody's.
        for (let row = rows; row < panels * 8; row++) expect(packed.data[place(row, 0)]).toBe(7);
        for (const made of [dy, plain, packed]) made.dispose();
      }),
      { numRuns: 30 },
    );
  });
});
