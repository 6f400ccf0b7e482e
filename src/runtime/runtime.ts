// A runtime: the kernels, one linear memory, its threads, and what lives in it. Runtimes are independent of each other.

import type { MemoryStatistics } from './allocator.js';
import { checkOptions } from './checks.js';
import { checkKind, dataTypeOf, narrowed } from './elements.js';
import type { ArrayInput, DataType } from './elements.js';
import { AttentionError, invalidArgument, shapeError } from './errors.js';
import { disposeSymbol } from './disposable.js';
import { probeFeatures } from '../platform/features.js';
import type { Features } from '../platform/features.js';
import { HEAP_BASE } from '../../build/identity.js';
import type { Packs } from '../../build/kernels.js';
import { loadKernels } from './kernels.js';
import type { Build, Kernels } from './kernels.js';
import { readShape, sizeOf } from './layout.js';
import { readLeakReport } from './leaks.js';
import { current, LinearMemory, MAXIMUM_BYTES } from './memory.js';
import { checkPack, checkPacks, packMissing, WASM_NAMES } from './packs.js';
import type { KernelPack, PackName } from './packs.js';
import { RUNTIME_NAMES } from './runtime-options.js';
import type { RuntimeInfo, RuntimeOptions } from './runtime-options.js';
import { makeTensor } from './tensor.js';
import type { Lender, Tensor } from './tensor.js';
import { readThreads } from './threads/options.js';
import type { WantedThreads } from './threads/options.js';
import { whyNoThreads } from '../platform/threads.js';
import type { Threads, ThreadsOptions } from './threads/threads.js';
import type { WasmSources } from './wasm-source.js';

/** `Threads.start`, which programs that can wait for it load when they ask for threads. */
type StartThreads = (options: ThreadsOptions) => Promise<Threads>;

/** See `createRuntime`. */
export async function startRuntime(
  options: RuntimeOptions & { readonly wasm?: WasmSources },
  carried: WasmSources | undefined,
  startThreads: StartThreads,
): Promise<Runtime> {
  checkOptions(options, RUNTIME_NAMES, carried ? {} : { wasm: WASM_NAMES });
  const { wasm = carried } = options;
  const features = probeFeatures();
  const { build, reason } = chooseBuild(options, wasm, features);
  const maximum = checkMaximum(options.maximumMemory);
  const info = { build, reason, deterministic: build === 'simd', features };
  const wanted = readThreads(options.threads);
  const report = readLeakReport(options.reportLeaks);
  const packs: WantedPacks = [{ name: 'attention', wasm: wasm! }, ...checkPacks(options.packs ?? [])];
  const alone = (reason: string) =>
    create(info, packs, new LinearMemory(maximum, report), { count: 1, reason });
  if (wanted.count === 1) return alone(wanted.reason);
  try {
    const why = whyNoThreads();
    if (why) throw new Error(why);
    return await create(info, packs, new LinearMemory(maximum, report, true), wanted, startThreads);
  } catch (cause) {
    const why = (cause as Error).message;
    if (!wanted.required) return alone(why);
    const { count } = wanted;
    throw new AttentionError({
      code: 'UNSUPPORTED',
      argument: 'threads',
      message: `threads: ${count} are required, but ${why}`,
      cause,
    });
  }
}

type BuildInfo = Omit<RuntimeInfo, 'threads' | 'threadsReason' | 'packs'>;

/** Attention's own, which is always there, and those asked for. */
type WantedPacks = readonly [attention: KernelPack, ...others: KernelPack[]];

async function create(
  info: BuildInfo,
  [attention, ...others]: WantedPacks,
  linear: LinearMemory,
  wanted: WantedThreads,
  startThreads?: StartThreads,
): Promise<Runtime> {
  linear.start(HEAP_BASE);
  const { memory } = linear;
  const { kernels, module } = await loadKernels(attention, info.build, memory, wanted.count > 1);
  const threads = await startThreads?.({ module, memory, ...wanted });
  const all = { ...info, threads: wanted.count, threadsReason: wanted.reason };
  return withPacks(new Runtime(linear, kernels as Kernels, all, threads), others);
}

async function withPacks(runtime: Runtime, packs: readonly KernelPack[]): Promise<Runtime> {
  try {
    await Promise.all(packs.map((pack) => runtime.load(pack)));
    return runtime;
  } catch (error) {
    runtime.dispose();
    throw error;
  }
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
  const why = deterministic ? 'deterministic results were asked for' : whyNotRelaxed(wasm, features);
  return why === undefined
    ? { build: 'relaxed', reason: 'this engine has a fused multiply-add' }
    : { build: 'simd', reason: why };
}

function whyNotRelaxed(wasm: WasmSources | undefined, features: Features): string | undefined {
  if (!wasm?.relaxed) return 'the relaxed build was not supplied';
  if (!features.compiles) return 'nothing may be compiled here, so relaxed SIMD could not be tried';
  if (!features.relaxedMultiplyAdd) return 'this engine has no relaxed SIMD';
  if (!features.relaxedDot) return 'this engine has no relaxed product of bytes';
  if (features.fusedMultiplyAdd) return undefined;
  return "this engine's relaxed multiply-add is not fused, so it gains nothing";
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
  readonly #info: Omit<RuntimeInfo, 'packs'>;
  readonly #linearMemory: LinearMemory;
  readonly #kernels: Kernels;
  /** Those loaded, by name, in the order they were loaded in. */
  readonly #packs: Map<string, Packs[PackName]>;
  /** The promises of `load`, kept but for those that failed. */
  readonly #loads = new Map<string, Promise<void>>([['attention', Promise.resolve()]]);
  readonly #threads: Threads | undefined;
  #disposed = false;

  /** @internal Use `createRuntime`. */
  constructor(
    memory: LinearMemory,
    kernels: Kernels,
    info: Omit<RuntimeInfo, 'packs'>,
    threads: Threads | undefined,
  ) {
    this.#linearMemory = memory;
    this.#kernels = kernels;
    this.#packs = new Map([['attention', kernels]]);
    this.#info = info;
    this.#threads = threads;
    memory.kernels = kernels;
    runtimes.set(memory, this);
  }

  /** What the runtime is, and why. */
  get info(): RuntimeInfo {
    const threads = this.#threads;
    return {
      ...this.#info,
      ...(threads && { threads: threads.count, threadsReason: threads.reason }),
      packs: [...this.#packs.keys()],
    };
  }

  /**
   * Loads a pack of kernels, for the entry it belongs to, in all threads. Nothing happens if one of its name is loaded; calls
   * at the same time wait for the same one. After a failure the runtime is as before, and the pack can be tried again.
   *
   * ```js
   * import { createRuntime } from 'wasm-attention';
   * import { benchmark, measurePeak } from 'wasm-attention/benchmark';
   *
   * const runtime = await createRuntime();
   * await runtime.load(benchmark);
   * measurePeak(runtime);
   * ```
   *
   * @throws AttentionError INVALID_FILE if it is not this version's; INVALID_ARGUMENT; UNSUPPORTED; WORKER_LOST; DISPOSED
   */
  async load(pack: KernelPack): Promise<void> {
    this.check();
    const { name } = checkPack('pack', pack);
    let load = this.#loads.get(name);
    if (!load) {
      load = this.#load(pack);
      this.#loads.set(name, load);
      load.catch(() => this.#loads.delete(name));
    }
    return load;
  }

  async #load(pack: KernelPack): Promise<void> {
    const threads = this.#threads;
    const { memory } = this.#linearMemory;
    const { kernels, module } = await loadKernels(pack, this.#info.build, memory, threads !== undefined);
    this.check();
    try {
      await threads?.load(pack.name, module);
    } finally {
      this.check(); // whatever became of the threads of a runtime that was disposed meanwhile
    }
    this.#packs.set(pack.name, kernels);
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
    return this.#track(this.copyOf(data, shape));
  }

  /** @internal {@link tensor}, kept or of memory that is lent. */
  copyOf(data: ArrayInput, shape: readonly number[] = [data?.length], lender?: Lender): Tensor {
    const dtype = dataTypeOf(data);
    const sizes = readShape('shape', shape);
    if (sizeOf(sizes) !== data.length) throw shapeError('shape', `${data.length} elements`, shape);
    const numbers = (dtype === 'int32' ? narrowed('data', data) : data) as ArrayLike<number>;
    const { given } = this.#linearMemory;
    given.push(data);
    try {
      const tensor = this.place(sizes, dtype, lender);
      tensor.data.set(current(numbers));
      return tensor;
    } finally {
      given.pop();
    }
  }

  /**
   * A new tensor to be written through `data`. Its elements are whatever the memory held.
   *
   * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, OUT_OF_MEMORY, DISPOSED
   */
  empty<Type extends DataType = 'float32'>(shape: readonly number[], dtype?: Type): Tensor<Type> {
    return this.#track(this.place(readShape('shape', shape), checkKind(dtype)));
  }

  /** @internal A tensor of a shape that needs no checks, kept or of memory that is lent. */
  place<Type extends DataType = 'float32'>(
    shape: readonly number[],
    dtype?: Type,
    lender?: Lender,
  ): Tensor<Type> {
    this.check();
    return makeTensor(this.#linearMemory, shape, dtype, lender);
  }

  #track<Made extends Tensor>(tensor: Made): Made {
    this.#linearMemory.scope?.add(tensor);
    return tensor;
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

  /** @internal Throws INVALID_STATE if the pack is not loaded. */
  kernelsOf<Name extends PackName>(name: Name): Packs[Name] {
    this.check();
    const kernels = this.#packs.get(name);
    if (!kernels) throw packMissing(name);
    return kernels as Packs[Name];
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
