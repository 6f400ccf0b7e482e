/**
 * The public API of `wasm-attention`: all of `wasm-attention/slim`, and a `createRuntime` that carries the kernels.
 *
 * @module wasm-attention
 */

import { createRuntime as createRuntimeFrom } from './slim.js';
import type { Runtime, RuntimeOptions } from './slim.js';
import { alphabet, builds, pieces } from '../build/embedded.js';

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

/** The bytes of a build: of the pieces, which take turns, its own. A `!` lifts the next character by an alphabet. */
function embedded(build: (typeof builds)[number]): Uint8Array<ArrayBuffer> {
  const turn = builds.indexOf(build);
  const bytes: number[] = [];
  let plane = 0;
  for (const character of pieces.filter((_, index) => index % builds.length === turn).join('')) {
    if (character === '!') plane += alphabet.length;
    else {
      bytes.push(plane + alphabet.indexOf(character));
      plane = 0;
    }
  }
  return new Uint8Array(bytes);
}
