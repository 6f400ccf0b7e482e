// Gradients of attention: the operation, and its inside, which works on tensors where they lie.

import type { BackwardParameters } from '../../../build/kernels.js';
import { backwardParameters } from '../../../build/kernels.js';
import { relativeBucket } from '../../ops/attention/distance-bias.js';
import { attentionBlock } from '../../ops/attention/parameters.js';
import { attentionInput, broadcastStrides } from '../../ops/attention/plan.js';
import type { PlacedTensor, Plan, Sizes } from '../../ops/attention/plan.js';
import { AttentionRecord } from '../../ops/attention/record.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import { checkInstance, checkObject, checkOptions } from '../../runtime/checks.js';
import type { NamesOf } from '../../runtime/checks.js';
import { Disposable } from '../../runtime/disposable.js';
import { describe, invalidArgument, shapeError } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { TensorLike } from '../../runtime/inputs.js';
import { runtimeAmong } from '../../runtime/operation.js';
import type { Operation } from '../../runtime/operation.js';
import { ParameterBlock } from '../../runtime/parameters.js';
import type { Tensor } from '../../runtime/tensor.js';
import { dropoutOf, placeDropout } from './attention-dropout.js';
import type { Dropout } from './dropout.js';

const backwardBlock = /* @__PURE__ */ new ParameterBlock(backwardParameters);

/** What flows into the outputs of an attention. */
export interface AttentionUpstream {
  /** [batch, heads, queries, valueHeadDim], or as many axes as the output has. */
  readonly output: TensorLike;
  /** What flows into the log-sum-exp, [batch, heads, queries]. Default nothing. */
  readonly logSumExp?: TensorLike | undefined;
}

/** What attention has gradients of. */
export type AttentionInputName =
  | 'query'
  | 'key'
  | 'value'
  | 'mask'
  | 'bias'
  | 'relativePositionBias'
  | 'alibi'
  | 'sinks'
  | 'scale'
  | 'temperature';

/** Options of `scaledDotProductAttentionBackward`. */
export interface AttentionBackwardOptions {
  /** Whose gradients are computed. Default ['query', 'key', 'value']. What is left out costs nothing. */
  readonly gradients?: readonly AttentionInputName[] | undefined;
}

/**
 * Gradients of attention, each under the name of the input it belongs to, and there if it was asked for. Disposing it disposes all
 * its tensors.
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const { output, record } = scaledDotProductAttention(q, k, v, { returnRecord: true });
 * const gradients = scaledDotProductAttentionBackward(record, { output });
 * gradients.query.shape; // [1, 2, 5, 4]
 * gradients.dispose();
 * ```
 */
export class AttentionGradients extends Disposable {
  /** [batch, heads, queries, headDim] */
  readonly query: Tensor<'float32'> | undefined;
  /** [batch, keyValueHeads, keys, headDim], summed over the heads that share it. */
  readonly key: Tensor<'float32'> | undefined;
  /** [batch, keyValueHeads, keys, valueHeadDim], summed over the heads that share it. */
  readonly value: Tensor<'float32'> | undefined;
  /** Of a float mask, in its shape: summed over what was broadcast. */
  readonly mask: Tensor<'float32'> | undefined;
  /** In the bias's shape: summed over what was broadcast. */
  readonly bias: Tensor<'float32'> | undefined;
  /** Of the table, [buckets, heads]. */
  readonly relativePositionBias: Tensor<'float32'> | undefined;
  /** Of the slopes, [heads], or [batch, heads] where each batch row has its own. */
  readonly alibi: Tensor<'float32'> | undefined;
  /** [heads] */
  readonly sinks: Tensor<'float32'> | undefined;
  /** [1] */
  readonly scale: Tensor<'float32'> | undefined;
  /** [1] */
  readonly temperature: Tensor<'float32'> | undefined;

  /** @internal */
  constructor(tensors: Partial<Record<AttentionInputName, Tensor<'float32'>>>) {
    super();
    this.query = tensors.query;
    this.key = tensors.key;
    this.value = tensors.value;
    this.mask = tensors.mask;
    this.bias = tensors.bias;
    this.relativePositionBias = tensors.relativePositionBias;
    this.alibi = tensors.alibi;
    this.sinks = tensors.sinks;
    this.scale = tensors.scale;
    this.temperature = tensors.temperature;
  }

  /** Frees the tensors. Safe to repeat. */
  dispose(): void {
    for (const name of Object.keys(INPUT_NAMES)) this[name as AttentionInputName]?.dispose();
  }
}

const INPUT_NAMES = {
  query: 1,
  key: 1,
  value: 1,
  mask: 1,
  bias: 1,
  relativePositionBias: 1,
  alibi: 1,
  sinks: 1,
  scale: 1,
  temperature: 1,
} satisfies Record<AttentionInputName, 1>;

const attentionBackwardOperation: Operation<
  [record: AttentionRecord, upstream: AttentionUpstream],
  AttentionBackwardOptions,
  AttentionGradients
> = {
  inputs: ['record', 'upstream'],
  options: { gradients: 1 } satisfies NamesOf<AttentionBackwardOptions>,
  runtime: ([record]) => runtimeAmong([checkInstance('record', record, AttentionRecord).queries]),
  run: gradeAttention,
};

/**
 * Gradients of `scaledDotProductAttention`, fused: the weights are computed again block by block, and no n x n matrix is ever held.
 * Removed keys get none, and rows without keys give none, whatever they hold.
 *
 * @param record   of the forward call, with `returnRecord`; its tensors must be as they were
 * @param upstream what flows into the output, and into the log-sum-exp
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, INVALID_STATE, DISPOSED, OUT_OF_MEMORY
 * @see Dao et al. 2022 (FlashAttention)
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const { output, record } = scaledDotProductAttention(q, k, v, { causal: true, returnRecord: true });
 * const gradients = scaledDotProductAttentionBackward(record, { output }); // of half the sum of squares
 * gradients.key.shape; // [1, 2, 5, 4]
 * ```
 */
export function scaledDotProductAttentionBackward(
  record: AttentionRecord,
  upstream: AttentionUpstream,
  options: AttentionBackwardOptions = {},
): AttentionGradients {
  return callNow(attentionBackwardOperation, [record, upstream], options);
}

/**
 * {@link scaledDotProductAttentionBackward} in slices of some milliseconds between turns of the event loop: the same bits, and the
 * page lives on.
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const { output, record } = scaledDotProductAttention(q, k, v, { returnRecord: true });
 * const { value } = await scaledDotProductAttentionBackwardAsync(record, { output }, { gradients: ['value'] });
 * value.shape; // [1, 2, 5, 4]
 * ```
 */
export function scaledDotProductAttentionBackwardAsync(
  record: AttentionRecord,
  upstream: AttentionUpstream,
  options: AttentionBackwardOptions & AsyncOptions = {},
): Promise<AttentionGradients> {
  return callAsync(attentionBackwardOperation, [record, upstream], options);
}

function gradeAttention(
  scope: CallScope,
  [record, upstream]: readonly [AttentionRecord, AttentionUpstream],
  { gradients = ['query', 'key', 'value'] }: AttentionBackwardOptions,
): AttentionGradients {
  const wanted = checkNames(gradients);
  checkOptions(upstream, { output: 1, logSumExp: 1 } satisfies NamesOf<AttentionUpstream>, {}, 'upstream');
  const plan = record.plan(scope);
  const { keys, values } = record;
  if (!keys || !values) throw invalidArgument('record', 'an attention over tensors', 'one over a cache');
  const { batch, heads, queries } = plan.sizes;
  const dOutput = attentionInput(scope, 'upstream.output', upstream.output);
  checkSame('upstream.output', dOutput, record.output.shape);
  let dLogSumExp = 0;
  if (upstream.logSumExp !== undefined) {
    const given = scope.tensor('upstream.logSumExp', upstream.logSumExp);
    checkDataType('upstream.logSumExp', given, 'float32');
    const rows = [batch, heads, queries];
    if (given.shape.length > 3) throw shapeError('upstream.logSumExp', describe(rows), given.shape);
    checkSame('upstream.logSumExp', given.withRank(3), rows);
    dLogSumExp = scope.contiguous(given).address;
  }
  const made: Partial<Record<AttentionInputName, Tensor<'float32'>>> = {};
  const places: Writable<AttentionGradientPlaces> = {};
  const make = (name: AttentionInputName, shape: readonly number[]) => (made[name] = scope.make(shape));
  const cleared = (name: AttentionInputName, shape: readonly number[]) => {
    const tensor = make(name, shape);
    clear(scope, tensor.address, tensor.size);
    return tensor;
  };
  if (wanted.has('query')) places.query = { tensor: make('query', record.queries.shape) };
  if (wanted.has('key')) places.key = { tensor: make('key', keys.shape) };
  if (wanted.has('value')) places.value = { tensor: make('value', values.shape) };
  for (const name of ['mask', 'bias'] as const) {
    if (wanted.has(name)) places[name] = cleared(name, denseShape(scope, name, plan));
  }
  const finishing: (() => void)[] = [];
  const finish = (
    name: AttentionInputName,
    shape: readonly number[],
    write: (target: Float32Array) => void,
  ) => {
    const tensor = make(name, shape);
    finishing.push(() => write(floatsAt(scope, tensor.address, tensor.size)));
  };
  const options = plan.source.options;
  if (wanted.has('relativePositionBias') || wanted.has('alibi')) {
    const { relativePositionBias: relative, alibi } = options;
    const length = plan.sizes.queries + plan.sizes.keys - 1;
    const count = batch * heads * Math.max(0, length);
    const distances = scope.allocate(count * 4);
    clear(scope, distances, count);
    places.distances = distances;
    const each = (visit: (b: number, h: number, distance: number, gradient: number) => void) => {
      const sums = floatsAt(scope, distances, count);
      for (let at = 0; at < count; at++) {
        const row = Math.floor(at / length);
        const b = Math.floor(row / heads);
        visit(b, row % heads, (at % length) - (queries - 1) - plan.offsets[b]!, sums[at]!);
      }
    };
    if (wanted.has('relativePositionBias')) {
      if (!relative) throw notGiven('relativePositionBias');
      const { buckets = 32, maxDistance = 128, bidirectional = true } = relative;
      finish('relativePositionBias', [buckets, heads], (target) => {
        const sums = new Float64Array(buckets * heads);
        each((_, h, distance, gradient) => {
          sums[relativeBucket(distance, buckets, maxDistance, bidirectional) * heads + h]! += gradient;
        });
        target.set(sums);
      });
    }
    if (wanted.has('alibi')) {
      if (alibi === undefined || alibi === false) throw notGiven('alibi');
      const perBatch = Array.isArray(alibi) && Array.isArray(alibi[0]);
      finish('alibi', perBatch ? [batch, heads] : [heads], (target) => {
        const sums = new Float64Array(target.length);
        each((b, h, distance, gradient) => {
          sums[(perBatch ? b * heads : 0) + h]! -= Math.abs(distance) * gradient;
        });
        target.set(sums);
      });
    }
  }
  if (wanted.has('sinks')) {
    if (options.sinks === undefined) throw notGiven('sinks');
    const address = scope.allocate(batch * heads * 4);
    clear(scope, address, batch * heads);
    places.sinks = address;
    finish('sinks', [heads], (target) => {
      const sums = new Float64Array(heads);
      floatsAt(scope, address, batch * heads).forEach((gradient, i) => (sums[i % heads]! += gradient));
      target.set(sums);
    });
  }
  if (wanted.has('scale') || wanted.has('temperature')) {
    const { temperature = 1 } = options;
    const address = scope.allocate(batch * heads * 8);
    clear(scope, address, batch * heads * 2);
    places.scale = address;
    const total = () =>
      new Float64Array(scope.runtime.linearMemory.buffer, address, batch * heads).reduce((a, b) => a + b, 0);
    // Both make one factor, scale / temperature.
    if (wanted.has('scale')) finish('scale', [1], (target) => (target[0] = total() / temperature));
    if (wanted.has('temperature')) {
      finish('temperature', [1], (target) => (target[0] = (-total() * plan.scale) / temperature));
    }
  }
  const { output, statistics } = record;
  const dropout = dropoutOf(record);
  const flow = { output, dOutput, statistics: statistics.address, dLogSumExp, dropout };
  runAttentionBackward(scope, plan, values, flow, places);
  if (finishing.length > 0) scope.then(() => finishing.forEach((write) => write()));
  return new AttentionGradients(made);
}

type Writable<Type> = { -readonly [Name in keyof Type]: Type[Name] };

function checkNames(names: readonly AttentionInputName[]): ReadonlySet<AttentionInputName> {
  checkObject('gradients', names, 'a list of names');
  for (const name of names) {
    if (!Object.hasOwn(INPUT_NAMES, name)) {
      throw invalidArgument('gradients', `names among ${Object.keys(INPUT_NAMES).join(', ')}`, name);
    }
  }
  return new Set(names);
}

function checkSame(argument: string, tensor: Tensor, shape: readonly number[]): void {
  const same =
    tensor.shape.length === shape.length && shape.every((length, axis) => length === tensor.shape[axis]);
  if (!same) throw shapeError(argument, describe(shape), tensor.shape);
}

function notGiven(name: AttentionInputName) {
  return invalidArgument('gradients', `inputs that the attention had`, name);
}

/** The shape of the one float mask, or of the bias. */
function denseShape(scope: CallScope, name: 'mask' | 'bias', plan: Plan): readonly number[] {
  const given = plan.source.options[name];
  const list = (Array.isArray(given) ? given : [given]) as unknown[];
  const floats = list.filter((one) => isDense(one)).map((one) => scope.tensor(name, one as TensorLike));
  const dense = floats.filter(({ dtype }) => dtype === 'float32');
  if (dense.length === 1) return dense[0]!.shape;
  if (dense.length === 0) throw notGiven(name);
  throw invalidArgument('gradients', 'at most one float mask', `${dense.length} of them`);
}

function isDense(mask: unknown): boolean {
  return typeof mask === 'object' && mask !== null && ('shape' in mask || 'dims' in mask);
}

/** Floats of linear memory as they are now: memory may have grown. */
function floatsAt(scope: CallScope, address: number, count: number): Float32Array {
  return new Float32Array(scope.runtime.linearMemory.buffer, address, count);
}

function clear(scope: CallScope, address: number, count: number): void {
  floatsAt(scope, address, count).fill(0);
}

/** @internal A gradient that a pass writes to where it lies, [batch, heads, length, dim] of any strides with a contiguous last axis. */
interface PlacedGradient {
  readonly tensor: PlacedTensor;
  /** Added to what is there. Default: written over it. */
  readonly adding?: boolean;
}

/** @internal Where gradients go; what is left out is not computed. All but the first three are added to what is there. */
export interface AttentionGradientPlaces {
  readonly query?: PlacedGradient;
  readonly key?: PlacedGradient;
  readonly value?: PlacedGradient;
  /** Contiguous tensors of the shape of the float mask and of the bias. */
  readonly mask?: Tensor<'float32'>;
  readonly bias?: Tensor<'float32'>;
  /** Addresses: [batch][heads][queries + keys - 1] floats, [batch][heads] floats, [batch][heads] doubles. */
  readonly distances?: number;
  readonly sinks?: number;
  readonly scale?: number;
}

/** @internal What a forward pass left, and what flows back into it. Tensors are [batch, heads, queries, valueHeadDim]. */
export interface AttentionFlow {
  readonly output: PlacedTensor;
  readonly dOutput: PlacedTensor;
  /** Address of those of the forward pass. */
  readonly statistics: number;
  /** Address of [batch][heads][queries], or 0. */
  readonly dLogSumExp?: number;
  /** Of the forward pass (`runDroppedAttention`). */
  readonly dropout?: Dropout | undefined;
}

/** @internal The backward pass of a plan: no tensor is copied, and none but the gradients is written. */
export function runAttentionBackward(
  scope: CallScope,
  plan: Plan,
  value: PlacedTensor,
  { output, dOutput, statistics, dLogSumExp = 0, dropout }: AttentionFlow,
  gradients: AttentionGradientPlaces,
): void {
  const { sizes } = plan;
  const { batch, heads, keyHeads, queries, keys, headDim } = sizes;
  if (!plan.parameters.batch) {
    for (const gradient of [gradients.key, gradients.value]) if (gradient) clearRows(scope, gradient);
    return;
  }
  const { query, key, mask, bias } = gradients;
  const valueHeadDim = value.shape[3]!;
  const { linearMemory, kernels } = scope.runtime;
  const parameters = scope.allocate(attentionBlock.bytes + backwardBlock.bytes);
  const backward = parameters + attentionBlock.bytes;
  attentionBlock.write(linearMemory, parameters, [plan.parameters]);
  backwardBlock.write(linearMemory, backward, [
    wordsOf('value', value),
    wordsOf('output', output),
    wordsOf('dOutput', dOutput),
    wordsOf('dQuery', query?.tensor),
    wordsOf('dKey', key?.tensor),
    wordsOf('dValue', gradients.value?.tensor),
    denseWords('dMask', mask, sizes),
    denseWords('dBias', bias, sizes),
    {
      valueHeadDim,
      statistics,
      dLogSumExp,
      addQuery: query?.adding ? 1 : 0,
      addKey: key?.adding ? 1 : 0,
      addValue: gradients.value?.adding ? 1 : 0,
      scale: plan.scale,
      dropout: dropout ? placeDropout(scope, dropout) : 0,
      dDistances: gradients.distances ?? 0,
      dSinks: gradients.sinks ?? 0,
      dScale: gradients.scale ?? 0,
    },
  ]);
  const steps = Math.ceil(queries / kernels.queriesPerBlock(queries, heads / keyHeads, keys * headDim));
  const chains = batch * keyHeads;
  const shared = [mask, bias].some((dense) => {
    const strides = dense && broadcastStrides('', dense, sizes);
    return strides && ((batch > 1 && strides[0] === 0) || (keyHeads > 1 && strides[1] === 0));
  });
  const scratchBytes = scope.runtime.kernelsOf('training').backwardScratchBytes(parameters, valueHeadDim);
  for (let step = 0; step < steps; step++) {
    scope.run({
      pack: 'training',
      kernel: 'attentionBackward',
      args: [parameters, backward, step],
      tiles: chains,
      // Chains that add to the same gradient run one after the other.
      grain: shared ? chains : 1,
      scratchBytes,
      // As if no key were removed.
      cost: (2 * batch * heads * queries * (keys + 1) * (3 * headDim + 2 * valueHeadDim)) / steps,
    });
  }
}

type Words = BackwardParameters;

/** Address and strides of a tensor with four axes as words of that name. */
function wordsOf(name: string, tensor: PlacedTensor | undefined): Words {
  return tensor ? strideWords(name, tensor.address, tensor.strides) : {};
}

function strideWords(name: string, address: number, strides: readonly number[]): Words {
  return {
    [name]: address,
    [`${name}BatchStride`]: strides[0]! * 4,
    [`${name}HeadStride`]: strides[1]! * 4,
    [`${name}RowStride`]: strides[2]! * 4,
  };
}

/** The same of what broadcasts to the scores. */
function denseWords(name: string, tensor: Tensor | undefined, sizes: Sizes): Words {
  if (!tensor) return {};
  const strides = broadcastStrides(name, tensor, sizes);
  return { ...strideWords(name, tensor.address, strides), [`${name}KeyStride`]: strides[3]! * 4 };
}

/** Zeros where no query has a say, unless they would be added. */
function clearRows(scope: CallScope, { tensor, adding }: PlacedGradient): void {
  if (adding) return;
  const [batch, heads, rows, channels] = tensor.shape as [number, number, number, number];
  const [batchStride, headStride, rowStride] = tensor.strides as [number, number, number];
  scope.then(() => {
    for (let b = 0; b < batch; b++) {
      for (let h = 0; h < heads; h++) {
        for (let row = 0; row < rows; row++) {
          const place = tensor.address + 4 * (b * batchStride + h * headStride + row * rowStride);
          clear(scope, place, channels);
        }
      }
    }
  });
}
