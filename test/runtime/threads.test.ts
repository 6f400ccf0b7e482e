// Threads: the same bits for any number, fallbacks with their reasons, lost workers, and an end that nobody asked for.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  AttentionError,
  createRuntime,
  linear,
  LinearWeights,
  scaledDotProductAttention,
  scaledDotProductAttentionAsync,
  softmax,
} from 'wasm-attention';
import type { AsyncOptions, Runtime, RuntimeOptions, Tensor } from 'wasm-attention';
import { Random } from '../reference/random.js';
import { WORD } from '../../src/runtime/threads/control.js';
import { bits, operations, randomTensor } from '../support/operations.js';
import { builds } from '../support/runtimes.js';

const THREAD_FILE = new URL('../../dist/thread.js', import.meta.url);
/** A worker that joins the first work, takes tiles, and ends. */
const DYING = `
  const { parentPort } = require('node:worker_threads');
  parentPort.once('message', ({ control }) => {
    const word = ${JSON.stringify(WORD)};
    const words = new Int32Array(control);
    const seen = Atomics.load(words, word.generation);
    parentPort.postMessage({ ready: true });
    Atomics.add(words, word.sleeping, 1);
    Atomics.wait(words, word.generation, seen);
    Atomics.add(words, word.running, 1);
    Atomics.add(words, word.next, words[word.step]);
    process.exit();
  });
`;
const open: Runtime[] = [];

/** A runtime whose work is shared out however small it is; disposed after the test. */
async function threaded(count: number, options: RuntimeOptions & { worker?: () => Worker } = {}) {
  const { worker, ...others } = options;
  const runtime = await createRuntime({ ...others, threads: { count, required: true, worker } });
  open.push(runtime);
  runtime.threads!.leastCost = 0;
  return runtime;
}

afterEach(() => {
  vi.unstubAllGlobals();
  for (const runtime of open.splice(0)) runtime.dispose();
});

async function rejection(promise: Promise<unknown>): Promise<AttentionError> {
  const error: unknown = await promise.then(
    () => expect.fail('it did not reject'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(AttentionError);
  return error as AttentionError;
}

describe.each(builds)('%s', (build) => {
  it.each([2, 3, 4, 8])('has the bits of one thread with %i', async (count) => {
    const alone = await createRuntime({ build });
    open.push(alone);
    const runtime = await threaded(count, { build });
    expect(runtime.info).toMatchObject({ threads: count, threadsReason: 'asked for' });
    for (const sizes of [{}, { batch: 1, length: 1 }, { batch: 1, length: 3 }, { batch: 1, length: 0 }]) {
      const expected = operations(alone, new Random(3), sizes);
      const shared = operations(runtime, new Random(3), sizes);
      for (const [name, [now, later]] of Object.entries(shared)) {
        const reference = bits(expected[name]![0]());
        expect(bits(now()), name).toEqual(reference);
        expect(bits(await later({})), name).toEqual(reference);
      }
    }
  });

  it('has the bits of one thread in products of any form', async () => {
    const alone = await createRuntime({ build });
    open.push(alone);
    const runtime = await threaded(3, { build });
    for (const [rows, columns, depth] of [
      [1, 100, 40],
      [8, 24, 1100],
      [481, 8, 30],
      [1000, 3, 1030],
      [130, 70, 9],
    ] as const) {
      const [expected, shared] = [alone, runtime].map((each) => {
        const random = new Random(rows);
        const weights = new LinearWeights(
          each,
          randomTensor(each, random, columns, depth),
          randomTensor(each, random, columns),
        );
        return bits(linear(randomTensor(each, random, rows, depth), weights));
      });
      expect(shared).toEqual(expected);
    }
  });
});

it('lets workers compute what the caller does not', async () => {
  const runtime = await threaded(3);
  const [rows, columns] = [100, 1000];
  const x = randomTensor(runtime, new Random(1), rows, columns);
  const expected = bits(softmax(x));
  const y = runtime.empty([rows, columns]);
  const args = [x.address, y.address, columns] as const;
  const work = { kernel: 'softmaxRows', args, tiles: rows, scratchBytes: 8192, cost: 1 } as const;
  const scratch = runtime.linearMemory.allocate(3 * 8192);
  let own = 0;
  const { kernels } = runtime;
  const slow = {
    ...kernels,
    // The caller takes one claim, and looks away until the others have taken the rest.
    softmaxRows(...[x, y, n, space, from, to]: Parameters<typeof kernels.softmaxRows>) {
      expect(own).toBe(0);
      own = to - from;
      const end = performance.now() + 200;
      while (performance.now() < end);
      kernels.softmaxRows(x, y, n, space, from, to);
    },
  };
  runtime.threads!.run(slow, work, scratch, 8192, 0, rows);
  expect(own).toBeLessThan(rows / 2);
  expect(bits(y)).toEqual(expected);
});

it('grows the memory without a stale view', async () => {
  const runtime = await threaded(2);
  const random = new Random(5);
  const [q, k, v] = [0, 1, 2].map(() => randomTensor(runtime, random, 1, 8, 300, 64)) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const first = scaledDotProductAttention(q, k, v);
  const expected = bits(first.output);
  const { capacity } = runtime.memory;
  const large = runtime.empty([capacity]);
  expect(runtime.memory.capacity).toBeGreaterThan(capacity);
  expect(bits(first.output)).toEqual(expected);
  expect(bits(scaledDotProductAttention(q, k, v).output)).toEqual(expected);
  large.dispose();
});

describe('where there can be no threads', () => {
  const causes: [string, RuntimeOptions['threads'], RegExp, () => void][] = [
    ['no SharedArrayBuffer', 2, /SharedArrayBuffer/, () => vi.stubGlobal('SharedArrayBuffer', undefined)],
    [
      'a page that is not isolated',
      2,
      /cross-origin isolated/,
      () => vi.stubGlobal('crossOriginIsolated', false),
    ],
    [
      'no workers',
      2,
      /no workers/,
      () => vi.stubGlobal('process', { ...process, getBuiltinModule: undefined }),
    ],
    [
      'no workers and one processor',
      'auto',
      /no workers/,
      () => {
        vi.stubGlobal('process', { ...process, getBuiltinModule: undefined });
        vi.stubGlobal('navigator', { hardwareConcurrency: 1 });
      },
    ],
    [
      "workerd, with its look-alikes of Node's modules",
      2,
      /no workers/,
      () => vi.stubGlobal('navigator', { userAgent: 'Cloudflare-Workers' }),
    ],
    [
      'a refused memory',
      2,
      /refused a shared memory/,
      () => {
        const { Memory } = WebAssembly;
        vi.stubGlobal('WebAssembly', {
          ...Object.fromEntries(
            Object.getOwnPropertyNames(WebAssembly).map((name) => [name, WebAssembly[name as never]]),
          ),
          Memory: function (descriptor: WebAssembly.MemoryDescriptor) {
            if (descriptor.shared) throw new RangeError('not today');
            return new Memory(descriptor);
          },
        });
      },
    ],
    [
      'a worker that a policy forbids',
      {
        count: 2,
        worker: () => {
          throw new Error('blocked by the content security policy');
        },
      },
      /security policy/,
      () => {},
    ],
    [
      'a worker whose file is missing',
      { count: 3, worker: new URL('file:///none.js') },
      /none\.js/,
      () => {},
    ],
    [
      'a worker that ends at once',
      { count: 2, worker: () => new Worker('process.exit(3)', { eval: true }) },
      /ended while it started/,
      () => {},
    ],
    [
      'a worker that throws',
      { count: 2, worker: () => new Worker('throw new Error("broken")', { eval: true }) },
      /broken/,
      () => {},
    ],
    [
      'a function that rejects',
      { count: 3, worker: () => Promise.reject(new Error('no worker today')) },
      /no worker today/,
      () => {},
    ],
    [
      'a function that returns something else',
      { count: 2, worker: () => undefined as never },
      /returned undefined, which is no worker/,
      () => {},
    ],
    [
      'a function that promises something else',
      { count: 2, worker: () => Promise.resolve({}) as never },
      /returned \{\}, which is no worker/,
      () => {},
    ],
    [
      'a function whose promise is never kept',
      { count: 2, worker: () => new Promise<never>(() => {}) },
      /did not start within 10 s/,
      () => {
        const wait = setTimeout;
        vi.stubGlobal('setTimeout', (action: () => void, time: number) =>
          wait(action, time === 10_000 ? 1 : time),
        );
      },
    ],
  ];

  it.each(causes)('%s: comes up on one thread and says why', async (_, threads, reason, simulate) => {
    simulate();
    const runtime = await createRuntime({ threads });
    open.push(runtime);
    expect(runtime.info.threads).toBe(1);
    expect(runtime.info.threadsReason).toMatch(reason);
    expect(Array.from(softmax({ data: [0, 0], shape: [2] }, { runtime }).data)).toEqual([0.5, 0.5]);
  });

  it.each(causes)('%s: is an error where threads are required', async (_, threads, reason, simulate) => {
    simulate();
    const options = typeof threads === 'object' ? threads : { count: 2 };
    const error = await rejection(createRuntime({ threads: { ...options, required: true } }));
    expect(error).toMatchObject({ code: 'UNSUPPORTED', argument: 'threads' });
    expect(error.message).toMatch(reason);
  });
});

it('asks for a shared memory in falling steps', async () => {
  const { Memory } = WebAssembly;
  const asked: number[] = [];
  vi.spyOn(WebAssembly, 'Memory').mockImplementation(function (descriptor: WebAssembly.MemoryDescriptor) {
    asked.push(descriptor.maximum ?? 0);
    if (asked.at(-1)! > 8192) throw new RangeError('too much');
    return new Memory(descriptor);
  });
  try {
    await threaded(2);
  } finally {
    vi.restoreAllMocks();
  }
  expect(asked).toEqual([65536, 32768, 16384, 8192]);
});

it('reads its option strictly', async () => {
  for (const threads of [0, 1.5, -1, 65, 'many', null, Number.NaN]) {
    const error = await rejection(createRuntime({ threads: threads as never }));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'threads' });
  }
  const count = await rejection(createRuntime({ threads: { count: 0 } }));
  expect(count.argument).toBe('threads.count');
  const worker = await rejection(createRuntime({ threads: { worker: 7 as never } }));
  expect(worker.argument).toBe('threads.worker');
  const runtime = await createRuntime();
  open.push(runtime);
  expect(runtime.info).toMatchObject({ threads: 1, threadsReason: 'no more asked for' });
});

it('starts workers from the file of the package', async () => {
  const runtime = await createRuntime({ threads: { count: 2, required: true, worker: THREAD_FILE } });
  open.push(runtime);
  expect(runtime.info.threads).toBe(2);
});

it('takes the promise of a worker', async () => {
  const worker = () => new Worker(THREAD_FILE);
  const runtime = await createRuntime({
    threads: { count: 3, required: true, worker: () => Promise.resolve(worker()) },
  });
  open.push(runtime);
  expect(runtime.info.threads).toBe(3);
});

describe('lost workers', () => {
  /** A runtime whose workers the test can end. */
  async function mortal(count: number) {
    const workers: Worker[] = [];
    const runtime = await threaded(count, {
      worker: () => {
        const worker = new Worker(fileURLToPath(THREAD_FILE));
        workers.push(worker);
        return worker;
      },
    });
    return { runtime, workers };
  }

  it('that end between calls are replaced', async () => {
    const { runtime, workers } = await mortal(3);
    const x = randomTensor(runtime, new Random(2), 50, 60);
    const expected = bits(softmax(x));
    await workers[0]!.terminate();
    expect(runtime.info).toMatchObject({ threads: 1 });
    expect(runtime.info.threadsReason).toMatch(/ended/);
    expect(bits(softmax(x))).toEqual(expected);
    await vi.waitFor(() => expect(runtime.info.threads).toBe(3), 5000);
    expect(bits(softmax(x))).toEqual(expected);
    expect(workers.length).toBe(4);
  });

  it('in the middle of a call: a typed error within a second, memory intact, and recovery', async () => {
    // The first workers join, take tiles, and end without having computed them.
    let started = 0;
    const runtime = await threaded(3, {
      worker: () =>
        ++started <= 2 ? new Worker(DYING, { eval: true }) : new Worker(fileURLToPath(THREAD_FILE)),
    });
    const random = new Random(4);
    const x = randomTensor(runtime, random, 2000, 2000);
    const before = bits(x);
    const bystander = randomTensor(runtime, random, 1000);
    const expected = bits(bystander);
    const { used } = runtime.memory;

    expect(() => softmax(x)).toThrow(
      expect.objectContaining({
        code: 'WORKER_LOST',
        message: expect.stringMatching(/did not come back within \d{3} ms/) as unknown,
      }),
    );
    expect(runtime.info).toMatchObject({ threads: 1 });
    expect(runtime.info.threadsReason).toMatch(/others are starting/);

    // At once on one thread, and nothing that a lost worker may still write to has been given away.
    expect(runtime.memory.used).toBeGreaterThan(used);
    const alone = softmax(x);
    await vi.waitFor(() => expect(runtime.info.threads).toBe(3), 5000);
    const shared = softmax(x);
    expect(bits(shared)).toBe(bits(alone));
    alone.dispose();
    shared.dispose();
    expect(runtime.memory.used).toBe(used);
    expect([bits(x), bits(bystander)]).toEqual([before, expected]);
  });

  it('at random moments of long calls never stop the program nor spoil a result', async () => {
    for (const delay of [0, 1, 3, 10, 25]) {
      const { runtime, workers } = await mortal(4);
      const random = new Random(4);
      const [q, k, v] = [0, 1, 2].map(() => randomTensor(runtime, random, 1, 8, 512, 64)) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      const expected = bits(scaledDotProductAttention(q, k, v).output);
      const calls = Array.from({ length: 4 }, () => scaledDotProductAttentionAsync(q, k, v));
      setTimeout(() => {
        for (const worker of workers) void worker.terminate();
      }, delay);
      for (const { status, ...outcome } of await Promise.allSettled(calls)) {
        if (status === 'rejected') expect(outcome).toMatchObject({ reason: { code: 'WORKER_LOST' } });
        else expect(bits((outcome as { value: { output: unknown } }).value.output)).toEqual(expected);
      }
      expect(bits(scaledDotProductAttention(q, k, v).output)).toEqual(expected);
    }
  });
});

it('does not keep a program alive that forgot to dispose', () => {
  const program = `
    import { createRuntime, softmax } from ${JSON.stringify(new URL('../../dist/index.mjs', import.meta.url).href)};
    const runtime = await createRuntime({ threads: { count: 3, required: true } });
    const x = runtime.tensor(new Float32Array(4e6), [4000, 1000]);
    console.log(runtime.info.threads, softmax(x).data[0] === Math.fround(0.001));
  `;
  const { stdout, status, signal } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    timeout: 20_000,
    encoding: 'utf8',
  });
  expect({ stdout, status, signal }).toEqual({ stdout: '3 true\n', status: 0, signal: null });
});

it('ends its workers with the runtime', async () => {
  const workers: Worker[] = [];
  const runtime = await threaded(3, {
    worker: () => {
      const worker = new Worker(fileURLToPath(THREAD_FILE));
      workers.push(worker);
      return worker;
    },
  });
  const exits = workers.map((worker) => new Promise((resolve) => worker.on('exit', resolve)));
  runtime.dispose();
  await Promise.all(exits);
  expect(workers.length).toBe(2);
  expect(runtime.info).toMatchObject({ threads: 1, threadsReason: 'the runtime was disposed' });
});

it('survives 10,000 mixed operations with random aborts, without growth of memory or workers', async () => {
  let started = 0;
  const runtime = await threaded(3, {
    worker: () => {
      started++;
      return new Worker(fileURLToPath(THREAD_FILE));
    },
  });
  const random = new Random(11);
  const dispose = (result: unknown): void => (result as { dispose?: () => void }).dispose?.();
  const mixed = Object.values(operations(runtime, random, { batch: 1, length: 9 }));
  const inputs = [0, 1, 2].map(() => randomTensor(runtime, random, 1, 8, 700, 64)) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const long = (options: AsyncOptions) => scaledDotProductAttentionAsync(...inputs, options);
  await Promise.all([...mixed.map(async ([, later]) => dispose(await later({}))), long({}).then(dispose)]);
  const { used, capacity } = runtime.memory;
  let aborted = 0;
  /** Runs the asynchronous form; whether it is aborted at a slice, or at all, is left to chance. */
  const perhaps = async (later: (options: AsyncOptions) => Promise<unknown>) => {
    const controller = new AbortController();
    const onProgress = () => {
      if (random.integer(0, 2) === 0) controller.abort();
    };
    if (random.integer(0, 9) === 0) controller.abort();
    await later({ signal: controller.signal, onProgress }).then(dispose, (reason: unknown) => {
      if (reason !== controller.signal.reason) throw reason;
      aborted++;
    });
  };
  for (let count = 0; count < 10_000; count += 10) {
    const calls = Array.from({ length: 10 }, async (_, i) => {
      const [now, later] = mixed[random.integer(0, mixed.length - 1)]!;
      if (i % 3 === 1) dispose(now());
      else await perhaps(count % 500 === 0 && i === 0 ? long : later);
    });
    await Promise.all(calls);
  }
  expect(aborted).toBeGreaterThan(0);
  expect(runtime.memory).toMatchObject({ used, capacity });
  expect(started).toBe(2);
  expect(runtime.info.threads).toBe(3);
});
