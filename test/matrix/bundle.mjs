// Bundles main.js of the project in the working directory into its folder out/, with one bundler and no configuration:
//
//   node bundle.mjs webpack

import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { run } from './processes.mjs';

const toolset = fileURLToPath(new URL('bundlers/', import.meta.url));
const require = createRequire(`${toolset}package.json`);

const entry = './main.js';
const folder = `${process.cwd()}/out`;

const bundlers = {
  async esbuild(format = 'esm') {
    await build({ entryPoints: [entry], bundle: true, format, outfile: `${folder}/main.js` });
  },
  'esbuild-iife': () => bundlers.esbuild('iife'),
  async rollup() {
    const { rollup } = require('rollup');
    const { nodeResolve } = require('@rollup/plugin-node-resolve');
    const { wasm } = require('@rollup/plugin-wasm');
    const bundle = await rollup({
      input: entry,
      plugins: [nodeResolve(), wasm({ targetEnv: 'auto-inline' })],
    });
    await bundle.write({ dir: folder, format: 'es' });
  },
  webpack: () => compile(require('webpack')),
  rspack: () => compile(require('@rspack/core').rspack),
  vite: () => program('vite/bin/vite.js', ['build', '--base', './', '--outDir', 'out']),
  parcel: () =>
    program('parcel/lib/bin.js', [
      'build',
      'index.html',
      '--dist-dir',
      'out',
      '--public-url',
      './',
      '--no-cache',
    ]),
};

/** webpack's interface, and that of those who share it. */
function compile(bundler) {
  const output = { path: folder, filename: 'main.js' };
  return new Promise((resolve, reject) => {
    bundler({ mode: 'production', entry, output }, (error, stats) => {
      if (error) reject(error);
      else if (stats.hasErrors()) reject(new Error(stats.toString('errors-only')));
      else resolve(undefined);
    });
  });
}

async function program(file, args) {
  console.log(await run(process.execPath, [`${toolset}node_modules/${file}`, ...args]));
}

await bundlers[process.argv[2]]();
