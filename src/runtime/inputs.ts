// What operations accept as input, and how it becomes a tensor: tensors as they are; anything with data and a shape
// (tensors of other libraries) by a copy that lives as long as the call.

import { AttentionError, describe } from './errors.js';
import { runtimeOf } from './runtime.js';
import type { ArrayInput, Runtime } from './runtime.js';
import { Tensor } from './tensor.js';

/** A tensor, or anything that has `data` and a `shape` or `dims`: tensors of onnxruntime, transformers.js, ... */
export type TensorLike =
  | Tensor
  | { readonly data: ArrayInput; readonly shape: readonly number[] }
  | { readonly data: ArrayInput; readonly dims: readonly number[] };

/** Temporary memory of one call; `release` returns all of it. */
export class CallScope {
  readonly runtime: Runtime;
  readonly #addresses: number[] = [];
  readonly #tensors: Tensor[] = [];

  constructor(runtime: Runtime) {
    runtime.check();
    this.runtime = runtime;
  }

  /** Address of `bytes` bytes that live until `release`. */
  allocate(bytes: number): number {
    const address = this.runtime.linearMemory.allocate(bytes);
    this.#addresses.push(address);
    return address;
  }

  /** Copies 32-bit integers into temporary memory. */
  integers(values: Int32Array): number {
    const address = this.allocate(values.byteLength);
    new Int32Array(this.runtime.linearMemory.buffer, address, values.length).set(values);
    return address;
  }

  /** Copies floats into temporary memory. */
  floats(values: Float32Array): number {
    const address = this.allocate(values.byteLength);
    new Float32Array(this.runtime.linearMemory.buffer, address, values.length).set(values);
    return address;
  }

  /** Keeps a tensor until `release` disposes it. */
  keep(tensor: Tensor): Tensor {
    this.#tensors.push(tensor);
    return tensor;
  }

  /** The input as a tensor of this runtime. */
  tensor(argument: string, input: TensorLike): Tensor {
    if (input instanceof Tensor) return checkTensor(argument, input, this.runtime);
    const { data, shape } = dataAndShape(argument, input);
    try {
      return this.keep(this.runtime.tensor(data, shape));
    } catch (error) {
      throw nameArgument(error, argument);
    }
  }

  release(): void {
    for (const tensor of this.#tensors) tensor.dispose();
    for (const address of this.#addresses) this.runtime.linearMemory.free(address);
    this.#tensors.length = 0;
    this.#addresses.length = 0;
  }
}

/** The runtime to compute in: the one given, or that of the first tensor among the inputs. */
export function findRuntime(given: Runtime | undefined, inputs: readonly unknown[]): Runtime {
  if (given) return given;
  for (const input of inputs) {
    if (!(input instanceof Tensor)) continue;
    return runtimeOf(input);
  }
  throw new AttentionError({
    code: 'INVALID_ARGUMENT',
    argument: 'runtime',
    expected: 'at least one Tensor among the inputs, or { runtime } in the options',
    received: 'plain arrays only',
  });
}

/** Throws if the tensor is disposed or lives in another runtime. */
export function checkTensor(argument: string, tensor: Tensor, runtime: Runtime): Tensor {
  if (tensor.disposed) {
    throw new AttentionError({
      code: 'DISPOSED',
      argument,
      expected: 'a live tensor',
      received: 'a disposed one',
    });
  }
  if (tensor.memory !== runtime.linearMemory) {
    throw new AttentionError({
      code: 'INVALID_ARGUMENT',
      argument,
      expected: 'a tensor of the same runtime',
      received: 'a tensor of another runtime',
    });
  }
  return tensor;
}

function dataAndShape(argument: string, input: unknown): { data: ArrayInput; shape: readonly number[] } {
  if (input !== null && typeof input === 'object' && 'data' in input) {
    const { data, shape, dims } = input as {
      data: ArrayInput;
      shape?: readonly number[];
      dims?: readonly number[];
    };
    const given = shape ?? dims;
    if (given !== undefined && data !== undefined) return { data, shape: Array.from(given) };
  }
  throw new AttentionError({
    code: 'INVALID_ARGUMENT',
    argument,
    expected: 'a Tensor, { data, shape } or { data, dims }',
    received: describe(input),
  });
}

/** The same error under the name the caller knows the argument by. */
export function nameArgument(error: unknown, argument: string): unknown {
  if (!(error instanceof AttentionError) || error.argument === undefined) return error;
  const { code, expected, received } = error;
  return new AttentionError({
    code,
    argument: `${argument}.${error.argument}`,
    expected,
    received,
    cause: error,
  });
}

/** Throws unless the tensor has the element kind. */
export function checkDataType(argument: string, tensor: Tensor, ...kinds: readonly string[]): void {
  if (!kinds.includes(tensor.dtype)) {
    throw new AttentionError({
      code: 'INVALID_DTYPE',
      argument,
      expected: `elements of type ${kinds.join(' or ')}`,
      received: tensor.dtype,
    });
  }
}

/** A shape error in the usual words. */
export function shapeError(argument: string, expected: string, received: readonly number[]): AttentionError {
  return new AttentionError({ code: 'INVALID_SHAPE', argument, expected, received: describe(received) });
}
