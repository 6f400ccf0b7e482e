// Attention with its projections, of tokens over themselves; cross-attention.ts is that over an encoder's. Queries, keys and values of
// a token come from one product and are read where they lie in its rows; the output projection adds the residual while its tile is in the cache.
//
//   stacked   | queries of all heads | keys of all heads | values of all heads |
//   perHead   | query, key, value of head 0 | of head 1 | ... |

import { planAttention } from '../../ops/attention/plan.js';
import type { ScoreOptions } from '../../ops/attention/options.js';
import { runPlan } from '../../ops/attention/scaled-dot-product-attention.js';
import type { AttentionResult } from '../../ops/attention/scaled-dot-product-attention.js';
import { runFusedLinear } from '../../ops/linear/fused-linear.js';
import type { LinearWeights } from '../../ops/linear/linear.js';
import type { LayerRotary } from '../../ops/rotary/layer-rotary.js';
import type { RotaryOptions } from '../../ops/rotary/options.js';
import { splitHeads } from '../../layers/split-heads.js';
import type { Tensor } from '../../runtime/tensor.js';
import type { ScoreDescription, SelfAttentionDescription } from '../description.js';
import type { Parameters } from '../parameters.js';
import type { KeptKeys, Pass, Rows, Seen } from '../pass.js';
import { bindNorm } from './bound-norm.js';
import type { Norm } from './bound-norm.js';
import type { Residual } from './residual.js';

/** Rotations by their options: blocks of a model share tables. */
export class Rotations {
  readonly #Rotary: typeof LayerRotary | undefined;
  readonly #known = new Map<string, LayerRotary>();

  /** @param Rotary none where nothing is rotated */
  constructor(Rotary: typeof LayerRotary | undefined) {
    this.#Rotary = Rotary;
  }

  of(options: RotaryOptions, headDim: number): LayerRotary {
    const key = `${headDim} ${JSON.stringify(options, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))}`;
    const rotary = this.#known.get(key) ?? new this.#Rotary!(options, headDim);
    this.#known.set(key, rotary);
    return rotary;
  }

  dispose(): void {
    for (const rotary of this.#known.values()) rotary.dispose();
  }
}

/** What scores are in every call, and the norms of what they are made of. */
export class Scores {
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
    if (description.rotary) this.rotary = rotations.of(description.rotary, this.headDim);
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

/** What of a result the caller wants to see. */
export function keep(seen: Seen, { record, weights }: AttentionResult): void {
  if (record) seen.records.push(record);
  if (weights) seen.weights.push(weights);
}

/** All columns. */
export const whole = (weights: LinearWeights) => ({ from: 0, to: weights.outFeatures });

/** The mask and the lengths among options, where they are. */
export function optionsOf({ keyLengths, mask }: KeptKeys): KeptKeys {
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
    const intervention = pass.wanted.intervene?.(layer);
    const kept = optionsOf(intervention?.keep(pass.kept) ?? pass.kept);
    const placed = rotary && pass.rotation(rotary);
    if (placed) rotary.rotate(scope, query, placed);
    if (cached) {
      const { cache, counts } = cached;
      const rotation = placed && rotary.ofRows(placed);
      cache.appendRows(scope, layer, key, value, { counts, rotary: rotation });
      const { mask } = kept;
      const options = { ...this.#cacheOptions, ...(mask && { mask }), ...wanted };
      keep(pass.self, cache.attendRows(scope, layer, query, counts, options));
    } else {
      if (placed) rotary.rotate(scope, key, placed);
      const options = { ...this.#scores.options, ...kept };
      keep(pass.self, runPlan(scope, planAttention(scope, query, key, options, 4), value, wanted));
    }
    intervention?.change(pass, merged);
    const from = { address: merged.address, rowBytes: heads * headDim * 4, rows: batch * length };
    runFusedLinear(scope, from, this.#output, whole(this.#output), y, residual);
  }

  get #cacheOptions() {
    const { causal, ...options } = this.#scores.options;
    return { ...options, causal: causal === true };
  }
}
