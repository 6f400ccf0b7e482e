// Where queries stand among the keys: one rule, for options and masks alike.
//
//   As many queries as keys: query i stands at key i. Otherwise the call says so: `queryOffset`, or `causal: 'upper-left'`
//   (query 0 at key 0) or 'lower-right' (the last query at the last key of its row, which `keyLengths` may shorten).
//   What needs positions that nobody gave is an error: the options causal, window, alibi and relativePositionBias, and
//   masks that ask for them (Mask.needsPositions), alone or combined. Masks causal('upper-left') and causal('lower-right')
//   carry their own; lengths and prefixes know none; dense, block-sparse and custom masks go by index.

import type { Mask } from '../../masks/mask.js';
import { integers } from '../../runtime/checks.js';
import { invalidArgument, shapeError } from '../../runtime/errors.js';
import type { AttentionOptions } from './options.js';

/** Sizes that positions depend on. */
interface AlignedSizes {
  readonly batch: number;
  readonly queries: number;
  readonly keys: number;
}

/** Keys of each batch row, the shortest that a mask which must hold leaves. */
export function lengthsOf(masks: readonly Mask[], { batch, keys }: AlignedSizes): number[] {
  return Array.from({ length: batch }, (_, b) =>
    masks.reduce((least, mask) => Math.min(least, mask.length(b)), keys),
  );
}

/** Key position of query 0 of each batch row. */
export function alignQueries(
  options: AttentionOptions,
  masks: readonly Mask[],
  lengths: readonly number[],
  sizes: AlignedSizes,
): number[] {
  const { causal, queryOffset } = options;
  const { batch, queries, keys } = sizes;
  if (
    causal !== undefined &&
    typeof causal !== 'boolean' &&
    causal !== 'upper-left' &&
    causal !== 'lower-right'
  ) {
    throw invalidArgument('causal', "a boolean, 'upper-left' or 'lower-right'", causal);
  }
  if (queryOffset !== undefined) return readQueryOffset(queryOffset, batch);
  if (causal === 'lower-right') return lengths.map((length) => length - queries);
  if (queries !== keys && causal !== 'upper-left') refuseUnaligned(options, masks, sizes);
  return new Array<number>(batch).fill(0);
}

function readQueryOffset(queryOffset: NonNullable<AttentionOptions['queryOffset']>, batch: number): number[] {
  const list = typeof queryOffset === 'number' ? [queryOffset] : queryOffset;
  const offsets = integers('queryOffset', list, -(2 ** 31), 2 ** 31 - 1);
  if (offsets.length !== 1 && offsets.length !== batch) {
    throw shapeError('queryOffset', `one position, or one per batch row (${batch})`, [offsets.length]);
  }
  return Array.from({ length: batch }, (_, b) => offsets[offsets.length === 1 ? 0 : b]!);
}

/** Throws if anything needs positions. */
function refuseUnaligned(
  options: AttentionOptions,
  masks: readonly Mask[],
  { queries, keys }: AlignedSizes,
): void {
  const because = `because ${queries} queries meet ${keys} keys`;
  if (options.causal) {
    throw invalidArgument('causal', `'upper-left', 'lower-right' or queryOffset, ${because}`, options.causal);
  }
  const beside = `queryOffset beside it (0: upper left, ${keys - queries}: lower right), ${because}`;
  for (const name of ['window', 'alibi', 'relativePositionBias'] as const) {
    if (options[name] !== undefined && options[name] !== false)
      throw invalidArgument(name, beside, options[name]);
  }
  const mask = masks.find(({ needsPositions }) => needsPositions);
  if (mask) throw invalidArgument('mask', beside, `${mask.recipe?.[0]}()`);
}
