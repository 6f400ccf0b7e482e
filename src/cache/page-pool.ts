// Fixed-size pages of linear memory, counted by how many sequences hold them. Shared by a cache and its forks.

import type { Runtime } from '../runtime/runtime.js';

export class PagePool {
  readonly runtime: Runtime;
  readonly pageBytes: number;
  readonly #holders = new Map<number, number>();

  constructor(runtime: Runtime, pageBytes: number) {
    this.runtime = runtime;
    this.pageBytes = pageBytes;
  }

  /** Pages held by any sequence. */
  get pages(): number {
    return this.#holders.size;
  }

  /** New pages of whatever the memory held, each held once. All of them, or OUT_OF_MEMORY and none. */
  acquire(count: number): number[] {
    const addresses: number[] = [];
    try {
      for (let i = 0; i < count; i++) addresses.push(this.runtime.linearMemory.allocate(this.pageBytes));
    } catch (error) {
      for (const address of addresses) this.runtime.linearMemory.free(address);
      throw error;
    }
    for (const address of addresses) this.#holders.set(address, 1);
    return addresses;
  }

  /** One more holder. */
  retain(page: number): void {
    this.#holders.set(page, this.#holders.get(page)! + 1);
  }

  /** One holder less; the last one frees the page. */
  release(page: number): void {
    const holders = this.#holders.get(page)! - 1;
    if (holders > 0) {
      this.#holders.set(page, holders);
      return;
    }
    this.#holders.delete(page);
    const { disposed, linearMemory, threads } = this.runtime;
    if (disposed) return;
    if (threads) threads.whenQuiet(() => linearMemory.free(page));
    else linearMemory.free(page);
  }

  /** After a failed append: as long as threads that were given up may still write to the page, who appends to it takes a copy. */
  guard(page: number): void {
    const { threads } = this.runtime;
    if (!threads) return;
    this.retain(page);
    threads.whenQuiet(() => this.release(page));
  }

  /** How many sequences hold a page. */
  holders(page: number): number {
    return this.#holders.get(page)!;
  }

  bytes(page: number): Uint8Array {
    return new Uint8Array(this.runtime.linearMemory.buffer, page, this.pageBytes);
  }
}
