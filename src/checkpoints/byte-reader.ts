// Cuts a row of chunks, as they come from a disk or a network, into the lengths that a reader asks for.

import { AttentionError } from '../runtime/errors.js';

const nothing = new Uint8Array(0);

export class ByteReader {
  readonly #chunks: AsyncGenerator<Uint8Array, void, undefined>;
  #rest: Uint8Array = nothing;

  constructor(chunks: AsyncGenerator<Uint8Array, void, undefined>) {
    this.#chunks = chunks;
  }

  /** So many bytes; fewer only where the chunks end. A view of a chunk that has them all, else a copy. */
  async take(length: number): Promise<Uint8Array> {
    if (length > 0 && this.#rest.length === 0) await this.#pull();
    if (length <= this.#rest.length) return this.#cut(length);
    const bytes = allocate(length);
    let filled = 0;
    while (filled < length) {
      if (this.#rest.length === 0 && !(await this.#pull())) return bytes.subarray(0, filled);
      const part = this.#cut(length - filled);
      bytes.set(part, filled);
      filled += part.length;
    }
    return bytes;
  }

  async skip(length: number): Promise<void> {
    for (let left = length; left > 0;) {
      if (this.#rest.length === 0 && !(await this.#pull())) return;
      left -= this.#cut(left).length;
    }
  }

  /** Lets the chunks come to their end, all of which have been taken. */
  async finish(): Promise<void> {
    while (await this.#pull());
  }

  /** Ends the chunks wherever they are. */
  async close(): Promise<void> {
    await this.#chunks.return();
  }

  #cut(most: number): Uint8Array {
    const part = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(part.length);
    return part;
  }

  async #pull(): Promise<boolean> {
    const { done, value } = await this.#chunks.next();
    this.#rest = value ?? nothing;
    return done !== true;
  }
}

function allocate(length: number): Uint8Array {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    throw new AttentionError({
      code: 'OUT_OF_MEMORY',
      expected: `room for a piece of ${length} bytes`,
      received: 'an allocation failure',
      cause,
    });
  }
}
