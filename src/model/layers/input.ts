// What enters the first block of a model that reads tokens.

import { runEmbedding } from '../../ops/embedding/embedding.js';
import { runFusedLinear } from '../../ops/linear/fused-linear.js';
import type { LinearWeights } from '../../ops/linear/linear.js';
import { invalidArgument } from '../../runtime/errors.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { TokenInput } from '../description.js';
import type { Parameters, Table } from '../parameters.js';
import type { Rows } from '../pass.js';
import { bindNorm } from './bound-norm.js';
import type { Norm } from './bound-norm.js';

/** Token ids of a batch, [batch][length], padded to one length. */
export interface Tokens {
  readonly batch: number;
  readonly length: number;
  readonly ids: Int32Array;
  readonly types?: Int32Array | undefined;
  /** Of learned positions, counted from 0. */
  readonly positions: Int32Array;
}

export class TokenEmbedding {
  readonly #input: TokenInput;
  readonly #table: Table;
  readonly #types: Table | undefined;
  readonly #positions: Table | undefined;
  readonly #norm: Norm | undefined;
  readonly #projection: LinearWeights | undefined;

  constructor(parameters: Parameters, input: TokenInput) {
    this.#input = input;
    this.#table = parameters.table(input.table);
    this.#types = input.types && parameters.table(input.types);
    this.#positions = input.positions && parameters.table(input.positions.table);
    this.#norm = bindNorm(parameters, input.norm);
    this.#projection = input.projection && parameters.matrix(input.projection);
  }

  /** Tokens the table knows. */
  get vocabulary(): number {
    return this.#table.rows;
  }

  /** Writes the rows that enter the first block. */
  run(scope: CallScope, { ids, types, positions }: Tokens, x: Rows): void {
    const { channels } = this.#table;
    const target = this.#projection ? { ...x, ...this.#narrow(scope, x.rows, channels) } : x;
    const look = (
      argument: string,
      table: Table,
      rows: Int32Array,
      factor: number,
      add: boolean,
      where: Omit<Rows, 'rows'> = target,
    ) => {
      checkRows(argument, rows, table.rows);
      const place = { address: table.tensor.address, channels: table.channels, packed: table.packed };
      runEmbedding(scope, scope.integers(rows), rows.length, place, where, { factor, add });
    };
    look('inputIds', this.#table, ids, this.#input.factor ?? 1, false);
    if (this.#types) look('tokenTypeIds', this.#types, types ?? new Int32Array(ids.length), 1, true);
    const { offset = 0, afterProjection = false } = this.#input.positions ?? {};
    const place = (where: Omit<Rows, 'rows'>) => {
      if (!this.#positions) return;
      const rows = offset === 0 ? positions : positions.map((position) => position + offset);
      look('positionIds', this.#positions, rows, 1, true, where);
    };
    if (!afterProjection) place(target);
    this.#norm?.run(scope, target, target);
    if (this.#projection) {
      const columns = { from: 0, to: this.#projection.outFeatures };
      runFusedLinear(scope, target, this.#projection, columns, x, {});
    }
    if (afterProjection) place(x);
  }

  #narrow(scope: CallScope, rows: number, channels: number): Omit<Rows, 'rows'> {
    return { address: scope.temporary([rows, channels]).address, rowBytes: channels * 4 };
  }
}

export function checkRows(argument: string, rows: Int32Array, count: number): void {
  for (let i = 0; i < rows.length; i++) {
    if (rows[i]! < 0 || rows[i]! >= count)
      throw invalidArgument(`${argument}[${i}]`, `an integer from 0 to ${count - 1}`, rows[i]);
  }
}
