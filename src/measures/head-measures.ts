// What heads do, in numbers: how much weight they give to the token before, to the first, to their own, to earlier ones of the same id and
// to those after them; how spread their weights are; and how they fall with the distance.

import {
  blockFor,
  hasWeight,
  listOf,
  lookAt,
  nameOf,
  openAttention,
  runtimeOfAttentions,
} from './attention.js';
import type { Attentions, Look, Opened } from './attention.js';
import { entropiesOf } from './entropy.js';
import { labelsOf } from './labels.js';
import type { HeadLabel } from './labels.js';
import { Tokens } from './tokens.js';
import type { TokenOptions } from './tokens.js';
import { callAsync, callNow } from '../runtime/call.js';
import type { AsyncOptions } from '../runtime/call.js';
import { checkInteger } from '../runtime/checks.js';
import type { IntegerList, NamesOf } from '../runtime/checks.js';
import type { Operation } from '../runtime/operation.js';
import type { Runtime } from '../runtime/runtime.js';

/** Options of `headMeasures`. */
export interface HeadMeasureOptions extends TokenOptions {
  /** Also return each query's own numbers. Default false. */
  readonly perQuery?: boolean | undefined;
  /** Largest distance of the profile, on either side. Default 32. */
  readonly maxDistance?: number | undefined;
  /**
   * Position of query 0 among the keys, for all or for each batch row: of weights with another number of queries than keys. Records know
   * it, and those of cross-attention have 0.
   */
  readonly queryOffset?: number | IntegerList | undefined;
  /** Needed only if there is neither a record nor a Tensor. */
  readonly runtime?: Runtime | undefined;
}

/**
 * Scores of a head, or of its queries: weights from 0 to 1, and the entropy in nats. NaN where no query counts. W is the weight that a
 * query at position p gives to a key; padding and rows without a weight do not count.
 */
export interface HeadScores<Score> {
  /** W of key p - 1; of queries that have one. (Clark et al. 2019; Olsson et al. 2022) */
  readonly previousToken: Score;
  /** W of the first token; of all queries but its own. (Clark et al. 2019; Xiao et al. 2023: attention sinks) */
  readonly firstToken: Score;
  /** W of key p: the query's own token. (Kovaleva et al. 2019) */
  readonly diagonal: Score;
  /** Sum of W over earlier keys with the query's token id; of queries that have one. (Wang et al. 2022: duplicate token heads) */
  readonly duplicateToken: Score;
  /**
   * Sum of W over earlier keys that come right after the query's token id: what followed when it occurred before; of queries that have one.
   * (Olsson et al. 2022: prefix matching score)
   */
  readonly induction: Score;
  /** -sum W ln W over all keys, in nats. (Clark et al. 2019) */
  readonly entropy: Score;
}

/** What a head does. */
export interface HeadMeasures extends HeadScores<number> {
  /** Index of its attention in the list; 0 if there was one alone. */
  readonly layer: number;
  /** Query head. */
  readonly head: number;
  /** Names of what it does: see {@link HeadLabel}. */
  readonly labels: readonly HeadLabel[];
  /**
   * Mean weight by distance: element maxDistance + d is that of key p + d, over the queries that have one. So the token before is at
   * maxDistance - 1.
   */
  readonly distanceProfile: Float64Array;
  /** The same numbers of each query, [batch, queries]; NaN where it does not count. For `perQuery`. */
  readonly perQuery?: HeadScores<Float32Array>;
}

const SCORES = ['previousToken', 'firstToken', 'diagonal', 'duplicateToken', 'induction', 'entropy'] as const;

type Score = (typeof SCORES)[number];

/** A sum and what it is of. */
class Mean {
  #sum = 0;
  #count = 0;

  add(value: number): void {
    this.#sum += value;
    this.#count++;
  }

  get value(): number {
    return this.#count > 0 ? this.#sum / this.#count : NaN;
  }
}

/** A head while it is looked at. */
class HeadInSight {
  readonly profile: readonly Mean[];
  readonly #means = new Map(SCORES.map((name) => [name, new Mean()]));
  readonly #perQuery: ReadonlyMap<Score, Float32Array> | undefined;

  /** @param queries of all batch rows, if each of them is to be known */
  constructor(maxDistance: number, queries: number | undefined) {
    this.profile = Array.from({ length: 2 * maxDistance + 1 }, () => new Mean());
    if (queries !== undefined)
      this.#perQuery = new Map(SCORES.map((name) => [name, new Float32Array(queries).fill(NaN)]));
  }

  add(score: Score, query: number, value: number): void {
    this.#means.get(score)!.add(value);
    const own = this.#perQuery?.get(score);
    if (own) own[query] = value;
  }

  measures(layer: number, head: number): HeadMeasures {
    const scores = scoresOf((name) => this.#means.get(name)!.value);
    const each = this.#perQuery;
    return {
      ...{ layer, head, ...scores, labels: labelsOf(scores) },
      distanceProfile: Float64Array.from(this.profile, ({ value }) => value),
      ...(each && { perQuery: scoresOf((name) => each.get(name)!) }),
    };
  }
}

function scoresOf<Value>(valueOf: (name: Score) => Value): HeadScores<Value> {
  return Object.fromEntries(SCORES.map((name) => [name, valueOf(name)])) as unknown as HeadScores<Value>;
}

const headMeasuresOperation: Operation<[attention: Attentions], HeadMeasureOptions, HeadMeasures[]> = {
  inputs: ['attention'],
  options: {
    ...{ inputIds: 1, attentionMask: 1, perQuery: 1, maxDistance: 1, queryOffset: 1, runtime: 1 },
  } satisfies NamesOf<HeadMeasureOptions>,
  runtime: runtimeOfAttentions,
  run(scope, [given], { maxDistance = 32, perQuery = false, queryOffset, ...tokenOptions }) {
    checkInteger('maxDistance', maxDistance, 0, 2 ** 20);
    const opened = listOf(given).map((attention, i) =>
      openAttention(scope, nameOf(given, i), attention, queryOffset),
    );
    const tokens = opened.map((attention) => new Tokens(attention, tokenOptions));
    const block = blockFor(scope, opened);
    const found: HeadMeasures[] = [];
    opened.forEach((attention, layer) => {
      const { batch, heads, queries } = attention;
      const all = perQuery ? batch * queries : undefined;
      const inSight = Array.from({ length: heads }, () => new HeadInSight(maxDistance, all));
      const entropyOf = entropiesOf(scope, attention);
      lookAt(scope, attention, block, (look) =>
        inSight.forEach((head, h) => measure(attention, look, tokens[layer]!, entropyOf, h, head)),
      );
      scope.then(() => inSight.forEach((head, h) => found.push(head.measures(layer, h))));
    });
    return found;
  },
};

/** Adds what a look at a head shows. */
function measure(
  { batch, queries, keys, offsets }: Opened,
  { from, to, weights, row }: Look,
  tokens: Tokens,
  entropyOf: ReturnType<typeof entropiesOf>,
  h: number,
  head: HeadInSight,
): void {
  const reach = (head.profile.length - 1) / 2;
  for (let b = 0; b < batch; b++) {
    const first = tokens.first(b);
    for (let query = from; query < to; query++) {
      const at = row(b, h, query);
      const position = query + offsets[b]!;
      if (!tokens.has(b, position) || !hasWeight(weights, at, keys, position)) continue;
      const index = b * queries + query;
      for (let distance = -reach; distance <= reach; distance++) {
        const key = position + distance;
        if (tokens.hasKey(b, key)) head.profile[reach + distance]!.add(weights[at + key]!);
      }
      if (tokens.hasKey(b, position - 1)) head.add('previousToken', index, weights[at + position - 1]!);
      if (position !== first) head.add('firstToken', index, weights[at + first]!);
      if (tokens.hasKey(b, position)) head.add('diagonal', index, weights[at + position]!);
      addRepeats(head, index, weights.subarray(at, at + keys), position, tokens.earlier(b, position));
      head.add('entropy', index, entropyOf(weights, at, [b, h, query]));
    }
  }
}

/** Adds the weights of earlier keys of the same id, and those of the keys after them. */
function addRepeats(
  head: HeadInSight,
  index: number,
  row: Float32Array,
  position: number,
  earlier: Iterable<number>,
): void {
  let [duplicates, followers] = [0, 0];
  let [hasDuplicate, hasFollower] = [false, false];
  for (const key of earlier) {
    hasDuplicate = true;
    duplicates += row[key]!;
    if (key + 1 === position) continue;
    hasFollower = true;
    followers += row[key + 1]!;
  }
  if (hasDuplicate) head.add('duplicateToken', index, duplicates);
  if (hasFollower) head.add('induction', index, followers);
}

/**
 * What each head does: scores by which heads can be sorted, and names where a score is above one half. The exact weights are looked at a
 * block of queries at a time: the matrix of all queries against all keys is never held. Give a model's records with the inputs it was
 * given; of a cross-attention its records alone, or with a mask of the queries' padding.
 *
 * @param attention a record, weights [batch, heads, queries, keys], or a list of them, one for each layer
 * @returns one for each head, layer by layer
 * @throws AttentionError INVALID_ARGUMENT, INVALID_SHAPE, INVALID_DTYPE, DISPOSED, OUT_OF_MEMORY
 * @see Olsson et al. 2022 (induction heads); Clark et al. 2019 (what BERT looks at)
 *
 * @example
 * ```js
 * const inputIds = [[5, 6, 7, 5, 6, 7]];
 * const { records } = gpt2.forward({ inputIds }, { returnRecord: true });
 * const heads = headMeasures(records, { inputIds });
 * heads.length; // 4
 * const [most] = heads.sort((a, b) => b.induction - a.induction); // { layer, head, induction, entropy, labels, ... }
 * most.distanceProfile.length; // 65
 * ```
 */
export function headMeasures(attention: Attentions, options: HeadMeasureOptions = {}): HeadMeasures[] {
  return callNow(headMeasuresOperation, [attention], options);
}

/**
 * {@link headMeasures} in slices of some milliseconds between turns of the event loop: the same numbers, and the page lives on.
 *
 * @example
 * ```js
 * const weights = { data: [1, 0, 0, 0.9, 0.1, 0, 0, 0.9, 0.1], shape: [1, 1, 3, 3] }; // of another library
 * const [head] = await headMeasuresAsync(weights, { runtime });
 * head.labels; // ['previous token']
 * ```
 */
export function headMeasuresAsync(
  attention: Attentions,
  options: HeadMeasureOptions & AsyncOptions = {},
): Promise<HeadMeasures[]> {
  return callAsync(headMeasuresOperation, [attention], options);
}
