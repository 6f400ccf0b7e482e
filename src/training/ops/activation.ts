// Gradients of activations, alone and gated, and the gated product itself.

import {
  ACTIVATION_BACKWARD_SCRATCH_BYTES,
  activationBackwardParameters,
  SOFTCAP,
} from '../../../build/kernels.js';
import type { Rows } from '../../model/pass.js';
import { ACTIVATIONS } from '../../ops/activations/names.js';
import type { ActivationName } from '../../ops/activations/names.js';
import type { CallScope } from '../../runtime/call-scope.js';
import { ParameterBlock } from '../../runtime/parameters.js';
import type { Words } from '../../runtime/parameters.js';

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
