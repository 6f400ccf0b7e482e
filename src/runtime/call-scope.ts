// One call of an operation: its temporary memory, what it makes for the caller, and its steps. See `call.ts`.

import { invalidArgument } from './errors.js';
import { checkRuntime, checkTensor, dataAndShape, nameArgument } from './inputs.js';
import type { TensorLike } from './inputs.js';
import { shareElements } from './overlap.js';
import type { Runtime } from './runtime.js';
import { copyWork } from './strided.js';
import { elementBytes } from './elements.js';
import { isTensor } from './tensor.js';
import type { DataType } from './elements.js';
import type { Tensor } from './tensor.js';
import type { TensorScope } from './tidy.js';
import { runTiles } from './tiles.js';
import type { Work } from './tiles.js';

/** Part of a call: a kernel over tiles, or what has to wait for the kernels before it. */
export type Step = Work | (() => void);

/** One call of an operation: its temporary memory, what it makes for the caller, and its steps. See `call.ts`. */
export class CallScope {
  readonly runtime: Runtime;
  readonly #addresses: number[] = [];
  readonly #tensors: Tensor[] = [];
  readonly #made: { dispose(): void }[] = [];
  readonly #used: Tensor[] = [];
  readonly #undo: (() => void)[] = [];
  readonly #finally: (() => void)[] = [];
  /** Where the stack stood before, if the call may use it. */
  readonly #stackTop: number;
  /** Where steps go that do not run at once. */
  readonly #later: Step[] | undefined;

  /** True where results hold what the call reads and computes on the way: then its memory is kept for as long as they do. */
  lasting = false;
  /** To which belongs what the call makes. */
  readonly #owner: TensorScope | undefined;

  constructor(runtime: Runtime, later?: Step[], owner?: TensorScope) {
    checkRuntime(runtime);
    if (owner !== undefined) {
      if (typeof owner?.admit !== 'function') throw invalidArgument('scope', 'a TensorScope', owner);
      owner.admit(runtime);
    }
    this.runtime = runtime;
    this.#later = later;
    this.#owner = later ? owner : runtime.linearMemory.scope;
    this.#stackTop = later || runtime.threads ? 0 : runtime.linearMemory.stackTop;
  }

  /** Runs a kernel over all its tiles, now or when its turn comes. */
  run(work: Work): void {
    if (work.tiles < 1) return;
    if (this.#later) this.#later.push(work);
    else runTiles(this.runtime, work);
  }

  /** Does what needs the results of the kernels before it. */
  then(action: () => void): void {
    if (this.#later) this.#later.push(action);
    else action();
  }

  /** What takes back a change of state if the call fails. */
  onFailure(undo: () => void): void {
    this.#undo.push(undo);
  }

  /** What ends a state that lasts as long as the call. */
  onEnd(action: () => void): void {
    this.#finally.push(action);
  }

  /** A tensor for the caller; disposed if the call fails. */
  make<Type extends DataType = 'float32'>(shape: readonly number[], dtype?: Type): Tensor<Type> {
    return this.hand(this.runtime.place(shape, dtype));
  }

  /** What a call makes for the caller besides; disposed if the call fails. */
  hand<Made extends { dispose(): void }>(made: Made): Made {
    this.#made.push(made);
    return made;
  }

  /** A tensor for an object that disposes it itself, whatever scope the call is made in; disposed if the call fails. */
  makeApart(shape: readonly number[]): Tensor<'float32'> {
    const tensor = this.runtime.place(shape);
    this.onFailure(() => tensor.dispose());
    return tensor;
  }

  /** Holds the memory of a tensor: code of the caller's that runs in the call, or before it is over, could dispose it. */
  use<Type extends DataType>(tensor: Tensor<Type>): Tensor<Type> {
    tensor.retain();
    this.#used.push(tensor);
    return tensor;
  }

  /** Whether a tensor in use has an element in common with another one. */
  reads(tensor: Tensor): boolean {
    return this.#used.some((used) => used.sharesBlock(tensor) && shareElements(used, tensor));
  }

  /** Throws DISPOSED if the runtime was disposed. */
  check(): void {
    this.runtime.check();
  }

  /** Address of `bytes` bytes that live as long as the call. */
  allocate(bytes: number): number {
    const { linearMemory } = this.runtime;
    // What waits for its turn, or for threads that may not come back, does not end in the order it began.
    const pushed = this.#stackTop > 0 ? linearMemory.push(bytes) : 0;
    if (pushed) return pushed;
    const address = linearMemory.allocate(bytes);
    this.#addresses.push(address);
    return address;
  }

  /** Copies 32-bit integers into temporary memory. */
  integers(values: ArrayLike<number>): number {
    const address = this.allocate(values.length * 4);
    this.runtime.linearMemory.words.integers.set(values, address >>> 2);
    return address;
  }

  /** Copies floats into temporary memory. */
  floats(values: ArrayLike<number>): number {
    const address = this.allocate(values.length * 4);
    this.runtime.linearMemory.words.floats.set(values, address >>> 2);
    return address;
  }

  /** A tensor that lives as long as the call. Its elements are whatever the memory held. */
  temporary<Type extends DataType = 'float32'>(shape: readonly number[], dtype?: Type): Tensor<Type> {
    return this.#keep(this.runtime.place(shape, dtype, this.#lender));
  }

  /** The tensor, or a copy that lives as long as the call if its elements do not lie one after the other. */
  contiguous<Type extends DataType>(tensor: Tensor<Type>): Tensor<Type> {
    return tensor.contiguous ? tensor : this.copyOf(tensor);
  }

  get #lender(): this | undefined {
    return this.lasting ? undefined : this;
  }

  /** A copy of the elements, one after the other, that lives as long as the call. Only kernels may read it: they wait their turn. */
  copyOf<Type extends DataType>(tensor: Tensor<Type>): Tensor<Type> {
    const copy = this.temporary(tensor.shape, tensor.dtype);
    this.copy(tensor, copy);
    return copy;
  }

  /** Copies elements in order of the shape to a contiguous tensor, or joins masks with the one that lies there. */
  copy(source: Tensor, target: Tensor, joins = false): void {
    const place = (words: readonly number[]) => this.integers(words);
    this.run(copyWork(source, elementBytes(source.dtype), target.address, joins, place));
  }

  #keep<Type extends DataType>(tensor: Tensor<Type>): Tensor<Type> {
    this.#tensors.push(tensor);
    return tensor;
  }

  /** The input as a tensor of this runtime. */
  tensor(argument: string, input: TensorLike): Tensor {
    if (isTensor(input)) return this.use(checkTensor(argument, input, this.runtime));
    const { data, shape } = dataAndShape(argument, input);
    try {
      return this.#keep(this.runtime.copyOf(data, shape, this.#lender));
    } catch (error) {
      throw nameArgument(error, argument);
    }
  }

  /** Ends the call and returns its temporary memory; what it made stays only if it succeeded. */
  end(succeeded: boolean): void {
    // Memory waits until no thread that was given up can write to it any more; what the caller sees does not.
    if (!succeeded) for (const undo of this.#undo.reverse()) undo();
    for (const action of this.#finally) action();
    if (succeeded && this.#owner) for (const tensor of this.#made) this.#owner.add(tensor);
    const { threads } = this.runtime;
    if (threads) threads.whenQuiet(() => this.#release(succeeded));
    else this.#release(succeeded);
  }

  #release(succeeded: boolean): void {
    if (!succeeded) for (const tensor of this.#made) tensor.dispose();
    for (const tensor of this.#tensors) tensor.dispose();
    if (this.#stackTop > 0) this.runtime.linearMemory.stackTop = this.#stackTop;
    for (const address of this.#addresses) this.runtime.linearMemory.free(address);
    for (const tensor of this.#used) tensor.release();
  }
}
