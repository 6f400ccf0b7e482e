// `npm test`: builds if needed, then runs the suite on the Node that runs this and once more on Node 24, whose engine has
// relaxed SIMD and Float16Array where Node 20 has neither.
//
//   npm test                              what cannot be run here (no browser, no packages of bench/) is listed with the reason
//   npm test -- --not-run                 runs that, after what was missing has been installed, and sums up both
//   npm test -- softmax -t 'empty row'    other arguments go to vitest
//
// In CI the part of the matrix that needs no more than Node, workerd, Chromium and Firefox follows, and what --not-run cannot run is a
// failure. The last line printed is the sum over all runs.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { install } from '../scripts/install.mjs';
import { closingLine, failureList, isObtainable, joined, notRunList } from './summary.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const record = join(root, 'build/test-runs.json');
const node24 = join(root, 'test/runtimes/node_modules/node24/bin/node');
const MATRIX_IN_CI = '^(Node|workerd|Chromium|Firefox|esbuild)';
const isCI = Boolean(process.env.CI);
const args = process.argv.slice(2);

let isKept = false;
const isBuilt = run(process.execPath, ['scripts/build.mjs']) === 0;
const runs = isBuilt ? allRuns() : [failed('the build', 'see above')];
const list = notRunList(runs);
if (list) console.log(`\n${list}`);
if (list && isKept) console.log('Each of them by name: build/test-runs.json');
const failures = failureList(runs);
if (failures) console.log(`\n${failures}`);
console.log(`\n${closingLine(runs)}`);
process.exitCode = runs.some(({ failures }) => failures.length > 0) ? 1 : 0;

/** @returns {(import('./summary.mjs').Run & { node?: string })[]} */
function allRuns() {
  if (args[0] === '--not-run') {
    if (!existsSync(record)) return [failed('--not-run', 'npm test has to run first')];
    const { build, runs } = JSON.parse(readFileSync(record, 'utf8'));
    if (build !== buildHash())
      return [failed('--not-run', 'dist/ has changed since: npm test has to run first')];
    return keep(runs.map(runAgain));
  }
  if (args.length > 0) return suites(args);
  rmSync(record, { force: true });
  return keep([...suites([]), ...(isCI ? [matrix(MATRIX_IN_CI)] : [])]);
}

/** What --not-run starts from. */
function keep(runs) {
  writeFileSync(record, JSON.stringify({ build: buildHash(), runs }, null, 1));
  isKept = true;
  return runs;
}

function buildHash() {
  return JSON.parse(readFileSync(join(root, 'build/dist.json'), 'utf8')).hash;
}

/** On the Node that runs this and on Node 24. */
function suites(vitestArgs) {
  const here = suite(`Node ${process.versions.node}`, process.execPath, vitestArgs);
  return process.version.startsWith('v24.') ? [here] : [here, suiteOnNode24(vitestArgs)];
}

function suiteOnNode24(vitestArgs) {
  try {
    install('test/runtimes');
    if (!existsSync(node24))
      throw new Error(`there is no package of it for ${process.platform}-${process.arch}`);
    const { status, error } = spawnSync(node24, ['--version']);
    if (status !== 0) throw new Error(`it does not start here: ${error?.message ?? `exit status ${status}`}`);
  } catch (error) {
    if (isCI) return failed('Node 24', error.message);
    const name = 'the whole suite, on Node 24';
    return {
      ...empty('Node 24'),
      notRun: [{ file: 'test/', name, block: name, missing: [], reason: error.message }],
    };
  }
  return suite('Node 24', node24, vitestArgs);
}

/** Runs vitest on one Node. */
function suite(title, node, vitestArgs) {
  const reporters = ['--reporter=./test/reporter.ts'];
  if (!vitestArgs.some((arg) => arg.startsWith('--reporter'))) reporters.push('--reporter=default');
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', ...reporters, ...vitestArgs];
  return { ...recorded(title, node, vitest), node };
}

function matrix(only) {
  return recorded('the matrix', process.execPath, ['test/matrix/main.mjs', '--only', only]);
}

/** The tests of a run that were not run, where they may be by now. */
function runAgain(first) {
  const tests = first.notRun.filter(isObtainable);
  if (tests.length === 0) return first;
  const files = [...new Set(tests.map(({ file }) => file))];
  const tags = [...new Set(tests.flatMap(({ missing }) => missing))].join(' || ');
  const names = tests.map(({ name }) => name.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  const second = first.node
    ? suite(first.title, first.node, [...files, '--tags-filter', tags])
    : matrix(`^(${names.join('|')})$`);
  return joined(first, second, isCI);
}

/** Runs a program that leaves its outcome in a file. */
function recorded(title, command, commandArgs) {
  console.log(`\n=== Tests: ${title} ===`);
  const folder = mkdtempSync(join(tmpdir(), 'wasm-attention-'));
  const file = join(folder, 'outcome.json');
  const status = run(command, commandArgs, { WASM_ATTENTION_TEST_OUTCOME: file });
  const outcome = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : empty(title);
  rmSync(folder, { recursive: true });
  // It failed outside the tests, or found none.
  if (status !== 0 && outcome.failures.length === 0)
    outcome.failures.push(`ended with exit status ${status}`);
  return { title, ...outcome };
}

function empty(title) {
  return { title, passed: 0, failures: [], notRun: [] };
}

function failed(title, failure) {
  return { ...empty(title), failures: [failure] };
}

function run(command, commandArgs, env = {}) {
  const options = { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } };
  return spawnSync(command, commandArgs, options).status;
}
