// Turns a mask into what the kernels read: one interval of keys per query where that says it all, and for the rest a table
// over blocks with bits for the mixed ones.
//
//   table  i32 [batch variants][head variants][query blocks][key blocks]: 0 empty, 1 full, else 2 + index of its bits
//   bits   per mixed block: 16 bytes per query, bit j for key j of the block

import { KEY_BLOCK } from '../../build/kernels.js';
import { AndMask } from './combine.js';
import type { Block, Interval, Mask, MaskContext } from './mask.js';

const BYTES_PER_ROW = KEY_BLOCK / 8;

export interface Intervals {
  /** [batch or 1][heads or 1][queries] each. */
  readonly begin: Int32Array;
  readonly end: Int32Array;
  readonly perBatch: boolean;
  readonly perHead: boolean;
}

export interface BlockTable {
  readonly entries: Int32Array;
  /** Bits of the mixed blocks, `bytesPerBlock` each. */
  readonly bits: Uint8Array;
  readonly bytesPerBlock: number;
  readonly queryBlocks: number;
  readonly keyBlocks: number;
  readonly perBatch: boolean;
  readonly perHead: boolean;
}

export interface CompiledMask {
  readonly intervals?: Intervals;
  readonly table?: BlockTable;
}

/** Tables of the last sizes they were used with: the same mask in every layer and step is compiled once. */
const tables = new WeakMap<Mask, { key: string; parts: readonly Mask[]; table: BlockTable }>();

/** Compiles the conjunction of masks for a call; `queriesInBlock` is the kernels' size of a query block. */
export function compileMasks(
  masks: readonly Mask[],
  context: MaskContext,
  queriesInBlock: number,
): CompiledMask {
  if (masks.length === 0) return {};
  const whole: Mask[] = [];
  const rest: Mask[] = [];
  for (const part of masks.flatMap(flatten)) (isInterval(part, context) ? whole : rest).push(part);
  return {
    ...(whole.length > 0 && { intervals: compileIntervals(new AndMask(whole), context) }),
    ...(rest.length > 0 && { table: knownTable(rest, context, queriesInBlock) }),
  };
}

function knownTable(parts: readonly Mask[], context: MaskContext, queriesInBlock: number): BlockTable {
  const { batch, heads, queries, keys } = context;
  const places = Array.from({ length: batch }, (_, b) => [context.offset(b), context.length(b)]);
  const key = [batch, heads, queries, keys, queriesInBlock, ...places].join();
  const first = parts[0]!;
  const known = tables.get(first);
  if (
    known?.key === key &&
    known.parts.length === parts.length &&
    parts.every((part, i) => part === known.parts[i])
  ) {
    return known.table;
  }
  const table = compileTable(new AndMask(parts), context, queriesInBlock);
  tables.set(first, { key, parts, table });
  return table;
}

function flatten(mask: Mask): Mask[] {
  return mask instanceof AndMask ? mask.parts.flatMap(flatten) : [mask];
}

function isInterval(mask: Mask, context: MaskContext): boolean {
  const scratch: Interval = { begin: 0, end: 0 };
  const batches = mask.perBatch ? context.batch : 1;
  const heads = mask.perHead ? context.heads : 1;
  for (let b = 0; b < batches; b++) {
    for (let h = 0; h < heads; h++) {
      for (let i = 0; i < context.queries; i++) if (!mask.interval(context, b, h, i, scratch)) return false;
    }
  }
  return true;
}

/** Masks by position differ between batch rows only where the positions do; lengths and documents where given so. */
function differsByBatch(mask: AndMask, context: MaskContext): boolean {
  if (context.batch < 2) return false;
  const [offset, length] = [context.offset(0), context.length(0)];
  const samePlaces = Array.from({ length: context.batch }).every(
    (_, b) => context.offset(b) === offset && context.length(b) === length,
  );
  return mask.parts.some((part) => part.perBatch && !(part.positional && samePlaces));
}

function compileIntervals(mask: AndMask, context: MaskContext): Intervals {
  const perBatch = differsByBatch(mask, context);
  const batches = perBatch ? context.batch : 1;
  const heads = mask.perHead ? context.heads : 1;
  const size = batches * heads * context.queries;
  const begin = new Int32Array(size);
  const end = new Int32Array(size);
  const interval: Interval = { begin: 0, end: 0 };
  let at = 0;
  for (let b = 0; b < batches; b++) {
    for (let h = 0; h < heads; h++) {
      for (let i = 0; i < context.queries; i++, at++) {
        mask.interval(context, b, h, i, interval);
        begin[at] = Math.min(Math.max(interval.begin, 0), context.keys);
        end[at] = Math.min(Math.max(interval.end, begin[at]!), context.keys);
      }
    }
  }
  return { begin, end, perBatch, perHead: mask.perHead };
}

function compileTable(mask: AndMask, context: MaskContext, queriesInBlock: number): BlockTable {
  const perBatch = differsByBatch(mask, context);
  const batches = perBatch ? context.batch : 1;
  const heads = mask.perHead ? context.heads : 1;
  const queryBlocks = Math.max(1, Math.ceil(context.queries / queriesInBlock));
  const keyBlocks = Math.ceil(context.keys / KEY_BLOCK);
  const bytesPerBlock = queriesInBlock * BYTES_PER_ROW;
  const entries = new Int32Array(batches * heads * queryBlocks * keyBlocks);
  const mixed: Uint8Array[] = [];
  let at = 0;
  for (let b = 0; b < batches; b++) {
    for (let h = 0; h < heads; h++) {
      for (let queryBlock = 0; queryBlock < queryBlocks; queryBlock++) {
        for (let keyBlock = 0; keyBlock < keyBlocks; keyBlock++, at++) {
          const block = {
            batch: b,
            head: h,
            queryFrom: queryBlock * queriesInBlock,
            queryTo: Math.min(context.queries, (queryBlock + 1) * queriesInBlock),
            keyFrom: keyBlock * KEY_BLOCK,
            keyTo: Math.min(context.keys, (keyBlock + 1) * KEY_BLOCK),
          };
          const answer = mask.block(context, block);
          if (answer === 'empty') continue;
          if (answer === 'full') {
            entries[at] = 1;
            continue;
          }
          const bits = new Uint8Array(bytesPerBlock);
          fillMixed(mask, context, block, block, bits);
          if (bits.every((byte) => byte === 0)) continue;
          entries[at] = 2 + mixed.length;
          mixed.push(bits);
        }
      }
    }
  }
  const bits = new Uint8Array(mixed.length * bytesPerBlock);
  mixed.forEach((block, index) => bits.set(block, index * bytesPerBlock));
  return { entries, bits, bytesPerBlock, queryBlocks, keyBlocks, perBatch, perHead: mask.perHead };
}

/**
 * The bits of a mixed block, or of a part of one. Asks for halves of it as long as that may save asking for each pair.
 *
 * @param whole the block that the bits are of
 */
function fillMixed(mask: Mask, context: MaskContext, block: Block, whole: Block, bits: Uint8Array): void {
  const queries = block.queryTo - block.queryFrom;
  const keys = block.keyTo - block.keyFrom;
  if (queries <= 4 && keys <= 8) {
    const { batch, head } = block;
    fill(block, whole, bits, (query, key) => mask.keeps(context, batch, head, query, key));
    return;
  }
  const middleQuery = block.queryFrom + (queries >> 1);
  const middleKey = block.keyFrom + Math.max(8, (keys >> 4) << 3);
  const halves =
    queries * 2 >= keys && queries > 4
      ? [
          { ...block, queryTo: middleQuery },
          { ...block, queryFrom: middleQuery },
        ]
      : [
          { ...block, keyTo: middleKey },
          { ...block, keyFrom: middleKey },
        ];
  for (const half of halves) {
    const answer = mask.block(context, half);
    if (answer === 'full') fill(half, whole, bits, () => true);
    else if (answer === 'mixed') fillMixed(mask, context, half, whole, bits);
  }
}

function fill(
  block: Block,
  whole: Block,
  bits: Uint8Array,
  keeps: (query: number, key: number) => boolean,
): void {
  for (let query = block.queryFrom; query < block.queryTo; query++) {
    for (let key = block.keyFrom; key < block.keyTo; key++) {
      const bit = key - whole.keyFrom;
      if (keeps(query, key)) bits[(query - whole.queryFrom) * BYTES_PER_ROW + (bit >> 3)]! |= 1 << (bit & 7);
    }
  }
}
