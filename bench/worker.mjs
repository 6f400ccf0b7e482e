// What the worker runtime costs and what it spares: `npm run bench:worker`.
//
// Added time: a softmax of 1 MB, in and out, called in a worker and in the same thread in turn; arrays copied to the worker
// or given to it. Longest task: a page's main thread while an operation of about two seconds runs in its worker, as the
// longest time between two timers that set each other, beside the same while nothing runs.

import { whyNot } from '../test/matrix/browsers.mjs';
import { ISOLATED, launchBrowser } from '../test/support/browser.mjs';
import * as main from '../dist/index.mjs';
import * as workerRuntime from '../dist/worker-runtime.mjs';

const ROUNDS = 12;

/**
 * Runs in Node and in a page. Medians in microseconds. Every way gets some calls in each round, so that it collects its own
 * garbage; the first of them warm up.
 */
async function measureCalls({ main, workerRuntime }, rounds) {
  const shape = [512, 512];
  const make = () => new Float32Array(shape[0] * shape[1]).fill(0.5);
  const here = await main.createRuntime();
  const there = await workerRuntime.createWorkerRuntime();
  const data = make();
  const inThread = () => {
    const output = main.softmax({ data, shape }, { runtime: here });
    output.toFloat32Array();
    output.dispose();
  };
  const inWorker = async (input, options) => {
    const output = await there.softmax({ data: input, shape }, { ...options, read: true });
    const result = await output.read();
    output.dispose();
    return result;
  };
  let moving = make();
  const ways = {
    inThread,
    copied: () => inWorker(data, {}),
    transferred: async () => (moving = await inWorker(moving, { transfer: true })),
    empty: () => there.memory(),
  };
  const times = Object.fromEntries(Object.keys(ways).map((way) => [way, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [way, run] of Object.entries(ways)) {
      for (let call = 0; call < 50; call++) {
        const start = performance.now();
        await run();
        if (round > 0 && call >= 10) times[way].push(1000 * (performance.now() - start));
      }
    }
  }
  here.dispose();
  there.dispose();
  const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
  return Object.fromEntries(Object.entries(times).map(([way, values]) => [way, median(values)]));
}

/** Runs in a page. Milliseconds. */
async function measureTasks({ workerRuntime }, wanted) {
  const runtime = await workerRuntime.createWorkerRuntime();
  const attend = async (length) => {
    const x = await runtime.tensor(new Float32Array(8 * length * 64).fill(0.1), [1, 8, length, 64]);
    const start = performance.now();
    const { output } = await runtime.scaledDotProductAttention(x, x, x, { onProgress: () => {} });
    const time = performance.now() - start;
    output.dispose();
    x.dispose();
    return time;
  };
  /** Longest time between two timers, each set by the one before, until `work` ends: 4 ms where nothing holds them up. */
  const longestTurn = async (work) => {
    let last = performance.now();
    let longest = 0;
    const turn = () => {
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
      timer = setTimeout(turn, 0);
    };
    let timer = setTimeout(turn, 0);
    const time = await work();
    clearTimeout(timer);
    return { time, longest };
  };
  await attend(1024);
  const probe = Math.min(await attend(2048), await attend(2048));
  const length = Math.round((2048 * Math.sqrt(wanted / probe)) / 64) * 64;
  const idle = await longestTurn(() => new Promise((resolve) => setTimeout(resolve, wanted)));
  const busy = await longestTurn(() => attend(length));
  runtime.dispose();
  return { operation: busy.time, busy: busy.longest, idle: idle.longest };
}

function printCalls(title, { inThread, copied, transferred, empty }) {
  const added = (time) => `${(time - inThread).toFixed(0)} us`.padStart(10);
  console.log(
    title.padEnd(22),
    `${inThread.toFixed(0)} us`.padStart(10),
    added(copied),
    added(transferred),
    `${empty.toFixed(0)} us`.padStart(10),
  );
}

console.log('softmax, 1 MB in and out   in thread   + copied  + given  empty call   (added: under 150 us)');
printCalls(`Node ${process.versions.node}`, await measureCalls({ main, workerRuntime }, ROUNDS));

const missing = whyNot('Chromium');
if (missing) {
  console.log(`Chromium: not run (${missing})`);
} else {
  const browser = await launchBrowser();
  const inPage = (page, task, given) =>
    page.evaluate(`(${task.toString()})(entries, ${JSON.stringify(given)})`);
  const isolated = await browser.open(ISOLATED);
  printCalls('Chromium', await inPage(isolated, measureCalls, ROUNDS));
  for (const [title, headers] of Object.entries({ 'isolated page': ISOLATED, 'plain page': {} })) {
    const page = await browser.open(headers);
    const { operation, busy, idle } = await inPage(page, measureTasks, 2000);
    const figures = `${busy.toFixed(1)} ms during ${operation.toFixed(0)} ms, ${idle.toFixed(1)} ms when idle`;
    console.log(`Chromium, ${title}: longest task ${figures}   (under 50 ms)`);
    await page.close();
  }
  await browser.close();
}
