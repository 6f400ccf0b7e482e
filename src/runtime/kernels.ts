// How a module of kernels becomes an instance. What it exports the build derives from assembly/ (build/kernels.ts).

import { instantiateSync } from '@assemblyscript/loader';

import type { Packs } from '../../build/kernels.js';
import { AttentionError } from './errors.js';
import type { KernelPack, PackName } from './packs.js';
import { compile } from './wasm-source.js';

/** The kernels of attention. */
export type Kernels = Packs['attention'];

/** The ways the kernels were compiled; see `createRuntime`. */
export type Build = 'simd' | 'relaxed';

export interface LoadedKernels {
  readonly kernels: Packs[PackName];
  readonly module: WebAssembly.Module;
}

/** Compiles and instantiates a build of a pack over the given memory. */
export async function loadKernels(
  { name, wasm }: KernelPack,
  build: Build,
  memory: WebAssembly.Memory,
  shared: boolean,
): Promise<LoadedKernels> {
  const module = await compile(name, build, wasm?.[build], shared);
  try {
    // The loader's asynchronous form looks for a global Response, which takes Node 25 ms to make.
    const { exports } = instantiateSync(module, { env: { memory } });
    return { kernels: exports as unknown as Packs[PackName], module };
  } catch (cause) {
    throw new AttentionError({
      code: 'UNSUPPORTED',
      message: `the ${build} build of '${name}' could not be loaded by this engine: ${String((cause as Error)?.message ?? cause)}`,
      cause,
    });
  }
}
