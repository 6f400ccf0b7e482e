// y = x W^T + b over packed weights, and the packing.
//
//   packed   [panels of 8 output features][inFeatures][8], then the bias, filled up to whole panels with zeros

import { Disposable } from '../runtime/disposable.js';
import { AttentionError, describe } from '../runtime/errors.js';
import { CallScope, checkDataType, checkTensor, shapeError } from '../runtime/inputs.js';
import type { TensorLike } from '../runtime/inputs.js';
import type { Runtime } from '../runtime/runtime.js';
import { Tensor } from '../runtime/tensor.js';

const PANEL = 8;

/** Weights of a linear layer, packed once for the kernels. */
export class LinearWeights extends Disposable {
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** @internal */
  readonly runtime: Runtime;
  readonly #packed: Tensor;

  /**
   * @param weight [outFeatures, inFeatures], as PyTorch stores it
   * @param bias   [outFeatures]; default zeros
   */
  constructor(runtime: Runtime, weight: TensorLike, bias?: TensorLike) {
    super();
    const scope = new CallScope(runtime);
    try {
      const matrix = scope.tensor('weight', weight);
      checkDataType('weight', matrix, 'float32');
      if (matrix.shape.length !== 2 || !matrix.contiguous || matrix.size === 0) {
        throw shapeError('weight', 'contiguous [outFeatures, inFeatures], both at least 1', matrix.shape);
      }
      const [outFeatures, inFeatures] = matrix.shape as [number, number];
      const vector = bias === undefined ? undefined : scope.tensor('bias', bias);
      if (vector) {
        checkDataType('bias', vector, 'float32');
        if (vector.shape.length !== 1 || vector.shape[0] !== outFeatures || !vector.contiguous) {
          throw shapeError('bias', `[${outFeatures}]`, vector.shape);
        }
      }
      this.runtime = runtime;
      this.inFeatures = inFeatures;
      this.outFeatures = outFeatures;
      const columns = Math.ceil(outFeatures / PANEL) * PANEL;
      this.#packed = runtime.empty([columns * inFeatures + columns]);
      runtime.kernels.packColumns(
        matrix.address,
        inFeatures * 4,
        outFeatures,
        inFeatures,
        this.#packed.address,
      );
      const biases = (this.#packed.data as Float32Array).subarray(columns * inFeatures);
      biases.fill(0);
      if (vector) biases.set(vector.data);
    } finally {
      scope.release();
    }
  }

  /** @internal Address of the panels. */
  get panels(): number {
    return this.#packed.address;
  }

  /** @internal Address of the bias. */
  get bias(): number {
    return this.#packed.address + Math.ceil(this.outFeatures / PANEL) * PANEL * this.inFeatures * 4;
  }

  dispose(): void {
    this.#packed.dispose();
  }
}

/** Columns [from, to) of a product: multiples of 8, or the end. */
export interface Columns {
  readonly from: number;
  readonly to: number;
}

/**
 * @internal rows of x times some columns of the weights, into rows of y that begin with column `from`.
 */
export function runProduct(
  scope: CallScope,
  x: { address: number; rowBytes: number; rows: number },
  weights: LinearWeights,
  columns: Columns,
  y: { address: number; rowBytes: number },
): void {
  const { kernels } = scope.runtime;
  const scratch = scope.allocate(kernels.productScratchBytes());
  const first = columns.from / PANEL;
  const end = Math.ceil(columns.to / PANEL);
  kernels.product(
    x.address,
    x.rowBytes,
    x.rows,
    weights.inFeatures,
    weights.panels,
    Math.min(columns.to, weights.outFeatures),
    weights.bias,
    y.address - columns.from * 4,
    y.rowBytes,
    scratch,
    first,
    end,
  );
}

export interface LinearOptions {
  /** A contiguous float32 tensor of the output's shape to write to. */
  readonly output?: Tensor | undefined;
}

/**
 * x W^T + b.
 *
 * @param input   [..., inFeatures]
 * @param weights made once by `new LinearWeights(runtime, weight, bias)`
 * @returns [..., outFeatures]
 */
export function linear(input: TensorLike, weights: LinearWeights, options: LinearOptions = {}): Tensor {
  if (!(weights instanceof LinearWeights)) {
    throw new AttentionError({
      code: 'INVALID_ARGUMENT',
      argument: 'weights',
      expected: 'LinearWeights (new LinearWeights(runtime, weight, bias))',
      received: describe(weights),
    });
  }
  const scope = new CallScope(weights.runtime);
  let made: Tensor | undefined;
  try {
    let x = scope.tensor('input', input);
    checkDataType('input', x, 'float32');
    const { inFeatures, outFeatures } = weights;
    if (x.shape.length < 1 || x.shape.at(-1) !== inFeatures)
      throw shapeError('input', `[..., ${inFeatures}]`, x.shape);
    const shape = [...x.shape.slice(0, -1), outFeatures];
    if (options.output) checkLinearOutput(scope, options.output, shape);
    const y = options.output ?? (made = weights.runtime.empty(shape));
    const layout = rowsOf(x);
    if (!layout) x = scope.keep(weights.runtime.empty(x.shape)).set(x.toFloat32Array());
    const rows = x.size / inFeatures;
    const rowBytes = (layout?.rowStride ?? inFeatures) * 4;
    if (rows > 0) {
      const columns = { from: 0, to: outFeatures };
      runProduct(scope, { address: x.address, rowBytes, rows }, weights, columns, {
        address: y.address,
        rowBytes: outFeatures * 4,
      });
    }
    return y;
  } catch (error) {
    made?.dispose();
    throw error;
  } finally {
    scope.release();
  }
}

function checkLinearOutput(scope: CallScope, output: Tensor, shape: readonly number[]): void {
  checkTensor('output', output, scope.runtime);
  checkDataType('output', output, 'float32');
  const same =
    output.shape.length === shape.length && shape.every((length, axis) => length === output.shape[axis]);
  if (!same || !output.contiguous) throw shapeError('output', `contiguous ${describe(shape)}`, output.shape);
}

/** The one stride between rows of the last axis, or undefined if there is none: then a copy is needed. */
export function rowsOf(tensor: Tensor): { rowStride: number } | undefined {
  const last = tensor.shape.length - 1;
  if (tensor.shape[last]! > 1 && tensor.strides[last] !== 1) return undefined;
  let rowStride: number | undefined;
  let expected: number | undefined;
  for (let axis = last - 1; axis >= 0; axis--) {
    const length = tensor.shape[axis]!;
    if (length === 1) continue;
    const stride = tensor.strides[axis]!;
    if (expected !== undefined && stride !== expected) return undefined;
    rowStride ??= stride;
    expected = stride * length;
  }
  return { rowStride: rowStride ?? tensor.shape[last]! };
}
