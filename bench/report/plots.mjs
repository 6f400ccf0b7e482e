// The plots of a report, drawn by Observable Plot into SVG, so that the page needs no script.

import * as Plot from '@observablehq/plot';
import { Window } from 'happy-dom';
import { OWN, entryName, factorOver, growths, ownBest } from '../suite/analysis.mjs';

const { document } = new Window();

const WIDTH = 860;
const ROW = 17;

/** @param {import('../suite/result.mjs').ResultFile} file */
function shares({ results }) {
  const data = results
    .filter(({ workload }) => workload.group !== 'odd' && !workload.series)
    .flatMap(({ workload, entries }) =>
      entries
        .filter(({ peer, share }) => peer === OWN && share)
        .map((entry) => ({ id: workload.id, name: entryName(entry), ...entry.share })),
    );
  const count = new Set(data.map(({ id }) => id)).size;
  return Plot.plot({
    document: /** @type {any} */ (document),
    width: WIDTH,
    height: 60 + count * ROW,
    marginLeft: 250,
    x: { label: 'share of the limit, %', domain: [0, 100], transform: (x) => 100 * x, grid: true },
    y: { label: null, domain: [...new Set(data.map(({ id }) => id))] },
    color: { legend: true },
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

/** @param {import('../suite/result.mjs').ResultFile} file */
function factors({ results }) {
  const data = results.flatMap(({ workload, entries }) => {
    const best = ownBest(entries);
    return entries.flatMap((entry) => {
      const factor = entry.peer === OWN ? null : factorOver(entry, best);
      return factor ? [{ id: workload.id, peer: entry.peer, ...factor }] : [];
    });
  });
  const ids = [...new Set(data.map(({ id }) => id))];
  return Plot.plot({
    document: /** @type {any} */ (document),
    width: WIDTH,
    height: 60 + ids.length * ROW,
    marginLeft: 250,
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

/** @param {import('../suite/result.mjs').ResultFile} file */
function lengths({ results }) {
  const data = growths(results)
    .filter(({ series }) => series === 'length')
    .flatMap(({ build, exponent, points }) =>
      points.map((point) => ({ ...point, name: `${build}, grows as n^${exponent.toFixed(2)}` })),
    );
  return Plot.plot({
    document: /** @type {any} */ (document),
    width: WIDTH,
    height: 380,
    x: { type: 'log', base: 2, label: 'length', grid: true, tickFormat: (x) => String(x) },
    y: { type: 'log', label: 'ms a call', grid: true, tickFormat: (y) => String(y), ticks: 6 },
    color: { legend: true },
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

const makers = { shares, factors, lengths };

/** @param {{ plot: keyof typeof makers, file: import('../suite/result.mjs').ResultFile }} block @returns {string} HTML */
export const drawPlot = ({ plot, file }) => makers[plot](file).outerHTML;
