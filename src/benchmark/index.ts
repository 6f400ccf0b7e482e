/**
 * The public API of `wasm-attention/benchmark`: what an engine reaches at most, to compare figures with. A runtime needs the pack:
 *
 * ```js
 * import { createRuntime } from 'wasm-attention';
 * import { benchmark, measurePeak } from 'wasm-attention/benchmark';
 *
 * const runtime = await createRuntime({ packs: [benchmark] });
 * console.log(`${measurePeak(runtime).toFixed(0)} GFLOP/s`);
 * ```
 *
 * @module wasm-attention/benchmark
 */

import { wasm } from '../../build/embedded-benchmark.js';
import type { KernelPack } from '../slim.js';

/** The kernels of this entry. */
export const benchmark: KernelPack = { name: 'benchmark', wasm };

export { measurePeak, readPages, readTensor, runPeak } from './rates.js';
