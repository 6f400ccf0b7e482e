// Gradients of pooling: what flows into one vector for each sequence, handed on to its tokens.

import type { Rows } from '../../model/pass.js';
import { lastPlaces, weightsOf } from '../../ops/rows/pooling.js';
import type { PoolingOptions } from '../../ops/rows/pooling.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import { checkInteger } from '../../runtime/checks.js';
import type { NamesOf } from '../../runtime/checks.js';
import { invalidArgument, shapeError } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import type { Tensor } from '../../runtime/tensor.js';

/**
 * @internal dx = part * dy of the token's sequence, or that added to dx: the gradient of a mean, whose parts are weights divided by
 * their sum, and of one token, whose part is 1.
 *
 * @param dy    rows of so many floats, one a sequence
 * @param parts [batch][length]; a token of part 0 has no gradient
 * @param dx    rows of so many floats, one a token
 */
export function runPoolingBackward(
  scope: CallScope,
  dy: Omit<Rows, 'rows'>,
  parts: Float32Array,
  length: number,
  channels: number,
  { dx, adding = false }: { readonly dx: Omit<Rows, 'rows'>; readonly adding?: boolean | undefined },
): void {
  if (channels === 0) return;
  scope.run({
    pack: 'training',
    kernel: 'poolingBackward',
    args: [
      ...([dy.address, dy.rowBytes, scope.floats(parts), length, channels] as const),
      ...([dx.address, dx.rowBytes, adding ? 1 : 0] as const),
    ],
    tiles: parts.length,
    scratchBytes: 0,
    cost: 5 * parts.length * channels,
  });
}

/** @internal Parts of tokens in the means of their sequences, [batch][length]; zeros where a sequence has no weight. */
export function partsOfMeans(weights: Float32Array | undefined, batch: number, length: number): Float32Array {
  const parts = weights ? weights.slice() : new Float32Array(batch * length).fill(1);
  for (let b = 0; b < batch; b++) {
    const own = parts.subarray(b * length, (b + 1) * length);
    let sum = 0;
    for (const weight of own) sum += weight;
    own.forEach((weight, i) => (own[i] = sum === 0 ? 0 : weight / sum));
  }
  return parts;
}

/** @internal Parts of single tokens, one of each sequence. */
function partsOfTokens(places: readonly number[], length: number): Float32Array {
  const parts = new Float32Array(places.length * length);
  places.forEach((place, b) => (parts[b * length + place] = 1));
  return parts;
}

/** Options of `poolingBackward`. */
export interface PoolingBackwardOptions extends PoolingOptions {
  /** What was done: 'mean' (default) for `meanPooling`, 'first' for `firstToken`, 'last' for `lastToken`. */
  readonly pooling?: 'mean' | 'first' | 'last' | undefined;
}

export const poolingBackwardOperation: Operation<
  [upstream: TensorLike, length: number],
  PoolingBackwardOptions,
  Tensor<'float32'>
> = {
  inputs: ['upstream', 'length'],
  options: { pooling: 1, lengths: 1, mask: 1, runtime: 1 } satisfies NamesOf<PoolingBackwardOptions>,
  run(scope, [upstream, length], options) {
    const given = scope.tensor('upstream', upstream);
    checkDataType('upstream', given, 'float32');
    if (given.shape.length !== 2) throw shapeError('upstream', '[batch, channels]', given.shape);
    const [batch, channels] = given.shape as [number, number];
    const { pooling = 'mean' } = options;
    checkInteger('length', length, pooling === 'mean' ? 0 : 1, 2 ** 31 - 1);
    const parts = partsOf(scope, pooling, options, batch, length);
    const dx = scope.make([batch, length, channels]);
    const dy = scope.contiguous(given);
    const rowBytes = channels * 4;
    const target = { address: dx.address, rowBytes };
    runPoolingBackward(scope, { address: dy.address, rowBytes }, parts, length, channels, { dx: target });
    return dx;
  },
};

function partsOf(
  scope: CallScope,
  pooling: unknown,
  options: PoolingOptions,
  batch: number,
  length: number,
): Float32Array {
  const weights = weightsOf(scope, options, batch, length);
  if (pooling === 'mean') return partsOfMeans(weights, batch, length);
  if (pooling === 'last') return partsOfTokens(lastPlaces(options, weights, batch, length), length);
  if (pooling !== 'first') throw invalidArgument('pooling', "'mean', 'first' or 'last'", pooling);
  if (weights) throw invalidArgument('pooling', "'mean' or 'last' beside lengths or a mask", pooling);
  return partsOfTokens(new Array<number>(batch).fill(0), length);
}

/**
 * The gradient of `meanPooling`, `firstToken` or `lastToken` with the same lengths or mask; padding has zeros. The runtime needs the
 * pack `training`.
 *
 * @param upstream what flows into the pooled vectors, [batch, channels], float32
 * @param length   tokens of each sequence, padding included
 * @returns the gradient of the input, [batch, length, channels]
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * await runtime.load(training);
 * poolingBackward(runtime.tensor([6], [1, 1]), 3, { lengths: [2] }).data; // [3, 3, 0]
 * poolingBackward(runtime.tensor([6], [1, 1]), 3, { pooling: 'last' }).data; // [0, 0, 6]
 * ```
 */
export function poolingBackward(
  upstream: TensorLike,
  length: number,
  options: PoolingBackwardOptions = {},
): Tensor<'float32'> {
  return callNow(poolingBackwardOperation, [upstream, length], options);
}

/**
 * {@link poolingBackward} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const gradient = await poolingBackwardAsync(runtime.tensor([6], [1, 1]), 3);
 * gradient.data; // [2, 2, 2]
 * ```
 */
export function poolingBackwardAsync(
  upstream: TensorLike,
  length: number,
  options: PoolingBackwardOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(poolingBackwardOperation, [upstream, length], options);
}
