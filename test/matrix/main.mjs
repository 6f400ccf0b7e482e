// `npm run test:matrix`: packs the package, installs it into throw-away projects and runs one program in every runtime,
// browser and bundler there is; see cases.mjs.
//
//   npm run test:matrix                       everything, and writes docs/support.md
//   npm run test:matrix -- --only '^Node'     the cases whose names match
//
// What is not installed on this machine is reported as not run. The outcome goes to the file WASM_ATTENTION_TEST_OUTCOME.

import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { format, resolveConfig } from 'prettier';
import { install } from '../../scripts/install.mjs';
import { whyNot } from './browsers.mjs';
import { MATRIX } from '../summary.mjs';
import { cases } from './cases.mjs';
import { packed } from './project.mjs';
import { serve } from './server.mjs';
import { supportPage, tableLine, versions } from './support.mjs';

const { values } = parseArgs({ options: { only: { type: 'string' } } });
const only = values.only === undefined ? undefined : new RegExp(values.only);
const expectedHashes = JSON.parse(readFileSync(new URL('../bits.json', import.meta.url), 'utf8'));

const toolsets = {
  'test/runtimes': /^(Node|workerd)/,
  'test/matrix/runtimes': /^(Bun|Deno|workerd)/,
  'test/matrix/bundlers': /^(Rollup|webpack|rspack|Vite|Parcel)/,
  'test/matrix/next': /^Next/,
};

const server = await serve();
const project = await packed();
const rows = [];
try {
  const chosen = (all) => all.filter(({ name }) => !only || only.test(name));
  for (const [folder, names] of Object.entries(toolsets)) {
    if (!chosen(cases({ packed: project, server })).some(({ name }) => names.test(name))) continue;
    try {
      install(folder);
    } catch (error) {
      console.log(`${folder}: ${error.message}`); // its cases are then not run
    }
  }
  const all = chosen(cases({ packed: project, server }));
  for (const [index, one] of all.entries()) {
    const start = performance.now();
    const row = { name: one.name, browser: one.browser, ...(await judge(one)) };
    const seconds = ((performance.now() - start) / 1000).toFixed(0);
    console.log(`${`[${index + 1}/${all.length}]`.padEnd(8)}${tableLine(row)}  (${seconds} s)`);
    if (row.error) console.log(`        ${row.error}`);
    rows.push(row);
  }
} finally {
  server.close();
  await project.remove();
}

if (!only) {
  const page = supportPage(rows, await versions(), `${cpus()[0].model}, ${process.platform}`);
  const file = fileURLToPath(new URL('../../docs/support.md', import.meta.url));
  writeFileSync(file, await format(page, { ...(await resolveConfig(file)), parser: 'markdown' }));
}

const passed = rows.filter(({ state }) => state === 'passed').length;
const failures = rows.flatMap(({ state, name, error }) => (state === 'failed' ? [`${name}: ${error}`] : []));
if (rows.length === 0) failures.push('no case has such a name'); // a pattern that matches nothing tests nothing
const notRun = rows
  .filter(({ state }) => state === 'not run')
  .map(({ name, browser, error }) => ({
    file: MATRIX,
    name,
    block: name.split(',')[0],
    missing: browser && whyNot(browser) ? [browser] : [],
    reason: error,
  }));
const file = process.env.WASM_ATTENTION_TEST_OUTCOME;
if (file) writeFileSync(file, JSON.stringify({ passed, failures, notRun }));
console.log(`\n${passed} passed, ${failures.length} failed, ${notRun.length} not run`);
process.exitCode = failures.length > 0 ? 1 : 0;

/** Runs one case, whatever happens to it. */
async function judge({ whyNot: reason, run, expected = {} }) {
  if (reason) return { state: 'not run', error: reason };
  try {
    const outcome = await run();
    if (outcome.error && !expected.code) throw new Error(outcome.error);
    for (const [key, value] of Object.entries(expected)) {
      if (outcome[key] !== value) {
        const why = outcome[`${key}Reason`] ?? outcome.error ?? '';
        throw new Error(`${key}: expected ${value}, got ${outcome[key]} ${why}`);
      }
    }
    if (expected.code) return { state: 'passed', refused: expected.code };
    const { build, threads, time } = outcome;
    const other = Object.keys(expectedHashes).filter((name) => outcome.hashes[name] !== expectedHashes[name]);
    const error = other.length > 0 ? `other bits: ${other.join(', ')}` : undefined;
    return { state: error ? 'failed' : 'passed', error, build, threads, time, sameBits: other.length === 0 };
  } catch (error) {
    return { state: 'failed', error: error.message };
  }
}
