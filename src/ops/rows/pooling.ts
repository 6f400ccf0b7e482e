import type { CallScope } from '../../runtime/call-scope.js';
export function runMeanPooling(scope: CallScope, x: { address: number; rowBytes: number }, batch: number, length: number, channels: number, kept: number | undefined, y: number): void {
  scope.then(() => {
    const f = scope.runtime.linearMemory.words.floats;
    for (let b = 0; b < batch; b++) for (let c = 0; c < channels; c++) {
      let sum = 0, n = 0;
      for (let i = 0; i < length; i++) { const w = kept ? f[(kept >>> 2) + b * length + i]! : 1; sum += w * f[((x.address + (b * length + i) * x.rowBytes) >>> 2) + c]!; n += w; }
      f[(y >>> 2) + b * channels + c] = sum / n;
    }
  });
}
