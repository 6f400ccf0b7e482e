// From inputs and options to a plan: everything checked, sizes known, masks and biases in linear memory, the parameter
// block filled. Nothing has been computed or written when this throws.

import type { AttentionParameters } from '../../../build/kernels.js';
import { compileMasks } from '../../masks/compile.js';
import type { BlockTable, CompiledMask, Intervals } from '../../masks/compile.js';
import { causal, keyLengths, slidingWindow } from '../../masks/intervals.js';
import { Mask } from '../../masks/mask.js';
import { readNumbers } from '../../runtime/checks.js';
import { describe, invalidArgument, shapeError } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Tensor } from '../../runtime/tensor.js';
import { alignQueries, lengthsOf } from './alignment.js';
import type { AttentionOptions } from './options.js';
import { pageBlock } from './parameters.js';
import { distanceTables } from './distance-bias.js';

const LOG2_E = Math.LOG2E;
/** Kernels multiply by log2(e): beyond this a factor would overflow. */
const LARGEST_FACTOR = 2 ** 127;
/** Beyond this scores divided by a softcap would lose digits, or overflow. */
const LARGEST_SOFTCAP = 2 ** 100;

export interface Sizes {
  readonly batch: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly queries: number;
  readonly keys: number;
  readonly headDim: number;
}

export interface Plan {
  readonly sizes: Sizes;
  readonly parameters: AttentionParameters;
  /** The scale in use. */
  readonly scale: number;
  /** Key position of query 0 of each batch row. */
  readonly offsets: readonly number[];
  /** Axes the caller's tensors had: outputs have as many. */
  readonly rank: number;
  /** What it was made of. */
  readonly source: {
    readonly query: Tensor<'float32'>;
    readonly key: PlacedTensor;
    readonly options: AttentionOptions;
    readonly pages: PagedKeys | undefined;
  };
}

/** Keys and values that lie in pages of a cache (assembly/cache/page.ts). */
export interface PagedKeys {
  /** Addresses, [batch][pages of the longest row]; 0 where a row has fewer. */
  readonly table: Int32Array;
  /** FLOAT32, FLOAT16 or INT8. */
  readonly storage: number;
  /** Keys from the first on that every query sees. */
  readonly firstKeys: number;
  /** Where the heads of a page begin depends on it. */
  readonly valueHeadDim: number;
  /** Keeps the pages until what it returns is called. */
  readonly hold: () => () => void;
}

/** Where a tensor with four axes lies. Keys and values in pages have a shape only. */
export type PlacedTensor = Pick<Tensor, 'address' | 'shape' | 'strides'>;

type Placed = 'query' | 'key' | 'value' | 'output';

/** The words of a tensor with four axes: its address, and its strides in bytes. */
export function placeTensor(
  name: Placed,
  tensor: PlacedTensor,
): { [Word in `${Placed}${'' | 'BatchStride' | 'HeadStride' | 'RowStride'}`]?: number } {
  const address = tensor.address;
  const batch = tensor.strides[0]! * 4;
  const head = tensor.strides[1]! * 4;
  const row = tensor.strides[2]! * 4;
  // Spelt out: names put together at run time took an eighth of a small layer's time.
  switch (name) {
    case 'query':
      return { query: address, queryBatchStride: batch, queryHeadStride: head, queryRowStride: row };
    case 'key':
      return { key: address, keyBatchStride: batch, keyHeadStride: head, keyRowStride: row };
    case 'value':
      return { value: address, valueBatchStride: batch, valueHeadStride: head, valueRowStride: row };
    case 'output':
      return { output: address, outputBatchStride: batch, outputHeadStride: head, outputRowStride: row };
  }
}

/** A float32 input as [batch, heads, length, dim] with a contiguous last axis. Fewer axes get ones in front. */
export function attentionInput(scope: CallScope, argument: string, input: TensorLike): Tensor<'float32'> {
  const tensor = scope.tensor(argument, input);
  checkDataType(argument, tensor, 'float32');
  const rank = tensor.shape.length;
  if (rank < 2 || rank > 4) {
    throw shapeError(argument, '[batch, heads, length, headDim] (or without the leading axes)', tensor.shape);
  }
  const padded = tensor.withRank(4);
  if (padded.shape[3]! > 1 && padded.strides[3] !== 1) return scope.contiguous(padded);
  return padded;
}

/** Checks q and k with the options and prepares the call. Temporary memory belongs to the scope. */
export function planAttention(
  scope: CallScope,
  query: Tensor<'float32'>,
  key: PlacedTensor,
  options: AttentionOptions,
  rank: number,
  pages?: PagedKeys,
): Plan {
  const sizes = checkSizes(query, key);
  const scale = readScale(options, sizes.headDim);
  const { masks, dense, floats } = collectMasks(scope, options);
  const empty = sizes.queries === 0 || sizes.batch === 0 || sizes.heads === 0;
  if (!empty) for (const mask of masks) mask.check(sizes);
  const lengths = lengthsOf(masks, sizes);
  const offsets = alignQueries(options, masks, lengths, sizes);
  const source = { query, key, options, pages };
  if (empty) return { sizes, parameters: {}, scale, offsets, rank, source };
  const parameters: AttentionParameters = {
    ...placeTensor('query', query),
    ...placeTensor('key', key),
    batch: sizes.batch,
    queryHeads: sizes.heads,
    keyHeads: sizes.keyHeads,
    queries: sizes.queries,
    keys: sizes.keys,
    headDim: sizes.headDim,
    scoreScale: scale * LOG2_E,
    biasScale: LOG2_E,
  };
  if (options.softcap !== undefined) {
    parameters.scoreScale = scale / options.softcap;
    parameters.softcap = options.softcap * LOG2_E;
  }
  const queriesInBlock = scope.runtime.kernels.queriesPerBlock(
    sizes.queries,
    sizes.heads / sizes.keyHeads,
    sizes.keys * sizes.headDim,
  );
  const context = {
    ...sizes,
    offset: (batch: number) => offsets[batch]!,
    length: (batch: number) => lengths[batch]!,
  };
  placeCompiled(scope, parameters, sizes, compileMasks(masks, context, queriesInBlock));
  placeBooleanMasks(scope, parameters, sizes, dense);
  placeBiases(scope, parameters, sizes, floats, distanceTables(options, { ...sizes, offsets }));
  placeSinks(scope, parameters, sizes, options.sinks);
  if (pages) placePages(scope, parameters, pages);
  return { sizes, parameters, scale, offsets, rank, source };
}

function placePages(scope: CallScope, parameters: AttentionParameters, pages: PagedKeys): void {
  const { table, storage, firstKeys, valueHeadDim } = pages;
  const words = {
    table: scope.integers(table),
    batchStride: (table.length / parameters.batch!) * 4,
    storage,
    valueHeadDim,
    memoryBytes: scope.runtime.memory.used,
  };
  parameters.pages = scope.allocate(pageBlock.bytes);
  pageBlock.write(scope.runtime.linearMemory, parameters.pages, [words]);
  parameters.firstKeys = firstKeys;
}

function checkSizes(query: PlacedTensor, key: PlacedTensor): Sizes {
  const [batch, heads, queries, headDim] = query.shape as [number, number, number, number];
  const [keyBatch, keyHeads, keys, keyDim] = key.shape as [number, number, number, number];
  if (headDim < 1) throw shapeError('query', 'a head size of at least 1', query.shape);
  if (keyBatch !== batch || keyDim !== headDim) {
    throw shapeError(
      'key',
      `[${batch}, heads, keys, ${headDim}] like query ${describe(query.shape)}`,
      key.shape,
    );
  }
  if (heads > 0 && (keyHeads < 1 || heads % keyHeads !== 0)) {
    throw shapeError('key', `a number of heads that divides the ${heads} of query`, key.shape);
  }
  return { batch, heads, keyHeads, queries, keys, headDim };
}

function readScale(options: AttentionOptions, headDim: number): number {
  const { scale = 1 / Math.sqrt(headDim), temperature = 1, softcap } = options;
  checkFactor('scale', scale, -LARGEST_FACTOR, LARGEST_FACTOR);
  // What scores are multiplied with must not overflow either.
  const least = Math.abs(scale) / LARGEST_FACTOR;
  checkFactor('temperature', temperature, Math.max(least, Number.MIN_VALUE), Number.MAX_VALUE);
  if (softcap !== undefined) {
    checkFactor('softcap', softcap, Math.max(least / temperature, 1 / LARGEST_SOFTCAP), LARGEST_SOFTCAP);
  }
  return scale / temperature;
}

function checkFactor(argument: string, value: number, least: number, most: number): void {
  if (typeof value === 'number' && value >= least && value <= most) return;
  throw invalidArgument(argument, `a number from ${least} to ${most}`, value);
}

function collectMasks(
  scope: CallScope,
  options: AttentionOptions,
): { masks: Mask[]; dense: Tensor[]; floats: [string, Tensor][] } {
  const masks: Mask[] = [];
  const dense: Tensor[] = [];
  const floats: [string, Tensor][] = [];
  if (options.causal) masks.push(causal());
  if (options.window !== undefined) masks.push(slidingWindow(options.window));
  if (options.keyLengths !== undefined) masks.push(keyLengths(options.keyLengths));
  const given = options.mask === undefined ? [] : Array.isArray(options.mask) ? options.mask : [options.mask];
  for (const mask of given as readonly (Mask | TensorLike)[]) {
    if (mask instanceof Mask) {
      masks.push(mask);
      continue;
    }
    const tensor = scope.tensor('mask', mask);
    checkDataType('mask', tensor, 'bool', 'float32');
    if (tensor.dtype === 'bool') dense.push(tensor);
    else floats.push(['mask', tensor]);
  }
  if (options.bias !== undefined) {
    const tensor = scope.tensor('bias', options.bias);
    checkDataType('bias', tensor, 'float32');
    floats.push(['bias', tensor]);
  }
  return { masks, dense, floats };
}

function placeCompiled(
  scope: CallScope,
  parameters: AttentionParameters,
  sizes: Sizes,
  compiled: CompiledMask,
): void {
  if (compiled.intervals) placeIntervals(scope, parameters, sizes, compiled.intervals);
  if (compiled.table) placeTable(scope, parameters, compiled.table);
}

function placeIntervals(
  scope: CallScope,
  parameters: AttentionParameters,
  sizes: Sizes,
  intervals: Intervals,
): void {
  const rowBytes = sizes.queries * 4;
  parameters.rowBegin = scope.integers(intervals.begin);
  parameters.rowEnd = scope.integers(intervals.end);
  parameters.rowIntervalHeadStride = intervals.perHead ? rowBytes : 0;
  parameters.rowIntervalBatchStride = intervals.perBatch
    ? rowBytes * (intervals.perHead ? sizes.heads : 1)
    : 0;
}

function placeTable(scope: CallScope, parameters: AttentionParameters, table: BlockTable): void {
  const bits = scope.allocate(table.bits.length);
  new Uint8Array(scope.runtime.linearMemory.buffer, bits, table.bits.length).set(table.bits);
  const entries = table.entries.map((entry) =>
    entry < 2 ? entry : bits + (entry - 2) * table.bytesPerBlock,
  );
  const variantBytes = table.queryBlocks * table.keyBlocks * 4;
  const heads = table.perHead ? table.entries.length / (table.queryBlocks * table.keyBlocks) : 1;
  parameters.blocks = scope.integers(entries);
  parameters.blocksHeadStride = table.perHead ? variantBytes : 0;
  parameters.blocksBatchStride = table.perBatch
    ? variantBytes * (table.perHead ? heads / Math.max(1, parameters.batch!) : 1)
    : 0;
}

/** Strides, in elements, of a mask that broadcasts from the right; throws if its shape does not fit. */
export function broadcastStrides(
  argument: string,
  tensor: Pick<Tensor, 'shape' | 'strides'>,
  sizes: Sizes,
): number[] {
  const target = [sizes.batch, sizes.heads, sizes.queries, sizes.keys];
  const rank = tensor.shape.length;
  const fits =
    rank <= 4 && tensor.shape.every((length, axis) => length === 1 || length === target[4 - rank + axis]);
  if (!fits) throw shapeError(argument, `a shape that broadcasts to ${describe(target)}`, tensor.shape);
  return target.map((_, axis) => {
    const own = axis - (4 - rank);
    return own < 0 || tensor.shape[own] === 1 ? 0 : tensor.strides[own]!;
  });
}

interface PlacedMask {
  readonly address: number;
  readonly strides: readonly number[];
}

/** Where a broadcast mask lies; copied if its keys do not follow each other. */
function placeMask(scope: CallScope, argument: string, tensor: Tensor, sizes: Sizes): PlacedMask {
  const strides = broadcastStrides(argument, tensor, sizes);
  if (strides[3] === 1 || sizes.keys <= 1) return { address: tensor.address, strides };
  const shape = strides.map((stride, axis) =>
    axis === 3 ? sizes.keys : stride === 0 ? 1 : [sizes.batch, sizes.heads, sizes.queries][axis]!,
  );
  const copy = scope.copyOf(tensor.withLayout(shape, strides));
  return {
    address: copy.address,
    strides: copy.strides.map((stride, axis) => (shape[axis] === 1 ? 0 : stride)),
  };
}

function placeBooleanMasks(
  scope: CallScope,
  parameters: AttentionParameters,
  sizes: Sizes,
  masks: readonly Tensor[],
): void {
  if (masks.length === 0) return;
  const mask = masks.length === 1 ? masks[0]! : combine(scope, 'mask', masks, sizes);
  const placed = placeMask(scope, 'mask', mask, sizes);
  parameters.booleanMask = placed.address;
  parameters.booleanMaskBatchStride = placed.strides[0]!;
  parameters.booleanMaskHeadStride = placed.strides[1]!;
  parameters.booleanMaskRowStride = placed.strides[2]!;
}

function placeBiases(
  scope: CallScope,
  parameters: AttentionParameters,
  sizes: Sizes,
  floats: readonly [string, Tensor][],
  tables: ReturnType<typeof distanceTables>,
): void {
  const [first, second] = floats;
  const two = first && second;
  const argument = first?.[0] ?? 'bias';
  if (first) {
    for (const [name, tensor] of floats) broadcastStrides(name, tensor, sizes);
    const all = floats.map(([, tensor]) => tensor);
    const tensor = two ? combine(scope, argument, all, sizes) : first[1];
    const placed = placeMask(scope, argument, tensor, sizes);
    parameters.bias = placed.address;
    parameters.biasBatchStride = placed.strides[0]! * 4;
    parameters.biasHeadStride = placed.strides[1]! * 4;
    parameters.biasRowStride = placed.strides[2]! * 4;
  }
  if (tables) {
    const length = sizes.queries + sizes.keys - 1;
    parameters.secondBias = scope.floats(tables.values) + (sizes.queries - 1) * 4;
    parameters.secondBiasBatchStride = tables.perBatch ? sizes.heads * length * 4 : 0;
    parameters.secondBiasHeadStride = length * 4;
    parameters.secondBiasRowStride = -4;
  }
}

/** Several dense masks as one, of the broadcast shape of them all. */
function combine(scope: CallScope, argument: string, tensors: readonly Tensor[], sizes: Sizes): Tensor {
  const strides = tensors.map((tensor) => broadcastStrides(argument, tensor, sizes));
  const full = [sizes.batch, sizes.heads, sizes.queries, sizes.keys];
  const shape = full.map((length, axis) => (axis === 3 || strides.some((s) => s[axis] !== 0) ? length : 1));
  const joined = scope.temporary(shape, tensors[0]!.dtype);
  tensors.forEach((tensor, i) => scope.copy(tensor.withLayout(shape, strides[i]!), joined, i > 0));
  return joined;
}

function placeSinks(
  scope: CallScope,
  parameters: AttentionParameters,
  sizes: Sizes,
  sinks: AttentionOptions['sinks'],
): void {
  if (sinks === undefined) return;
  const values = readNumbers('sinks', sinks);
  if (values.length !== sizes.heads || !values.every(Number.isFinite)) {
    throw invalidArgument('sinks', `${sizes.heads} finite numbers, one per query head`, sinks);
  }
  parameters.sinks = scope.floats(values);
}
