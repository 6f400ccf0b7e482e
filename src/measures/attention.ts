// What measures look at: a record of an attention, or weights that somebody else has computed. Of a record the exact weights are made
// anew, a block of queries at a time, in memory that all blocks share; weights are read where they lie.
//
//   block of a record   | [batch, heads, queries from..to, keys] |   at most BLOCK_FLOATS, or one query
//   weights             | [batch, heads, all queries, keys]      |   a look at as many queries

import { WEIGHTS } from '../../build/kernels.js';
import { keyLengths } from '../masks/intervals.js';
import { Mask } from '../masks/mask.js';
import { lengthsOf } from '../ops/attention/alignment.js';
import { placeTensor } from '../ops/attention/plan.js';
import type { Plan } from '../ops/attention/plan.js';
import { AttentionRecord } from '../ops/attention/record.js';
import { runOverRegion } from '../ops/attention/run.js';
import type { Range } from '../ops/attention/weights.js';
import type { CallScope } from '../runtime/call-scope.js';
import { integers } from '../runtime/checks.js';
import type { IntegerList } from '../runtime/checks.js';
import { invalidArgument, shapeError } from '../runtime/errors.js';
import { checkDataType } from '../runtime/inputs.js';
import type { TensorLike } from '../runtime/inputs.js';
import { runtimeAmong } from '../runtime/operation.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Tensor } from '../runtime/tensor.js';

/**
 * What measures look at: a record, or weights, [batch, heads, queries, keys] (without the leading axes if there is one of each): a tensor
 * of this package or of another library, or numbers with a shape. Weights that are no tensor are copied in for the call.
 */
export type Attention = AttentionRecord | TensorLike;

/** One attention, or one for each layer. */
export type Attentions = Attention | readonly Attention[];

/** Floats of a block of weights: 4 MiB, some 20 queries of 12 heads over 4096 keys. */
const BLOCK_FLOATS = 2 ** 20;

/** Looks at a block, between which the event loop may turn. */
const LOOKS = 8;

/** Weights of the queries `from` to `to`. */
export interface Look {
  readonly from: number;
  readonly to: number;
  readonly weights: Float32Array;
  /** Where the row of a query begins. */
  readonly row: (batch: number, head: number, query: number) => number;
}

/** An attention that a call looks at. */
export interface Opened {
  readonly batch: number;
  readonly heads: number;
  readonly queries: number;
  readonly keys: number;
  /** Position among the keys at which query 0 of each batch row stands. */
  readonly offsets: readonly number[];
  /** Tokens of each batch row, as far as the attention knows of padding. */
  readonly lengths: readonly number[] | undefined;
  /** What it was before it was opened. */
  readonly plan: Plan | undefined;
  readonly statistics: number;
  readonly weights: Tensor<'float32'> | undefined;
}

/** The runtime of what is looked at, or that in the options. */
export function runtimeOfAttentions([given]: readonly [Attentions, ...unknown[]], options: object): Runtime {
  const list = listOf(given) as readonly unknown[];
  return runtimeAmong(
    list.map((attention) => (attention instanceof AttentionRecord ? attention.queries : attention)),
    options,
  );
}

/** One for each layer. */
export function listOf(given: Attentions): readonly Attention[] {
  return Array.isArray(given) ? (given as readonly Attention[]) : [given as Attention];
}

/** What to call each of them in errors. */
export function nameOf(given: Attentions, index: number): string {
  return Array.isArray(given) ? `attention[${index}]` : 'attention';
}

/** Checks an attention and prepares the call. @param queryOffset of weights, which do not know it */
export function openAttention(
  scope: CallScope,
  argument: string,
  attention: Attention,
  queryOffset?: number | IntegerList,
): Opened {
  if (!(attention instanceof AttentionRecord)) return openWeights(scope, argument, attention, queryOffset);
  if (queryOffset !== undefined)
    throw invalidArgument(
      'queryOffset',
      'nothing beside a record, which knows where queries stand',
      queryOffset,
    );
  const plan = attention.plan(scope);
  const { batch, heads, queries, keys } = plan.sizes;
  const statistics = attention.statistics.address;
  const sizes = { batch, heads, queries, keys };
  return { ...sizes, offsets: plan.offsets, lengths: lengthsIn(plan), plan, statistics, weights: undefined };
}

function openWeights(
  scope: CallScope,
  argument: string,
  given: TensorLike,
  queryOffset: number | IntegerList | undefined,
): Opened {
  const tensor = scope.tensor(argument, given);
  checkDataType(argument, tensor, 'float32');
  if (tensor.shape.length < 2 || tensor.shape.length > 4)
    throw shapeError(argument, 'weights, [batch, heads, queries, keys], or a record', tensor.shape);
  const weights = scope.contiguous(tensor.withRank(4));
  const [batch, heads, queries, keys] = weights.shape as [number, number, number, number];
  if (queries !== keys && queryOffset === undefined) {
    throw invalidArgument(
      'queryOffset',
      `the position of query 0 among the keys, because ${queries} queries meet ${keys} keys`,
      queryOffset,
    );
  }
  const list = typeof queryOffset === 'number' ? [queryOffset] : (queryOffset ?? [0]);
  const read = integers('queryOffset', list, -(2 ** 31), 2 ** 31 - 1);
  if (read.length !== 1 && read.length !== batch)
    throw shapeError('queryOffset', `one position, or one per batch row (${batch})`, [read.length]);
  const offsets = Array.from({ length: batch }, (_, b) => read[read.length === 1 ? 0 : b]!);
  return {
    batch,
    heads,
    queries,
    keys,
    offsets,
    lengths: undefined,
    plan: undefined,
    statistics: 0,
    weights,
  };
}

/**
 * Tokens of each batch row, where queries are tokens of the same sequence as keys: then those after them are padding. Queries that stand
 * nowhere, of another number than keys, are those of cross-attention.
 */
function lengthsIn({ sizes, source }: Plan): readonly number[] | undefined {
  const { causal, queryOffset, keyLengths: given, mask } = source.options;
  if (!causal && queryOffset === undefined && sizes.queries !== sizes.keys) return undefined;
  const masks = ([mask] as unknown[]).flat().filter((item): item is Mask => item instanceof Mask);
  if (given !== undefined) masks.push(keyLengths(given));
  return lengthsOf(masks, sizes);
}

/** Weights for a look at a time: so many queries of them fit into a block. */
function queriesInBlock({ batch, heads, keys }: Opened): number {
  return Math.max(1, Math.floor(BLOCK_FLOATS / Math.max(1, batch * heads * keys)));
}

/** Memory for blocks of each of these in turn. */
export function blockFor(scope: CallScope, opened: readonly Opened[]): Tensor<'float32'> {
  const floats = opened.map((attention) => {
    const { batch, heads, queries, keys, weights } = attention;
    return weights ? 0 : batch * heads * Math.min(queries, queriesInBlock(attention)) * keys;
  });
  return scope.temporary([floats.reduce((most, size) => Math.max(most, size), 0)]);
}

/** Looks at the weights of all queries, or of some, in their order, when their turn comes. */
export function lookAt(
  scope: CallScope,
  attention: Opened,
  block: Tensor<'float32'>,
  visit: (look: Look) => void,
  [first, last]: Range = [0, attention.queries],
): void {
  const { batch, heads, queries, keys, plan, statistics, weights } = attention;
  if (batch * heads === 0) return;
  const step = queriesInBlock(attention);
  for (let from = first; from < last; from += step) {
    const to = Math.min(last, from + step);
    const [start, held] = weights ? [0, queries] : [from, to - from];
    if (plan && keys > 0) {
      const output = block.withLayout(
        [batch, heads, held, keys],
        [heads * held * keys, held * keys, keys, 1],
      );
      const region = { headFrom: 0, headTo: heads, queryFrom: from, queryTo: to, keyFrom: 0, keyTo: keys };
      const words = { mode: WEIGHTS, statistics };
      runOverRegion(scope, 'attentionWeights', plan.parameters, region, placeTensor('output', output), words);
    }
    const row = (b: number, head: number, query: number) =>
      ((b * heads + head) * held + query - start) * keys;
    const stride = Math.ceil((to - from) / LOOKS);
    for (let at = from; at < to; at += stride) {
      const look = { from: at, to: Math.min(to, at + stride), row };
      scope.then(() => visit({ ...look, weights: (weights ?? block).data }));
    }
  }
}

/** Whether a row has a weight at all. It most likely has one at or before its own position. */
export function hasWeight(weights: Float32Array, row: number, keys: number, position: number): boolean {
  const near = Math.max(0, Math.min(keys - 1, position));
  for (let key = near; key >= 0; key--) if (weights[row + key] !== 0) return true;
  for (let key = near + 1; key < keys; key++) if (weights[row + key] !== 0) return true;
  return false;
}
