// Worker runtimes: where workers come from, order, errors, aborts, what is freed, and what happens when a worker dies.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import * as sync from 'wasm-attention';
import {
  AttentionError,
  and,
  causal,
  createWorkerRuntime,
  parseSafetensors,
  slidingWindow,
} from 'wasm-attention/worker-runtime';
import type { WorkerRuntime } from 'wasm-attention/worker-runtime';
import { Random } from '../reference/random.js';

const dist = new URL('../../dist/', import.meta.url);
const workerFile = new URL('worker.mjs', dist);
const runtime = await createWorkerRuntime();
afterAll(() => runtime.dispose());

/** The AttentionError a promise ends with. */
async function errorOf(promise: Promise<unknown>): Promise<AttentionError> {
  const error = await promise.then(
    () => 'no error',
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(AttentionError);
  return error as AttentionError;
}

const zeros = (...shape: number[]) => ({
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)),
  shape,
});

/** Keeps the worker busy for seconds, unless it is called off. */
const long = (given: WorkerRuntime = runtime, signal?: AbortSignal) => {
  const x = zeros(1, 2, 16_000, 64);
  return given.scaledDotProductAttention(x, x, x, { signal });
};

it('exports every type of the main entry, except those of what cannot cross', () => {
  const typesOf = (file: string) =>
    [
      ...readFileSync(new URL(`../../src/${file}`, import.meta.url), 'utf8').matchAll(
        /export type \{([^}]*)\}/g,
      ),
    ]
      .flatMap(([, names]) => names!.split(','))
      .map((name) => name.trim())
      .filter((name) => name !== '');
  const inPlace = [
    'AsyncOptions',
    'CustomMask',
    'LeakReport',
    'MaskContext',
    'Runtime',
    'SlimRuntimeOptions',
    'TensorLeak',
  ];
  const withoutRuntime = [
    'RotaryFrequencies',
    'SinusoidalOptions',
    'WasmContent',
    'WasmSource',
    'WasmSources',
  ];
  const missing = typesOf('slim.ts').filter((name) => !typesOf('worker/exports.ts').includes(name));
  expect(missing.sort()).toEqual([...inPlace, ...withoutRuntime].sort());
});

describe('a checkpoint', () => {
  const names = ['q_proj', 'k_proj', 'v_proj', 'o_proj'];

  /** A file with four projections of 2 x 2 that are the identity, and what a layer has no use for. */
  function file(): Uint8Array {
    const tensors = [
      ...names.map((name) => ({ name: `0.${name}.weight`, dtype: 'F32', shape: [2, 2], size: 16 })),
      { name: '0.norm.weight', dtype: 'I8', shape: [4], size: 4 },
      { name: '1.norm.weight', dtype: 'F32', shape: [1], size: 4 },
    ];
    let at = 0;
    const header = JSON.stringify(
      Object.fromEntries(
        tensors.map(({ name, dtype, shape, size }) => [
          name,
          { dtype, shape, data_offsets: [at, (at += size)] },
        ]),
      ),
    );
    const bytes = new Uint8Array(8 + header.length + at);
    bytes[0] = header.length & 255;
    bytes[1] = header.length >> 8;
    bytes.set(new TextEncoder().encode(header), 8);
    for (let i = 0; i < names.length; i++) {
      bytes.set(new Uint8Array(Float32Array.of(1, 0, 0, 1).buffer), 8 + header.length + 16 * i);
    }
    return bytes;
  }

  it('is read with what the entry exports, and what a layer leaves aside is known outside', async () => {
    const layer = await runtime.multiHeadAttention({ embedDim: 2, numHeads: 1, bias: false });
    expect(layer.leftAside).toEqual([]);
    const { leftAside } = await layer.load(parseSafetensors(file()), '0');
    expect(leftAside).toEqual(['0.norm.weight']);
    const { output } = await layer.forward({ data: [3, 4], shape: [1, 2] }, { read: true });
    expect(await output.read()).toEqual(Float32Array.of(3, 4));
    for (const one of [output, layer]) one.dispose();
  });

  it('may hold tensors of the worker, and what TensorFlow.js calls one', async () => {
    const layer = await runtime.multiHeadAttention({ embedDim: 2, numHeads: 1, bias: false });
    const identity = Float32Array.of(1, 0, 0, 1);
    const tensor = await runtime.tensor(identity, [2, 2]);
    const foreign = { shape: [2, 2], data: () => Promise.resolve(identity), dataSync: () => identity };
    const stateDict = Object.fromEntries(
      names.map((name, i) => [`${name}.weight`, i % 2 ? tensor : foreign]),
    );
    await layer.load(stateDict);
    const { output } = await layer.forward({ data: [3, 4], shape: [1, 2] }, { read: true });
    expect(await output.read()).toEqual(Float32Array.of(3, 4));
    for (const one of [output, layer, tensor]) one.dispose();
  });
});

it('a ring says across the border, too, what it no longer holds', async () => {
  const cache = await runtime.keyValueCache({ numKeyValueHeads: 1, headDim: 8, ring: { window: 5 } });
  for (const length of [200, 5]) await cache.append(0, zeros(1, 1, length, 8), zeros(1, 1, length, 8));
  const error = await errorOf(cache.attend(0, zeros(1, 1, 90, 8)));
  expect(error).toMatchObject({ code: 'INVALID_STATE', argument: 'query', received: '90 queries' });
  cache.dispose();
});

describe('createWorkerRuntime', () => {
  it.each([
    ['an address', workerFile],
    ['an address as text', workerFile.href],
    ['a relative address', 'dist/worker.mjs'],
    ['a function', () => new Worker(workerFile)],
    ['a function that promises', () => Promise.resolve(new Worker(workerFile))],
  ])('takes its worker from %s', async (_, worker) => {
    const own = await createWorkerRuntime({ worker, deterministic: true });
    expect(own.info.build).toBe('simd');
    expect(await (await own.softmax(zeros(1, 4))).read()).toEqual(new Float32Array(4).fill(0.25));
    own.dispose();
  });

  it.each([
    ['a file that is not there', new URL('nothing.mjs', dist), /could not be started: .*nothing\.mjs/s],
    ['a function that throws', () => Promise.reject(new Error('refused here')), /refused here/],
    ['something else', () => ({ postMessage() {} }) as never, /which is no worker/],
    [
      'a program that fails',
      () => new Worker('throw new Error("fails at once")', { eval: true }),
      /fails at once/,
    ],
    ['a program that ends', () => new Worker('process.exit(3)', { eval: true }), /ended with code 3/],
  ])('says why there is none: %s', async (_, worker, message) => {
    const error = await errorOf(createWorkerRuntime({ worker }));
    expect(error.code).toBe('UNSUPPORTED');
    expect(error.message).toMatch(message);
  });

  it('says so where the platform has no workers', () => {
    const program = `
      process.getBuiltinModule = undefined;
      delete globalThis.Worker;
      const { createWorkerRuntime } = await import('wasm-attention/worker-runtime');
      await createWorkerRuntime().catch(({ code, message }) => console.log(code, message));`;
    expect(run(program).stdout).toBe(
      'UNSUPPORTED a worker could not be started: this platform has no workers\n',
    );
  });

  it('passes on what createRuntime refuses', async () => {
    expect(await errorOf(createWorkerRuntime({ build: 'fast' as 'simd' }))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      argument: 'build',
      message: "build: expected 'simd' or 'relaxed', got \"fast\"",
    });
    expect((await errorOf(createWorkerRuntime({ worker: 5 as never }))).argument).toBe('worker');
    expect((await errorOf(createWorkerRuntime({ build: (() => {}) as never }))).argument).toBe('build');
  });
});

describe('calls', () => {
  it('are answered in order', async () => {
    const order: number[] = [];
    const calls = Array.from({ length: 40 }, (_, i) => {
      // The later, the less work: were they to overtake each other, these would.
      const length = i % 10 === 0 ? 400 : 4;
      const x = zeros(1, 1, length, 16);
      const call = i % 3 === 0 ? runtime.memory() : runtime.scaledDotProductAttention(x, x, x);
      return call.then(() => order.push(i));
    });
    await Promise.all(calls);
    expect(order).toEqual(order.map((_, i) => i));
  });

  it('leave the arrays alone, or take them if asked', async () => {
    const whole = new Float32Array(100).map((_, i) => i);
    const part = whole.subarray(10, 30);
    const kept = await runtime.tensor(part, [20]);
    part.fill(0); // the copy was made by the call
    expect(await kept.read()).toEqual(new Float32Array(20).map((_, i) => 10 + i));

    const given = new Float32Array(20).fill(5);
    const moved = await runtime.tensor(given, [20], { transfer: true });
    expect(given.length).toBe(0);
    expect(await moved.read()).toEqual(new Float32Array(20).fill(5));
    await moved.set(given.length === 0 ? new Float32Array(20).fill(6) : given, { transfer: true });
    expect(await moved.read()).toEqual(new Float32Array(20).fill(6));

    const packed = new Float32Array(3 * 64).fill(1);
    const third = (i: number) => ({ data: packed.subarray(64 * i, 64 * (i + 1)), shape: [1, 1, 8, 8] });
    const { output } = await runtime.scaledDotProductAttention(third(0), third(1), third(2), {
      transfer: true,
      read: true,
    });
    expect(packed.length).toBe(0);
    const contents = await output.read();
    expect(contents).toEqual(new Float32Array(64).fill(1));
    expect(await output.read()).toEqual(contents); // a second copy
  });

  it('take what is shared or of another kind', async () => {
    const shared = new Float32Array(new SharedArrayBuffer(16)).fill(2);
    expect(await (await runtime.tensor(shared, [4], { transfer: true })).read()).toEqual(
      new Float32Array(4).fill(2),
    );
    expect(shared[0]).toBe(2);
    expect(await (await runtime.tensor(Buffer.from([1, 0, 2]))).read()).toEqual(Uint8Array.of(1, 0, 2));
    // A tensor of a sync runtime, and one with getters as other libraries have them.
    const other = await sync.createRuntime();
    const tensor = other.tensor([1, 2], [1, 2]);
    class Foreign {
      get data() {
        return Float32Array.of(1, 2);
      }
      get dims() {
        return [1, 2];
      }
    }
    const [a, b] = [await runtime.softmax(tensor), await runtime.softmax(new Foreign())];
    expect(await a.read()).toEqual(await b.read());
    other.dispose();
  });
});

describe('errors', () => {
  it('keep their class, code, argument and message', async () => {
    const x = await runtime.tensor(new Float32Array(32), [1, 1, 4, 8]);
    const here = await sync.createRuntime();
    const y = here.tensor(new Float32Array(32), [1, 1, 4, 8]);
    const wrong: object[] = [
      { scale: NaN },
      { softcap: -1 },
      { causal: 'left' },
      { keyLengths: [9] },
      { mask: zeros(3, 5) },
      { sinks: [1, 2, 3] },
      { window: { left: 1.5 } },
    ];
    for (const options of wrong) {
      const error = await errorOf(runtime.scaledDotProductAttention(x, x, x, options));
      let expected: unknown;
      try {
        sync.scaledDotProductAttention(y, y, y, options);
      } catch (thrown) {
        expected = thrown;
      }
      const { code, argument, expected: accepted, received, message } = expected as AttentionError;
      expect(error).toMatchObject({ code, argument, expected: accepted, received, message });
      expect(error).toBeInstanceOf(sync.AttentionError); // whichever entry it was imported from
    }
    here.dispose();
  });

  it('name what cannot cross, is gone, or belongs elsewhere', async () => {
    const x = await runtime.tensor(new Float32Array(32), [1, 1, 4, 8]);
    const attend = (options: object) => runtime.scaledDotProductAttention(x, x, x, options);
    const custom = sync.customMask({ keeps: () => true });
    expect(await errorOf(attend({ mask: custom }))).toMatchObject({ code: 'UNSUPPORTED', argument: 'mask' });
    expect((await errorOf(attend({ mask: and(causal(), custom) }))).argument).toBe('mask[1]');
    expect((await errorOf(attend({ scale: () => 1 }))).argument).toBe('scale');
    const endless: Record<string, unknown> = {};
    endless['bias'] = endless;
    expect((await errorOf(attend(endless))).code).toBe('UNSUPPORTED');
    expect((await errorOf(attend({ bias: new WeakMap() }))).code).toBe('UNSUPPORTED');
    expect((await errorOf(attend({ signal: 1 }))).argument).toBe('signal');
    expect((await errorOf(attend({ onProgress: 1 }))).argument).toBe('onProgress');
    expect((await errorOf(attend({ transfer: 1 }))).argument).toBe('transfer');
    expect((await errorOf(attend({ read: 1 }))).argument).toBe('read');
    expect((await errorOf(runtime.softmax(x, 1 as never))).argument).toBe('options');

    const memory = new WebAssembly.Memory({ initial: 1 });
    const data = new Float32Array(memory.buffer, 0, 4);
    const given = runtime.tensor(data, [4], { transfer: true });
    // What cannot be given away is refused, but Node 20 copies it without a word.
    if (!process.version.startsWith('v20.')) expect((await errorOf(given)).code).toBe('UNSUPPORTED');
    else expect(await (await given).read()).toEqual(new Float32Array(4));

    const second = await createWorkerRuntime();
    const foreign = await second.tensor([1, 2]);
    expect(await errorOf(runtime.softmax(foreign))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      argument: 'input',
    });
    foreign.dispose();
    foreign.dispose();
    expect(foreign.disposed).toBe(true);
    expect(await errorOf(second.softmax(foreign))).toMatchObject({ code: 'DISPOSED', argument: 'input' });
    expect((await errorOf(foreign.read())).code).toBe('DISPOSED');
    second.dispose();
    second.dispose();
    expect((await errorOf(second.tensor([1]))).code).toBe('DISPOSED');
  });

  it('of memory leave the runtime usable', async () => {
    const small = await createWorkerRuntime({ maximumMemory: 4 << 20 });
    const { used } = await small.memory();
    expect((await errorOf(small.empty([2 << 20]))).code).toBe('OUT_OF_MEMORY');
    expect(await (await small.tensor([1, 2])).read()).toEqual(Float32Array.of(1, 2));
    expect((await small.memory()).used).toBeGreaterThan(used);
    small.dispose();
  });

  it('are errors for any nonsense, and nothing is left behind', async () => {
    const value = fc.oneof(
      fc.constantFrom(undefined, null, true, '', 'data', -1, 0.5, NaN, 1e9),
      fc.array(fc.integer({ min: -2, max: 5 }), { maxLength: 4 }),
      fc.record({
        data: fc.constantFrom(Float32Array.of(1, 2), [1, 2], 'x', null),
        shape: fc.constantFrom([2], [1, 2], [3], 'x', [-1], null),
      }),
      fc.dictionary(fc.constantFrom('data', 'shape', 'dims', 'left', 'ids', '__proto__'), fc.anything(), {
        maxKeys: 3,
      }),
      fc.anything(),
    );
    const name = fc.constantFrom(
      'softmax',
      'linearAttention',
      'scaledDotProductAttention',
      'attentionWeights',
    );
    const before = await runtime.memory();
    await fc.assert(
      fc.asyncProperty(name, value, value, value, value, async (operation, a, b, c, options) => {
        const inputs = { softmax: [a], attentionWeights: [a, b] }[operation as string] ?? [a, b, c];
        const calls = runtime as unknown as Record<string, (...given: unknown[]) => Promise<unknown>>;
        const outside = await calls[operation]!(...inputs, options).then(
          (result) => ({ result }),
          (error: unknown) => ({ error }),
        );
        if ('result' in outside) (outside.result as { dispose(): void }).dispose();
        else expect(outside.error).toBeInstanceOf(Error);
      }),
      { numRuns: 300 },
    );
    expect((await runtime.memory()).used).toBe(before.used);
    expect((await runtime.memory()).handles).toBe(before.handles);
  });
});

describe('memory', () => {
  it('returns to what it was when handles are disposed', async () => {
    const before = await runtime.memory();
    const x = await runtime.tensor(new Float32Array(2 * 64 * 32).fill(0.1), [1, 2, 64, 32]);
    for (let i = 0; i < 50; i++) {
      const result = await runtime.scaledDotProductAttention(x, x, x, {
        returnWeights: true,
        returnStatistics: true,
        mask: slidingWindow({ left: i }),
      });
      const { handles } = await runtime.memory();
      expect(handles).toBe(before.handles + 4);
      result.dispose();
    }
    const layer = await runtime.multiHeadAttention({ embedDim: 8, numHeads: 2 });
    await errorOf(layer.forward(zeros(1, 3, 8)));
    await errorOf(runtime.scaledDotProductAttention(x, x, x, { keyLengths: [1, 2, 3] }));
    layer.dispose();
    x.dispose();
    const { used, handles } = await runtime.memory();
    expect({ used, handles }).toEqual({ used: before.used, handles: before.handles });
  });
});

describe('a scope', () => {
  it('frees what calls made in it, but what is kept or returned', async () => {
    const before = (await runtime.memory()).handles;
    const tidied = await runtime.tidyAsync(async (scope) => {
      const x = await runtime.tensor(new Float32Array(80).fill(0.5), [1, 2, 5, 8], { scope });
      const empty = await runtime.empty([3], 'int32', { scope });
      const result = await runtime.scaledDotProductAttention(x, x, x, { returnWeights: true, scope });
      const inPlace = await runtime.rotaryEmbedding(x, { inPlace: true, scope });
      expect(inPlace).toBe(x); // given, not made
      return {
        result,
        kept: [await runtime.softmax(x, { scope })],
        gone: [x, empty].map((handle) => () => handle.disposed),
      };
    });
    expect(tidied.gone.map((disposed) => disposed())).toEqual([true, true]);
    expect(await tidied.result.weights.read()).toHaveLength(50);
    expect((await runtime.memory()).handles).toBe(before + 3);
    tidied.result.dispose();
    tidied.kept[0]!.dispose();

    const scope = runtime.scope();
    const x = await runtime.tensor([1, 2], [2], { scope });
    const y = scope.keep(await runtime.softmax(x, { scope }));
    const late = runtime.softmax(x, { scope });
    scope.dispose();
    expect([x.disposed, y.disposed, (await late).disposed]).toEqual([true, false, true]);
    y.dispose();
    expect((await runtime.memory()).handles).toBe(before);

    const failing = runtime.tidyAsync(async (scope) => {
      await runtime.tensor([1], [1], { scope });
      throw new RangeError('mine');
    });
    await expect(failing).rejects.toThrow('mine');
    expect((await runtime.memory()).handles).toBe(before);
  });

  it('is checked before anything is sent', async () => {
    const other = await createWorkerRuntime();
    const ended = runtime.scope();
    ended.dispose();
    for (const scope of [other.scope(), ended, {}, null]) {
      expect((await errorOf(runtime.tensor([1], [1], { scope: scope as never }))).argument).toBe('scope');
    }
    expect((await errorOf(runtime.tidyAsync(1 as never))).code).toBe('INVALID_ARGUMENT');
    other.dispose();
  });
});

describe('AbortSignal', () => {
  it('calls off what has not begun, at once', async () => {
    const before = await runtime.memory();
    const first = new AbortController();
    const busy = long(runtime, first.signal);
    const control = new AbortController();
    const reason = new Error('no longer needed');
    const x = zeros(1, 4, 500, 64);
    const called = Array.from({ length: 5 }, () =>
      runtime.scaledDotProductAttention(x, x, x, { signal: control.signal }),
    );
    control.abort(reason);
    for (const call of called) await expect(call).rejects.toBe(reason);
    await expect(runtime.softmax(zeros(4), { signal: control.signal })).rejects.toBe(reason);
    expect(await Promise.race([busy, Promise.resolve('still busy')])).toBe('still busy');
    first.abort(reason);
    await expect(busy).rejects.toBe(reason);
    const { used, handles } = await runtime.memory();
    expect({ used, handles }).toEqual({ used: before.used, handles: before.handles });
  });

  it('ends what runs within a few slices', async () => {
    const before = await runtime.memory();
    const control = new AbortController();
    const reason = new Error('seen enough');
    const x = zeros(1, 8, 1500, 64);
    let last = { done: 0, total: Infinity };
    const onProgress = (progress: typeof last) => {
      last = progress;
      control.abort(reason); // after the first slice
    };
    const called = runtime.scaledDotProductAttention(x, x, x, { signal: control.signal, onProgress });
    await expect(called).rejects.toBe(reason);
    expect(last.done / last.total).toBeLessThan(0.5);
    const { used, handles } = await runtime.memory();
    expect({ used, handles }).toEqual({ used: before.used, handles: before.handles });
  });

  it('is not listened to any more when the call has ended', async () => {
    const control = new AbortController();
    const result = await runtime.softmax(zeros(4), { signal: control.signal });
    control.abort();
    expect(await result.read()).toEqual(new Float32Array(4).fill(0.25));
    result.dispose();
  });
});

describe('many calls at once', () => {
  it('end right or with their reason, and leave nothing behind', async () => {
    const random = new Random(7);
    const here = await sync.createRuntime();
    const before = await runtime.memory();
    const reason = new Error('changed my mind');
    const inputs = Array.from({ length: 6 }, (_, i) => ({
      data: random.array(2 * 16 * (20 + 90 * i), 'uniform'),
      shape: [1, 2, 20 + 90 * i, 16],
    }));
    const expected = inputs.map((input) => {
      const options = { runtime: here, causal: true };
      const { output } = sync.scaledDotProductAttention(input, input, input, options);
      return output.toFloat32Array();
    });
    let aborted = 0;
    const one = async () => {
      const which = random.integer(0, inputs.length - 1);
      const input = inputs[which]!;
      const control = new AbortController();
      // Some at once, so that there are some however fast the machine is.
      const delay = random.integer(0, 9);
      if (delay === 0) queueMicrotask(() => control.abort(reason));
      else if (delay < 5) setTimeout(() => control.abort(reason), random.uniform(0, 40));
      const options = { causal: true, read: random.boolean(), signal: control.signal };
      const result = await runtime.scaledDotProductAttention(input, input, input, options).catch((error) => {
        expect(error).toBe(reason);
        aborted++;
      });
      if (!result) return;
      const contents = await result.output.read();
      expect(contents.every((x, i) => x === expected[which]![i])).toBe(true);
      result.dispose();
    };
    for (let round = 0; round < 20; round++) await Promise.all(Array.from({ length: 20 }, one));
    expect(aborted).toBeGreaterThan(10);
    const { used, handles } = await runtime.memory();
    expect({ used, handles }).toEqual({ used: before.used, handles: before.handles });
    here.dispose();
  });
});

describe('onProgress', () => {
  it('rises to the whole, and may stop the call by throwing', async () => {
    const before = await runtime.memory();
    const x = zeros(1, 8, 1000, 64);
    const seen: { done: number; total: number }[] = [];
    const { output } = await runtime.scaledDotProductAttention(x, x, x, { onProgress: (p) => seen.push(p) });
    output.dispose();
    expect(seen.length).toBeGreaterThan(2);
    seen.reduce((a, b) => (expect(b.done).toBeGreaterThanOrEqual(a.done), b));
    expect(seen.at(-1)!.done).toBe(seen.at(-1)!.total);

    const stop = new Error('seen enough');
    let calls = 0;
    const onProgress = () => {
      calls++;
      throw stop;
    };
    await expect(runtime.scaledDotProductAttention(x, x, x, { onProgress })).rejects.toBe(stop);
    const { used, handles } = await runtime.memory(); // answered after the call has ended in the worker too
    expect({ used, handles, calls }).toEqual({ used: before.used, handles: before.handles, calls: 1 });
  });
});

describe('a worker that dies', () => {
  it.each(['terminate', 'fail'])('rejects all that waits: %s', async (how) => {
    let worker!: Worker;
    const own = await createWorkerRuntime({ worker: () => (worker = new Worker(workerFile)) });
    const x = await own.tensor([1, 2]);
    const waiting = [long(own), own.memory(), x.read(), own.tensor([1])];
    if (how === 'terminate') void worker.terminate();
    else worker.emit('error', new Error('out of memory'));
    for (const call of waiting) {
      const error = await errorOf(call);
      expect(error.code).toBe('WORKER_LOST');
      expect(error.message).toMatch(how === 'terminate' ? /ended with code 1/ : /out of memory/);
    }
    expect(own.disposed).toBe(true);
    expect(x.disposed).toBe(true);
    expect((await errorOf(own.tensor([1]))).code).toBe('WORKER_LOST');
    x.dispose();
    own.dispose();
  });

  it('is ended by dispose, which rejects what waits', async () => {
    let worker!: Worker;
    const own = await createWorkerRuntime({ worker: () => (worker = new Worker(workerFile)) });
    const ended = new Promise((resolve) => worker.on('exit', resolve));
    const waiting = [long(own), own.memory()];
    own.dispose();
    for (const call of waiting) expect((await errorOf(call)).code).toBe('DISPOSED');
    await ended;
  });
});

describe('messages that are none', () => {
  it('never end the worker', async () => {
    let worker!: Worker;
    const own = await createWorkerRuntime({ worker: () => (worker = new Worker(workerFile)) });
    const x = await own.tensor([1, 2]);
    const call = { type: 'call', id: 1e6, operation: 'read', inputs: {}, references: [] };
    const path = fc.oneof(
      fc.array(fc.constantFrom('tensor', 'a', '__proto__', 'constructor', 0)),
      fc.anything(),
    );
    const reference = fc.oneof(
      fc.record({ path, handle: fc.oneof(fc.integer({ min: 5 }), fc.anything()) }),
      fc.record({ path, mask: fc.constantFrom('and', 'causal', 'toString', '__proto__', 'strided') }),
      fc.anything(),
    );
    const cloneable = { withBigInt: true, withDate: true, withMap: true, withTypedArray: true };
    const message = fc.oneof(
      fc.anything(cloneable),
      fc.record({
        type: fc.constantFrom('abort', 'release', 'start', 'nothing'),
        id: fc.anything(cloneable),
      }),
      fc
        .record({
          operation: fc.constantFrom('read', 'set', 'load', 'forward', 'tensor', 'toString', '__proto__', 7),
          inputs: fc.oneof(
            fc.dictionary(fc.constantFrom('tensor', 'a'), fc.anything(cloneable)),
            fc.anything(),
          ),
          references: fc.oneof(fc.array(reference, { maxLength: 3 }), fc.anything(cloneable)),
        })
        .map((parts) => ({ ...call, ...parts })),
    );
    await fc.assert(
      fc.asyncProperty(message, async (sent) => {
        worker.postMessage(structuredCloneable(sent));
        expect((await own.memory()).handles).toBe(1);
      }),
      { numRuns: 300 },
    );
    expect(await x.read()).toEqual(Float32Array.of(1, 2));
    own.dispose();
  });
});

describe('a program', () => {
  const begin = `
    import { createWorkerRuntime } from 'wasm-attention/worker-runtime';
    const runtime = await createWorkerRuntime();
    const x = await runtime.tensor(new Float32Array(1500 * 64), [1, 1, 1500, 64]);`;

  it.each(['', '{ threads: 3 }'])('ends although nothing was disposed: %s', (options) => {
    const program = begin.replace('Runtime()', `Runtime(${options})`);
    const { stdout, status } = run(`${program}; await runtime.softmax(x); console.log('end')`);
    expect({ stdout, status }).toEqual({ stdout: 'end\n', status: 0 });
  });

  it('goes on while a call is not answered', () => {
    const program = `${begin}
      runtime.scaledDotProductAttention(x, x, x).then(({ output }) => console.log(output.shape.join()));`;
    const { stdout, status } = run(program);
    expect({ stdout, status }).toEqual({ stdout: '1,1,1500,64\n', status: 0 });
  });

  it('may be CommonJS', () => {
    const program = `
      const { createWorkerRuntime, AttentionError } = require('wasm-attention/worker-runtime');
      createWorkerRuntime().then(async (runtime) => {
        await runtime.softmax(1).catch((error) => console.log(error instanceof AttentionError));
      });`;
    expect(run(program, ['--input-type=commonjs']).stdout).toBe('true\n');
  });
});

/** Runs a program in the project's folder, where its own name resolves to it. */
function run(program: string, options = ['--input-type=module']): { stdout: string; status: number | null } {
  const cwd = fileURLToPath(new URL('../../', import.meta.url));
  const { stdout, stderr, status } = spawnSync(process.execPath, [...options, '-e', program], {
    cwd,
    encoding: 'utf8',
    timeout: 30_000,
  });
  expect(stderr).toBe('');
  return { stdout, status };
}

/** The value, or what is left of it without functions and symbols. */
function structuredCloneable(value: unknown): unknown {
  try {
    return structuredClone(value);
  } catch {
    return null;
  }
}
