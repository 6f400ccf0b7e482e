// Attention of a decoder's tokens over those of an encoder, with its projections.

import type { KeyValueCache } from '../../cache/key-value-cache.js';
import { splitHeads } from '../../layers/split-heads.js';
import { planAttention } from '../../ops/attention/plan.js';
import { runPlan } from '../../ops/attention/scaled-dot-product-attention.js';
import { runFusedLinear } from '../../ops/linear/fused-linear.js';
import type { LinearWeights } from '../../ops/linear/linear.js';
import type { Tensor } from '../../runtime/tensor.js';
import type { CrossAttentionDescription } from '../description.js';
import type { Parameters } from '../parameters.js';
import type { Context, Pass, Rows } from '../pass.js';
import { keep, optionsOf, Scores, whole } from './attention.js';
import type { Rotations } from './attention.js';
import type { Residual } from './residual.js';

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
    const intervention = pass.wanted.intervene?.(layer, true);
    const kept = optionsOf(intervention?.keep(context) ?? context);
    if (context.cached) {
      const counts = new Int32Array(pass.batch).fill(pass.length);
      const { mask } = kept;
      const asked = { ...options, ...(mask && { mask }), ...wanted };
      keep(pass.cross, context.cached.attendRows(scope, layer, query, counts, asked));
    } else {
      const [key, value] = this.#keysAndValues(pass, context);
      const plan = planAttention(scope, query, key, { ...options, ...kept }, 4);
      keep(pass.cross, runPlan(scope, plan, value, wanted));
    }
    intervention?.change(pass, merged);
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
