// A tensor: a shaped, possibly strided view of a block of linear memory. Views share their block; disposing the tensor
// that owns the block ends them all.

import { AttentionError, describe, invalidArgument, shapeError } from './errors.js';
import type { LinearMemory } from './memory.js';

/** Element kinds: 32-bit floats, 32-bit integers, and bytes that are 0 or not (masks). */
export type DataType = 'float32' | 'int32' | 'bool';

interface DataOf {
  readonly float32: Float32Array;
  readonly int32: Int32Array;
  readonly bool: Uint8Array;
}

/** The view of a tensor's elements: a Float32Array of 'float32', an Int32Array of 'int32', a Uint8Array of 'bool'. */
export type TensorData<Type extends DataType = DataType> = DataOf[Type];

const ARRAYS: {
  readonly [Type in DataType]: new (buffer: ArrayBuffer, from: number, length?: number) => DataOf[Type];
} = { float32: Float32Array, int32: Int32Array, bool: Uint8Array };

/** Bytes of an element. */
export function elementBytes(dtype: DataType): number {
  return dtype === 'bool' ? 1 : 4;
}

/** The engine's Symbol.dispose, or a stand-in of the same name where it has none yet. */
export const disposeSymbol: typeof Symbol.dispose = Symbol.dispose ?? Symbol.for('Symbol.dispose');

/** Who gives memory: to keep until it is freed, or for as long as a call runs. */
export interface Lender {
  /** Address of `bytes` bytes at a multiple of 64. Throws OUT_OF_MEMORY. */
  allocate(bytes: number): number;
}

/** A block of memory with one owner. */
export class Storage {
  readonly memory: LinearMemory;
  readonly address: number;
  readonly #lent: boolean;
  #live = true;
  #holds = 0;

  /** @param lender takes the memory back by itself; without one it is freed here */
  constructor(memory: LinearMemory, bytes: number, lender?: Lender) {
    this.memory = memory;
    this.address = (lender ?? memory).allocate(bytes);
    this.#lent = lender !== undefined;
  }

  get live(): boolean {
    return this.#live && this.memory.live;
  }

  free(): void {
    if (!this.#live) return;
    this.#live = false;
    if (this.#holds === 0) this.#giveBack();
  }

  /** The memory is not given to others before as many calls of `release`. */
  retain(): void {
    this.#holds++;
  }

  release(): void {
    this.#holds--;
    if (this.#holds === 0 && !this.#live) this.#giveBack();
  }

  #giveBack(): void {
    if (!this.#lent) this.memory.free(this.address);
  }
}

/** Product of a shape's sizes. */
export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (const length of shape) size *= length;
  return size;
}

/** Strides, in elements, of a contiguous tensor. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis]!;
  }
  return strides;
}

/**
 * A shaped view of linear memory. Made by `runtime.tensor` (copies in), `runtime.empty` (to be written through `data`)
 * and by operations. Sizes may be 0.
 *
 * @typeParam Type kind of the elements, which `data` is an array of; where it is not known, any
 *
 * @example
 * ```js
 * const tensor = runtime.tensor([1, 2, 3, 4, 5, 6], [2, 3]);
 * tensor.transpose(0, 1).shape; // [3, 2]
 * tensor.slice(0, 1, 2).toFloat32Array(); // [4, 5, 6]
 * tensor.dispose();
 * ```
 */
export class Tensor<Type extends DataType = DataType> {
  /** Kind of the elements. */
  readonly dtype: Type;
  /** Length of each axis; the last one varies fastest. */
  readonly shape: readonly number[];
  /** Steps along each axis, in elements. */
  readonly strides: readonly number[];
  readonly #storage: Storage;
  readonly #offset: number;
  readonly #owner: boolean;
  #disposed = false;
  #view: TensorData<Type> | undefined;

  /** @internal */
  constructor(
    storage: Storage,
    dtype: Type,
    shape: readonly number[],
    strides: readonly number[],
    offset: number,
    owner: boolean,
  ) {
    this.#storage = storage;
    this.dtype = dtype;
    this.shape = shape;
    this.strides = strides;
    this.#offset = offset;
    this.#owner = owner;
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /** True once this tensor, the tensor it is a view of, or its runtime was disposed. */
  get disposed(): boolean {
    return this.#disposed || !this.#storage.live;
  }

  /** Whether the elements lie one after the other, in order of the shape. */
  get contiguous(): boolean {
    let stride = 1;
    for (let axis = this.shape.length - 1; axis >= 0; axis--) {
      if (this.shape[axis] !== 1 && this.strides[axis] !== stride) return false;
      stride *= this.shape[axis]!;
    }
    return true;
  }

  /** @internal Address of the first element. */
  get address(): number {
    this.#check();
    return this.#storage.address + this.#offset * elementBytes(this.dtype);
  }

  /** @internal The memory the tensor lies in: tells tensors of different runtimes apart. */
  get memory(): LinearMemory {
    return this.#storage.memory;
  }

  /**
   * The elements themselves, without a copy: reading and writing goes straight to linear memory. Growth of the memory
   * detaches a view that was kept; `tensor.data` gives a fresh one each time it is needed.
   *
   * @throws AttentionError DISPOSED; INVALID_STATE if the tensor is not contiguous (use `toFloat32Array`).
   */
  get data(): TensorData<Type> {
    this.#check();
    const buffer = this.#storage.memory.buffer;
    if (this.#view === undefined || this.#view.buffer !== buffer) {
      if (!this.contiguous) {
        throw new AttentionError({
          code: 'INVALID_STATE',
          argument: 'tensor.data',
          expected: 'a contiguous tensor (toFloat32Array copies a strided one)',
          received: `shape ${describe(this.shape)} with strides ${describe(this.strides)}`,
        });
      }
      this.#view = new ARRAYS[this.dtype](buffer, this.address, this.size);
    }
    return this.#view;
  }

  /** A copy that outlives the tensor. Integers and booleans become floats. */
  toFloat32Array(): Float32Array {
    this.#check();
    if (this.contiguous) return new Float32Array(this.data);
    const result = new Float32Array(this.size);
    const source = new ARRAYS[this.dtype](this.#storage.memory.buffer, this.#storage.address);
    const { length, stride } = lastAxis(this.shape, this.strides);
    let at = 0;
    forEachRow(this.shape, this.strides, this.#offset, (offset) => {
      if (stride === 1) result.set(source.subarray(offset, offset + length), at);
      else for (let i = 0; i < length; i++) result[at + i] = source[offset + i * stride]!;
      at += length;
    });
    return result;
  }

  /** Overwrites the elements, given in order of the shape. */
  set(values: ArrayLike<number | boolean>): this {
    if (values.length !== this.size) {
      throw shapeError('values', `${this.size} elements`, values);
    }
    this.#check();
    if (this.contiguous) {
      this.data.set(values as ArrayLike<number>);
      return this;
    }
    const target = new ARRAYS[this.dtype](this.#storage.memory.buffer, this.#storage.address);
    const { length, stride } = lastAxis(this.shape, this.strides);
    let at = 0;
    forEachRow(this.shape, this.strides, this.#offset, (offset) => {
      for (let i = 0; i < length; i++) target[offset + i * stride] = Number(values[at++]);
    });
    return this;
  }

  /** The same elements under another shape, without a copy. The tensor must be contiguous, or only its last axis split. */
  reshape(shape: readonly number[]): Tensor<Type> {
    this.#check();
    const last = this.shape.length - 1;
    const kept = this.shape.slice(0, last);
    const rest = shape.slice(last);
    const splitsLast =
      last >= 0 && kept.every((length, axis) => length === shape[axis]) && sizeOf(rest) === this.shape[last];
    if (splitsLast) {
      const inner = contiguousStrides(rest).map((stride) => stride * this.strides[last]!);
      return this.#viewOf(shape, [...this.strides.slice(0, last), ...inner], this.#offset);
    }
    if (sizeOf(shape) !== this.size || !this.contiguous) {
      throw new AttentionError({
        code: 'INVALID_SHAPE',
        argument: 'shape',
        expected: `${this.size} elements of a contiguous tensor, or its last axis split`,
        received: `${describe(shape)} from ${describe(this.shape)}`,
      });
    }
    return this.#viewOf(shape, contiguousStrides(shape), this.#offset);
  }

  /** A view with two axes exchanged. Negative axes count from the end. */
  transpose(first: number, second: number): Tensor<Type> {
    const a = this.#axis('first', first);
    const b = this.#axis('second', second);
    const shape = [...this.shape];
    const strides = [...this.strides];
    [shape[a], shape[b]] = [shape[b]!, shape[a]!];
    [strides[a], strides[b]] = [strides[b]!, strides[a]!];
    return this.#viewOf(shape, strides, this.#offset);
  }

  /** A view of the places [from, to) along an axis. */
  slice(axis: number, from: number, to: number): Tensor<Type> {
    const along = this.#axis('axis', axis);
    const length = this.shape[along]!;
    if (!(Number.isInteger(from) && Number.isInteger(to) && 0 <= from && from <= to && to <= length)) {
      throw new AttentionError({
        code: 'INVALID_ARGUMENT',
        argument: 'slice',
        expected: `0 <= from <= to <= ${length}`,
        received: `from ${describe(from)}, to ${describe(to)}`,
      });
    }
    const shape = this.shape.map((size, i) => (i === along ? to - from : size));
    return this.#viewOf(shape, this.strides, this.#offset + from * this.strides[along]!);
  }

  /** @internal The same block under any shape and strides, from any element on. The caller answers for the bounds. */
  withLayout(shape: readonly number[], strides: readonly number[], from = 0): Tensor<Type> {
    return this.#viewOf(shape, strides, this.#offset + from);
  }

  /** @internal Holds the memory, whoever disposes it, until `release`. */
  retain(): void {
    this.#storage.retain();
  }

  /** @internal */
  release(): void {
    this.#storage.release();
  }

  /** Frees the memory if this tensor owns it, and with it every view; for a view, ends the view only. Safe to repeat. */
  dispose(): void {
    this.#disposed = true;
    this.#view = undefined;
    if (this.#owner) this.#storage.free();
  }

  /** What `using` calls: `dispose`. */
  [disposeSymbol](): void {
    this.dispose();
  }

  #viewOf(shape: readonly number[], strides: readonly number[], offset: number): Tensor<Type> {
    this.#check();
    return new Tensor(this.#storage, this.dtype, shape, strides, offset, false);
  }

  #axis(argument: string, axis: number): number {
    const rank = this.shape.length;
    const positive = axis < 0 ? axis + rank : axis;
    if (!Number.isInteger(positive) || positive < 0 || positive >= rank) {
      throw invalidArgument(argument, `an axis of a tensor of rank ${rank}`, axis);
    }
    return positive;
  }

  #check(): void {
    if (this.disposed) throw new AttentionError({ code: 'DISPOSED', message: 'the tensor was disposed' });
  }
}

/** Of any kind: `instanceof` alone would leave the kind of the elements unchecked. */
export function isTensor(value: unknown): value is Tensor {
  return value instanceof Tensor;
}

function lastAxis(shape: readonly number[], strides: readonly number[]): { length: number; stride: number } {
  return { length: shape.at(-1) ?? 1, stride: strides.at(-1) ?? 1 };
}

/** Calls `visit` with the offset of the first element of each row of the last axis, in order of the shape. */
function forEachRow(
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
  visit: (offset: number) => void,
  axis = 0,
): void {
  if (axis >= shape.length - 1) {
    visit(offset);
    return;
  }
  for (let i = 0; i < shape[axis]!; i++) {
    forEachRow(shape, strides, offset + i * strides[axis]!, visit, axis + 1);
  }
}
