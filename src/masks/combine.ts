// Masks combined into one: all must keep a key, or any.

import { AttentionError, invalidArgument } from '../runtime/errors.js';
import { Mask, recorded } from './mask.js';
import type { Block, BlockAnswer, Interval, MaskContext, MaskSizes } from './mask.js';

/** A mask of masks: it differs between batch rows and heads, and asks for positions, if any of its parts does. */
abstract class CombinedMask extends Mask {
  readonly perBatch: boolean;
  readonly perHead: boolean;
  override readonly needsPositions: boolean;
  constructor(readonly parts: readonly Mask[]) {
    super();
    this.needsPositions = parts.some((part) => part.needsPositions);
    this.perBatch = parts.some((part) => part.perBatch);
    this.perHead = parts.some((part) => part.perHead);
  }
  override check(sizes: MaskSizes): void {
    for (const part of this.parts) part.check(sizes);
  }
}

/** @internal All parts must hold. */
export class AndMask extends CombinedMask {
  override length(batch: number): number {
    return Math.min(...this.parts.map((part) => part.length(batch)));
  }
  keeps(context: MaskContext, batch: number, head: number, query: number, key: number): boolean {
    return this.parts.every((part) => part.keeps(context, batch, head, query, key));
  }
  override block(context: MaskContext, block: Block): BlockAnswer {
    let answer: BlockAnswer = 'full';
    for (const part of this.parts) {
      const one = part.block(context, block);
      if (one === 'empty') return 'empty';
      if (one === 'mixed') answer = 'mixed';
    }
    return answer;
  }
  override interval(
    context: MaskContext,
    batch: number,
    head: number,
    query: number,
    into: Interval,
  ): boolean {
    const one: Interval = { begin: 0, end: 0 };
    into.begin = 0;
    into.end = context.keys;
    for (const part of this.parts) {
      if (!part.interval(context, batch, head, query, one)) return false;
      into.begin = Math.max(into.begin, one.begin);
      into.end = Math.min(into.end, one.end);
    }
    return true;
  }
}

class OrMask extends CombinedMask {
  keeps(context: MaskContext, batch: number, head: number, query: number, key: number): boolean {
    return this.parts.some((part) => part.keeps(context, batch, head, query, key));
  }
  override block(context: MaskContext, block: Block): BlockAnswer {
    let answer: BlockAnswer = 'empty';
    for (const part of this.parts) {
      const one = part.block(context, block);
      if (one === 'full') return 'full';
      if (one === 'mixed') answer = 'mixed';
    }
    return answer;
  }
  /** The union, as long as the parts touch. */
  override interval(
    context: MaskContext,
    batch: number,
    head: number,
    query: number,
    into: Interval,
  ): boolean {
    const one: Interval = { begin: 0, end: 0 };
    into.begin = 0;
    into.end = 0;
    const rest: Interval[] = [];
    for (const part of this.parts) {
      if (!part.interval(context, batch, head, query, one)) return false;
      const begin = Math.max(0, one.begin);
      const end = Math.min(context.keys, one.end);
      if (begin < end) rest.push({ begin, end });
    }
    rest.sort((a, b) => a.begin - b.begin);
    for (const next of rest) {
      if (into.begin === into.end) Object.assign(into, next);
      else if (next.begin > into.end) return false;
      else into.end = Math.max(into.end, next.end);
    }
    return true;
  }
}

/**
 * Keeps what every mask keeps.
 *
 * @throws AttentionError INVALID_ARGUMENT
 *
 * @example
 * ```js
 * scaledDotProductAttention(q, k, v, { mask: and(causal(), documents({ ids: [0, 0, 1, 1, 1] })) });
 * ```
 */
export function and(...masks: readonly Mask[]): Mask {
  return recorded(new AndMask(checkMasks('and', masks)), 'and', ...masks);
}

/**
 * Keeps what any of the masks keeps.
 *
 * @throws AttentionError INVALID_ARGUMENT
 *
 * @example
 * ```js
 * scaledDotProductAttention(q, k, v, { mask: or(causal(), prefix([2])) });
 * ```
 */
export function or(...masks: readonly Mask[]): Mask {
  return recorded(new OrMask(checkMasks('or', masks)), 'or', ...masks);
}

function checkMasks(argument: string, masks: readonly Mask[]): readonly Mask[] {
  for (const mask of masks) {
    if (mask instanceof Mask) continue;
    throw invalidArgument(argument, 'masks (a dense one is made with denseMask)', mask);
  }
  if (masks.length > 0) return masks;
  throw new AttentionError({
    code: 'INVALID_ARGUMENT',
    argument,
    expected: 'at least one mask',
    received: 'none',
  });
}
