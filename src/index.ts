/**
 * The public API of `wasm-attention`: all of `wasm-attention/slim`, and a `createRuntime` that carries the kernels.
 *
 * @module wasm-attention
 */

import { packed, places, unpacker } from '../build/embedded.js'; // first, so that bundles begin with it
import { createRuntime as createRuntimeFrom } from './slim.js';
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
  const wasm = { simd: () => embedded('simd'), relaxed: () => embedded('relaxed') };
  return createRuntimeFrom(options, wasm);
}

/** What assembly/unpack exports. */
interface Unpacker {
  readonly memory: WebAssembly.Memory;
  /** Address at which it looks for what is packed. */
  readonly start: () => number;
  readonly unpack: (target: number, length: number) => void;
}

/** The bytes of a build: unpacked by a small module of its own, which engines run at speed from its first instruction. */
function embedded(build: keyof typeof places): Uint8Array<ArrayBuffer> {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytesOf(unpacker)));
  const { memory, start, unpack } = exports as unknown as Unpacker;
  const content = bytesOf(packed);
  const target = start() + content.length;
  new Uint8Array(memory.buffer).set(content, start());
  const [from, to] = places[build];
  unpack(target, to);
  return new Uint8Array(memory.buffer.slice(target + from, target + to));
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i); // quicker than Uint8Array.from before it is compiled
  return bytes;
}
