// An operation, described once: what it is given, by name, and what it does in the scope of a call. Its forms follow from that:
//
//   callNow       steps run where they stand                                                            (call.ts)
//   callAsync     steps run in slices of a few milliseconds between turns of the event loop             (call.ts)
//   in a worker   a message that names the operation and its inputs                       (worker/operations.ts)
//
// The exported functions are nothing but signatures over these, so that programs and bundlers see plain functions.

import type { CallScope } from './call-scope.js';
import type { Names } from './checks.js';
import { AttentionError } from './errors.js';
import { Runtime, runtimeOf } from './runtime.js';
import { isTensor } from './tensor.js';

export interface Operation<Inputs extends readonly unknown[], Options extends object, Result> {
  /** Names of the inputs, in order: what a worker's messages call them. */
  readonly inputs: { readonly [Index in keyof Inputs]: string };
  /** Names of the options. */
  readonly options: Names;
  /** The runtime of inputs that know theirs; without it, the one in the options or that of the first tensor. */
  readonly runtime?: (inputs: Inputs, options: Options) => Runtime;
  /**
   * Checks, allocates, and hands kernels to the scope. Nothing it does depends on what a kernel has computed, unless it stands
   * in `scope.then`.
   */
  readonly run: (scope: CallScope, inputs: Inputs, options: Options) => Result;
}

/** What every operation can be taken for. */
export interface AnyOperation extends Pick<Operation<never, never, unknown>, 'options' | 'run'> {
  readonly inputs: readonly string[];
  readonly runtime?: (inputs: never, options: never) => Runtime;
}

/** The runtime in the options, or that of the first tensor among the inputs. */
export function runtimeAmong(inputs: readonly unknown[], options: object = {}): Runtime {
  const { runtime } = options as { readonly runtime?: Runtime | undefined };
  if (runtime !== undefined) return runtime;
  for (const input of inputs) if (isTensor(input)) return runtimeOf(input);
  throw new AttentionError({
    code: 'INVALID_ARGUMENT',
    argument: 'runtime',
    expected: 'at least one Tensor among the inputs, or { runtime } in the options',
    received: 'plain arrays only',
  });
}
