// The plots of results, drawn by Observable Plot into SVG: for a report, where a document without a browser is handed in,
// and for the page, which has one.

import * as Plot from '@observablehq/plot';
import { OWN, buildGains, entryName, factorOver, growths, ownBest, threadGains } from '../suite/analysis.mjs';

const WIDTH = 860;
const ROW = 17;

/** @typedef {import('../suite/result.mjs').ResultFile} ResultFile */
/** @typedef {{ document?: Document, width?: number }} Surface */

/** @param {ResultFile} file @param {Surface} surface */
function shares({ results }, surface) {
  const data = results
    .filter(({ workload }) => workload.group !== 'odd' && !workload.series)
    .flatMap(({ workload, entries }) =>
      entries
        .filter(({ peer, share }) => peer === OWN && share)
        .map((entry) => ({ id: workload.id, name: entryName(entry), ...entry.share })),
    );
  const count = new Set(data.map(({ id }) => id)).size;
  return Plot.plot({
    ...frame(surface),
    height: 60 + count * ROW,
    marginLeft: labelRoom(surface),
    x: { label: 'share of the limit, %', domain: [0, 100], transform: (x) => 100 * x, grid: true },
    y: { label: null, domain: [...new Set(data.map(({ id }) => id))] },
    color: colours(data),
    marks: [
      Plot.ruleY(data, { y: 'id', x1: 'p25', x2: 'p75', stroke: 'name', strokeWidth: 3, strokeOpacity: 0.4 }),
      Plot.dot(data, {
        y: 'id',
        x: 'median',
        fill: 'name',
        r: 4,
        title: ({ name, median }) => `${name}: ${Math.round(100 * median)} %`,
      }),
    ],
  });
}

/** @param {ResultFile} file @param {Surface} surface */
function factors({ results }, surface) {
  const data = results.flatMap(({ workload, entries }) => {
    const best = ownBest(entries);
    return entries.flatMap((entry) => {
      const factor = entry.peer === OWN ? null : factorOver(entry, best);
      return factor ? [{ id: workload.id, peer: entry.peer, ...factor }] : [];
    });
  });
  const ids = [...new Set(data.map(({ id }) => id))];
  return Plot.plot({
    ...frame(surface),
    height: 60 + ids.length * ROW,
    marginLeft: labelRoom(surface),
    x: { type: 'log', label: 'times as long as ours', grid: true, tickFormat: (x) => String(x), ticks: 8 },
    y: { label: null, domain: ids },
    color: { legend: true },
    marks: [
      Plot.ruleX([1], { strokeDasharray: '4 3' }),
      Plot.ruleY(data, { y: 'id', x1: 'p25', x2: 'p75', stroke: 'peer', strokeWidth: 3, strokeOpacity: 0.4 }),
      Plot.dot(data, {
        y: 'id',
        x: 'median',
        fill: 'peer',
        r: 4,
        title: ({ peer, median }) => `${peer}: ${median.toPrecision(3)} times`,
      }),
    ],
  });
}

/** @param {ResultFile} file @param {Surface} surface */
function lengths({ results }, surface) {
  const data = growths(results)
    .filter(({ series }) => series === 'length')
    .flatMap(({ build, exponent, points }) =>
      points.map((point) => ({ ...point, name: `${build}, grows as n^${exponent.toFixed(2)}` })),
    );
  return Plot.plot({
    ...frame(surface),
    height: 380,
    x: { type: 'log', base: 2, label: 'length', grid: true, tickFormat: (x) => String(x) },
    y: { type: 'log', label: 'ms a call', grid: true, tickFormat: (y) => String(y), ticks: 6 },
    color: colours(data),
    marks: [
      Plot.lineY(data, { x: 'size', y: 'milliseconds', stroke: 'name' }),
      Plot.dot(data, {
        x: 'size',
        y: 'milliseconds',
        fill: 'name',
        title: ({ size, milliseconds }) => `${size}: ${milliseconds.toPrecision(3)} ms`,
      }),
    ],
  });
}

/** Ratios by workload, as quartiles and median. @param {{ id: string, name: string, median: number, p25: number, p75: number }[]} data @param {string} label @param {number[]} lines @param {Surface} surface */
function gains(data, label, lines, surface) {
  const ids = [...new Set(data.map(({ id }) => id))];
  const medians = data.map(({ median }) => median);
  return Plot.plot({
    ...frame(surface),
    height: 60 + ids.length * ROW,
    marginLeft: labelRoom(surface),
    x: { label, grid: true, clamp: true, domain: [Math.min(0.8, ...medians), Math.max(2.1, ...medians)] },
    y: { label: null, domain: ids },
    color: colours(data),
    marks: [
      Plot.ruleX(lines, { strokeDasharray: '4 3' }),
      Plot.ruleY(data, { y: 'id', x1: 'p25', x2: 'p75', stroke: 'name', strokeWidth: 3, strokeOpacity: 0.4 }),
      Plot.dot(data, {
        y: 'id',
        x: 'median',
        fill: 'name',
        r: 4,
        title: ({ name, median }) => `${name}: ${median.toFixed(2)} times`,
      }),
    ],
  });
}

/** @param {ResultFile} file @param {Surface} surface */
const builds = ({ results }, surface) =>
  gains(buildGains(results), 'times as fast as the simd build', [1], surface);

/** @param {ResultFile} file @param {Surface} surface */
const threads = ({ results }, surface) =>
  gains(threadGains(results), 'times as fast as one thread', [1, 2], surface);

/** A name has its colour whatever else is shown. @param {{ name: string }[]} data */
function colours(data) {
  const order = (/** @type {string} */ name) =>
    (name.includes('threads') ? 2 : 0) + (name.includes('simd') ? 0 : 1);
  const names = [...new Set(data.map(({ name }) => name))];
  return { legend: true, domain: names.sort((a, b) => order(a) - order(b) || a.localeCompare(b)) };
}

/** @param {Surface} surface */
const frame = ({ document, width = WIDTH }) => ({ width, ...(document ? { document } : {}) });

/** Names of workloads stand on the left; a phone has less room for them. @param {Surface} surface */
const labelRoom = ({ width = WIDTH }) => Math.min(250, Math.round(width * 0.45));

const makers = { shares, factors, lengths, builds, threads };

/** @typedef {keyof typeof makers} PlotName */

/** @param {{ plot: PlotName, file: ResultFile }} block @param {Surface} [surface] the page itself, if none is given */
export const drawPlot = ({ plot, file }, surface = {}) => makers[plot](file, surface);
