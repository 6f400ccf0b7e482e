// A tensor: a shaped, possibly strided view of a block of linear memory. Views share their block; disposing the tensor
// that owns the block ends them all.

import { disposeSymbol } from './disposable.js';
import { ARRAYS, checkNumbers, elementBytes, narrowed } from './elements.js';
import type { DataType, TensorData } from './elements.js';
import { AttentionError, describe, invalidArgument, shapeError } from './errors.js';
import { contiguousStrides, layoutOf, plainLayout, readShape, sameShape, sizeOf } from './layout.js';
import type { LinearMemory } from './memory.js';
import { copyWork } from './strided.js';

/** Who gives memory: to keep until it is freed, or for as long as a call runs. */
export interface Lender {
  /** Address of `bytes` bytes at a multiple of 64. Throws OUT_OF_MEMORY. */
  allocate(bytes: number): number;
}

/** A block of memory with one owner. */
export class Storage {
  readonly memory: LinearMemory;
  readonly address: number;
  /** The tensor that was made with it, or the last view that got a share of it. */
  owner: Tensor | undefined;
  readonly #lent: boolean;
  /** How many tensors own it, and must be disposed before it is free. */
  #owners = 1;
  #holds = 0;

  /** @param lender takes the memory back by itself; without one it is freed here */
  constructor(memory: LinearMemory, bytes: number, lender?: Lender) {
    this.memory = memory;
    this.address = (lender ?? memory).allocate(bytes);
    this.#lent = lender !== undefined;
    if (!this.#lent) memory.tensors++;
  }

  get live(): boolean {
    return this.#owners > 0 && this.memory.live;
  }

  /** Another owner. */
  share(): void {
    this.#owners++;
  }

  /** One owner less. */
  free(): void {
    if (--this.#owners > 0) return;
    if (!this.#lent) this.memory.tensors--;
    this.memory.leaks?.remove(this);
    if (this.#holds === 0) this.#giveBack();
  }

  /** The memory is not given to others before as many calls of `release`. */
  retain(): void {
    this.#holds++;
  }

  release(): void {
    this.#holds--;
    if (this.#holds === 0 && this.#owners === 0) this.#giveBack();
  }

  #giveBack(): void {
    if (!this.#lent) this.memory.free(this.address);
  }
}

/** A tensor of memory of its own, kept until it is disposed, or lent. Its elements are whatever the memory held. */
export function makeTensor<Type extends DataType = 'float32'>(
  memory: LinearMemory,
  givenShape: readonly number[],
  dtype: Type = 'float32' as Type,
  lender?: Lender,
): Tensor<Type> {
  const { shape, strides } = lender ? plainLayout(givenShape) : layoutOf(givenShape);
  const bytes = sizeOf(shape) * elementBytes(dtype);
  const storage = new Storage(memory, bytes, lender);
  if (!lender) memory.leaks?.add(storage, shape, dtype, bytes);
  const tensor = new Tensor(storage, dtype, shape, strides, 0, true);
  storage.owner = tensor;
  return tensor;
}

const inspect: unique symbol = Symbol.for('nodejs.util.inspect.custom') as never;

/** Values that the text of a tensor shows. */
const MOST_SHOWN = 8;

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
  #owner: boolean;
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
    return this.#copyTo(new Float32Array(this.size));
  }

  /**
   * A new tensor with the same elements in order of the shape, also of one that is contiguous already.
   *
   * @throws AttentionError OUT_OF_MEMORY, DISPOSED
   */
  toContiguous(): Tensor<Type> {
    this.#check();
    const { memory } = this;
    let table = 0;
    const place = (words: readonly number[]) => {
      table = memory.allocate(4 * words.length);
      memory.words.integers.set(words, table >>> 2);
      return table;
    };
    try {
      const work = copyWork(this, elementBytes(this.dtype), 0, false, place);
      const copy = makeTensor(memory, this.shape, this.dtype);
      work.args[3] = copy.address;
      memory.kernels!.copyElements(...work.args, 0, 0, work.tiles);
      memory.scope?.add(copy);
      return copy;
    } finally {
      if (table) memory.free(table);
    }
  }

  #copyTo(target: Float32Array): Float32Array {
    const source = this.#block;
    const { length, stride } = lastAxis(this.shape, this.strides);
    let at = 0;
    forEachRow(this.shape, this.strides, this.#offset, (offset) => {
      if (stride === 1) target.set(source.subarray(offset, offset + length), at);
      else for (let i = 0; i < length; i++) target[at + i] = source[offset + i * stride]!;
      at += length;
    });
    return target;
  }

  /** Overwrites the elements, given in order of the shape. */
  set(values: ArrayLike<number | boolean>): this {
    checkNumbers('values', values);
    const numbers = narrowed('values', values) as ArrayLike<number>;
    if (numbers.length !== this.size) {
      throw shapeError('values', `${this.size} elements`, values);
    }
    this.#check();
    if (this.contiguous) {
      this.data.set(numbers);
      return this;
    }
    const target = this.#block;
    const { length, stride } = lastAxis(this.shape, this.strides);
    let at = 0;
    forEachRow(this.shape, this.strides, this.#offset, (offset) => {
      for (let i = 0; i < length; i++) target[offset + i * stride] = Number(numbers[at++]);
    });
    return this;
  }

  /** The same elements under another shape, without a copy. The tensor must be contiguous, or only its last axis split. */
  reshape(shape: readonly number[]): Tensor<Type> {
    this.#check();
    const layout = layoutOf(readShape('shape', shape));
    const last = this.shape.length - 1;
    const rest = layout.shape.slice(last);
    const splitsLast =
      last >= 0 &&
      sameShape(this.shape.slice(0, last), layout.shape.slice(0, last)) &&
      sizeOf(rest) === this.shape[last];
    if (splitsLast) {
      const inner = contiguousStrides(rest).map((stride) => stride * this.strides[last]!);
      return this.#viewOf(layout.shape, [...this.strides.slice(0, last), ...inner], this.#offset);
    }
    if (sizeOf(layout.shape) !== this.size || !this.contiguous) {
      throw new AttentionError({
        code: 'INVALID_SHAPE',
        argument: 'shape',
        expected: `${this.size} elements of a contiguous tensor, or its last axis split`,
        received: `${describe(shape)} from ${describe(this.shape)}`,
      });
    }
    return this.#viewOf(layout.shape, layout.strides, this.#offset);
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
    this.#check();
    return new Tensor(this.#storage, this.dtype, shape, strides, this.#offset + from, false);
  }

  /** @internal The same elements with axes of length 1 in front; the tensor itself if none is missing. */
  withRank(rank: number): Tensor<Type> {
    const missing = rank - this.shape.length;
    if (missing === 0) return this;
    const shape = [...new Array<number>(missing).fill(1), ...this.shape];
    const strides = [...new Array<number>(missing).fill(0), ...this.strides];
    return this.withLayout(shape, strides);
  }

  /** @internal Whether both are views of one block of memory. */
  sharesBlock(other: Tensor): boolean {
    return this.#storage === other.#storage;
  }

  /** @internal The tensor that owns the memory. */
  get owner(): Tensor {
    return this.#storage.owner!;
  }

  /** @internal Makes a view one of the owners. */
  own(): void {
    this.#check();
    if (this.#owner) return;
    this.#owner = true;
    this.#storage.owner = this;
    this.#storage.share();
  }

  /** @internal The same elements as a tensor that owns the memory, too. */
  share(): Tensor<Type> {
    const shared = this.withLayout(this.shape, this.strides);
    shared.#owner = true;
    this.#storage.share();
    return shared;
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
    if (this.#disposed) return;
    this.#disposed = true;
    this.#view = undefined;
    if (this.#owner) this.#storage.free();
  }

  /** What `using` calls: `dispose`. */
  [disposeSymbol](): void {
    this.dispose();
  }

  /** Kind, shape and first elements, for people. Never throws. */
  toString(): string {
    const shown = Math.min(this.size, MOST_SHOWN);
    const values = this.disposed
      ? 'disposed'
      : Array.from({ length: shown }, (_, i) => this.#at(i)).join(', ') + (shown < this.size ? ', ...' : '');
    return `Tensor ${this.dtype} ${describe(this.shape)} (${values})`;
  }

  /** @internal What the consoles of Node, Deno and Bun show. */
  [inspect](): string {
    return this.toString();
  }

  /** The element at a place in the order of the shape, to six digits. */
  #at(place: number): number {
    let rest = place;
    let offset = this.#offset;
    for (let axis = this.shape.length - 1; axis >= 0; axis--) {
      offset += (rest % this.shape[axis]!) * this.strides[axis]!;
      rest = Math.floor(rest / this.shape[axis]!);
    }
    return Number(this.#block[offset]!.toPrecision(6));
  }

  /** The memory from the first element of the block on. */
  get #block(): TensorData {
    return new ARRAYS[this.dtype](this.#storage.memory.buffer, this.#storage.address);
  }

  #viewOf(shape: readonly number[], strides: readonly number[], offset: number): Tensor<Type> {
    this.#check();
    const [ownShape, ownStrides] = [Object.freeze(shape), Object.freeze(strides)];
    return new Tensor(this.#storage, this.dtype, ownShape, ownStrides, offset, false);
  }

  #axis(argument: string, axis: number): number {
    const rank = this.shape.length;
    if (Number.isInteger(axis) && -rank <= axis && axis < rank) return axis < 0 ? axis + rank : axis;
    throw invalidArgument(argument, `an axis of a tensor of rank ${rank}`, axis);
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
