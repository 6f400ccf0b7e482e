// A runtime: the kernels, one linear memory, its threads, and what lives in it. Runtimes are independent of each other.

import type { MemoryStatistics } from './allocator.js';
import { checkOptions } from './checks.js';
import type { NamesOf } from './checks.js';
import { AttentionError, describe, invalidArgument, shapeError } from './errors.js';
import { probeFeatures } from './features.js';
import type { Features } from './features.js';
import { loadKernels } from './kernels.js';
import type { Build, Kernels } from './kernels.js';
import { LinearMemory, MAXIMUM_BYTES } from './memory.js';
import { contiguousStrides, disposeSymbol, elementBytes, sizeOf, Storage, Tensor } from './tensor.js';
import type { DataType, Lender } from './tensor.js';
import { readThreads, THREADS_NAMES } from './threads/options.js';
import type { ThreadOptions, WantedThreads } from './threads/options.js';
import { whyNoThreads } from './threads/spawn.js';
import { Threads } from './threads/threads.js';
import type { WasmSource, WasmSources } from './wasm-source.js';

/** What a runtime should be. */
export interface RuntimeOptions {
  /** Forces a build. Default: the fastest this engine runs. */
  readonly build?: Build | undefined;
  /** True chooses the build whose results are the same bits in every engine (`simd`). Default false. */
  readonly deterministic?: boolean | undefined;
  /** Most bytes of linear memory, up to 4 GiB (the default). */
  readonly maximumMemory?: number | undefined;
  /**
   * Threads that share long work: a number, 'auto' (one a processor, 8 at most), or more about them. Default 1, because
   * starting workers takes longer than many programs attend. Results are the same bits for any number.
   */
  readonly threads?: 'auto' | number | ThreadOptions | undefined;
}

export const RUNTIME_NAMES = {
  build: 1,
  deterministic: 1,
  maximumMemory: 1,
  threads: THREADS_NAMES,
} satisfies NamesOf<RuntimeOptions>;

/** What a runtime should be, and what it is made of. */
export interface SlimRuntimeOptions extends RuntimeOptions {
  /** The builds that may be loaded. Only the chosen one is looked at, and fetched if it is an address. */
  readonly wasm: WasmSources;
}

const WASM_NAMES = { simd: 1, relaxed: 1 } satisfies NamesOf<WasmSources>;

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
  /** What the engine was found to support. */
  readonly features: Features;
}

/** Arrays that can become a tensor. Float64 is rounded to float32. */
export type ArrayInput =
  | Float32Array
  | Float64Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | readonly number[]
  | readonly boolean[];

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
export function createRuntime(options: SlimRuntimeOptions): Promise<Runtime>;
/** @internal With the builds that an entry carries. */
export function createRuntime(options: RuntimeOptions, carried: WasmSources): Promise<Runtime>;
export async function createRuntime(
  options: RuntimeOptions & { readonly wasm?: WasmSources },
  carried?: WasmSources,
): Promise<Runtime> {
  checkOptions(options, RUNTIME_NAMES, carried ? {} : { wasm: WASM_NAMES });
  const { wasm = carried } = options;
  const features = probeFeatures();
  const { build, reason } = chooseBuild(options, wasm, features);
  const maximum = checkMaximum(options.maximumMemory);
  const info = { build, reason, deterministic: build === 'simd', features };
  const wanted = readThreads(options.threads);
  const source = wasm?.[build];
  if (wanted.count === 1) return createAlone(info, source, maximum, wanted.reason);
  try {
    return await createThreaded(info, source, maximum, wanted);
  } catch (cause) {
    const why = (cause as Error).message;
    if (!wanted.required) return createAlone(info, source, maximum, why);
    const { count } = wanted;
    throw new AttentionError({
      code: 'UNSUPPORTED',
      argument: 'threads',
      message: `threads: ${count} are required, but ${why}`,
      cause,
    });
  }
}

type BuildInfo = Omit<RuntimeInfo, 'threads' | 'threadsReason'>;

async function createAlone(
  info: BuildInfo,
  source: WasmSource | undefined,
  maximum: number,
  threadsReason: string,
): Promise<Runtime> {
  const memory = new LinearMemory(maximum);
  const { kernels } = await loadKernels(info.build, source, memory.memory, false);
  memory.start(kernels.heapBase());
  return new Runtime(memory, kernels, { ...info, threads: 1, threadsReason }, undefined);
}

async function createThreaded(
  info: BuildInfo,
  source: WasmSource | undefined,
  maximum: number,
  wanted: WantedThreads,
): Promise<Runtime> {
  const why = whyNoThreads();
  if (why) throw new Error(why);
  const memory = new LinearMemory(maximum, true);
  const { kernels, module } = await loadKernels(info.build, source, memory.memory, true);
  memory.start(kernels.heapBase());
  const { count, reason, worker } = wanted;
  const threads = await Threads.start({ module, memory: memory.memory, count, reason, worker });
  return new Runtime(memory, kernels, { ...info, threads: count, threadsReason: reason }, threads);
}

function chooseBuild(
  { build, deterministic }: RuntimeOptions,
  wasm: WasmSources | undefined,
  features: Features,
): { build: Build; reason: string } {
  if (build !== undefined && build !== 'simd' && build !== 'relaxed') {
    throw invalidArgument('build', "'simd' or 'relaxed'", build);
  }
  if (!features.simd) {
    const lacks = features.webAssembly
      ? 'WebAssembly with 128-bit SIMD; this engine lacks SIMD'
      : 'WebAssembly; this engine has none';
    throw new AttentionError({ code: 'UNSUPPORTED', message: `wasm-attention needs ${lacks}` });
  }
  if (build === 'relaxed' && deterministic) {
    throw new AttentionError({
      code: 'INVALID_ARGUMENT',
      argument: 'deterministic',
      expected: "false with build 'relaxed', whose bits depend on the processor",
      received: 'true',
    });
  }
  if (build === 'relaxed' && features.compiles && !(features.relaxedMultiplyAdd && features.relaxedDot)) {
    throw new AttentionError({
      code: 'UNSUPPORTED',
      message: "build 'relaxed' needs relaxed SIMD, which this engine lacks",
    });
  }
  if (build) return { build, reason: 'asked for' };
  if (deterministic) return { build: 'simd', reason: 'deterministic results were asked for' };
  if (!wasm?.relaxed) return { build: 'simd', reason: 'the relaxed build was not brought' };
  if (!features.compiles) {
    return { build: 'simd', reason: 'nothing may be compiled here, so relaxed SIMD could not be tried' };
  }
  if (!features.relaxedMultiplyAdd) return { build: 'simd', reason: 'this engine has no relaxed SIMD' };
  if (!features.relaxedDot) return { build: 'simd', reason: 'this engine has no relaxed product of bytes' };
  if (!features.fusedMultiplyAdd) {
    return { build: 'simd', reason: "this engine's relaxed multiply-add is not fused, so it gains nothing" };
  }
  return { build: 'relaxed', reason: 'this engine has a fused multiply-add' };
}

function checkMaximum(bytes: number | undefined): number {
  if (bytes === undefined) return MAXIMUM_BYTES;
  if (!(Number.isFinite(bytes) && bytes >= 1 << 20 && bytes <= MAXIMUM_BYTES)) {
    throw invalidArgument('maximumMemory', `bytes between ${1 << 20} and ${MAXIMUM_BYTES}`, bytes);
  }
  return bytes;
}

/**
 * The kernels of one build, a linear memory and, where asked for, threads. Runtimes are independent: tensors of one are refused
 * by another. Made by `createRuntime`.
 *
 * @example
 * ```js
 * const tensor = runtime.tensor([1, 2, 3, 4], [2, 2]);
 * runtime.info.threads; // 1
 * runtime.memory.used > 0; // true
 * ```
 */
export class Runtime {
  readonly #info: RuntimeInfo;
  readonly #linearMemory: LinearMemory;
  readonly #kernels: Kernels;
  readonly #threads: Threads | undefined;
  #disposed = false;

  /** @internal Use `createRuntime`. */
  constructor(memory: LinearMemory, kernels: Kernels, info: RuntimeInfo, threads: Threads | undefined) {
    this.#linearMemory = memory;
    this.#kernels = kernels;
    this.#info = info;
    this.#threads = threads;
    runtimes.set(memory, this);
  }

  /** What the runtime is, and why. */
  get info(): RuntimeInfo {
    const threads = this.#threads;
    return threads ? { ...this.#info, threads: threads.count, threadsReason: threads.reason } : this.#info;
  }

  /** Bytes used, most ever used, and held in all. */
  get memory(): MemoryStatistics {
    return this.#linearMemory.statistics;
  }

  /** True once disposed. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /**
   * Copies an array into a new tensor.
   *
   * @param data  numbers in order of the shape; Uint8Array and booleans make a 'bool' tensor, Int32Array and
   *   BigInt64Array an 'int32' one, all else 'float32'
   * @param shape default: one axis
   * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, OUT_OF_MEMORY, DISPOSED
   */
  tensor(data: Float32Array | Float64Array | readonly number[], shape?: readonly number[]): Tensor<'float32'>;
  tensor(data: Int32Array | BigInt64Array, shape?: readonly number[]): Tensor<'int32'>;
  tensor(data: Uint8Array | readonly boolean[], shape?: readonly number[]): Tensor<'bool'>;
  tensor(data: ArrayInput, shape?: readonly number[]): Tensor;
  tensor(data: ArrayInput, shape?: readonly number[]): Tensor {
    return this.copyOf(data, shape);
  }

  /** @internal {@link tensor}, of memory that is lent. */
  copyOf(data: ArrayInput, shape?: readonly number[], lender?: Lender): Tensor {
    const dtype = dataTypeOf(data);
    const tensor = this.place(shape ?? [data.length], dtype, lender);
    if (tensor.size !== data.length) {
      tensor.dispose();
      throw shapeError('shape', `${data.length} elements`, shape);
    }
    const target = tensor.data;
    if (data instanceof BigInt64Array) for (let i = 0; i < data.length; i++) target[i] = Number(data[i]);
    else target.set(data as ArrayLike<number>);
    return tensor;
  }

  /**
   * A new tensor to be written through `data`. Its elements are whatever the memory held.
   *
   * @throws AttentionError INVALID_SHAPE, OUT_OF_MEMORY, DISPOSED
   */
  empty<Type extends DataType = 'float32'>(shape: readonly number[], dtype?: Type): Tensor<Type> {
    return this.place(shape, dtype);
  }

  /** @internal {@link empty}, of memory that is lent. */
  place<Type extends DataType = 'float32'>(
    shape: readonly number[],
    dtype: Type = 'float32' as Type,
    lender?: Lender,
  ): Tensor<Type> {
    this.check();
    checkShape(shape);
    const storage = new Storage(this.#linearMemory, sizeOf(shape) * elementBytes(dtype), lender);
    return new Tensor(storage, dtype, [...shape], contiguousStrides(shape), 0, true);
  }

  /** Ends every tensor and layer of this runtime, and its threads, and lets go of the memory. Safe to repeat. */
  dispose(): void {
    this.#threads?.end();
    this.#linearMemory.end();
    this.#disposed = true;
  }

  /** What `using` calls: `dispose`. */
  [disposeSymbol](): void {
    this.dispose();
  }

  /** @internal */
  get kernels(): Kernels {
    this.check();
    return this.#kernels;
  }

  /** @internal Undefined where there is one thread for good. */
  get threads(): Threads | undefined {
    return this.#threads;
  }

  /** @internal */
  get linearMemory(): LinearMemory {
    return this.#linearMemory;
  }

  /** @internal Throws DISPOSED. */
  check(): void {
    if (this.#disposed) throw new AttentionError({ code: 'DISPOSED', message: 'the runtime was disposed' });
  }
}

/** Which runtime a memory belongs to: what lets a function called with tensors find its kernels. */
const runtimes = new WeakMap<LinearMemory, Runtime>();

/** @internal The runtime a tensor lives in. */
export function runtimeOf(tensor: Tensor): Runtime {
  return runtimes.get(tensor.memory)!;
}

function dataTypeOf(data: unknown): DataType {
  if (data instanceof Float32Array || data instanceof Float64Array) return 'float32';
  if (Object.prototype.toString.call(data) === '[object Float16Array]') return 'float32';
  if (data instanceof Uint8Array) return 'bool';
  if (data instanceof Int32Array || data instanceof BigInt64Array) return 'int32';
  if (Array.isArray(data) && data.every((value) => typeof value === 'number')) return 'float32';
  if (Array.isArray(data) && data.every((value) => typeof value === 'boolean')) return 'bool';
  throw new AttentionError({
    code: 'INVALID_DTYPE',
    argument: 'data',
    expected:
      'a Float32Array, Float64Array, Float16Array, Int32Array, BigInt64Array, Uint8Array (booleans) or an array of numbers or booleans',
    received: describe(data),
  });
}

function checkShape(shape: readonly number[]): void {
  if (!Array.isArray(shape) || !shape.every((length) => Number.isInteger(length) && length >= 0)) {
    throw shapeError('shape', 'an array of integers >= 0', shape);
  }
}
