// What results say: against whom, how cost grows, where it falls off a cliff, what has changed since another run.

import { CLIFF, changeOf, cliffRatio, fitPower, summarize, summarizeRatios } from './statistics.mjs';

/** @typedef {import('./result.mjs').Entry} Entry */
/** @typedef {import('./result.mjs').Result} Result */
/** @typedef {import('./result.mjs').ResultFile} ResultFile */

/** The peer whose variants are builds, each held against its own peak. */
export const OWN = 'wasm-attention';

/** @param {Pick<Entry, 'peer' | 'variant' | 'threads'>} entry */
export const entryName = ({ peer, variant, threads }) =>
  [peer, variant, threads > 1 ? `${threads} threads` : ''].filter((part) => part !== '').join(' ');

/** @param {Entry} entry */
const times = ({ rounds = [] }) => rounds.map(({ milliseconds }) => milliseconds);

/**
 * Our fastest build on one thread, which others are held against.
 *
 * @param {readonly Entry[]} entries
 * @returns {Entry | undefined}
 */
export const ownBest = (entries) =>
  entries
    .filter(({ peer, threads, time }) => peer === OWN && threads === 1 && time)
    .sort((a, b) => (a.time?.median ?? 0) - (b.time?.median ?? 0))[0];

/**
 * How many times as long an entry takes as another, round by round.
 *
 * @param {Entry} entry
 * @param {Entry | undefined} other
 */
export const factorOver = (entry, other) => (other ? summarizeRatios(times(entry), times(other)) : null);

/**
 * A call's cost, round by round: what the engine's limit could have done in that time (flop, or bytes), in millions. So
 * costs of workloads that were measured minutes apart compare, although the machine's speed changed. Milliseconds where
 * there is no limit.
 *
 * @param {Entry} entry
 */
const costs = ({ rounds = [] }) =>
  rounds.map(({ milliseconds, limit }) => (limit === null ? milliseconds : milliseconds * limit));

/** @param {Entry} entry */
const cost = (entry) => summarize(costs(entry)).median;

/** Ours, measured, on one thread. @param {Result} result @param {string} build */
const ownEntry = ({ entries }, build) =>
  entries.find(
    ({ peer, variant, threads, state }) =>
      peer === OWN && variant === build && threads === 1 && state === 'measured',
  );

/** Builds that some result has. @param {readonly Result[]} results */
const buildsOf = (results) => [
  ...new Set(
    results.flatMap(({ entries }) =>
      entries.filter(({ peer, state }) => peer === OWN && state === 'measured').map(({ variant }) => variant),
    ),
  ),
];

/**
 * @typedef {object} Growth
 * @property {string} series what varies
 * @property {string} build
 * @property {{ size: number, milliseconds: number, cost: number }[]} points by size
 * @property {number} exponent of the cost, fitted over the upper half, where what grows fastest shows
 * @property {number} expected exponent of the arithmetic there
 * @property {number} residual root mean square of log(cost / fit) there
 */

/** @param {readonly Result[]} results @returns {Growth[]} */
export function growths(results) {
  const names = [...new Set(results.flatMap(({ workload }) => workload.series?.name ?? []))];
  return names.flatMap((series) => {
    const members = results
      .filter(({ workload }) => workload.series?.name === series)
      .sort((a, b) => (a.workload.series?.size ?? 0) - (b.workload.series?.size ?? 0));
    return buildsOf(members).flatMap((build) => growthOf(series, build, members) ?? []);
  });
}

/** @param {string} series @param {string} build @param {readonly Result[]} members @returns {Growth | null} */
function growthOf(series, build, members) {
  const points = members.flatMap((result) => {
    const entry = ownEntry(result, build);
    const size = result.workload.series?.size ?? 0;
    return entry?.time
      ? [{ size, milliseconds: entry.time.median, cost: cost(entry), flop: result.workload.flop.live }]
      : [];
  });
  const upper = points.slice(points.length >> 1);
  if (upper.length < 2) return null;
  const { exponent, residual } = fitPower(upper.map(({ size, cost: y }) => ({ x: size, y })));
  const { exponent: expected } = fitPower(upper.map(({ size, flop }) => ({ x: size, y: flop })));
  return { series, build, points, exponent, expected, residual };
}

/**
 * @typedef {object} Cliff
 * @property {string} id of the odd size
 * @property {string} build
 * @property {number} ratio cost over the line between the round neighbours
 * @property {boolean} isCliff
 */

/** Odd sizes against their round neighbours. @param {readonly Result[]} results @returns {Cliff[]} */
export function cliffs(results) {
  const byId = new Map(results.map((result) => [result.workload.id, result]));
  return results.flatMap(({ workload }) => {
    if (!workload.neighbours) return [];
    const ids = [workload.id, ...workload.neighbours];
    return buildsOf(results).flatMap((build) => {
      const points = ids.flatMap((id) => {
        const result = byId.get(id);
        const entry = result && ownEntry(result, build);
        return entry ? [{ work: result.workload.flop.live, time: cost(entry) }] : [];
      });
      if (points.length < 3) return [];
      const ratio = cliffRatio(points[0], points[1], points[2]);
      return [{ id: workload.id, build, ratio, isCliff: ratio > CLIFF }];
    });
  });
}

/** How many times as fast the relaxed build is as the simd build, on one thread. @param {readonly Result[]} results */
export const buildGains = (results) =>
  results.flatMap((result) => {
    const [base, relaxed] = [ownEntry(result, 'simd'), ownEntry(result, 'relaxed')];
    const ratio = base && relaxed ? factorOver(base, relaxed) : null;
    return ratio ? [{ id: result.workload.id, name: 'relaxed', ...ratio }] : [];
  });

/** How many times as fast a build is on several threads as on one. @param {readonly Result[]} results */
export const threadGains = (results) =>
  results.flatMap((result) =>
    result.entries.flatMap((entry) => {
      if (entry.peer !== OWN || entry.threads === 1 || entry.state !== 'measured') return [];
      const alone = ownEntry(result, entry.variant);
      const ratio = alone ? factorOver(alone, entry) : null;
      const name = `${entry.variant} ${entry.threads} threads`;
      return ratio ? [{ id: result.workload.id, name, ...ratio }] : [];
    }),
  );

/** Two files that say nothing about each other. */
export class ComparisonError extends Error {}

/**
 * @typedef {object} Change
 * @property {string} id
 * @property {string} name of the entry
 * @property {number} ratio of the median costs, after over before
 * @property {'larger' | 'smaller' | 'same'} change
 */

/**
 * What has changed in this library between two runs on the same machine and engine.
 *
 * @param {ResultFile} before
 * @param {ResultFile} after
 * @returns {Change[]}
 */
export function compareRuns(before, after) {
  checkComparable(before, after);
  const byId = new Map(before.results.map((result) => [result.workload.id, result.entries]));
  return after.results.flatMap(({ workload, entries }) =>
    entries.flatMap((entry) => {
      const name = entryName(entry);
      const former = byId.get(workload.id)?.find((one) => entryName(one) === name);
      if (entry.peer !== OWN || entry.state !== 'measured' || former?.state !== 'measured') return [];
      const [old, now] = [costs(former), costs(entry)];
      const ratio = summarize(now).median / summarize(old).median;
      return [{ id: workload.id, name, ratio, change: changeOf(old, now) }];
    }),
  );
}

/** @param {ResultFile} before @param {ResultFile} after */
function checkComparable(before, after) {
  /** @type {[string, (file: ResultFile) => unknown][]} */
  const facts = [
    ['suite version', ({ suite }) => suite],
    ['processor', ({ machine }) => machine.processor],
    ['number of cores', ({ machine }) => machine.cores],
    ['system', ({ machine }) => machine.system],
    ['engine', ({ engine }) => `${engine.name} ${engine.version}`],
  ];
  for (const [what, value] of facts) {
    if (value(before) === value(after)) continue;
    throw new ComparisonError(
      `another ${what}: ${value(before)} and ${value(after)}; these runs do not compare`,
    );
  }
}
