// `npm test`: builds if needed, then runs the suite on the Node that runs this and once more on Node 24, whose engine has
// relaxed SIMD and Float16Array where Node 20 has neither.
//
// In CI the part of the matrix that needs no more than this machine has follows: Node's versions, Chromium, one bundler.
//
// Arguments go to vitest: `npm test -- softmax -t 'empty row'`. The last line printed is the sum over all runs.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { install } from '../scripts/install.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const args = process.argv.slice(2);
const total = { passed: 0, failed: 0, skipped: 0 };
let note;

if (run(process.execPath, ['scripts/build.mjs']) !== 0) {
  total.failed++;
} else {
  suite(`Node ${process.versions.node}`, process.execPath);
  if (!process.version.startsWith('v24.')) suiteOnNode24();
  if (process.env.CI && args.length === 0) {
    counted('The matrix', process.execPath, ['test/matrix/main.mjs', '--only', '^(Node|Chromium|esbuild)']);
  }
}

if (note) console.log(`\n${note}`);
const { passed, failed, skipped } = total;
console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = failed > 0 ? 1 : 0;

function suiteOnNode24() {
  const node = join(root, 'test/runtimes/node_modules/node24/bin/node');
  try {
    install('test/runtimes');
    if (!existsSync(node))
      throw new Error(`there is no package of it for ${process.platform}-${process.arch}`);
    const { status, error } = spawnSync(node, ['--version']);
    if (status !== 0) throw new Error(`it does not start here: ${error?.message ?? `exit status ${status}`}`);
  } catch (error) {
    note = `Node 24: not run (${error.message})`;
    if (process.env.CI) total.failed++;
    return;
  }
  suite('Node 24', node);
}

/** Runs vitest on one Node. */
function suite(title, node) {
  const reporters = ['--reporter=./test/reporter.ts'];
  if (!args.some((arg) => arg.startsWith('--reporter'))) reporters.push('--reporter=default');
  counted(`Tests on ${title}`, node, ['node_modules/vitest/vitest.mjs', 'run', ...reporters, ...args]);
}

/** Runs a program that leaves its counts in a file, and adds them to the total. */
function counted(title, command, commandArgs) {
  console.log(`\n=== ${title} ===`);
  const folder = mkdtempSync(join(tmpdir(), 'wasm-attention-'));
  const file = join(folder, 'counts.json');
  const status = run(command, commandArgs, { WASM_ATTENTION_TEST_COUNTS: file });
  const counts = existsSync(file)
    ? JSON.parse(readFileSync(file, 'utf8'))
    : { passed: 0, failed: 0, skipped: 0 };
  rmSync(folder, { recursive: true });
  if (status !== 0 && counts.failed === 0) counts.failed = 1; // it failed outside the tests, or found none
  for (const key of Object.keys(total)) total[key] += counts[key];
}

function run(command, commandArgs, env = {}) {
  const options = { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } };
  return spawnSync(command, commandArgs, options).status;
}
