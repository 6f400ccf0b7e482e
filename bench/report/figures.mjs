// `npm run bench:figures [-- FOLDER]`: writes the figures of the result files in bench/results/ into the README (between
// <!-- figures --> and <!-- /figures -->, and into the line at its top) and into docs/figures.md, so that none is copied by hand.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { OWN, factorOver, ownBest } from '../suite/analysis.mjs';
import { RIVAL, headline, range, relativeTimes } from '../suite/headline.mjs';
import { WIDE_SPREAD } from '../suite/statistics.mjs';
import { inWords, peerInWords, phrase, shortReason } from '../suite/words.mjs';
import { digits, percent } from '../tables.mjs';
import { enginesBlocks } from './document.mjs';
import { formatBlock } from './markdown.mjs';
import { modelsSection, readModels } from './models.mjs';
import { readResults } from './results.mjs';

/** @typedef {import('../suite/result.mjs').ResultFile} ResultFile */
/** @typedef {import('../suite/result.mjs').Result} Result */
/** @typedef {{ name: string, file: ResultFile }} Run */

const root = (/** @type {string} */ path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const BETWEEN = /(<!-- figures -->)[^]*?(<!-- \/figures -->)/;
const LINE = /(<!-- speed -->)[^]*?(<!-- \/speed -->)/;

/** The run that the README shows, and those that it sums up in a sentence each. */
const MAIN = 'node-24';
const OTHERS = ['node-20', 'chromium'];

/** The README's rows. */
const SHOWN = [
  'layer-d64-h4-n16',
  'layer-d768-h12-n128',
  'layer-d768-h12-n512',
  'layer-d768-h12-n1024-causal',
  'attention-h12-dh64-n512',
  'attention-h12-dh64-n1024-causal',
  'attention-h12-dh64-n2048-window256',
  'attention-h32/8-dh128-n512-causal',
  'decode-h12-dh64-keys2048',
  'start-process-d768-h12-n128',
];

/** Peers of a run, the one that most would use first. @param {ResultFile} file */
const peersOf = ({ results }) =>
  [...new Set(results.flatMap(({ entries }) => entries.map(({ peer }) => peer)))]
    .filter((peer) => peer !== OWN)
    .sort((a, b) => Number(b === RIVAL) - Number(a === RIVAL));

/** @param {Result} result @param {string} peer */
function relativeTime({ entries }, peer) {
  const entry = entries.find((one) => one.peer === peer);
  const factor = entry && factorOver(entry, ownBest(entries));
  const mark = '\u00a0*'; // on the line of its number
  if (factor) return digits(factor.median) + (factor.spread > WIDE_SPREAD ? mark : '');
  return entry?.state === 'failed' ? 'failed' : '-';
}

const scientific = (/** @type {number | undefined} */ value) => value?.toExponential(1) ?? '-';

/** Ours and theirs. @param {Result} result */
const errors = ({ entries }) =>
  [ownBest(entries), entries.find(({ peer }) => peer === RIVAL)].map((entry) =>
    scientific(entry?.rootMeanSquareError),
  );

/** @param {ResultFile} file */
const place = ({ engine, machine }) =>
  [`${engine.name} ${engine.version}`, machine.processor].filter(Boolean).join(', ');

/**
 * @param {readonly Run[]} runs
 * @returns {string} Markdown: a table of at most ten rows, and a sentence for each other engine
 */
export function readmeFigures(runs) {
  const main = runs.find(({ name }) => name === MAIN) ?? runs[0];
  const peers = peersOf(main.file).filter((peer) => !['onnxruntime-node', 'plain-javascript'].includes(peer));
  const shown = SHOWN.flatMap((id) => main.file.results.find(({ workload }) => workload.id === id) ?? []);
  const rows = shown.map((result) => [
    phrase(result.workload),
    digits(ownBest(result.entries)?.time?.median),
    ...peers.map((peer) => relativeTime(result, peer)),
    errors(result).join(' / '),
  ]);
  const head = ['one thread', 'ours, ms', ...peers.map(peerInWords), `error / ${RIVAL}'s`];
  return [
    `${place(main.file)}, ${main.file.date.slice(0, 10)}. Columns of others: **time relative to ${OWN}** (below 1: they are ` +
      `faster). Error: root mean square against float64. A * marks a spread above ${percent(WIDE_SPREAD)}.`,
    formatBlock({ kind: 'table', head, left: 1, rows }).join(''),
    ...OTHERS.flatMap((name) => runs.find((run) => run.name === name) ?? []).flatMap(otherEngine),
  ].join('\n\n');
}

/** The line at the top of the README: layers against the rival, engine by engine. @param {readonly Run[]} runs */
export function speedLine(runs) {
  const parts = [MAIN, ...OTHERS].flatMap((name) => {
    const run = runs.find((one) => one.name === name);
    const layers = run?.file.results.filter(({ workload }) => workload.group === 'layer') ?? [];
    const times = relativeTimes(layers, RIVAL);
    return run && times.length > 0
      ? [`${range(times)}${MAIN === name ? ' times as long' : ''} in ${engineOf(run)}`]
      : [];
  });
  return parts.length > 0 ? `For a layer ${RIVAL} takes ${parts.join(', ')}.` : '';
}

/** @param {Run} run */
const engineOf = ({ file: { engine } }) => `${engine.name} ${engine.version.split('.')[0]}`;

/** How the rival does elsewhere, by kind of work. @param {Run} run @returns {string[]} none where it was not measured */
function otherEngine(run) {
  const { file } = run;
  const kinds = /** @type {const} */ ([
    ['layer', 'for layers'],
    ['attention', 'for attention'],
    ['decode', 'for decoding'],
  ]);
  const parts = kinds.flatMap(([group, words]) => {
    const times = relativeTimes(
      file.results.filter(({ workload }) => workload.group === group),
      RIVAL,
    );
    return times.length > 0 ? [`${range(times)} times as long ${words}`] : [];
  });
  if (parts.length === 0) return [];
  const builds = new Set(file.results.flatMap(({ entries }) => ownBest(entries)?.variant ?? []));
  const only = builds.size === 1 ? ` (\`${[...builds][0]}\` build)` : '';
  return [`In ${engineOf(run)}${only} ${RIVAL} takes ${parts.join(', ')}.`];
}

/**
 * What is in docs/figures.md.
 *
 * @param {readonly Run[]} runs
 * @param {import('./models.mjs').ModelFile} [models]
 * @returns {string} Markdown
 */
export function figuresPage(runs, models) {
  const compared = runs.filter(({ file }) => peersOf(file).length > 0);
  return [
    '# Figures',
    'Written by `npm run bench:figures` from the results in `bench/results/`; `npm run bench` measures on your machine.',
    `- **ms**: median time of one call on one thread, typed arrays in, a fresh typed array out; weights and models are prepared ahead.
- **limit**: share of the rate at which the engine multiplies and adds, measured at the same moment; with an r, of the rate at
  which it reads as many bytes.
- **Columns of others**: their time relative to ${OWN}; below 1 they are faster. Each peer does the work in its fastest way.
- **error**: root mean square difference from float64 over sampled rows.
- **failed**: the peer ended with an error, gave a result off by more than 1e-3, or has no way to do the work at this size;
  the reasons stand below the table. **-**: has no such function, or was not asked.
- A \\* marks a spread above ${percent(WIDE_SPREAD)} over the rounds: too wide to conclude from.`,
    'Times compare within one table only.',
    ...compared.flatMap(runTables),
    ...(models ? modelsSection(models) : []),
    '## All engines',
    ...enginesBlocks(runs.filter(({ file }) => !file.missing)).flatMap(formatBlock),
  ].join('\n\n');
}

/** @param {Run} run @returns {string[]} */
function runTables(run) {
  const { file } = run;
  const peers = peersOf(file);
  const known = peers
    .filter((peer) => peer !== 'plain-javascript')
    .map((peer) => `${peerInWords(peer)} ${file.versions[peer]}`);
  const shown = file.results.filter(
    ({ workload, entries }) =>
      ownBest(entries) && (entries.some(({ peer }) => peer !== OWN) || workload.group === 'start'),
  );
  const timed = shown.filter(({ workload }) => workload.group !== 'memory');
  const rows = timed.map((result) => {
    const best = ownBest(result.entries);
    const share = best?.share ? percent(best.share.median) : '-';
    return [
      phrase(result.workload),
      digits(best?.time?.median),
      share + (best?.share && result.workload.limit === 'memory' ? ' r' : ''),
      ...peers.map((peer) => relativeTime(result, peer)),
      ...errors(result),
    ];
  });
  const head = ['work', 'ms', 'limit', ...peers.map(peerInWords), 'error, ours', `error, ${RIVAL}`];
  return [
    `## ${engineOf(run)}`,
    `${place(file)}, ${file.date.slice(0, 10)}; ${known.join(', ')}.`,
    headline(file.results).join(' '),
    ...formatBlock({ kind: 'table', head, left: 1, rows }),
    ...memoryTable(shown.filter(({ workload }) => workload.group === 'memory')),
    ...failures(shown),
  ];
}

/** @param {readonly Result[]} results @returns {string[]} */
function memoryTable(results) {
  if (results.length === 0) return [];
  const megabytes = (/** @type {Result} */ { entries }, /** @type {string} */ peer) => {
    const entry = peer === OWN ? ownBest(entries) : entries.find((one) => one.peer === peer);
    if (entry?.growth !== undefined) return (entry.growth / 2 ** 20).toFixed(0);
    return entry?.state === 'failed' ? 'failed' : '-';
  };
  const peers = [
    OWN,
    ...new Set(results.flatMap(({ entries }) => entries.map(({ peer }) => peer).filter((p) => p !== OWN))),
  ];
  const rows = results.map((result) => [
    inWords(result.workload).size,
    ...peers.map((peer) => megabytes(result, peer)),
  ]);
  return [
    'Memory that one call takes in a fresh process, inputs and outputs included, MiB:',
    ...formatBlock({ kind: 'table', head: ['attention', ...peers.map(peerInWords)], left: 1, rows }),
  ];
}

/** Why something has no figure, each reason once. @param {readonly Result[]} results @returns {string[]} */
function failures(results) {
  /** @type {Map<string, string[]>} */
  const reasons = new Map();
  for (const { workload, entries } of results) {
    for (const { peer, state, reason } of entries) {
      if (peer === OWN || (state !== 'failed' && state !== 'skipped')) continue;
      const because = shortReason(reason?.replace(/^Error: /, ''));
      const why = `${peerInWords(peer)} ${state === 'failed' ? 'failed' : 'was not asked'} (${because})`;
      reasons.set(why, [...(reasons.get(why) ?? []), phrase(workload)]);
    }
  }
  if (reasons.size === 0) return [];
  return [[...reasons].map(([why, places]) => `- ${why}: ${places.join('; ')}`).join('\n')];
}

/** @param {string} readme @param {string} figures @param {string} [line] at the top @returns {string} */
export function insertFigures(readme, figures, line = '') {
  if (!BETWEEN.test(readme))
    throw new Error('there is no <!-- figures --> with a <!-- /figures --> after it');
  return readme
    .replace(BETWEEN, (_, open, close) => `${open}\n\n${figures}\n\n${close}`)
    .replace(LINE, (_, open, close) => open + line + close);
}

/** Every result file of a folder that was made by an engine. @param {string} folder @returns {Run[]} */
export const readRuns = (folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .map((name) => ({ name: name.replace(/\.json$/, ''), file: readResults(join(folder, name)) }));

/**
 * Both pages as they should be.
 *
 * @param {readonly Run[]} runs
 * @param {import('./models.mjs').ModelFile} [models]
 * @returns {Promise<Record<string, string>>} contents by path
 */
export async function formatPages(runs, models) {
  const readme = root('README.md');
  const page = root('docs/figures.md');
  const tidy = async (/** @type {string} */ text, /** @type {string} */ path) =>
    format(text, { ...(await resolveConfig(path)), filepath: path });
  return {
    [readme]: await tidy(
      insertFigures(readFileSync(readme, 'utf8'), readmeFigures(runs), speedLine(runs)),
      readme,
    ),
    [page]: await tidy(figuresPage(runs, models), page),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const folder = process.argv[2] ?? root('bench/results');
    const runs = readRuns(folder);
    const models = readModels(folder);
    if (runs.length === 0) throw new Error('there are no result files');
    for (const [path, text] of Object.entries(await formatPages(runs, models))) writeFileSync(path, text);
  } catch (error) {
    console.error(`bench:figures: ${/** @type {Error} */ (error).message}`);
    process.exitCode = 2;
  }
}
