// The public API of `wasm-attention` where modules are compiled when a program is deployed and nothing is compiled when it
// runs: Cloudflare's workerd and the engines of other edge networks. The imports of .wasm files are left to them.

import relaxed from './relaxed.wasm';
import simd from './simd.wasm';
import { createRuntime as createRuntimeFrom } from './slim.js';
import type { Runtime, RuntimeOptions } from './slim.js';

export * from './slim.js';

export function createRuntime(options: RuntimeOptions = {}): Promise<Runtime> {
  return createRuntimeFrom({ ...options, wasm: { simd, relaxed } });
}
