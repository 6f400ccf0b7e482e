// The key/value cache against a model of it made of plain arrays: random sequences of everything one can do with it, all
// storages, with and without a ring; then bits, errors, and what must survive a failure.

import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { createRuntime, KeyValueCache, MultiHeadAttention, scaledDotProductAttention } from 'wasm-attention';
import type { CacheRing, CacheStorage, KeyValueCacheOptions, Runtime } from 'wasm-attention';
import { referenceAttention } from '../reference/attention.js';
import { Random } from '../reference/random.js';
import { eachBuild } from '../support/runtimes.js';

const SIZES = { layers: 2, batch: 2, numKeyValueHeads: 2, headDim: 6, valueHeadDim: 5 } as const;
const HEADS = 4;
const CAPACITY = 300;

interface Setup {
  storage: CacheStorage;
  ring?: CacheRing;
}

const SETUPS: readonly Setup[] = [
  { storage: 'float32' },
  { storage: 'float16' },
  { storage: 'int8' },
  { storage: 'float32', ring: { sinkTokens: 3, window: 50 } },
  { storage: 'float16', ring: { window: 130 } },
  { storage: 'int8', ring: { sinkTokens: 130, window: 40 } },
];

/** Queries and weights meet int8 rounded to 14 bits. */
const TOLERANCE: Readonly<Record<CacheStorage, number>> = { float32: 1e-5, float16: 1e-5, int8: 3e-3 };

/** Nearest half float, ties to even. */
function roundToHalf(x: number): number {
  const exponent = Math.max(Math.floor(Math.log2(Math.abs(x) || 1)), -14);
  const unit = 2 ** (exponent - 10);
  return roundToEven(x / unit) * unit;
}

function roundToEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return floor + (rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? 1 : 0);
}

/** What comes back out of a storage for the channels of one token and head. */
function stored(values: readonly number[], storage: CacheStorage): number[] {
  if (storage === 'float32') return [...values];
  if (storage === 'float16') return values.map(roundToHalf);
  const most = Math.max(...values.map(Math.abs));
  const inverse = Math.fround(127 / most);
  return values.map((x) => roundToEven(Math.fround(x * inverse)) * Math.fround(most / 127));
}

/** [head][channel] */
interface Token {
  key: number[][];
  value: number[][];
}

/** What a cache should be: [layer][row] -> tokens. */
class Model {
  rows: Token[][][];
  constructor(rows?: Token[][][]) {
    this.rows =
      rows ?? Array.from({ length: SIZES.layers }, () => Array.from({ length: SIZES.batch }, () => []));
  }
  copy(rows: readonly number[]): Model {
    return new Model(this.rows.map((layer) => rows.map((row) => [...layer[row]!])));
  }
}

interface Pair {
  cache: KeyValueCache;
  model: Model;
}

/** All caches alive, each beside its model, and snapshots taken. */
interface World {
  runtime: Runtime;
  setup: Setup;
  random: Random;
  pairs: Pair[];
  snapshots: { bytes: Uint8Array; model: Model }[];
}

const pick = <T>(items: readonly T[], number: number): T => items[number % items.length]!;

/** Makes [1, heads, rows, dim] of normal numbers. */
const normalTensors = (random: Random, dim: number) => (heads: number, rows: number) => ({
  data: random.array(heads * rows * dim, 'normal'),
  shape: [1, heads, rows, dim],
});

function make(runtime: Runtime, { storage, ring }: Setup, batch: number): KeyValueCache {
  return new KeyValueCache(runtime, {
    ...SIZES,
    batch,
    storage,
    ...(ring ? { ring } : { capacity: CAPACITY }),
  });
}

/** A command does one thing to one of the caches, chosen by numbers, and checks what can be seen of it. */
class Command implements fc.Command<object, World> {
  readonly name: string;
  readonly numbers: readonly number[];
  readonly action: (world: World, pair: Pair, numbers: readonly number[]) => void;

  constructor(name: string, numbers: readonly number[], action: Command['action']) {
    this.name = name;
    this.numbers = numbers;
    this.action = action;
  }
  check(): boolean {
    return true;
  }
  run(_: object, world: World): void {
    if (world.pairs.length === 0) {
      world.pairs.push({ cache: make(world.runtime, world.setup, SIZES.batch), model: new Model() });
    }
    this.action(world, pick(world.pairs, this.numbers[0]!), this.numbers.slice(1));
    for (const { cache, model } of world.pairs) {
      for (let layer = 0; layer < SIZES.layers; layer++) {
        expect(cache.lengths(layer)).toEqual(model.rows[layer]!.map((tokens) => tokens.length));
      }
    }
  }
  toString(): string {
    return `${this.name}(${this.numbers.join(', ')})`;
  }
}

function append(world: World, { cache, model }: Pair, [l, most, ragged]: readonly number[]): void {
  const layer = l! % SIZES.layers;
  const rows = model.rows[layer]!;
  const room = world.setup.ring ? 400 : CAPACITY - Math.max(...rows.map((tokens) => tokens.length));
  const length = Math.min(most! % 3 === 0 ? most! % 150 : most! % 9, room);
  const lengths = rows.map((_, row) => (ragged! % 2 === 0 ? length : (ragged! * (row + 1)) % (length + 1)));
  const { numKeyValueHeads, headDim, valueHeadDim } = SIZES;
  const keys = new Float32Array(rows.length * numKeyValueHeads * length * headDim);
  const values = new Float32Array(rows.length * numKeyValueHeads * length * valueHeadDim);
  const channels = (target: Float32Array, row: number, head: number, i: number, dim: number): number[] => {
    const at = ((row * numKeyValueHeads + head) * length + i) * dim;
    for (let d = 0; d < dim; d++) target[at + d] = world.random.normal();
    return Array.from(target.subarray(at, at + dim));
  };
  rows.forEach((tokens, row) => {
    for (let i = 0; i < length; i++) {
      const heads = Array.from({ length: numKeyValueHeads }, (_, head) => ({
        key: stored(channels(keys, row, head, i, headDim), world.setup.storage),
        value: stored(channels(values, row, head, i, valueHeadDim), world.setup.storage),
      }));
      if (i < lengths[row]!) {
        tokens.push({ key: heads.map(({ key }) => key), value: heads.map(({ value }) => value) });
      }
    }
  });
  const shape = [rows.length, numKeyValueHeads, length] as const;
  cache.append(
    layer,
    { data: keys, shape: [...shape, headDim] },
    { data: values, shape: [...shape, valueHeadDim] },
    { lengths },
  );
}

function attend({ random, setup }: World, { cache, model }: Pair, [l, many]: readonly number[]): void {
  const layer = l! % SIZES.layers;
  const rows = model.rows[layer]!;
  const queries = 1 + (many! % 8);
  const { numKeyValueHeads: keyHeads, headDim, valueHeadDim } = SIZES;
  const lengths = rows.map((tokens) => Math.min(queries, tokens.length));
  const data = random.array(rows.length * HEADS * queries * headDim, 'normal');
  const result = cache.attend(layer, { data, shape: [rows.length, HEADS, queries, headDim] }, { lengths });
  const output = result.output.toFloat32Array();
  result.dispose();
  rows.forEach((tokens, row) => {
    const query = data.slice(row * HEADS * queries * headDim, (row + 1) * HEADS * queries * headDim);
    const flat = (part: 'key' | 'value') =>
      Array.from({ length: keyHeads }, (_, head) => tokens.flatMap((token) => token[part][head]!)).flat();
    const offset = tokens.length - lengths[row]!;
    const ring = setup.ring;
    const expected = referenceAttention(
      {
        ...{ query, key: flat('key'), value: flat('value'), batch: 1, queryHeads: HEADS, keyHeads, queries },
        ...{ keys: tokens.length, headDim, valueHeadDim },
      },
      {
        causalOffset: offset,
        ...(ring
          ? { predicate: (_b, _h, i, j) => j < (ring.sinkTokens ?? 0) || j > i + offset - ring.window }
          : {}),
      },
    ).output;
    for (let head = 0; head < HEADS; head++) {
      for (let at = 0; at < lengths[row]! * valueHeadDim; at++) {
        const place = head * queries * valueHeadDim + at;
        const actual = output[row * HEADS * queries * valueHeadDim + place]!;
        expect(Math.abs(actual - expected[place]!)).toBeLessThanOrEqual(TOLERANCE[setup.storage]);
      }
    }
  });
}

function fork({ pairs }: World, { cache, model }: Pair, [a, b, whole]: readonly number[]): void {
  if (pairs.length >= 4) return;
  const batch = cache.lengths().length;
  const rows = whole! % 2 === 0 ? undefined : [a! % batch, b! % batch];
  pairs.push({ cache: cache.fork(rows), model: model.copy(rows ?? cache.lengths().map((_, row) => row)) });
}

function reorder(_: World, pair: Pair, [a, b]: readonly number[]): void {
  const batch = pair.cache.lengths().length;
  const rows = Array.from({ length: batch }, (_, row) => (row % 2 === 0 ? a! : b!) % batch);
  pair.cache.reorder(rows);
  pair.model = pair.model.copy(rows);
}

function crop({ setup }: World, { cache, model }: Pair, [to]: readonly number[]): void {
  const shortest = Math.min(...model.rows.flat().map((tokens) => tokens.length));
  // A ring forgets: only a crop within what every later query needs is promised, so a small one.
  const length = setup.ring ? Math.max(0, shortest - (to! % 4)) : to! % (shortest + 1);
  try {
    cache.crop(length);
  } catch (error) {
    expect(setup.ring).toBeDefined();
    expect(error).toMatchObject({ code: 'INVALID_STATE', argument: 'length' });
    return;
  }
  for (const tokens of model.rows.flat()) tokens.length = length;
}

const NUMBERS = fc.array(fc.nat(1000), { minLength: 4, maxLength: 4 });
const command = (name: string, action: Command['action']) =>
  NUMBERS.map((numbers) => new Command(name, numbers, action));

const COMMANDS = [
  command('append', append),
  command('append', append),
  command('attend', attend),
  command('attend', attend),
  command('fork', fork),
  command('reorder', reorder),
  command('crop', crop),
  command('reset', (_, pair, [rarely]) => {
    if (rarely! % 4 !== 0) return;
    pair.cache.reset();
    for (const tokens of pair.model.rows.flat()) tokens.length = 0;
  }),
  command('snapshot', ({ snapshots }, { cache, model }) => {
    const rows = cache.lengths().map((_, row) => row);
    snapshots.push({ bytes: cache.snapshot(), model: model.copy(rows) });
  }),
  command('restore', ({ snapshots }, pair, [which]) => {
    if (snapshots.length === 0) return;
    const { bytes, model } = pick(snapshots, which!);
    pair.cache.restore(bytes);
    pair.model = model.copy(model.rows[0]!.map((_, row) => row));
  }),
  command('dispose', ({ pairs }, pair, [rarely]) => {
    if (rarely! % 3 !== 0) return;
    pair.cache.dispose();
    pairs.splice(pairs.indexOf(pair), 1);
  }),
];

await eachBuild('a key/value cache', (runtime) => {
  for (const setup of SETUPS) {
    it(`does what its model does: ${JSON.stringify(setup)}`, () => {
      const used = runtime.memory.used;
      fc.assert(
        fc.property(fc.commands(COMMANDS, { maxCommands: 40 }), fc.nat(1e6), (commands, seed) => {
          const world: World = { runtime, setup, random: new Random(seed), pairs: [], snapshots: [] };
          try {
            fc.modelRun(() => ({ model: {}, real: world }), commands);
          } finally {
            for (const { cache } of world.pairs) cache.dispose();
          }
          expect(runtime.memory.used).toBe(used);
        }),
        { numRuns: 100 },
      );
    });
  }

  it('holds no more than its pages, in a ring for ever', () => {
    const cache = new KeyValueCache(runtime, {
      numKeyValueHeads: 1,
      headDim: 4,
      ring: { sinkTokens: 2, window: 200 },
    });
    const token = { data: [1, 2, 3, 4], shape: [1, 1, 1, 4] };
    let most = 0;
    for (let i = 0; i < 2000; i++) {
      cache.append(0, token, token);
      most = Math.max(most, cache.bytes);
    }
    expect(cache.lengths()).toEqual([2000]);
    // First page, window in at most three; keys, and values filled up to 8 channels.
    expect(most).toBeLessThanOrEqual(4 * 128 * (4 + 8) * 4);
    cache.dispose();
  });

  it('has the bits of attention over tensors, whether pages are thought to be in a processor cache or not', () => {
    const random = new Random(13);
    const [keyHeads, length, dim] = [4, 1100, 64]; // 2.25 MB
    const tensor = normalTensors(random, dim);
    const [keys, values] = [tensor(keyHeads, length), tensor(keyHeads, length)];
    const cache = new KeyValueCache(runtime, { numKeyValueHeads: keyHeads, headDim: dim, capacity: length });
    cache.append(0, keys, values);
    const shapes = [
      [4, 1],
      [4, 2],
      [8, 1],
      [16, 1],
      [4, 9],
    ] as const;
    for (const others of [0, 16e6]) {
      const filler = runtime.empty([others]);
      for (const [heads, rows] of shapes) {
        const query = tensor(heads, rows);
        const { output } = cache.attend(0, query);
        const expected = scaledDotProductAttention(query, keys, values, { causal: 'lower-right', runtime });
        expect(output.data).toEqual(expected.output.data);
        output.dispose();
        expected.dispose();
      }
      filler.dispose();
    }
    cache.dispose();
  });

  it('shares pages with a fork until one of them writes', () => {
    const cache = make(runtime, { storage: 'float32' }, 1);
    const tokens = (length: number) =>
      [6, 5].map((dim) => ({ data: new Float32Array(2 * length * dim), shape: [1, 2, length, dim] }));
    const [keys, values] = tokens(130);
    cache.append(0, keys!, values!);
    const before = cache.bytes;
    const other = cache.fork();
    expect(cache.bytes).toBe(before);
    const [key, value] = tokens(1);
    other.append(0, key!, value!);
    expect(cache.bytes).toBe(before * 1.5);
    cache.dispose();
    expect(other.bytes).toBe(before);
    other.dispose();
    expect(other.disposed).toBe(true);
  });

  it('keeps heads apart, which run together over a page: masks of their own, keys that are not finite', () => {
    const random = new Random(17);
    const [heads, keyHeads, length, dim] = [6, 3, 300, 8];
    const tensor = normalTensors(random, dim);
    const [keys, values, query] = [tensor(keyHeads, length), tensor(keyHeads, length), tensor(heads, 2)];
    const spoilt = 40;
    for (let d = 0; d < dim; d++) values.data[(1 * length + spoilt) * dim + d] = d % 2 ? NaN : Infinity;
    const cache = new KeyValueCache(runtime, { numKeyValueHeads: keyHeads, headDim: dim });
    cache.append(0, keys, values);
    // Head 2 removes the spoilt key for its second query only, head 3 for both; head 4 has no key, head 5 none of a page.
    const kept = (head: number, row: number, key: number) =>
      !(key === spoilt && (head === 3 || (head === 2 && row === 1))) &&
      head !== 4 &&
      !(head === 5 && key >= 128 && key < 256);
    const data = Uint8Array.from({ length: heads * 2 * length }, (_, i) =>
      kept(Math.floor(i / (2 * length)), Math.floor(i / length) % 2, i % length) ? 1 : 0,
    );
    const mask = { data, shape: [1, heads, 2, length] };
    const cached = cache.attend(0, query, { mask });
    const plain = scaledDotProductAttention(query, keys, values, { mask, causal: 'lower-right', runtime });
    expect(cached.output.toFloat32Array()).toEqual(plain.output.toFloat32Array());
    const finite = Array.from({ length: 2 * heads }, (_, row) =>
      cached.output.data.subarray(row * dim, (row + 1) * dim).every(Number.isFinite),
    );
    expect(finite.indexOf(false)).toBe(4); // the first query of head 2
    expect(finite.lastIndexOf(false)).toBe(4);
    for (const one of [cached, plain, cache]) one.dispose();
  });

  it('gives the options of attention their meaning', () => {
    const random = new Random(7);
    const [heads, keyHeads, length, dim] = [4, 2, 150, 8];
    const tensor = normalTensors(random, dim);
    const [keys, values, query] = [tensor(keyHeads, length), tensor(keyHeads, length), tensor(heads, 3)];
    const options = {
      scale: 0.3,
      softcap: 5,
      alibi: true,
      sinks: [0.1, 0.2, 0.3, 0.4],
      bias: { data: random.array(3 * length, 'normal'), shape: [3, length] },
      mask: { data: Uint8Array.from({ length }, (_, j) => (j % 3 === 0 ? 0 : 1)), shape: [1, length] },
      window: { left: 100, right: 0 },
      returnLogSumExp: true,
      returnWeights: true,
    } as const;
    const cache = new KeyValueCache(runtime, { numKeyValueHeads: keyHeads, headDim: dim });
    cache.append(0, keys, values);
    const cached = cache.attend(0, query, options);
    const plain = scaledDotProductAttention(query, keys, values, {
      ...options,
      causal: 'lower-right',
      queryOffset: length - 3,
      runtime,
    });
    for (const name of ['output', 'weights', 'logSumExp'] as const) {
      expect(cached[name].toFloat32Array()).toEqual(plain[name].toFloat32Array());
    }
    for (const one of [cached, plain, cache]) one.dispose();
  });

  it('never lets a token leak that is padding or lies behind, whatever it holds', () => {
    for (const storage of ['float32', 'float16', 'int8'] as const) {
      const cache = new KeyValueCache(runtime, { numKeyValueHeads: 1, headDim: 4, batch: 2, storage });
      const bad = [NaN, Infinity, -Infinity, 1];
      const good = [1, 2, 3, 4];
      const data = Float32Array.from([good, bad, good, good].flat());
      cache.append(0, { data, shape: [2, 1, 2, 4] }, { data, shape: [2, 1, 2, 4] }, { lengths: [1, 2] });
      const query = { data: Float32Array.from([good, good].flat()), shape: [2, 1, 1, 4] };
      const result = cache.attend(0, query);
      const output = result.output.toFloat32Array();
      for (const [i, x] of [...good, ...good].entries()) expect(Math.abs(output[i]! - x)).toBeLessThan(0.02);
      result.dispose();
      // A token that is not finite spoils those who see it, and after a crop nobody.
      cache.append(0, { data, shape: [2, 1, 2, 4] }, { data, shape: [2, 1, 2, 4] });
      const spoilt = cache.attend(0, query);
      expect(spoilt.output.toFloat32Array().subarray(0, 4).some(Number.isNaN)).toBe(true);
      expect(spoilt.output.toFloat32Array().subarray(4).every(Number.isFinite)).toBe(true);
      spoilt.dispose();
      cache.crop([1, 2]);
      const clean = cache.attend(0, query);
      expect(clean.output.toFloat32Array()).toEqual(output);
      clean.dispose();
      cache.dispose();
    }
  });
});

/** A layer with weights, and an input for it. */
function layerOf(
  runtime: Runtime,
  keyHeads: number,
  extra: object,
): { layer: MultiHeadAttention; x: Float32Array } {
  const [width, heads] = [48, 6];
  const random = new Random(keyHeads);
  const layer = new MultiHeadAttention(runtime, {
    ...{ embedDim: width, numHeads: heads, numKeyValueHeads: keyHeads, causal: true },
    ...extra,
  });
  const inner = keyHeads * (width / heads);
  const matrix = (rows: number) => ({
    data: random.array(rows * width, 'uniform').map((x) => (x - 0.5) / 3),
    shape: [rows, width],
  });
  const vector = (length: number) => ({ data: random.array(length, 'uniform'), shape: [length] });
  layer.load({
    ...{ 'q_proj.weight': matrix(width), 'k_proj.weight': matrix(inner), 'v_proj.weight': matrix(inner) },
    ...{ 'q_proj.bias': vector(width), 'k_proj.bias': vector(inner), 'v_proj.bias': vector(inner) },
    ...{ 'o_proj.weight': matrix(width), 'o_proj.bias': vector(width) },
  });
  return { layer, x: random.array(LENGTH * width, 'uniform').map((value) => 4 * value - 2) };
}

const LENGTH = 270;

describe('bits of a layer with a cache (simd)', async () => {
  const runtime = await createRuntime({ build: 'simd' });
  const cases: [string, number, object, Partial<KeyValueCacheOptions>][] = [
    ['as many key heads as heads', 6, {}, {}],
    ['grouped heads, rotary', 2, { rotary: {} }, {}],
    ['one key head, interleaved rotary, softcap', 1, { rotary: { interleaved: true }, softcap: 10 }, {}],
    ['a window', 3, { window: { left: 40, right: 0 } }, {}],
    ['a ring', 2, { rotary: {} }, { ring: { sinkTokens: 5, window: 90 } }],
  ];
  for (const [title, keyHeads, extra, cacheOptions] of cases) {
    it(`${title}: all at once, in chunks and token by token are the same`, async () => {
      const { layer, x } = layerOf(runtime, keyHeads, extra);
      const ring = cacheOptions.ring;
      const mask = Uint8Array.from({ length: LENGTH * LENGTH }, (_, at) => {
        const [i, j] = [Math.floor(at / LENGTH), at % LENGTH];
        return !ring || j < ring.sinkTokens! || j > i - ring.window ? 1 : 0;
      });
      const whole = layer.forward(
        { data: x, shape: [1, LENGTH, 48] },
        ring ? { mask: { data: mask, shape: [LENGTH, LENGTH] } } : {},
      );
      const expected = whole.output.toFloat32Array();
      whole.dispose();
      for (const chunk of [LENGTH, 1, 7, 8, 129]) {
        const cache = new KeyValueCache(runtime, {
          numKeyValueHeads: keyHeads,
          headDim: 8,
          batch: 2,
          ...cacheOptions,
        });
        const output = new Float32Array(expected.length);
        for (let from = 0; from < LENGTH; from += chunk) {
          const to = Math.min(LENGTH, from + chunk);
          // Another text in the first row, and of another length.
          const other = new Float32Array((to - from) * 48).fill(0.5);
          const both = Float32Array.from([...other, ...x.subarray(from * 48, to * 48)]);
          const input = { data: both, shape: [2, to - from, 48] };
          const lengths = [from % 2, to - from].map((count) => Math.min(count, to - from));
          const result =
            chunk === 7
              ? await layer.forwardAsync(input, { cache, lengths })
              : layer.forward(input, { cache, lengths });
          output.set(result.output.toFloat32Array().subarray((to - from) * 48), from * 48);
          result.dispose();
        }
        expect(output, `chunks of ${chunk}`).toEqual(expected);
        cache.dispose();
      }
      layer.dispose();
    });
  }

  it('goes on where a snapshot was taken', () => {
    const { layer, x } = layerOf(runtime, 2, { rotary: {} });
    const options = { numKeyValueHeads: 2, headDim: 8 };
    const [first, second] = [new KeyValueCache(runtime, options), new KeyValueCache(runtime, options)];
    layer.forward({ data: x.subarray(0, 200 * 48), shape: [1, 200, 48] }, { cache: first }).dispose();
    second.restore(first.snapshot());
    const token = { data: x.subarray(200 * 48, 201 * 48), shape: [1, 1, 48] };
    const outputs = [first, second].map((cache) => layer.forward(token, { cache }).output.toFloat32Array());
    expect(outputs[1]).toEqual(outputs[0]);
    expect(second.snapshot()).toEqual(first.snapshot());
    for (const one of [first, second, layer]) one.dispose();
  });
});

describe('bad use of a cache', async () => {
  const runtime = await createRuntime();
  const options = { numKeyValueHeads: 2, headDim: 4, capacity: 10 } as const;
  const tokens = (length: number, dim = 4) => ({
    data: new Float32Array(2 * length * dim).fill(0.5),
    shape: [1, 2, length, dim],
  });
  const query = (length = 1) => ({
    data: new Float32Array(2 * length * 4).fill(1),
    shape: [1, 2, length, 4],
  });

  const constructions: [string, object][] = [
    ['layers', { layers: 0 }],
    ['batch', { batch: 1.5 }],
    ['numKeyValueHeads', { numKeyValueHeads: NaN }],
    ['headDim', { headDim: -1 }],
    ['valueHeadDim', { valueHeadDim: '4' }],
    ['capacity', { capacity: 0 }],
    ['storage', { storage: 'float8' }],
    ['ring.window', { capacity: undefined, ring: { window: 0 } }],
    ['ring.sinkTokens', { capacity: undefined, ring: { window: 4, sinkTokens: -1 } }],
    ['capacity', { ring: { window: 4 } }],
    ['rotaryDim', { rotary: { rotaryDim: 3 } }],
  ];
  it.each(constructions)('constructor: %s', (argument, wrong) => {
    const make = () => new KeyValueCache(runtime, { ...options, ...wrong });
    expect(make).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT', argument }));
  });

  const uses: [string, string, string | undefined, (cache: KeyValueCache) => unknown][] = [
    ['past the capacity', 'INVALID_STATE', 'keys', (cache) => cache.append(0, tokens(8), tokens(8))],
    ['a wrong layer', 'INVALID_ARGUMENT', 'layer', (cache) => cache.append(1, tokens(1), tokens(1))],
    [
      'a layer that is no number',
      'INVALID_ARGUMENT',
      'layer',
      (cache) => cache.attend('0' as never, query()),
    ],
    ['keys of a wrong size', 'INVALID_SHAPE', 'keys', (cache) => cache.append(0, tokens(1, 3), tokens(1))],
    ['fewer values', 'INVALID_SHAPE', 'values', (cache) => cache.append(0, tokens(2), tokens(1))],
    ['no keys', 'INVALID_ARGUMENT', 'keys', (cache) => cache.append(0, undefined as never, tokens(1))],
    [
      'booleans as values',
      'INVALID_DTYPE',
      'values',
      (cache) => cache.append(0, tokens(1), { data: new Uint8Array(8), shape: [1, 2, 1, 4] }),
    ],
    [
      'wrong lengths',
      'INVALID_ARGUMENT',
      'lengths[0]',
      (cache) => cache.append(0, tokens(1), tokens(1), { lengths: [2] }),
    ],
    [
      'too many lengths',
      'INVALID_SHAPE',
      'lengths',
      (cache) => cache.append(0, tokens(1), tokens(1), { lengths: [1, 1] }),
    ],
    ['more queries than tokens', 'INVALID_STATE', 'query', (cache) => cache.attend(0, query(5))],
    [
      'a query of three heads',
      'INVALID_SHAPE',
      'query',
      (cache) => cache.attend(0, { data: new Float32Array(12), shape: [1, 3, 1, 4] }),
    ],
    [
      'a mask that does not fit',
      'INVALID_SHAPE',
      'mask',
      (cache) => cache.attend(0, query(), { mask: { data: new Uint8Array(9), shape: [9] } }),
    ],
    ['a crop to more', 'INVALID_ARGUMENT', 'length', (cache) => cache.crop(4)],
    ['a crop to less than nothing', 'INVALID_ARGUMENT', 'length[0]', (cache) => cache.crop(-1)],
    ['a crop of other rows', 'INVALID_SHAPE', 'length', (cache) => cache.crop([1, 1])],
    ['a fork of a row that is not', 'INVALID_ARGUMENT', 'rows[0]', (cache) => cache.fork([1])],
    ['a fork of no rows', 'INVALID_SHAPE', 'rows', (cache) => cache.fork([])],
    ['too many rows', 'INVALID_SHAPE', 'rows', (cache) => cache.reorder([0, 0])],
    ['no snapshot', 'INVALID_FILE', 'snapshot', (cache) => cache.restore('x' as never)],
  ];
  it.each(uses)('%s: %s', (_, code, argument, use) => {
    const cache = new KeyValueCache(runtime, options);
    cache.append(0, tokens(3), tokens(3));
    const before = cache.snapshot();
    const used = runtime.memory.used;
    expect(() => use(cache)).toThrow(expect.objectContaining({ code, argument }));
    expect(cache.snapshot()).toEqual(before);
    expect(runtime.memory.used).toBe(used);
    cache.dispose();
  });

  it('after disposal, all but disposal', () => {
    const cache = new KeyValueCache(runtime, options);
    cache.dispose();
    cache.dispose();
    const calls = [
      () => cache.append(0, tokens(1), tokens(1)),
      () => cache.attend(0, query()),
      () => cache.fork(),
      () => cache.reorder([0]),
      () => cache.crop(0),
      () => cache.reset(),
      () => cache.snapshot(),
      () => cache.restore(new Uint8Array(0)),
      () => cache.lengths(),
    ];
    for (const call of calls) expect(call).toThrow(expect.objectContaining({ code: 'DISPOSED' }));
  });

  it('a ring says no to what its moving keys cannot mean', () => {
    const cache = new KeyValueCache(runtime, { numKeyValueHeads: 2, headDim: 4, ring: { window: 130 } });
    cache.append(0, tokens(3), tokens(3));
    for (const [argument, given] of Object.entries({
      alibi: true,
      window: { left: 1 },
      returnWeights: true,
      causal: false,
    })) {
      expect(() => cache.attend(0, query(), { [argument]: given })).toThrow(
        expect.objectContaining({ code: 'UNSUPPORTED', argument }),
      );
    }
    for (let i = 0; i < 4; i++) cache.append(0, tokens(128), tokens(128));
    expect(() => cache.crop(140)).toThrow(
      expect.objectContaining({ code: 'INVALID_STATE', argument: 'length' }),
    );
    expect(cache.lengths()).toEqual([515]);
    cache.dispose();
  });

  it('a snapshot may come from anywhere: another realm, shared memory, a Buffer', () => {
    const cache = new KeyValueCache(runtime, options);
    cache.append(0, tokens(3), tokens(3));
    const bytes = cache.snapshot();
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
    const foreign = runInNewContext(`new Uint8Array(${bytes.length})`) as Uint8Array;
    for (const copy of [shared, foreign]) copy.set(bytes);
    const decode = vi.spyOn(TextDecoder.prototype, 'decode');
    for (const snapshot of [shared, foreign, Buffer.from(bytes)]) {
      cache.reset();
      cache.restore(snapshot);
      expect(cache.snapshot()).toEqual(bytes);
    }
    // Browsers refuse to decode from shared memory, which Node does not.
    expect(decode.mock.calls.every(([view]) => (view as Uint8Array).buffer instanceof ArrayBuffer)).toBe(
      true,
    );
    decode.mockRestore();
    cache.dispose();
  });

  it('a damaged snapshot of any kind leaves the cache as it was', () => {
    const cache = new KeyValueCache(runtime, options);
    cache.append(0, tokens(3), tokens(3));
    const good = cache.snapshot();
    const refuse = (bytes: Uint8Array) => {
      expect(() => cache.restore(bytes)).toThrow(
        expect.objectContaining({ code: 'INVALID_FILE', argument: 'snapshot' }),
      );
    };
    for (const length of [0, 7, 8, 11, 12, 15, 16, 40, good.length - 5, good.length - 1])
      refuse(good.subarray(0, length));
    for (let at = 0; at < good.length; at += 41) {
      const bytes = good.slice();
      bytes[at]! ^= 1 << (at % 8);
      refuse(bytes);
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), refuse));
    for (const other of [
      { headDim: 8 },
      { batch: 2 },
      { layers: 2 },
      { storage: 'int8' },
      { numKeyValueHeads: 1 },
    ] as const) {
      const different = new KeyValueCache(runtime, { ...options, ...other });
      refuse(different.snapshot());
      different.dispose();
    }
    const small = new KeyValueCache(runtime, { ...options, capacity: 2 });
    expect(() => small.restore(good)).toThrow(expect.objectContaining({ code: 'INVALID_FILE' }));
    expect(cache.snapshot()).toEqual(good);
    small.dispose();
    cache.dispose();
  });

  it('out of memory in the middle of a batch: nothing is appended, and the cache works on', async () => {
    const small = await createRuntime({ maximumMemory: 4 << 20 });
    const cache = new KeyValueCache(small, { numKeyValueHeads: 8, headDim: 64, batch: 2 });
    const tensor = (length: number) => {
      const made = small.empty([2, 8, length, 64]);
      made.data.fill(0.5);
      return made;
    };
    const token = tensor(1);
    cache.append(0, token, token);
    const { used } = small.memory;
    for (let i = 0; i < 20; i++) {
      const many = tensor(60);
      try {
        cache.append(0, many, many);
      } catch (error) {
        expect(error).toMatchObject({ code: 'OUT_OF_MEMORY' });
        many.dispose();
        break;
      }
      many.dispose();
    }
    const [length] = cache.lengths();
    expect(cache.lengths()).toEqual([length, length]);
    cache.crop(1);
    expect(small.memory.used).toBe(used);
    cache.append(0, token, token);
    small.dispose();
  });

  it('a layer whose call fails takes its tokens back', async () => {
    const { layer, x } = layerOf(runtime, 2, {});
    const cache = new KeyValueCache(runtime, { numKeyValueHeads: 2, headDim: 8, capacity: 20 });
    const input = (length: number) => ({ data: x.subarray(0, length * 48), shape: [1, length, 48] });
    layer.forward(input(5), { cache }).dispose();
    const seen = () => {
      const result = cache.attend(0, { data: x.slice(0, 48), shape: [1, 6, 1, 8] });
      const output = result.output.toFloat32Array();
      result.dispose();
      return output;
    };
    const before = seen();
    const mask = { data: new Uint8Array(3), shape: [3] };
    expect(() => layer.forward(input(2), { cache, mask })).toThrow(
      expect.objectContaining({ argument: 'mask' }),
    );
    expect(() => layer.forward(input(16), { cache })).toThrow(
      expect.objectContaining({ code: 'INVALID_STATE' }),
    );
    expect(() => layer.forward(input(1), { cache, cacheLayer: 3 })).toThrow(
      expect.objectContaining({ argument: 'layer' }),
    );
    expect(() => layer.forward(input(1), { cache: {} as never })).toThrow(
      expect.objectContaining({ argument: 'cache' }),
    );
    expect(() => layer.forward(input(1), { cache, causal: true })).toThrow(
      expect.objectContaining({ argument: 'causal' }),
    );
    await expect(layer.forwardAsync(input(2), { cache, signal: AbortSignal.abort() })).rejects.toThrow();
    expect(cache.lengths()).toEqual([5]);
    expect(seen()).toEqual(before);
    const running = layer.forwardAsync(input(3), { cache });
    expect(() => cache.reset()).toThrow(expect.objectContaining({ code: 'INVALID_STATE' }));
    (await running).dispose();
    expect(cache.lengths()).toEqual([8]);
    for (const one of [cache, layer]) one.dispose();
  });

  it('attendAsync gives the same bits, and lets nobody change the cache until it is over', async () => {
    const random = new Random(11);
    const cache = new KeyValueCache(runtime, {
      ...{ layers: 1, numKeyValueHeads: 2, headDim: 16, capacity: 2001, rotary: {} },
    });
    const tensor = (heads: number) => ({
      data: random.array(heads * 2000 * 16, 'normal'),
      shape: [1, heads, 2000, 16],
    });
    cache.append(0, tensor(2), tensor(2));
    const query = tensor(8);
    const key = { data: random.array(32, 'normal'), shape: [1, 2, 1, 16] };
    const expected = cache.attend(0, query);
    const { used } = runtime.memory;

    const seen: number[] = [];
    const running = cache.attendAsync(0, query, { onProgress: ({ done, total }) => seen.push(done / total) });
    expect(() => cache.crop(1)).toThrow(expect.objectContaining({ code: 'INVALID_STATE' }));
    expect(() => cache.dispose()).toThrow(expect.objectContaining({ code: 'INVALID_STATE' }));
    expect(() => cache.append(0, key, key)).toThrow(expect.objectContaining({ code: 'INVALID_STATE' }));
    const beside = cache.attendAsync(0, key); // reading is not refused
    const fork = cache.fork();
    (await beside).dispose();
    fork.dispose();
    const result = await running;
    expect(result.output.data).toEqual(expected.output.data);
    expect(seen.at(-1)).toBe(1);
    result.dispose();

    const control = new AbortController();
    const stopped = cache.attendAsync(0, query, { signal: control.signal });
    control.abort(new Error('enough'));
    await expect(stopped).rejects.toThrow('enough');
    await expect(cache.attendAsync(1, query)).rejects.toMatchObject({ argument: 'layer' });
    expect(runtime.memory.used).toBe(used);
    cache.attend(0, query).dispose();
    for (const one of [expected, cache]) one.dispose();
  });
});
