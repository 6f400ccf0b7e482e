// The lookup as text: who was asked, the weights as bars, the heads as a heat map, the result.

import { FAMILIES, HEAD_DIM } from './embedding.mjs';
import { largest, SCALE } from './lookup.mjs';
import { COLUMNS } from './style.mjs';

const BAR = 20;
const LABEL = 16;
const PEAK = 8;
const MAP = COLUMNS - LABEL - PEAK;
const WIDEST_CELL = 6;
const NEAREST = 3;

/** @typedef {import('./style.mjs').Style} Style */

/**
 * @param {object} given
 * @param {import('./input.mjs').Text} given.text
 * @param {string} given.query
 * @param {import('./embedding.mjs').Embedded} given.embedded
 * @param {import('./lookup.mjs').Lookup} given.lookup
 * @param {number} given.top
 * @param {Style} given.style
 * @returns {string[]}
 */
export function pictureOfLookup({ text, query, embedded, lookup, top, style }) {
  const sections = [
    heading(text, query, embedded, style),
    bars(text, lookup, top, style),
    heatMap(text, lookup, style),
    nearest(text, lookup, style),
  ];
  return sections.flatMap((section, i) => (i === 0 ? section : ['', ...section]));
}

function heading({ name, lines, whole }, query, { heads }, style) {
  const from = 'keys and values: ';
  const size = `, ${whole ? '' : 'the first '}${plural(lines.length, 'line')}, as ${heads} x ${HEAD_DIM} channels`;
  return [
    style.bold('Attention is a soft lookup: a query, keys, and a weighted mean of values'),
    `query: "${style.quote(query, COLUMNS - 9)}"`,
    from + style.quote(name, COLUMNS - from.length - size.length) + size,
    'by hashing their words and letters. Untrained: spelling counts, not meaning.',
  ];
}

function bars({ lines }, { mean }, top, style) {
  const best = largest(mean, top);
  const rest = mean.length - best.length;
  const shown = best.reduce((sum, i) => sum + mean[i], 0);
  const rows = best.map((i) => {
    const bar = style.bar(mean[i] / mean[best[0]], BAR);
    const columns = COLUMNS - 20 - BAR;
    return `${String(lines[i].number).padStart(7)} ${percent(mean[i])}  ${bar}  ${style.quote(lines[i].text, columns)}`;
  });
  if (rest > 0) rows.push(`   rest ${percent(Math.max(0, 1 - shown))}  (${plural(rest, 'line')})`);
  return [style.bold(`Weights: softmax(${SCALE} q . k), mean of the heads`), '   line  weight', ...rows];
}

function heatMap({ lines }, { weights }, style) {
  const count = lines.length;
  const cells = Math.min(count, MAP);
  const cellWidth = Math.min(WIDEST_CELL, Math.floor(MAP / cells));
  const rows = weights.map((row) => binned(row, cells));
  const peak = Math.max(...rows.flat());
  const drawn = rows.map((row, head) => {
    const label = `${String(head + 1).padStart(3)} ${FAMILIES[head].name}`.padEnd(LABEL);
    const heat = style.heat(
      row.map((weight) => Math.sqrt(weight / peak)),
      cellWidth,
    );
    return `${label}${heat}${percent(row.reduce((most, weight) => Math.max(most, weight)))}`;
  });
  const perCell = count > cells ? `; most of ${Math.ceil(count / cells)} lines a column` : '';
  const ramp = style.heat(Array.from({ length: 10 }, (_, i) => i / 9));
  return [
    style.bold(
      `Head by head: rows are heads, columns the lines from ${lines[0].number} to ${lines.at(-1).number}`,
    ),
    ...drawn,
    `${' '.repeat(LABEL)}0 ${ramp}${percent(peak)}, square root${perCell}`,
  ];
}

/** The largest of each of `cells` equal stretches: a mean would hide the one line that matters. */
function binned(row, cells) {
  return Array.from({ length: cells }, (_, cell) => {
    const from = Math.floor((cell * row.length) / cells);
    const to = Math.floor(((cell + 1) * row.length) / cells);
    return row.subarray(from, to).reduce((most, weight) => Math.max(most, weight), 0);
  });
}

function nearest({ lines }, { similarity }, style) {
  const rows = largest(similarity, NEAREST).map((i) => {
    const number = String(lines[i].number).padStart(7);
    return `${number}  ${similarity[i].toFixed(3).padStart(6)}   ${style.quote(lines[i].text, COLUMNS - 18)}`;
  });
  return [
    style.bold('Result: the weighted mean of the lines, and the lines nearest to it'),
    '   line  cosine',
    ...rows,
  ];
}

/** @param {number} count @param {string} noun */
function plural(count, noun) {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** PEAK columns. @param {number} share */
function percent(share) {
  return `${(100 * share).toFixed(1)} %`.padStart(PEAK);
}
