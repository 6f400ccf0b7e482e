// Sums over rows, in one order: gradients of biases, and of whatever all rows share.

import { COLUMN_BLOCK, COLUMN_SUM_ROWS } from '../../../build/kernels.js';
import type { Rows } from '../../model/pass.js';
import type { CallScope } from '../../runtime/call-scope.js';

/** @internal Adds rows of partial sums, `rowBytes` apart, to `columns` floats at target. */
export function runAddPartials(scope: CallScope, partials: Rows, columns: number, target: number): void {
  scope.run({
    pack: 'training',
    kernel: 'addPartials',
    args: [partials.address, partials.rowBytes, partials.rows, target, columns],
    tiles: Math.ceil(columns / COLUMN_BLOCK),
    scratchBytes: 0,
    cost: 40 * partials.rows * columns,
  });
}

/** @internal Adds the sum of all rows of x, or of x * y element by element, to `columns` floats at target. */
export function runColumnSums(
  scope: CallScope,
  x: Rows,
  columns: number,
  target: number,
  y?: Omit<Rows, 'rows'>,
): void {
  if (x.rows === 0 || columns === 0) return;
  const tiles = Math.ceil(x.rows / COLUMN_SUM_ROWS);
  const rowBytes = columns * 4;
  const partials = { address: scope.allocate(tiles * rowBytes), rowBytes, rows: tiles };
  scope.run({
    pack: 'training',
    kernel: 'columnPartials',
    args: [x.address, x.rowBytes, y?.address ?? 0, y?.rowBytes ?? 0, x.rows, columns, partials.address],
    tiles,
    scratchBytes: 0,
    cost: 10 * x.rows * columns,
  });
  runAddPartials(scope, partials, columns, target);
}
