// Reports of tensors that became garbage without being disposed.

import { AttentionError, describe, invalidArgument } from './errors.js';
import type { DataType } from './elements.js';
import type { Storage } from './tensor.js';

/** A tensor that became garbage without being disposed: its memory stays taken until the runtime is disposed. */
export interface TensorLeak {
  /** Length of each axis. */
  readonly shape: readonly number[];
  /** Kind of the elements. */
  readonly dtype: DataType;
  /** Bytes of memory that are lost. */
  readonly bytes: number;
  /** Where it was made. */
  readonly stack: string;
}

/** What is told of leaks: true warns in the console, a function is called. */
export type LeakReport = boolean | ((leak: TensorLeak) => void);

export class LeakWatch {
  readonly #registry: FinalizationRegistry<TensorLeak>;

  constructor(report: (leak: TensorLeak) => void) {
    this.#registry = new FinalizationRegistry(report);
  }

  /** Views hold the storage too: only when the last one is gone can nobody free it any more. */
  add(storage: Storage, shape: readonly number[], dtype: DataType, bytes: number): void {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 30; // the ten of V8 may all be the package's own
    const { stack = '' } = new Error('made here');
    Error.stackTraceLimit = stackTraceLimit;
    this.#registry.register(storage, { shape, dtype, bytes, stack }, storage);
  }

  remove(storage: Storage): void {
    this.#registry.unregister(storage);
  }
}

/** The option `reportLeaks`: what reports are given to. */
export function readLeakReport(report: LeakReport | undefined): ((leak: TensorLeak) => void) | undefined {
  if (report === undefined || report === false) return undefined;
  if (report !== true && typeof report !== 'function') {
    throw invalidArgument('reportLeaks', 'true or a function', report);
  }
  if (!globalThis.FinalizationRegistry) {
    throw new AttentionError({
      code: 'UNSUPPORTED',
      argument: 'reportLeaks',
      expected: 'an engine that has FinalizationRegistry',
    });
  }
  return report === true ? warn : report;
}

function warn({ shape, dtype, bytes, stack }: TensorLeak): void {
  console.warn(
    `wasm-attention: garbage that was not disposed: ${dtype} ${describe(shape)}, ${bytes} bytes. ${stack}`,
  );
}
