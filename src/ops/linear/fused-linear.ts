// Products that finish each tile while it is in the cache: bias, activation, gate, residual (assembly/gemm/epilogue.ts).

import { epilogueParameters, SOFTCAP } from '../../../build/kernels.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import { checkInstance } from '../../runtime/checks.js';
import type { NamesOf } from '../../runtime/checks.js';
import { AttentionError, describe, invalidArgument, shapeError } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import { givenOutput } from '../../runtime/output.js';
import { shareElements } from '../../runtime/overlap.js';
import { ParameterBlock } from '../../runtime/parameters.js';
import type { Tensor } from '../../runtime/tensor.js';
import { ACTIVATIONS } from '../activations/names.js';
import type { ActivationName } from '../activations/names.js';
import { LinearWeights, placesOf, planProduct, rowsOf, runProduct, runtimeOfWeights } from './linear.js';
import type { Columns, PackedMatrix, Rows } from './linear.js';

/** What is done to v = x W^T + b, in this order; what is not named is not done. */
export interface Epilogue {
  /** v = factor * v. */
  readonly factor?: number | undefined;
  /** v = activation(v), or with a gate v = activation(x G^T + gate bias) * v. */
  readonly activation?: ActivationName | 'softcap' | undefined;
  /** That of `softcap`: parameter * tanh(v / parameter). */
  readonly parameter?: number | undefined;
  /** A second matrix, of the same shape. */
  readonly gate?: LinearWeights | undefined;
  /** v = scale * v: address of a float for each output feature. */
  readonly scale?: number | undefined;
  /** v = v + residual, which may be y. */
  readonly residual?: Rows | undefined;
}

const epilogueBlock = /* @__PURE__ */ new ParameterBlock(epilogueParameters);

/**
 * @internal Rows of x times some columns of the weights, finished, into rows of y that begin with column `from`; so do those of
 * the residual. y must not overlap x.
 */
export function runFusedLinear(
  scope: CallScope,
  x: Rows & { readonly rows: number },
  weights: PackedMatrix,
  columns: Columns,
  y: Rows,
  { factor = 1, activation, parameter = 0, gate, scale = 0, residual }: Epilogue,
): void {
  if (factor === 1 && !activation && !gate && !scale && !residual) {
    runProduct(scope, x, weights, columns, y);
    return;
  }
  const { runtime } = scope;
  const { args, rowsInBlock, tiles, grain, cost } = planProduct(scope, x, weights, columns, y);
  const { panels = 0, bias = 0 } = gate ? placesOf(scope, gate) : {};
  const epilogue = scope.allocate(epilogueBlock.bytes);
  epilogueBlock.write(runtime.linearMemory, epilogue, [
    {
      factor,
      activation: activation ? codeOf(activation) : 0,
      activationParameter: parameter,
      gate: panels,
      gateBias: bias,
      channelScale: scale,
      residual: residual ? residual.address - columns.from * 4 : 0,
      residualStride: residual ? residual.rowBytes : 0,
    },
  ]);
  scope.run({
    pack: 'model',
    kernel: 'fusedProduct',
    args: [...args, epilogue],
    tiles,
    grain,
    scratchBytes: runtime
      .kernelsOf('model')
      .fusedProductScratchBytes(rowsInBlock, weights.inFeatures, gate ? 1 : 0),
    cost: gate ? 2 * cost : cost,
  });
}

function codeOf(activation: ActivationName | 'softcap'): number {
  return activation === 'softcap' ? SOFTCAP : ACTIVATIONS[activation];
}

/** Options of `fusedLinear`. */
export interface FusedLinearOptions {
  /** On x W^T + b, or on the gate if there is one. Default: none. */
  readonly activation?: ActivationName | undefined;
  /** Weights of the same sizes, for activation(x G^T + gate bias) * (x W^T + b): SwiGLU with 'silu', GeGLU with 'gelu'. */
  readonly gate?: LinearWeights | undefined;
  /** Of the output's shape; added last. */
  readonly residual?: TensorLike | undefined;
  /**
   * A contiguous float32 tensor of the output's shape to write to. It may be the residual; else it must not share an element with
   * an input.
   */
  readonly output?: Tensor | undefined;
}

export const fusedLinearOperation: Operation<
  [input: TensorLike, weights: LinearWeights],
  FusedLinearOptions,
  Tensor<'float32'>
> = {
  inputs: ['input', 'weights'],
  options: { activation: 1, gate: 1, residual: 1, output: 1 } satisfies NamesOf<FusedLinearOptions>,
  runtime: ([, weights]) => runtimeOfWeights(weights),
  run: project,
};

/**
 * activation(x W^T + b) + residual, or with a gate activation(x G^T + g) * (x W^T + b) + residual: `linear` whose results are
 * finished while they are in the cache. The products have the bits of `linear`. Needs the kernels of `wasm-attention/model`.
 *
 * @param input   [..., inFeatures]
 * @param weights made once by `new LinearWeights(runtime, weight, bias)`
 * @returns [..., outFeatures]
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY, INVALID_STATE (kernels not loaded), before
 *   anything is written
 *
 * @example
 * ```js
 * await runtime.load(model);
 * const weights = new LinearWeights(runtime, { data: [1, 0, 0, 1, 1, -1], shape: [3, 2] });
 * fusedLinear({ data: [2, 5], shape: [1, 2] }, weights, { activation: 'relu' }).data; // [2, 5, 0]
 * ```
 */
export function fusedLinear(
  input: TensorLike,
  weights: LinearWeights,
  options: FusedLinearOptions = {},
): Tensor<'float32'> {
  return callNow(fusedLinearOperation, [input, weights], options);
}

/**
 * {@link fusedLinear} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * await runtime.load(model);
 * const weights = new LinearWeights(runtime, { data: [1, 0, 0, 1, 1, -1], shape: [3, 2] });
 * const y = await fusedLinearAsync({ data: [2, 5], shape: [1, 2] }, weights, { activation: 'relu' });
 * y.data; // [2, 5, 0]
 * ```
 */
export function fusedLinearAsync(
  input: TensorLike,
  weights: LinearWeights,
  options: FusedLinearOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(fusedLinearOperation, [input, weights], options);
}

function project(
  scope: CallScope,
  [input, weights]: readonly [TensorLike, LinearWeights],
  options: FusedLinearOptions,
): Tensor<'float32'> {
  const { activation, gate } = options;
  const { inFeatures, outFeatures } = weights;
  checkActivation(activation);
  if (gate !== undefined) checkGate(gate, weights);
  const x = scope.tensor('input', input);
  checkDataType('input', x, 'float32');
  if (x.shape.length < 1 || x.shape.at(-1) !== inFeatures) {
    throw shapeError('input', `[..., ${inFeatures}]`, x.shape);
  }
  const shape = [...x.shape.slice(0, -1), outFeatures];
  const given = options.output && givenOutput(scope, options.output, shape, true);
  const residual = options.residual === undefined ? undefined : residualOf(scope, options.residual, shape);
  if (given && residual) checkApart(given, residual);
  const y = given ?? scope.make(shape);
  if (x.size > 0) {
    const rows = x.size / inFeatures;
    const to = { address: y.address, rowBytes: outFeatures * 4 };
    runFusedLinear(scope, { ...runsOf(scope, x), rows }, weights, { from: 0, to: outFeatures }, to, {
      activation,
      gate,
      residual: residual && runsOf(scope, residual),
    });
  }
  return y;
}

/** Throws unless it is the name of an activation, or undefined. */
export function checkActivation(activation: ActivationName | undefined): void {
  if (activation === undefined || (typeof activation === 'string' && Object.hasOwn(ACTIVATIONS, activation)))
    return;
  throw invalidArgument('activation', Object.keys(ACTIVATIONS).join(', '), activation);
}

function checkGate(gate: LinearWeights, { runtime, inFeatures, outFeatures }: LinearWeights): void {
  checkInstance('gate', gate, LinearWeights);
  if (gate.runtime !== runtime) throw invalidArgument('gate', 'weights of the same runtime', gate);
  if (gate.inFeatures !== inFeatures || gate.outFeatures !== outFeatures) {
    throw shapeError('gate', `weights [${outFeatures}, ${inFeatures}]`, [gate.outFeatures, gate.inFeatures]);
  }
}

function residualOf(scope: CallScope, given: TensorLike, shape: readonly number[]): Tensor {
  const residual = scope.tensor('residual', given);
  checkDataType('residual', residual, 'float32');
  const same =
    residual.shape.length === shape.length && shape.every((length, i) => length === residual.shape[i]);
  if (!same) throw shapeError('residual', describe(shape), residual.shape);
  return residual;
}

/** An element of the residual is read right before that of the output is written: only if they lie together is it the same one. */
function checkApart(output: Tensor, residual: Tensor): void {
  if (!shareElements(output, residual)) return;
  if (output.address === residual.address && residual.contiguous) return;
  throw new AttentionError({
    code: 'INVALID_ARGUMENT',
    argument: 'output',
    expected: 'the residual itself, or memory that no input lies in',
    received: 'what overlaps the residual',
  });
}

/** Its rows of the last axis, or those of a copy if they do not lie at one distance. */
function runsOf(scope: CallScope, tensor: Tensor): Rows {
  const layout = rowsOf(tensor);
  const { address, shape } = layout ? tensor : scope.contiguous(tensor);
  return { address, rowBytes: (layout?.rowStride ?? shape.at(-1)!) * 4 };
}
