// The public API of `wasm-attention` where modules are compiled when a program is deployed and nothing is compiled when it
// runs: Cloudflare's workerd and the engines of other edge networks. The import of the .wasm file is left to them. It is the
// build that every engine runs: what they have cannot be tried first, and they compile whatever is imported.

import simd from './simd.wasm';
import { createRuntime as createRuntimeFrom } from './slim.js';
import type { Runtime, RuntimeOptions } from './slim.js';

export * from './slim.js';

export function createRuntime(options: RuntimeOptions = {}): Promise<Runtime> {
  return createRuntimeFrom(options, { simd });
}
