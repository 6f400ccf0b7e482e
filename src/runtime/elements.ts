// Kinds of elements, and what arrays from outside hold: typed arrays of any realm, told by their tag, and lists.

import { dataTypeError, invalidArgument } from './errors.js';

/** Element kinds: 32-bit floats, 32-bit integers, and bytes that are 0 or not (masks). */
export type DataType = 'float32' | 'int32' | 'bool';

interface DataOf {
  readonly float32: Float32Array;
  readonly int32: Int32Array;
  readonly bool: Uint8Array;
}

/** The view of a tensor's elements: a Float32Array of 'float32', an Int32Array of 'int32', a Uint8Array of 'bool'. */
export type TensorData<Type extends DataType = DataType> = DataOf[Type];

/** The arrays of each kind. */
export const ARRAYS: {
  readonly [Type in DataType]: new (buffer: ArrayBuffer, from: number, length?: number) => DataOf[Type];
} = { float32: Float32Array, int32: Int32Array, bool: Uint8Array };

/** Throws unless there are elements of this kind. */
export function checkKind<Type extends DataType>(dtype: Type | undefined): Type | undefined {
  if (dtype === undefined || (typeof dtype === 'string' && Object.hasOwn(ARRAYS, dtype))) return dtype;
  throw dataTypeError('dtype', Object.keys(ARRAYS).join(', '), dtype);
}

/** Bytes of an element. */
export function elementBytes(dtype: DataType): number {
  return dtype === 'bool' ? 1 : 4;
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

const DATA_TYPES: Readonly<Record<string, DataType>> = {
  Float32Array: 'float32',
  Float64Array: 'float32',
  Float16Array: 'float32',
  Int32Array: 'int32',
  BigInt64Array: 'int32',
  Uint8Array: 'bool',
};

/** 'Float32Array' and the like, of whatever realm; '' for what is no view of a buffer. */
export function kindOf(array: unknown): string {
  return ArrayBuffer.isView(array) ? (array as Float32Array)[Symbol.toStringTag] : '';
}

/** Whether a list without holes holds values of these types only. */
export function isListOf(array: unknown, ...types: readonly string[]): boolean {
  return (
    Array.isArray(array) && !array.includes(undefined) && array.every((item) => types.includes(typeof item))
  );
}

/** The kind of the elements of a tensor made from an array. */
export function dataTypeOf(data: unknown): DataType {
  const dtype = DATA_TYPES[kindOf(data)];
  if (dtype) {
    if ((data as Float32Array).length === 0) checkAttached(data as Float32Array);
    return dtype;
  }
  if (isListOf(data, 'number')) return 'float32';
  if (isListOf(data, 'boolean')) return 'bool';
  const kinds = Object.keys(DATA_TYPES).join(', ');
  throw dataTypeError('data', `an array of numbers or booleans, or one of ${kinds} (booleans)`, data);
}

function checkAttached(data: Float32Array): void {
  try {
    new Uint8Array(data.buffer);
  } catch {
    throw invalidArgument(
      'data',
      'an array that is not detached (growing memory detaches views: read tensor.data anew)',
      data,
    );
  }
}

/** 64-bit integers as integers of 32 bits; all other arrays as they are. */
export function narrowed<Data>(argument: string, data: Data): Data | Int32Array {
  if (kindOf(data) !== 'BigInt64Array') return data;
  return Int32Array.from(data as ArrayLike<never>, (value: bigint, i) => {
    if (BigInt.asIntN(32, value) === value) return Number(value);
    throw invalidArgument(`${argument}[${i}]`, 'an integer of 32 bits', value);
  });
}

/** Throws unless these are numbers or booleans. */
export function checkNumbers(argument: string, values: unknown): void {
  const kind = kindOf(values);
  if (kind ? !/^(Data|BigU)/.test(kind) : isListOf(values, 'number', 'boolean')) return;
  throw dataTypeError(argument, 'an array of numbers or booleans', values);
}
