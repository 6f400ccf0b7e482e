// Edges of an attention that are removed: a mask that keeps all others. Blocks without such an edge stay what they were, so that nothing of
// the size of all queries by all keys is made, and what other heads compute keeps its bits.

import { Mask } from '../masks/mask.js';
import type { Block, BlockAnswer, MaskContext, MaskSizes } from '../masks/mask.js';
import type { Range } from '../ops/attention/weights.js';
import { invalidArgument } from '../runtime/errors.js';

/** Queries that may not see keys. */
export interface RemovedEdge {
  /** What to call it in errors. */
  readonly argument: string;
  /** Query head; undefined: all. */
  readonly head: number | undefined;
  readonly queries: Range;
  readonly keys: Range;
}

const holds = ([from, to]: Range, index: number) => from <= index && index < to;
const meets = ([from, to]: Range, first: number, last: number) => from < last && first < to;
const covers = ([from, to]: Range, first: number, last: number) => from <= first && last <= to;

export class WithoutEdges extends Mask {
  readonly perBatch = false;
  readonly perHead: boolean;
  readonly #edges: readonly RemovedEdge[];

  constructor(edges: readonly RemovedEdge[]) {
    super();
    this.#edges = edges;
    this.perHead = edges.some(({ head }) => head !== undefined);
  }

  override check({ queries, keys }: MaskSizes): void {
    for (const edge of this.#edges) {
      if (edge.queries[1] > queries)
        throw invalidArgument(
          `${edge.argument}.queries`,
          `at most the ${queries} tokens of the call`,
          edge.queries,
        );
      if (edge.keys[1] > keys)
        throw invalidArgument(`${edge.argument}.keys`, `at most the ${keys} keys of the call`, edge.keys);
    }
  }

  keeps(_context: MaskContext, _batch: number, head: number, query: number, key: number): boolean {
    return !this.#of(head).some(({ queries, keys }) => holds(queries, query) && holds(keys, key));
  }

  override block(_context: MaskContext, { head, queryFrom, queryTo, keyFrom, keyTo }: Block): BlockAnswer {
    const near = this.#of(head).filter(
      ({ queries, keys }) => meets(queries, queryFrom, queryTo) && meets(keys, keyFrom, keyTo),
    );
    if (near.length === 0) return 'full';
    const gone = near.some(
      ({ queries, keys }) => covers(queries, queryFrom, queryTo) && covers(keys, keyFrom, keyTo),
    );
    return gone ? 'empty' : 'mixed';
  }

  #of(head: number): readonly RemovedEdge[] {
    return this.#edges.filter((edge) => edge.head === undefined || edge.head === head);
  }
}
