// How programs make a runtime with kernels of their own. Apart from runtime.ts, because programs of models load threads only when they
// ask for some: see src/model/load.ts.

import { startRuntime } from './runtime.js';
import type { Runtime } from './runtime.js';
import type { SlimRuntimeOptions } from './runtime-options.js';
import { Threads } from './threads/threads.js';

/**
 * Probes the engine, loads the fastest of the given builds that it runs and gives it a memory of its own.
 *
 * @throws AttentionError UNSUPPORTED without WebAssembly SIMD, where a forced build cannot run, or where compiling is
 *   forbidden; INVALID_ARGUMENT; INVALID_FILE if a build is not this version's; OUT_OF_MEMORY if the engine refuses the
 *   first pages.
 *
 * @example
 * ```js
 * const runtime = await createRuntime({
 *   wasm: { simd: () => fetch('/simd.wasm'), relaxed: () => fetch('/relaxed.wasm') }, // one of them is fetched
 * });
 * ```
 */
export function createRuntime(options: SlimRuntimeOptions): Promise<Runtime> {
  return startRuntime(options, undefined, Threads.start);
}
