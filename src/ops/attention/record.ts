// What one attention was of and what came of it, kept so that its weights can be looked at afterwards: exactly, in part, at
// any time, and without anything of size n x n.

import { Disposable } from '../../runtime/disposable.js';
import { AttentionError, invalidArgument } from '../../runtime/errors.js';
import type { CallScope } from '../../runtime/call-scope.js';
import { isTensor } from '../../runtime/tensor.js';
import type { Tensor } from '../../runtime/tensor.js';
import { SCORE_NAMES } from './options.js';
import type { Asked, AttentionOptions } from './options.js';
import { planAttention } from './plan.js';
import type { Plan } from './plan.js';

/** A record that is there if it was asked for. */
export type ReturnedRecord<Wanted extends Asked> = Wanted extends true ? AttentionRecord : undefined;

/** Sizes of an attention. */
export interface AttentionSizes {
  /** Batch rows. */
  readonly batch: number;
  /** Query heads. */
  readonly heads: number;
  /** Heads of keys and values. */
  readonly keyValueHeads: number;
  /** Queries. */
  readonly queries: number;
  /** Keys. */
  readonly keys: number;
  /** Channels per head of queries and keys. */
  readonly headDim: number;
}

/** Options that scores depend on, beside those of `ScoreOptions`. */
const RECORDED_NAMES = ['queryOffset', 'mask', 'keyLengths', 'bias'] as const;

/**
 * One attention, for `attentionWeights`, `attentionEntropy`, `topKeys` and `receivedWeight` to look into: returned by
 * `scaledDotProductAttention`, layers and caches for `returnRecord`. It holds tensors as they are, without a copy: memory that you
 * write to later (an input, a mask) changes what is seen, and then the statistics no longer belong to it. What you dispose stays
 * for the record until that is disposed, too. Of a cache it holds the pages, as a fork does: what is appended later is not
 * part of it.
 *
 * @example
 * ```js
 * const { output, record } = layer.forward(x, { returnRecord: true });
 * attentionWeights(record, { region: { heads: [0, 1], queries: [4, 5] } }).shape; // [1, 1, 1, 5]
 * attentionEntropy(record).shape; // [1, 2, 5]
 * record.dispose();
 * ```
 */
export class AttentionRecord extends Disposable {
  /** [batch, heads, queries, headDim], as attention met them: projected and rotated. */
  readonly queries: Tensor<'float32'>;
  /** [batch, keyValueHeads, keys, headDim]; undefined where they are in a cache. */
  readonly keys: Tensor<'float32'> | undefined;
  /** [batch, keyValueHeads, keys, valueHeadDim]; undefined where they are in a cache. */
  readonly values: Tensor<'float32'> | undefined;
  /** What attention gave, [batch, heads, queries, valueHeadDim]; of a layer before its output projection. */
  readonly output: Tensor<'float32'>;
  /** [batch, heads, queries, 2], maximum and sum of each row's softmax, base 2. */
  readonly statistics: Tensor<'float32'>;
  /** Options that scores depend on, those of the layer included. */
  readonly options: AttentionOptions;
  /** What it was of. */
  readonly sizes: AttentionSizes;
  readonly #source: Plan['source'];
  readonly #shared: Tensor[] = [];
  readonly #releasePages: (() => void) | undefined;
  #disposed = false;

  /** @internal Takes shares of the memory of them all. */
  constructor(
    { source, sizes }: Plan,
    value: unknown,
    output: Tensor<'float32'>,
    statistics: Tensor<'float32'>,
  ) {
    super();
    const share = <Value>(given: Value): Value => {
      if (Array.isArray(given)) return given.map(share) as Value;
      if (!isTensor(given)) return given;
      const shared = given.share();
      this.#shared.push(shared);
      return shared as Value;
    };
    const options: Record<string, unknown> = {};
    for (const name of [...Object.keys(SCORE_NAMES), ...RECORDED_NAMES]) {
      const given = source.options[name as keyof AttentionOptions];
      if (given !== undefined) options[name] = share(given);
    }
    this.queries = share(source.query);
    this.keys = isTensor(source.key) ? (share(source.key) as Tensor<'float32'>) : undefined;
    this.values = isTensor(value) ? (share(value) as Tensor<'float32'>) : undefined;
    this.output = share(output);
    this.statistics = share(statistics);
    this.options = Object.freeze(options);
    const { keyHeads: keyValueHeads, ...others } = sizes;
    this.sizes = { ...others, keyValueHeads };
    this.#source = { ...source, query: this.queries, key: this.keys ?? source.key, options: this.options };
    this.#releasePages = source.pages?.hold();
  }

  /** True once disposed. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** @internal The attention again, up to its values; what it reads stays until the call is over. */
  plan(scope: CallScope): Plan {
    if (this.#disposed || this.queries.disposed) {
      throw new AttentionError({ code: 'DISPOSED', message: 'the record was disposed' });
    }
    const { query, key, options, pages } = this.#source;
    for (const tensor of this.#shared) scope.use(scope.tensor('record', tensor));
    if (pages) scope.onEnd(pages.hold());
    return planAttention(scope, query, key, options, 4, pages);
  }

  /** Lets go of everything. Safe to repeat. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const tensor of this.#shared) tensor.dispose();
    this.#releasePages?.();
  }
}

/** @internal Throws if options beside a record say anew what it knows. */
export function refuseScores(options: object, names: object): void {
  for (const name of Object.keys(names)) {
    const given = (options as Record<string, unknown>)[name];
    if (name === 'runtime' || given === undefined) continue;
    throw invalidArgument(name, 'nothing beside a record, which knows the options of its attention', given);
  }
}
