// Which plots a result file has data for. Apart from plots.mjs, which needs the plotting library.

import { OWN, buildGains, growths, threadGains } from '../suite/analysis.mjs';

/** Which plots a file has data for, and what each shows. @param {import('../suite/result.mjs').ResultFile} file @returns {{ plot: import('./plots.mjs').PlotName, title: string }[]} */
export function plotsFor({ results }) {
  const entries = results.flatMap((result) => result.entries);
  const all = /** @type {[import('./plots.mjs').PlotName, string, boolean][]} */ ([
    [
      'shares',
      'Share of the limit by workload, quartiles over the rounds',
      entries.some(({ peer, share }) => peer === OWN && share),
    ],
    [
      'factors',
      'Time over our fastest build',
      entries.some(({ peer, state }) => peer !== OWN && state === 'measured'),
    ],
    ['builds', 'The relaxed build against the simd build', buildGains(results).length > 0],
    ['threads', 'Several threads against one', threadGains(results).length > 0],
    ['lengths', 'Time against length', growths(results).some(({ series }) => series === 'length')],
  ]);
  return all.flatMap(([plot, title, hasData]) => (hasData ? [{ plot, title }] : []));
}
