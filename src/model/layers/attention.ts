// Attention with its projections, of tokens over themselves and over those of an encoder. Queries, keys and values of a token come
// from one product and are read where they lie in its rows; the output projection adds the residual while its tile is in the cache.
//
//   stacked   | queries of all heads | keys of all heads | values of all heads |
//   perHead   | query, key, value of head 0 | of head 1 | ... |

import { planAttention } from '../../ops/attention/plan.js';
import type { ScoreOptions } from '../../ops/attention/options.js';
import { runPlan } from '../../ops/attention/scaled-dot-product-attention.js';
import type { AttentionResult } from '../../ops/attention/scaled-dot-product-attention.js';
import { runFusedLinear } from '../../ops/linear/fused-linear.js';
import type { LinearWeights } from '../../ops/linear/linear.js';
import { LayerRotary } from '../../ops/rotary/layer-rotary.js';
import { rotateInPlace } from '../../ops/rotary/rotary.js';
import { splitHeads } from '../../layers/split-heads.js';
import type { KeyValueCache } from '../../cache/key-value-cache.js';
import type { Tensor } from '../../runtime/tensor.js';
import type {
  CrossAttentionDescription,
  ScoreDescription,
  SelfAttentionDescription,
} from '../description.js';
import type { Parameters } from '../parameters.js';
import type { Context, KeptKeys, Pass, Rows, Seen } from '../pass.js';
import { bindNorm } from './bound-norm.js';
import type { Norm } from './bound-norm.js';
import type { Residual } from './residual.js';

/** Rotations by their options: blocks of a model share tables. */
export type Rotations = Map<string, LayerRotary>;

/** What scores are in every call, and the norms of what they are made of. */
class Scores {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly rotary: LayerRotary | undefined;
  readonly #description: ScoreDescription;
  readonly #queryNorm: Norm | undefined;
  readonly #keyNorm: Norm | undefined;
  readonly #table: Tensor<'float32'> | undefined;

  constructor(parameters: Parameters, description: ScoreDescription, rotations: Rotations) {
    this.heads = description.heads;
    this.keyValueHeads = description.keyValueHeads;
    this.headDim = description.headDim;
    this.#description = description;
    this.#queryNorm = bindNorm(parameters, description.queryNorm);
    this.#keyNorm = bindNorm(parameters, description.keyNorm);
    this.#table = parameters.vector(description.relativePositions?.table);
    if (description.rotary) this.rotary = rotationOf(rotations, description.rotary, this.headDim);
  }

  get options(): ScoreOptions {
    const { scale, softcap, causal, window, alibi, relativePositions } = this.#description;
    return {
      scale,
      softcap,
      causal,
      window,
      alibi,
      ...(relativePositions && {
        relativePositionBias: {
          buckets: relativePositions.buckets,
          maxDistance: relativePositions.maxDistance,
          bidirectional: relativePositions.bidirectional,
          table: this.#table!.data.subarray(0, relativePositions.buckets * this.heads),
        },
      }),
    };
  }

  /** Norms of queries or keys, in place: rows of `heads` groups that begin at an address. */
  normalize(pass: Pass, which: 'query' | 'key', { address, rowBytes, rows }: Rows): void {
    const norm = which === 'query' ? this.#queryNorm : this.#keyNorm;
    if (!norm) return;
    const channels = (which === 'query' ? this.heads : this.keyValueHeads) * this.headDim;
    const place = { address, rowBytes };
    norm.run(pass.scope, { ...place, rows, groups: channels / norm.channels }, place);
  }
}

function rotationOf(
  rotations: Rotations,
  options: ScoreDescription['rotary'] & object,
  headDim: number,
): LayerRotary {
  const key = `${headDim} ${JSON.stringify(options, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))}`;
  const known = rotations.get(key);
  if (known) return known;
  const made = new LayerRotary(options, headDim);
  rotations.set(key, made);
  return made;
}

/** What of a result the caller wants to see. */
function keep(seen: Seen, { record, weights }: AttentionResult): void {
  if (record) seen.records.push(record);
  if (weights) seen.weights.push(weights);
}

const whole = (weights: LinearWeights) => ({ from: 0, to: weights.outFeatures });

/** The mask and the lengths among options, where they are. */
function optionsOf({ keyLengths, mask }: KeptKeys): KeptKeys {
  return { ...(keyLengths && { keyLengths }), ...(mask && { mask }) };
}

export class SelfAttention {
  readonly #projection: LinearWeights;
  readonly #output: LinearWeights;
  readonly #scores: Scores;
  readonly #perHead: boolean;

  constructor(parameters: Parameters, description: SelfAttentionDescription, rotations: Rotations) {
    this.#projection = parameters.matrix(description.projection);
    this.#output = parameters.matrix(description.output);
    this.#scores = new Scores(parameters, description, rotations);
    this.#perHead = description.order === 'perHead';
  }

  run(pass: Pass, layer: number, x: Rows, y: Rows, residual: Residual): void {
    const { scope, batch, length, cached } = pass;
    const { heads, keyValueHeads, headDim, rotary } = this.#scores;
    const width = this.#projection.outFeatures;
    const product = pass.keptRows('projection', width);
    const rows = { address: product.address, rowBytes: width * 4, rows: x.rows };
    runFusedLinear(scope, x, this.#projection, whole(this.#projection), rows, {});
    const step = this.#perHead ? 3 * headDim : headDim;
    const keyFrom = this.#perHead ? headDim : heads * headDim;
    const valueFrom = keyFrom + (this.#perHead ? headDim : keyValueHeads * headDim);
    this.#scores.normalize(pass, 'query', rows);
    this.#scores.normalize(pass, 'key', { ...rows, address: rows.address + keyFrom * 4 });
    const query = splitHeads(product, heads, headDim, 0, step);
    const key = splitHeads(product, keyValueHeads, headDim, keyFrom, step);
    const value = splitHeads(product, keyValueHeads, headDim, valueFrom, step);
    const merged = pass.keptRows('merged', heads * headDim);
    const wanted = { ...pass.wanted, output: splitHeads(merged, heads, headDim, 0) };
    const placed = rotary && pass.rotation(rotary);
    const rotate = (tensor: Tensor) =>
      placed && rotateInPlace(scope, tensor, placed, rotary.rotaryDim, rotary.interleaved);
    rotate(query);
    if (cached) {
      const { cache, counts } = cached;
      const rotation = placed && rotary.ofRows(placed);
      cache.appendRows(scope, layer, key, value, { counts, rotary: rotation });
      const { mask } = optionsOf(pass.kept);
      const options = { ...this.#cacheOptions, ...(mask && { mask }), ...wanted };
      keep(pass.self, cache.attendRows(scope, layer, query, counts, options));
    } else {
      rotate(key);
      const options = { ...this.#scores.options, ...optionsOf(pass.kept) };
      keep(pass.self, runPlan(scope, planAttention(scope, query, key, options, 4), value, wanted));
    }
    const from = { address: merged.address, rowBytes: heads * headDim * 4, rows: batch * length };
    runFusedLinear(scope, from, this.#output, whole(this.#output), y, residual);
  }

  get #cacheOptions() {
    const { causal, ...options } = this.#scores.options;
    return { ...options, causal: causal === true };
  }
}

export class CrossAttention {
  readonly #query: LinearWeights;
  readonly #keyValue: LinearWeights;
  readonly #output: LinearWeights;
  readonly #scores: Scores;

  constructor(parameters: Parameters, description: CrossAttentionDescription, rotations: Rotations) {
    this.#query = parameters.matrix(description.query);
    this.#keyValue = parameters.matrix(description.keyValue);
    this.#output = parameters.matrix(description.output);
    this.#scores = new Scores(parameters, description, rotations);
  }

  run(pass: Pass, layer: number, x: Rows, y: Rows, residual: Residual): void {
    const { scope } = pass;
    const context = pass.context!;
    const { heads, headDim } = this.#scores;
    const width = heads * headDim;
    const product = pass.keptRows('crossQuery', width);
    const rows = { address: product.address, rowBytes: width * 4, rows: x.rows };
    runFusedLinear(scope, x, this.#query, whole(this.#query), rows, {});
    this.#scores.normalize(pass, 'query', rows);
    const query = splitHeads(product, heads, headDim, 0);
    const merged = pass.keptRows('crossMerged', width);
    const wanted = { ...pass.wanted, output: splitHeads(merged, heads, headDim, 0) };
    const options = { ...this.#scores.options, causal: false };
    if (context.cached) {
      const counts = new Int32Array(pass.batch).fill(pass.length);
      const mask = context.mask && { mask: context.mask };
      const asked = { ...options, ...mask, ...wanted };
      keep(pass.cross, context.cached.attendRows(scope, layer, query, counts, asked));
    } else {
      const [key, value] = this.#keysAndValues(pass, context);
      const plan = planAttention(scope, query, key, { ...options, ...optionsOf(context) }, 4);
      keep(pass.cross, runPlan(scope, plan, value, wanted));
    }
    const from = { address: merged.address, rowBytes: width * 4, rows: x.rows };
    runFusedLinear(scope, from, this.#output, whole(this.#output), y, residual);
  }

  /** Keys and values of an encoder's tokens, once for all that a decoder will say. */
  fill(pass: Pass, layer: number, context: Context, cache: KeyValueCache): void {
    const [key, value] = this.#keysAndValues(pass, context);
    const counts = context.keyLengths ?? new Int32Array(pass.batch).fill(context.length);
    cache.appendRows(pass.scope, layer, key, value, { counts });
  }

  #keysAndValues(pass: Pass, { hidden, length }: Context): [Tensor<'float32'>, Tensor<'float32'>] {
    const { keyValueHeads, headDim } = this.#scores;
    const product = pass.keptRows('crossKeys', this.#keyValue.outFeatures, length);
    const rows = { address: product.address, rowBytes: this.#keyValue.outFeatures * 4, rows: hidden!.rows };
    runFusedLinear(pass.scope, hidden!, this.#keyValue, whole(this.#keyValue), rows, {});
    this.#scores.normalize(pass, 'key', rows);
    return [
      splitHeads(product, keyValueHeads, headDim, 0),
      splitHeads(product, keyValueHeads, headDim, keyValueHeads * headDim),
    ];
  }
}
