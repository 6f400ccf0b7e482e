// One vector for each sequence: the mean of its tokens, its first or its last one.

import { POOL_BLOCK } from '../../../build/kernels.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import { integers } from '../../runtime/checks.js';
import type { IntegerList, NamesOf } from '../../runtime/checks.js';
import { invalidArgument, shapeError } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Tensor } from '../../runtime/tensor.js';

/**
 * @internal Rows of x, `length` for each sequence, to their means [batch, channels] at y. `weights` is the address of
 * [batch, length] floats, of which 0 leaves a token out; undefined: ones. A sequence without any weight gives zeros.
 */
export function runMeanPooling(
  scope: CallScope,
  x: { address: number; rowBytes: number },
  batch: number,
  length: number,
  channels: number,
  weights: number | undefined,
  y: number,
): void {
  scope.run({
    pack: 'model',
    kernel: 'meansOverTokens',
    args: [x.address, x.rowBytes, length, channels, weights ?? 0, y],
    tiles: batch * Math.ceil(channels / POOL_BLOCK),
    scratchBytes: 8 * POOL_BLOCK,
    cost: 40 * batch * length * channels,
  });
}

/** Options of `firstToken`. */
export interface FirstTokenOptions {
  /** Needed only if the input is not a Tensor. */
  readonly runtime?: Runtime | undefined;
}

/** Options of `meanPooling` and `lastToken`: which tokens are no padding. */
export interface PoolingOptions extends FirstTokenOptions {
  /** How many tokens each sequence has; what follows is padding. Default all. */
  readonly lengths?: IntegerList | undefined;
  /** [batch, length], of which 0 marks padding. Not beside lengths. */
  readonly mask?: TensorLike | undefined;
}

type PoolingOperation<Options extends object> = Operation<[input: TensorLike], Options, Tensor<'float32'>>;

const POOLING_NAMES = { lengths: 1, mask: 1, runtime: 1 } satisfies NamesOf<PoolingOptions>;

export const meanPoolingOperation: PoolingOperation<PoolingOptions> = {
  inputs: ['input'],
  options: POOLING_NAMES,
  run(scope, [input], options) {
    const given = sequences(scope, input);
    const [batch, length, channels] = given.shape as [number, number, number];
    const weights = weightsOf(scope, options, batch, length);
    const y = scope.make([batch, channels]);
    if (y.size === 0) return y;
    const x = scope.contiguous(given);
    const address = weights && scope.floats(weights);
    runMeanPooling(
      scope,
      { address: x.address, rowBytes: channels * 4 },
      batch,
      length,
      channels,
      address,
      y.address,
    );
    return y;
  },
};

export const firstTokenOperation: PoolingOperation<FirstTokenOptions> = {
  inputs: ['input'],
  options: { runtime: 1 } satisfies NamesOf<FirstTokenOptions>,
  run(scope, [input]) {
    const x = sequences(scope, input);
    const [batch, length, channels] = x.shape as [number, number, number];
    if (length === 0) throw shapeError('input', '[batch, length, channels] of at least one token', x.shape);
    const y = scope.make([batch, channels]);
    if (y.size > 0) scope.copy(x.slice(1, 0, 1), y);
    return y;
  },
};

export const lastTokenOperation: PoolingOperation<PoolingOptions> = {
  inputs: ['input'],
  options: POOLING_NAMES,
  run(scope, [input], options) {
    const x = sequences(scope, input);
    const [batch, length, channels] = x.shape as [number, number, number];
    const places = lastPlaces(options, weightsOf(scope, options, batch, length), batch, length);
    const y = scope.make([batch, channels]);
    places.forEach((place, b) => {
      if (channels > 0) scope.copy(x.slice(0, b, b + 1).slice(1, place, place + 1), y.slice(0, b, b + 1));
    });
    return y;
  },
};

function sequences(scope: CallScope, input: TensorLike): Tensor {
  const x = scope.tensor('input', input);
  checkDataType('input', x, 'float32');
  if (x.shape.length !== 3) throw shapeError('input', '[batch, length, channels]', x.shape);
  return x;
}

/** @internal The last token of each sequence that is no padding. */
export function lastPlaces(
  { mask }: PoolingOptions,
  weights: Float32Array | undefined,
  batch: number,
  length: number,
): number[] {
  return Array.from({ length: batch }, (_, b) => {
    let place = length - 1;
    while (place >= 0 && weights?.[b * length + place] === 0) place--;
    if (place >= 0) return place;
    throw invalidArgument(mask ? 'mask' : 'lengths', 'a token of every sequence', `none of sequence ${b}`);
  });
}

/** @internal [batch, length]; undefined where all tokens count. */
export function weightsOf(
  scope: CallScope,
  { lengths, mask }: PoolingOptions,
  batch: number,
  length: number,
): Float32Array | undefined {
  if (mask !== undefined) {
    if (lengths !== undefined) throw invalidArgument('lengths', 'nothing beside a mask', lengths);
    const kept = scope.tensor('mask', mask);
    if (kept.shape.length !== 2 || kept.shape[0] !== batch || kept.shape[1] !== length)
      throw shapeError('mask', `[${batch}, ${length}]`, kept.shape);
    return kept.toFloat32Array();
  }
  if (lengths === undefined) return undefined;
  const counts = integers('lengths', lengths, 0, length);
  if (counts.length !== batch) throw shapeError('lengths', `${batch} integers`, counts);
  return Float32Array.from({ length: batch * length }, (_, i) =>
    i % length < counts[Math.floor(i / length)]! ? 1 : 0,
  );
}

/**
 * The mean of each sequence's tokens, in double precision. Padding is not read; a sequence of nothing else gives zeros. A mask of
 * other numbers than 0 and 1 weights tokens. The runtime needs the pack `model`.
 *
 * @param input [batch, length, channels], float32
 * @returns [batch, channels]
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * const tokens = runtime.tensor([1, 3, 5, 2, 4, 9], [2, 3, 1]);
 * meanPooling(tokens).data; // [3, 5]
 * meanPooling(tokens, { lengths: [3, 2] }).data; // [3, 3]
 * ```
 */
export function meanPooling(input: TensorLike, options: PoolingOptions = {}): Tensor<'float32'> {
  return callNow(meanPoolingOperation, [input], options);
}

/**
 * {@link meanPooling} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const y = await meanPoolingAsync(runtime.tensor([1, 3, 5], [1, 3, 1]));
 * y.data; // [3]
 * ```
 */
export function meanPoolingAsync(
  input: TensorLike,
  options: PoolingOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(meanPoolingOperation, [input], options);
}

/**
 * The first token of each sequence.
 *
 * @param input [batch, length, channels], float32
 * @returns [batch, channels], a copy
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * firstToken(runtime.tensor([1, 3, 5, 2, 4, 9], [2, 3, 1])).data; // [1, 2]
 * ```
 */
export function firstToken(input: TensorLike, options: FirstTokenOptions = {}): Tensor<'float32'> {
  return callNow(firstTokenOperation, [input], options);
}

/**
 * {@link firstToken} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const y = await firstTokenAsync(runtime.tensor([1, 3, 5], [1, 3, 1]));
 * y.data; // [1]
 * ```
 */
export function firstTokenAsync(
  input: TensorLike,
  options: FirstTokenOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(firstTokenOperation, [input], options);
}

/**
 * The last token of each sequence that is no padding, by lengths or a mask.
 *
 * @param input [batch, length, channels], float32
 * @returns [batch, channels], a copy
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * lastToken(runtime.tensor([1, 3, 5, 2, 4, 9], [2, 3, 1]), { lengths: [3, 2] }).data; // [5, 4]
 * ```
 */
export function lastToken(input: TensorLike, options: PoolingOptions = {}): Tensor<'float32'> {
  return callNow(lastTokenOperation, [input], options);
}

/**
 * {@link lastToken} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const y = await lastTokenAsync(runtime.tensor([1, 3, 5], [1, 3, 1]));
 * y.data; // [5]
 * ```
 */
export function lastTokenAsync(
  input: TensorLike,
  options: PoolingOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(lastTokenOperation, [input], options);
}
