// The plots of results, drawn by Observable Plot into SVG: for a report, where a document without a browser is handed in,
// and for the page, which has one. A series has a marker of its own shape, so that colours are no more than a help, and
// keeps both whatever else is shown.

import * as Plot from '@observablehq/plot';
import { OWN, buildGains, entryName, factorOver, growths, ownBest, threadGains } from '../suite/analysis.mjs';
import { inWords, peerInWords } from '../suite/words.mjs';

const WIDTH = 860;

/** Below this width names of workloads stand above their rows. */
const NARROW = 620;

/** @typedef {import('../suite/result.mjs').ResultFile} ResultFile */
/** @typedef {import('../suite/result.mjs').WorkloadFacts} WorkloadFacts */
/** @typedef {{ document?: Document, width?: number }} Surface */

/** @typedef {{ workload: WorkloadFacts, name: string, median: number, p25: number, p75: number }} Point of a series, with
 * quartiles over the rounds */

/** Told apart by those who see few colours, on white and on black; after Okabe and Ito. */
const COLOURS = [
  'light-dark(#c04a00, #ff9a52)',
  'light-dark(#0067a6, #6cbcf5)',
  'light-dark(#00785a, #4dcda4)',
  'light-dark(#666a72, #b3b8c0)',
  'light-dark(#974c93, #e59fe1)',
  'light-dark(#8a6a00, #e3c04d)',
];
const SHAPES = ['square', 'circle', 'triangle', 'times', 'diamond', 'star'];

const PEERS = ['onnxruntime-web', 'jax-js', 'tfjs-wasm', 'plain-javascript', 'onnxruntime-node'].map(
  peerInWords,
);

/** A series' place among colours and shapes: of a peer, or of a build on one thread or several. @param {string} name */
function placeOf(name) {
  const build = /^(relaxed|simd)( \d+ threads)?/.exec(name);
  if (build) return (build[1] === 'simd' ? 1 : 0) + (build[2] ? 2 : 0);
  return PEERS.includes(name) ? PEERS.indexOf(name) : COLOURS.length - 1;
}

/** @param {readonly { name: string }[]} data */
function scales(data) {
  const domain = [...new Set(data.map(({ name }) => name))].sort((a, b) => placeOf(a) - placeOf(b));
  return {
    color: { domain, range: domain.map((name) => COLOURS[placeOf(name)]) },
    symbol: { legend: true, domain, range: domain.map((name) => SHAPES[placeOf(name)]) },
  };
}

const plain = (/** @type {number} */ tick) => `${tick}`;

/** @param {Surface} surface */
const frame = ({ document, width = WIDTH }) => ({
  width,
  marginRight: 24,
  style: { fontSize: '12px', fontFamily: 'inherit', background: 'none', overflow: 'visible' },
  ...(document ? { document } : {}),
});

/** Rows from top to bottom: what is done, and below it on how much. @param {readonly Point[]} data */
function rowsOf(data) {
  const workloads = new Map(data.map(({ workload }) => [workload.id, workload]));
  /** @type {{ id: string, text: string, isHead: boolean }[]} */
  const rows = [];
  let group = '';
  for (const workload of workloads.values()) {
    const { what, size } = inWords(workload);
    if (what !== group) rows.push({ id: `head ${what}`, text: what, isHead: true });
    group = what;
    rows.push({ id: workload.id, text: size, isHead: false });
  }
  return rows;
}

/**
 * A row for each workload, in it a marker for each series, with its quartiles.
 *
 * @param {readonly Point[]} data
 * @param {{ x: any, lines?: readonly number[], say: (median: number) => string }} options
 * @param {Surface} surface
 */
function rowsPlot(data, { x, lines = [], say }, surface) {
  const { width = WIDTH } = surface;
  const isNarrow = width < NARROW;
  const rows = rowsOf(data);
  const points = data.map((point) => ({ ...point, id: point.workload.id }));
  const marginLeft = isNarrow ? 8 : Math.min(330, Math.round(width * 0.4));
  const label = {
    y: 'id',
    text: 'text',
    frameAnchor: 'left',
    textAnchor: 'start',
    dx: isNarrow ? 0 : -marginLeft,
    stroke: 'var(--back)', // of the page: lines of the grid do not cross the letters
    strokeWidth: 4,
    fill: 'currentColor',
  };
  const band = isNarrow ? 38 : 21;
  const below = isNarrow ? 8 : 0;
  return Plot.plot({
    ...frame(surface),
    height: 74 + rows.length * band,
    marginLeft,
    marginTop: 28,
    marginBottom: 46,
    x: { grid: true, ...x, label: null },
    y: { axis: null, domain: rows.map(({ id }) => id) },
    ...scales(points),
    marks: [
      Plot.axisX({ anchor: 'top', label: null, ...ticksOf(x) }),
      Plot.axisX({ anchor: 'bottom', ...ticksOf(x), ...under(x.label) }),
      Plot.ruleX(lines, { stroke: 'currentColor', strokeWidth: 1.5 }),
      Plot.text(
        rows.filter(({ isHead }) => isHead),
        { ...label, fontWeight: 'bold', dy: below },
      ),
      Plot.text(
        rows.filter(({ isHead }) => !isHead),
        { ...label, dy: isNarrow ? -9 : 0 },
      ),
      Plot.ruleY(points, {
        y: 'id',
        x1: 'p25',
        x2: 'p75',
        stroke: 'name',
        strokeWidth: 3,
        strokeOpacity: 0.45,
        dy: below,
        clip: true,
      }),
      Plot.dot(points, {
        y: 'id',
        x: 'median',
        symbol: 'name',
        stroke: 'name',
        fill: 'name',
        fillOpacity: 0.75,
        strokeWidth: 1.8,
        r: 4.5,
        dy: below,
        title: ({ workload, name, median }) => `${inWords(workload).size}\n${name}: ${say(median)}`,
      }),
    ],
  });
}

/** A label in the middle, below the ticks. @param {string} label */
const under = (label) => ({ label, labelAnchor: 'center', labelArrow: 'none', labelOffset: 38 });

/** As text of its own: a logarithmic scale would leave labels out. @param {any} x */
const ticksOf = ({ ticks }) => (ticks ? { ticks, text: plain } : {});

/** Ours, without saying each time that it is ours. @param {import('../suite/result.mjs').Entry} entry */
const ownName = (entry) => entryName({ ...entry, peer: '' });

/** @param {ResultFile} file @param {Surface} surface */
function shares({ results }, surface) {
  const data = results
    .filter(({ workload }) => workload.group !== 'odd' && !workload.series)
    .flatMap(({ workload, entries }) =>
      entries.flatMap((entry) =>
        entry.peer === OWN && entry.share ? [{ workload, name: ownName(entry), ...entry.share }] : [],
      ),
    );
  const most = Math.max(1, ...data.map(({ median }) => median));
  return rowsPlot(
    data,
    {
      x: { label: 'share of the limit, %', domain: [0, 100 * most], transform: percentage },
      say: (median) => `${Math.round(100 * median)} %`,
    },
    surface,
  );
}

const percentage = (/** @type {number} */ share) => 100 * share;

/** @param {ResultFile} file @param {Surface} surface */
function factors({ results }, surface) {
  const data = results.flatMap(({ workload, entries }) => {
    const best = ownBest(entries);
    return entries.flatMap((entry) => {
      const factor = entry.peer === OWN ? null : factorOver(entry, best);
      return factor ? [{ workload, name: peerInWords(entry.peer), ...factor }] : [];
    });
  });
  const medians = data.map(({ median }) => median);
  const domain = [Math.min(0.8, ...medians) * 0.9, Math.max(2, ...medians) * 1.15];
  const isNarrow = (surface.width ?? WIDTH) < NARROW;
  const ticks = (
    isNarrow ? [0.1, 0.3, 1, 3, 10, 30, 100, 1000] : [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
  ).filter((tick) => tick >= domain[0] && tick <= domain[1]);
  return rowsPlot(
    data,
    {
      x: { type: 'log', label: `time, ${OWN} = 1 (left of it: faster)`, domain, ticks },
      lines: [1],
      say: (median) => `${median.toPrecision(3)} times our time`,
    },
    surface,
  );
}

/** @param {ResultFile} file @param {Surface} surface */
function lengths({ results }, surface) {
  const data = growths(results)
    .filter(({ series }) => series === 'length')
    .flatMap(({ build, exponent, points }) =>
      points.map((point) => ({ ...point, name: `${build}, grows as n^${exponent.toFixed(2)}` })),
    );
  const sizes = [...new Set(data.map(({ size }) => size))].sort((a, b) => a - b);
  const isNarrow = (surface.width ?? WIDTH) < NARROW;
  return Plot.plot({
    ...frame(surface),
    height: isNarrow ? 300 : 380,
    marginLeft: 54,
    marginTop: 28,
    marginBottom: 46,
    x: {
      ...{
        type: 'log',
        base: 2,
        label: 'tokens',
        grid: true,
        labelAnchor: 'center',
        labelArrow: 'none',
        labelOffset: 38,
      },
      ticks: sizes.filter((_, i) => !isNarrow || i % 2 === 0),
      tickFormat: plain,
    },
    y: {
      type: 'log',
      label: 'milliseconds per call',
      labelArrow: 'none',
      grid: true,
      tickFormat: plain,
      ticks: 6,
    },
    ...scales(data),
    marks: [
      Plot.lineY(data, { x: 'size', y: 'milliseconds', stroke: 'name', strokeWidth: 1.5 }),
      Plot.dot(data, {
        x: 'size',
        y: 'milliseconds',
        symbol: 'name',
        stroke: 'name',
        fill: 'name',
        fillOpacity: 0.75,
        r: 4.5,
        title: ({ size, name, milliseconds }) => `${size} tokens\n${name}\n${milliseconds.toPrecision(3)} ms`,
      }),
    ],
  });
}

/**
 * Ratios by workload.
 *
 * @param {ResultFile} file
 * @param {{ id: string, name: string, median: number, p25: number, p75: number }[]} ratios
 * @param {string} label
 * @param {number[]} lines
 * @param {Surface} surface
 */
function gains({ results }, ratios, label, lines, surface) {
  const workloads = new Map(results.map(({ workload }) => [workload.id, workload]));
  const data = ratios.flatMap((ratio) => {
    const workload = workloads.get(ratio.id);
    return workload && !workload.series && workload.group !== 'odd' ? [{ ...ratio, workload }] : [];
  });
  const medians = data.map(({ median }) => median);
  const domain = [Math.min(0.8, ...medians), Math.max(2.1, ...medians)];
  return rowsPlot(
    data,
    { x: { label, clamp: true, domain }, lines, say: (median) => `${median.toFixed(2)} times as fast` },
    surface,
  );
}

/** @param {ResultFile} file @param {Surface} surface */
const builds = (file, surface) =>
  gains(file, buildGains(file.results), 'times as fast as the simd build', [1], surface);

/** @param {ResultFile} file @param {Surface} surface */
const threads = (file, surface) =>
  gains(file, threadGains(file.results), 'times as fast as one thread', [1, 2], surface);

const makers = { shares, factors, lengths, builds, threads };

/** @typedef {keyof typeof makers} PlotName */

/** @param {{ plot: PlotName, file: ResultFile }} block @param {Surface} [surface] the page itself, if none is given */
export const drawPlot = ({ plot, file }, surface = {}) => makers[plot](file, surface);
