// Appending to a cache: the same pages for any pieces, forms and threads, in tiles.

import { describe, expect, it } from 'vitest';
import { createRuntime, KeyValueCache } from 'wasm-attention';
import type { KeyValueCacheOptions, Runtime } from 'wasm-attention';
import { Random } from '../reference/random.js';
import { bits } from '../support/operations.js';
import { builds } from '../support/runtimes.js';
import { kernelCalls } from '../support/slices.js';

const LENGTH = 300;
const SIZES = { batch: 2, numKeyValueHeads: 3, headDim: 10, valueHeadDim: 7 } as const;

const SETUPS: readonly (Partial<KeyValueCacheOptions> & { title: string })[] = [
  { title: 'float32', storage: 'float32' },
  { title: 'float32, rotated', storage: 'float32', rotary: {} },
  { title: 'float16, rotated in pairs', storage: 'float16', rotary: { interleaved: true, rotaryDim: 6 } },
  { title: 'int8', storage: 'int8', rotary: {} },
  { title: 'a ring of int8', storage: 'int8', ring: { sinkTokens: 3, window: 140 } },
  { title: 'a ring of halves', storage: 'float16', ring: { window: 20 } },
];

/** Ends of the pieces that the tokens come in. */
const PIECES: readonly (readonly number[])[] = [
  [LENGTH],
  Array.from({ length: LENGTH }, (_, i) => i + 1),
  [1, 8, 15, 127, 129, LENGTH],
  [128, 256, 257, LENGTH],
  [3, 270, 271, LENGTH],
];

/** What is different in a piece's form. */
const FORMS = {
  append: (cache: KeyValueCache, keys: Tokens, values: Tokens) => cache.append(0, keys, values),
  appendAsync: (cache: KeyValueCache, keys: Tokens, values: Tokens) => cache.appendAsync(0, keys, values),
};

interface Tokens {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** Tokens [from, to) of [2, 3, LENGTH, dim]. */
function piece({ data, shape }: Tokens, from: number, to: number): Tokens {
  const dim = shape[3]!;
  const rows = Array.from({ length: 6 }, (_, row) => [
    ...data.subarray((row * LENGTH + from) * dim, (row * LENGTH + to) * dim),
  ]);
  return { data: Float32Array.from(rows.flat()), shape: [2, 3, to - from, dim] };
}

/** Everything that a cache holds after tokens came in pieces. */
async function held(
  runtime: Runtime,
  options: Partial<KeyValueCacheOptions>,
  pieces: readonly number[],
  form: keyof typeof FORMS,
): Promise<unknown> {
  const random = new Random(4);
  const tokens = (dim: number): Tokens => ({
    data: random.array(6 * LENGTH * dim, 'heavy-tailed'),
    shape: [2, 3, LENGTH, dim],
  });
  const [keys, values] = [tokens(SIZES.headDim), tokens(SIZES.valueHeadDim)];
  const cache = new KeyValueCache(runtime, { ...SIZES, ...options });
  let from = 0;
  for (const to of pieces) {
    await FORMS[form](cache, piece(keys, from, to), piece(values, from, to));
    from = to;
  }
  const snapshot = bits(cache.snapshot());
  cache.dispose();
  return snapshot;
}

describe.each(builds)('%s', async (build) => {
  const alone = await createRuntime({ build });
  const threaded = await createRuntime({ build, threads: { count: 3, required: true } });
  threaded.threads!.leastCost = 0;

  // What a ring still holds depends on how much came at once.
  it.each(SETUPS)(
    '$title: the same pages for any pieces, forms and threads',
    async ({ title: _, ...options }) => {
      for (const pieces of PIECES) {
        const expected = await held(alone, options, options.ring ? pieces : [LENGTH], 'append');
        for (const runtime of [alone, threaded]) {
          for (const form of ['append', 'appendAsync'] as const) {
            // Whatever lay in the memory before does not count.
            const litter = runtime.empty([100_000]);
            litter.data.fill(NaN);
            litter.dispose();
            expect(await held(runtime, options, pieces, form)).toEqual(expected);
          }
        }
      }
    },
  );

  it('a page that rows share is copied before it is written to, also where appending waits for its turn', async () => {
    const random = new Random(9);
    const tokens = (length: number) => ({
      data: random.array(6 * length * 8, 'normal'),
      shape: [2, 3, length, 8],
    });
    const [prompt, more] = [tokens(200), tokens(90)];
    const snapshots: unknown[] = [];
    for (const runtime of [alone, threaded]) {
      for (const form of ['append', 'appendAsync'] as const) {
        const cache = new KeyValueCache(runtime, { batch: 2, numKeyValueHeads: 3, headDim: 8 });
        await FORMS[form](cache, prompt, prompt);
        cache.reorder([1, 1]);
        const fork = cache.fork();
        const before = bits(fork.snapshot());
        await FORMS[form](cache, more, more);
        expect(bits(fork.snapshot())).toEqual(before);
        snapshots.push(bits(cache.snapshot()));
        fork.dispose();
        cache.dispose();
      }
    }
    for (const snapshot of snapshots) expect(snapshot).toEqual(snapshots[0]);
  });

  it.each(['float32', 'float16', 'int8'] as const)('a long prompt is no single step: %s', async (storage) => {
    const cache = new KeyValueCache(alone, { numKeyValueHeads: 4, headDim: 16, storage, rotary: {} });
    const tokens = { data: new Float32Array(4 * 1024 * 16).fill(0.5), shape: [1, 4, 1024, 16] };
    const calls = await kernelCalls(alone, (options) => cache.appendAsync(0, tokens, tokens, options));
    expect(calls).toMatchObject({ cacheAppend: 32 }); // a head of a page each
    cache.dispose();
  });
});

it('an append that is aborted leaves a cache that goes on as if it had not begun', async () => {
  const runtime = await createRuntime();
  const random = new Random(3);
  const tokens = (length: number) => ({
    data: random.array(2 * length * 8, 'normal'),
    shape: [1, 2, length, 8],
  });
  const [first, long] = [tokens(100), tokens(3000)];
  const options = { numKeyValueHeads: 2, headDim: 8, storage: 'int8', rotary: {} } as const;
  const [cache, control] = [new KeyValueCache(runtime, options), new KeyValueCache(runtime, options)];
  for (const one of [cache, control]) one.append(0, first, first);
  const reason = new Error('enough');
  const abort = new AbortController();
  await expect(
    kernelCalls(runtime, () =>
      cache.appendAsync(0, long, long, {
        signal: abort.signal,
        onProgress: (progress) => {
          expect(() => cache.lengths()).toThrow(expect.objectContaining({ code: 'INVALID_STATE' }));
          if (progress.done > progress.total / 2) abort.abort(reason);
        },
      }),
    ),
  ).rejects.toBe(reason);
  expect(cache.lengths()).toEqual([100]);
  for (const one of [cache, control]) one.append(0, long, long);
  expect(cache.snapshot()).toEqual(control.snapshot());
  await expect(cache.appendAsync(1, first, first)).rejects.toMatchObject({ argument: 'layer' });
  await expect(cache.appendAsync(0, first, first, { signa: 1 } as never)).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
  });
  runtime.dispose();
});
