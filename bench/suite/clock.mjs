// Clocks. Engines round `performance.now()` to anything between a nanosecond and a millisecond, and one stands still
// while it computes: what is timed is made long enough for the clock at hand.

/**
 * @typedef {object} Clock
 * @property {() => number | Promise<number>} now milliseconds
 * @property {number} resolution smallest step, milliseconds
 */

/** @returns {Clock} the engine's own clock, with the step that it is seen to take */
export function engineClock() {
  let resolution = Infinity;
  for (let step = 0; step < 5; step++) {
    const start = performance.now();
    let end = start;
    while (end === start) end = performance.now();
    resolution = Math.min(resolution, end - start);
  }
  return { now: () => performance.now(), resolution };
}

/** Shortest sample in which the clock's steps do not count. @param {Clock} clock */
export const shortestSample = ({ resolution }) => Math.max(0.05, 50 * resolution);

/** @param {Clock} clock @param {() => unknown} work @returns {Promise<number>} milliseconds */
export async function timeOnce(clock, work) {
  const start = await clock.now();
  const result = work();
  if (result instanceof Promise) await result;
  return (await clock.now()) - start;
}
