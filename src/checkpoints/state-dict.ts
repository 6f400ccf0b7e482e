// A checkpoint as tensors by name, and what is read of one of them: its shape, and its values as floats.

import { isListOf, kindOf } from '../runtime/elements.js';
import { dataTypeError, describe, invalidArgument, shapeError } from '../runtime/errors.js';
import { checkDataType, checkTensor, dataAndShape } from '../runtime/inputs.js';
import { sizeOf } from '../runtime/layout.js';
import { runtimeOf } from '../runtime/runtime.js';
import { isTensor } from '../runtime/tensor.js';

/** A tensor of a checkpoint: a `Tensor` with any strides, or one of any other library, as operations take it. */
export interface StateDictTensor {
  /** Row-major values, as many as the product of the shape: float16, float32, float64 or an array of numbers. */
  readonly data?: unknown;
  /** The shape, outermost axis first; or `dims`. */
  readonly shape?: readonly number[] | undefined;
  /** The shape, by the name that ONNX libraries use. */
  readonly dims?: readonly number[] | undefined;
}

/** A checkpoint: tensors by name. */
export type StateDict = Readonly<Record<string, StateDictTensor>>;

export function shapeOf(stateDict: StateDict, name: string): readonly number[] {
  const tensor: unknown = stateDict[name];
  const { shape, dims } = (tensor ?? {}) as Partial<StateDictTensor>;
  const sizes: unknown = shape ?? dims;
  if (Array.isArray(sizes) && sizes.every((size) => Number.isSafeInteger(size) && size >= 0))
    return sizes as number[];
  throw invalidArgument(
    tensorLabel(name),
    'a tensor with data and a shape (or dims) of integers >= 0',
    sizes ?? tensor,
  );
}

/** Values in row-major order; the checkpoint's own array if it holds float32. */
export function valuesOf(stateDict: StateDict, name: string, shape: readonly number[]): Float32Array {
  const values = floatsOf(tensorLabel(name), stateDict[name]);
  const size = sizeOf(shape);
  if (values.length === size) return values;
  throw shapeError(tensorLabel(name), `${size} values for shape ${describe(shape)}`, values.length);
}

/** Integers are refused: in a checkpoint they are quantized values or the bits of another type. */
function floatsOf(label: string, tensor: unknown): Float32Array {
  if (isTensor(tensor)) {
    checkDataType(label, checkTensor(label, tensor, runtimeOf(tensor)), 'float32');
    return tensor.toFloat32Array();
  }
  const data: unknown = dataAndShape(label, tensor).data;
  const kind = kindOf(data);
  if (kind === 'Float32Array') return data as Float32Array;
  if (kind === 'Float64Array' || kind === 'Float16Array' || isListOf(data, 'number')) {
    return Float32Array.from(data as ArrayLike<number>);
  }
  throw dataTypeError(
    label,
    'data as a Float32Array, Float64Array, Float16Array or an array of numbers',
    data,
  );
}

/** What errors call a tensor. */
export function tensorLabel(name: string): string {
  return `tensor ${describe(name)}`;
}
