// Throw-away projects that have the packed package installed, and the files of the program that runs in them.

import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { run } from './processes.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** How a program gets the library, by the name of the entry. */
export const LIBRARY = {
  import: `import * as library from 'wasm-attention';\n`,
  require: `const library = require('wasm-attention');\n`,
  file: `import * as library from './node_modules/wasm-attention/dist/index.mjs';\n`,
  slimFile: `import * as slim from './node_modules/wasm-attention/dist/slim.mjs';
const simd = new URL('./node_modules/wasm-attention/dist/simd.wasm', import.meta.url);
const library = { ...slim, createRuntime: (options) => slim.createRuntime({ ...options, wasm: { simd } }) };\n`,
  slimImport: `import * as slim from 'wasm-attention/slim';
import simd from 'wasm-attention/simd.wasm';
const library = { ...slim, createRuntime: (options) => slim.createRuntime({ ...options, wasm: { simd } }) };\n`,
};

export const IMPORT_SUITE = `import { run } from './suite.mjs';\n`;
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
