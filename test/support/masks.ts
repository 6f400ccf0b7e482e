// Masks for tests: any mask, made by chance, and what a mask keeps as a picture.

import fc from 'fast-check';
import {
  and,
  blockSparse,
  causal,
  customMask,
  denseMask,
  documents,
  globalTokens,
  keyLengths,
  or,
  prefix,
  slidingWindow,
  strided,
} from 'wasm-attention';
import type { Mask, MaskContext } from 'wasm-attention';
import { Random } from '../reference/random.js';

/** Masks that fit any batch of 2, 2 heads and n queries and keys. */
function leaves(n: number, seed: number): Mask[] {
  const random = new Random(seed);
  const size = random.integer(1, 9);
  const blocks = Math.ceil(n / size);
  const layout = () =>
    Array.from({ length: blocks }, () => Array.from({ length: blocks }, () => random.integer(0, 2) > 0));
  const kept = Uint8Array.from({ length: 2 * n * n }, () => random.integer(0, 1));
  const ids = Array.from({ length: n }, () => random.integer(0, 2));
  return [
    causal(),
    causal('upper-left'),
    causal('lower-right'),
    slidingWindow({ left: random.integer(0, n), right: random.integer(0, 3) }),
    slidingWindow({ right: 1 }),
    prefix([random.integer(0, n), random.integer(0, n)]),
    keyLengths([random.integer(0, n)]),
    documents({ cumulativeLengths: [0, Math.floor(n / 3), n] }),
    documents({ ids }),
    documents({ ids: [ids, [...ids].reverse()] }),
    globalTokens([0, 0, n - 1]),
    strided(size),
    blockSparse(layout(), size),
    blockSparse([layout(), layout()], size),
    denseMask(kept, [2, n, n]),
    customMask({ keeps: (b, h, i, j) => (i * 7 + j * 3 + b + h) % 4 > 0, perBatch: true, perHead: true }),
    customMask({
      keeps: (_b, _h, i, j) => i > j,
      block: (block) => (block.queryTo <= block.keyFrom ? 'empty' : 'mixed'),
    }),
  ];
}

/** What any mask is made from: one of the package's masks, or several combined. */
export interface MaskDraw {
  readonly n: number;
  readonly seed: number;
  readonly picks: readonly number[];
  readonly nest: 'and' | 'or' | 'both';
}

export const draws: fc.Arbitrary<MaskDraw> = fc.record({
  n: fc.integer({ min: 1, max: 40 }),
  seed: fc.integer(),
  picks: fc.array(fc.nat(16), { minLength: 1, maxLength: 4 }),
  nest: fc.constantFrom('and', 'or', 'both'),
});

/** Fits any batch of 2, 2 heads and n queries and keys. */
export function maskOf({ n, seed, picks, nest }: MaskDraw): Mask {
  const chosen = picks.map((pick) => leaves(n, seed)[pick]!);
  if (nest === 'or') return or(...chosen);
  if (nest === 'both' && chosen.length > 2) return and(chosen[0]!, or(...chosen.slice(1)));
  return and(...chosen);
}

/** Where a mask is looked at: one batch row and one head, 4 queries and keys, if nothing else is said. */
export interface View {
  readonly queries?: number;
  readonly keys?: number;
  readonly offset?: number;
  readonly length?: number;
  readonly batch?: number;
  readonly head?: number;
}

/** A line per query: `x` for a key that it keeps, `.` for one that it does not. */
export function pictureOf(mask: Mask, view: View = {}): string[] {
  const { queries = 4, keys = 4, offset = 0, length = keys, batch = 0, head = 0 } = view;
  const context: MaskContext = {
    batch: 2,
    heads: 2,
    queries,
    keys,
    offset: () => offset,
    length: () => length,
  };
  mask.check(context);
  return Array.from({ length: queries }, (_, i) =>
    Array.from({ length: keys }, (_, j) => (mask.keeps(context, batch, head, i, j) ? 'x' : '.')).join(''),
  );
}
