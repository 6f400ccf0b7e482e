// Runs engines in turn and keeps a result file of each. One that is missing, crashes, hangs or writes nonsense gets a file
// that says so, and the rest goes on.

import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeMachine, libraryVersion } from '../facts.mjs';
import { readResults } from '../report/results.mjs';
import { OWN } from '../suite/analysis.mjs';
import { makeResultFile } from '../suite/result.mjs';
import { fullEffort, quickEffort } from '../suite/run.mjs';
import { SUITE_VERSION } from '../suite/workloads.mjs';

/** @typedef {import('../suite/result.mjs').ResultFile} ResultFile */

/**
 * @param {readonly import('./engines.mjs').Engine[]} engines
 * @param {object} options
 * @param {string} options.folder
 * @param {string} options.workloads a regular expression
 * @param {boolean} options.quick
 * @param {readonly string[]} [options.peers]
 * @param {boolean} options.again also those whose results are there
 * @param {number} options.seconds for each
 * @param {(text: string) => void} options.say
 * @returns {Promise<{ name: string, file: ResultFile }[]>}
 */
export async function collect(engines, { folder, workloads, quick, peers = [], again, seconds, say }) {
  const effort = quick ? quickEffort : fullEffort;
  const collected = [];
  for (const [index, engine] of engines.entries()) {
    const { name } = engine;
    const path = join(folder, `${name.toLowerCase().replaceAll(' ', '-')}.json`);
    const place = `${index + 1}/${engines.length} ${name}`;
    const former = again ? undefined : finished(path, effort, peers);
    if (former) {
      say(`${place}: results are there (--again measures anew)`);
      collected.push({ name, file: former });
      continue;
    }
    rmSync(path, { force: true });
    const missing = engine.whyMissing();
    if (missing) {
      say(`${place}: missing, ${missing}`);
      collected.push({ name, file: without(name, path, effort, { missing }) });
      continue;
    }
    say(`${place} ...`);
    const start = performance.now();
    try {
      const text = await engine.run({ workloads, quick, peers, file: path, seconds });
      if (text !== undefined) writeFileSync(path, text);
      const file = readResults(path);
      const wrong = file.results.flatMap(({ workload, entries }) =>
        entries.flatMap(({ state, reason }) => (state === 'failed' ? [`${workload.id}: ${reason}`] : [])),
      );
      for (const line of wrong) say(`  failed: ${line}`);
      say(`  ${file.results.length} workloads in ${((performance.now() - start) / 1000).toFixed(0)} s`);
      collected.push({ name, file });
    } catch (error) {
      const ended = /** @type {Error} */ (error).message.split('\n')[0];
      say(`  ended early: ${ended}`);
      collected.push({ name, file: without(name, path, effort, { ended }) });
    }
  }
  return collected;
}

/**
 * Whole results of this version of the suite, with this effort and these peers, or undefined.
 *
 * @param {string} path
 * @param {object} effort
 * @param {readonly string[]} peers
 */
function finished(path, effort, peers) {
  if (!existsSync(path)) return undefined;
  try {
    const file = readResults(path);
    const sameEffort = JSON.stringify(file.method['effort']) === JSON.stringify(effort);
    const hasPeers =
      peers.length === 0 || peers.some((peer) => file.versions[peer] !== undefined || file.absent[peer]);
    const isWhole = !file.missing && !file.ended;
    return file.suite === SUITE_VERSION && sameEffort && hasPeers && isWhole ? file : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The file of an engine that did not run to its end: what it has written so far, if that is sound, and why.
 *
 * @param {string} name @param {string} path @param {import('../suite/run.mjs').Effort} effort
 * @param {{ missing: string } | { ended: string }} why
 * @returns {ResultFile}
 */
function without(name, path, effort, why) {
  /** @type {ResultFile} */
  let file = {
    ...makeResultFile(
      {
        machine: describeMachine(),
        engine: { name, version: '' },
        versions: { [OWN]: libraryVersion() },
        absent: {},
      },
      [],
      effort,
    ),
    ...why,
  };
  try {
    if (existsSync(path)) file = { ...readResults(path), ...why };
  } catch {
    // Damaged: it was ended while it wrote.
  }
  writeFileSync(path, `${JSON.stringify(file, null, 1)}\n`);
  return JSON.parse(readFileSync(path, 'utf8'));
}
