// `npm run bench`: tables on standard output, progress on standard error.

import { writeFileSync } from 'node:fs';
import { describeEngine, describeMachine, libraryVersion } from './facts.mjs';
import { runHere } from './node.mjs';
import { UsageError, help, parseOptions } from './options.mjs';
import { peerModule } from './peers/peer.mjs';
import { inProcess } from './peers/process.mjs';
import { openPeers, remoteCandidate } from './peers/remote.mjs';
import { makeResultFile } from './suite/result.mjs';
import { OWN } from './suite/analysis.mjs';
import { fullEffort, quickEffort } from './suite/run.mjs';
import { formatGroup, formatHead } from './tables.mjs';

/** @param {import('./options.mjs').Options} options @returns {Promise<import('./suite/result.mjs').Result[]>} */
async function run({ workloads, quick, json, ...options }) {
  const effort = quick ? quickEffort : fullEffort;
  const { peers, versions, absent } = await openPeers(
    options.peers.map((name) => remoteCandidate(name, inProcess(peerModule(name)))),
  );
  /** @type {import('./suite/result.mjs').Facts} */
  const facts = {
    machine: describeMachine(),
    engine: describeEngine(),
    versions: { [OWN]: libraryVersion(), ...versions },
    absent,
  };
  console.log(formatHead(facts));
  /** @type {import('./suite/result.mjs').Result[]} */
  const results = [];
  for await (const result of runHere({ ...options, workloads, peers, effort, onProgress })) {
    results.push(result);
    // After each workload, so that a long run that is interrupted leaves what it has.
    if (json) writeFileSync(json, `${JSON.stringify(makeResultFile(facts, results, effort), null, 1)}\n`);
    const { group } = result.workload;
    const isLast = workloads.filter((workload) => workload.group === group).at(-1)?.id === result.workload.id;
    if (isLast) console.log(`\n${formatGroup(results.filter(({ workload }) => workload.group === group))}`);
  }
  return results;
}

let shown = '';

/** One line for each workload. @param {import('./suite/run.mjs').Progress} progress */
function onProgress({ index, count, workload }) {
  if (shown !== workload.id) process.stderr.write(`${index + 1}/${count} ${workload.id}\n`);
  shown = workload.id;
}

/** @param {string[]} given */
async function main(given) {
  const options = parseOptions(given);
  if (options.help) return console.log(help);
  if (options.list) return console.log(options.workloads.map(({ id }) => id).join('\n'));
  const entries = (await run(options)).flatMap((result) => result.entries);
  // A benchmark of wrong results must not look like a success.
  if (entries.some(({ peer, state }) => peer === OWN && state === 'failed')) process.exitCode = 1;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  const { message } = /** @type {Error} */ (error);
  if (!(error instanceof UsageError)) throw error;
  console.error(`bench: ${message}`);
  process.exitCode = 2;
}
