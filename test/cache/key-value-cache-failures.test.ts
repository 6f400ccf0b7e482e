// A call of a cache that fails leaves everything as it was, wherever it fails: every allocation is refused once, and every
// pause of an asynchronous call is where it is aborted once. What the cache is then is compared with what it was before, and
// after the call that works at last with a cache that no failure has seen.

import { afterEach, describe, expect, it, vi } from 'vitest';
import { AttentionError, createRuntime, customMask, KeyValueCache, MultiHeadAttention } from 'wasm-attention';
import type { AsyncOptions, CacheRing, CacheStorage, KeyValueCacheOptions, Runtime } from 'wasm-attention';
import { Random } from '../reference/random.js';
import { Faults } from '../support/faults.js';

const [WIDTH, HEADS, KEY_HEADS, DIM] = [32, 4, 2, 8];
const LAYERS = 2;
/** With the pages that rows share cut in the middle, the second row being the shorter one. */
const LENGTHS = [380, 376];

interface Setup {
  readonly title: string;
  readonly storage: CacheStorage;
  readonly ring?: CacheRing;
  /** Who holds the last pages too: another cache, or the rows among each other. */
  readonly shared: 'with a fork' | 'among rows';
}

const SETUPS: readonly Setup[] = [
  { title: 'float32, shared with a fork', storage: 'float32', shared: 'with a fork' },
  { title: 'float32, shared among rows', storage: 'float32', shared: 'among rows' },
  { title: 'int8, shared among rows', storage: 'int8', shared: 'among rows' },
  {
    title: 'a ring, shared among rows',
    ...{ storage: 'float32', ring: { sinkTokens: 3, window: 50 }, shared: 'among rows' },
  },
  {
    title: 'a ring of halves, shared with a fork',
    ...{ storage: 'float16', ring: { window: 130 }, shared: 'with a fork' },
  },
];

const options = ({ storage, ring }: Setup): KeyValueCacheOptions => ({
  ...{ layers: LAYERS, batch: 2, numKeyValueHeads: KEY_HEADS, headDim: DIM, storage, rotary: {} },
  ...(ring ? { ring } : { capacity: 900 }),
});

const tensor = (random: Random, ...shape: number[]) => ({
  data: random.array(
    shape.reduce((size, length) => size * length, 1),
    'normal',
  ),
  shape,
});

/** A cache in the middle of its work, those who share pages with it, and a layer for it. */
class World {
  readonly setup: Setup;
  readonly cache: KeyValueCache;
  readonly others: KeyValueCache[] = [];
  readonly layer: MultiHeadAttention;
  readonly later: Uint8Array;
  /** What operations are given, the same for all of them. */
  readonly inputs: Readonly<Record<'keys' | 'values' | 'query' | 'x' | 'token', ReturnType<typeof tensor>>>;

  constructor(runtime: Runtime, setup: Setup) {
    const random = new Random(5);
    this.setup = setup;
    this.cache = new KeyValueCache(runtime, options(setup));
    const append = (length: number) => {
      for (let layer = 0; layer < LAYERS; layer++) {
        const shape = [2, KEY_HEADS, length, DIM] as const;
        this.cache.append(layer, tensor(random, ...shape), tensor(random, ...shape));
      }
    };
    append(600);
    this.cache.reset(); // the tables of the rotation grow with what is seen, and stay
    append(200);
    append(180);
    this.cache.reorder([0, 0]);
    this.cache.crop(LENGTHS);
    const ahead = this.cache.fork();
    for (let layer = 0; layer < LAYERS; layer++) {
      const more = tensor(random, 2, KEY_HEADS, 90, DIM);
      ahead.append(layer, more, more);
    }
    this.later = ahead.snapshot();
    ahead.dispose();
    if (setup.shared === 'with a fork') this.others.push(this.cache.fork());
    this.layer = new MultiHeadAttention(runtime, {
      ...{ embedDim: WIDTH, numHeads: HEADS, numKeyValueHeads: KEY_HEADS, bias: false, rotary: {} },
    }).load({
      'q_proj.weight': tensor(random, WIDTH, WIDTH),
      'k_proj.weight': tensor(random, KEY_HEADS * DIM, WIDTH),
      'v_proj.weight': tensor(random, KEY_HEADS * DIM, WIDTH),
      'o_proj.weight': tensor(random, WIDTH, WIDTH),
    });
    this.layer.forward(tensor(random, 2, 600, WIDTH)).dispose();
    this.inputs = {
      keys: tensor(random, 2, KEY_HEADS, 20, DIM),
      values: tensor(random, 2, KEY_HEADS, 20, DIM),
      query: tensor(random, 2, HEADS, 4, DIM),
      x: tensor(random, 2, 20, WIDTH),
      token: tensor(random, 2, KEY_HEADS, 1, DIM),
    };
  }

  /** Everything that can be seen of the caches: lengths, pages, what queries get from them now and further back. */
  state(): unknown {
    return [this.cache, ...this.others].map((cache) => ({
      bytes: cache.bytes,
      sequences: sequencesOf(cache.snapshot()),
      seen: [0, 1, 40, 100, 200].map((back) => seenBefore(cache, back, this.inputs.query)),
    }));
  }

  dispose(): void {
    for (const one of [this.cache, ...this.others, this.layer]) one.dispose();
  }
}

/** Lengths and pages by number, from the header of a snapshot. */
function sequencesOf(snapshot: Uint8Array): unknown {
  const view = new DataView(snapshot.buffer, snapshot.byteOffset);
  const header = new TextDecoder().decode(snapshot.subarray(12, 12 + view.getUint32(8, true)));
  return (JSON.parse(header) as { sequences: unknown }).sequences;
}

/** What queries get from a fork that is so many tokens shorter, or why it cannot be. */
function seenBefore(cache: KeyValueCache, back: number, query: { data: Float32Array }): unknown {
  const fork = cache.fork();
  try {
    const lengths = Array.from({ length: LAYERS }, (_, layer) => fork.lengths(layer));
    fork.crop(lengths[0]!.map((_, row) => Math.min(...lengths.map((rows) => rows[row]!)) - back));
    const batch = lengths[0]!.length;
    return Array.from({ length: LAYERS }, (_, layer) => {
      const size = batch * HEADS * 4 * DIM;
      const data = Float32Array.from({ length: size }, (_, i) => query.data[i % query.data.length]!);
      const result = fork.attend(layer, { data, shape: [batch, HEADS, 4, DIM] });
      const output = result.output.toFloat32Array();
      result.dispose();
      return output;
    });
  } catch (error) {
    return (error as { code: string }).code;
  } finally {
    fork.dispose();
  }
}

interface Operation {
  readonly title: string;
  readonly run: (world: World, options: AsyncOptions) => unknown;
  readonly allocates?: boolean;
  readonly isAsync?: boolean;
}

const forwardOptions = ({ cache, setup }: World) => ({
  ...{ cache, cacheLayer: 1, lengths: [20, 3], returnLogSumExp: true },
  averageWeights: setup.ring === undefined,
});
const attendOptions = ({ setup }: World) => ({
  ...{ lengths: [4, 2], returnLogSumExp: true },
  returnWeights: setup.ring === undefined,
});

const OPERATIONS: readonly Operation[] = [
  {
    title: 'append',
    allocates: true,
    run: ({ cache, inputs: { keys, values } }) => cache.append(1, keys, values, { lengths: [20, 3] }),
  },
  {
    title: 'appendAsync',
    allocates: true,
    run: ({ cache, inputs: { keys, values } }, given) =>
      cache.appendAsync(1, keys, values, { lengths: [20, 3], ...given }),
    isAsync: true,
  },
  {
    title: 'append of a token',
    allocates: true,
    run: ({ cache, inputs: { token } }) => cache.append(0, token, token),
  },
  {
    title: 'attend',
    allocates: true,
    run: (world) => world.cache.attend(1, world.inputs.query, attendOptions(world)).dispose(),
  },
  {
    title: 'attendAsync',
    allocates: true,
    run: async (world, given) =>
      (await world.cache.attendAsync(1, world.inputs.query, { ...attendOptions(world), ...given })).dispose(),
    isAsync: true,
  },
  {
    title: 'forward',
    allocates: true,
    run: (world) => world.layer.forward(world.inputs.x, forwardOptions(world)).dispose(),
  },
  {
    title: 'forwardAsync',
    allocates: true,
    run: async (world, given) =>
      (await world.layer.forwardAsync(world.inputs.x, { ...forwardOptions(world), ...given })).dispose(),
    isAsync: true,
  },
  { title: 'fork', run: ({ cache, others }) => others.push(cache.fork([1, 1, 0])) },
  { title: 'reorder', run: ({ cache }) => cache.reorder([1, 0]) },
  { title: 'crop', run: ({ cache }) => cache.crop(LENGTHS.map((length) => length - 2)) },
  { title: 'snapshot', run: ({ cache }) => cache.snapshot() },
  { title: 'restore', allocates: true, run: ({ cache, later }) => cache.restore(later) },
];

/** Milliseconds of a clock that jumps, so that an asynchronous call pauses after each of its steps. */
function hurry(): void {
  let time = performance.now();
  vi.spyOn(performance, 'now').mockImplementation(() => (time += 7));
}
afterEach(() => {
  vi.restoreAllMocks();
});

describe.each([1, 2])('with %i thread(s)', async (threads) => {
  const runtime = await createRuntime({ threads, build: 'simd' });
  if (runtime.threads) runtime.threads.leastCost = 0;
  const faults = new Faults(runtime);
  const setups = threads === 1 ? SETUPS : [SETUPS[1]!, SETUPS[3]!];

  /**
   * Attempts an operation until it works: `attempt` says whether it failed. Nothing may differ after a failure, and after
   * the success all must be as where nothing has failed.
   */
  async function untilItWorks(
    setup: Setup,
    operation: Operation,
    attempt: (world: World, turn: number) => Promise<boolean>,
  ): Promise<number> {
    const before = runtime.memory.used;
    const [world, control] = [new World(runtime, setup), new World(runtime, setup)];
    const state = world.state();
    const { used } = runtime.memory;
    let turn = 0;
    for (; await attempt(world, turn); turn++) {
      expect(runtime.memory.used, `memory after failure ${turn}`).toBe(used);
      expect(world.state(), `state after failure ${turn}`).toEqual(state);
    }
    await operation.run(control, {});
    expect(world.state()).toEqual(control.state());
    for (const one of [world, control]) one.dispose();
    expect(runtime.memory.used).toBe(before);
    return turn;
  }

  async function refuseEach(setup: Setup, operation: Operation, withoutStack: boolean): Promise<number> {
    return untilItWorks(setup, operation, async (world, turn) => {
      faults.arm(turn, withoutStack);
      try {
        await operation.run(world, {});
        expect(faults.struck).toBe(false);
      } catch (error) {
        expect(error).toMatchObject({ code: 'OUT_OF_MEMORY' });
      } finally {
        faults.disarm();
      }
      return faults.struck;
    });
  }

  describe.each(setups)('$title', (setup) => {
    it.each(OPERATIONS)('refused memory anywhere: $title', async (operation) => {
      await refuseEach(setup, operation, false);
    });

    it.each(OPERATIONS.filter(({ allocates }) => allocates))(
      'refused memory anywhere, for want of a stack in more places: $title',
      async (operation) => {
        expect(await refuseEach(setup, operation, true)).toBeGreaterThan(1);
      },
    );

    it.each(OPERATIONS.filter(({ isAsync }) => isAsync))(
      'aborted in any pause: $title',
      async (operation) => {
        const pauses = await untilItWorks(setup, operation, async (world, turn) => {
          const control = new AbortController();
          const reason = new Error('enough');
          let pause = 0;
          const onProgress = () => {
            if (pause++ !== turn) return;
            visit(world);
            control.abort(reason);
          };
          hurry();
          try {
            await operation.run(world, { signal: control.signal, onProgress });
            return false;
          } catch (error) {
            expect(error).toBe(reason);
            return true;
          } finally {
            vi.restoreAllMocks();
          }
        });
        expect(pauses).toBeGreaterThan(2);
      },
    );
  });
});

describe('a call that fails', async () => {
  const runtime = await createRuntime({ threads: 2, build: 'simd' });
  runtime.threads!.leastCost = 0;

  it('also leaves a cache whose tables of the rotation have to grow', () => {
    const faults = new Faults(runtime);
    const before = runtime.memory.used;
    const random = new Random(2);
    const cache = new KeyValueCache(runtime, { numKeyValueHeads: KEY_HEADS, headDim: DIM, rotary: {} });
    const query = tensor(random, 1, HEADS, 1, DIM);
    let seen: Float32Array | undefined;
    for (const length of [1, 70, 300]) {
      const tokens = tensor(random, 1, KEY_HEADS, length, DIM);
      for (let at = 0, failed = true; failed; at++) {
        faults.arm(at, true);
        try {
          cache.append(0, tokens, tokens);
          failed = false;
        } catch (error) {
          expect(error).toMatchObject({ code: 'OUT_OF_MEMORY' });
        }
        faults.disarm();
        if (cache.lengths()[0] === 0) continue;
        const result = cache.attend(0, query);
        if (failed) expect(result.output.toFloat32Array()).toEqual(seen);
        else seen = result.output.toFloat32Array();
        result.dispose();
      }
    }
    expect(cache.lengths()).toEqual([371]);
    cache.dispose();
    expect(runtime.memory.used).toBe(before);
  });

  it('takes its tokens back at once, also where its memory has to wait for lost threads', () => {
    const before = runtime.memory.used;
    const world = new World(runtime, SETUPS[1]!);
    const state = world.state();
    const waiting: (() => void)[] = [];
    vi.spyOn(runtime.threads!, 'whenQuiet').mockImplementation((free) => void waiting.push(free));
    vi.spyOn(runtime.threads!, 'run').mockImplementation(() => {
      throw new AttentionError({ code: 'WORKER_LOST' });
    });
    expect(() => world.layer.forward(world.inputs.x, forwardOptions(world))).toThrow(
      expect.objectContaining({ code: 'WORKER_LOST' }),
    );
    vi.restoreAllMocks();
    expect(world.state()).toEqual(state);
    world.cache.append(0, world.inputs.token, world.inputs.token);
    world.dispose();
    expect(runtime.memory.used).toBeGreaterThan(before);
    for (const free of waiting) free();
    expect(runtime.memory.used).toBe(before);
  });

  it('writes no more to a page that lost threads may still write to, until they have ended', () => {
    const before = runtime.memory.used;
    const cache = new KeyValueCache(runtime, { numKeyValueHeads: KEY_HEADS, headDim: DIM });
    const [first, second, third] = [20, 30, 1].map((length) =>
      tensor(new Random(length), 1, KEY_HEADS, length, DIM),
    ) as [ReturnType<typeof tensor>, ReturnType<typeof tensor>, ReturnType<typeof tensor>];
    cache.append(0, first, first);
    const pages = cache.pagesOf(0).addresses;
    const waiting: (() => void)[] = [];
    vi.spyOn(runtime.threads!, 'whenQuiet').mockImplementation((free) => void waiting.push(free));
    vi.spyOn(runtime.threads!, 'run').mockImplementationOnce(() => {
      throw new AttentionError({ code: 'WORKER_LOST' });
    });
    expect(() => cache.append(0, second, second)).toThrow(expect.objectContaining({ code: 'WORKER_LOST' }));
    expect(cache.pagesOf(0).addresses).toEqual(pages);
    cache.append(0, third, third);
    expect(cache.pagesOf(0).addresses).not.toEqual(pages);
    const moved = cache.pagesOf(0).addresses;
    for (const free of waiting) free();
    vi.restoreAllMocks();
    cache.append(0, third, third);
    expect(cache.pagesOf(0).addresses).toEqual(moved);
    cache.dispose();
    expect(runtime.memory.used).toBe(before);
  });

  it.each([
    ['reset', (cache: KeyValueCache) => cache.reset()],
    ['dispose', (cache: KeyValueCache) => cache.dispose()],
    ['crop', (cache: KeyValueCache) => cache.crop(3)],
  ])('because its mask wants to %s the cache in the middle', (_, change) => {
    const world = new World(runtime, SETUPS[0]!);
    const state = world.state();
    const mask = customMask({
      keeps: () => {
        change(world.cache);
        return true;
      },
    });
    const { cache, layer, inputs } = world;
    for (const call of [
      () => cache.attend(0, inputs.query, { mask }),
      () => layer.forward(inputs.x, { cache, mask }),
    ]) {
      expect(call).toThrow(expect.objectContaining({ code: 'INVALID_STATE' }));
      expect(world.state()).toEqual(state);
    }
    world.dispose();
  });
});

/** What others may do meanwhile: the cache itself refuses to change, and who shares its pages goes on alone. */
function visit({ cache, others, inputs: { token, query } }: World): void {
  for (const change of [
    () => cache.crop(1),
    () => cache.reset(),
    () => cache.reorder([1, 0]),
    () => cache.append(0, token, token),
    () => cache.restore(new Uint8Array(0)),
    () => cache.dispose(),
  ]) {
    expect(change).toThrow(expect.objectContaining({ code: 'INVALID_STATE' }));
  }
  const guest = others[0]?.fork();
  if (!guest) return;
  const before = seenBefore(guest, 2, query);
  for (let layer = 0; layer < LAYERS; layer++) guest.append(layer, token, token);
  expect(seenBefore(guest, 3, query)).toEqual(before);
  guest.crop(0);
  guest.dispose();
}
