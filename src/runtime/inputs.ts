// What operations accept as input, and what of it there has to be checked: tensors as they are; anything with data and a
// shape (tensors of other libraries), of which a copy is made that lives as long as the call (`CallScope.tensor`).

import { kindOf } from './elements.js';
import type { ArrayInput, DataType } from './elements.js';
import { AttentionError, describe, invalidArgument } from './errors.js';
import { floatsOfHalves } from '../math/half.js';
import { current } from './memory.js';
import { Runtime } from './runtime.js';
import type { Tensor } from './tensor.js';

/**
 * A tensor, or anything that has `data` (TensorFlow.js: `dataSync()`) and a `shape` or `dims`: tensors of onnxruntime-web,
 * transformers.js, TensorFlow.js, ... Its elements are copied in for the call. A Uint16Array is read as half floats if
 * `type` says 'float16', and refused otherwise.
 */
export type TensorLike =
  | Tensor
  | { readonly data: ArrayInput; readonly shape: readonly number[] }
  | { readonly data: ArrayInput; readonly dims: readonly number[] }
  | { readonly data: Uint16Array; readonly type: 'float16'; readonly dims: readonly number[] }
  | { dataSync(): ArrayInput; readonly shape: readonly number[] };

/** Throws unless this is a runtime, and not disposed. */
export function checkRuntime(runtime: Runtime): void {
  if (!(runtime instanceof Runtime)) throw invalidArgument('runtime', 'a Runtime', runtime);
  runtime.check();
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

/** What tensors of other libraries may have. */
interface Foreign {
  readonly data?: unknown;
  readonly dataSync?: () => unknown;
  readonly shape?: readonly number[];
  readonly dims?: readonly number[];
  readonly type?: unknown;
}

/** The contents and the shape of a tensor of another library. */
export function dataAndShape(
  argument: string,
  input: unknown,
): { data: ArrayInput; shape: readonly number[] } {
  const given = (input ?? {}) as Foreign;
  const shape = given.shape ?? given.dims;
  const data = typeof input === 'object' ? dataOf(given) : undefined;
  if (shape !== undefined && data !== undefined && typeof data !== 'function') {
    const halves = given.type === 'float16' && kindOf(data) === 'Uint16Array';
    return { data: halves ? floatsOfHalves(data as Uint16Array) : (data as ArrayInput), shape };
  }
  throw new AttentionError({
    code: 'INVALID_ARGUMENT',
    argument,
    expected: 'a Tensor, { data, shape }, { data, dims } or { dataSync(), shape }',
    received: typeof data === 'function' ? 'a tensor whose data is a function' : describe(input),
  });
}

/** TensorFlow.js has a method called `data`, which promises; what it has at once is what `dataSync` returns. */
function dataOf(input: Foreign): unknown {
  return current(typeof input.dataSync === 'function' ? input.dataSync() : input.data);
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
export function checkDataType<Type extends DataType>(
  argument: string,
  tensor: Tensor,
  ...kinds: readonly Type[]
): asserts tensor is Tensor<Type> {
  if (!kinds.includes(tensor.dtype as Type)) {
    throw new AttentionError({
      code: 'INVALID_DTYPE',
      argument,
      expected: `elements of type ${kinds.join(' or ')}`,
      received: tensor.dtype,
    });
  }
}
