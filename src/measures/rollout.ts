// Attention rollout: how much of each token is in what comes out at another one, if every layer mixes tokens as its attention's weights
// say and the residual keeps its part. The matrix of all tokens by all is a product of one matrix a layer, R = A_L ... A_1 with
// A = (1 - residual) mean of heads W + residual I; of it only chosen rows or columns are made, and no A is held:
//
//   columns   R E = A_L ( ... (A_1 E))   from the first layer on; each W X is attention with values X   [batch, tokens, spans]
//   rows      E' R = ((E' A_L) ... ) A_1   from the last layer back, over blocks of the exact weights   [batch, spans, tokens]

import { runPlan } from '../ops/attention/scaled-dot-product-attention.js';
import type { Range } from '../ops/attention/weights.js';
import { callAsync, callNow } from '../runtime/call.js';
import type { AsyncOptions } from '../runtime/call.js';
import type { CallScope } from '../runtime/call-scope.js';
import type { NamesOf } from '../runtime/checks.js';
import { describe, invalidArgument, shapeError } from '../runtime/errors.js';
import type { Operation } from '../runtime/operation.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Tensor } from '../runtime/tensor.js';
import { blockFor, listOf, lookAt, nameOf, openAttention, runtimeOfAttentions } from './attention.js';
import type { Attentions, Look, Opened } from './attention.js';
import { readSpan } from './spans.js';
import type { Span } from './spans.js';

/** Options of `attentionRollout`. */
export interface RolloutOptions {
  /** Rows: what comes out at these tokens, the mean over each span. Either these or `inputs`. */
  readonly outputs?: readonly Span[] | undefined;
  /** Columns: what goes in at these tokens, the sum over each span. */
  readonly inputs?: readonly Span[] | undefined;
  /** The part that passes each attention by, 0 to 1. Default 0.5. */
  readonly residual?: number | undefined;
  /** Needed only if there is neither a record nor a Tensor. */
  readonly runtime?: Runtime | undefined;
}

/** Rows or columns of a rollout. */
export interface Rollout {
  /** [batch, spans, tokens] */
  readonly data: Float32Array;
  /** [batch, spans, tokens] */
  readonly shape: readonly [number, number, number];
}

/** Spans that share a pass: as many as a head has channels, more or less. */
const SPANS_IN_PASS = 64;

/** What all layers have in common. */
interface Mixing {
  readonly batch: number;
  readonly tokens: number;
  /** The part that passes each attention by. */
  readonly residual: number;
  /** Where blocks of weights are made. */
  readonly block: Tensor<'float32'>;
}

const rolloutOperation: Operation<[attentions: Attentions], RolloutOptions, Rollout> = {
  inputs: ['attentions'],
  options: { outputs: 1, inputs: 1, residual: 1, runtime: 1 } satisfies NamesOf<RolloutOptions>,
  runtime: runtimeOfAttentions,
  run(scope, [given], { outputs, inputs, residual = 0.5 }) {
    const layers = listOf(given).map((attention, i) => openAttention(scope, nameOf(given, i), attention));
    const { batch, queries: tokens } = checkLayers(given, layers);
    if (typeof residual !== 'number' || !(residual >= 0 && residual <= 1))
      throw invalidArgument('residual', 'a number from 0 to 1', residual);
    if (outputs !== undefined && inputs !== undefined)
      throw invalidArgument('inputs', 'nothing beside outputs: rows or columns', inputs);
    const spans = readSpans(inputs ? 'inputs' : 'outputs', inputs ?? outputs, tokens);
    const data = new Float32Array(batch * spans.length * tokens);
    if (data.length > 0) {
      const mixing = { batch, tokens, residual, block: blockFor(scope, layers) };
      if (inputs) rollOn(scope, layers, mixing, spans, data);
      else rollBack(scope, layers, mixing, spans, data);
    }
    return { data, shape: [batch, spans.length, tokens] };
  },
};

function checkLayers(given: Attentions, layers: readonly Opened[]): Opened {
  const [first] = layers;
  if (!first) throw invalidArgument('attentions', 'at least one attention', given);
  layers.forEach(({ batch, heads, queries, keys }, i) => {
    const argument = nameOf(given, i);
    if (queries !== keys || heads < 1)
      throw shapeError(argument, '[batch, heads, tokens, tokens]', [batch, heads, queries, keys]);
    if (batch !== first.batch || queries !== first.queries)
      throw shapeError(argument, `${describe([first.batch, first.queries])}, batch and tokens of the first`, [
        batch,
        queries,
      ]);
  });
  return first;
}

function readSpans(argument: string, spans: unknown, tokens: number): Range[] {
  if (!Array.isArray(spans))
    throw invalidArgument(argument, 'a list of tokens or of spans [from, to]', spans);
  return Array.from(spans as unknown[], (span, i) => readSpan(`${argument}[${i}]`, span, tokens));
}

/** What columns are made in. */
interface Columns {
  /** [batch, tokens, width] */
  readonly columns: Tensor<'float32'>;
  /** [batch, heads, tokens, width] */
  readonly perHead: Tensor<'float32'>;
  /** [batch, tokens, width] */
  readonly sums: Float64Array;
}

/** Columns, some spans at a time: what they are after each layer is what goes into the next. */
function rollOn(
  scope: CallScope,
  layers: readonly Opened[],
  mixing: Mixing,
  spans: readonly Range[],
  data: Float32Array,
): void {
  const { batch, tokens } = mixing;
  const most = Math.min(spans.length, SPANS_IN_PASS);
  const heads = layers.reduce((most, layer) => Math.max(most, layer.heads), 0);
  const sums = new Float64Array(batch * tokens * most);
  const columns = scope.temporary([sums.length]);
  const perHead = scope.temporary([heads * sums.length]);
  for (let first = 0; first < spans.length; first += most) {
    const some = spans.slice(first, first + most);
    const width = some.length;
    const place = (b: number, token: number, s: number) => (b * tokens + token) * width + s;
    scope.then(() => {
      const marks = columns.data.fill(0);
      for (let b = 0; b < batch; b++)
        some.forEach(([from, to], s) => {
          for (let token = from; token < to; token++) marks[place(b, token, s)] = 1;
        });
    });
    for (const layer of layers) mixColumns(scope, layer, mixing, width, { columns, perHead, sums });
    scope.then(() => {
      const found = columns.data;
      for (let b = 0; b < batch; b++)
        for (let s = 0; s < width; s++)
          for (let token = 0; token < tokens; token++)
            data[(b * spans.length + first + s) * tokens + token] = found[place(b, token, s)]!;
    });
  }
}

/** columns = A columns: so many of them, [batch, tokens, width]. */
function mixColumns(
  scope: CallScope,
  layer: Opened,
  { batch, tokens, residual, block }: Mixing,
  width: number,
  { columns, perHead, sums }: Columns,
): void {
  const { heads, plan } = layer;
  const size = tokens * width;
  const mixed = sums.subarray(0, batch * size);
  scope.then(() => {
    const { data } = columns;
    mixed.forEach((_, i) => (mixed[i] = residual * data[i]!));
  });
  if (plan && !plan.source.pages) {
    // Every head of keys has the same values: its stride is 0.
    const values = columns.withLayout([batch, plan.sizes.keyHeads, tokens, width], [size, 0, width, 1]);
    const output = perHead.withLayout([batch, heads, tokens, width], [heads * size, size, width, 1]);
    runPlan(scope, plan, values, { output });
    const part = (1 - residual) / heads;
    scope.then(() => {
      const { data } = perHead;
      for (let b = 0; b < batch; b++)
        for (let head = 0; head < heads; head++)
          for (let i = 0; i < size; i++) mixed[b * size + i]! += part * data[(b * heads + head) * size + i]!;
    });
  } else {
    lookAt(scope, layer, block, (look) => {
      const { data } = columns;
      eachMeanRow(look, layer, (b, query, row) => {
        for (let key = 0; key < tokens; key++) {
          const part = (1 - residual) * row[key]!;
          if (part === 0) continue;
          const [from, to] = [b * size + key * width, b * size + query * width];
          for (let s = 0; s < width; s++) mixed[to + s]! += part * data[from + s]!;
        }
      });
    });
  }
  scope.then(() => columns.data.set(mixed));
}

/** Rows: what they are before each layer is what comes out of the one before. */
function rollBack(
  scope: CallScope,
  layers: readonly Opened[],
  { batch, tokens, residual, block }: Mixing,
  spans: readonly Range[],
  data: Float32Array,
): void {
  let [rows, mixed] = [new Float64Array(data.length), new Float64Array(data.length)];
  const place = (b: number, s: number) => (b * spans.length + s) * tokens;
  for (let b = 0; b < batch; b++)
    spans.forEach(([from, to], s) => rows.fill(1 / (to - from), place(b, s) + from, place(b, s) + to));
  // Of the last layer no other queries are needed.
  const last = spans.reduce<Range>(
    ([first, end], [from, to]) => [Math.min(first, from), Math.max(end, to)],
    [tokens, 0],
  );
  [...layers].reverse().forEach((layer, i) => {
    scope.then(() => rows.forEach((value, j) => (mixed[j] = residual * value)));
    const look = (look: Look) =>
      eachMeanRow(look, layer, (b, query, row) => {
        for (let s = 0; s < spans.length; s++) {
          const at = place(b, s);
          const part = (1 - residual) * rows[at + query]!;
          if (part === 0) continue;
          for (let key = 0; key < tokens; key++) mixed[at + key]! += part * row[key]!;
        }
      });
    lookAt(scope, layer, block, look, i === 0 ? last : [0, tokens]);
    scope.then(() => ([rows, mixed] = [mixed, rows]));
  });
  scope.then(() => data.set(rows));
}

/** The mean of the heads' rows, of each query in sight; good until the next one. */
function eachMeanRow(
  { from, to, weights, row }: Look,
  { batch, heads, keys }: Opened,
  visit: (batch: number, query: number, mean: Float64Array) => void,
): void {
  const mean = new Float64Array(keys);
  for (let b = 0; b < batch; b++)
    for (let query = from; query < to; query++) {
      mean.fill(0);
      for (let head = 0; head < heads; head++) {
        const at = row(b, head, query);
        for (let key = 0; key < keys; key++) mean[key]! += weights[at + key]!;
      }
      for (let key = 0; key < keys; key++) mean[key]! /= heads;
      visit(b, query, mean);
    }
}

/**
 * Attention rollout of chosen tokens: how much of each input token there is at an output token after all layers, where a layer's mixing is
 * (1 - residual) times the mean of its heads' weights, plus residual times the identity. Rows sum to 1, unless a query sees no key or a
 * sink takes a part. The matrix of all tokens against all is never held, neither a layer's nor the product's.
 *
 * @param attentions records of self-attention, or weights [batch, heads, tokens, tokens], from the first layer to the last
 * @returns what each input contributes to a span of `outputs`, or a span of `inputs` to each output, [batch, spans, tokens]
 * @throws AttentionError INVALID_ARGUMENT, INVALID_SHAPE, INVALID_DTYPE, DISPOSED, OUT_OF_MEMORY
 * @see Abnar and Zuidema 2020, whose rollout has a residual of 0.5
 *
 * @example
 * ```js
 * const { records } = gpt2.forward({ inputIds: [[5, 6, 7, 8]] }, { returnRecord: true });
 * const { data, shape } = attentionRollout(records, { outputs: [3] }); // what the last token is made of
 * shape; // [1, 1, 4]
 * attentionRollout(records, { inputs: [0, [1, 3]] }).shape; // [1, 2, 4]
 * ```
 */
export function attentionRollout(attentions: Attentions, options: RolloutOptions = {}): Rollout {
  return callNow(rolloutOperation, [attentions], options);
}

/**
 * {@link attentionRollout} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const { records } = gpt2.forward({ inputIds: [[5, 6, 7, 8]] }, { returnRecord: true });
 * const { shape } = await attentionRolloutAsync(records, { inputs: [0], signal: AbortSignal.timeout(5000) });
 * shape; // [1, 1, 4]
 * ```
 */
export function attentionRolloutAsync(
  attentions: Attentions,
  options: RolloutOptions & AsyncOptions = {},
): Promise<Rollout> {
  return callAsync(rolloutOperation, [attentions], options);
}
