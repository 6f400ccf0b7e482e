// Work of known size at the engine's peak rates of arithmetic and of reading, for those who want to know how near to them
// a figure is.

import { AttentionError } from '../runtime/errors.js';
import { findRuntime } from '../runtime/inputs.js';
import type { Runtime } from '../runtime/runtime.js';
import { elementBytes } from '../runtime/tensor.js';
import type { Tensor } from '../runtime/tensor.js';

const FLOP_A_STEP = 96;

/**
 * Multiply-adds without memory traffic: GFLOP/s of this runtime's build, best of several runs of about a millisecond.
 *
 * @param runs default 20; the first few also let the engine compile
 *
 * @example
 * ```js
 * console.log(`${measurePeak(runtime).toFixed(0)} GFLOP/s`);
 * ```
 */
export function measurePeak(runtime: Runtime, runs = 20): number {
  let best = 0;
  for (let run = 0; run < runs; run++) {
    const start = performance.now();
    const flop = runPeak(runtime);
    best = Math.max(best, flop / (performance.now() - start) / 1e6);
  }
  return best;
}

/**
 * Multiply-adds without memory traffic, to be timed by the caller: engines differ in how fine their clocks are.
 *
 * @param steps default 500 000, about a millisecond
 * @returns the flop done
 *
 * @example
 * ```js
 * const start = performance.now();
 * const flop = runPeak(runtime);
 * console.log(flop / (performance.now() - start) / 1e6, 'GFLOP/s');
 * ```
 */
export function runPeak(runtime: Runtime, steps = 500_000): number {
  runtime.kernels.peakMultiplyAdd(steps, 0.999, 0.001);
  return steps * FLOP_A_STEP;
}

/**
 * Reads the memory of a tensor from first to last byte, to be timed by the caller. A small tensor stays in the caches, so
 * take one of the size of the work to compare with.
 *
 * @param tensor contiguous; the last up to 127 bytes are left out
 * @returns the bytes read
 * @throws AttentionError INVALID_ARGUMENT
 *
 * @example
 * ```js
 * const bytes = readTensor(runtime.empty([1024, 1024]));
 * bytes; // 4194304
 * ```
 */
export function readTensor(tensor: Tensor): number {
  const { kernels } = findRuntime({}, [tensor], {});
  if (!tensor.contiguous) {
    throw new AttentionError({
      code: 'INVALID_ARGUMENT',
      argument: 'tensor',
      expected: 'a contiguous tensor',
      received: `strides [${tensor.strides.join(', ')}] for shape [${tensor.shape.join(', ')}]`,
    });
  }
  const bytes = Math.floor((tensor.size * elementBytes(tensor.dtype)) / 128) * 128;
  kernels.readMemory(tensor.address, bytes);
  return bytes;
}
