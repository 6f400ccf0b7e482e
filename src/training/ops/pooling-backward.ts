// Temporary.
import type { Rows } from '../../model/pass.js';
import type { CallScope } from '../../runtime/call-scope.js';
export function runMeanPoolingBackward(
  scope: CallScope,
  dy: Rows,
  batch: number,
  length: number,
  channels: number,
  weights: number | undefined,
  dx: Omit<Rows, 'rows'>,
): void {
  scope.then(() => {
    const f = new Float32Array(scope.runtime.linearMemory.buffer);
    for (let b = 0; b < batch; b++) {
      let sum = 0;
      for (let i = 0; i < length; i++) sum += weights ? f[weights / 4 + b * length + i]! : 1;
      if (sum === 0) continue;
      for (let i = 0; i < length; i++) {
        const w = (weights ? f[weights / 4 + b * length + i]! : 1) / sum;
        for (let c = 0; c < channels; c++)
          f[(dx.address + (b * length + i) * dx.rowBytes) / 4 + c]! +=
            w * f[(dy.address + b * dy.rowBytes) / 4 + c]!;
      }
    }
  });
}
