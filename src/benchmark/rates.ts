// Work of known size at the engine's peak rates of arithmetic and of reading, for those who want to know how near to them
// a figure is.

import { READ_TILE_BYTES } from '../../build/kernels.js';
import type { KeyValueCache } from '../cache/key-value-cache.js';
import { runInScope } from '../runtime/call.js';
import { AttentionError } from '../runtime/errors.js';
import { runtimeAmong } from '../runtime/operation.js';
import type { CallScope } from '../runtime/call-scope.js';
import type { Runtime } from '../runtime/runtime.js';
import { elementBytes } from '../runtime/elements.js';
import type { Tensor } from '../runtime/tensor.js';

const FLOP_PER_STEP = 96;

/**
 * Multiply-adds without memory traffic: GFLOP/s of one thread with this runtime's build, best of several runs of about a
 * millisecond.
 *
 * @param runs default 20; the first few also let the engine compile
 * @throws AttentionError INVALID_STATE without the pack `benchmark`
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
 * @throws AttentionError INVALID_STATE without the pack `benchmark`
 *
 * @example
 * ```js
 * const start = performance.now();
 * const flop = runPeak(runtime);
 * console.log(flop / (performance.now() - start) / 1e6, 'GFLOP/s');
 * ```
 */
export function runPeak(runtime: Runtime, steps = 500_000): number {
  runtime.kernelsOf('benchmark').peakMultiplyAdd(steps, 0.999, 0.001);
  return steps * FLOP_PER_STEP;
}

/**
 * Reads the memory of a tensor from first to last byte on all threads, to be timed by the caller. A small tensor stays in the
 * caches, so take one of the size of the work to compare with.
 *
 * @param tensor contiguous; the last up to 127 bytes are left out
 * @returns the bytes read
 * @throws AttentionError INVALID_ARGUMENT; INVALID_STATE without the pack `benchmark`
 *
 * @example
 * ```js
 * readTensor(runtime.empty([1024, 1024])); // 4194304
 * ```
 */
export function readTensor(tensor: Tensor): number {
  const runtime = runtimeAmong([tensor]);
  if (!tensor.contiguous) {
    throw new AttentionError({
      code: 'INVALID_ARGUMENT',
      argument: 'tensor',
      expected: 'a contiguous tensor',
      received: `strides [${tensor.strides.join(', ')}] for shape [${tensor.shape.join(', ')}]`,
    });
  }
  return runInScope(runtime, (scope) =>
    read(scope, tensor.address, tensor.size * elementBytes(tensor.dtype)),
  );
}

/**
 * Reads the pages of one layer of a cache as {@link readTensor} does.
 *
 * @param layer default the first
 * @returns the bytes read
 * @throws AttentionError INVALID_ARGUMENT; INVALID_STATE without the pack `benchmark`
 *
 * @example
 * ```js
 * const cache = new KeyValueCache(runtime, { numKeyValueHeads: 2, headDim: 4 });
 * cache.append(0, k, v);
 * const bytes = readPages(cache);
 * ```
 */
export function readPages(cache: KeyValueCache, layer = 0): number {
  const { addresses, pageBytes } = cache.pagesOf(layer);
  return runInScope(cache.runtime, (scope) =>
    addresses.reduce((bytes, address) => bytes + read(scope, address, pageBytes), 0),
  );
}

function read(scope: CallScope, address: number, size: number): number {
  const bytes = Math.floor(size / 128) * 128;
  scope.run({
    pack: 'benchmark',
    kernel: 'readMemory',
    args: [address, bytes],
    tiles: Math.ceil(bytes / READ_TILE_BYTES),
    scratchBytes: 16,
    cost: 5 * bytes, // some 10 GB/s
  });
  return bytes;
}
