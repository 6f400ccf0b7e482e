// Positions that are added to the input: the sinusoidal encoding, and a table of learned ones.

import { checkInteger, checkOptions } from '../runtime/checks.js';
import type { NamesOf } from '../runtime/checks.js';
import { kindOf } from '../runtime/elements.js';
import { invalidArgument, shapeError } from '../runtime/errors.js';
import { power, sineAndCosine } from '../math/elementary.js';

/** Options of `sinusoidalEncoding`. */
export interface SinusoidalOptions {
  /** Base of the wavelengths. Default 10000. */
  readonly base?: number | undefined;
  /** Position of the first row. Default 0. */
  readonly offset?: number | undefined;
}

const SINUSOIDAL_NAMES = { base: 1, offset: 1 } satisfies NamesOf<SinusoidalOptions>;

/**
 * The sinusoidal encoding of positions offset .. offset + length - 1: [length, dim], channel 2i is
 * sin(position / base^(2i / dim)), channel 2i + 1 its cosine.
 *
 * @throws AttentionError INVALID_ARGUMENT
 * @see Vaswani et al. 2017, section 3.5
 *
 * @example
 * ```js
 * sinusoidalEncoding(2, 2)[0]; // 0
 * sinusoidalEncoding(2, 2)[1]; // 1
 * ```
 */
export function sinusoidalEncoding(
  length: number,
  dim: number,
  options: SinusoidalOptions = {},
): Float32Array {
  checkOptions(options, SINUSOIDAL_NAMES);
  const { base = 10000, offset = 0 } = options;
  for (const [argument, value] of Object.entries({ length, dim, offset })) {
    if (Number.isInteger(value) && value >= 0 && value < 2 ** 31) continue;
    throw invalidArgument(argument, 'an integer >= 0', value);
  }
  if (length * dim >= 2 ** 31) throw invalidArgument('length', 'fewer than 2^31 numbers in all', length);
  if (!(Number.isFinite(base) && base > 0)) {
    throw invalidArgument('base', 'a finite number > 0', base);
  }
  const table = new Float32Array(length * dim);
  for (let channel = 0; channel < dim; channel += 2) {
    const frequency = power(base, -channel / dim);
    for (let i = 0; i < length; i++) {
      const { sine, cosine } = sineAndCosine((offset + i) * frequency);
      table[i * dim + channel] = sine;
      if (channel + 1 < dim) table[i * dim + channel + 1] = cosine;
    }
  }
  return table;
}

/**
 * Adds row `positions[i]` of a table to token i, in place.
 *
 * @param x         [batch, length, dim] in order, changed
 * @param table     [positions, dim]: learned, or from `sinusoidalEncoding`
 * @param positions row of each of the `length` tokens; default 0, 1, ...
 * @returns x
 * @throws AttentionError INVALID_ARGUMENT, INVALID_SHAPE
 *
 * @example
 * ```js
 * const tokens = new Float32Array(5 * 8);
 * addPositions(tokens, sinusoidalEncoding(5, 8), { batch: 1, length: 5, dim: 8 });
 * tokens[1]; // 1
 * ```
 */
export function addPositions(
  x: Float32Array,
  table: Float32Array,
  shape: { readonly batch: number; readonly length: number; readonly dim: number },
  positions?: ArrayLike<number>,
): Float32Array {
  for (const [argument, array] of Object.entries({ x, table })) {
    if (kindOf(array) !== 'Float32Array') throw invalidArgument(argument, 'a Float32Array', array);
  }
  checkOptions(shape, { batch: 1, length: 1, dim: 1 }, {}, 'shape');
  const { batch, length, dim } = shape;
  for (const [name, size] of Object.entries({ batch, length, dim })) {
    checkInteger(`shape.${name}`, size, 1, 2 ** 31);
  }
  if (x.length !== batch * length * dim) {
    throw shapeError('x', `${batch} x ${length} x ${dim} numbers`, x);
  }
  const rows = table.length / dim;
  for (let i = 0; i < length; i++) {
    const row = positions ? positions[i]! : i;
    if (Number.isInteger(row) && row >= 0 && row < rows) continue;
    throw invalidArgument(`positions[${i}]`, `a row of a table of ${rows} positions`, row);
  }
  for (let b = 0, at = 0; b < batch; b++) {
    for (let i = 0; i < length; i++) {
      const row = (positions ? positions[i]! : i) * dim;
      for (let c = 0; c < dim; c++, at++) x[at]! += table[row + c]!;
    }
  }
  return x;
}
