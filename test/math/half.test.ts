// Every half float against its definition, which float64 holds exactly.

import { expect, it } from 'vitest';
import { floatsOfHalves } from '../../src/math/half.js';

/** Sign, 5 bits of exponent, 10 of fraction. */
function valueOf(bits: number): number {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction) : sign * 2 ** -14 * fraction;
}

it('all half floats become the floats they equal', () => {
  const halves = Uint16Array.from({ length: 2 ** 16 }, (_, bits) => bits);
  expect(floatsOfHalves(halves)).toEqual(Float32Array.from(halves, valueOf));
});

it('a NaN keeps its payload', () => {
  const [bits] = new Uint32Array(floatsOfHalves(Uint16Array.of(0xfe01)).buffer);
  expect(bits).toBe(0xffc02000);
});
