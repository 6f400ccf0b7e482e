// Rows added to rows.

import type { CallScope } from '../../runtime/call-scope.js';
import type { Rows } from '../../model/pass.js';

/** @internal y += factor * x, rows of so many floats. `scale` is the address of a factor for each channel. */
export function runAdd(
  scope: CallScope,
  x: Rows,
  y: Omit<Rows, 'rows'>,
  channels: number,
  factor: number | { readonly scale: number } = 1,
): void {
  if (x.rows === 0 || channels === 0) return;
  const perChannel = typeof factor === 'object';
  scope.run({
    pack: 'training',
    kernel: 'addRows',
    args: [
      ...([x.address, x.rowBytes, y.address, y.rowBytes, channels] as const),
      perChannel ? factor.scale : factor === 1 ? 0 : scope.floats([factor]),
      perChannel ? 1 : 0,
    ],
    tiles: x.rows,
    scratchBytes: 0,
    cost: x.rows * channels,
  });
}
