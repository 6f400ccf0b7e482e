// Which plots a result file has data for. Apart from plots.mjs, which needs the plotting library.

import { OWN, buildGains, growths, threadGains } from '../suite/analysis.mjs';

/** Which plots a file has data for, and what each shows. @param {import('../suite/result.mjs').ResultFile} file @returns {{ plot: import('./plots.mjs').PlotName, title: string }[]} */
export function plotsFor({ results }) {
  const entries = results.flatMap((result) => result.entries);
  const drawn = new Set(
    results.flatMap(({ workload }) => (workload.series || workload.group === 'odd' ? [] : [workload.id])),
  );
  const isPlain = (/** @type {{ id: string }[]} */ gains) => gains.some(({ id }) => drawn.has(id));
  const all = /** @type {[import('./plots.mjs').PlotName, string, boolean][]} */ ([
    [
      'factors',
      'Time of others relative to wasm-attention, quartiles over the rounds',
      entries.some(({ peer, state }) => peer !== OWN && state === 'measured'),
    ],
    [
      'shares',
      'How much of what this engine can do is used, quartiles over the rounds',
      entries.some(({ peer, share }) => peer === OWN && share),
    ],
    ['builds', 'The relaxed build against the simd build', isPlain(buildGains(results))],
    ['threads', 'Several threads against one', isPlain(threadGains(results))],
    [
      'lengths',
      'Time against the number of tokens',
      growths(results).some(({ series }) => series === 'length'),
    ],
  ]);
  return all.flatMap(([plot, title, hasData]) => (hasData ? [{ plot, title }] : []));
}
