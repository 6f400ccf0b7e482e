// Lets allocations fail at any place of a call, as they do when memory is full.

import { AttentionError } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';

export class Faults {
  /** Whether a request was refused since `arm`. */
  struck = false;
  #countdown = Infinity;
  #withoutStack = false;

  /** @param runtime a runtime of its own: its memory is never what it was */
  constructor(runtime: Runtime) {
    const memory = runtime.linearMemory;
    const allocate = memory.allocate.bind(memory);
    const push = memory.push.bind(memory);
    memory.allocate = (bytes) => {
      if (this.#countdown-- === 0) {
        this.struck = true;
        throw new AttentionError({ code: 'OUT_OF_MEMORY', message: `no room for ${bytes} bytes` });
      }
      return allocate(bytes);
    };
    // Nothing always fits.
    memory.push = (bytes) => (this.#withoutStack && bytes > 0 ? 0 : push(bytes));
  }

  /** Refuses the request that comes after `before` others; `withoutStack` makes requests of what the stack would have held. */
  arm(before: number, withoutStack: boolean): void {
    this.struck = false;
    this.#countdown = before;
    this.#withoutStack = withoutStack;
  }

  disarm(): void {
    this.#countdown = Infinity;
    this.#withoutStack = false;
  }
}
