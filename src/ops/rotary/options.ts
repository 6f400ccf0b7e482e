// How a model rotates queries and keys, and the positions it rotates them by.

import type { NamesOf } from '../../runtime/checks.js';
import type { RotaryScaling } from './frequencies.js';

/** How channels are rotated; the same for every call of a model. */
export interface RotaryOptions {
  /** Channels rotated, from the first; even. The rest pass through. Default all. */
  readonly rotaryDim?: number | undefined;
  /** Base of the frequencies (theta). Default 10000. */
  readonly base?: number | undefined;
  /** Stretches positions for texts longer than those trained on. Default none. */
  readonly scaling?: RotaryScaling | undefined;
  /** False (default) pairs channel i with i + rotaryDim / 2, true 2i with 2i + 1. */
  readonly interleaved?: boolean | undefined;
}

export const ROTARY_NAMES = {
  rotaryDim: 1,
  base: 1,
  scaling: 1,
  interleaved: 1,
} satisfies NamesOf<RotaryOptions>;

/** Positions of `length` more tokens of each row. */
export function positionsAfter(lengths: readonly number[], length: number): Int32Array[] {
  return lengths.map((first) => Int32Array.from({ length }, (_, i) => Math.max(0, first) + i));
}
