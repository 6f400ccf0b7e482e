// Gradients of activations, alone and gated, and the gated product itself.

import {
  ACTIVATION_BACKWARD_SCRATCH_BYTES,
  activationBackwardParameters,
  SOFTCAP,
} from '../../../build/kernels.js';
import type { Rows } from '../../model/pass.js';
import { ACTIVATIONS } from '../../ops/activations/names.js';
import type { ActivationName } from '../../ops/activations/names.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { NamesOf } from '../../runtime/checks.js';
import { invalidArgument } from '../../runtime/errors.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import { ParameterBlock } from '../../runtime/parameters.js';
import type { Words } from '../../runtime/parameters.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Tensor } from '../../runtime/tensor.js';
import { matching, ofShape } from './matching.js';

type Place = Omit<Rows, 'rows'>;

/** A softcap c is c * tanh(x / c). */
export type Activation = ActivationName | { readonly softcap: number };

const block = /* @__PURE__ */ new ParameterBlock(activationBackwardParameters);

/** @internal Gradient of y = f(x), rows of so many floats. Each of the places may be another one. */
export function runActivationBackward(
  scope: CallScope,
  activation: Activation,
  x: Rows,
  dy: Place,
  channels: number,
  { dx, adding = false }: { readonly dx: Place; readonly adding?: boolean | undefined },
): void {
  run(scope, 'activationBackward', activation, x, channels, {
    ...{ dy: dy.address, dyStride: dy.rowBytes, dx: dx.address, dxStride: dx.rowBytes },
    adding: adding ? 1 : 0,
  });
}

/** @internal y = f(gate) * up, rows of so many floats; y may be one of them. */
export function runGatedForward(
  scope: CallScope,
  activation: Activation,
  gate: Rows,
  up: Place,
  y: Place,
  channels: number,
): void {
  run(scope, 'gatedForward', activation, gate, channels, {
    ...{ up: up.address, upStride: up.rowBytes, product: y.address, productStride: y.rowBytes },
  });
}

/**
 * @internal Gradients of y = f(gate) * up, and y itself where it is wanted: the product that follows needs it for its weights. Each of
 * the places may be another one, as long as no two results are the same.
 */
export function runGatedBackward(
  scope: CallScope,
  activation: Activation,
  gate: Rows,
  up: Place,
  dy: Place,
  channels: number,
  wanted: { readonly dGate: Place; readonly dUp: Place; readonly y?: Place | undefined },
): void {
  const { dGate, dUp, y } = wanted;
  run(scope, 'activationBackward', activation, gate, channels, {
    ...{ up: up.address, upStride: up.rowBytes, dy: dy.address, dyStride: dy.rowBytes },
    ...{ dx: dGate.address, dxStride: dGate.rowBytes, dUp: dUp.address, dUpStride: dUp.rowBytes },
    ...{ product: y?.address ?? 0, productStride: y?.rowBytes ?? 0 },
  });
}

function run(
  scope: CallScope,
  kernel: 'activationBackward' | 'gatedForward',
  activation: Activation,
  x: Rows,
  channels: number,
  words: Words<(typeof activationBackwardParameters)['words'][number]>,
): void {
  if (x.rows === 0 || channels === 0) return;
  const parameters = scope.allocate(block.bytes);
  const isNamed = typeof activation === 'string';
  block.write(scope.runtime.linearMemory, parameters, [
    words,
    {
      ...{ x: x.address, xStride: x.rowBytes, channels },
      activation: isNamed ? ACTIVATIONS[activation] : SOFTCAP,
      parameter: isNamed ? 0 : activation.softcap,
    },
  ]);
  scope.run({
    pack: 'training',
    kernel,
    args: [parameters],
    tiles: x.rows,
    scratchBytes: ACTIVATION_BACKWARD_SCRATCH_BYTES,
    cost: 60 * x.rows * channels,
  });
}

/** Options of `activationBackward` and `gatedActivationBackward`. */
export interface ActivationBackwardOptions {
  /** Which activation it was: 'gelu', 'geluTanh', 'quickGelu', 'silu', 'relu' or 'tanh'. */
  readonly activation: ActivationName;
  /** Needed only if no input is a Tensor. */
  readonly runtime?: Runtime | undefined;
}

const NAMES = { activation: 1, runtime: 1 } satisfies NamesOf<ActivationBackwardOptions>;

function checkActivation({ activation }: ActivationBackwardOptions): ActivationName {
  if (Object.hasOwn(ACTIVATIONS, activation)) return activation;
  throw invalidArgument('activation', Object.keys(ACTIVATIONS).join(', '), activation);
}

/** All elements of contiguous tensors as one place after the other, in rows that are tiles. */
function placeOf(scope: CallScope, tensor: Tensor): Rows {
  const { address, size } = scope.contiguous(tensor);
  const channels = tensor.shape.at(-1) ?? 1;
  return { address, rowBytes: channels * 4, rows: channels && size / channels };
}

const activationBackwardOperation: Operation<
  [input: TensorLike, upstream: TensorLike],
  ActivationBackwardOptions,
  Tensor<'float32'>
> = {
  inputs: ['input', 'upstream'],
  options: NAMES,
  run(scope, [input, upstream], options) {
    const activation = checkActivation(options);
    const [x, dy] = matching(scope, 'input', input, upstream);
    const dx = scope.make(x.shape);
    const place = placeOf(scope, x);
    runActivationBackward(scope, activation, place, placeOf(scope, dy), place.rowBytes / 4, {
      dx: placeOf(scope, dx),
    });
    return dx;
  },
};

/** Gradients of a gated activation. */
export interface GatedGradients {
  /** Of what entered the activation. */
  readonly gate: Tensor<'float32'>;
  /** Of what it was multiplied by. */
  readonly up: Tensor<'float32'>;
}

const gatedActivationBackwardOperation: Operation<
  [gate: TensorLike, up: TensorLike, upstream: TensorLike],
  ActivationBackwardOptions,
  GatedGradients
> = {
  inputs: ['gate', 'up', 'upstream'],
  options: NAMES,
  run(scope, [gate, up, upstream], options) {
    const activation = checkActivation(options);
    const [g, u] = matching(scope, 'gate', gate, up, 'up');
    const dy = ofShape(scope, 'upstream', upstream, g.shape);
    const gradients = { gate: scope.make(g.shape), up: scope.make(g.shape) };
    const place = placeOf(scope, g);
    runGatedBackward(
      ...([scope, activation, place, placeOf(scope, u), placeOf(scope, dy), place.rowBytes / 4] as const),
      { dGate: placeOf(scope, gradients.gate), dUp: placeOf(scope, gradients.up) },
    );
    return gradients;
  },
};

/**
 * The gradient of an activation: upstream times its slope at the input. The runtime needs the pack `training`.
 *
 * @param input    what entered the activation, any shape, float32
 * @param upstream what flows into its result, in its shape
 * @returns the gradient of the input, in its shape
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const [x, upstream] = [runtime.tensor([-1, 2]), runtime.tensor([3, 3])];
 * activationBackward(x, upstream, { activation: 'relu' }).data; // [0, 3]
 * ```
 */
export function activationBackward(
  input: TensorLike,
  upstream: TensorLike,
  options: ActivationBackwardOptions,
): Tensor<'float32'> {
  return callNow(activationBackwardOperation, [input, upstream], options);
}

/**
 * {@link activationBackward} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const [x, upstream] = [runtime.tensor([-1, 2]), runtime.tensor([3, 3])];
 * const gradient = await activationBackwardAsync(x, upstream, { activation: 'relu' });
 * gradient.data; // [0, 3]
 * ```
 */
export function activationBackwardAsync(
  input: TensorLike,
  upstream: TensorLike,
  options: ActivationBackwardOptions & AsyncOptions,
): Promise<Tensor<'float32'>> {
  return callAsync(activationBackwardOperation, [input, upstream], options);
}

/**
 * Gradients of activation(gate) * up, the middle of a gated feed-forward layer. The runtime needs the pack `training`.
 *
 * @param gate     what entered the activation, any shape, float32
 * @param up       what its result was multiplied by, in the gate's shape
 * @param upstream what flows into the product, in its shape
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 * @see Shazeer 2020
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const [g, u, upstream] = [runtime.tensor([-1, 2]), runtime.tensor([5, 7]), runtime.tensor([3, 3])];
 * const { gate, up } = gatedActivationBackward(g, u, upstream, { activation: 'relu' });
 * gate.data; // [0, 21]
 * up.data; // [0, 6]
 * ```
 */
export function gatedActivationBackward(
  gate: TensorLike,
  up: TensorLike,
  upstream: TensorLike,
  options: ActivationBackwardOptions,
): GatedGradients {
  return callNow(gatedActivationBackwardOperation, [gate, up, upstream], options);
}

/**
 * {@link gatedActivationBackward} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const [g, u, upstream] = [runtime.tensor([-1, 2]), runtime.tensor([5, 7]), runtime.tensor([3, 3])];
 * const { up } = await gatedActivationBackwardAsync(g, u, upstream, { activation: 'relu' });
 * up.data; // [0, 6]
 * ```
 */
export function gatedActivationBackwardAsync(
  gate: TensorLike,
  up: TensorLike,
  upstream: TensorLike,
  options: ActivationBackwardOptions & AsyncOptions,
): Promise<GatedGradients> {
  return callAsync(gatedActivationBackwardOperation, [gate, up, upstream], options);
}
