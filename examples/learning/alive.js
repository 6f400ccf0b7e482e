// How the page fares while the worker works: the longest task of its own thread, and the longest wait from one frame to the next.

const figures = { longestTask: undefined, longestWait: 0, frames: 0 };
let since = 0;
let last;

if (globalThis.PerformanceObserver?.supportedEntryTypes?.includes('longtask')) {
  figures.longestTask = 0;
  new globalThis.PerformanceObserver((list) => {
    // They are told of late: what the page did before does not count.
    for (const { startTime, duration } of list.getEntries())
      if (startTime >= since) figures.longestTask = Math.max(figures.longestTask, duration);
  }).observe({ type: 'longtask' });
}

/** From now on. */
export function beginFigures() {
  Object.assign(figures, { longestWait: 0, frames: 0 });
  if (figures.longestTask !== undefined) figures.longestTask = 0;
  const isCounting = last !== undefined;
  since = last = performance.now();
  if (!isCounting) window.requestAnimationFrame(count);
}

function count(now) {
  figures.longestWait = Math.max(figures.longestWait, now - last);
  figures.frames++;
  last = now;
  window.requestAnimationFrame(count);
}

/** In words. Browsers tell of tasks of 50 ms and more; some tell of none. */
export function figuresInWords() {
  const { longestTask, longestWait, frames } = figures;
  const wait = `${frames} frames since the start, the longest wait for one ${longestWait.toFixed(0)} ms`;
  if (longestTask === undefined) return wait;
  const task =
    longestTask === 0 ? 'no task took 50 ms' : `the longest task took ${longestTask.toFixed(0)} ms`;
  return `${wait}; on the page's own thread ${task}`;
}
