// Dropout of elements, whose mask is a function of seed, site and place: nothing is kept for the way back, which is the same call.

import { dropoutParameters, PHILOX_BYTES } from '../../../build/kernels.js';
import type { Rows } from '../../model/pass.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import { checkInteger } from '../../runtime/checks.js';
import type { NamesOf } from '../../runtime/checks.js';
import { invalidArgument } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import { ParameterBlock } from '../../runtime/parameters.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Tensor } from '../../runtime/tensor.js';

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
    throw invalidArgument('rate', 'a number from 0 to below 1', rate);
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

/** Options of `dropout`. */
export interface DropoutOptions {
  /** The part that is left out, 0 to below 1. */
  readonly rate: number;
  /** An integer from 0 to 2^53 - 1. The same seed gives the same mask. */
  readonly seed: number;
  /** A number that tells apart masks of one seed: of layers, of steps. Default 0. */
  readonly site?: number | undefined;
  /** Needed only if the input is not a Tensor. */
  readonly runtime?: Runtime | undefined;
}

const dropoutOperation: Operation<[input: TensorLike], DropoutOptions, Tensor<'float32'>> = {
  inputs: ['input'],
  options: { rate: 1, seed: 1, site: 1, runtime: 1 } satisfies NamesOf<DropoutOptions>,
  run(scope, [input], { rate, seed, site = 0 }) {
    const x = scope.tensor('input', input);
    checkDataType('input', x, 'float32');
    checkInteger('site', site, 0, 2 ** 32 - 1);
    dropoutWords({ rate, seed, site });
    const y = scope.make(x.shape);
    const channels = x.shape.at(-1) ?? 1;
    const place = ({ address }: Tensor) => ({
      address,
      rowBytes: channels * 4,
      rows: channels && x.size / channels,
    });
    runDropout(scope, place(scope.contiguous(x)), place(y), channels, { rate, seed, site });
    return y;
  },
};

/**
 * Leaves out elements at random, and divides the others by 1 - rate. Which ones is a function of seed, site, and the place in the
 * tensor: the gradient is the same call on what flows into the result. The runtime needs the pack `training`.
 *
 * @param input any shape, float32
 * @returns a tensor of the input's shape
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 * @see Srivastava et al. 2014; Salmon et al. 2011 (Philox, the generator)
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const ones = runtime.tensor(new Float32Array(1000).fill(1));
 * const y = dropout(ones, { rate: 0.5, seed: 7 });
 * [...new Set(y.data)].sort(); // [0, 2]
 * ```
 */
export function dropout(input: TensorLike, options: DropoutOptions): Tensor<'float32'> {
  return callNow(dropoutOperation, [input], options);
}

/**
 * {@link dropout} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const y = await dropoutAsync(runtime.tensor([1, 2]), { rate: 0, seed: 7 });
 * y.data; // [1, 2]
 * ```
 */
export function dropoutAsync(
  input: TensorLike,
  options: DropoutOptions & AsyncOptions,
): Promise<Tensor<'float32'>> {
  return callAsync(dropoutOperation, [input], options);
}
