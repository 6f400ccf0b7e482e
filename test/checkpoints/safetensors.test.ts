// Tests of src/checkpoints/safetensors.ts, with a small writer of its own for well-formed and broken files.
// Touch: a new check wants a row in `malformed`, a new dtype a conversion test and a place in the round trip.

import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';

import { parseSafetensors, type StateTensor } from '../../src/checkpoints/safetensors.js';
import { AttentionError, type AttentionErrorCode } from '../../src/runtime/errors.js';

interface Written {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

/** A file of a header as it stands, a length that may lie, and values. */
function fileOf(
  header: string | Uint8Array,
  values: Uint8Array | number = 0,
  claimedLength?: bigint,
): Uint8Array<ArrayBuffer> {
  const text = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, claimedLength ?? BigInt(text.length), true);
  return concatenate([length, text, typeof values === 'number' ? new Uint8Array(values) : values]);
}

/** A well-formed file; `padding` spaces after the header move the values to any alignment. */
function write(
  tensors: readonly Written[],
  padding = 0,
  metadata?: Record<string, string>,
): Uint8Array<ArrayBuffer> {
  const members: string[] = metadata === undefined ? [] : [`"__metadata__":${JSON.stringify(metadata)}`];
  let begin = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    const end = begin + bytes.length;
    members.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`);
    begin = end;
  }
  const header = `{${members.join(',')}}${' '.repeat(padding)}`;
  return fileOf(header, concatenate(tensors.map((tensor) => tensor.bytes)));
}

function entry(dtype: unknown, shape: unknown, offsets: unknown): Record<string, unknown> {
  return { dtype, shape, data_offsets: offsets };
}

function errorOf(action: () => unknown): AttentionError {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(AttentionError);
    return error as AttentionError;
  }
  throw new Error('expected an error, none was thrown');
}

function tensorOf(dtype: string, bytes: ArrayBufferView, count: number): StateTensor {
  const file = write([{ name: 'x', dtype, shape: [count], bytes: bytesOf(bytes) }]);
  return parseSafetensors(file)['x'] as StateTensor;
}

/** The value of a half, from its definition. */
function valueOfHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe('values', () => {
  test('F32 is a view of an aligned file and a copy of any other', () => {
    const values = Float32Array.of(1, -2.5, NaN, Infinity, 1e-45);
    const aligned = [0, 1, 2, 3].map((padding) => {
      const file = write([{ name: 'x', dtype: 'F32', shape: [5], bytes: bytesOf(values) }], padding);
      const data = (parseSafetensors(file.buffer)['x'] as StateTensor).data;
      expect(data).toEqual(values);
      return data.buffer === file.buffer;
    });
    expect(aligned.filter(Boolean)).toHaveLength(1);
  });

  test('all 65536 halves convert exactly, NaN payloads included', () => {
    const halves = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
    const { data } = tensorOf('F16', halves, 65536);
    const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
    for (let half = 0; half < 65536; half++) {
      const expected = valueOfHalf(half);
      if (!Object.is(data[half], expected))
        expect.unreachable(`half ${half}: ${data[half]}, not ${expected}`);
      if (Number.isNaN(expected) && ((bits[half] as number) >>> 13) % 1024 !== half % 1024) {
        expect.unreachable(`the payload of NaN ${half} is lost`);
      }
    }
  });

  test('all 65536 bfloat16 are the upper half of a float32', () => {
    const halves = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
    const { data } = tensorOf('BF16', halves, 65536);
    const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
    expect(bits.every((word, half) => word === half * 65536)).toBe(true);
  });

  test('F64 is rounded to nearest', () => {
    const values = Float64Array.of(0.1, 1e300, -1e-50, NaN, 1 + 2 ** -24, 1 + 2 ** -24 + 2 ** -40);
    expect(tensorOf('F64', values, 6).data).toEqual(Float32Array.from(values, Math.fround));
  });

  test('are converted on the first read and kept', () => {
    const tensor = tensorOf('F16', Uint16Array.of(0x3c00), 1);
    expect(tensor.data).toBe(tensor.data);
    expect([...tensor.data]).toEqual([1]);
  });

  test('of another dtype fail when read, not before', () => {
    const integers = { name: 'ids', dtype: 'I64', shape: [1], bytes: new Uint8Array(8) };
    const future = { name: 'new', dtype: 'F1', shape: [100], bytes: new Uint8Array(3) };
    const named = { name: 'odd', dtype: 'constructor', shape: [], bytes: new Uint8Array(1) };
    const floats = { name: 'w', dtype: 'F32', shape: [1], bytes: bytesOf(Float32Array.of(3)) };
    const tensors = parseSafetensors(write([integers, future, named, floats]));

    expect(Object.keys(tensors)).toEqual(['ids', 'new', 'odd', 'w']);
    expect([...(tensors['w'] as StateTensor).data]).toEqual([3]);
    expect(tensors['ids']?.shape).toEqual([1]);
    for (const { name, dtype } of [integers, future, named]) {
      expect(errorOf(() => tensors[name]?.data)).toMatchObject({
        code: 'INVALID_DTYPE',
        argument: `tensor "${name}"`,
        received: `"${dtype}"`,
      });
    }
  });
});

describe('files', () => {
  test('come as a buffer, a shared buffer, or a view anywhere in one', () => {
    const file = write([{ name: 'x', dtype: 'F32', shape: [2], bytes: bytesOf(Float32Array.of(1, 2)) }], 1);
    const inside = new Uint8Array(file.length + 24);
    inside.set(file, 13);
    const shared = new Uint8Array(new SharedArrayBuffer(file.length));
    shared.set(file);
    const forms = [file, file.buffer, inside.subarray(13, 13 + file.length), shared];
    for (const bytes of forms)
      expect([...(parseSafetensors(bytes)['x'] as StateTensor).data]).toEqual([1, 2]);
  });

  test('may be empty, hold scalars, empty tensors and metadata, in any order of offsets', () => {
    expect(Object.keys(parseSafetensors(fileOf('{}')))).toEqual([]);
    expect(Object.keys(parseSafetensors(write([], 5, { format: 'pt' })))).toEqual([]);
    const header = {
      second: entry('F32', [], [4, 8]),
      nothing: entry('F32', [3, 0], [4, 4]),
      first: entry('F32', [1], [0, 4]),
    };
    const tensors = parseSafetensors(fileOf(JSON.stringify(header), bytesOf(Float32Array.of(1, 2))));
    expect([...(tensors['first'] as StateTensor).data]).toEqual([1]);
    expect([...(tensors['second'] as StateTensor).data]).toEqual([2]);
    expect(tensors['nothing']).toMatchObject({ shape: [3, 0], data: new Float32Array(0) });
  });

  test('cannot reach a prototype', () => {
    const header = '{"__proto__":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}';
    const tensors = parseSafetensors(fileOf(header, bytesOf(Float32Array.of(7))));
    expect(Object.keys(tensors)).toEqual(['__proto__']);
    expect([...(tensors['__proto__'] as StateTensor).data]).toEqual([7]);
    expect('toString' in tensors).toBe(false);
    expect(({} as Record<string, unknown>)['dtype']).toBeUndefined();

    const inherited = '{"x":{"__proto__":{"dtype":"F32"},"shape":[],"data_offsets":[0,4]}}';
    expect(errorOf(() => parseSafetensors(fileOf(inherited, 4))).argument).toBe('tensor "x" dtype');
  });

  test.each([['text'], [null], [[1, 2]], [{}]])('are not %j', (value) => {
    const error = errorOf(() => parseSafetensors(value as unknown as ArrayBuffer));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'bytes' });
  });

  const x = (dtype: unknown, shape: unknown, offsets: unknown): string =>
    JSON.stringify({ x: entry(dtype, shape, offsets) });
  const pair = (a: [number, number], b: [number, number]): string =>
    JSON.stringify({ a: entry('U8', [a[1] - a[0]], a), b: entry('U8', [b[1] - b[0]], b) });
  const malformed: [why: string, file: Uint8Array, message: RegExp][] = [
    ['empty', new Uint8Array(0), /at least 8 bytes, got 0 bytes/],
    ['shorter than a length', new Uint8Array(7), /at least 8 bytes, got 7 bytes/],
    ['without a header', new Uint8Array(8), /begins with \{, got an empty header/],
    ['header longer than the file', fileOf('{}', 0, 3n), /expected 3 bytes, got a file that ends after 2/],
    ['header over the limit', fileOf('{}', 0, 100_000_001n), /at most 100000000 bytes/],
    ['header of 2^64 - 1 bytes', fileOf('{}', 0, 2n ** 64n - 1n), /at most 100000000 bytes/],
    ['leading space', fileOf(' {}'), /begins with \{, got byte 0x20/],
    ['list for a header', fileOf('[]'), /begins with \{, got byte 0x5b/],
    ['byte order mark', fileOf('\ufeff{}'), /begins with \{, got byte 0xef/],
    ['broken JSON', fileOf('{"x":}'), /valid JSON/],
    ['text after the JSON', fileOf('{}x'), /valid JSON/],
    ['broken UTF-8', fileOf(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)), /UTF-8/],
    ['entry null', fileOf('{"x":null}'), /tensor "x": expected an object .*, got null/],
    ['entry list', fileOf('{"x":[1]}'), /tensor "x": expected an object .*, got \[1\]/],
    ['no dtype', fileOf('{"x":{"shape":[],"data_offsets":[0,4]}}', 4), /tensor "x" dtype: .* got undefined/],
    ['dtype number', fileOf(x(32, [], [0, 4]), 4), /tensor "x" dtype: expected a string, got 32/],
    [
      'no shape',
      fileOf('{"x":{"dtype":"F32","data_offsets":[0,4]}}', 4),
      /tensor "x" shape: .* got undefined/,
    ],
    ['shape number', fileOf(x('F32', 1, [0, 4]), 4), /tensor "x" shape: .* got 1/],
    ['negative size', fileOf(x('F32', [-1], [0, 4]), 4), /tensor "x" shape: .* got \[-1\]/],
    ['minus zero', fileOf('{"x":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}}'), /got \[-0\]/],
    ['broken size', fileOf(x('F32', [0.5], [0, 2]), 2), /tensor "x" shape: .* got \[0.5\]/],
    ['size of text', fileOf(x('F32', ['1'], [0, 4]), 4), /tensor "x" shape: .* got Array\(1\)/],
    ['huge shape', fileOf(x('F32', [2 ** 30, 2 ** 30], [0, 4]), 4), /tensor "x" shape: .* 2\^53/],
    [
      'no offsets',
      fileOf('{"x":{"dtype":"F32","shape":[]}}', 4),
      /tensor "x" data_offsets: .* got undefined/,
    ],
    ['one offset', fileOf(x('F32', [], [4]), 4), /two integers >= 0, got \[4\]/],
    ['three offsets', fileOf(x('F32', [], [0, 4, 8]), 8), /two integers >= 0, got \[0, 4, 8\]/],
    ['negative offset', fileOf(x('F32', [], [-4, 0]), 4), /two integers >= 0, got \[-4, 0\]/],
    ['broken offset', fileOf(x('F32', [], [0, 4.5]), 5), /two integers >= 0, got \[0, 4.5\]/],
    ['offsets of text', fileOf(x('F32', [], ['0', '4']), 4), /two integers >= 0, got Array\(2\)/],
    ['offsets backwards', fileOf(x('F32', [], [4, 0]), 4), /begin <= end <= 4, got \[4, 0\]/],
    ['offsets outside', fileOf(x('F32', [], [0, 4]), 3), /tensor "x" data_offsets: .* <= 3, got \[0, 4\]/],
    [
      'too few bytes',
      fileOf(x('F32', [2], [0, 4]), 4),
      /tensor "x": expected 8 bytes for F32 .*, got 4 bytes/,
    ],
    [
      'too many bytes',
      fileOf(x('F16', [], [0, 4]), 4),
      /tensor "x": expected 2 bytes for F16 .*, got 4 bytes/,
    ],
    ['unread dtype of wrong size', fileOf(x('I64', [1], [0, 4]), 4), /expected 8 bytes for I64/],
    ['overlap', fileOf(pair([0, 4], [3, 6]), 6), /tensor "b" data_offsets: .* byte 4, .*an overlap/],
    ['same bytes twice', fileOf(pair([0, 4], [0, 4]), 4), /tensor "b" data_offsets: .*an overlap/],
    ['hole', fileOf(pair([0, 4], [5, 6]), 6), /tensor "b" data_offsets: .* byte 4, .*a hole/],
    [
      'hole at the beginning',
      fileOf(x('U8', [1], [1, 2]), 2),
      /tensor "x" data_offsets: .* byte 0, .*a hole/,
    ],
    ['trailing bytes', fileOf(x('F32', [], [0, 4]), 5), /4 bytes of values, got 5: trailing bytes/],
    ['values without tensors', fileOf('{}', 1), /0 bytes of values, got 1: trailing bytes/],
    ['metadata list', fileOf('{"__metadata__":[]}'), /__metadata__: expected an object of strings, got \[\]/],
    ['metadata number', fileOf('{"__metadata__":{"a":1}}'), /__metadata__ "a": expected a string, got 1/],
    [
      'duplicate tensor',
      fileOf(`{${x('U8', [1], [0, 1]).slice(1, -1)},${x('U8', [1], [0, 1]).slice(1)}`, 1),
      /"x" again/,
    ],
    ['duplicate by escape', fileOf('{"__metadata__":{"a":"","\\u0061":""}}'), /"a" again/],
    ['duplicate after quotes', fileOf('{"__metadata__":{"\\\\\\"":"\\"","b":"[{,","b":""}}'), /"b" again/],
    [
      'duplicate field',
      fileOf('{"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"dtype":"U8"}}'),
      /"dtype" again/,
    ],
  ];

  test.each(malformed)('are refused when malformed: %s', (_why, file, message) => {
    const error = errorOf(() => parseSafetensors(file));
    expect(error.code).toBe('INVALID_FILE');
    expect(error.message).toMatch(message);
  });

  test('with a huge name give a short message', () => {
    const error = errorOf(() => parseSafetensors(fileOf(JSON.stringify({ ['n'.repeat(100_000)]: null }))));
    expect(error.message.length).toBeLessThan(300);
  });

  test('are parsed once, however many tensors they have', () => {
    const tensors = Array.from({ length: 2000 }, (_, i) => ({
      ...{ name: `layer.${i}."weight\\`, dtype: 'U8', shape: [1], bytes: Uint8Array.of(1) },
    }));
    const file = write(tensors, 0, { format: 'pt' });
    const parse = vi.spyOn(JSON, 'parse');
    expect(Object.keys(parseSafetensors(file))).toHaveLength(2000);
    expect(parse).toHaveBeenCalledTimes(1);
  });

  test('may have fields from the future, whose keys are looked at as well', () => {
    const header = (extra: string) => `{"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"more":${extra}}}`;
    const nested = header('[{"x" :1,"shape"\n:{"y":"z:"}},{"x":2}]');
    expect(Object.keys(parseSafetensors(fileOf(nested)))).toEqual(['x']);
    const error = errorOf(() => parseSafetensors(fileOf(header('[{"x":1},{"y":1, "y" : 2}]'))));
    expect(error).toMatchObject({ code: 'INVALID_FILE', received: '"y" again' });
  });

  test('are not taken for duplicates where keys differ by their place', () => {
    const header =
      '{"__metadata__":{"a":"a","b":"a,\\"a\\":{"},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}';
    expect(Object.keys(parseSafetensors(fileOf(header)))).toEqual(['a']);
  });
});

describe('properties', () => {
  const widths = { F32: 4, F16: 2, BF16: 2, F64: 8, I64: 8, U8: 1 };
  const tensor = fc
    .record({
      name: fc.string({ unit: 'binary', maxLength: 12 }).filter((name) => name !== '__metadata__'),
      dtype: fc.constantFrom(...(Object.keys(widths) as (keyof typeof widths)[])),
      shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 }),
    })
    .chain(({ name, dtype, shape }) => {
      const length = shape.reduce((product, size) => product * size, 1) * widths[dtype];
      const values = fc.uint8Array({ minLength: length, maxLength: length });
      return values.map((bytes): Written => ({ name, dtype, shape, bytes }));
    });
  const contents = fc.uniqueArray(tensor, { maxLength: 5, selector: ({ name }) => name });

  function expectedValues({ dtype, bytes }: Written): number[] | undefined {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const upTo = (width: number): number[] =>
      Array.from({ length: bytes.length / width }, (_, at) => at * width);
    switch (dtype) {
      case 'F32':
        return upTo(4).map((at) => view.getFloat32(at, true));
      case 'F16':
        return upTo(2).map((at) => valueOfHalf(view.getUint16(at, true)));
      case 'BF16':
        return upTo(2).map((at) => float32OfBits(view.getUint16(at, true) * 65536));
      case 'F64':
        return upTo(8).map((at) => Math.fround(view.getFloat64(at, true)));
      default:
        return undefined;
    }
  }

  function float32OfBits(bits: number): number {
    return new Float32Array(Uint32Array.of(bits).buffer)[0] as number;
  }

  /** Everything there is to read, or the codes of what cannot be. */
  function readAll(bytes: Uint8Array): AttentionErrorCode[] {
    const codes: AttentionErrorCode[] = [];
    const attempt = (action: () => void): void => {
      try {
        action();
      } catch (error) {
        if (!(error instanceof AttentionError)) throw error;
        codes.push(error.code);
      }
    };
    attempt(() => {
      for (const { data, shape } of Object.values(parseSafetensors(bytes)).map(lazily)) {
        attempt(() => expect(data().length).toBe(shape.reduce((product, size) => product * size, 1)));
      }
    });
    return codes;
  }

  function lazily(tensor: StateTensor): { data: () => Float32Array; shape: readonly number[] } {
    return { data: () => tensor.data, shape: tensor.shape };
  }

  test('what was written is read back, at any alignment', () => {
    fc.assert(
      fc.property(contents, fc.nat(9), (tensors, padding) => {
        const parsed = parseSafetensors(write(tensors, padding, { written: 'here' }));
        expect(new Set(Object.keys(parsed))).toEqual(new Set(tensors.map(({ name }) => name)));
        for (const written of tensors) {
          const read = parsed[written.name] as StateTensor;
          const expected = expectedValues(written);
          expect(read.shape).toEqual(written.shape);
          if (expected === undefined) expect(errorOf(() => read.data).code).toBe('INVALID_DTYPE');
          else expect([...read.data]).toEqual(expected);
        }
      }),
    );
  });

  test('a truncated file is always refused', () => {
    fc.assert(
      fc.property(
        contents,
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (tensors, share) => {
          const file = write(tensors);
          expect(readAll(file.slice(0, Math.floor(share * file.length)))).toEqual(['INVALID_FILE']);
        },
      ),
    );
  });

  test('random bytes give a result or an AttentionError, never anything else', () => {
    const mutations = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(contents, mutations, (tensors, changes) => {
        const file = write(tensors, 0, { format: 'pt' });
        for (const [at, byte] of changes) file[at % file.length] = byte;
        const codes = readAll(file);
        expect(codes.every((code) => code === 'INVALID_FILE' || code === 'INVALID_DTYPE')).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  test('so does random JSON behind a truthful length', () => {
    const header = fc.dictionary(
      fc.oneof(fc.string(), fc.constantFrom('__metadata__', '__proto__')),
      fc.oneof(
        fc.jsonValue(),
        fc.record(
          {
            dtype: fc.constantFrom('F32', 'U8', 'F4', 'X'),
            shape: fc.jsonValue(),
            data_offsets: fc.jsonValue(),
          },
          { requiredKeys: [] },
        ),
      ),
    );
    fc.assert(
      fc.property(header, fc.nat(16), (value, count) => {
        readAll(fileOf(JSON.stringify(value), count));
      }),
      { numRuns: 500 },
    );
  });
});
