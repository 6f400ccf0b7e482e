// The start of `wasm-attention/worker-runtime`, with the script of its worker.

import { workerScript } from './script.js'; // first
import { handleClasses, openRuntime, WorkerRuntime } from './worker-runtime.js';
import type { WorkerRuntimeOptions } from './worker-runtime.js';

/**
 * Starts a worker and a runtime in it.
 *
 * @param options those of `createRuntime`, and where the worker comes from
 * @throws AttentionError UNSUPPORTED where no worker can be had (no workers on the platform, a content security policy,
 *   an address that does not load); what `createRuntime` throws
 *
 * @example
 * ```js
 * const remote = await createWorkerRuntime({ threads: 'auto' });
 * const { output } = await remote.scaledDotProductAttention(input, input, input, { causal: true, read: true });
 * await output.read(); // Float32Array
 * remote.dispose();
 * ```
 */
export function createWorkerRuntime(options: WorkerRuntimeOptions = {}): Promise<WorkerRuntime> {
  return openRuntime(options, workerScript(), WorkerRuntime, handleClasses);
}
