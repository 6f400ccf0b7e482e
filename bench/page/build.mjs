// Builds the benchmark page into static files that can be hosted anywhere: build/bench-page/. With results that are there
// (bench/results/*.json) as references.

import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { pagePeers } from '../peers/names.mjs';
import { readResults } from '../report/results.mjs';

/** What peers load by themselves, by where they look for it. @type {Record<string, string>} */
const PEER_FILES = {
  'peers/ort-wasm-simd-threaded.wasm': 'onnxruntime-web/dist/ort-wasm-simd-threaded.wasm',
  ...Object.fromEntries(
    [
      'onnxruntime-web/package.json',
      '@jax-js/jax/package.json',
      '@tensorflow/tfjs-backend-wasm/package.json',
      '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm',
    ].map((path) => [`node_modules/${path}`, path]),
  ),
};

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));

/** @returns {Promise<string>} the folder */
export async function buildPage(folder = here('../../build/bench-page')) {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const { version } = JSON.parse(await readFile(here('../../package.json'), 'utf8'));
  /** @type {import('esbuild').BuildOptions} */
  const options = {
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    outdir: folder,
    legalComments: 'none',
    define: { LIBRARY_VERSION: JSON.stringify(version) },
    logLevel: 'error',
  };
  await build({
    ...options,
    entryPoints: [here('main.mjs'), here('worker.mjs'), here('peer-worker.mjs')],
  });
  await build({
    ...options,
    entryPoints: pagePeers.map((name) => ({ in: here(`../peers/${name}.mjs`), out: `peers/${name}` })),
    alias: { 'node:fs/promises': here('node-files.mjs'), 'node:url': here('node-files.mjs') },
    external: ['module', 'worker_threads', 'perf_hooks', 'node:*'], // Where they look at Node, which this is not.
  });
  for (const [path, file] of Object.entries(PEER_FILES)) {
    await mkdir(dirname(`${folder}/${path}`), { recursive: true });
    await copyFile(here(`../node_modules/${file}`), `${folder}/${path}`);
  }
  for (const file of ['index.html', 'style.css']) await copyFile(here(file), `${folder}/${file}`);
  await writeFile(`${folder}/references.json`, JSON.stringify(await references()));
  return folder;
}

/** Result files that came with the project, without their rounds, which are most of their bytes. */
async function references() {
  const folder = here('../results');
  const names = await readdir(folder).catch(() => []);
  return names
    .filter((name) => name.endsWith('.json'))
    .map((name) => ({ name: name.replace(/\.json$/, ''), file: readResults(`${folder}/${name}`) }));
}
