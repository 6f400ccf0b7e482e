// The public API of `wasm-attention`: all of `wasm-attention/slim`, and a `createRuntime` that carries the kernels.

import { createRuntime as createRuntimeFrom } from './slim.js';
import type { Runtime, RuntimeOptions } from './slim.js';
import { builds, pieces } from '../build/embedded.js';

export * from './slim.js';

/**
 * Probes the engine, loads the fastest build of the kernels that it runs and gives them a memory of their own.
 *
 * @throws AttentionError UNSUPPORTED without WebAssembly SIMD, where a forced build cannot run, or where compiling is
 *   forbidden; INVALID_ARGUMENT; OUT_OF_MEMORY if the engine refuses the first pages.
 */
export function createRuntime(options: RuntimeOptions = {}): Promise<Runtime> {
  const wasm = { simd: () => embedded('simd'), relaxed: () => embedded('relaxed') };
  return createRuntimeFrom({ ...options, wasm });
}

/** The bytes of a build: of the pieces, which take turns, its own, read as hexadecimal digits. */
function embedded(build: (typeof builds)[number]): Uint8Array<ArrayBuffer> {
  const turn = builds.indexOf(build);
  const digits = pieces.filter((_, index) => index % builds.length === turn).join('');
  const bytes = new Uint8Array(digits.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(digits.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}
