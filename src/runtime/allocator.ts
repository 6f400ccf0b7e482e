// Hands out parts of a range of addresses. Knows nothing of WebAssembly: growth is a function it is given.
//
//   start                                                            end
//   | used | free | used | used | free ............................. |
//
// Free parts are kept sorted by address and never touch each other (neighbours are joined at once). The best-fitting
// part is taken, the lowest among equals, so that a repeated call gets the same place and memory stays dense.

/** Every block starts at a multiple of this, and sizes are rounded up to it: a cache line, and four vectors. */
export const ALIGNMENT = 64;

/** How full a runtime's linear memory is. */
export interface MemoryStatistics {
  /** Bytes in use now. */
  readonly used: number;
  /** Most bytes that were ever in use at once. */
  readonly peak: number;
  /** Bytes the memory holds in all. It grows and never shrinks. */
  readonly capacity: number;
}

export class Allocator {
  readonly #sizes = new Map<number, number>();
  readonly #freeAddress: number[] = [];
  readonly #freeSize: number[] = [];
  readonly #start: number;
  #end: number;
  #used = 0;
  #peak = 0;
  readonly #grow: (end: number) => number;

  /**
   * @param start first address
   * @param end   address after the last
   * @param grow  asked for an end of at least the given address; returns the new end, or the old one if it cannot
   */
  constructor(start: number, end: number, grow: (end: number) => number) {
    this.#start = Math.ceil(start / ALIGNMENT) * ALIGNMENT;
    this.#end = Math.floor(end / ALIGNMENT) * ALIGNMENT;
    this.#grow = grow;
    if (this.#end > this.#start) this.#insert(this.#start, this.#end - this.#start);
  }

  get statistics(): MemoryStatistics {
    return { used: this.#used, peak: this.#peak, capacity: this.#end };
  }

  /** Blocks in use. */
  get blocks(): number {
    return this.#sizes.size;
  }

  /** Address of `bytes` bytes, or 0 if there is no room and the memory cannot grow. */
  allocate(bytes: number): number {
    const size = Math.max(1, Math.ceil(bytes / ALIGNMENT)) * ALIGNMENT;
    let hole = this.#bestFit(size);
    if (hole < 0) {
      if (!this.#extend(size)) return 0;
      hole = this.#bestFit(size);
    }
    const address = this.#freeAddress[hole]!;
    if (this.#freeSize[hole] === size) {
      this.#freeAddress.splice(hole, 1);
      this.#freeSize.splice(hole, 1);
    } else {
      this.#freeAddress[hole]! += size;
      this.#freeSize[hole]! -= size;
    }
    this.#sizes.set(address, size);
    this.#used += size;
    this.#peak = Math.max(this.#peak, this.#used);
    return address;
  }

  /** Returns a block. False if there is no block at that address. */
  free(address: number): boolean {
    const size = this.#sizes.get(address);
    if (size === undefined) return false;
    this.#sizes.delete(address);
    this.#used -= size;
    this.#insert(address, size);
    return true;
  }

  #bestFit(size: number): number {
    let best = -1;
    for (let hole = 0; hole < this.#freeSize.length; hole++) {
      const room = this.#freeSize[hole]!;
      if (room >= size && (best < 0 || room < this.#freeSize[best]!)) best = hole;
    }
    return best;
  }

  #extend(size: number): boolean {
    const last = this.#freeAddress.length - 1;
    const tail = last >= 0 && this.#freeAddress[last]! + this.#freeSize[last]! === this.#end;
    const needed = this.#end + size - (tail ? this.#freeSize[last]! : 0);
    const end = Math.floor(this.#grow(needed) / ALIGNMENT) * ALIGNMENT;
    if (end < needed) return false;
    const from = this.#end;
    this.#end = end;
    this.#insert(from, end - from);
    return true;
  }

  /** Puts a free part in its place and joins it with the neighbours it touches. */
  #insert(address: number, size: number): void {
    let low = 0;
    let high = this.#freeAddress.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#freeAddress[middle]! < address) low = middle + 1;
      else high = middle;
    }
    const before = low - 1;
    const joinsBefore = before >= 0 && this.#freeAddress[before]! + this.#freeSize[before]! === address;
    const joinsAfter = low < this.#freeAddress.length && address + size === this.#freeAddress[low];
    if (joinsBefore) {
      this.#freeSize[before]! += size;
      if (joinsAfter) {
        this.#freeSize[before]! += this.#freeSize[low]!;
        this.#freeAddress.splice(low, 1);
        this.#freeSize.splice(low, 1);
      }
    } else if (joinsAfter) {
      this.#freeAddress[low] = address;
      this.#freeSize[low]! += size;
    } else {
      this.#freeAddress.splice(low, 0, address);
      this.#freeSize.splice(low, 0, size);
    }
  }
}
