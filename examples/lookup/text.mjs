// Text of others on this terminal: made harmless, measured and cut to columns.

/** Control sequences (CSI), strings (OSC, DCS, ...) and short escapes: a file must not drive the terminal. */
const ESCAPES = new RegExp(
  [
    '(?:\\x1b\\[|\\x9b)[0-?]*[ -/]*[@-~]',
    '(?:\\x1b[\\]PX^_]|[\\x90\\x98\\x9d-\\x9f])[^\\x07\\x1b\\x9c]*(?:\\x07|\\x1b\\\\|\\x9c)?',
    '\\x1b[ -/]*[0-~]',
  ].join('|'),
  'g',
);

/** Format characters but the joiners: among them those that turn the direction of what follows. */
const INVISIBLE = /(?![\u200c\u200d])[\p{Cf}\p{Cc}\p{Cs}]/gu;

const ZERO_WIDTH = /^[\p{Mn}\p{Me}\p{Cf}\u1160-\u11ff]$/u;
const WIDE =
  /^[\u1100-\u115f\u2329\u232a\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{16fe0}-\u{18dff}\u{1aff0}-\u{1b2ff}\u{1f200}-\u{1f2ff}\u{20000}-\u{3fffd}\p{Emoji_Presentation}]$/u;

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

/** Without escape sequences and control characters; white space is one space. @param {string} text */
export function clean(text) {
  return text.replace(ESCAPES, '').replace(/\s+/g, ' ').replace(INVISIBLE, '').trim();
}

/** Columns of a text; never too few, whichever way the terminal joins emoji. @param {string} text */
export function width(text) {
  let columns = 0;
  for (const character of text) {
    if (character === '\ufe0f') columns++;
    else if (!ZERO_WIDTH.test(character)) columns += WIDE.test(character) ? 2 : 1;
  }
  return columns;
}

/**
 * Cut to a number of columns, between graphemes.
 *
 * @param {string} text @param {number} columns @param {string} ellipsis
 */
export function fit(text, columns, ellipsis) {
  const room = columns - width(ellipsis);
  let kept = '';
  let used = 0;
  for (const { segment } of graphemes.segment(text)) {
    used += width(segment);
    if (used > columns) return kept.trimEnd() + ellipsis;
    if (used <= room) kept += segment;
  }
  return text;
}

/**
 * Broken between words into rows of some columns; what is beyond the last row is cut off.
 *
 * @param {string} text @param {number} columns @param {number} rows @param {string} ellipsis
 */
export function wrap(text, columns, rows, ellipsis) {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1);
    const longer = line === '' ? word : `${line} ${word}`;
    if (width(longer) <= columns || line === '' || lines.length === rows) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines.map((line) => fit(line, columns, ellipsis));
}
