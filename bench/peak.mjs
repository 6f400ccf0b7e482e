// What the engine can do at most, in this process and at this moment: multiply-adds of f32x4, and reading of
// memory.

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Bench } from 'tinybench';

const ITERATIONS = 200_000;
/** Twelve accumulators of four lanes, a multiplication and an addition each. */
const FLOP_PER_ITERATION = 12 * 4 * 2;
const PAGE = 65536;

/** @typedef {{ simd?: number, relaxed?: number }} Peaks GFLOP/s of each build that runs here */

/**
 * The shortest of many calls: interference only ever adds time.
 *
 * @param {() => void} call
 * @param {number} time milliseconds to spend
 */
async function shortestCall(call, time) {
  const bench = new Bench({ time, iterations: 20, warmupTime: time / 4, warmupIterations: 5, throws: true });
  bench.add('call', call);
  await bench.run();
  const { result } = bench.tasks[0];
  if (result.state !== 'completed') throw new Error(`measuring the peak ended ${result.state}`);
  return result.latency.min;
}

/**
 * Instantiates a module with stand-ins for whatever it imports; the functions called here need none of them.
 *
 * @param {BufferSource} bytes
 */
async function instantiate(bytes) {
  const module = await WebAssembly.compile(bytes);
  /** @type {Record<string, Record<string, any>>} */
  const imports = {};
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    imports[from] ??= {};
    imports[from][name] = kind === 'memory' ? new WebAssembly.Memory({ initial: 64, maximum: 64 }) : () => 0;
  }
  return (await WebAssembly.instantiate(module, imports)).exports;
}

/** @param {string} build @returns {Promise<((iterations: number) => number) | null>} */
async function openPeak(build) {
  try {
    const exports = await instantiate(await readFile(new URL(`../dist/${build}.wasm`, import.meta.url)));
    return /** @type {any} */ (exports).peakMultiplyAdd ?? null;
  } catch {
    // Not built, or the engine lacks relaxed SIMD: no peak to compare with, which the tables show as a dash.
    return null;
  }
}

/** @param {string[]} builds @param {number} time milliseconds for each build @returns {Promise<Peaks>} */
export async function measurePeaks(builds, time) {
  /** @type {Record<string, number>} */
  const peaks = {};
  for (const build of builds) {
    const peakMultiplyAdd = await openPeak(build);
    if (peakMultiplyAdd === null) continue;
    const milliseconds = await shortestCall(() => peakMultiplyAdd(ITERATIONS), time);
    peaks[build] = (ITERATIONS * FLOP_PER_ITERATION) / milliseconds / 1e6;
  }
  return peaks;
}

/**
 * The root's AssemblyScript compiles the read loop, so that no binary has to be kept in the repository.
 *
 * @returns {Promise<any>}
 */
async function compileRead() {
  const { default: asc } = await import('assemblyscript/asc');
  const source = await readFile(fileURLToPath(new URL('assembly/read.ts', import.meta.url)), 'utf8');
  const flags = { optimizeLevel: 3, enable: ['simd'], runtime: 'stub', noAssert: true };
  const { binary, error, stderr } = await asc.compileString(source, /** @type {any} */ (flags));
  if (error || !binary) throw new Error(`read.ts does not compile: ${stderr}`);
  return instantiate(binary.slice());
}

/** @type {Promise<any> | undefined} */
let readModule;

/**
 * @param {number} bytes size of what is read again and again
 * @param {number} time milliseconds to spend
 * @returns {Promise<number | null>} GB/s, or null without the compiler
 */
export async function measureReadBandwidth(bytes, time) {
  try {
    readModule ??= compileRead();
    const { memory, readMemory } = await readModule;
    // The first page is left to the module.
    const missing = Math.ceil(bytes / PAGE) + 1 - memory.buffer.byteLength / PAGE;
    if (missing > 0) memory.grow(missing);
    const whole = bytes - (bytes % 128);
    return whole / (await shortestCall(() => readMemory(PAGE, whole), time)) / 1e6;
  } catch {
    return null;
  }
}
