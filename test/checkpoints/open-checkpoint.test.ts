// Tests of src/checkpoints/checkpoint.ts and what it reads from: bytes, Blobs, addresses, shards.

import { openAsBlob } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, describe, expect, test, vi } from 'vitest';

import { inspectCheckpoint, openCheckpoint } from '../../src/checkpoints/checkpoint.js';
import type { Checkpoint, CheckpointOptions, Weights } from '../../src/checkpoints/checkpoint.js';
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
