// What a report says, as sections of text, tables and plots. markdown.mjs and html.mjs write it down.

import { cliffs, entryName, factorOver, growths, ownBest, OWN } from '../suite/analysis.mjs';
import { headline } from '../suite/headline.mjs';
import { CLIFF, WIDE_SPREAD } from '../suite/statistics.mjs';
import { inWords, peerInWords, phrase, shortReason } from '../suite/words.mjs';
import { groupTitles } from '../suite/workloads.mjs';
import { digits, percent } from '../tables.mjs';
import { plotsFor } from './which-plots.mjs';

/** @typedef {import('../suite/result.mjs').ResultFile} ResultFile */
/** @typedef {import('../suite/result.mjs').Result} Result */

/** @typedef {{ kind: 'text', text: string } | { kind: 'warning', text: string } | { kind: 'headline', text: string } |
 *   { kind: 'table', head: string[], left: number, rows: string[][] } |
 *   { kind: 'plot', plot: import('./plots.mjs').PlotName, title: string, file: ResultFile }} Block */

/** @typedef {{ title: string, level: number, blocks: Block[] }} Section */

/** @param {readonly { name: string, file: ResultFile }[]} files @returns {Section[]} */
export function makeReport(files) {
  const ran = files.filter(({ file }) => file.missing === undefined);
  const main = mainRun(ran);
  return [
    {
      title: 'Benchmarks of wasm-attention',
      level: 1,
      blocks: [...openingBlocks(main), runsTable(files)],
    },
    ...(ran.length > 1
      ? [{ title: 'Every engine against its own limit', level: 2, blocks: enginesBlocks(ran) }]
      : []),
    ...ran.flatMap(({ name, file }) => runSections(name, file, file === main)),
    ...(ran.length > 0 ? [{ title: 'How it was measured', level: 2, blocks: methodTexts(ran) }] : []),
  ];
}

/** The run that compares with most others. @param {readonly { file: ResultFile }[]} files */
function mainRun(files) {
  const compared = (/** @type {ResultFile} */ { results }) =>
    new Set(results.flatMap(({ entries }) => entries.map(({ peer }) => peer))).size;
  return [...files].sort((a, b) => compared(b.file) - compared(a.file))[0]?.file;
}

/** The main run's result, before anything else. @param {ResultFile | undefined} file @returns {Block[]} */
function openingBlocks(file) {
  const [first, ...others] = headline(file?.results ?? []);
  if (!file || !first) return [];
  return [
    { kind: 'headline', text: first },
    { kind: 'text', text: [...others, `Measured in ${engineName(file.engine)}, on one thread.`].join(' ') },
    ...plotBlocks(file).filter(isComparison),
  ];
}

/** @param {ResultFile} file @returns {Extract<Block, { kind: 'plot' }>[]} */
const plotBlocks = (file) => plotsFor(file).map((plot) => ({ kind: 'plot', ...plot, file }));

/** @param {Block} block */
const isComparison = (block) => block.kind === 'plot' && block.plot === 'factors';

/** @param {ResultFile['engine']} engine */
const engineName = ({ name, version }) => `${name} ${version}`;

/** @param {readonly { name: string, file: ResultFile }[]} files @returns {Block} */
function runsTable(files) {
  const rows = files.map(({ name, file }) => {
    const { machine, engine, versions, date, results, missing, ended } = file;
    const details = [machine.processor, machine.cores && `${machine.cores} cores`, machine.system].filter(
      Boolean,
    );
    const held =
      ended === undefined
        ? `${results.length} workloads`
        : `${results.length} workloads, ended early: ${ended}`;
    const counted = missing === undefined ? held : `missing: ${missing}`;
    return [name, engineName(engine), details.join(', '), versions[OWN] ?? '-', date.slice(0, 10), counted];
  });
  return { kind: 'table', head: ['run', 'engine', 'machine', 'version', 'date', 'holds'], left: 6, rows };
}

/** @param {readonly { file: ResultFile }[]} files @returns {Block[]} */
function methodTexts(files) {
  const [first] = files;
  if (!first) return [];
  const { call, timing, limit, spread, error } = /** @type {Record<string, string>} */ (first.file.method);
  return [
    {
      kind: 'text',
      text: `A call: ${call}. Times: ${timing}. Limit: ${limit}. Spread: ${spread}. Error: ${error}.`,
    },
    {
      kind: 'text',
      text: 'Times compare within one run only. Across runs this report compares nothing but shares of the own limit.',
    },
  ];
}

/** @param {readonly { name: string, file: ResultFile }[]} files @returns {Block[]} */
export function enginesBlocks(files) {
  const ids = [...new Set(files.flatMap(({ file }) => file.results.map(({ workload }) => workload.id)))];
  const shares = (/** @type {ResultFile} */ file, /** @type {string} */ id) =>
    ownBest(file.results.find(({ workload }) => workload.id === id)?.entries ?? []);
  const workloadOf = (/** @type {string} */ id) =>
    /** @type {Result} */ (
      files.flatMap(({ file }) => file.results).find(({ workload }) => workload.id === id)
    ).workload;
  const rows = ids
    .map((id) => [
      phrase(workloadOf(id)),
      ...files.map(({ file }) => {
        const best = shares(file, id);
        return best?.share ? `${percent(best.share.median)} ${best.variant}` : '-';
      }),
    ])
    .filter((row) => row.slice(1).some((cell) => cell !== '-'));
  const head = [
    'work',
    ...files.map(({ file }) => `${file.engine.name} ${file.engine.version.split('.')[0]}`),
  ];
  return [
    {
      kind: 'text',
      text: 'Share of the limit: the fastest build on one thread, against the rate at which the same engine multiplies and adds (or reads, for softmax, copies, single rows and ungrouped decoding) at the same moment.',
    },
    { kind: 'table', head, left: 1, rows },
  ];
}

/** @param {string} name @param {ResultFile} file @param {boolean} isMain its comparison has been shown @returns {Section[]} */
function runSections(name, file, isMain) {
  const { engine, versions, absent, results } = file;
  const known = Object.entries(versions)
    .filter(([peer]) => peer !== 'plain-javascript')
    .map(([peer, version]) => `${peerInWords(peer)} ${version}`);
  const details = Object.entries(engine).filter(([key]) => key !== 'name' && key !== 'version');
  /** @type {Block[]} */
  const head = [
    { kind: 'text', text: [...known, ...details.map(([key, value]) => `${key} ${value}`)].join(', ') },
    ...Object.entries(absent).map(([peer, reason]) => ({
      kind: /** @type {const} */ ('warning'),
      text: `Without ${peer}: ${reason}`,
    })),
    ...noiseWarnings(results),
    ...plotBlocks(file).filter((block) => !(isMain && isComparison(block))),
  ];
  const groups = [...new Set(results.map(({ workload }) => workload.group))];
  return [
    { title: `${engineName(engine)} (${name})`, level: 2, blocks: head },
    ...groups.map((group) =>
      groupSection(
        group,
        results.filter(({ workload }) => workload.group === group),
      ),
    ),
    ...growthSections(results),
  ];
}

/** @param {readonly Result[]} results @returns {Block[]} */
function noiseWarnings(results) {
  const wide = results.flatMap(({ workload, entries }) =>
    entries
      .filter(({ time }) => time && time.spread > WIDE_SPREAD)
      .map((entry) => `${phrase(workload)} (${entryName(entry)} ${percent(entry.time?.spread)})`),
  );
  if (wide.length === 0) return [];
  const measured = results.flatMap(({ entries }) => entries.filter(({ time }) => time)).length;
  const named = wide.length > 3 ? `${wide.slice(0, 3).join('; ')}; and others` : wide.join('; ');
  const text = `The spread is above ${percent(WIDE_SPREAD)} in ${wide.length} of ${measured} measurements, too wide to conclude from: ${named}. They are marked *.`;
  return [{ kind: 'warning', text }];
}

/** The group's title says what is done, except where it holds several things. @param {import('../suite/result.mjs').WorkloadFacts} workload */
const sizeOf = (workload) =>
  ['odd', 'start'].includes(workload.group) ? phrase(workload) : inWords(workload).size;

/** @param {string} group @param {readonly Result[]} results @returns {Section} */
function groupSection(group, results) {
  const hasMemory = results.some(({ entries }) => entries.some(({ growth }) => growth !== undefined));
  const rows = results.flatMap(({ workload, entries }) => {
    const best = ownBest(entries);
    return entries.map((entry) => {
      const { state, reason, time, gflops, share, growth, error, rootMeanSquareError } = entry;
      const names = [sizeOf(workload), entryName({ ...entry, peer: peerInWords(entry.peer) })];
      if (!time) return [...names, `${state}: ${shortReason(reason)}`];
      return [
        ...names,
        digits(time.median),
        percent(time.spread) + (time.spread > WIDE_SPREAD ? ' *' : ''),
        digits(gflops),
        share ? percent(share.median) + (workload.limit === 'memory' ? ' of reading' : '') : '-',
        digits(factorOver(entry, best)?.median),
        rootMeanSquareError?.toExponential(1) ?? '-',
        error?.toExponential(1) ?? '-',
        ...(hasMemory ? [growth === undefined ? '-' : (growth / 2 ** 20).toFixed(0)] : []),
      ];
    });
  });
  const head = ['work', 'who', 'ms', 'spread', 'GFLOP/s', 'of the limit', 'time, ours = 1'];
  head.push('error (rms)', 'largest');
  if (hasMemory) head.push('MiB');
  const whole = rows.map((row) => [...row, ...Array(head.length - row.length).fill('')]);
  return {
    title: groupTitles[group] ?? group,
    level: 3,
    blocks: [{ kind: 'table', head, left: 2, rows: whole }],
  };
}

/** @param {readonly Result[]} results @returns {Section[]} */
function growthSections(results) {
  const grown = growths(results);
  const odd = cliffs(results);
  const name = (/** @type {string} */ id) => {
    const found = results.find(({ workload }) => workload.id === id);
    return found ? phrase(found.workload) : id;
  };
  /** @type {Block[]} */
  const blocks = [];
  if (grown.length > 0) {
    const rows = grown.map(({ series, build, points, exponent, expected, residual }) => [
      series,
      build,
      `${points[0].size} to ${points[points.length - 1].size}`,
      exponent.toFixed(2),
      expected.toFixed(2),
      percent(residual),
    ]);
    const head = ['series', 'build', 'sizes', 'exponent', 'of the arithmetic', 'off the line'];
    blocks.push({ kind: 'table', head, left: 3, rows });
  }
  if (odd.length > 0) {
    const rows = odd.map(({ id, build, ratio, isCliff }) => [
      name(id),
      build,
      ratio.toFixed(2),
      isCliff ? 'CLIFF' : '',
    ]);
    blocks.push({
      kind: 'text',
      text: `Odd sizes: cost over the straight line between the round neighbours; a cliff from ${CLIFF} on.`,
    });
    blocks.push({ kind: 'table', head: ['work', 'build', 'ratio', ''], left: 2, rows });
    const fallen = odd.filter(({ isCliff }) => isCliff);
    if (fallen.length > 0) {
      const text = `Cliffs: ${fallen.map(({ id, build }) => `${name(id)} (${build})`).join('; ')}`;
      blocks.push({ kind: 'warning', text });
    }
  }
  return blocks.length > 0 ? [{ title: 'Growth and odd sizes', level: 3, blocks }] : [];
}
