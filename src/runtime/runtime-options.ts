// What a program asks of a runtime, and what it is told: the options of `createRuntime` and `runtime.info`.

import type { NamesOf } from './checks.js';
import type { Features } from '../platform/features.js';
import type { Build } from './kernels.js';
import type { LeakReport } from './leaks.js';
import type { KernelPack } from './packs.js';
import { THREADS_NAMES } from './threads/options.js';
import type { ThreadOptions } from './threads/options.js';
import type { WasmSources } from './wasm-source.js';

/** What a runtime should be. */
export interface RuntimeOptions {
  /** Forces a build. Default: the fastest this engine runs. */
  readonly build?: Build | undefined;
  /** True chooses the build whose results are the same bits in every engine (`simd`). Default false. */
  readonly deterministic?: boolean | undefined;
  /** Most bytes of linear memory, up to 4 GiB (the default). */
  readonly maximumMemory?: number | undefined;
  /**
   * Threads that share long work: a number, 'auto' (one per processor, at most 8), or more about them. Default 1, because
   * starting workers takes longer than many programs attend. Results are the same bits for any number.
   */
  readonly threads?: 'auto' | number | ThreadOptions | undefined;
  /** Packs of kernels to load beside those of attention, for the entries that need them. Default none; see `Runtime.load`. */
  readonly packs?: readonly KernelPack[] | undefined;
  /**
   * True warns in the console of tensors that became garbage without being disposed, a function is told of them. To find
   * leaks by: it makes every tensor slower. Default false.
   */
  readonly reportLeaks?: LeakReport | undefined;
}

export const RUNTIME_NAMES = {
  build: 1,
  deterministic: 1,
  maximumMemory: 1,
  threads: THREADS_NAMES,
  packs: 1,
  reportLeaks: 1,
} satisfies NamesOf<RuntimeOptions>;

/** What a runtime should be, and what it is made of. */
export interface SlimRuntimeOptions extends RuntimeOptions {
  /** The builds that may be loaded. Only the chosen one is looked at, and fetched if it is an address. */
  readonly wasm: WasmSources;
}

/** What `createRuntime` found and chose. */
export interface RuntimeInfo {
  /** The build in use. */
  readonly build: Build;
  /** Why this build. */
  readonly reason: string;
  /** Threads at present, the calling one included. */
  readonly threads: number;
  /** Why so many. */
  readonly threadsReason: string;
  /** Whether results are the same bits in every engine. */
  readonly deterministic: boolean;
  /** The packs of kernels that are loaded. */
  readonly packs: readonly string[];
  /** What the engine was found to support. */
  readonly features: Features;
}
