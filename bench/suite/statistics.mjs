// The statistics of the benchmarks: medians with quartiles, ratios round by round, exponents, and when a difference is
// more than noise.

/**
 * @typedef {object} Summary
 * @property {number} median
 * @property {number} p25
 * @property {number} p75
 * @property {number} spread (p75 - p25) / median
 * @property {number} samples
 */

/** Above this a median says little: the machine was doing something else. */
export const WIDE_SPREAD = 0.15;

/** Linear interpolation between order statistics. @param {readonly number[]} sorted @param {number} share */
export function quantile(sorted, share) {
  const position = (sorted.length - 1) * share;
  const below = Math.floor(position);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (position - below);
}

/** @param {readonly number[]} values at least one @returns {Summary} */
export function summarize(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const [p25, median, p75] = [0.25, 0.5, 0.75].map((share) => quantile(sorted, share));
  return { median, p25, p75, spread: (p75 - p25) / median, samples: sorted.length };
}

/**
 * Ratios of values that were taken in the same round, over the rounds that both have: what slows a machine down for a
 * while slows both.
 *
 * @param {readonly number[]} above
 * @param {readonly number[]} below
 * @returns {Summary | null} null without a common round
 */
export function summarizeRatios(above, below) {
  const rounds = Math.min(above.length, below.length);
  if (rounds === 0) return null;
  return summarize(Array.from({ length: rounds }, (_, round) => above[round] / below[round]));
}

/**
 * The straight line through points on logarithmic axes: y = factor * x ** exponent, by least squares.
 *
 * @param {readonly { x: number, y: number }[]} points positive, at two different x at least
 * @returns {{ exponent: number, factor: number, residual: number }} `residual`: root mean square of log(y / fit)
 */
export function fitPower(points) {
  const logs = points.map(({ x, y }) => ({ x: Math.log(x), y: Math.log(y) }));
  const mean = (/** @type {(point: { x: number, y: number }) => number} */ value) =>
    logs.reduce((sum, point) => sum + value(point), 0) / logs.length;
  const middle = { x: mean(({ x }) => x), y: mean(({ y }) => y) };
  const variance = mean(({ x }) => (x - middle.x) ** 2);
  const exponent = mean(({ x, y }) => (x - middle.x) * (y - middle.y)) / variance;
  const offset = middle.y - exponent * middle.x;
  const residual = Math.sqrt(mean(({ x, y }) => (y - offset - exponent * x) ** 2));
  return { exponent, factor: Math.exp(offset), residual };
}

/**
 * How much longer an odd size takes than the straight line between its round neighbours says.
 *
 * @param {{ work: number, time: number }} odd `work` in flop
 * @param {{ work: number, time: number }} below
 * @param {{ work: number, time: number }} above
 */
export function cliffRatio(odd, below, above) {
  const share = (odd.work - below.work) / (above.work - below.work);
  return odd.time / (below.time + share * (above.time - below.time));
}

/** From this ratio on an odd size fell off a cliff. */
export const CLIFF = 1.35;

/** A median that moved by less is not worth a word, however sure. */
const LEAST_CHANGE = 0.05;

/**
 * How a value has changed from one run to another, beyond noise: every round of one run lies beyond every round of the
 * other, and the medians differ by more than 5 %. By chance that happens once in 1716 with seven rounds each, once in ten
 * with three.
 *
 * @param {readonly number[]} before
 * @param {readonly number[]} after
 * @returns {'larger' | 'smaller' | 'same'}
 */
export function changeOf(before, after) {
  const ratio = summarize(after).median / summarize(before).median;
  if (Math.min(...after) > Math.max(...before) && ratio > 1 + LEAST_CHANGE) return 'larger';
  return Math.max(...after) < Math.min(...before) && ratio < 1 - LEAST_CHANGE ? 'smaller' : 'same';
}
