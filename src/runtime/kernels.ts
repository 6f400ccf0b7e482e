// The exports of the WebAssembly module as TypeScript sees them, and how a module becomes an instance.
// Signatures follow assembly/index.ts; pointers and sizes are numbers of bytes unless said otherwise.

import { instantiateSync } from '@assemblyscript/loader';

import { AttentionError } from './errors.js';
import { compile } from './wasm-source.js';
import type { WasmSource } from './wasm-source.js';

export interface Kernels {
  heapBase(): number;
  packColumns(source: number, sourceStride: number, columns: number, depth: number, target: number): void;
  packRows(
    source: number,
    sourceStride: number,
    depth: number,
    columns: number,
    target: number,
    panelDepth: number,
  ): void;
  product(
    x: number,
    xStride: number,
    rows: number,
    depth: number,
    panels: number,
    columns: number,
    panelFrom: number,
    panelTo: number,
    bias: number,
    y: number,
    yStride: number,
    rowsInBlock: number,
    scratch: number,
    tileFrom: number,
    tileTo: number,
  ): void;
  productScratchBytes(rowsInBlock: number, depth: number): number;
  softmaxRows(x: number, y: number, columns: number, scratch: number, rowFrom: number, rowTo: number): void;
  softmaxScratchBytes(columns: number): number;
  attentionForward(parameters: number, scratch: number, tileFrom: number, tileTo: number): void;
  attentionWeights(parameters: number, scratch: number, tileFrom: number, tileTo: number): void;
  attentionTiles(parameters: number): number;
  /** Tiles that had better run in one call. */
  attentionGrain(parameters: number): number;
  columnSums(parameters: number, scratch: number, tileFrom: number, tileTo: number): void;
  columnTiles(parameters: number): number;
  entropies(parameters: number, scratch: number, tileFrom: number, tileTo: number): void;
  topKeys(parameters: number, scratch: number, tileFrom: number, tileTo: number): void;
  mergeAttention(
    outputs: number,
    logSumExps: number,
    parts: number,
    dim: number,
    output: number,
    logSumExp: number,
    scratch: number,
    rowFrom: number,
    rowTo: number,
  ): void;
  linearAttention(parameters: number, scratch: number, tileFrom: number, tileTo: number): void;
  linearAttentionStateBytes(headDim: number, valueHeadDim: number): number;
  appendParametersBytes(): number;
  appendScratchBytes(parameters: number): number;
  cacheAppend(parameters: number, scratch: number): void;
  pageHeadBytes(headDim: number, valueHeadDim: number, storage: number): number;
  rotary(
    x: number,
    batchStride: number,
    headStride: number,
    rowStride: number,
    heads: number,
    length: number,
    positions: number,
    positionsBatchStride: number,
    cos: number,
    sin: number,
    half: number,
    interleaved: number,
    scratch: number,
    rowFrom: number,
    rowTo: number,
  ): void;
  attentionParametersBytes(): number;
  workspaceBytes(parameters: number): number;
  /** `keyElements`: keys times headDim. */
  queriesPerBlock(queries: number, group: number, keyElements: number): number;
  /** 96 flop an iteration, for measuring the engine's peak. */
  peakMultiplyAdd(iterations: number, left: number, right: number): number;
  /** Reads bytes, a multiple of 128, for measuring the bandwidth. */
  readMemory(from: number, bytes: number): number;
  exp2Array(from: number, to: number, table: number): void;
  tanhArray(from: number, to: number, table: number): void;
}

/** The ways the kernels were compiled; see `createRuntime`. */
export type Build = 'simd' | 'relaxed';

export interface LoadedKernels {
  readonly kernels: Kernels;
  readonly module: WebAssembly.Module;
}

/** Compiles and instantiates a build over the given memory. */
export async function loadKernels(
  build: Build,
  source: WasmSource | undefined,
  memory: WebAssembly.Memory,
  shared: boolean,
): Promise<LoadedKernels> {
  const module = await compile(build, source, shared);
  try {
    // The loader's asynchronous form looks for a global Response, which takes Node 25 ms to make.
    const { exports } = instantiateSync(module, { env: { memory } });
    return { kernels: exports as unknown as Kernels, module };
  } catch (cause) {
    throw new AttentionError({
      code: 'UNSUPPORTED',
      message: `the ${build} build could not be loaded by this engine: ${String((cause as Error)?.message ?? cause)}`,
      cause,
    });
  }
}
