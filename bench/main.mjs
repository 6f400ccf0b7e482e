// The benchmark program: tables on standard output, progress on standard error.

import { writeFileSync } from 'node:fs';
import { ensureInstalled } from './install.mjs';
import { UsageError, help, parseOptions } from './options.mjs';

/** @param {import('./options.mjs').Options} options @returns {Promise<import('./suite.mjs').Entry[]>} */
async function run(options) {
  ensureInstalled();
  // These need what was just installed.
  const { openPeers, runGroups } = await import('./suite.mjs');
  const { describe, formatGroup, formatHead, toJson } = await import('./report.mjs');
  const { fullEffort, quickEffort } = await import('./measure.mjs');

  const { peers, versions, missing } = await openPeers(['wasm-attention', ...options.peers]);
  const facts = describe(versions);
  console.log(formatHead(facts, missing));
  const groups = [];
  for await (const group of runGroups(options, peers)) {
    groups.push(group);
    console.log(`\n${formatGroup(group, peers)}`);
    // After each group, so that a long run that is interrupted leaves what it has.
    if (options.json)
      writeFileSync(options.json, toJson(facts, groups, options.quick ? quickEffort : fullEffort));
  }
  return groups.flatMap(({ entries }) => entries);
}

/** @param {string[]} given */
async function main(given) {
  const options = parseOptions(given);
  if (options.help) return console.log(help);
  if (options.list) return console.log(options.workloads.map(({ id }) => id).join('\n'));
  const entries = await run(options);
  // A benchmark of wrong results must not look like a success.
  const isWrong = entries.some(
    ({ peer, reason }) => peer === 'wasm-attention' && reason?.startsWith('wrong'),
  );
  if (isWrong) process.exitCode = 1;
}

try {
  await main(process.argv.slice(2));
  // Peers leave workers and handles open.
  process.exit();
} catch (error) {
  const { message } = /** @type {Error} */ (error);
  if (!(error instanceof UsageError)) throw error;
  console.error(`bench: ${message}`);
  process.exit(2);
}
