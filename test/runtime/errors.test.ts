// Tests of src/runtime/errors.ts: what messages say and what stays readable by programs.
// Touch: add a case for every new kind of value that `describe` knows.

import fc from 'fast-check';
import { describe as suite, expect, test } from 'vitest';

import { AttentionError, describe } from '../../src/runtime/errors.js';

suite('AttentionError', () => {
  test('composes its message of the parts given', () => {
    const parts = { argument: 'query', expected: 'rank 4', received: '[2, 3]' };
    const message = (some: Partial<typeof parts>): string =>
      new AttentionError({ code: 'INVALID_SHAPE', ...some }).message;

    expect(message(parts)).toBe('query: expected rank 4, got [2, 3]');
    expect(message({ argument: 'query', expected: 'rank 4' })).toBe('query: expected rank 4');
    expect(message({ argument: 'query', received: '[2, 3]' })).toBe('query: got [2, 3]');
    expect(message({ expected: 'rank 4', received: '[2, 3]' })).toBe('expected rank 4, got [2, 3]');
    expect(message({ argument: 'query' })).toBe('query: invalid shape');
    expect(message({})).toBe('invalid shape');
  });

  test('carries its parts, and a cause only if it was given one', () => {
    const cause = new RangeError('no room');
    const error = new AttentionError({
      code: 'OUT_OF_MEMORY',
      argument: 'shape',
      expected: 'fewer',
      received: 'more',
      cause,
    });
    expect(error).toMatchObject({
      code: 'OUT_OF_MEMORY',
      argument: 'shape',
      expected: 'fewer',
      received: 'more',
    });
    expect(error.cause).toBe(cause);
    expect('cause' in new AttentionError({ code: 'DISPOSED' })).toBe(false);
  });

  test('prefers a message of its own', () => {
    const error = new AttentionError({ code: 'DISPOSED', argument: 'tensor', message: 'gone' });
    expect(error.message).toBe('gone');
    expect(error.argument).toBe('tensor');
  });

  test('is an Error that is called AttentionError, also in its stack', () => {
    const error = new AttentionError({ code: 'DISPOSED', message: 'gone' });
    expect(error).toBeInstanceOf(Error);
    expect(error.name).toBe('AttentionError');
    expect(String(error)).toBe('AttentionError: gone');
    expect(error.stack).toMatch(/^AttentionError: gone/);
    expect(Object.keys(error)).not.toContain('name');
  });
});

suite('describe', () => {
  class Layer {
    readonly size = 1;
  }
  const unreadable = new Proxy(
    {},
    {
      get() {
        throw new Error('no');
      },
    },
  );

  test.each([
    [undefined, 'undefined'],
    [null, 'null'],
    [true, 'true'],
    [1.5, '1.5'],
    [-0, '-0'],
    [NaN, 'NaN'],
    [-Infinity, '-Infinity'],
    [12n, '12n'],
    [Symbol('mask'), 'Symbol(mask)'],
    ['causal', '"causal"'],
    ['line\nbreak', '"line\\nbreak"'],
    ['x'.repeat(1000), `"${'x'.repeat(60)}"... (1000 characters)`],
    [[], '[]'],
    [[2, 3], '[2, 3]'],
    [[2, -0.5, NaN], '[2, -0.5, NaN]'],
    [[1, 2, 3, 4, 5, 6, 7, 8, 9], '[1, 2, 3, 4, 5, 6, 7, 8, ...] (9 items)'],
    [['a', 'b'], 'Array(2)'],
    [new Float32Array(12), 'Float32Array(12)'],
    [new BigInt64Array(2), 'BigInt64Array(2)'],
    [new ArrayBuffer(16), 'ArrayBuffer(16 bytes)'],
    [new SharedArrayBuffer(8), 'SharedArrayBuffer(8 bytes)'],
    [new DataView(new ArrayBuffer(8), 4), 'DataView(4 bytes)'],
    [{}, '{}'],
    [{ data: 1, shape: 2 }, '{ data, shape }'],
    [{ a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, h: 1, i: 1 }, '{ a, b, c, d, e, f, g, h, ... }'],
    [Object.assign(Object.create(null) as object, { data: 1 }), '{ data }'],
    [{ constructor: 'lie', data: 1 }, '{ constructor, data }'],
    [new Layer(), 'Layer'],
    [new Map(), 'Map'],
    [Layer, 'function Layer'],
    [() => 1, 'a function'],
    [unreadable, 'an unreadable object'],
  ])('reads as expected (case %#)', (value, expected) => {
    expect(describe(value)).toBe(expected);
  });

  test('never throws, and stays short on one line', () => {
    fc.assert(
      fc.property(
        fc.anything({ withTypedArray: true, withNullPrototype: true, withBigInt: true }),
        (value) => {
          const text = describe(value);
          expect(text.length).toBeLessThan(1000);
          expect(text).not.toContain('\n');
        },
      ),
    );
  });
});
