// What was found, as text: the question, the nearest lines, and the words that each head looks at.

import { COLUMNS } from './style.mjs';
import { width } from './text.mjs';

const BAR = 8;
/** Columns before the text of a line. */
const BEFORE = 16 + BAR;
/** Rows that the best line may take. */
const ROWS = 4;
const LABEL = 6;
const GAP = 2;
/** Columns of the links in one text. */
const LINKS = (COLUMNS - LABEL - GAP) / 2;
const LONGEST_WORD = 12;
/** Below, the first of the README's lines was no answer, for a dozen questions that were tried. */
const NEAR = 0.4;

/** @typedef {import('./style.mjs').Style} Style */

/**
 * @param {object} given
 * @param {import('./input.mjs').Text} given.text
 * @param {string} given.query
 * @param {import('./search.mjs').Found[]} given.found  the nearest first
 * @param {number} given.top  how many of them are shown
 * @param {Style} style
 * @returns {string[]}
 */
export function pictureOfResults({ text, query, found, top }, style) {
  const lines = `${text.whole ? '' : 'the first '}${plural(text.lines.length, 'line')} of `;
  const heading = `Search by meaning in ${lines}`;
  const [best] = found;
  return [
    style.bold(heading + style.quote(text.name, COLUMNS - heading.length)),
    `question: "${style.quote(query, COLUMNS - 12)}"`,
    '',
    '   line  cosine',
    ...found.slice(0, top).flatMap((result, i) => rowsOfResult(result, i === 0 ? ROWS : 1, style)),
    ...remarkOn(best, query),
  ];
}

/** @param {import('./search.mjs').Found} found @param {number} rows @param {Style} style */
function rowsOfResult({ line, cosine }, rows, style) {
  const [first, ...more] = style.quoteRows(line.text, COLUMNS - BEFORE, rows);
  const number = String(line.number).padStart(7);
  const bar = style.bar(Math.max(0, cosine), BAR);
  return [
    `${number}  ${cosine.toFixed(2).padStart(5)} ${bar} ${first}`,
    ...more.map((row) => ' '.repeat(BEFORE) + row),
  ].map((row) => (rows > 1 ? style.bold(row) : row));
}

/** @param {import('./search.mjs').Found} best @param {string} query */
function remarkOn({ line, cosine }, query) {
  if (cosine < NEAR) return ['', 'Nothing here means nearly the same.'];
  if (!shareNoWord(query, line.text)) return [];
  return ['', `Line ${line.number} has no word of the question: spelling would not find it.`];
}

/** @param {string} a @param {string} b */
function shareNoWord(a, b) {
  const words = new Set(wordsIn(a));
  return !wordsIn(b).some((word) => words.has(word));
}

function wordsIn(text) {
  return text.toLowerCase().match(/[\p{L}\p{M}\p{N}]+/gu) ?? [];
}

/**
 * @param {{ title: string, links: import('./words.mjs').Link[][][] }[]} texts  two at most
 * @param {Style} style
 * @returns {string[]}
 */
export function pictureOfHeads(texts, style) {
  const titles = texts.map(({ title }) => title.padEnd(LINKS)).join(' '.repeat(GAP));
  const rows = texts[0].links.flatMap((heads, layer) =>
    heads.map((_, head) => {
      const columns = texts.map(({ links }) => columnOfLinks(links[layer][head], style));
      return (`${layer + 1}.${head + 1}`.padStart(4).padEnd(LABEL) + columns.join(' '.repeat(GAP))).trimEnd();
    }),
  );
  return [
    style.bold('What each head attends to: from a word to another, share of its attention'),
    ('head'.padEnd(LABEL) + titles).trimEnd(),
    ...rows,
  ];
}

/** As many links as fit. @param {import('./words.mjs').Link[]} links @param {Style} style */
function columnOfLinks(links, style) {
  let column = '';
  let used = 0;
  for (const { from, to, share } of links) {
    const start = `${used > 0 ? '  ' : ''}${style.quote(from, LONGEST_WORD)} ${style.arrow} `;
    const end = `${style.quote(to, LONGEST_WORD)} ${Math.round(100 * share)}%`;
    if (used + width(start + end) > LINKS) break;
    column += start + style.shaded(end, share);
    used += width(start + end);
  }
  return column + ' '.repeat(LINKS - used);
}

/** @param {number} count @param {string} noun */
export function plural(count, noun) {
  return `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
}
