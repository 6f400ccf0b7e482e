// What the range encoder writes, the decoder that the package carries makes the same bytes of again.

import { expect, it } from 'vitest';
import { decoder } from '../../build/range-decoder.js';
import { Random } from '../reference/random.js';

/** Not by a plain import: what the compiler declares would be global in every test. */
const script = async (name: string) =>
  (await import(new URL(`../../scripts/${name}.mjs`, import.meta.url).href)) as Record<string, unknown>;
const { encode } = (await script('range-encoder')) as { encode: (bytes: Buffer) => Buffer };
const { decode } = (await script('embedded')) as {
  decode: (decoder: Buffer, encoded: Buffer, length: number) => Buffer;
};

function randomBytes(length: number): Buffer {
  const random = new Random(length);
  return Buffer.from(Array.from({ length }, () => random.bits() & 255));
}

const piece = randomBytes(500);

it.each([
  ['nothing', Buffer.alloc(0)],
  ['one byte', Buffer.from([253])],
  ['zeros, one long copy', Buffer.alloc(300)],
  ['what does not repeat', randomBytes(5000)],
  ['a period of two', Buffer.from('ab'.repeat(100))],
  ['copies with changes', Buffer.concat([piece, Buffer.from([1]), piece, piece.subarray(3), piece])],
  ['what comes again as far off as distances reach', Buffer.concat([piece, randomBytes(65_035), piece])],
  ['what comes again farther off', Buffer.concat([piece, randomBytes(65_036), piece])],
])('%s', (_, bytes) => {
  const encoded = encode(bytes);
  expect(decode(Buffer.from(decoder, 'base64'), encoded, bytes.length).equals(bytes)).toBe(true);
});

it('makes less of what repeats', () => {
  const bytes = Buffer.concat([piece, piece, piece, piece]);
  expect(encode(bytes).length).toBeLessThan(1.2 * piece.length);
});
