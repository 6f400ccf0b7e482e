// Whom a word means, as text: a sentence with an arc from the word that refers to the one that a head looks at most, and under each word
// its share of what that head looks at, and others.
//
//              ╭────────────╮
//              ▼            │
//             Mark told Sam that he was leaving .
//             ████      ▁
//   head 2.2  97%       3%

import { width } from './text.mjs';

/** Columns before the words. */
const LABEL = 10;
/** Less is not told, and less not shaded: on a light terminal the shades of small shares are the darkest. */
const SMALLEST = 0.01;
const SMALLEST_SHADE = 0.1;
const LINES = { left: '╭', right: '╮', flat: '─', up: '│', arrow: '▼', levels: ' ▁▂▃▄▅▆▇█' };
const ASCII_LINES = { left: '+', right: '+', flat: '-', up: '|', arrow: 'v', levels: ' .:-=+*#@' };
/** Of the 256 colours: what is there to be looked up. */
const QUIET = 245;

/** @typedef {import('./style.mjs').Style} Style */

/**
 * @typedef {object} Head
 * @property {string} name
 * @property {readonly number[]} weights  of every word, seen from the word that refers
 *
 * @typedef {object} Reference
 * @property {readonly string[]} words
 * @property {number} from  index of the word that refers
 * @property {number} to    index of the word that the first head looks at most
 * @property {readonly Head[]} heads  the first is the one that resolves references
 *
 * @typedef {object} Cell  of a word, wide enough for the shares under it
 * @property {number} place  of the word
 * @property {number} start  column, after the label
 * @property {number} wide
 */

/**
 * A sentence in as many rows as it takes.
 *
 * @param {Reference} reference @param {Style} style @param {number} columns
 * @returns {string[]}
 */
export function pictureOfReference(reference, style, columns) {
  return rowsOfCells(reference, columns - LABEL).flatMap((cells, i) => [
    ...(i > 0 ? [''] : []),
    ...pictureOfRow(reference, cells, style),
  ]);
}

/** The words of a row, and the heads that look at one of them. @param {Reference} reference @param {Cell[]} cells @param {Style} style */
function pictureOfRow(reference, cells, style) {
  const { words, heads } = reference;
  const looksHere = ({ weights }) => cells.some(({ place }) => weights[place] >= SMALLEST);
  const [main] = heads;
  return [
    ...arc(reference, cells, style),
    ' '.repeat(LABEL) + inCells(cells, main, (place) => words[place], style),
    ...(looksHere(main) && !style.color ? [bars(cells, main, style)] : []),
    ...heads.filter(looksHere).map((head) => {
      const label = head.name.padEnd(LABEL);
      const shares = inCells(cells, head, (place) => shareOf(head.weights[place]), style);
      return (head === main ? style.bold(label) : style.ink(label, QUIET)) + shares;
    }),
  ].map((line) => line.trimEnd());
}

/** A text for each word, on a shade of what the head gives to it. @param {Cell[]} cells @param {Head} head @param {Style} style */
function inCells(cells, { weights }, textOf, style) {
  const texts = cells.map(({ place, wide }) => {
    const text = centred(textOf(place), wide);
    return weights[place] < SMALLEST_SHADE ? text : style.shaded(text, weights[place]);
  });
  return texts.join(' ');
}

/** Where there are no shades: a bar under each word, as high as its share. @param {Cell[]} cells @param {Head} head @param {Style} style */
function bars(cells, { weights }, style) {
  const { levels } = style.unicode ? LINES : ASCII_LINES;
  const marks = cells.map(({ place, wide }) =>
    levels[Math.round(weights[place] * (levels.length - 1))].repeat(wide),
  );
  return ' '.repeat(LABEL) + marks.join(' ');
}

/** The line over the words, as far as it is over these: it goes on where the row of the other word is. @param {Reference} reference */
function arc({ from, to }, cells, style) {
  const { left, right, flat, up, arrow } = style.unicode ? LINES : ASCII_LINES;
  const [first, last] = [cells[0], cells.at(-1)];
  const [begin, end] = [Math.min(from, to), Math.max(from, to)];
  if (begin > last.place || end < first.place || begin === end) return [];
  const columnOf = (place) => {
    const { start, wide } = cells[place - first.place];
    return start + ((wide - 1) >> 1);
  };
  const isHere = (place) => place >= first.place && place <= last.place;
  const leftmost = isHere(begin) ? columnOf(begin) : 0;
  const rightmost = isHere(end) ? columnOf(end) : last.start + last.wide;
  const over = Array.from({ length: rightmost + 1 }, (_, column) => (column < leftmost ? ' ' : flat));
  if (isHere(begin)) over[leftmost] = left;
  if (isHere(end)) over[rightmost] = right;
  const under = new Array(rightmost + 1).fill(' ');
  if (isHere(from)) under[columnOf(from)] = up;
  if (isHere(to)) under[columnOf(to)] = arrow;
  return [over, under]
    .map((characters) => (' '.repeat(LABEL) + characters.join('')).trimEnd())
    .filter(Boolean);
}

/** @param {Reference} reference @param {number} columns @returns {Cell[][]} */
function rowsOfCells({ words, heads }, columns) {
  /** @type {Cell[][]} */
  const rows = [[]];
  for (const [place, word] of words.entries()) {
    const wide = Math.max(width(word), ...heads.map(({ weights }) => shareOf(weights[place]).length));
    const { start, wide: before } = rows.at(-1).at(-1) ?? { start: 0, wide: -1 };
    const next = start + before + 1;
    if (next + wide <= columns || next === 0) rows.at(-1).push({ place, start: next, wide });
    else rows.push([{ place, start: 0, wide }]);
  }
  return rows;
}

/** @param {number} share */
function shareOf(share) {
  return share < SMALLEST ? '' : percent(share);
}

/** @param {number} share */
export function percent(share) {
  return `${Math.round(100 * share)}%`;
}

/** @param {string} text @param {number} columns */
function centred(text, columns) {
  const room = columns - width(text);
  return ' '.repeat(room >> 1) + text + ' '.repeat(room - (room >> 1));
}
