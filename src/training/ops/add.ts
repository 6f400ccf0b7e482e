// Rows added to rows.

import type { CallScope } from '../../runtime/call-scope.js';
import type { Rows } from '../../model/pass.js';

/** @internal y += factor * x, rows of so many floats. */
export function runAdd(scope: CallScope, x: Rows, y: Omit<Rows, 'rows'>, channels: number, factor = 1): void {
  if (x.rows === 0 || channels === 0) return;
  scope.run({
    pack: 'training',
    kernel: 'addRows',
    args: [
      ...([x.address, x.rowBytes, y.address, y.rowBytes, channels] as const),
      factor === 1 ? 0 : scope.floats([factor]),
    ],
    tiles: x.rows,
    scratchBytes: 0,
    cost: x.rows * channels,
  });
}
