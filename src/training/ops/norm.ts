// Gradients of norms over the last axis.

import { NORM_BACKWARD_SCRATCH_BYTES, normBackwardParameters } from '../../../build/kernels.js';
import type { Rows } from '../../model/pass.js';
import { NORM_KINDS } from '../../ops/norms/norm.js';
import type { CallScope } from '../../runtime/call-scope.js';
import { ParameterBlock } from '../../runtime/parameters.js';
import { runAddPartials } from './column-sums.js';

const normBackwardBlock = /* @__PURE__ */ new ParameterBlock(normBackwardParameters);
/** Runs of channels whose sums for weights are one chain. */
const RUNS_IN_TILE = 32;

/**
 * @internal Gradients of `runNorm`, for rows of x and of dy that hold `groups` runs of channels each. Weight is the address of
 * `channels` floats; without it they count as ones.
 */
export function runNormBackward(
  scope: CallScope,
  kind: keyof typeof NORM_KINDS,
  x: Rows & { readonly groups?: number },
  dy: Omit<Rows, 'rows'>,
  norm: {
    readonly channels: number;
    readonly epsilon: number;
    readonly weight?: number | undefined;
    readonly unitOffset?: boolean | undefined;
  },
  wanted: {
    /** May be dy, unless it is added to. */
    readonly dx?: Omit<Rows, 'rows'> | undefined;
    /** Whether dx is added to; default false: it is written. */
    readonly adding?: boolean | undefined;
    /** Addresses of `channels` floats each, which are added to. */
    readonly weightGradient?: number | undefined;
    readonly biasGradient?: number | undefined;
  },
): void {
  const { rows, groups = 1 } = x;
  const { channels, epsilon, weight = 0 } = norm;
  const { dx, weightGradient, biasGradient } = wanted;
  if (rows === 0 || groups === 0 || channels === 0) return;
  const rowsInTile = Math.max(1, Math.floor(RUNS_IN_TILE / groups));
  const tiles = Math.ceil(rows / rowsInTile);
  const summing = weightGradient !== undefined || biasGradient !== undefined;
  const biased = biasGradient !== undefined;
  const rowBytes = channels * (biased ? 8 : 4);
  const partials = summing ? scope.allocate(tiles * rowBytes) : 0;
  const parameters = scope.allocate(normBackwardBlock.bytes);
  normBackwardBlock.write(scope.runtime.linearMemory, parameters, [
    {
      ...{ x: x.address, xStride: x.rowBytes, dy: dy.address, dyStride: dy.rowBytes },
      ...{ dx: dx?.address ?? 0, dxStride: dx?.rowBytes ?? 0, adding: wanted.adding ? 1 : 0 },
      ...{ rows, rowsInTile, groups, channels, epsilon, weight, partials },
      weightOffset: norm.unitOffset ? 1 : 0,
      kind: NORM_KINDS[kind],
      biased: biased ? 1 : 0,
    },
  ]);
  scope.run({
    pack: 'training',
    kernel: 'normBackward',
    args: [parameters],
    tiles,
    scratchBytes: NORM_BACKWARD_SCRATCH_BYTES,
    cost: 50 * rows * groups * channels,
  });
  const sums = (place: number) => ({ address: partials + place, rowBytes, rows: tiles });
  if (weightGradient !== undefined) runAddPartials(scope, sums(0), channels, weightGradient);
  if (biasGradient !== undefined) runAddPartials(scope, sums(channels * 4), channels, biasGradient);
}
