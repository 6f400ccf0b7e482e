// Activations, element by element.

import { ACTIVATION_BLOCK, SOFTCAP } from '../../../build/kernels.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { NamesOf } from '../../runtime/checks.js';
import { invalidArgument } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import { givenOutput } from '../../runtime/output.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Tensor } from '../../runtime/tensor.js';
import { ACTIVATIONS } from './names.js';
import type { ActivationName } from './names.js';

/** @internal `count` floats at x to y, which may be x. A softcap c is c * tanh(x / c). */
export function runActivation(
  scope: CallScope,
  activation: ActivationName | { readonly softcap: number },
  x: number,
  y: number,
  count: number,
): void {
  const isNamed = typeof activation === 'string';
  scope.run({
    pack: 'model',
    kernel: 'activationRows',
    args: [
      ...([x, y, count] as const),
      isNamed ? ACTIVATIONS[activation] : SOFTCAP,
      isNamed ? 0 : scope.floats([activation.softcap]),
    ],
    tiles: Math.ceil(count / ACTIVATION_BLOCK),
    scratchBytes: 16,
    cost: 30 * count,
  });
}

/** Options of activations. */
export interface ActivationOptions {
  /** A contiguous float32 tensor of the input's shape to write to. It must not share an element with the input. */
  readonly output?: Tensor | undefined;
  /** Needed only if the input is not a Tensor. */
  readonly runtime?: Runtime | undefined;
}

/** Options of `gelu`. */
export interface GeluOptions extends ActivationOptions {
  /** 'none' (default) is by the error function, 'tanh' by its approximation with tanh: another function, not a faster one. */
  readonly approximate?: 'none' | 'tanh' | undefined;
}

type ActivationOperation<Options extends object = ActivationOptions> = Operation<
  [input: TensorLike],
  Options,
  Tensor<'float32'>
>;

function operationOf(name: ActivationName): ActivationOperation {
  return {
    inputs: ['input'],
    options: { output: 1, runtime: 1 } satisfies NamesOf<ActivationOptions>,
    run: (scope, [input], options) => activate(scope, name, input, options),
  };
}

export const geluOperation: ActivationOperation<GeluOptions> = {
  inputs: ['input'],
  options: { approximate: 1, output: 1, runtime: 1 } satisfies NamesOf<GeluOptions>,
  run(scope, [input], options) {
    const { approximate = 'none' } = options;
    if (approximate !== 'none' && approximate !== 'tanh') {
      throw invalidArgument('approximate', "'none' or 'tanh'", approximate);
    }
    return activate(scope, approximate === 'tanh' ? 'geluTanh' : 'gelu', input, options);
  },
};
export const quickGeluOperation = /* @__PURE__ */ operationOf('quickGelu');
export const siluOperation = /* @__PURE__ */ operationOf('silu');
export const reluOperation = /* @__PURE__ */ operationOf('relu');
export const tanhOperation = /* @__PURE__ */ operationOf('tanh');

function activate(
  scope: CallScope,
  name: ActivationName,
  input: TensorLike,
  { output }: ActivationOptions,
): Tensor<'float32'> {
  const given = scope.tensor('input', input);
  checkDataType('input', given, 'float32');
  const y = output === undefined ? scope.make(given.shape) : givenOutput(scope, output, given.shape, true);
  if (!given.contiguous) scope.copy(given, y);
  const x = given.contiguous ? given : y;
  runActivation(scope, name, x.address, y.address, x.size);
  return y;
}

/**
 * x * P(X <= x) for a standard normal X: x (1 + erf(x / sqrt 2)) / 2. The runtime needs the pack `model`.
 *
 * @param input any shape, float32
 * @returns a tensor of the input's shape
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 * @see Hendrycks and Gimpel 2016
 *
 * @example
 * ```js
 * gelu(runtime.tensor([0, 100, -Infinity])).data; // [0, 100, 0]
 * gelu(runtime.tensor([1]), { approximate: 'tanh' }).data[0].toFixed(4); // '0.8412'
 * ```
 */
export function gelu(input: TensorLike, options: GeluOptions = {}): Tensor<'float32'> {
  return callNow(geluOperation, [input], options);
}

/**
 * {@link gelu} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const y = await geluAsync(runtime.tensor([0, 100]));
 * y.data; // [0, 100]
 * ```
 */
export function geluAsync(
  input: TensorLike,
  options: GeluOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(geluOperation, [input], options);
}

/**
 * x * sigmoid(1.702 x), CLIP's activation. The runtime needs the pack `model`.
 *
 * @param input any shape, float32
 * @returns a tensor of the input's shape
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * quickGelu(runtime.tensor([0, 100, -Infinity])).data; // [0, 100, 0]
 * ```
 */
export function quickGelu(input: TensorLike, options: ActivationOptions = {}): Tensor<'float32'> {
  return callNow(quickGeluOperation, [input], options);
}

/**
 * {@link quickGelu} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const y = await quickGeluAsync(runtime.tensor([0, 100]));
 * y.data; // [0, 100]
 * ```
 */
export function quickGeluAsync(
  input: TensorLike,
  options: ActivationOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(quickGeluOperation, [input], options);
}

/**
 * x * sigmoid(x). The runtime needs the pack `model`.
 *
 * @param input any shape, float32
 * @returns a tensor of the input's shape
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * silu(runtime.tensor([0, 100, -Infinity])).data; // [0, 100, 0]
 * ```
 */
export function silu(input: TensorLike, options: ActivationOptions = {}): Tensor<'float32'> {
  return callNow(siluOperation, [input], options);
}

/**
 * {@link silu} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const y = await siluAsync(runtime.tensor([0, 100]));
 * y.data; // [0, 100]
 * ```
 */
export function siluAsync(
  input: TensorLike,
  options: ActivationOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(siluOperation, [input], options);
}

/**
 * max(x, 0); NaN stays. The runtime needs the pack `model`.
 *
 * @param input any shape, float32
 * @returns a tensor of the input's shape
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * relu(runtime.tensor([-1, 2])).data; // [0, 2]
 * ```
 */
export function relu(input: TensorLike, options: ActivationOptions = {}): Tensor<'float32'> {
  return callNow(reluOperation, [input], options);
}

/**
 * {@link relu} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const y = await reluAsync(runtime.tensor([-1, 2]));
 * y.data; // [0, 2]
 * ```
 */
export function reluAsync(
  input: TensorLike,
  options: ActivationOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(reluOperation, [input], options);
}

/**
 * The hyperbolic tangent. The runtime needs the pack `model`.
 *
 * @param input any shape, float32
 * @returns a tensor of the input's shape
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * tanh(runtime.tensor([0, 100])).data; // [0, 1]
 * ```
 */
export function tanh(input: TensorLike, options: ActivationOptions = {}): Tensor<'float32'> {
  return callNow(tanhOperation, [input], options);
}

/**
 * {@link tanh} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const y = await tanhAsync(runtime.tensor([0, 100]));
 * y.data; // [0, 1]
 * ```
 */
export function tanhAsync(
  input: TensorLike,
  options: ActivationOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(tanhOperation, [input], options);
}
