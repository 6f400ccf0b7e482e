// Cross entropy of logits with labels, fused with its softmax.

import { CROSS_ENTROPY_SCRATCH_BYTES, crossEntropyParameters } from '../../../build/kernels.js';
import type { Rows } from '../../model/pass.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import { listed } from '../../ops/embedding/embedding.js';
import type { Indices } from '../../ops/embedding/embedding.js';
import { rowsOf } from '../../ops/linear/linear.js';
import { checkInteger, integers } from '../../runtime/checks.js';
import type { NamesOf } from '../../runtime/checks.js';
import { invalidArgument, shapeError } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import { ParameterBlock } from '../../runtime/parameters.js';
import type { Tensor } from '../../runtime/tensor.js';
import { checkNumber, factorOf, whenSummed } from './loss.js';
import type { LossOptions } from './loss.js';

const block = /* @__PURE__ */ new ParameterBlock(crossEntropyParameters);

/**
 * @internal Losses of rows of logits, one a row, and their gradients times `factor`: that of a mean over what counts is 1 / count.
 *
 * @param labels one a row; negative ones do not count, and have loss 0 and gradients 0
 */
export function runCrossEntropy(
  scope: CallScope,
  logits: Rows,
  vocabulary: number,
  labels: Int32Array,
  options: {
    readonly labelSmoothing?: number | undefined;
    readonly factor?: number | undefined;
    /** Address of floats, one a row, by which gradients are multiplied besides. */
    readonly upstream?: number | undefined;
  },
  wanted: {
    /** May be the logits. */
    readonly gradient?: Omit<Rows, 'rows'> | undefined;
    /** Address of floats, one a row. */
    readonly losses: number;
  },
): void {
  const { labelSmoothing = 0, factor = 1, upstream = 0 } = options;
  const parameters = scope.allocate(block.bytes);
  block.write(scope.runtime.linearMemory, parameters, [
    {
      ...{ x: logits.address, xStride: logits.rowBytes, vocabulary, labels: scope.integers(labels) },
      ...{ losses: wanted.losses, factor, upstream, smoothing: labelSmoothing },
      ...{ gradient: wanted.gradient?.address ?? 0, gradientStride: wanted.gradient?.rowBytes ?? 0 },
    },
  ]);
  scope.run({
    pack: 'training',
    kernel: 'crossEntropyRows',
    args: [parameters],
    tiles: logits.rows,
    scratchBytes: CROSS_ENTROPY_SCRATCH_BYTES,
    cost: 60 * logits.rows * vocabulary,
  });
}

/** Options of `crossEntropy`. */
export interface CrossEntropyOptions extends LossOptions {
  /** The label that marks what does not count. Default -100. */
  readonly ignoreIndex?: number | undefined;
  /** The part of each target that is spread evenly over all classes, 0 to 1. Default 0. */
  readonly labelSmoothing?: number | undefined;
  /**
   * 'mean' (default) over the labels that count, 'sum', or 'none': then `loss` is the sum, `perToken` is made, and `tokenFactors` may
   * give each row's gradient a factor of its own.
   */
  readonly reduction?: 'mean' | 'sum' | 'none' | undefined;
  /** One factor a label, for 'none'. Default ones. */
  readonly tokenFactors?: TensorLike | undefined;
  /** False makes no gradient. Default true. */
  readonly returnGradient?: boolean | undefined;
  /** True makes `perToken`. Default false, but for 'none'. */
  readonly returnPerToken?: boolean | undefined;
}

/** Result of `crossEntropy`. */
export interface CrossEntropyResult {
  /** In nats; 0 where no label counts. */
  readonly loss: number;
  /** How many labels count. */
  readonly count: number;
  /** The gradient of the loss, times the factor, in the logits' shape. Unless it was not wanted. */
  readonly gradient?: Tensor<'float32'>;
  /** The loss of each label, 0 where it does not count, in the labels' shape. If it was wanted. */
  readonly perToken?: Tensor<'float32'>;
}

const crossEntropyOperation: Operation<
  [logits: TensorLike, labels: Indices],
  CrossEntropyOptions,
  CrossEntropyResult
> = {
  inputs: ['logits', 'labels'],
  options: {
    ...{ ignoreIndex: 1, labelSmoothing: 1, reduction: 1, tokenFactors: 1, factor: 1 },
    ...{ returnGradient: 1, returnPerToken: 1, runtime: 1 },
  } satisfies NamesOf<CrossEntropyOptions>,
  run(scope, [input, given], options) {
    const { ignoreIndex = -100, labelSmoothing = 0, reduction = 'mean', returnGradient = true } = options;
    const logits = scope.tensor('logits', input);
    checkDataType('logits', logits, 'float32');
    const vocabulary = logits.shape.at(-1);
    if (!vocabulary) throw shapeError('logits', '[..., classes], at least one', logits.shape);
    const rows = logits.size / vocabulary;
    const labels = readLabels(scope, given, rows, vocabulary, ignoreIndex);
    checkInteger('ignoreIndex', ignoreIndex, -(2 ** 31), 2 ** 31 - 1);
    checkNumber('labelSmoothing', labelSmoothing, 0, 1 + Number.EPSILON, 'a number from 0 to 1');
    if (!['mean', 'sum', 'none'].includes(reduction))
      throw invalidArgument('reduction', "'mean', 'sum' or 'none'", reduction);
    const factor = factorOf(options);
    const upstream = tokenFactorsOf(scope, options, rows);
    const count = labels.reduce((all, label) => (label < 0 ? all : all + 1), 0);
    const divisor = reduction === 'mean' ? Math.max(1, count) : 1;
    const perRow = reduction === 'none' || options.returnPerToken === true;
    const shape = logits.shape.slice(0, -1);
    const perToken = perRow ? scope.make(shape) : scope.temporary(shape);
    const layout = rowsOf(logits);
    const x = layout ? logits : scope.contiguous(logits);
    const gradient = returnGradient ? scope.make(logits.shape) : undefined;
    runCrossEntropy(
      scope,
      { address: x.address, rowBytes: (layout?.rowStride ?? vocabulary) * 4, rows },
      vocabulary,
      labels,
      { labelSmoothing, factor: factor / divisor, upstream },
      {
        gradient: gradient && { address: gradient.address, rowBytes: vocabulary * 4 },
        losses: perToken.address,
      },
    );
    const result = { loss: 0, count, ...(gradient && { gradient }), ...(perRow && { perToken }) };
    whenSummed(scope, perToken, (sum) => (result.loss = sum / divisor));
    return result;
  },
};

/** One a row, negative where it does not count. */
function readLabels(
  scope: CallScope,
  given: Indices,
  rows: number,
  vocabulary: number,
  ignoreIndex: number,
): Int32Array {
  const { list } = listed(scope, 'labels', given);
  const labels = integers('labels', list, -(2 ** 31), 2 ** 31 - 1);
  if (labels.length !== rows)
    throw shapeError('labels', `${rows} labels, one for each row of logits`, [labels.length]);
  return labels.map((label, i) => {
    if (label === ignoreIndex) return -1;
    if (label >= 0 && label < vocabulary) return label;
    throw invalidArgument(`labels[${i}]`, `a class from 0 to ${vocabulary - 1}, or ${ignoreIndex}`, label);
  });
}

/** Address of one float a row. */
function tokenFactorsOf(
  scope: CallScope,
  { reduction, tokenFactors }: CrossEntropyOptions,
  rows: number,
): number | undefined {
  if (tokenFactors === undefined) return undefined;
  if (reduction !== 'none')
    throw invalidArgument('tokenFactors', "nothing, unless reduction is 'none'", tokenFactors);
  const factors = scope.tensor('tokenFactors', tokenFactors);
  checkDataType('tokenFactors', factors, 'float32');
  if (factors.size !== rows)
    throw shapeError('tokenFactors', `${rows} factors, one for each label`, factors.shape);
  return scope.contiguous(factors).address;
}

/**
 * -log of the probability that the softmax of the logits gives the label, and its gradient: (softmax - target) / count. Huge logits
 * and -Infinity are no error; a row that holds NaN or +Infinity gives NaN. Where no label counts, loss and gradient are 0. The runtime
 * needs the packs `model` and `training`.
 *
 * @param logits [..., classes], float32
 * @param labels one class for each row of logits, or ignoreIndex
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY, before anything is written
 * @see Szegedy et al. 2016 (label smoothing)
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const { loss, count, gradient } = crossEntropy(runtime.tensor([0, 0, 7, 7], [2, 2]), [1, -100]);
 * loss.toFixed(4); // '0.6931'
 * count; // 1
 * gradient.data; // [0.5, -0.5, 0, 0]
 * ```
 */
export function crossEntropy(
  logits: TensorLike,
  labels: Indices,
  options: CrossEntropyOptions = {},
): CrossEntropyResult {
  return callNow(crossEntropyOperation, [logits, labels], options);
}

/**
 * {@link crossEntropy} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const { loss } = await crossEntropyAsync(runtime.tensor([0, 0], [1, 2]), [1]);
 * loss.toFixed(4); // '0.6931'
 * ```
 */
export function crossEntropyAsync(
  logits: TensorLike,
  labels: Indices,
  options: CrossEntropyOptions & AsyncOptions = {},
): Promise<CrossEntropyResult> {
  return callAsync(crossEntropyOperation, [logits, labels], options);
}
