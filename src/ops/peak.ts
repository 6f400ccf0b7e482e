// The engine's peak rate of arithmetic, for those who want to know how near to it a figure is.

import type { Runtime } from '../runtime/runtime.js';

const FLOP_A_STEP = 96;

/**
 * Multiply-adds without memory traffic: GFLOP/s of this runtime's build, best of several runs of about a millisecond.
 *
 * @param runs default 20; the first few also let the engine compile
 */
export function measurePeak(runtime: Runtime, runs = 20): number {
  const { kernels } = runtime;
  const steps = 500_000;
  let best = 0;
  for (let run = 0; run < runs; run++) {
    const start = performance.now();
    kernels.peakMultiplyAdd(steps, 0.999, 0.001);
    best = Math.max(best, (steps * FLOP_A_STEP) / (performance.now() - start) / 1e6);
  }
  return best;
}
