/**
 * The public API of `wasm-attention`: all of `wasm-attention/slim`, and a `createRuntime` that carries the kernels of attention:
 * embedded, or, where modules are compiled when a program is deployed and nothing is compiled when it runs (the conditions
 * `workerd` and `edge-light`), as a compiled module: the build that every engine runs, for what they have cannot be tried first.
 *
 * @module wasm-attention
 */

import { wasm } from '../build/embedded-attention.js'; // first, so that bundles begin with it
import { startRuntime } from './runtime/runtime.js';
import { Threads } from './runtime/threads/threads.js';
import type { Runtime, RuntimeOptions } from './slim.js';

export * from './slim.js';

/**
 * Probes the engine, loads the fastest build of the kernels that it runs and gives them a memory of their own.
 *
 * @throws AttentionError UNSUPPORTED without WebAssembly SIMD, where a forced build cannot run, or where compiling is
 *   forbidden; INVALID_ARGUMENT; OUT_OF_MEMORY if the engine refuses the first pages.
 *
 * @example
 * ```js
 * const runtime = await createRuntime({ threads: 'auto' }); // one thread where there can be no others
 * runtime.info.build; // 'relaxed' or 'simd'
 * runtime.dispose();
 * ```
 */
export function createRuntime(options: RuntimeOptions = {}): Promise<Runtime> {
  return startRuntime(options, wasm, Threads.start);
}
