// The linear memory of a runtime: a WebAssembly.Memory with an allocator over it.

import { Allocator, ALIGNMENT } from './allocator.js';
import type { MemoryStatistics } from './allocator.js';
import { kindOf } from './elements.js';
import { AttentionError } from './errors.js';
import type { Kernels } from './kernels.js';
import { LeakWatch } from './leaks.js';
import type { TensorLeak } from './leaks.js';
import type { TensorScope } from './tidy.js';
import { eachObject } from './walk.js';

const PAGE = 65536;
/** 4 GiB, what 32-bit addresses reach. */
export const MAXIMUM_BYTES = 65536 * PAGE;
/** Room at the start: enough for small layers without growing. */
const INITIAL_BYTES = 2 * 1024 * 1024;

/** Small memories grow by no more than that beyond what is needed. */
const LARGE_STEP = 4 * 1024 * 1024;

/**
 * The stack: for what a call needs only until it returns, where it fits, so that small calls are spared their allocations.
 * Enough for a layer of 64 channels and 64 tokens.
 */
const STACK_BYTES = 192 * 1024;

/** The least maximum that a shared memory is asked for with. */
const LEAST_SHARED_BYTES = 64 * 1024 * 1024;

/** Where a view lay before growth detached it, and the arguments it is one of. */
interface Place {
  readonly memory: LinearMemory;
  readonly given: unknown;
  readonly offset: number;
  readonly length: number;
}

const places = new WeakMap<object, Place>();

/**
 * The array, or if it is a view of linear memory that was given to a call, and detached because memory has grown since the
 * call began, another view of the same place.
 */
export function current<Data>(data: Data): Data {
  if ((data as Float32Array | undefined)?.length !== 0) return data;
  const place = places.get(data as object);
  if (!place || !place.memory.given.includes(place.given)) return data;
  const Kind = globalThis[kindOf(data) as 'Float32Array'];
  return new Kind(place.memory.buffer, place.offset, place.length) as Data;
}

export class LinearMemory {
  readonly memory: WebAssembly.Memory;
  /** Arguments of the calls at hand, the outermost first: views of this memory among them outlast its growth. */
  readonly given: unknown[] = [];
  #stackEnd = 0;
  #live = true;
  #allocator: Allocator | undefined;
  #words: { readonly integers: Int32Array; readonly floats: Float32Array } | undefined;

  /** Those of attention. */
  kernels: Kernels | undefined;
  /** To which tensors belong that are made now. */
  scope: TensorScope | undefined;
  /** Where tensors are watched. */
  readonly leaks: LeakWatch | undefined;
  /** Tensors that are not disposed, without those that live as long as a call. */
  tensors = 0;
  /** What was when memory last grew. */
  #grown = { tensors: 0, time: performance.now() };

  /** @throws AttentionError OUT_OF_MEMORY if the engine refuses */
  constructor(maximumBytes: number, report?: (leak: TensorLeak) => void, shared = false) {
    this.leaks = report && new LeakWatch((leak) => this.#live && report(leak));
    this.memory = shared ? sharedMemory(maximumBytes) : createMemory(maximumBytes, false);
  }

  /** The address from which on the memory is ours to give; called once, when the kernels are loaded. */
  start(heapBase: number): void {
    // The last line stays unused, so that no kernel that reads whole vectors can run past the end.
    this.stackTop = Math.ceil(heapBase / ALIGNMENT) * ALIGNMENT;
    this.#stackEnd = this.stackTop + STACK_BYTES;
    this.#allocator = new Allocator(this.#stackEnd, this.memory.buffer.byteLength - 64, (end) =>
      this.#grow(end),
    );
  }

  /** False when the runtime was disposed: whatever lies in the memory is gone. */
  get live(): boolean {
    return this.#live;
  }

  end(): void {
    this.#live = false;
  }

  get buffer(): ArrayBuffer {
    return this.memory.buffer;
  }

  /** All of the memory as 32-bit words: not to be kept, growing makes another one. */
  get words(): { readonly integers: Int32Array; readonly floats: Float32Array } {
    const { buffer } = this.memory;
    if (this.#words?.integers.buffer !== buffer) {
      this.#words = { integers: new Int32Array(buffer), floats: new Float32Array(buffer) };
    }
    return this.#words;
  }

  /** The array, or a copy of it if it is a view of this memory, for those who use it for longer than a call. */
  apart<Data>(array: Data): Data {
    if (!ArrayBuffer.isView(array) || array.buffer !== this.buffer) return array;
    return Uint8Array.prototype.slice.call(array) as Data; // of its own kind; the slice of a Node Buffer is no copy
  }

  get statistics(): MemoryStatistics {
    const { used, peak } = this.#allocator!.statistics;
    return { used: this.#live ? used : 0, peak, capacity: this.memory.buffer.byteLength };
  }

  /** Address of `bytes` bytes at a multiple of 64. Throws OUT_OF_MEMORY; the memory stays usable. */
  allocate(bytes: number): number {
    const address = this.#allocator!.allocate(bytes);
    if (address === 0) {
      throw new AttentionError({ code: 'OUT_OF_MEMORY', message: this.#describeUse(bytes) });
    }
    return address;
  }

  /** What helps to find the leak, if it is one. */
  #describeUse(bytes: number): string {
    const { used, capacity } = this.statistics;
    const { tensors, time } = this.#grown;
    const seconds = ((performance.now() - time) / 1000).toFixed(1);
    return (
      `no room for ${bytes} bytes: ${used} of ${capacity} are in use and the memory cannot grow enough; ` +
      `live tensors: ${this.tensors}, ${this.tensors - tensors} more than ${seconds} s ago, when memory last grew`
    );
  }

  /** Grows at once for what will be allocated part by part, and by no more than that. Throws as `allocate` does. */
  makeRoom(bytes: number): void {
    this.free(this.allocate(bytes));
  }

  free(address: number): void {
    this.#allocator!.free(address);
  }

  /** How much of the stack is in use; setting it gives back what was taken since. */
  stackTop = 0;

  /** Address of `bytes` bytes at a multiple of 64 from the stack, or 0 if they do not fit. */
  push(bytes: number): number {
    const address = this.stackTop;
    const top = address + Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    if (top > this.#stackEnd) return 0;
    this.stackTop = top;
    return address;
  }

  /** Notes where views of this memory lie that the calls at hand were given. */
  #notePlaces(): void {
    for (const given of this.given) {
      eachObject(given, (object) => {
        if (!ArrayBuffer.isView(object) || object.buffer !== this.buffer) return;
        const { byteOffset: offset, length } = object as Float32Array;
        places.set(object, { memory: this, given, offset, length });
      });
    }
  }

  /**
   * Grows by more than is needed, so that many small requests do not each grow: a small memory by a quarter, one that holds a model by
   * a part of it that hardly counts. By less where the limit is near.
   */
  #grow(end: number): number {
    this.#notePlaces();
    const present = this.memory.buffer.byteLength;
    const needed = Math.ceil((end + 64 - present) / PAGE);
    const step = Math.max(Math.min(present / 4, LARGE_STEP), present / 32);
    for (const pages of [Math.max(needed, Math.ceil(step / PAGE)), needed]) {
      try {
        this.memory.grow(pages);
        this.#grown = { tensors: this.tensors, time: performance.now() };
        break;
      } catch {
        // Past the maximum, or refused: the smaller step is tried, then the caller is told.
      }
    }
    return this.memory.buffer.byteLength - 64;
  }
}

function createMemory(maximumBytes: number, shared: boolean): WebAssembly.Memory {
  const maximum = Math.floor(maximumBytes / PAGE);
  const initial = Math.min(maximum, INITIAL_BYTES / PAGE);
  try {
    return new WebAssembly.Memory({ initial, maximum, shared });
  } catch (cause) {
    throw new AttentionError({
      code: 'OUT_OF_MEMORY',
      message: `the engine refused a ${shared ? 'shared ' : ''}memory of ${initial * PAGE} bytes that grows to ${maximum * PAGE}`,
      cause,
    });
  }
}

/** Engines put the maximum of a shared memory aside at once: small devices refuse much, and get half until they agree. */
function sharedMemory(maximumBytes: number): WebAssembly.Memory {
  for (let bytes = maximumBytes; ; bytes /= 2) {
    try {
      return createMemory(bytes, true);
    } catch (error) {
      if (bytes / 2 < LEAST_SHARED_BYTES) throw error;
    }
  }
}
