// Sequences packed into one that must not see each other.

import { checkCumulative, checkObject, checkOptions, integers } from '../runtime/checks.js';
import type { IntegerList } from '../runtime/checks.js';
import { AttentionError } from '../runtime/errors.js';
import { Mask, recorded } from './mask.js';
import type { Interval, MaskContext, MaskSizes } from './mask.js';

/** Which document each position belongs to. */
export type Documents =
  | {
      /** The document of each position: any integers; one list for all batch rows. */
      readonly ids: IntegerList;
    }
  | {
      /** The same, one list per batch row. */
      readonly ids: readonly IntegerList[];
    }
  | {
      /** [0, end of the first document, ..., number of keys]. */
      readonly cumulativeLengths: IntegerList;
    };

class DocumentsMask extends Mask {
  readonly perBatch = true;
  override readonly positional: boolean;
  override readonly needsPositions = true;
  readonly perHead = false;
  readonly #ids: readonly Int32Array[];
  /** First key and the key after the last of each position's document, where documents are runs. */
  readonly #begins: (Int32Array | undefined)[];
  readonly #ends: (Int32Array | undefined)[];

  constructor(ids: readonly Int32Array[]) {
    super();
    this.#ids = ids;
    this.positional = ids.length === 1;
    this.#begins = [];
    this.#ends = [];
    for (const row of ids) {
      const runs = runsOf(row);
      this.#begins.push(runs?.begins);
      this.#ends.push(runs?.ends);
    }
  }

  override check(sizes: MaskSizes): void {
    const fits = this.#ids.every((row) => row.length === sizes.keys);
    if (!fits || (this.#ids.length !== 1 && this.#ids.length !== sizes.batch)) {
      throw new AttentionError({
        code: 'INVALID_SHAPE',
        argument: 'documents',
        expected: `${sizes.keys} positions, for all or each of ${sizes.batch} batch rows`,
        received: `${this.#ids.length} x ${this.#ids[0]?.length ?? 0}`,
      });
    }
  }

  keeps(context: MaskContext, batch: number, _head: number, query: number, key: number): boolean {
    const ids = this.#row(batch);
    const position = query + context.offset(batch);
    return position >= 0 && position < ids.length && ids[position] === ids[key];
  }

  override interval(
    context: MaskContext,
    batch: number,
    _head: number,
    query: number,
    into: Interval,
  ): boolean {
    const row = this.#ids.length === 1 ? 0 : batch;
    const begins = this.#begins[row];
    if (begins === undefined) return false;
    const position = query + context.offset(batch);
    const inside = position >= 0 && position < begins.length;
    into.begin = inside ? begins[position]! : 0;
    into.end = inside ? this.#ends[row]![position]! : 0;
    return true;
  }

  #row(batch: number): Int32Array {
    return this.#ids[this.#ids.length === 1 ? 0 : batch]!;
  }
}

/** Begin and end of the run each position is in, or undefined if an id comes back after another. */
function runsOf(ids: Int32Array): { begins: Int32Array; ends: Int32Array } | undefined {
  const begins = new Int32Array(ids.length);
  const ends = new Int32Array(ids.length);
  const seen = new Set<number>();
  let begin = 0;
  for (let i = 0; i <= ids.length; i++) {
    if (i < ids.length && i > begin && ids[i] === ids[begin]) continue;
    if (i > begin) {
      if (seen.has(ids[begin]!)) return undefined;
      seen.add(ids[begin]!);
      begins.fill(begin, begin, i);
      ends.fill(i, begin, i);
    }
    begin = i;
  }
  return { begins, ends };
}

/**
 * Queries keep the keys of their own document: packed sequences that must not see each other. Positions are those of the
 * call, as for `causal()`.
 *
 * @param documents `ids`: one integer per position (one list, or one per batch row); or `cumulativeLengths`:
 *   [0, end of the first, ..., number of keys]
 * @throws AttentionError INVALID_ARGUMENT
 *
 * @example
 * ```js
 * scaledDotProductAttention(q, k, v, { mask: documents({ ids: [0, 0, 1, 1, 1] }) });
 * scaledDotProductAttention(q, k, v, { mask: documents({ cumulativeLengths: [0, 2, 5] }) }); // the same
 * ```
 */
export function documents(documents: Documents): Mask {
  checkObject('documents', documents, '{ ids } or { cumulativeLengths }');
  checkOptions(
    documents,
    'cumulativeLengths' in documents ? { cumulativeLengths: 1 } : { ids: 1 },
    {},
    'documents',
  );
  if ('cumulativeLengths' in documents) {
    const ids = idsFromCumulative('cumulativeLengths', documents.cumulativeLengths);
    return recorded(new DocumentsMask([ids]), 'documents', documents);
  }
  const ids = documents.ids;
  const nested = Array.isArray(ids) && ids.length > 0 && typeof ids[0] === 'object';
  const lists = (nested ? ids : [ids]) as readonly IntegerList[];
  const rows = lists.map((list) => integers('documents.ids', list, -(2 ** 31), 2 ** 31 - 1));
  return recorded(new DocumentsMask(rows), 'documents', documents);
}

function idsFromCumulative(argument: string, cumulative: IntegerList): Int32Array {
  const bounds = checkCumulative(argument, cumulative);
  const ids = new Int32Array(bounds[bounds.length - 1]!);
  for (let i = 1; i < bounds.length; i++) ids.fill(i, bounds[i - 1], bounds[i]);
  return ids;
}
