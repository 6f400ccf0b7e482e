// Attention with its projections, kept for the way back: what the products gave, the statistics of the softmax and the output. The
// weights are computed again, block by block, on the way back.
//
//   projection | queries | keys | values |  ->  norms, rotations  ->  attention  ->  merged heads  ->  output projection

import { splitHeads } from '../../layers/split-heads.js';
import { relativeBucket } from '../../ops/attention/distance-bias.js';
import { planAttention, placeTensor } from '../../ops/attention/plan.js';
import type { Plan } from '../../ops/attention/plan.js';
import type { AttentionOptions } from '../../ops/attention/options.js';
import { runForward } from '../../ops/attention/run.js';
import type { LayerRotary } from '../../ops/rotary/layer-rotary.js';
import { rotateInPlace } from '../../ops/rotary/rotary.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { Tensor } from '../../runtime/tensor.js';
import type {
  CrossAttentionDescription,
  ScoreDescription,
  SelfAttentionDescription,
} from '../../model/description.js';
import type { Rotations } from '../../model/layers/attention.js';
import type { KeptKeys } from '../../model/pass.js';
import type { Binder, BoundVector } from '../bound.js';
import type { Flow } from '../flow.js';
import { runAttentionBackward } from '../ops/attention-backward.js';
import { droppedForward } from '../ops/attention-dropout.js';
import { rotateBackInPlace } from '../ops/rotary.js';
import { zero } from '../tape.js';
import type { Backward, Value } from '../tape.js';
import { TrainedLinear } from './linear.js';
import { bindNorm } from './norm.js';
import type { TrainedNorm } from './norm.js';

/** Where heads of queries, keys or values lie in the rows of a product: the first float, and those from one head to the next. */
interface HeadPlaces {
  readonly product: Value;
  readonly length: number;
  readonly heads: number;
  readonly from: number;
  readonly step: number;
  /** Some of the product is read by nobody. */
  readonly partial?: boolean | undefined;
}

/** Heads, and how gradients of them come back. */
interface Heads {
  /** [batch, heads, length, headDim]. */
  readonly view: Tensor<'float32'>;
  /** Takes their gradient through rotation and norm, once it lies in the view that `gradient` gave. */
  readonly back: (back: Backward) => void;
  /** Where their gradient goes, as [batch, heads, length, headDim]. */
  readonly gradient: (back: Backward) => Tensor<'float32'>;
}

/** What scores are in every call, and what is done to what they are made of. */
interface ScoreParts {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly valueHeadDim: number;
  readonly options: AttentionOptions;
  readonly rotary: LayerRotary | undefined;
  readonly queryNorm?: TrainedNorm | undefined;
  readonly keyNorm?: TrainedNorm | undefined;
  readonly relativePositions?: {
    readonly table: BoundVector;
    readonly buckets: number;
    readonly maxDistance: number;
    readonly bidirectional: boolean;
  };
}

/** The parts of a description. */
function partsOf(binder: Binder, description: ScoreDescription, rotations: Rotations): ScoreParts {
  const { heads, keyValueHeads, headDim, rotary, relativePositions } = description;
  const { scale, softcap, causal, window, alibi } = description;
  return {
    heads,
    keyValueHeads,
    headDim,
    valueHeadDim: headDim,
    options: { scale, softcap, causal, window, alibi },
    rotary: rotary && rotations.of(rotary, headDim),
    queryNorm: bindNorm(binder, description.queryNorm),
    keyNorm: bindNorm(binder, description.keyNorm),
    ...(relativePositions && {
      relativePositions: { ...relativePositions, table: binder.vector(relativePositions.table) },
    }),
  };
}

export class TrainedScores {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly #parts: ScoreParts;
  readonly #site: number;

  constructor(parts: ScoreParts, site: number) {
    this.heads = parts.heads;
    this.keyValueHeads = parts.keyValueHeads;
    this.headDim = parts.headDim;
    this.#parts = parts;
    this.#site = site;
  }

  /** Whether attention itself has something to learn. */
  get trained(): boolean {
    const { queryNorm, keyNorm, relativePositions } = this.#parts;
    return (
      relativePositions?.table.gradient !== undefined ||
      (queryNorm?.trained ?? false) ||
      (keyNorm?.trained ?? false)
    );
  }

  /** Queries or keys, normalised and rotated. */
  prepare(flow: Flow, which: 'query' | 'key', places: HeadPlaces): Heads {
    const { tape, batch } = flow;
    const { product, length, heads, from, step, partial } = places;
    const norm = which === 'query' ? this.#parts.queryNorm : this.#parts.keyNorm;
    const rows = (value: { address: number; rowBytes: number }) => ({
      address: value.address + from * 4,
      rowBytes: value.rowBytes,
      rows: batch * length,
      groups: norm ? (heads * this.headDim) / norm.channels : 1,
    });
    // Norms need what they are of on the way back.
    const normed = norm && tape.place(batch * length, heads * this.headDim, product.trained || norm.trained);
    if (normed && normed.rows > 0) norm.runRows(tape.scope, rows(product), normed);
    const split = (tensor: Tensor<'float32'>, width: number) =>
      normed
        ? splitHeads(asRows(tensor, batch, length, width), heads, this.headDim, 0, this.headDim)
        : splitHeads(asRows(tensor, batch, length, width), heads, this.headDim, from, step);
    const view = normed ? split(normed.tensor, normed.channels) : split(product.tensor, product.channels);
    this.#rotate(tape.scope, flow, view, false);
    return {
      view,
      gradient: (back) => {
        if (partial) back.toSome(product);
        return gradientTensor(back, normed ?? product, split);
      },
      back: (back) => {
        this.#rotate(back.scope, flow, gradientTensor(back, normed ?? product, split), true);
        if (!normed) return;
        norm.runBack(
          back,
          rows(product),
          back.of(normed)!,
          product.trained ? rows(back.to(product)) : undefined,
        );
        back.end(normed);
      },
    };
  }

  #rotate(scope: CallScope, flow: Flow, view: Tensor<'float32'>, backwards: boolean): void {
    const { rotary } = this.#parts;
    if (!rotary || view.size === 0) return;
    const placed = flow.rotation(scope, rotary);
    const turn = backwards ? rotateBackInPlace : rotateInPlace;
    turn(scope, view, placed, rotary.rotaryDim, rotary.interleaved);
  }

  /** Options of every call, and those of one. */
  #options(more: AttentionOptions): AttentionOptions {
    const { options, relativePositions } = this.#parts;
    if (!relativePositions) return { ...options, ...more };
    const { table, ...distances } = relativePositions;
    const rows = table.tensor.data.subarray(0, distances.buckets * this.heads);
    return { ...options, relativePositionBias: { ...distances, table: rows }, ...more };
  }

  /**
   * softmax(Q K^T) V of heads, merged in rows [batch * queries, heads * valueHeadDim].
   *
   * @param more options of the call, which the way back asks for again
   */
  attend(
    flow: Flow,
    { query, key, value }: { readonly query: Heads; readonly key: Heads; readonly value: Heads },
    trained: boolean,
    more: (scope: CallScope) => AttentionOptions,
  ): Value {
    const { tape, batch, length } = flow;
    const { heads } = this;
    const { valueHeadDim, relativePositions } = this.#parts;
    const merged = tape.place(batch * length, heads * valueHeadDim, trained || this.trained);
    if (merged.rows === 0) return merged;
    const statistics = tape.memory(batch * heads * length * 2);
    const split = (tensor: Tensor<'float32'>, width: number) =>
      splitHeads(asRows(tensor, batch, length, width), heads, valueHeadDim, 0, valueHeadDim);
    const output = split(merged.tensor, merged.channels);
    const planIn = (scope: CallScope) =>
      planAttention(scope, query.view, key.view, this.#options(more(scope)), 4);
    const dropout = flow.dropout?.attention
      ? { rate: flow.dropout.attention, seed: flow.dropout.seed, site: this.#site }
      : undefined;
    const forward = dropout ? droppedForward(dropout) : runForward;
    forward(
      tape.scope,
      planIn(tape.scope).parameters,
      placeTensor('value', value.view),
      placeTensor('output', output),
      { valueHeadDim, statistics: statistics.address, logSumExp: 0 },
    );
    tape.note(merged, (back) => {
      if (!back.has(merged)) return;
      const gradients = {
        query: { tensor: query.gradient(back) },
        key: { tensor: key.gradient(back) },
        value: { tensor: value.gradient(back) },
      };
      const plan = planIn(back.scope);
      const flow = {
        output,
        dOutput: gradientTensor(back, merged, split),
        statistics: statistics.address,
        dropout,
      };
      const table = relativePositions?.table.gradient;
      if (!table) runAttentionBackward(back.scope, plan, value.view, flow, gradients);
      else {
        const { sizes } = plan;
        const length = sizes.queries + sizes.keys - 1;
        back.with(batch * heads, length, ({ address: distances }) => {
          zero(back.scope, distances, batch * heads * length);
          runAttentionBackward(back.scope, plan, value.view, flow, { ...gradients, distances });
          addTableGradient(back.scope, plan, distances, relativePositions, table);
        });
      }
      back.end(merged);
      for (const part of [query, key, value]) part.back(back);
    });
    return merged;
  }
}

/** Sums of gradients by distance, [batch][heads][queries + keys - 1], go to the rows of the table that the distances share. */
function addTableGradient(
  scope: CallScope,
  { sizes: { heads, queries, keys }, offsets }: Plan,
  distances: number,
  { buckets, maxDistance, bidirectional }: ScoreParts['relativePositions'] & object,
  table: Tensor<'float32'>,
): void {
  const length = queries + keys - 1;
  scope.then(() => {
    const sums = new Float64Array(buckets * heads);
    offsets.forEach((offset, b) => {
      const all = new Float32Array(
        scope.runtime.linearMemory.buffer,
        distances + b * heads * length * 4,
        heads * length,
      );
      all.forEach((gradient, at) => {
        const distance = (at % length) - (queries - 1) - offset;
        const bucket = relativeBucket(distance, buckets, maxDistance, bidirectional);
        sums[bucket * heads + Math.floor(at / length)]! += gradient;
      });
    });
    const { data } = table;
    sums.forEach((sum, i) => (data[i]! += sum));
  });
}

/** Rows as [batch, length, width]. */
function asRows(tensor: Tensor<'float32'>, batch: number, length: number, width: number): Tensor<'float32'> {
  return tensor.withLayout([batch, length, width], [length * width, width, 1]);
}

/** The gradient of a value as heads; parts of it are written by several, each its own. */
function gradientTensor(
  back: Backward,
  value: Value,
  split: (tensor: Tensor<'float32'>, width: number) => Tensor<'float32'>,
): Tensor<'float32'> {
  return split(back.tensorOf(value), value.channels);
}

/** The mask and the lengths among options, where they are. */
function given({ keyLengths, mask }: KeptKeys): KeptKeys {
  return { ...(keyLengths && { keyLengths }), ...(mask && { mask }) };
}

export class TrainedSelfAttention {
  readonly #projection: TrainedLinear;
  readonly #output: TrainedLinear;
  readonly #scores: TrainedScores;
  readonly #perHead: boolean;

  constructor(binder: Binder, description: SelfAttentionDescription, rotations: Rotations) {
    this.#projection = new TrainedLinear(binder.matrix(description.projection));
    this.#output = new TrainedLinear(binder.matrix(description.output));
    this.#scores = new TrainedScores(partsOf(binder, description, rotations), binder.site());
    this.#perHead = description.order === 'perHead';
  }

  run(flow: Flow, x: Value, residual?: Value): Value {
    const { tape, length } = flow;
    const { heads, keyValueHeads, headDim } = this.#scores;
    const product = this.#projection.run(tape, x);
    const step = this.#perHead ? 3 * headDim : headDim;
    const keyFrom = this.#perHead ? headDim : heads * headDim;
    const valueFrom = keyFrom + (this.#perHead ? headDim : keyValueHeads * headDim);
    const places = { product, length, step };
    const query = this.#scores.prepare(flow, 'query', { ...places, heads, from: 0 });
    const key = this.#scores.prepare(flow, 'key', { ...places, heads: keyValueHeads, from: keyFrom });
    const value = asTheyLie(flow, headDim, { ...places, heads: keyValueHeads, from: valueFrom });
    const merged = this.#scores.attend(flow, { query, key, value }, product.trained, (scope) =>
      given(flow.kept(scope)),
    );
    return this.#output.run(tape, merged, { residual });
  }
}

/** Values, which nothing is done to. */
export function asTheyLie(
  { batch }: Flow,
  headDim: number,
  { product, length, heads, from, step, partial }: HeadPlaces,
): Heads {
  const split = (tensor: Tensor<'float32'>, width: number) =>
    splitHeads(asRows(tensor, batch, length, width), heads, headDim, from, step);
  return {
    view: split(product.tensor, product.channels),
    gradient: (back) => {
      if (partial) back.toSome(product);
      return gradientTensor(back, product, split);
    },
    back: () => {},
  };
}

export class TrainedCrossAttention {
  readonly #query: TrainedLinear;
  readonly #keyValue: TrainedLinear;
  readonly #output: TrainedLinear;
  readonly #scores: TrainedScores;

  constructor(binder: Binder, description: CrossAttentionDescription, rotations: Rotations) {
    this.#query = new TrainedLinear(binder.matrix(description.query));
    this.#keyValue = new TrainedLinear(binder.matrix(description.keyValue));
    this.#output = new TrainedLinear(binder.matrix(description.output));
    this.#scores = new TrainedScores(partsOf(binder, description, rotations), binder.site());
  }

  run(flow: Flow, x: Value, residual?: Value): Value {
    const { tape, length } = flow;
    const context = flow.context!;
    const { heads, keyValueHeads, headDim } = this.#scores;
    const queries = this.#query.run(tape, x);
    const product = this.#keyValue.run(tape, context.hidden);
    const places = { length: context.length, heads: keyValueHeads, step: headDim };
    const query = this.#scores.prepare(flow, 'query', {
      product: queries,
      length,
      heads,
      from: 0,
      step: headDim,
    });
    const key = this.#scores.prepare(flow, 'key', { ...places, product, from: 0 });
    const value = asTheyLie(flow, headDim, { ...places, product, from: keyValueHeads * headDim });
    const trained = queries.trained || product.trained;
    const merged = this.#scores.attend(flow, { query, key, value }, trained, (scope) => ({
      causal: false,
      ...given(context.kept(scope)),
    }));
    return this.#output.run(tape, merged, { residual });
  }
}
