// Kernel packs: loaded with a runtime, after it, in threads that run and in workers; refused, missing, lost.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { AttentionError, createRuntime, softmax } from 'wasm-attention';
import type { KernelPack, Runtime, RuntimeOptions } from 'wasm-attention';
import { benchmark, measurePeak, readPages, readTensor, runPeak } from 'wasm-attention/benchmark';
import { createRuntime as createSlimRuntime } from 'wasm-attention/slim';
import { createWorkerRuntime } from 'wasm-attention/worker-runtime';
import type { WorkerRuntimeOptions } from 'wasm-attention/worker-runtime';
import { KeyValueCache } from 'wasm-attention';
import { builds } from '../support/runtimes.js';

const file = (name: string) => readFileSync(new URL(`../../dist/${name}`, import.meta.url));
const bytes = { simd: file('benchmark-simd.wasm'), relaxed: file('benchmark-relaxed.wasm') };
const packOf = (wasm: object) => ({ name: 'benchmark', wasm }) as KernelPack;

const open: { dispose(): void }[] = [];
afterEach(() => {
  vi.unstubAllGlobals();
  for (const runtime of open.splice(0)) runtime.dispose();
});

async function create(options: RuntimeOptions = {}): Promise<Runtime> {
  const runtime = await createRuntime(options);
  open.push(runtime);
  if (runtime.threads) runtime.threads.leastCost = 0;
  return runtime;
}

const threads = (count = 3) => ({ count, required: true });

/** Bytes that the second pack reads, on all threads. */
const read = (runtime: Runtime) => {
  const tensor = runtime.empty([1 << 20]);
  const result = readTensor(tensor);
  tensor.dispose();
  return result;
};

const rows = Float32Array.from({ length: 400 * 30 }, (_, i) => Math.sin(i));
const softmaxOf = (runtime: Runtime) => {
  const result = softmax({ data: rows, shape: [400, 30] }, { runtime });
  const copy = result.toFloat32Array();
  result.dispose();
  return copy;
};

describe.each(builds)('a pack (%s)', (build) => {
  it.each([
    ['one thread', undefined],
    ['three threads', threads()],
  ])('is there from the start, with %s', async (_, wanted) => {
    const runtime = await create({ build, packs: [benchmark], threads: wanted });
    expect(runtime.info.packs).toEqual(['attention', 'benchmark']);
    expect(read(runtime)).toBe(1 << 22);
    expect(measurePeak(runtime, 2)).toBeGreaterThan(0);
    expect(runPeak(runtime, 10)).toBe(960);
  });

  it('can be loaded later, by threads that run already, and between their works', async () => {
    const alone = await create({ build });
    const expected = softmaxOf(alone);
    const runtime = await create({ build, threads: threads() });
    expect(softmaxOf(runtime)).toEqual(expected);
    const loading = runtime.load(benchmark);
    // Workers on their way to their event loops, in it, and on their way back.
    for (let i = 0; i < 20; i++) expect(softmaxOf(runtime)).toEqual(expected);
    await loading;
    for (let i = 0; i < 20; i++) {
      expect(read(runtime)).toBe(1 << 22);
      expect(softmaxOf(runtime)).toEqual(expected);
    }
    expect(runtime.info).toMatchObject({ packs: ['attention', 'benchmark'], threads: 3 });
  });

  it('is used by the workers themselves', async () => {
    const runtime = await create({ build, threads: threads(2) });
    await runtime.load(benchmark);
    const [size, tiles] = [1 << 16, 64];
    const memory = runtime.linearMemory.allocate(size * tiles);
    const scratch = runtime.linearMemory.allocate(2 * 64);
    runtime.linearMemory.words.integers.fill(0, scratch / 4, scratch / 4 + 32);
    runtime.linearMemory.words.integers.fill(1, memory / 4, memory / 4 + (size * tiles) / 4);
    let own = 0;
    const slow = {
      // The caller takes one claim, and looks away until the other has taken the rest.
      readMemory(from: number, length: number, space: number, tileFrom: number, tileTo: number) {
        own += tileTo - tileFrom;
        const end = performance.now() + 200;
        while (performance.now() < end);
        runtime.kernelsOf('benchmark').readMemory(from, length, space, tileFrom, tileTo);
      },
    };
    const args = [memory, size * tiles] as const;
    const work = { pack: 'benchmark', kernel: 'readMemory', args, tiles, scratchBytes: 64, cost: 1 } as const;
    runtime.threads!.run(slow as never, work, scratch, 64, 0, tiles);
    expect(own).toBeLessThan(tiles / 2);
    // The worker's scratch holds the sums of its last claim.
    expect(runtime.linearMemory.words.integers[scratch / 4 + 16]).toBeGreaterThan(0);
  });
});

it('is missing until it is loaded: an error says which, and what to do', async () => {
  const runtime = await create();
  expect(runtime.info.packs).toEqual(['attention']);
  const tensor = runtime.empty([1000]);
  const cache = new KeyValueCache(runtime, { numKeyValueHeads: 1, headDim: 8 });
  cache.append(
    0,
    { data: rows.slice(0, 80), shape: [1, 1, 10, 8] },
    { data: rows.slice(0, 80), shape: [1, 1, 10, 8] },
  );
  const { used } = runtime.memory;
  for (const call of [() => runPeak(runtime), () => readTensor(tensor), () => readPages(cache)]) {
    const error = (() => {
      try {
        return call();
      } catch (error) {
        return error;
      }
    })();
    expect(error).toBeInstanceOf(AttentionError);
    expect(error).toMatchObject({ code: 'INVALID_STATE', argument: 'benchmark' });
    expect((error as Error).message).toMatch(
      /'benchmark' is not loaded.*runtime\.load\(benchmark\).*wasm-attention\/benchmark/,
    );
  }
  expect(runtime.memory.used).toBe(used);
  await runtime.load(benchmark);
  expect(readTensor(tensor)).toBe(3968); // 4000 bytes, to a multiple of 128
  expect(readPages(cache)).toBeGreaterThan(2 * 10 * 8 * 4);
});

it('is loaded once, however often and however many ask', async () => {
  const simd = vi.fn(() => bytes.simd);
  const pack = packOf({ simd });
  const runtime = await create({ build: 'simd', threads: threads(2) });
  await Promise.all([runtime.load(pack), runtime.load(pack), runtime.load(pack)]);
  await runtime.load(pack);
  expect(simd).toHaveBeenCalledTimes(1);
  expect(runtime.info.packs).toEqual(['attention', 'benchmark']);
  expect(read(runtime)).toBe(1 << 22);
});

it('may be a compiled module on one thread, and needs bytes for more', async () => {
  const module = await WebAssembly.compile(bytes.simd);
  const alone = await create({ build: 'simd', packs: [packOf({ simd: module })] });
  expect(read(alone)).toBe(1 << 22);
  const shared = await create({ build: 'simd', threads: threads(2) });
  await expect(shared.load(packOf({ simd: module }))).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  await shared.load(benchmark);
  expect(read(shared)).toBe(1 << 22);
});

it('may be supplied by the program, beside the builds of attention', async () => {
  const runtime = await createSlimRuntime({
    wasm: { simd: file('simd.wasm') },
    packs: [packOf({ simd: bytes.simd })],
  });
  open.push(runtime);
  expect(read(runtime)).toBe(1 << 22);
});

describe('a pack that cannot be loaded', () => {
  const changed = Buffer.from(bytes.simd);
  changed[changed.length - 1]! ^= 1; // the last character of the identity
  const failures: [string, unknown, object][] = [
    ['another version', packOf({ simd: changed }), { code: 'INVALID_FILE', argument: 'benchmark.wasm.simd' }],
    ['another pack', packOf({ simd: file('simd.wasm') }), { code: 'INVALID_FILE' }],
    ['another build', packOf({ simd: bytes.relaxed }), { code: 'INVALID_FILE' }],
    ['no whole module', packOf({ simd: bytes.simd.subarray(0, 500) }), { code: 'INVALID_FILE' }],
    [
      'without the build',
      packOf({ relaxed: bytes.relaxed }),
      { code: 'INVALID_ARGUMENT', argument: 'benchmark.wasm.simd' },
    ],
    ['no pack', 42, { code: 'INVALID_ARGUMENT', argument: 'pack' }],
    ['without builds', { name: 'benchmark' }, { code: 'INVALID_ARGUMENT', argument: 'benchmark.wasm.simd' }],
    ['without a name', { wasm: bytes }, { code: 'INVALID_ARGUMENT', argument: 'pack.name' }],
    [
      'with an unknown property',
      { ...benchmark, url: '/' },
      { code: 'INVALID_ARGUMENT', argument: 'pack.url' },
    ],
  ];

  it.each(failures)('(%s) leaves the runtime as it was', async (_, pack, expected) => {
    for (const wanted of [undefined, threads(2)]) {
      const runtime = await create({ build: 'simd', threads: wanted });
      const before = softmaxOf(runtime);
      const { used } = runtime.memory;
      await expect(runtime.load(pack as KernelPack)).rejects.toMatchObject(expected);
      expect(runtime.memory.used).toBe(used);
      expect(runtime.info.packs).toEqual(['attention']);
      expect(softmaxOf(runtime)).toEqual(before);
      await runtime.load(benchmark);
      expect(read(runtime)).toBe(1 << 22);
    }
  });

  it('fails the making of a runtime', async () => {
    const options = { build: 'simd', packs: [benchmark, packOf({ simd: changed })] } as const;
    // The same name: the first one counts, as in `load`.
    (await createRuntime(options)).dispose();
    await expect(createRuntime({ ...options, packs: [packOf({ simd: changed })] })).rejects.toMatchObject({
      code: 'INVALID_FILE',
    });
    await expect(createRuntime({ packs: benchmark as never })).rejects.toMatchObject({ argument: 'packs' });
    await expect(createRuntime({ packs: [null as never] })).rejects.toMatchObject({ argument: 'packs[0]' });
  });

  it('by a thread is told, and the threads start again without it', async () => {
    const script = new URL('../../dist/thread.js', import.meta.url);
    // A worker that cannot make an instance of the second module.
    const failing = `
      const { Instance } = WebAssembly;
      let made = 0;
      WebAssembly.Instance = function (module, imports) {
        if (++made === 2) throw new RangeError('out of memory, says the test');
        return new Instance(module, imports);
      };
      import(${JSON.stringify(script.href)});`;
    let started = 0;
    const worker = () =>
      ++started === 1 ? new Worker(failing, { eval: true }) : new Worker(fileURLToPath(script));
    const runtime = await create({ build: 'simd', threads: { count: 2, required: true, worker } });
    const expected = softmaxOf(runtime);
    await expect(runtime.load(benchmark)).rejects.toMatchObject({
      code: 'WORKER_LOST',
      message: expect.stringContaining('says the test') as string,
    });
    expect(runtime.info.packs).toEqual(['attention']);
    expect(softmaxOf(runtime)).toEqual(expected);
    await vi.waitFor(() => expect(runtime.info.threads).toBe(2), 10_000);
    await runtime.load(benchmark);
    expect(read(runtime)).toBe(1 << 22);
    expect(softmaxOf(runtime)).toEqual(expected);
  });
});

it('is there again after workers were lost, with those loaded while others started', async () => {
  const workers: Worker[] = [];
  const worker = () => {
    const one = new Worker(fileURLToPath(new URL('../../dist/thread.js', import.meta.url)));
    workers.push(one);
    return one;
  };
  const runtime = await create({ threads: { count: 2, required: true, worker } });
  await runtime.load(benchmark);
  await workers[0]!.terminate();
  await vi.waitFor(() => expect(runtime.info.threads).toBe(1), 10_000);
  expect(read(runtime)).toBe(1 << 22);
  await vi.waitFor(() => expect(runtime.info.threads).toBe(2), 10_000);
  expect(read(runtime)).toBe(1 << 22);

  const late = await create({ threads: { count: 2, required: true, worker } });
  await workers.at(-1)!.terminate();
  await vi.waitFor(() => expect(late.info.threads).toBe(1), 10_000);
  await late.load(benchmark); // while they start
  await vi.waitFor(() => expect(late.info.threads).toBe(2), 10_000);
  expect(read(late)).toBe(1 << 22);
  expect(late.threads!.count).toBe(2); // nobody was lost over it
});

it('cannot be loaded after the end, nor across it', async () => {
  for (const wanted of [undefined, threads(2)]) {
    const runtime = await create({ threads: wanted });
    const loading = runtime.load(benchmark);
    runtime.dispose();
    await expect(loading).rejects.toMatchObject({ code: 'DISPOSED' });
    await expect(runtime.load(benchmark)).rejects.toMatchObject({ code: 'DISPOSED' });
  }
});

it('does not keep a program running', () => {
  const program = `
    import { createRuntime } from ${JSON.stringify(new URL('../../dist/index.mjs', import.meta.url).href)};
    import { benchmark, readTensor } from ${JSON.stringify(new URL('../../dist/benchmark.mjs', import.meta.url).href)};
    const runtime = await createRuntime({ threads: 2 });
    await runtime.load(benchmark);
    console.log(readTensor(runtime.empty([1 << 20])), runtime.info.threads);`;
  const { stdout, status } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  expect([stdout, status]).toEqual(['4194304 2\n', 0]);
});

describe('in a worker runtime', () => {
  const createThere = async (options: WorkerRuntimeOptions = {}) => {
    const runtime = await createWorkerRuntime(options);
    open.push(runtime);
    return runtime;
  };

  it.each([
    ['embedded', benchmark],
    ['bytes', packOf({ simd: bytes.simd })],
    ['an address', packOf({ simd: `data:application/wasm;base64,${bytes.simd.toString('base64')}` })],
    ['a promise of a module', packOf({ simd: WebAssembly.compile(bytes.simd) })],
  ])('is loaded from the start or later (%s)', async (_, pack) => {
    const first = await createThere({ build: 'simd', packs: [pack] });
    expect(first.info.packs).toEqual(['attention', 'benchmark']);
    expect(await first.measurePeak(2)).toBeGreaterThan(0);
    const runtime = await createThere({ build: 'simd' });
    await expect(runtime.measurePeak()).rejects.toMatchObject({
      code: 'INVALID_STATE',
      argument: 'benchmark',
    });
    await Promise.all([runtime.load(pack), runtime.load(pack)]);
    await runtime.load(pack);
    expect(runtime.info.packs).toEqual(['attention', 'benchmark']);
    expect(await runtime.measurePeak(2)).toBeGreaterThan(0);
  });

  it('is loaded in its threads', async () => {
    const runtime = await createThere({ threads: { count: 2 } });
    await runtime.load(benchmark);
    expect(runtime.info).toMatchObject({ packs: ['attention', 'benchmark'], threads: 2 });
  });

  it('is refused as it is here', async () => {
    const wrong = packOf({ simd: file('simd.wasm') });
    await expect(createWorkerRuntime({ build: 'simd', packs: [wrong] })).rejects.toMatchObject({
      code: 'INVALID_FILE',
      argument: 'benchmark.wasm.simd',
    });
    const runtime = await createThere({ build: 'simd' });
    await expect(runtime.load(wrong)).rejects.toMatchObject({ code: 'INVALID_FILE' });
    await expect(runtime.load({} as never)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(createWorkerRuntime({ packs: 1 as never })).rejects.toMatchObject({ argument: 'packs' });
    await runtime.load(benchmark);
    expect(await runtime.measurePeak(1)).toBeGreaterThan(0);
    runtime.dispose();
    await expect(runtime.load(benchmark)).rejects.toMatchObject({ code: 'DISPOSED' });
  });
});
