// A mask from a function of the caller.

import { checkOptions } from '../runtime/checks.js';
import type { NamesOf } from '../runtime/checks.js';
import { invalidArgument } from '../runtime/errors.js';
import { Mask } from './mask.js';
import type { Block, BlockAnswer, MaskContext } from './mask.js';

/** A mask that a function defines. */
export interface CustomMask {
  /**
   * Whether a query keeps a key: indices in the call, from 0, whatever `queryOffset` or `causal` say about positions. Must
   * always give the same answer.
   */
  readonly keeps: (batch: number, head: number, query: number, key: number) => boolean;
  /** What holds for a whole block, where that is known; saves asking for each pair. Default: 'mixed'. */
  readonly block?: ((block: Block) => BlockAnswer) | undefined;
  /** Whether batch rows differ. Default false. */
  readonly perBatch?: boolean | undefined;
  /** Whether heads differ. Default false. */
  readonly perHead?: boolean | undefined;
}

const CUSTOM_MASK_NAMES = { keeps: 1, block: 1, perBatch: 1, perHead: 1 } satisfies NamesOf<CustomMask>;

class PredicateMask extends Mask {
  readonly perBatch: boolean;
  readonly perHead: boolean;
  readonly #custom: CustomMask;
  constructor(custom: CustomMask) {
    super();
    this.#custom = custom;
    this.perBatch = custom.perBatch ?? false;
    this.perHead = custom.perHead ?? false;
  }
  keeps(_context: MaskContext, batch: number, head: number, query: number, key: number): boolean {
    return this.#custom.keeps(batch, head, query, key);
  }
  override block(_context: MaskContext, block: Block): BlockAnswer {
    return this.#custom.block?.(block) ?? 'mixed';
  }
}

/**
 * A mask from a predicate. It is asked only where `block` answers 'mixed', once for all calls of the same sizes.
 *
 * @throws AttentionError INVALID_ARGUMENT
 *
 * @example
 * ```js
 * const even = customMask({ keeps: (batch, head, query, key) => key % 2 === 0 });
 * scaledDotProductAttention(q, k, v, { mask: and(causal(), even) });
 * ```
 */
export function customMask(custom: CustomMask): Mask {
  if (typeof custom?.keeps !== 'function') {
    throw invalidArgument('customMask.keeps', 'a function of batch, head, query and key', custom?.keeps);
  }
  // An instance of a class may hold whatever its methods need.
  if (Object.getPrototypeOf(custom) === Object.prototype)
    checkOptions(custom, CUSTOM_MASK_NAMES, {}, 'customMask');
  if (custom.block !== undefined && typeof custom.block !== 'function') {
    throw invalidArgument('customMask.block', 'a function of a block, or none', custom.block);
  }
  return new PredicateMask(custom);
}
