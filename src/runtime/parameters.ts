// Parameter blocks: what a call of a kernel is, as words in linear memory. Which words a block has, and where, the build
// derives from the classes in assembly/ (build/kernels.ts).

import type { LinearMemory } from './memory.js';

/** The words of a block in their order, and which of them are floats. */
export interface BlockLayout<Name extends string> {
  readonly words: readonly Name[];
  readonly floats: readonly Name[];
}

/** Words of a block by name. */
export type Words<Name extends string> = { [name in Name]?: number };

/** Writes blocks of one layout. */
export class ParameterBlock<Name extends string> {
  /** Bytes of a block. */
  readonly bytes: number;
  /** Words that are floats stand here as ~place. */
  readonly #places: ReadonlyMap<string, number>;

  constructor({ words, floats }: BlockLayout<Name>) {
    this.bytes = words.length * 4;
    this.#places = new Map(words.map((name, place) => [name, floats.includes(name) ? ~place : place]));
  }

  /**
   * Writes a block at an address; later parts go over earlier ones, and words that no part names are 0. Joining the parts
   * first would take twice as long.
   */
  write(memory: LinearMemory, address: number, parts: readonly Words<Name>[]): void {
    const { integers, floats } = memory.words;
    const start = address >>> 2;
    integers.fill(0, start, start + this.bytes / 4);
    for (const part of parts) {
      for (const name in part) {
        const place = this.#places.get(name)!;
        if (place < 0) floats[start + ~place] = part[name]!;
        else integers[start + place] = part[name]!;
      }
    }
  }
}
