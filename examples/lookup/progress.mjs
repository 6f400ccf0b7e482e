// A line that tells how far something is, on a terminal; where the output is read by no one, nothing.

import { COLUMNS } from './style.mjs';

const BAR = 30;

export class Progress {
  #shown = false;

  /**
   * @param {import('node:tty').WriteStream} stream
   * @param {import('./style.mjs').Style} style
   */
  constructor(stream, style) {
    this.stream = stream;
    this.style = style;
  }

  /** A line that stays, for logs too. @param {string} text */
  say(text) {
    this.clear();
    this.stream.write(`${text}\n`);
  }

  /** A line that the next one takes the place of. @param {string} text @param {number} share from 0 to 1 */
  show(text, share) {
    if (!this.stream.isTTY) return;
    const percent = `${Math.round(100 * share)} %`.padStart(5);
    const label = this.style.quote(text, COLUMNS - BAR - 10);
    this.stream.write(`\r${label}  ${this.style.bar(share, BAR)} ${percent}`);
    this.#shown = true;
  }

  clear() {
    if (this.#shown) this.stream.write(`\r${' '.repeat(COLUMNS - 1)}\r`);
    this.#shown = false;
  }
}
