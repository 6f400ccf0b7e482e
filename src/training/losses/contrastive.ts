// The contrastive loss of pairs in a batch: each row has to find its partner among all others.
//
//   s[i][j] = cos(input[i], target[j]) / temperature          loss = mean over i of cross entropy(s[i], i)
//
// Both ways, the partners look for theirs too: that is the cross entropy of columns.

import { runNorm } from '../../ops/norms/norm.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { NamesOf } from '../../runtime/checks.js';
import { shapeError } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import type { Tensor } from '../../runtime/tensor.js';
import { runNormBackward } from '../ops/norm.js';
import type { PairLossResult } from './cosine.js';
import { runCrossEntropy } from './cross-entropy.js';
import { checkNumber, factorOf, whenSummed } from './loss.js';
import type { LossOptions } from './loss.js';

/** The least length that is divided by. */
const LEAST_LENGTH = 1e-12;

/** Options of `contrastiveLoss`. */
export interface ContrastiveLossOptions extends LossOptions {
  /** What cosines are divided by, above 0. Default 0.05. */
  readonly temperature?: number | undefined;
  /** True takes the mean of both directions, as CLIP does: for as many targets as inputs. Default false. */
  readonly symmetric?: boolean | undefined;
}

/** Result of `contrastiveLoss`. */
export interface ContrastiveLossResult extends PairLossResult {
  /** The gradient of the temperature, for those who train it. */
  readonly temperatureGradient: number;
}

export const contrastiveLossOperation: Operation<
  [input: TensorLike, target: TensorLike],
  ContrastiveLossOptions,
  ContrastiveLossResult
> = {
  inputs: ['input', 'target'],
  options: { temperature: 1, symmetric: 1, factor: 1, runtime: 1 } satisfies NamesOf<ContrastiveLossOptions>,
  run(scope, [input, target], options) {
    const { temperature = 0.05, symmetric = false } = options;
    const given = matrixOf(scope, 'input', input);
    const other = matrixOf(scope, 'target', target);
    const [rows, channels] = given.shape as [number, number];
    const columns = other.shape[0]!;
    if (other.shape[1] !== channels || columns < rows || (symmetric && columns !== rows)) {
      const expected = `[${rows}${symmetric ? '' : ' or more'}, ${channels}]`;
      throw shapeError('target', expected, other.shape);
    }
    checkNumber('temperature', temperature, Number.MIN_VALUE, Infinity, 'a finite number above 0');
    const factor = factorOf(options) / Math.max(1, rows) / (symmetric ? 2 : 1);
    const gradients = { input: scope.make(given.shape), target: scope.make(other.shape) };
    const result = { loss: 0, gradients, temperatureGradient: 0 };
    if (given.size === 0) {
      gradients.target.data.fill(0);
      return result;
    }
    const pair = [given, other].map((tensor) => normalized(scope, tensor)) as [Normalized, Normalized];
    // What flows into the normalised rows.
    const upstream = [scope.temporary(given.shape), scope.temporary(other.shape)] as const;
    for (const way of symmetric ? [0, 1] : [0]) {
      const [own, others] = way === 0 ? pair : [pair[1], pair[0]];
      const scores = scope.temporary([own.rows, others.rows]);
      const slopes = scope.temporary([own.rows, others.rows]);
      const losses = scope.temporary([own.rows]);
      const rowBytes = others.rows * 4;
      runProducts(scope, own, others, 1 / temperature, scores.address);
      runCrossEntropy(
        scope,
        { address: scores.address, rowBytes, rows: own.rows },
        others.rows,
        Int32Array.from({ length: own.rows }, (_, row) => row),
        { factor: factor / temperature },
        { gradient: { address: slopes.address, rowBytes }, losses: losses.address },
      );
      // Along rows for those that search, across for those that are found; the second way adds to the first.
      runSums(scope, [slopes.address, rowBytes, 4], others, own.rows, upstream[way]!.address, way);
      runSums(scope, [slopes.address, 4, rowBytes], own, others.rows, upstream[1 - way]!.address, way);
      whenSummed(scope, losses, (sum) => (result.loss += sum / own.rows / (symmetric ? 2 : 1)));
      scope.then(() => {
        const [slope, score] = [slopes.data, scores.data];
        for (let i = 0; i < slope.length; i++) result.temperatureGradient -= slope[i]! * score[i]!;
      });
    }
    pair.forEach(({ source, rows: count }, i) => {
      const rowBytes = channels * 4;
      const place = ({ address }: Tensor) => ({ address, rowBytes, rows: count });
      const dx = place(i === 0 ? gradients.input : gradients.target);
      const norm = { channels, epsilon: LEAST_LENGTH };
      runNormBackward(scope, 'l2', place(source), place(upstream[i]!), norm, { dx });
    });
    return result;
  },
};

function matrixOf(scope: CallScope, argument: string, given: TensorLike): Tensor<'float32'> {
  const tensor = scope.tensor(argument, given);
  checkDataType(argument, tensor, 'float32');
  if (tensor.shape.length !== 2) throw shapeError(argument, '[rows, channels]', tensor.shape);
  return tensor;
}

/** Rows of length 1, one after the other, and what they were made of. */
interface Normalized {
  readonly address: number;
  readonly rows: number;
  readonly channels: number;
  readonly source: Tensor<'float32'>;
}

function normalized(scope: CallScope, given: Tensor<'float32'>): Normalized {
  const [rows, channels] = given.shape as [number, number];
  const source = scope.contiguous(given);
  const { address } = scope.temporary(given.shape);
  const rowBytes = channels * 4;
  const norm = { channels, epsilon: LEAST_LENGTH };
  runNorm(scope, 'l2', { address: source.address, rowBytes, rows }, { address, rowBytes }, norm);
  return { address, rows, channels, source };
}

/** Products of all rows of a with all of b, times a factor. */
function runProducts(scope: CallScope, a: Normalized, b: Normalized, factor: number, y: number): void {
  scope.run({
    pack: 'training',
    kernel: 'productsOfRows',
    args: [a.address, b.address, b.rows, a.channels, scope.floats([factor]), y],
    tiles: a.rows,
    scratchBytes: 0,
    cost: 3 * a.rows * b.rows * a.channels,
  });
}

/** Rows of b summed with the factors of each row of a matrix, whose place and strides are given. */
function runSums(
  scope: CallScope,
  matrix: readonly [address: number, rowBytes: number, columnBytes: number],
  b: Normalized,
  rows: number,
  y: number,
  adding: number,
): void {
  scope.run({
    pack: 'training',
    kernel: 'sumsOfRows',
    args: [...matrix, b.address, b.rows, b.channels, y, adding],
    tiles: rows,
    scratchBytes: 0,
    cost: 3 * rows * b.rows * b.channels,
  });
}

/**
 * The contrastive loss of pairs (InfoNCE): the cross entropy of finding, for each row of the input, its partner, the target's row of
 * the same number, among all rows of the target by their cosines. Further rows of the target are partners of none. Gradients go to
 * both, and to the temperature. The runtime needs the packs `model` and `training`.
 *
 * @param input  [rows, channels], float32
 * @param target [rows or more, channels], float32
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 * @see van den Oord et al. 2018; Radford et al. 2021 (both ways)
 *
 * @example
 * ```js
 * await runtime.load(model);
 * await runtime.load(training);
 * const [texts, pictures] = [runtime.tensor([1, 0, 0, 1], [2, 2]), runtime.tensor([3, 0, 0, 3], [2, 2])];
 * const { loss, gradients } = contrastiveLoss(texts, pictures, { temperature: 1, symmetric: true });
 * loss.toFixed(4); // '0.3133'
 * gradients.target.shape; // [2, 2]
 * ```
 */
export function contrastiveLoss(
  input: TensorLike,
  target: TensorLike,
  options: ContrastiveLossOptions = {},
): ContrastiveLossResult {
  return callNow(contrastiveLossOperation, [input, target], options);
}

/**
 * {@link contrastiveLoss} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * await runtime.load(model);
 * await runtime.load(training);
 * const rows = runtime.tensor([1, 0, 0, 1], [2, 2]);
 * const { loss } = await contrastiveLossAsync(rows, rows, { temperature: 1 });
 * loss.toFixed(4); // '0.3133'
 * ```
 */
export function contrastiveLossAsync(
  input: TensorLike,
  target: TensorLike,
  options: ContrastiveLossOptions & AsyncOptions = {},
): Promise<ContrastiveLossResult> {
  return callAsync(contrastiveLossOperation, [input, target], options);
}
