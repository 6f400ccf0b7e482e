// What the terminal can show: colours or none, block characters or ASCII.

import { fit, wrap } from './text.mjs';

export const COLUMNS = 80;

/** Dark to bright, of the 256 colours: steps that also rise in brightness, for those who see hues differently. */
const HEAT = [233, 17, 18, 54, 90, 126, 162, 197, 203, 209, 215, 221, 228, 230];

/** The first level on which letters are black. */
const FIRST_BRIGHT = 8;

const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

export class Style {
  /** @param {{ color: boolean, unicode: boolean }} abilities */
  constructor({ color, unicode }) {
    this.color = color;
    this.unicode = unicode;
    this.ellipsis = unicode ? '…' : '...';
    this.arrow = unicode ? '→' : '->';
  }

  /**
   * @param {import('node:tty').WriteStream} stream
   * @param {NodeJS.ProcessEnv} env
   * @param {boolean} allowed  false: no colour
   */
  static of(stream, env, allowed) {
    const locale = env.LC_ALL || env.LC_CTYPE || env.LANG || '';
    const unicode = env.TERM !== 'dumb' && (/utf-?8/i.test(locale) || Boolean(env.WT_SESSION));
    return new Style({ color: allowed && hasColor(stream, env), unicode });
  }

  /** @param {string} text */
  bold(text) {
    return this.color ? `\x1b[1m${text}\x1b[0m` : text;
  }

  /** Text in one of the 256 colours. @param {string} text @param {number} color */
  ink(text, color) {
    return this.color ? `\x1b[38;5;${color}m${text}\x1b[0m` : text;
  }

  /** Text of the input, within some columns. @param {string} text @param {number} columns */
  quote(text, columns) {
    return fit(this.#drawable(text), columns, this.ellipsis);
  }

  /** The same over several rows. @param {string} text @param {number} columns @param {number} rows */
  quoteRows(text, columns, rows) {
    return wrap(this.#drawable(text), columns, rows, this.ellipsis);
  }

  #drawable(text) {
    return this.unicode ? text : text.replace(/[^ -~]/gu, '?');
  }

  /** A bar of `share` of `columns`, padded to them. @param {number} share @param {number} columns */
  bar(share, columns) {
    if (!this.unicode) return '#'.repeat(Math.round(share * columns)).padEnd(columns);
    const eighths = Math.round(share * columns * 8);
    return ('█'.repeat(eighths >> 3) + EIGHTHS[eighths & 7]).padEnd(columns);
  }

  /** Text on a colour that tells a share. @param {string} text @param {number} share from 0 to 1 */
  shaded(text, share) {
    if (!this.color) return text;
    const level = Math.min(HEAT.length - 1, Math.floor(share * HEAT.length));
    const letters = level < FIRST_BRIGHT ? 231 : 16;
    return `\x1b[48;5;${HEAT[level]};38;5;${letters}m${text}\x1b[0m`;
  }
}

/** NO_COLOR is for good; FORCE_COLOR is for pipes into what shows colours (a pager). */
function hasColor(stream, env) {
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR !== undefined) return env.FORCE_COLOR !== '0' && env.FORCE_COLOR !== 'false';
  return Boolean(stream.isTTY) && env.TERM !== 'dumb' && stream.getColorDepth(env) >= 8;
}
