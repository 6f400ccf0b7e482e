// Biases that depend on the distance between query and key alone: ALiBi and bucketed relative positions.
//
// They need no matrix: row i of the bias is a piece of one table over distances, one float further to the left each row.
//
//   table     [.. distance -(queries - 1) ......... 0 ......... keys - 1 ..]       distance = key - query
//   row 0                                        |<-- keys -->|
//   row 1                                     |<-- keys -->|
//
// Where the queries stand (offset) shifts what the table holds, not its shape.

import { checkInteger, checkObject, readNumbers } from '../../runtime/checks.js';
import { invalidArgument, shapeError } from '../../runtime/errors.js';
import type { AttentionOptions, RelativePositionBias } from './options.js';

/** Sizes the tables depend on. */
export interface PositionSizes {
  readonly batch: number;
  readonly heads: number;
  readonly queries: number;
  readonly keys: number;
  /** Key position of query 0 of each batch row. */
  readonly offsets: readonly number[];
}

export interface DistanceTables {
  /** [batch or 1][heads][queries + keys - 1], natural units. */
  readonly values: Float32Array;
  readonly perBatch: boolean;
}

/**
 * The usual slopes of ALiBi: 2^(-8 h / H) for h = 1..H where H is a power of two; else those of the next lower power,
 * then every second one of the next higher (Press et al. 2022, as in the authors' code).
 *
 * @returns [heads]
 * @throws AttentionError INVALID_ARGUMENT
 *
 * @example
 * ```js
 * alibiSlopes(4); // [0.25, 0.0625, 0.015625, 0.00390625]
 * ```
 */
export function alibiSlopes(heads: number): Float32Array {
  checkInteger('heads', heads, 1, 65536);
  const lower = 2 ** Math.floor(Math.log2(heads));
  const slopes = geometric(lower);
  if (lower < heads)
    slopes.push(
      ...geometric(2 * lower)
        .filter((_, i) => i % 2 === 0)
        .slice(0, heads - lower),
    );
  return Float32Array.from(slopes);
}

function geometric(heads: number): number[] {
  return Array.from({ length: heads }, (_, h) => powerOfTwo((-8 * (h + 1)) / heads));
}

/** 2^x for x <= 0 from square roots: engines' own powers may differ in the last bit. */
function powerOfTwo(x: number): number {
  let result = 2 ** Math.floor(x);
  let fraction = x - Math.floor(x);
  let root = 2;
  for (let bit = 0; bit < 40 && fraction > 0; bit++) {
    root = Math.sqrt(root);
    fraction *= 2;
    if (fraction >= 1) {
      result *= root;
      fraction -= 1;
    }
  }
  return result;
}

/** What is added by distance stays below what could carry a score out of the range of float32 (assembly/attention/scores.ts). */
const LARGEST_SLOPE = 2 ** 64;
const LARGEST_BIAS = 2 ** 100;

const within = (values: Float32Array, most: number) => values.every((value) => Math.abs(value) <= most);

/** Tables for the options, or undefined if they ask for none. */
export function distanceTables(options: AttentionOptions, sizes: PositionSizes): DistanceTables | undefined {
  const slopes = readSlopes(options.alibi, sizes);
  const relative =
    options.relativePositionBias === undefined
      ? undefined
      : readRelative(options.relativePositionBias, sizes.heads);
  if (!slopes && !relative) return undefined;
  const { batch, heads, queries, keys, offsets } = sizes;
  const perBatch = offsets.some((offset) => offset !== offsets[0]) || (slopes?.perBatch ?? false);
  const batches = perBatch ? batch : 1;
  const length = queries + keys - 1;
  const values = new Float32Array(batches * heads * length);
  let at = 0;
  for (let b = 0; b < batches; b++) {
    for (let h = 0; h < heads; h++) {
      const slope = slopes ? slopes.values[(slopes.perBatch ? b * heads : 0) + h]! : 0;
      for (let t = 0; t < length; t++) {
        const distance = t - (queries - 1) - offsets[b]!;
        const ramp = slopes ? -slope * Math.abs(distance) : 0;
        values[at++] = relative ? ramp + relative(distance, h) : ramp;
      }
    }
  }
  return { values, perBatch };
}

function readSlopes(
  alibi: AttentionOptions['alibi'],
  { batch, heads }: PositionSizes,
): { values: Float32Array; perBatch: boolean } | undefined {
  if (alibi === undefined || alibi === false) return undefined;
  if (alibi === true) return { values: alibiSlopes(heads), perBatch: false };
  const rows =
    Array.isArray(alibi) && Array.isArray(alibi[0]) ? (alibi as readonly (readonly number[])[]) : undefined;
  const flat = readNumbers('alibi', rows ? rows.flat() : alibi);
  const fits = rows
    ? rows.length === batch && rows.every((row) => row.length === heads)
    : flat.length === heads;
  if (fits && within(flat, LARGEST_SLOPE)) return { values: flat, perBatch: rows !== undefined };
  throw invalidArgument(
    'alibi',
    `true, ${heads} slopes within +-2^64, or ${batch} x ${heads} of them`,
    alibi,
  );
}

function readRelative(bias: RelativePositionBias, heads: number): (distance: number, head: number) => number {
  checkObject('relativePositionBias', bias);
  const { buckets = 32, maxDistance = 128, bidirectional = true } = bias;
  const table = readNumbers('relativePositionBias.table', bias.table);
  const sides = bidirectional ? 2 : 1;
  if (!Number.isInteger(buckets) || buckets < 2 * sides || buckets % sides !== 0) {
    throw invalidArgument(
      'relativePositionBias.buckets',
      bidirectional ? 'an even integer >= 4' : 'an integer >= 2',
      buckets,
    );
  }
  if (table.length !== buckets * heads || !within(table, LARGEST_BIAS)) {
    throw shapeError(
      'relativePositionBias.table',
      `${buckets} x ${heads} numbers within +-2^100`,
      bias.table,
    );
  }
  const exact = Math.floor(buckets / sides / 2);
  if (!Number.isInteger(maxDistance) || maxDistance <= exact) {
    throw invalidArgument('relativePositionBias.maxDistance', `an integer above ${exact}`, maxDistance);
  }
  return (distance, head) => table[bucketOf(distance, buckets, maxDistance, bidirectional) * heads + head]!;
}

/**
 * T5's bucket of a distance (key - query): half of a side's buckets exact, the rest logarithmic (Raffel et al. 2020).
 *
 * @param buckets       of both sides together
 * @param maxDistance   distance from which on all share the last bucket
 * @param bidirectional whether keys after the query have buckets of their own
 * @throws AttentionError INVALID_ARGUMENT
 *
 * @example
 * ```js
 * relativeBucket(-3, 32, 128, true); // 3: the key stands three before the query
 * ```
 */
export function relativeBucket(
  distance: number,
  buckets: number,
  maxDistance: number,
  bidirectional: boolean,
): number {
  checkInteger('distance', distance, -(2 ** 31), 2 ** 31);
  checkInteger('buckets', buckets, 2, 2 ** 31);
  checkInteger('maxDistance', maxDistance, 1, 2 ** 31);
  return bucketOf(distance, buckets, maxDistance, bidirectional);
}

function bucketOf(distance: number, buckets: number, maxDistance: number, bidirectional: boolean): number {
  const side = bidirectional ? buckets / 2 : buckets;
  const base = bidirectional && distance > 0 ? side : 0;
  const far = bidirectional ? Math.abs(distance) : Math.max(0, -distance);
  const exact = Math.floor(side / 2);
  if (far < exact) return base + far;
  const share = Math.log(far / exact) / Math.log(maxDistance / exact);
  // A whisker is added so that exact powers land in their own bucket in every engine.
  return base + Math.min(side - 1, exact + Math.floor(share * (side - exact) + 1e-9));
}
