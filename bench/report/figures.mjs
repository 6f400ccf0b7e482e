// `npm run bench:figures -- FILE [README.md]`: writes the figures of a result file into the README, between
// <!-- figures --> and <!-- /figures -->, so that none is copied by hand.

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { OWN, factorOver, ownBest } from '../suite/analysis.mjs';
import { WIDE_SPREAD } from '../suite/statistics.mjs';
import { digits, percent } from '../tables.mjs';
import { formatBlock } from './markdown.mjs';
import { readResults } from './results.mjs';

const SHOWN = ['layer', 'attention', 'decode', 'product', 'start'];
const BETWEEN = /(<!-- figures -->)[^]*?(<!-- \/figures -->)/;

/**
 * The line that says what was measured where, and a table of our times and how many times as long the others take.
 *
 * @param {import('../suite/result.mjs').ResultFile} file
 * @returns {string} Markdown
 */
export function formatFigures({ machine, engine, versions, date, results }) {
  const peers = Object.keys(versions).filter((name) => name !== OWN);
  const shown = results.filter(({ workload, entries }) => SHOWN.includes(workload.group) && ownBest(entries));
  const rows = shown.map(({ workload, entries }) => {
    const best = /** @type {import('../suite/result.mjs').Entry} */ (ownBest(entries));
    const factors = peers.map((peer) => {
      const entry = entries.find((one) => one.peer === peer);
      const factor = entry && factorOver(entry, best);
      if (factor) return digits(factor.median) + (factor.spread > WIDE_SPREAD ? ' *' : '');
      return entry?.state === 'failed' ? 'failed' : '-';
    });
    const share = best.share ? percent(best.share.median) + (workload.limit === 'memory' ? ' r' : '') : '-';
    return [`${workload.group} ${workload.label}`, digits(best.time?.median), share, ...factors];
  });
  const text =
    `${engine.name} ${engine.version}, ${machine.processor}, one thread, ${date.slice(0, 10)}: milliseconds of a ` +
    'call, share of the limit of the engine (multiply-adds, or reading: r), and how many times as long others take. ' +
    `A * marks a spread above ${percent(WIDE_SPREAD)}. Versions: ` +
    `${peers
      .filter((peer) => peer !== 'plain-javascript')
      .map((peer) => `${peer} ${versions[peer]}`)
      .join(', ')}; onnxruntime-node is native code.`;
  const head = ['workload', 'ms', 'of the limit', ...peers];
  return [text, formatBlock({ kind: 'table', head, left: 1, rows })].join('\n\n');
}

/** @param {string} readme @param {string} figures @returns {string} */
export function insertFigures(readme, figures) {
  if (!BETWEEN.test(readme))
    throw new Error('there is no <!-- figures --> with a <!-- /figures --> after it');
  return readme.replace(BETWEEN, (_, open, close) => `${open}\n\n${figures}\n\n${close}`);
}

/** @param {string} results @param {string} readme paths */
async function fill(results, readme) {
  const text = insertFigures(readFileSync(readme, 'utf8'), formatFigures(readResults(results)));
  writeFileSync(readme, await format(text, { ...(await resolveConfig(readme)), filepath: readme }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [results, readme = fileURLToPath(new URL('../../README.md', import.meta.url))] =
    process.argv.slice(2);
  try {
    if (!results) throw new Error('name a result file, and the README if it is another');
    await fill(results, readme);
  } catch (error) {
    console.error(`bench:figures: ${/** @type {Error} */ (error).message}`);
    process.exitCode = 2;
  }
}
