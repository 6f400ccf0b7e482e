// What the range encoder writes, the decoder that the package carries makes the same bytes of again: alone, or after what it
// continues.

import { expect, it } from 'vitest';
import { decoder } from '../../build/range-decoder.js';
import { Random } from '../reference/random.js';

/** Not by a plain import: what the compiler declares would be global in every test. */
const script = async (name: string) =>
  (await import(new URL(`../../scripts/${name}.mjs`, import.meta.url).href)) as Record<string, unknown>;
interface Encoded {
  readonly digits: Buffer;
  readonly bytes: Buffer;
}
const { encode } = (await script('range-encoder')) as {
  encode: (bytes: Buffer, earlier?: Encoded) => Encoded;
};
const { decode } = (await script('embedded')) as {
  decode: (decoder: Buffer, encoded: Encoded, earlier?: Encoded) => Buffer;
};

function randomBytes(length: number): Buffer {
  const random = new Random(length);
  return Buffer.from(Array.from({ length }, () => random.bits() & 255));
}

const module = Buffer.from(decoder);
const piece = randomBytes(500);

it.each([
  ['nothing', Buffer.alloc(0)],
  ['one byte', Buffer.from([253])],
  ['zeros, one long copy', Buffer.alloc(300)],
  ['what does not repeat', randomBytes(5000)],
  ['a period of two', Buffer.from('ab'.repeat(100))],
  ['copies with changes', Buffer.concat([piece, Buffer.from([1]), piece, piece.subarray(3), piece])],
  ['what comes again far off', Buffer.concat([piece, randomBytes(70_000), piece])],
])('%s', (_, bytes) => {
  const encoded = encode(bytes);
  expect(encoded.bytes.equals(bytes)).toBe(true);
  expect(decode(module, encoded).equals(bytes)).toBe(true);
});

it.each([
  ['nothing', Buffer.alloc(0), piece],
  ['an instruction without its operands', Buffer.from([0x20]), piece],
  ['the same', piece, piece],
  ['something else', Buffer.from('ab'.repeat(100)), piece],
  ['something, by nothing', piece, Buffer.alloc(0)],
])('continues %s', (_, before, bytes) => {
  const earlier = encode(before);
  const encoded = encode(bytes, earlier);
  expect(decode(module, encoded, earlier).equals(Buffer.concat([before, bytes]))).toBe(true);
});

it('makes less of what repeats', () => {
  const bytes = Buffer.concat([piece, piece, piece, piece]);
  expect(encode(bytes).digits.length).toBeLessThan(1.2 * piece.length);
});

it('makes less of what it continues', () => {
  const earlier = encode(Buffer.concat([piece, randomBytes(1000)]));
  expect(encode(piece, earlier).digits.length).toBeLessThan(10);
});
