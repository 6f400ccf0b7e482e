// Results as tables for a terminal of 110 columns, and as JSON.

import { cpus, totalmem } from 'node:os';
import { groupTitles } from './workloads.mjs';

/** @typedef {import('./suite.mjs').Entry} Entry */
/** @typedef {import('./suite.mjs').Group} Group */

const NONE = '-';

/** Three significant digits, without exponents. @param {number | undefined} value */
function digits(value) {
  if (value === undefined || !Number.isFinite(value)) return NONE;
  if (value >= 99.95) return value.toFixed(0);
  if (value >= 9.995) return value.toFixed(1);
  return value >= 0.9995 ? value.toFixed(2) : value.toPrecision(3);
}

/** @param {number | undefined} share */
const percent = (share) =>
  share === undefined ? NONE : `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)} %`;

/** @param {number | undefined} error */
function errorText(error) {
  return error === undefined ? NONE : error.toExponential(1);
}

/** @param {number | undefined} bytes */
const megabytes = (bytes) => (bytes === undefined ? NONE : (bytes / 2 ** 20).toFixed(0));

/** @param {Entry} entry @param {import('./workloads.mjs').Workload} workload */
const shareText = (entry, workload) =>
  percent(entry.share) + (entry.share !== undefined && workload.limit === 'memory' ? ' r' : '');

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

/** Fastest way of a peer to do a workload. @param {Entry[]} entries @returns {Entry | undefined} */
function fastest(entries) {
  const measured = entries.filter(({ timing }) => timing);
  return measured.sort((a, b) => (a.timing?.median ?? 0) - (b.timing?.median ?? 0))[0];
}

/**
 * One row for each workload and build of this library: its rates, and how many times longer each peer takes.
 *
 * @param {Group} group
 * @param {import('./peers/peer.mjs').Peer[]} peers
 */
function summaryTable(group, peers) {
  const others = peers.filter(({ name }) => name !== 'wasm-attention');
  const rows = group.workloads.flatMap((workload) => {
    const entries = group.entries.filter((entry) => entry.workload === workload.id);
    return entries
      .filter((entry) => entry.peer === 'wasm-attention' && entry.timing)
      .map((ours) => summaryRow(workload, ours, entries, others));
  });
  if (rows.length === 0) return '';
  const factors = others.map(({ short }) => `x ${short}`);
  const head = ['workload', 'build', 'ms', 'spread', 'GFLOP/s', 'peak', ...factors, 'error'];
  return table(head, rows, 2);
}

/**
 * @param {import('./workloads.mjs').Workload} workload
 * @param {Entry} ours
 * @param {Entry[]} entries
 * @param {import('./peers/peer.mjs').Peer[]} others
 */
function summaryRow(workload, ours, entries, others) {
  const time = ours.timing?.median ?? NaN;
  const factors = others.map(({ name }) => {
    const ways = entries.filter(({ peer }) => peer === name);
    const best = fastest(ways);
    if (best?.timing) return digits(best.timing.median / time);
    return ways.some(({ state }) => state === 'failed') ? 'failed' : NONE;
  });
  const rates = [digits(time), percent(ours.timing?.spread), digits(ours.gflops), shareText(ours, workload)];
  return [workload.label, ours.variant, ...rates, ...factors, errorText(ours.timing?.error)];
}

/** One row for each way of each peer. @param {Group} group */
function detailTable(group) {
  const isMemory = group.entries.some(({ timing }) => timing?.growth !== undefined);
  const head = [
    'workload',
    'peer',
    'ms',
    'spread',
    'GFLOP/s',
    'peak',
    ...(isMemory ? ['MB'] : []),
    'error',
    'samples',
  ];
  const rows = group.workloads.flatMap((workload) =>
    group.entries
      .filter((entry) => entry.workload === workload.id && entry.state === 'measured')
      .map((entry, index) => detailRow(workload, entry, index === 0, isMemory)),
  );
  return rows.length === 0 ? '' : table(head, rows, 2);
}

/**
 * @param {import('./workloads.mjs').Workload} workload
 * @param {Entry} entry
 * @param {boolean} isFirst
 * @param {boolean} isMemory
 */
function detailRow(workload, entry, isFirst, isMemory) {
  const { timing } = entry;
  return [
    isFirst ? workload.label : '',
    `${entry.peer} ${entry.variant}`.trim(),
    digits(timing?.median),
    percent(timing?.spread),
    digits(entry.gflops),
    shareText(entry, workload),
    ...(isMemory ? [megabytes(timing?.growth)] : []),
    errorText(timing?.error),
    String(timing?.samples),
  ];
}

/** What was not measured and why, each reason once. @param {Group} group */
function missingLines(group) {
  /** @type {Map<string, string[]>} */
  const places = new Map();
  for (const { state, peer, variant, reason, workload } of group.entries) {
    if (state === 'measured') continue;
    const key = `  ${`${peer} ${variant}`.trim()} ${state}: ${reason}`.slice(0, 80);
    const label = group.workloads.find(({ id }) => id === workload)?.label ?? workload;
    places.set(key, [...(places.get(key) ?? []), label]);
  }
  return [...places].map(([key, labels]) =>
    labels.length > 1 ? `${key} (${labels.length} workloads)` : `${key} (${labels[0]})`,
  );
}

/** @param {Group} group */
function groupHead({ name, peaks, readBandwidth }) {
  const known = Object.entries(peaks).map(([build, peak]) => `${build} ${digits(peak)} GFLOP/s`);
  if (readBandwidth !== null) known.push(`reading ${digits(readBandwidth)} GB/s`);
  return `${groupTitles[name]}${known.length > 0 ? `\n  peak: ${known.join(', ')}` : ''}`;
}

/** @param {Group} group @param {import('./peers/peer.mjs').Peer[]} peers */
export function formatGroup(group, peers) {
  const parts = [summaryTable(group, peers), detailTable(group), missingLines(group).join('\n')];
  return [groupHead(group), ...parts.filter((part) => part !== '')].join('\n\n');
}

/** What the numbers depend on. @param {Record<string, string>} versions */
export function describe(versions) {
  const { node, v8 } = process.versions;
  const processors = cpus();
  return {
    date: new Date().toISOString(),
    machine: {
      processor: processors[0]?.model.trim() ?? 'unknown',
      cores: processors.length,
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      system: `${process.platform} ${process.arch}`,
    },
    engine: { node, v8 },
    versions,
  };
}

/**
 * @param {ReturnType<typeof describe>} facts
 * @param {Record<string, string>} missing peer -> why it is absent
 */
export function formatHead({ date, machine, engine, versions }, missing) {
  const named = Object.entries(versions).filter(([name]) => name !== 'plain-javascript');
  return [
    `Node ${engine.node}, V8 ${engine.v8}, ${machine.processor}, ${machine.cores} cores, ${date.slice(0, 10)}`,
    named.map(([name, version]) => `${name} ${version}`).join(', '),
    ...Object.entries(missing).map(([name, reason]) => `without ${name}: ${reason}`),
  ]
    .filter((line) => line !== '')
    .join('\n');
}

/**
 * @param {ReturnType<typeof describe>} facts
 * @param {Group[]} groups
 * @param {import('./measure.mjs').Effort} effort
 */
export function toJson(facts, groups, effort) {
  const method = {
    call: 'typed arrays in, a fresh typed array out; weights and models prepared ahead; one thread',
    timing: 'interleaved rounds, warm-up before, median of samples, spread = (p75 - p25) / median; tinybench',
    units: { time: 'ms', rate: 'GFLOP/s of live arithmetic', growth: 'bytes of resident memory' },
    error: 'largest absolute difference from float64 on sampled rows',
    effort,
  };
  const tables = groups.map(({ name, peaks, readBandwidth, workloads, entries }) => ({
    group: name,
    peaks,
    readBandwidth,
    results: workloads.map(({ id, kind, shapes, flop }) => ({
      id,
      kind,
      shapes,
      flop,
      entries: entries
        .filter(({ workload }) => workload === id)
        .map((entry) => ({ ...entry, workload: undefined })),
    })),
  }));
  return `${JSON.stringify({ ...facts, method, groups: tables }, null, 2)}\n`;
}
