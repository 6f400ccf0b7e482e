// Tests of src/checkpoints/write-safetensors.ts: against the reader of whole files, and against the rules of the format by hand.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { parseSafetensors } from '../../src/checkpoints/safetensors.js';
import { safetensorsChunks, writeSafetensors } from '../../src/checkpoints/write-safetensors.js';
import type { TensorToWrite, TensorsToWrite, WriteOptions } from '../../src/checkpoints/write-safetensors.js';
import { AttentionError } from '../../src/runtime/errors.js';

const weight: TensorToWrite = { dtype: 'F32', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) };

async function errorOf(action: () => unknown): Promise<AttentionError> {
  try {
    await action();
  } catch (error) {
    if (error instanceof AttentionError) return error;
    throw error;
  }
  throw new Error('expected an error, none was thrown');
}

/** The reference's rules, word by word: the header's length, its first letter, its padding, and values without holes. */
function readByTheRules(file: Uint8Array): {
  header: Record<string, never>;
  text: string;
  values: Uint8Array;
} {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const text = new TextDecoder('utf-8', { fatal: true }).decode(file.subarray(8, 8 + length));
  expect(text).toMatch(/^\{.*\} *$/s);
  expect((8 + length) % 8).toBe(0);
  const header = JSON.parse(text) as Record<string, never>;
  const values = file.subarray(8 + length);
  let end = 0;
  type Entry = { dtype: string; shape: number[]; data_offsets: [number, number] };
  const entries = Object.entries<Entry>(header).filter(([name]) => name !== '__metadata__');
  // Engines have keys like "10" first, whatever the text says; empty tensors share their place with the next.
  entries.sort(
    ([, left], [, right]) =>
      left.data_offsets[0] - right.data_offsets[0] || left.data_offsets[1] - right.data_offsets[1],
  );
  for (const [, entry] of entries) {
    const width = entry.dtype === 'F32' ? 4 : 2;
    const count = entry.shape.reduce((product, size) => product * size, 1);
    expect(entry.data_offsets).toEqual([end, end + count * width]);
    expect(end % width).toBe(0);
    end += count * width;
  }
  expect(end).toBe(values.length);
  return { header, text, values };
}

describe('a file', () => {
  test('is what the format says, to the byte', async () => {
    const file = await writeSafetensors({ a: { dtype: 'BF16', shape: [], data: Uint8Array.of(7, 9) } });
    const header = '{"a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]}}  ';
    expect(header.length % 8).toBe(0);
    const expected = [header.length, 0, 0, 0, 0, 0, 0, 0, ...new TextEncoder().encode(header), 7, 9];
    expect([...file]).toEqual(expected);
  });

  test('has its tensors in the order given, those of four bytes first, so that all are aligned', async () => {
    const tensors: [string, TensorToWrite][] = [
      ['z', { dtype: 'F16', shape: [3], data: Uint16Array.of(1, 2, 3) }],
      ['10', weight],
      ['__proto__', { dtype: 'BF16', shape: [1], data: Uint16Array.of(4) }],
      ['2', { dtype: 'F32', shape: [], data: Float32Array.of(5) }],
    ];
    const file = await writeSafetensors(new Map(tensors), { metadata: { format: 'pt' } });
    const { text } = readByTheRules(file);
    const names = [...text.matchAll(/"([^"]*)":\{/g)].map(([, name]) => name);
    expect(names).toEqual(['__metadata__', '10', '2', 'z', '__proto__']);
    expect(Object.keys(parseSafetensors(file)).sort()).toEqual(['10', '2', '__proto__', 'z']);
    expect(await writeSafetensors(tensors, { metadata: { format: 'pt' } })).toEqual(file);
  });

  test('may have no tensors', async () => {
    const file = await writeSafetensors({}, { metadata: { a: 'b' } });
    expect(readByTheRules(file).header).toEqual({ __metadata__: { a: 'b' } });
    expect(Object.keys(parseSafetensors(await writeSafetensors({})))).toEqual([]);
  });

  test('comes in chunks that are views, of which Node writes files and Blobs are made', async () => {
    const whole = await writeSafetensors({ weight });
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    for await (const chunk of safetensorsChunks({ weight })) chunks.push(chunk as Uint8Array<ArrayBuffer>);
    expect(chunks[1]?.buffer).toBe((weight.data as Float32Array).buffer);
    expect(new Uint8Array(await new Blob(chunks).arrayBuffer())).toEqual(whole);
    const folder = await mkdtemp(join(tmpdir(), 'write-'));
    try {
      const path = join(folder, 'model.safetensors');
      await writeFile(path, safetensorsChunks({ weight }));
      expect(new Uint8Array(await readFile(path))).toEqual(whole);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('asks for values when it is their turn, and no sooner', async () => {
    const asked: string[] = [];
    const tensors: TensorsToWrite = {
      first: {
        dtype: 'F32',
        shape: [3],
        *data() {
          asked.push('first');
          yield Float32Array.of(1);
          yield new Uint8Array(0);
          yield Float32Array.of(2, 3).buffer;
        },
      },
      second: {
        dtype: 'F32',
        shape: [2],
        async *data() {
          asked.push('second');
          await Promise.resolve();
          yield Float32Array.of(4, 5);
        },
      },
      nothing: { dtype: 'F32', shape: [0, 7], data: () => [] },
    };
    const chunks = safetensorsChunks(tensors);
    await chunks.next();
    expect(asked).toEqual([]);
    await chunks.next();
    expect(asked).toEqual(['first']);
    await chunks.return();
    const parsed = parseSafetensors(await writeSafetensors(tensors));
    expect([...(parsed['first']?.data ?? [])]).toEqual([1, 2, 3]);
    expect([...(parsed['second']?.data ?? [])]).toEqual([4, 5]);
    expect(parsed['nothing']?.shape).toEqual([0, 7]);
  });
});

describe('what a file cannot have', () => {
  const cases: [why: string, tensors: unknown, options: unknown, code: string, message: RegExp][] = [
    ['null', null, {}, 'INVALID_ARGUMENT', /tensors: expected an object/],
    ['a tensor null', { a: null }, {}, 'INVALID_ARGUMENT', /tensor "a": expected an object with dtype/],
    [
      'another dtype',
      { a: { ...weight, dtype: 'F64' } },
      {},
      'INVALID_ARGUMENT',
      /dtype: expected F32, F16, BF16/,
    ],
    ['an inherited dtype', { a: { ...weight, dtype: 'toString' } }, {}, 'INVALID_ARGUMENT', /dtype/],
    ['no shape', { a: { ...weight, shape: undefined } }, {}, 'INVALID_SHAPE', /tensor "a" shape/],
    ['a broken shape', { a: { ...weight, shape: [1.5] } }, {}, 'INVALID_SHAPE', /got \[1.5\]/],
    [
      'a huge shape',
      { a: { ...weight, shape: [2 ** 30, 2 ** 30] } },
      {},
      'INVALID_SHAPE',
      /fewer than 2\^53/,
    ],
    [
      'another number of bytes',
      { a: { ...weight, shape: [3] } },
      {},
      'INVALID_SHAPE',
      /expected 12 bytes .*, got 16/,
    ],
    ['numbers', { a: { ...weight, data: [1, 2, 3, 4] } }, {}, 'INVALID_ARGUMENT', /data: expected bytes/],
    [
      'the name of metadata',
      { __metadata__: weight },
      {},
      'INVALID_ARGUMENT',
      /a name other than __metadata__/,
    ],
    ['half a character', { 'a\ud800': weight }, {}, 'INVALID_ARGUMENT', /whole characters/],
    [
      'a name twice',
      [
        ['a', weight],
        ['a', weight],
      ],
      {},
      'INVALID_ARGUMENT',
      /every name once, got "a"/,
    ],
    ['a name that is none', [[5, weight]], {}, 'INVALID_ARGUMENT', /the name of a tensor.*, got 5/],
    ['metadata of numbers', {}, { metadata: { a: 1 } }, 'INVALID_ARGUMENT', /metadata.a: expected a text/],
    ['metadata that is text', {}, { metadata: 'a' }, 'INVALID_ARGUMENT', /metadata: expected an object/],
    ['an unknown option', {}, { meta: {} }, 'INVALID_ARGUMENT', /meta/],
  ];

  test.each(cases)('%s is refused at once', async (_why, tensors, options, code, message) => {
    const error = await errorOf(() => safetensorsChunks(tensors as TensorsToWrite, options as WriteOptions));
    expect(error.message).toMatch(message);
    expect(error.code).toBe(code);
    expect(await errorOf(() => writeSafetensors(tensors as TensorsToWrite, options as WriteOptions))).toEqual(
      error,
    );
  });

  test('pieces of more, fewer or no bytes are refused on the way', async () => {
    const produce = (...pieces: unknown[]): TensorsToWrite => ({
      a: { ...weight, data: () => pieces as never },
    });
    const short = await errorOf(() => writeSafetensors(produce(new Uint8Array(15))));
    expect(short).toMatchObject({ code: 'INVALID_SHAPE', argument: 'tensor "a" data', received: '15' });
    const long = await errorOf(() => writeSafetensors(produce(new Uint8Array(15), new Uint8Array(2))));
    expect(long.message).toMatch(/expected 16 bytes in all, got 17/);
    expect((await errorOf(() => writeSafetensors(produce(5)))).message).toMatch(/pieces of bytes, got 5/);
  });

  test('an error of a producer goes through', async () => {
    const error = new Error('mine');
    const data = () => {
      throw error;
    };
    await expect(writeSafetensors({ a: { ...weight, data } })).rejects.toBe(error);
  });
});

test('what was written is read back, bit for bit', async () => {
  const tensor = fc
    .record({
      name: fc.string({ unit: 'grapheme', maxLength: 12 }).filter((name) => name !== '__metadata__'),
      dtype: fc.constantFrom('F32' as const, 'F16' as const, 'BF16' as const),
      shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 }),
      cut: fc.nat(),
    })
    .chain(({ name, dtype, shape, cut }) => {
      const length = shape.reduce((product, size) => product * size, 1) * (dtype === 'F32' ? 4 : 2);
      return fc
        .uint8Array({ minLength: length, maxLength: length })
        .map((bytes) => ({ name, dtype, shape, cut, bytes }));
    });
  const metadata = fc.option(
    fc.dictionary(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' })),
    {
      nil: undefined,
    },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(tensor, { maxLength: 5, selector: ({ name }) => name }),
      metadata,
      async (tensors, texts) => {
        const given = tensors.map(({ name, dtype, shape, bytes, cut }) => {
          const at = cut % (bytes.length + 1);
          const data = cut % 2 === 0 ? bytes : () => [bytes.subarray(0, at), bytes.subarray(at)];
          return [name, { dtype, shape, data }] as const;
        });
        const file = await writeSafetensors(given, { metadata: texts });
        expect(Object.keys(parseSafetensors(file)).sort()).toEqual(tensors.map(({ name }) => name).sort());
        const { header, values } = readByTheRules(file);
        for (const { name, dtype, shape, bytes } of tensors) {
          const entry = Object.getOwnPropertyDescriptor(header, name)?.value as {
            data_offsets: [number, number];
          };
          expect(entry).toMatchObject({ dtype, shape });
          expect([...values.subarray(...entry.data_offsets)]).toEqual([...bytes]);
        }
        if (texts !== undefined) expect(header['__metadata__']).toEqual({ ...texts });
      },
    ),
    { numRuns: 500 },
  );
});
