// The pages of one sequence in one layer. Tokens are counted from 0 and never renumbered; pages in the middle may be gone:
//
//   tokens   0 ........ firstPages * 128 | dropped * 128 tokens, gone | ........ length
//   pages    kept for ever               |                            | the window, and what comes
//
// `place` counts tokens without those that are gone: it is what the kernels see as key 0, 1, ...

import { PAGE_TOKENS } from '../ops/cache/append.js';

export class Sequence {
  /** Pages that never go. */
  readonly firstPages: number;
  /** Tokens appended. */
  length: number;
  /** Addresses of the pages that are held, in order. */
  pages: number[];
  /** Pages that are gone after the first `firstPages`. */
  dropped: number;

  constructor(firstPages: number, length = 0, pages: number[] = [], dropped = 0) {
    this.firstPages = firstPages;
    this.length = length;
    this.pages = pages;
    this.dropped = dropped;
  }

  /** Tokens that are gone. */
  get goneTokens(): number {
    return this.dropped * PAGE_TOKENS;
  }

  /** Where the next token goes. */
  get place(): number {
    return this.length - this.goneTokens;
  }

  copy(): Sequence {
    return new Sequence(this.firstPages, this.length, this.pages.slice(), this.dropped);
  }

  /** How many pages behind the first ones hold only tokens before `token`. */
  pagesBefore(token: number): number {
    const held = Math.max(0, this.pages.length - this.firstPages);
    const before = Math.floor(token / PAGE_TOKENS) - this.firstPages - this.dropped;
    return Math.max(0, Math.min(held, before));
  }

  /** Takes those pages out and returns them. */
  dropBefore(token: number): number[] {
    const count = this.pagesBefore(token);
    this.dropped += count;
    return count === 0 ? [] : this.pages.splice(this.firstPages, count);
  }

  /** Tokens from here on are held, and those of the first pages. */
  get heldFrom(): number {
    return this.dropped === 0 ? 0 : (this.firstPages + this.dropped) * PAGE_TOKENS;
  }

  /** Whether the tokens [from, to) are held. */
  holds(from: number, to: number): boolean {
    return from >= this.heldFrom || to <= this.firstPages * PAGE_TOKENS;
  }

  /** Shortens to `length` tokens and returns the pages that are not needed any more. */
  crop(length: number): number[] {
    this.length = length;
    if (length <= this.firstPages * PAGE_TOKENS) this.dropped = 0;
    return this.pages.splice(Math.ceil(this.place / PAGE_TOKENS));
  }
}
