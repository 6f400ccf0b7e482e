// Losses of cosines between the rows of two tensors: what is alike pulled together, what is not pushed apart.

import { cosineLossParameters } from '../../../build/kernels.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { NamesOf } from '../../runtime/checks.js';
import { invalidArgument, shapeError } from '../../runtime/errors.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import { ParameterBlock } from '../../runtime/parameters.js';
import type { Tensor } from '../../runtime/tensor.js';
import { matching } from '../ops/matching.js';
import { checkNumber, factorOf, whenSummed } from './loss.js';
import type { LossOptions } from './loss.js';

const block = /* @__PURE__ */ new ParameterBlock(cosineLossParameters);

/** Options of `cosineLoss`. */
export interface CosineLossOptions extends LossOptions {
  /** One number a row: 1 for rows that should be alike, -1 for rows that should differ. Default all alike. */
  readonly labels?: ArrayLike<number> | undefined;
  /** The cosine up to which rows that should differ cost nothing, -1 to 1. Default 0. */
  readonly margin?: number | undefined;
}

/** Result of losses over pairs of rows. */
export interface PairLossResult {
  /** The mean over the rows. */
  readonly loss: number;
  /** Of the loss by what was given, times the factor. */
  readonly gradients: {
    /** In the shape of the first input. */
    readonly input: Tensor<'float32'>;
    /** In the shape of the second one. */
    readonly target: Tensor<'float32'>;
  };
}

export const cosineLossOperation: Operation<
  [input: TensorLike, target: TensorLike],
  CosineLossOptions,
  PairLossResult
> = {
  inputs: ['input', 'target'],
  options: { labels: 1, margin: 1, factor: 1, runtime: 1 } satisfies NamesOf<CosineLossOptions>,
  run(scope, [input, target], options) {
    const [given, other] = matching(scope, 'input', input, target, 'target');
    if (given.shape.length < 1) throw shapeError('input', '[..., channels]', given.shape);
    const channels = given.shape.at(-1)!;
    const rows = channels === 0 ? 0 : given.size / channels;
    const { margin = 0 } = options;
    checkNumber('margin', margin, -1, 1 + Number.EPSILON, 'a number from -1 to 1');
    const factor = factorOf(options);
    const signs = signsOf(scope, options.labels, rows);
    const gradients = { input: scope.make(given.shape), target: scope.make(given.shape) };
    const [a, b, losses] = [scope.contiguous(given), scope.contiguous(other), scope.temporary([rows])];
    const parameters = scope.allocate(block.bytes);
    block.write(scope.runtime.linearMemory, parameters, [
      {
        ...{ a: a.address, aStride: channels * 4, b: b.address, bStride: channels * 4, channels },
        ...{ signs, margin, factor: factor / rows, losses: losses.address },
        ...{ da: gradients.input.address, db: gradients.target.address },
      },
    ]);
    scope.run({
      pack: 'training',
      kernel: 'cosineLosses',
      args: [parameters],
      tiles: rows,
      scratchBytes: 0,
      cost: 20 * given.size,
    });
    const result = { loss: 0, gradients };
    whenSummed(scope, losses, (sum) => (result.loss = sum / Math.max(1, rows)));
    return result;
  },
};

/** Address of one float a row; 0: all are to be alike. */
function signsOf(scope: CallScope, labels: CosineLossOptions['labels'], rows: number): number {
  if (labels === undefined) return 0;
  if (labels?.length !== rows) throw invalidArgument('labels', `${rows} numbers, one for each row`, labels);
  const signs = Array.from(labels);
  signs.forEach((sign, i) => {
    if (sign !== 1 && sign !== -1) throw invalidArgument(`labels[${i}]`, '1 or -1', sign);
  });
  return scope.floats(signs);
}

/**
 * The mean over rows of 1 - cos(input, target), or for rows that should differ of max(0, cos - margin), and the gradients of both. A row
 * of zeros has cosine 0, and gives no gradient. The runtime needs the pack `training`.
 *
 * @param input  [..., channels], float32
 * @param target of the input's shape
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const { loss, gradients } = cosineLoss(runtime.tensor([2, 0], [1, 2]), runtime.tensor([0, 1], [1, 2]));
 * loss; // 1
 * gradients.input.data; // [0, -0.5]
 * ```
 */
export function cosineLoss(
  input: TensorLike,
  target: TensorLike,
  options: CosineLossOptions = {},
): PairLossResult {
  return callNow(cosineLossOperation, [input, target], options);
}

/**
 * {@link cosineLoss} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const { loss } = await cosineLossAsync(runtime.tensor([2, 0], [1, 2]), runtime.tensor([0, 1], [1, 2]));
 * loss; // 1
 * ```
 */
export function cosineLossAsync(
  input: TensorLike,
  target: TensorLike,
  options: CosineLossOptions & AsyncOptions = {},
): Promise<PairLossResult> {
  return callAsync(cosineLossOperation, [input, target], options);
}
