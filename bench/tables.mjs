// Results as tables for a terminal of 110 columns.

import { entryName, factorOver, ownBest } from './suite/analysis.mjs';
import { WIDE_SPREAD } from './suite/statistics.mjs';
import { groupTitles } from './suite/workloads.mjs';

/** @typedef {import('./suite/result.mjs').Entry} Entry */
/** @typedef {import('./suite/result.mjs').Result} Result */

const NONE = '-';

/** Three significant digits, without exponents. @param {number | undefined} value */
export function digits(value) {
  if (value === undefined || !Number.isFinite(value)) return NONE;
  if (value >= 99.95) return value.toFixed(0);
  if (value >= 9.995) return value.toFixed(1);
  return value >= 0.9995 ? value.toFixed(2) : value.toPrecision(3);
}

/** @param {number | undefined} share */
export const percent = (share) =>
  share === undefined || !Number.isFinite(share)
    ? NONE
    : `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)} %`;

/**
 * Columns padded to their widest cell, the first `left` of them to the left.
 *
 * @param {string[]} head
 * @param {string[][]} rows
 * @param {number} left
 */
function table(head, rows, left) {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column].length)),
  );
  const line = (/** @type {string[]} */ cells) =>
    cells
      .map((cell, column) => (column < left ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
      .join('  ')
      .trimEnd();
  return [line(head), ...rows.map(line)].map((text) => `  ${text}`).join('\n');
}

/** @param {Result} result @param {boolean} hasMemory */
function resultRows({ workload, entries }, hasMemory) {
  const best = ownBest(entries);
  return entries
    .filter(({ state }) => state === 'measured')
    .map((entry, index) => {
      const { time, share, error, rootMeanSquareError, gflops, growth } = entry;
      const mark = (time?.spread ?? 0) > WIDE_SPREAD ? ' *' : '';
      return [
        index === 0 ? workload.label : '',
        entryName(entry),
        digits(time?.median),
        percent(time?.spread) + mark,
        digits(gflops),
        percent(share?.median) + (share && workload.limit === 'memory' ? ' r' : ''),
        ...(hasMemory ? [growth === undefined ? NONE : (growth / 2 ** 20).toFixed(0)] : []),
        digits(factorOver(entry, best)?.median),
        rootMeanSquareError?.toExponential(1) ?? NONE,
        error?.toExponential(1) ?? NONE,
      ];
    });
}

/** What was not measured and why, each reason once. @param {readonly Result[]} results */
function missingLines(results) {
  /** @type {Map<string, string[]>} */
  const places = new Map();
  for (const { workload, entries } of results) {
    for (const entry of entries.filter(({ state }) => state !== 'measured')) {
      const key = `  ${entryName(entry)} ${entry.state}: ${entry.reason}`.slice(0, 95);
      places.set(key, [...(places.get(key) ?? []), workload.label]);
    }
  }
  return [...places].map(([key, labels]) =>
    labels.length > 1 ? `${key} (${labels.length} workloads)` : `${key} (${labels[0]})`,
  );
}

/** @param {readonly Result[]} results of one group */
export function formatGroup(results) {
  const hasMemory = results.some(({ entries }) => entries.some(({ growth }) => growth !== undefined));
  const rows = results.flatMap((result) => resultRows(result, hasMemory));
  const head = [
    'workload',
    'who',
    'ms',
    'spread',
    'GFLOP/s',
    'limit',
    ...(hasMemory ? ['MB'] : []),
    'x ours',
    'error',
    'largest',
  ];
  const parts = [groupTitles[results[0].workload.group]];
  if (rows.length > 0) parts.push(table(head, rows, 2));
  const missing = missingLines(results);
  if (missing.length > 0) parts.push(missing.join('\n'));
  return parts.join('\n');
}

/** @param {import('./suite/result.mjs').Facts} facts */
export function formatHead({ machine, engine, versions, absent }) {
  return [
    `${engine.name} ${engine.version}, ${machine.processor}, ${machine.cores} cores, ${machine.system}`,
    Object.entries(versions)
      .filter(([name]) => name !== 'plain-javascript')
      .map(([name, version]) => `${name} ${version}`)
      .join(', '),
    ...Object.entries(absent).map(([name, reason]) => `without ${name}: ${reason}`),
  ].join('\n');
}
