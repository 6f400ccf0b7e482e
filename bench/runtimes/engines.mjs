// The engines that the suite can be run in, each in a process of its own: how, and why not where it cannot be.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { visit, whyNot } from '../../test/matrix/browsers.mjs';
import { run } from '../../test/matrix/processes.mjs';
import { buildPage } from '../page/build.mjs';
import { servePage } from '../page/server.mjs';
import { pagePeers } from '../peers/names.mjs';

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
const benchmark = here('../main.mjs');

/**
 * @typedef {object} Order
 * @property {string} workloads a regular expression
 * @property {boolean} quick
 * @property {readonly string[]} peers to compare with, where they run
 * @property {string} file where the results go
 * @property {number} seconds after which it is given up
 */

/**
 * @typedef {object} Engine
 * @property {string} name
 * @property {() => string | undefined} whyMissing
 * @property {(order: Order) => Promise<string | undefined>} run the result file as text, or undefined if it wrote it itself;
 *   rejects with the reason if it failed
 */

/**
 * A runtime that starts the same program as `npm run bench` does.
 *
 * @param {string} name @param {string} program @param {string[]} [before] arguments in front of the script's
 * @returns {Engine}
 */
const processEngine = (name, program, before = []) => ({
  name,
  whyMissing: () => (existsSync(program) ? undefined : `${name} is not installed`),
  async run({ workloads, quick, peers, file, seconds }) {
    const effort = quick ? ['--quick'] : [];
    const selection = [
      '--peers',
      peers.join() || 'none',
      '--threads',
      '1,2',
      '--workloads',
      workloads,
      ...effort,
    ];
    await run(program, [...before, benchmark, ...selection, '--json', file], { seconds });
    return undefined;
  },
});

/** A browser, which opens the benchmark page and is told to report. @param {'Chromium' | 'Firefox' | 'WebKit'} name @returns {Engine} */
const browserEngine = (name) => ({
  name,
  whyMissing: () => whyNot(name),
  async run({ workloads, quick, peers, seconds }) {
    const folder = await buildPage();
    /** @type {(text: string) => void} */
    let receive = () => {};
    const received = new Promise((resolve) => (receive = resolve));
    const serving = await servePage(folder, { onResult: (text) => receive(text) });
    const wishes = {
      run: workloads,
      threads: '1,2',
      effort: quick ? 'quick' : 'full',
      peers: peers.filter((peer) => pagePeers.includes(/** @type {any} */ (peer))).join(),
      report: '/result',
    };
    try {
      const address = `${serving.address}?${new URLSearchParams(wishes).toString()}`;
      const text = /** @type {string} */ (await visit(name, address, received, seconds));
      const { failed } = JSON.parse(text);
      if (failed) throw new Error(failed);
      return text;
    } finally {
      serving.close();
    }
  },
});

/** Cloudflare's runtime, in a process that holds it. @type {Engine} */
const workerd = {
  name: 'workerd',
  whyMissing: () =>
    existsSync(here('../../test/matrix/runtimes/node_modules/miniflare'))
      ? undefined
      : 'workerd is not installed',
  run: ({ workloads, quick, seconds }) =>
    run(process.execPath, [here('workerd.mjs'), workloads, quick ? 'quick' : 'full'], { seconds }),
};

const node = (/** @type {number} */ major) =>
  processEngine(`Node ${major}`, here(`../../test/runtimes/node_modules/node${major}/bin/node`));

/** @type {readonly Engine[]} */
export const engines = [
  ...[20, 22, 24, 26].map(node),
  processEngine('Bun', here('../../test/matrix/runtimes/node_modules/bun/bin/bun')),
  processEngine('Deno', here('../../test/matrix/runtimes/node_modules/deno/deno'), ['run', '-A']),
  workerd,
  ...['Chromium', 'Firefox', 'WebKit'].map((name) => browserEngine(/** @type {'Chromium'} */ (name))),
];
