// Tests of src/checkpoints/checkpoint.ts and what it reads from: bytes, Blobs, addresses, shards.

import { openAsBlob } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';

import { inspectCheckpoint, openCheckpoint } from '../../src/checkpoints/checkpoint.js';
import type { Checkpoint, CheckpointOptions, Weights } from '../../src/checkpoints/checkpoint.js';
import { parseSafetensors } from '../../src/checkpoints/safetensors.js';
import { writeSafetensors } from '../../src/checkpoints/write-safetensors.js';
import type { TensorToWrite } from '../../src/checkpoints/write-safetensors.js';
import { AttentionError } from '../../src/runtime/errors.js';
import { serveFiles } from '../support/file-server.js';
import type { Served } from '../support/file-server.js';

const MIB = 2 ** 20;

/** Values that say where they are. */
function floats(shape: readonly number[], first = 0): TensorToWrite {
  const size = shape.reduce((product, length) => product * length, 1);
  return { dtype: 'F32', shape, data: Float32Array.from({ length: size }, (_, i) => first + i) };
}

function halves(shape: readonly number[], first = 0): TensorToWrite {
  const size = shape.reduce((product, length) => product * length, 1);
  return { dtype: 'F16', shape, data: Uint16Array.from({ length: size }, (_, i) => first + i) };
}

const small = {
  table: floats([5, 3]),
  bias: floats([3], 100),
  scale: floats([], 7),
  nothing: floats([0, 4]),
  halves: halves([3, 1], 9),
};

/** 12 MB: pieces of 4 MB do not end where its tensors do. */
const large = {
  first: floats([700, 1000]),
  norm: floats([11], 5),
  second: floats([2100, 500], 1000),
  last: halves([3, 700_000], 3),
};

const smallFile = await writeSafetensors(small, { metadata: { format: 'pt' } });
const largeFile = await writeSafetensors(large);

function arrayOf(data: TensorToWrite['data']): number[] {
  const { buffer, byteOffset, byteLength } = data as Float32Array;
  return [...new Uint8Array(buffer, byteOffset, byteLength)];
}

/** Everything the pieces bring, put together, having checked that they come in order and without gaps. */
async function collect(checkpoint: Checkpoint, names?: readonly string[]): Promise<Map<string, Uint8Array>> {
  const whole = new Map<string, Uint8Array>();
  const filled = new Map<string, number>();
  for await (const { name, dtype, from, bytes } of checkpoint.pieces(names)) {
    const tensor = checkpoint.tensors.get(name);
    if (tensor === undefined) throw new Error(`a piece of ${name}`);
    expect(dtype).toBe(tensor.dtype);
    const all = whole.get(name) ?? new Uint8Array(tensor.bytes);
    const count = tensor.shape.reduce((product, size) => product * size, 1);
    const at = count === 0 ? 0 : (from * tensor.bytes) / count;
    expect(at).toBe(filled.get(name) ?? 0);
    const rowBytes = tensor.bytes / (tensor.shape[0] ?? 1);
    expect(bytes.length <= 4 * MIB || bytes.length === rowBytes).toBe(true);
    if (bytes.length > 0) expect(bytes.length % rowBytes).toBe(0);
    all.set(bytes, at);
    whole.set(name, all);
    filled.set(name, at + bytes.length);
  }
  for (const [name, bytes] of whole) expect(filled.get(name)).toBe(bytes.length);
  return whole;
}

async function expectContent(
  weights: Weights,
  tensors: Readonly<Record<string, TensorToWrite>>,
  options?: CheckpointOptions,
): Promise<void> {
  const found = await collect(await openCheckpoint(weights, options));
  expect([...found.keys()].sort()).toEqual(Object.keys(tensors).sort());
  for (const [name, { data }] of Object.entries(tensors)) {
    const { buffer, byteOffset, byteLength } = data as Float32Array;
    const expected = Buffer.from(buffer, byteOffset, byteLength);
    expect(Buffer.compare(found.get(name) as Uint8Array, expected)).toBe(0);
  }
}

async function errorOf(action: () => Promise<unknown>): Promise<AttentionError> {
  try {
    await action();
  } catch (error) {
    if (error instanceof AttentionError) return error;
    throw error;
  }
  throw new Error('expected an error, none was thrown');
}

function readAll(weights: unknown, options?: CheckpointOptions): Promise<unknown> {
  return openCheckpoint(weights as Weights, options).then((checkpoint) => collect(checkpoint));
}

afterEach(() => {
  vi.unstubAllGlobals();
});

describe('bytes', () => {
  test('are read as views, at once and in pieces', async () => {
    const inside = new Uint8Array(largeFile.length + 3);
    inside.set(largeFile, 3);
    const file = inside.subarray(3);
    const checkpoint = await openCheckpoint(file);
    for await (const { bytes } of checkpoint.pieces()) expect(bytes.buffer).toBe(inside.buffer);
    expect(checkpoint.view('norm')?.buffer).toBe(inside.buffer);
    expect([...(checkpoint.view('norm') as Uint8Array)]).toEqual(arrayOf(large.norm.data));
    await expectContent(file, large);
    await expectContent(largeFile.buffer, large);
  });

  test('may be shared', async () => {
    const shared = new Uint8Array(new SharedArrayBuffer(smallFile.length));
    shared.set(smallFile);
    await expectContent(shared, small);
  });

  test('say what there is: tensors in the order of the file, metadata, bytes, parameters', async () => {
    const { tensors, metadata, totalBytes, parameters } = await inspectCheckpoint(smallFile);
    expect([...tensors.keys()]).toEqual(['table', 'bias', 'scale', 'nothing', 'halves']);
    expect(tensors.get('table')).toEqual({ dtype: 'F32', shape: [5, 3], bytes: 60 });
    expect({ ...metadata }).toEqual({ format: 'pt' });
    expect(totalBytes).toBe(60 + 12 + 4 + 6);
    expect(parameters).toBe(15 + 3 + 1 + 3);
  });

  test('are read as far as names are wanted', async () => {
    const found = await collect(await openCheckpoint(largeFile), ['last', 'norm', 'norm']);
    expect([...found.keys()]).toEqual(['norm', 'last']);
    const checkpoint = await openCheckpoint(smallFile);
    expect(() => checkpoint.pieces(['bias', 'none'])).toThrow(/names: .* got "none"/);
    expect(() => checkpoint.view('none')).toThrow(/name: .* got "none"/);
  });
});

describe('Blobs', () => {
  test('are read by slices', async () => {
    await expectContent(new Blob([smallFile]), small);
    const blob = new Blob([largeFile]);
    const slice = vi.spyOn(blob, 'slice');
    const checkpoint = await openCheckpoint(blob);
    expect(slice.mock.calls).toEqual([[0, 65_536]]);
    expect(checkpoint.view('norm')).toBeUndefined();
    await collect(checkpoint);
    for (const [from, to] of slice.mock.calls) expect(Number(to) - Number(from)).toBeLessThanOrEqual(4 * MIB);
  });

  test('may be files of Node, which may vanish', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'checkpoint-'));
    try {
      const path = join(folder, 'model.safetensors');
      await writeFile(path, largeFile);
      await expectContent(await openAsBlob(path), large);
      const checkpoint = await openCheckpoint(await openAsBlob(path));
      await writeFile(path, 'short');
      const error = await errorOf(() => collect(checkpoint));
      expect(error).toMatchObject({ code: 'READ_FAILED', argument: 'Blob' });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('with a header of more than the first 64 kB', async () => {
    const many = Object.fromEntries(
      Array.from({ length: 2000 }, (_, i) => [`layer.${i}.weight`, floats([1], i)]),
    );
    await expectContent(new Blob([await writeSafetensors(many)]), many);
  });
});

describe('addresses', () => {
  test('are read by ranges: the header, and one request for the rest', async () => {
    await using server = await serveFiles({ 'model.safetensors': { bytes: largeFile } });
    const address = `${server.base}model.safetensors`;
    const checkpoint = await openCheckpoint(new URL(address));
    expect(server.takeAsked()).toEqual(['GET bytes=0-65535']);
    await collect(checkpoint);
    expect(server.takeAsked()).toEqual([`GET bytes=65536-${largeFile.length - 1}`]);
    await expectContent(address, large);
  });

  test('of small files need one request', async () => {
    await using server = await serveFiles({ a: { bytes: smallFile } });
    await expectContent(`${server.base}a`, small);
    expect(server.takeAsked()).toEqual(['GET bytes=0-65535']);
  });

  test('are asked for a long header in two requests', async () => {
    const many = Object.fromEntries(
      Array.from({ length: 2000 }, (_, i) => [`layer.${i}.weight`, floats([1], i)]),
    );
    const bytes = await writeSafetensors(many);
    await using server = await serveFiles({ a: { bytes } });
    await inspectCheckpoint(`${server.base}a`);
    expect(server.takeAsked()).toHaveLength(2);
    server.files.set('a', { bytes, ranges: false });
    await expectContent(`${server.base}a`, many);
    expect(server.takeAsked()).toHaveLength(1);
  });

  test('are read where they are wanted', async () => {
    await using server = await serveFiles({ a: { bytes: largeFile } });
    const checkpoint = await openCheckpoint(`${server.base}a`);
    server.takeAsked();
    const found = await collect(checkpoint, ['last', 'norm']);
    expect([...(found.get('norm') as Uint8Array)]).toEqual(arrayOf(large.norm.data));
    expect(server.takeAsked()).toHaveLength(2);
  });

  test('of a server that knows no ranges are streamed, in one answer', async () => {
    await using server = await serveFiles({ a: { bytes: largeFile, ranges: false } });
    await expectContent(`${server.base}a`, large);
    expect(server.takeAsked()).toEqual(['GET bytes=0-65535']);

    const checkpoint = await openCheckpoint(`${server.base}a`);
    await collect(checkpoint, ['norm', 'last']);
    const again = await collect(checkpoint, ['first']);
    expect([...(again.get('first') as Uint8Array).subarray(0, 100)]).toEqual(
      arrayOf((large.first.data as Float32Array).subarray(0, 25)),
    );
    expect(server.takeAsked()).toHaveLength(2);
  });

  test('are read where a page does not see which range came', async () => {
    await using server = await serveFiles({ a: { bytes: largeFile } });
    const hiding: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      return new Response(response.body, { status: response.status, headers: omit(response.headers) });
    };
    await expectContent(`${server.base}a`, large, { fetch: hiding });
    function omit(all: Headers): Headers {
      const visible = new Headers(all);
      visible.delete('Content-Range');
      return visible;
    }
  });

  test('report progress in bytes, to the end', async () => {
    await using server = await serveFiles({ a: { bytes: largeFile } });
    const reports: { done: number; total: number }[] = [];
    await readAll(`${server.base}a`, { onProgress: (progress) => reports.push(progress) });
    const { totalBytes } = await inspectCheckpoint(largeFile);
    expect(reports.at(-1)).toEqual({ done: totalBytes, total: totalBytes });
    expect(reports.every(({ done }, i) => i === 0 || done > (reports[i - 1]?.done ?? 0))).toBe(true);
    expect(reports.length).toBeGreaterThan(3);
  });

  test('keep a query, and secrets out of errors', async () => {
    await using server = await serveFiles();
    const error = await errorOf(() => openCheckpoint(`${server.base}none?token=secret`));
    expect(error).toMatchObject({ code: 'READ_FAILED', received: 'status 404 Not Found' });
    expect(error.argument).toBe(`${server.base}none`);
  });
});

describe('addresses that fail', () => {
  const cases: [why: string, served: Partial<Served>, code: string, message: RegExp][] = [
    [
      'status 500',
      { answer: (_, response) => !!response.writeHead(500).end('sorry') },
      'READ_FAILED',
      /status 500/,
    ],
    ['status 204', { answer: (_, response) => !!response.writeHead(204).end() }, 'READ_FAILED', /status 204/],
    [
      'an HTML page',
      { bytes: Buffer.from('<!DOCTYPE html><html>'), ranges: false },
      'INVALID_FILE',
      /DOCTYPE html/,
    ],
    [
      'a pointer of Git LFS',
      { bytes: Buffer.from('version https://git-lfs') },
      'INVALID_FILE',
      /text: "version https/,
    ],
    [
      'another range',
      { headers: { 'Content-Range': 'bytes 8-65543/99999' } },
      'READ_FAILED',
      /got bytes 8-65543/,
    ],
    ['no range', { headers: { 'Content-Range': 'chapter 1' } }, 'READ_FAILED', /got chapter 1/],
    ['broken in the header', { breaksAt: 300 }, 'READ_FAILED', /connection that was lost/],
    ['broken later', { breaksAt: 5_000_000 }, 'READ_FAILED', /connection that was lost after 5000000/],
    [
      'broken, without ranges',
      { breaksAt: 5_000_000, ranges: false },
      'READ_FAILED',
      /connection that was lost/,
    ],
    [
      'truncated, without ranges or length',
      { bytes: largeFile.subarray(0, 5_000_000), ranges: false, unsized: true },
      'INVALID_FILE',
      /file that ends after 5000000/,
    ],
    [
      'truncated in the header, without ranges or length',
      { bytes: largeFile.subarray(0, 100), ranges: false, unsized: true },
      'INVALID_FILE',
      /ends after 92 of them/,
    ],
    ['truncated', { bytes: largeFile.subarray(0, 5_000_000) }, 'INVALID_FILE', /begin <= end <=/],
    [
      'longer than it should be',
      { bytes: Buffer.concat([largeFile, Buffer.of(1)]) },
      'INVALID_FILE',
      /trailing bytes/,
    ],
    [
      'longer, without ranges',
      { bytes: Buffer.concat([largeFile, Buffer.of(1)]), ranges: false },
      'INVALID_FILE',
      /trailing bytes/,
    ],
    [
      'small and longer, without ranges',
      { bytes: Buffer.concat([smallFile, Buffer.of(1)]), ranges: false },
      'INVALID_FILE',
      /trailing bytes/,
    ],
    ['empty', { bytes: new Uint8Array(0), ranges: false }, 'INVALID_FILE', /at least 8 bytes, got 0/],
  ];

  test.each(cases)('%s', async (_why, served, code, message) => {
    await using server = await serveFiles({ a: { bytes: largeFile, ...served } });
    const error = await errorOf(() => readAll(`${server.base}a`));
    expect(error.message).toMatch(message);
    expect(error.code).toBe(code);
    expect(error.argument).toContain(`${server.base}a`);
  });

  test('a server that is not there', async () => {
    const server = await serveFiles();
    const address = `${server.base}a`;
    await server[Symbol.asyncDispose]();
    expect(await errorOf(() => openCheckpoint(address))).toMatchObject({
      code: 'READ_FAILED',
      received: 'no answer',
    });
  });

  test('a file that changes between two requests', async () => {
    await using server = await serveFiles({ a: { bytes: largeFile, etag: '"1"' } });
    const byTag = await openCheckpoint(`${server.base}a`);
    server.files.set('a', { bytes: largeFile, etag: '"2"' });
    expect((await errorOf(() => collect(byTag))).message).toMatch(/the file has changed/);
    const bySize = await openCheckpoint(`${server.base}a`);
    server.files.set('a', { bytes: Buffer.concat([largeFile, largeFile]) });
    expect((await errorOf(() => collect(bySize))).code).toBe('READ_FAILED');
  });

  test('an address that is none', async () => {
    expect((await errorOf(() => openCheckpoint('model.safetensors'))).message).toMatch(/a whole address/);
  });
});

describe('an abort', () => {
  const reason = new Error('enough');

  test('before anything asks for nothing', async () => {
    await using server = await serveFiles({ a: { bytes: largeFile } });
    await expect(openCheckpoint(`${server.base}a`, { signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
    expect(server.asked).toEqual([]);
  });

  test.each([
    ['in the header', { stallsAt: 100 }],
    ['in the header, without ranges', { stallsAt: 100, ranges: false }],
    ['in the middle', { stallsAt: 9 * MIB }],
    ['in the middle, without ranges', { stallsAt: 9 * MIB, ranges: false }],
  ])('%s closes the connection', async (_where, served) => {
    await using server = await serveFiles({ a: { bytes: largeFile, ...served } });
    const controller = new AbortController();
    const reading = readAll(`${server.base}a`, { signal: controller.signal });
    setTimeout(() => controller.abort(reason), 100);
    await expect(reading).rejects.toBe(reason);
    expect(await server.asked.at(-1)?.finished).toBe(false);
  });

  test('while a server without ranges waits, and close(), end what it sends', async () => {
    await using server = await serveFiles({ a: { bytes: largeFile, ranges: false, stallsAt: 9 * MIB } });
    const controller = new AbortController();
    await openCheckpoint(`${server.base}a`, { signal: controller.signal });
    controller.abort(reason);
    expect(await server.asked.at(-1)?.finished).toBe(false);
    const checkpoint = await openCheckpoint(`${server.base}a`);
    await checkpoint.close();
    expect(await server.asked.at(-1)?.finished).toBe(false);
    await inspectCheckpoint(`${server.base}a`);
    expect(await server.asked.at(-1)?.finished).toBe(false);
  });

  test('between two pieces, or leaving the loop, ends the reading of every kind of file', async () => {
    await using server = await serveFiles({ a: { bytes: largeFile, stallsAt: 9 * MIB } });
    for (const weights of [largeFile, new Blob([largeFile]), `${server.base}a`]) {
      const controller = new AbortController();
      const checkpoint = await openCheckpoint(weights, { signal: controller.signal });
      for await (const { name } of checkpoint.pieces()) {
        expect(name).toBe('first');
        break;
      }
      if (typeof weights === 'string') expect(await server.asked.at(-1)?.finished).toBe(false);
      const rest = checkpoint.pieces();
      expect((await rest.next()).done).toBe(false);
      controller.abort(reason);
      await expect(rest.next()).rejects.toBe(reason);
      if (typeof weights === 'string') expect(await server.asked.at(-1)?.finished).toBe(false);
    }
  });
});

describe('shards', () => {
  const parts = {
    'model-00001-of-00002.safetensors': { table: small.table, bias: small.bias },
    'model-00002-of-00002.safetensors': { scale: small.scale, nothing: small.nothing, halves: small.halves },
  };
  const [firstName, secondName] = Object.keys(parts) as [string, string];
  const weightMap = Object.fromEntries(
    Object.entries(parts).flatMap(([file, tensors]) => Object.keys(tensors).map((name) => [name, file])),
  );
  const index = { metadata: { total_size: 82 }, weight_map: weightMap };

  async function writeParts(): Promise<Record<string, Uint8Array<ArrayBuffer>>> {
    const [first, second] = Object.values(parts);
    return {
      [firstName]: await writeSafetensors(first as never, { metadata: { format: 'pt' } }),
      [secondName]: await writeSafetensors(second as never, { metadata: { made: 'here' } }),
    };
  }

  test('come as a list, or with their index as a record, a function or an address', async () => {
    const files = await writeParts();
    const bytes = Object.values(files);
    await expectContent(bytes, small);
    await expectContent([...bytes].reverse(), small);
    await expectContent({ index, files }, small);
    await expectContent({ index: JSON.stringify(index), files }, small);
    await expectContent({ index: new TextEncoder().encode(JSON.stringify(index)), files }, small);
    await expectContent({ index, files: (name) => Promise.resolve(new Blob([files[name] as never])) }, small);
    for (const ranges of [true, false]) {
      await using server = await serveFiles({
        [`models/${firstName}`]: { bytes: files[firstName] as Uint8Array, ranges },
        [`models/${secondName}`]: { bytes: files[secondName] as Uint8Array, ranges },
      });
      await expectContent({ index, files: `${server.base}models` }, small);
      await expectContent({ index, files: new URL(`${server.base}models/`) }, small);
    }
    const { metadata } = await inspectCheckpoint(bytes);
    expect({ ...metadata }).toEqual({ format: 'pt', made: 'here' });
  });

  test('of a server without ranges do not wait for each other', async () => {
    const files = Array.from({ length: 9 }, (_, i) => ({ [`tensor${i}`]: floats([200_000], i) }));
    const served = await Promise.all(files.map((tensors) => writeSafetensors(tensors)));
    await using server = await serveFiles(
      Object.fromEntries(served.map((bytes, i) => [`${i}`, { bytes, ranges: false }])),
    );
    // As browsers do: six connections for a server, and the seventh request waits.
    let open = 0;
    const waiting: (() => void)[] = [];
    const end = (): void => {
      open--;
      waiting.shift()?.();
    };
    const limited: typeof fetch = async (input, init) => {
      if (open === 6) await new Promise<void>((resolve) => waiting.push(resolve));
      open++;
      const response = await fetch(input, init);
      const reader = (response.body as ReadableStream<Uint8Array>).getReader();
      const body = new ReadableStream<Uint8Array>({
        async pull(controller) {
          const { done, value } = await reader.read();
          if (!done) return controller.enqueue(value);
          end();
          controller.close();
        },
        cancel() {
          end();
          return reader.cancel();
        },
      });
      return new Response(body, { status: response.status });
    };
    const addresses = files.map((_, i) => `${server.base}${i}`);
    await expectContent(addresses, Object.assign({}, ...files) as never, { fetch: limited });
  });

  test('that do not fit together are named', async () => {
    const files = await writeParts();
    const bytes = Object.values(files);
    const table = await writeSafetensors({ table: small.table });
    const cases: [unknown, RegExp][] = [
      [[], /weights: expected at least one file/],
      [
        [...bytes, table],
        /tensor "table": expected it in one file, got it in weights\[0\] and in weights\[2\]/,
      ],
      [[bytes[0], 5], /weights\[1\]: expected bytes, a Blob or an address, got 5/],
      [[bytes[0], bytes[1]?.subarray(0, 50)], /weights\[1\]: safetensors header: .* ends after 42/],
      [{ index, files: { [firstName]: bytes[0] } }, /the shard "model-00002-of-00002.safetensors"/],
      [{ index, files: () => undefined }, /weights.files: expected the shard/],
      [{ index, files: 7 }, /weights.files: expected a base address/],
      [
        { index, files: { [firstName]: bytes[1], [secondName]: bytes[0] } },
        /index, tensor "\w+": expected it in/,
      ],
      [{ index, files: { [firstName]: bytes[0], [secondName]: bytes[0] } }, /index, tensor/],
      [
        { index: { weight_map: { ...weightMap, more: firstName } }, files },
        /"more": .* got no such tensor there/,
      ],
      [
        { index: { weight_map: Object.fromEntries(Object.entries(weightMap).slice(1)) }, files },
        /index, tensor "table": expected a shard for it, got it in "model-00001/,
      ],
      [{ index: {}, files }, /index.weight_map: expected an object, got undefined/],
      [{ index: { weight_map: {} }, files }, /at least one tensor/],
      [{ index: 'null', files }, /index: expected model.safetensors.index.json/],
      [{ index: '{"weight_map":', files }, /index: expected valid JSON/],
      [{ index: `{"weight_map":{"a":"x","a":"y"}}`, files }, /index: expected every key once, got "a" again/],
      [{ index: { weight_map: { a: 5 } }, files }, /index, tensor "a": expected the name of a file, got 5/],
      ...['../a', '/etc/passwd', 'https://elsewhere.org/a', '..', 'a\\b', ''].map(
        (name): [unknown, RegExp] => [
          { index: { weight_map: { a: name } }, files },
          /expected the name of a file/,
        ],
      ),
      [{ index: '{"weight_map":{"__proto__":"toString"}}', files }, /the shard "toString"/],
      ['[', /a whole address/],
      [null, /weights: expected bytes, a Blob or an address, got null/],
      [{ index }, /weights: expected bytes/],
    ];
    for (const [weights, message] of cases) {
      const error = await errorOf(() => readAll(weights));
      expect(error.message).toMatch(message);
    }
  });

  test('that a server lacks leave no connection open', async () => {
    const bytes = await writeSafetensors({ table: floats([30, 10_000]) });
    await using server = await serveFiles({ a: { bytes, ranges: false, stallsAt: 200_000 } });
    const error = await errorOf(() => openCheckpoint([`${server.base}a`, `${server.base}b`]));
    expect(error).toMatchObject({ code: 'READ_FAILED', argument: `${server.base}b` });
    for (const { path, finished } of server.asked) expect(await finished).toBe(path === '/b');
  });
});

describe('options', () => {
  test.each([
    [{ signal: 5 }, /signal: expected an AbortSignal/],
    [{ onProgress: 5 }, /onProgress: expected a function/],
    [{ fetch: 'x' }, /fetch: expected a function/],
    [{ cache: true }, /cache: expected the name of a cache, or false/],
    [{ caches: 'x' }, /caches/],
  ])('%j is refused', async (options, message) => {
    expect((await errorOf(() => openCheckpoint(smallFile, options as never))).message).toMatch(message);
  });
});

/** The Cache API, as far as it is used, with its refusals. */
class FakeCache {
  readonly entries = new Map<string, { bytes: ArrayBuffer; headers: Headers }>();
  /** Bytes that fit. */
  room = Infinity;
  puts = 0;

  match(key: string): Promise<Response | undefined> {
    const entry = this.entries.get(this.#checked(key));
    return Promise.resolve(entry && new Response(entry.bytes.slice(0), { headers: entry.headers }));
  }

  async put(key: string, response: Response): Promise<void> {
    if (response.status === 206) throw new TypeError('partial');
    const bytes = await response.arrayBuffer();
    if (bytes.byteLength > this.room) throw new DOMException('full', 'QuotaExceededError');
    this.room -= bytes.byteLength;
    this.puts++;
    this.entries.set(this.#checked(key), { bytes, headers: response.headers });
  }

  delete(key: string): Promise<boolean> {
    return Promise.resolve(this.entries.delete(this.#checked(key)));
  }

  #checked(key: string): string {
    const url = new URL(key);
    if (!url.protocol.startsWith('http')) throw new TypeError('scheme');
    url.hash = '';
    return url.href;
  }
}

describe('a cache', () => {
  function stubCaches(): Map<string, FakeCache> {
    const named = new Map<string, FakeCache>();
    vi.stubGlobal('caches', {
      open: (name: string) => {
        named.set(name, named.get(name) ?? new FakeCache());
        return Promise.resolve(named.get(name));
      },
    });
    return named;
  }

  test.each([
    ['with ranges', true],
    ['without', false],
  ])('spares the second download, of a server %s', async (_kind, ranges) => {
    const named = stubCaches();
    await using server = await serveFiles({ a: { bytes: largeFile, ranges, etag: 'W/"1"' } });
    await expectContent(`${server.base}a`, large);
    expect([...named.keys()]).toEqual(['wasm-attention']);
    server.takeAsked();
    await expectContent(`${server.base}a`, large);
    expect(server.takeAsked()).toEqual(['HEAD bytes=0-0']);
    await expectContent(`${server.base}a?b#c`, large, { cache: 'other' });
    expect([...named.keys()]).toEqual(['wasm-attention', 'other']);
    server.takeAsked();
    await expectContent(`${server.base}a`, large, { cache: false });
    expect(server.takeAsked()).not.toContain('HEAD bytes=0-0');
  });

  test('is used where the server cannot be asked', async () => {
    stubCaches();
    const server = await serveFiles({ a: { bytes: largeFile, etag: '"1"' } });
    await expectContent(`${server.base}a`, large);
    server.files.delete('a');
    await expectContent(`${server.base}a`, large);
    await server[Symbol.asyncDispose]();
    await expectContent(`${server.base}a`, large);
  });

  test.each([
    ['another ETag', { etag: '"1"' }, { etag: '"2"' }],
    ['another date', { headers: { 'Last-Modified': 'Mon' } }, { headers: { 'Last-Modified': 'Tue' } }],
    ['another length', {}, {}],
  ])('gives way to a file with %s', async (_what, before, after) => {
    const named = stubCaches();
    await using server = await serveFiles({ a: { bytes: largeFile, ...before } });
    const address = `${server.base}a`;
    await expectContent(address, large);
    const other = { ...large, second: floats([2100, 500], 2000), more: floats([1]) };
    server.files.set('a', { bytes: await writeSafetensors(other), ...after });
    await expectContent(address, other);
    server.takeAsked();
    await expectContent(address, other);
    expect(server.takeAsked()).toEqual(['HEAD bytes=0-0']);
    const { size } = named.get('wasm-attention')?.entries ?? new Map();
    expect(size).toBe(1 + Math.ceil((await writeSafetensors(other)).length / (4 * MIB)));
  });

  test('goes on after an interruption with what is missing', async () => {
    stubCaches();
    await using server = await serveFiles({ a: { bytes: largeFile, etag: '"1"', breaksAt: 9 * MIB } });
    const address = `${server.base}a`;
    expect((await errorOf(() => readAll(address))).code).toBe('READ_FAILED');
    server.files.set('a', { bytes: largeFile, etag: '"1"' });
    server.takeAsked();
    await expectContent(address, large);
    expect(server.takeAsked()).toEqual(['HEAD bytes=0-0', `GET bytes=${8 * MIB}-${largeFile.length - 1}`]);
  });

  test('of another version, with a server that answers no HEAD, is an error once and then right', async () => {
    stubCaches();
    const noHead = (
      request: { method?: string },
      response: { writeHead(status: number): { end(): void } },
    ) => {
      if (request.method !== 'HEAD') return false;
      response.writeHead(405).end();
      return true;
    };
    await using server = await serveFiles({ a: { bytes: largeFile, etag: '"1"', answer: noHead as never } });
    const address = `${server.base}a`;
    const checkpoint = await openCheckpoint(address);
    await collect(checkpoint, ['norm']);
    server.files.set('a', { bytes: largeFile, etag: '"2"', answer: noHead as never });
    expect((await errorOf(() => readAll(address))).message).toMatch(/the file has changed/);
    await expectContent(address, large);
  });

  test('that is full, or forbidden, is done without', async () => {
    const named = stubCaches();
    await using server = await serveFiles({ a: { bytes: largeFile } });
    const full = new FakeCache();
    full.room = 5 * MIB;
    named.set('wasm-attention', full);
    await expectContent(`${server.base}a`, large);
    expect(full.puts).toBe(2);
    await expectContent(`${server.base}a`, large);
    vi.stubGlobal('caches', { open: () => Promise.reject(new DOMException('no', 'SecurityError')) });
    await expectContent(`${server.base}a`, large);
  });

  test('with a damaged entry fetches what that was', async () => {
    const named = stubCaches();
    await using server = await serveFiles({ a: { bytes: largeFile, etag: '"1"' } });
    await expectContent(`${server.base}a`, large);
    const entries = named.get('wasm-attention')?.entries as FakeCache['entries'];
    for (const [key, entry] of entries) {
      if (key.endsWith(`=${4 * MIB}`)) entries.set(key, { ...entry, bytes: entry.bytes.slice(5) });
    }
    await expectContent(`${server.base}a`, large);
  });

  test('is left alone for addresses that are none of http', async () => {
    const named = stubCaches();
    const address = `data:application/octet-stream;base64,${Buffer.from(smallFile).toString('base64')}`;
    await expectContent(address, small);
    expect(named.size).toBe(0);
  });
});

describe('memory', () => {
  test('200 MB go through a few pieces', async () => {
    const bytes = 200 * MIB;
    const header = JSON.stringify({ x: { dtype: 'F32', shape: [51_200, 1024], data_offsets: [0, bytes] } });
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    const beginning = Buffer.concat([length, Buffer.from(header)]);
    const zeros = Buffer.alloc(64 * 1024);
    for (const ranges of [true, false]) {
      await using server = await serveFiles({
        a: {
          bytes: beginning,
          answer(request, response) {
            const [, first, last] = /(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
            const size = beginning.length + bytes;
            const from = ranges ? Number(first) : 0;
            const to = ranges ? Math.min(Number(last) + 1, size) : size;
            const range = { 'Content-Range': `bytes ${from}-${to - 1}/${size}` };
            response.writeHead(ranges ? 206 : 200, ranges ? range : {});
            let at = from;
            const send = (): void => {
              while (at < to) {
                const source = at < beginning.length ? beginning.subarray(at) : zeros;
                const chunk = source.subarray(0, to - at);
                at += chunk.length;
                if (!response.write(chunk)) return void response.once('drain', send);
              }
              response.end();
            };
            send();
            return true;
          },
        },
      });
      const checkpoint = await openCheckpoint(`${server.base}a`);
      const before = process.memoryUsage().rss;
      let largest = 0;
      let read = 0;
      for await (const piece of checkpoint.pieces()) {
        read += piece.bytes.length;
        largest = Math.max(largest, process.memoryUsage().rss - before);
      }
      expect(read).toBe(bytes);
      expect(largest).toBeLessThan(100 * MIB); // garbage included, which is collected when engines find time
    }
  });
});

describe('damaged files', () => {
  interface Mutation {
    readonly kind: 'byte' | 'cut' | 'insert' | 'swap';
    readonly at: number;
    readonly value: number;
  }

  const mutation: fc.Arbitrary<Mutation> = fc.oneof(
    fc.record({ kind: fc.constant('byte' as const), at: fc.nat(), value: fc.nat(255) }),
    fc.record({ kind: fc.constant('cut' as const), at: fc.nat(), value: fc.constant(0) }),
    fc.record({ kind: fc.constant('insert' as const), at: fc.nat(), value: fc.nat(255) }),
    fc.record({ kind: fc.constant('swap' as const), at: fc.nat(), value: fc.nat() }),
  );

  function mutated(file: Uint8Array<ArrayBuffer>, { kind, at, value }: Mutation) {
    const place = at % file.length;
    if (kind === 'cut') return file.slice(0, place);
    if (kind === 'insert') {
      return Uint8Array.from([...file.subarray(0, place), value, ...file.subarray(place)]);
    }
    const copy = file.slice();
    const other = value % file.length;
    if (kind === 'byte') copy[place] = value;
    else [copy[place], copy[other]] = [file[other] as number, file[place] as number];
    return copy;
  }

  /** What there is to read, or the code of the error. */
  async function outcome(weights: Weights): Promise<unknown> {
    try {
      const found = await collect(await openCheckpoint(weights));
      return [...found].map(([name, bytes]) => [name, [...bytes]]);
    } catch (error) {
      if (error instanceof AttentionError) return error.code;
      throw error;
    }
  }

  /** The same of the reader of whole files. */
  function outcomeOfWhole(file: Uint8Array): 'INVALID_FILE' | string[] {
    try {
      return Object.keys(parseSafetensors(file)).sort();
    } catch (error) {
      return (error as AttentionError).code as 'INVALID_FILE';
    }
  }

  test('are the same typed error or the same content, wherever they are', async () => {
    await using server = await serveFiles();
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 3 }), async (mutations) => {
        const file = mutations.reduce<Uint8Array<ArrayBuffer>>(
          (bytes, change) => (bytes.length === 0 ? bytes : mutated(bytes, change)),
          smallFile,
        );
        const expected = await outcome(file);
        const whole = outcomeOfWhole(file);
        if (typeof expected === 'string') expect([expected, whole]).toEqual(['INVALID_FILE', 'INVALID_FILE']);
        else expect((expected as [string][]).map(([name]) => name).sort()).toEqual(whole);
        expect(await outcome(new Blob([file]))).toEqual(expected);
        for (const ranges of [true, false]) {
          // Of nothing there is no range.
          server.files.set('a', { bytes: file, ranges: ranges && file.length > 0 });
          expect(await outcome(`${server.base}a`)).toEqual(expected);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('with nests of a million levels are typed errors', async () => {
    for (const text of [
      `{"x":${'['.repeat(1e6)}${']'.repeat(1e6)}}`,
      `{"x":${'{"a":'.repeat(1e6)}1${'}'.repeat(1e6)}}`,
    ]) {
      const file = new Uint8Array(8 + text.length);
      new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
      file.set(new TextEncoder().encode(text), 8);
      expect((await errorOf(() => openCheckpoint(file))).code).toBe('INVALID_FILE');
      expect((await errorOf(() => openCheckpoint({ index: text, files: {} }))).code).toBe('INVALID_FILE');
    }
  });
});
