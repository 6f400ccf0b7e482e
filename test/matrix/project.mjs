// Throw-away projects that have the packed package installed, and the files of the program that runs in them.

import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { run } from './processes.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** How a program gets the library, and its other entries, by the name of the entry. */
const DIST = './node_modules/wasm-attention/dist';
const joined = `const library = { ...main, ...second, ...third, ...fourth, ...fifth };\n`;
const slim = (simd, secondSimd) => `const library = {
  ...slim,
  ...second,
  ...third,
  ...fourth,
  ...fifth,
  createRuntime: (options) => slim.createRuntime({ ...options, wasm: { simd: ${simd} } }),
  benchmark: { name: 'benchmark', wasm: { simd: ${secondSimd} } },
};\n`;
export const LIBRARY = {
  import: `import * as main from 'wasm-attention';
import * as second from 'wasm-attention/benchmark';
import * as third from 'wasm-attention/model';
import * as fourth from 'wasm-attention/training';
import * as fifth from 'wasm-attention/measures';
${joined}`,
  require: `const main = require('wasm-attention');
const second = require('wasm-attention/benchmark');
const third = require('wasm-attention/model');
const fourth = require('wasm-attention/training');
const fifth = require('wasm-attention/measures');
${joined}`,
  file: `import * as main from '${DIST}/index.mjs';
import * as second from '${DIST}/benchmark.mjs';
import * as third from '${DIST}/model.mjs';
import * as fourth from '${DIST}/training.mjs';
import * as fifth from '${DIST}/measures.mjs';
${joined}`,
  slimFile: `import * as slim from '${DIST}/slim.mjs';
import * as second from '${DIST}/benchmark.mjs';
import * as third from '${DIST}/model.mjs';
import * as fourth from '${DIST}/training.mjs';
import * as fifth from '${DIST}/measures.mjs';
${slim(`new URL('${DIST}/simd.wasm', import.meta.url)`, `new URL('${DIST}/benchmark-simd.wasm', import.meta.url)`)}`,
  slimImport: `import * as slim from 'wasm-attention/slim';
import * as second from 'wasm-attention/benchmark';
import * as third from 'wasm-attention/model';
import * as fourth from 'wasm-attention/training';
import * as fifth from 'wasm-attention/measures';
import simd from 'wasm-attention/simd.wasm';
import secondSimd from 'wasm-attention/benchmark-simd.wasm';
${slim('simd', 'secondSimd')}`,
};

export const IMPORT_SUITE = `import { run } from './suite.mjs';\n`;
/** The same program, in which a worker runtime has to give the bits of one that is none. */
export const IN_WORKER = {
  import: `import * as workerRuntime from 'wasm-attention/worker-runtime';\n`,
  file: `import * as workerRuntime from './node_modules/wasm-attention/dist/worker-runtime.mjs';\n`,
  suite: `import { run as runHere } from './suite.mjs';
const run = async (library) => ({ ...(await runHere(library)), worker: await compare(library, workerRuntime) });
${compare.toString()}\n`,
};

/** 'same bits', or what is wrong. Runs in the program, not here. */
async function compare(library, { createWorkerRuntime, causal }) {
  const { createRuntime, scaledDotProductAttention, benchmark } = library;
  const data = Float32Array.from({ length: 2 * 150 * 32 }, (_, i) => ((i * 7919) % 1000) / 500 - 1);
  const x = { data, shape: [1, 2, 150, 32] };
  const runtime = await createRuntime({ build: 'simd' });
  const expected = scaledDotProductAttention(x, x, x, { causal: true, runtime }).output.toFloat32Array();
  const there = await createWorkerRuntime({ build: 'simd' });
  await there.load(benchmark);
  if (!((await there.measurePeak(1)) > 0)) return 'no peak from the second pack';
  const { output } = await there.scaledDotProductAttention(x, x, x, { mask: causal(), read: true });
  const received = await output.read();
  there.dispose();
  runtime.dispose();
  return received.every((value, i) => value === expected[i]) ? 'same bits' : 'other bits';
}

export const PRINT = `run(library).then((outcome) => console.log('OUTCOME ' + JSON.stringify(outcome)));\n`;

/** Sends the outcome, or the error, to an address. */
export const sendTo = (address) => `const send = (outcome) =>
  fetch(${JSON.stringify(address)}, { method: 'POST', body: JSON.stringify(outcome) });
run(library).then(send, (error) => send({ error: String(error), code: error && error.code }));\n`;

export const PAGE = `<!doctype html><meta charset="utf-8"><title>matrix</title>
<script type="module" src="./main.js"></script>\n`;

/** The outcome that a program printed. */
export function outcomeIn(stdout) {
  const line = stdout.split('\n').findLast((text) => text.startsWith('OUTCOME '));
  if (!line) throw new Error(`no outcome was printed: ${stdout.slice(-300)}`);
  return JSON.parse(line.slice('OUTCOME '.length));
}

/** Packs the package and makes projects of it until `remove` is called. */
export async function packed() {
  const folder = await mkdtemp(join(tmpdir(), 'wasm-attention-matrix-'));
  const printed = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], {
    cwd: root,
    seconds: 120,
  });
  const [{ filename }] = JSON.parse(printed.slice(printed.indexOf('[')));
  const base = join(folder, 'base');
  await mkdir(base);
  await writeFile(
    join(base, 'package.json'),
    '{ "name": "throw-away", "version": "1.0.0", "private": true }\n',
  );
  await run('npm', ['install', '--offline', '--no-audit', '--no-fund', join(folder, filename)], {
    cwd: base,
    seconds: 120,
  });
  for (const [format, name] of [
    ['esm', 'suite.mjs'],
    ['cjs', 'suite.cjs'],
  ]) {
    const entryPoints = [join(root, 'test/bits-suite.ts')];
    await build({ entryPoints, bundle: true, format, target: 'es2022', outfile: join(base, name) });
  }
  let count = 0;
  return {
    folder,
    /** A new project with the given files, and the package in its node_modules. */
    async project(files) {
      const path = join(folder, `project-${++count}`);
      await cp(base, path, { recursive: true });
      for (const [name, contents] of Object.entries(files)) {
        await mkdir(dirname(join(path, name)), { recursive: true });
        await writeFile(join(path, name), contents);
      }
      return path;
    },
    remove: () => rm(folder, { recursive: true, force: true, maxRetries: 5 }),
  };
}
