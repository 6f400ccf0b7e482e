// Dropout of elements, whose mask is a function of seed, site and place: nothing is kept for the way back, which is the same call.

import { dropoutParameters, PHILOX_BYTES } from '../../../build/kernels.js';
import type { Rows } from '../../model/pass.js';
import type { CallScope } from '../../runtime/call-scope.js';
import { invalidArgument } from '../../runtime/errors.js';
import { ParameterBlock } from '../../runtime/parameters.js';

const dropoutBlock = /* @__PURE__ */ new ParameterBlock(dropoutParameters);

/** What tells which elements are left out. */
export interface Dropout {
  /** Which part is left out, 0 to below 1. */
  readonly rate: number;
  /** An integer of up to 53 bits. */
  readonly seed: number;
  /** Tells apart the places of a model that leave out elements. */
  readonly site: number;
}

/** @internal The rate as words below which elements are left out, the factor of those that stay, and the seed in words. */
export function dropoutWords({ rate, seed, site }: Dropout) {
  if (typeof rate !== 'number' || !(rate >= 0 && rate < 1))
    throw invalidArgument('dropout', 'a number from 0 to below 1', rate);
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw invalidArgument('seed', 'an integer from 0 to 2^53 - 1', seed);
  return {
    threshold: Math.floor(rate * 2 ** 32),
    factor: 1 / (1 - rate),
    seedLow: seed % 2 ** 32,
    seedHigh: Math.floor(seed / 2 ** 32),
    site,
  };
}

/**
 * @internal y = x / (1 - rate), or 0 for a part `rate` of the elements, rows of so many floats; y may be x. The mask is the same for the
 * same seed, site and row number, of which the first row has `row0`.
 */
export function runDropout(
  scope: CallScope,
  x: Rows,
  y: Omit<Rows, 'rows'>,
  channels: number,
  dropout: Dropout & { readonly row0?: number },
): void {
  const words = dropoutWords(dropout);
  const parameters = scope.allocate(dropoutBlock.bytes);
  dropoutBlock.write(scope.runtime.linearMemory, parameters, [
    {
      ...{ x: x.address, xStride: x.rowBytes, y: y.address, yStride: y.rowBytes },
      ...{ ...words, channels, firstRow: dropout.row0 ?? 0 },
    },
  ]);
  scope.run({
    pack: 'training',
    kernel: 'dropoutRows',
    args: [parameters],
    tiles: x.rows,
    scratchBytes: PHILOX_BYTES,
    cost: 40 * x.rows * channels,
  });
}
