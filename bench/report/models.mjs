// Whole models as a section of docs/figures.md: what `npm run bench:models -- --json` wrote.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { OWN } from '../suite/analysis.mjs';
import { digits, percent } from '../tables.mjs';
import { formatBlock } from './markdown.mjs';

/**
 * @typedef {object} ModelEntry one way to run a model
 * @property {string} peer
 * @property {string} variant build of this library, or way of a peer
 * @property {import('../suite/statistics.mjs').Summary} time milliseconds
 * @property {number} gflops
 * @property {number} [error] largest absolute difference from float64, where that was computed
 * @property {number} [rootMeanSquareError]
 * @property {number} [fromRival] largest difference between our result and theirs
 * @property {import('../suite/statistics.mjs').Summary} [share] of the engine's multiply-adds
 * @property {import('../suite/statistics.mjs').Summary} [readShare] of reading the same bytes
 * @property {import('../suite/statistics.mjs').Summary} [timeOverParts] time over that of its products and attention alone
 * @property {import('../suite/statistics.mjs').Summary} [rivalOverOurs]
 * @property {{ loaded: ModelMemory, afterFirstCall: ModelMemory }} [memory]
 */

/** @typedef {{ weights: number, used: number, peak: number, capacity: number }} ModelMemory bytes; the last three since before the model */

/**
 * @typedef {object} ModelStart from a file in memory to the first result
 * @property {string} peer
 * @property {string} variant
 * @property {import('../suite/statistics.mjs').Summary} firstResult milliseconds, without importing the library
 * @property {import('../suite/statistics.mjs').Summary} withImport
 */

/**
 * @typedef {import('../suite/result.mjs').Facts & { format: 'wasm-attention-models', date: string, starts: ModelStart[],
 *   results: { workload: { label: string, flop: number }, entries: ModelEntry[] }[] }} ModelFile
 */

/** That of a folder of results. @param {string} folder @returns {ModelFile | undefined} */
export function readModels(folder) {
  const path = join(folder, 'models', 'node-24.json');
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined;
}

/** @param {ModelFile} file @returns {string[]} Markdown */
export function modelsSection({ engine, machine, date, versions, results, starts }) {
  const others = Object.entries(versions).filter(([name]) => name !== OWN);
  const rival = others[0]?.[0];
  const exponent = (/** @type {number | undefined} */ value) => value?.toExponential(1) ?? '-';
  const rows = results.map(({ workload, entries }) => {
    const own = fastest(entries.filter(({ peer }) => peer === OWN));
    const theirs = entries.find(({ peer }) => peer === rival);
    return [
      workload.label,
      digits(own.time.median),
      own.readShare ? `${percent(own.readShare.median)} r` : percent(own.share?.median),
      digits(own.rivalOverOurs?.median),
      own.timeOverParts ? percent(own.timeOverParts.median - 1) : '-',
      exponent(own.rootMeanSquareError),
      exponent(theirs?.rootMeanSquareError),
      exponent(own.fromRival),
    ];
  });
  const head = [
    'model',
    'ms',
    'limit',
    rival ?? 'others',
    'beyond parts',
    'error, ours',
    'error, theirs',
    'apart',
  ];
  return [
    '## Whole models',
    `${[`${engine.name} ${engine.version}`, machine.processor].filter(Boolean).join(', ')}, ${date.slice(0, 10)}; ` +
      `${others.map((one) => one.join(' ')).join(', ')}: the same graphs with its fused operators. From ids to a fresh array, ` +
      'weights random. **beyond parts**: what the encoder takes beyond its products and attention run alone. **apart**: the largest ' +
      'difference between the two results.',
    ...formatBlock({ kind: 'table', head, left: 1, rows }),
    ...startsLine(starts),
    ...memoryLine(results),
  ];
}

/** @param {ModelEntry[]} entries */
const fastest = (entries) => entries.reduce((best, one) => (one.time.median < best.time.median ? one : best));

/** @param {ModelStart[]} starts @returns {string[]} */
function startsLine(starts) {
  const own = starts.find(({ peer }) => peer === OWN);
  if (!own) return [];
  const first = (/** @type {ModelStart} */ { firstResult }) => firstResult.median;
  const rival = starts.filter(({ peer }) => peer !== OWN).sort((a, b) => first(a) - first(b))[0];
  const theirs = rival ? `; ${rival.peer}, ${digits(first(rival))} ms` : '';
  return [
    `From the file of the first model in memory to the first result, in a fresh process: ${digits(first(own))} ms${theirs}.`,
  ];
}

/** @param {ModelFile['results']} results @returns {string[]} */
function memoryLine(results) {
  const all = results.flatMap(({ entries }) => entries.flatMap(({ memory }) => memory?.loaded ?? []));
  if (all.length === 0) return [];
  const most = Math.max(...all.map(({ capacity, weights }) => capacity / weights - 1));
  return [`Linear memory of a loaded model beyond its weights: at most ${percent(most)}.`];
}
