// Tables of a layer's rotary embedding: they grow in tiles, and calls that wait, fail or cross each other see whole ones.

import { describe, expect, it } from 'vitest';
import { createRuntime, KeyValueCache, rotaryEmbeddingAsync } from 'wasm-attention';
import { Random } from '../../reference/random.js';
import { Faults } from '../../support/faults.js';
import { bits } from '../../support/operations.js';
import { kernelCalls } from '../../support/slices.js';

const tokens = (length: number, seed = length) => ({
  data: new Random(seed).array(2 * length * 8, 'normal'),
  shape: [1, 2, length, 8],
});

describe.each([1, 3])('with %i thread(s)', async (threads) => {
  const runtime = await createRuntime({ threads });
  if (runtime.threads) runtime.threads.leastCost = 0;
  const make = (dynamic = false) =>
    new KeyValueCache(runtime, {
      ...{ numKeyValueHeads: 2, headDim: 8 },
      rotary: dynamic ? { scaling: { type: 'dynamic', factor: 2, originalLength: 10 } } : {},
    });
  /** What a cache holds after the prompt. */
  const held = (cache: KeyValueCache): unknown => {
    const hash = bits(cache.snapshot());
    cache.dispose();
    return hash;
  };
  const expected = (length: number, dynamic = false): unknown => {
    const cache = make(dynamic);
    cache.append(0, tokens(length), tokens(length));
    return held(cache);
  };

  it.each([false, true])('has the bits of a call at once, dynamic scaling %s', async (dynamic) => {
    const { used } = runtime.memory;
    const cache = make(dynamic);
    await cache.appendAsync(0, tokens(300), tokens(300));
    expect(held(cache)).toEqual(expected(300, dynamic));
    expect(runtime.memory.used).toBe(used);
  });

  it('does not trust tables of a call that was aborted, or that has not come so far', async () => {
    const { used } = runtime.memory;
    const cache = make();
    const abort = new AbortController();
    const stopped = cache.appendAsync(0, tokens(300), tokens(300), { signal: abort.signal });
    abort.abort(new Error('enough'));
    await stopped.catch(() => {});
    cache.reset();
    cache.append(0, tokens(200), tokens(200));
    cache.crop(0);
    const faults = new Faults(runtime);
    faults.arm(1, true);
    expect(() => cache.append(0, tokens(300), tokens(300))).toThrow(/no room/);
    faults.disarm();
    // Reading goes on while another query, further out, still waits for its tables.
    cache.append(0, tokens(300), tokens(300));
    const query = tokens(1);
    const now = cache.attend(0, query);
    const [far, near] = [cache.attendAsync(0, query), cache.attend(0, query)];
    const later = await far;
    expect([bits(near), bits(later)]).toEqual([bits(now), bits(now)]);
    for (const result of [now, near, later]) result.dispose();
    expect(held(cache)).toEqual(expected(300));
    expect(runtime.memory.used).toBe(used);
  });

  it('frees tables that are made while the cache is disposed', async () => {
    const { used } = runtime.memory;
    const cache = make();
    cache.append(0, tokens(10), tokens(10));
    const fork = cache.fork(); // has tables of its own, none so far
    const running = fork.attendAsync(0, tokens(1));
    expect(() => fork.dispose()).toThrow(expect.objectContaining({ code: 'INVALID_STATE' }));
    (await running).dispose();
    for (const one of [cache, fork]) one.dispose();
    expect(runtime.memory.used).toBe(used);
  });
});

it('computes tables and rotates in tiles', async () => {
  const runtime = await createRuntime();
  const x = runtime.tensor(tokens(500).data, [1, 2, 500, 8]);
  const calls = await kernelCalls(runtime, async (options) =>
    (await rotaryEmbeddingAsync(x, options)).dispose(),
  );
  expect(calls).toMatchObject({ rotaryTables: 500, rotary: 500, copyElements: 4 });
  const cache = new KeyValueCache(runtime, { numKeyValueHeads: 2, headDim: 8, rotary: {} });
  await cache.appendAsync(0, tokens(500), tokens(500));
  const grown = await kernelCalls(runtime, (options) =>
    cache.appendAsync(0, tokens(700), tokens(700), options),
  );
  expect(grown['rotaryTables']).toBeGreaterThan(600);
  runtime.dispose();
});
